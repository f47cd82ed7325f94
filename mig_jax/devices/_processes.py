"""Several processes that work as one, started by `jax.distributed`.

Every process runs the same program over its own part of the pool. Nothing here
is a protocol of its own: `jax.distributed` connects the processes, watches that
all are alive and keeps what they tell each other at the start, and JAX's
collectives carry what they exchange later.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, NoReturn

import jax
import tqdm

from mig_jax.devices._fatal_errors import fatal_errors_told
from mig_jax.errors import InputError

__all__ = ["joined", "told_by_all"]

# JAX ends a process by itself when its own time is up: ours is first.
_GRACE_SECONDS = 10
_COORDINATOR_STAYS_SECONDS = 5
_POLL_MS = 500
_leaving = threading.Lock()  # Whoever has it speaks; the others wait for the end.


@contextlib.contextmanager
def joined(address: str, count: int, index: int, *, timeout_seconds: int = 60) -> Iterator[None]:
    """Within, this is process `index` of `count`; call it before JAX computes anything.

    If another process is lost, this one does not wait for ever, whatever it is at: it says
    so in one line and exits with status 1. It does so at once if a connection breaks that it
    waits on, and if nothing has been heard of the other for `timeout_seconds`, as when it is
    killed while this one works, is stopped, or its host is cut off.

    Args:
      address: host:port of process 0, which serves as coordinator there.
      count: how many processes there are.
      index: from 0 to count − 1.
      timeout_seconds: how long to wait for the others at the start, for a sign of life
        later, and for all to be done in the end.

    Raises:
      InputError: if `address` leads nowhere, or this process cannot be the coordinator there.
    """
    _check_address(address, index)

    end: tuple[str, int] | None = None  # What to say, and the status, once all is done.

    def tell(text: str) -> None:
        _leave(*(end or _told_in_one_line(text, count, index, address, timeout_seconds)))

    with fatal_errors_told(tell), _ends_when_told():
        _join(address, count, index, timeout_seconds)
        try:
            yield
        except InputError as error:  # All processes have it: see `Hosts.together`.
            end = str(error), 2
            _shut_down(*end)
            raise
        except Exception as error:
            # JAX raises several types here, in words that change with what carries the bytes.
            if not _is_lost(error):
                sys.excepthook(type(error), error, error.__traceback__)
                _leave(f"process {index} of {count} failed", 1)
            # Process 0, which coordinates, is the last to go, so that the others find by
            # themselves which process was lost first.
            stay = _COORDINATOR_STAYS_SECONDS if index == 0 else 0
            lost = f"process {index} of {count} has lost another process: {_first_line(error)}"
            _leave(lost, 1, after_seconds=stay)
        end = f"process {index} of {count} has lost another process, but all was done", 0
        _shut_down(*end)


def told_by_all(about: str, own: dict[str, Any], count: int, index: int) -> list[dict[str, Any]]:
    """What the processes tell under this name, in their order; each name is used once.

    Unlike collectives it needs neither devices that are alike nor processes that agree on
    anything: with another `count`, what is told is that of as many as both know.

    Args:
      about: what it is called, the same in all processes.
      own: what this process tells, in types that JSON has.
      count: how many processes there are.
      index: which of them this is.
    """
    # JAX has no public name for it; orbax and flax use it under this one.
    from jax._src import distributed

    store: Any = distributed.global_state.client
    store.key_value_set(f"mig_jax/{about}/{index}", json.dumps([count, own]))
    told: list[dict[str, Any]] = []
    while len(told) < count:
        try:
            found = store.blocking_key_value_get(f"mig_jax/{about}/{len(told)}", _POLL_MS)
        except jax.errors.JaxRuntimeError as error:
            if "DEADLINE_EXCEEDED" not in str(error):
                raise
            continue  # The other works; an interrupt comes through here.
        theirs, said = json.loads(found)
        count = min(count, theirs)
        told.append(said)
    return told


def _check_address(address: str, index: int) -> None:
    """Raises InputError if there is no such host, or process 0 cannot listen at the port."""
    host, _, port = address.rpartition(":")
    try:
        if not 0 < int(port) < 1 << 16:
            raise ValueError("a port is a number from 1 to 65535")
        socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
        if index == 0:
            # JAX would share the port with whoever else lets it.
            with _any_address() as own:
                # What an earlier run has left half closed is no hindrance.
                own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                own.bind(("", int(port)))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"process {index} cannot join the others at {address}: {reason}; expected HOST:PORT of "
            "process 0, with a port that nothing else uses"
        ) from None


def _any_address() -> socket.socket:
    if not socket.has_dualstack_ipv6():
        return socket.socket()
    both = socket.socket(socket.AF_INET6)
    both.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    return both


def _join(address: str, count: int, index: int, timeout_seconds: int) -> None:
    waiting = threading.Timer(
        timeout_seconds,
        lambda: _leave(
            f"process {index} of {count} waited {timeout_seconds} s for the others at {address}"
            f"{_who_answers(address) if index else ''}; expected {count} processes, with the ids "
            f"0 to {count - 1}, to be started within that time",
            1,
        ),
    )
    waiting.daemon = True
    waiting.start()
    # Else it takes SIGTERM for itself, and the process goes on.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(
            address,
            count,
            index,
            cluster_detection_method="deactivate",
            initialization_timeout=timeout_seconds + _GRACE_SECONDS,
            heartbeat_timeout_seconds=timeout_seconds,
            shutdown_timeout_seconds=timeout_seconds,
        )
    except (RuntimeError, ValueError) as error:
        raise InputError(f"cannot join the processes at {address}: {_first_line(error)}") from None
    finally:
        waiting.cancel()


def _shut_down(otherwise: str, status: int) -> None:
    """Waits until all processes are done; ends this one as told if one of them is lost."""
    try:
        jax.distributed.shutdown()
    except RuntimeError:
        _leave(otherwise, status)


def _who_answers(address: str) -> str:
    """Why process 0 has not been reached, as far as can be seen."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=2) as other:
            # A coordinator begins with the settings of its HTTP/2, unasked.
            if other.recv(9)[3:4] == b"\x04":
                return ", where process 0 is, but not all others are"
    except TimeoutError:
        pass
    except OSError as error:
        return f", where process 0 is not ({error.strerror or error})"
    return ", where something else than process 0 answers"


def _told_in_one_line(
    text: str, count: int, index: int, address: str, timeout_seconds: int
) -> tuple[str, int]:
    """What JAX's words mean for which it ends the process; and the status to end with."""
    who = f"process {index} of {count}"
    if "newer incarnation" in text or "different incarnation" in text:
        return f"{who}: another process with the id {index} has joined; expected each id once", 2
    if "Unexpected task registered" in text:
        return f"{who}: process 0 at {address} expects fewer processes; expected one number", 2
    if found := re.search(r"unhealthy[^\n]*\n((?:[\w:/]*\d+\n)+)", text):
        ids = sorted({int(line.rpartition(":")[2]) for line in found[1].split()})
        others = [number for number in ids if number != index]
        lost = ", ".join(map(str, others or ids))
        return f"{who} has lost process {lost}: not heard of for {timeout_seconds} s", 1
    if "Heartbeat" in text and "DEADLINE_EXCEEDED" in text:
        return f"{who} has lost process 0: not heard of for {timeout_seconds} s", 1
    if "Failed to send RPC" in text or "UNAVAILABLE" in text:
        return f"{who} has lost process 0: its connection broke", 1
    reason = text.partition("absl::Status: ")[2] or text
    return f"{who} has lost another process: {reason.strip().splitlines()[0]}", 1


@contextlib.contextmanager
def _ends_when_told() -> Iterator[None]:
    """Ctrl-C and TERM end the process even if it waits for others, where Python sees no signal."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reading, writing = socket.socketpair()
    writing.setblocking(False)

    def watch() -> None:
        with reading:
            while number := reading.recv(1):
                if number[0] in (signal.SIGINT, signal.SIGTERM):
                    # Python is told, too: it has some time to end the process in its own words.
                    time.sleep(_GRACE_SECONDS / 2)
                    _leave(f"ended by {signal.Signals(number[0]).name}", 128 + number[0])

    before = signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=watch, name="mig_jax signals", daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        writing.close()


def _is_lost(error: Exception) -> bool:
    signs = ("gloo", "nccl", "connection", "peer", "unavailable", "aborted", "deadline", "barrier")
    return any(sign in str(error).lower() for sign in signs)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]


def _leave(message: str, status: int, *, after_seconds: float = 0) -> NoReturn:
    """Ends the process: an ordinary exit would wait for the others."""
    with _leaving:
        tqdm.tqdm.write(f"mig-jax: {message}", file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
        time.sleep(after_seconds)
        os._exit(status)
