"""Several processes that work as one, started by `jax.distributed`.

Every process runs the same program over its own part of the pool. Once they
have met, `jax.distributed` connects them, watches that all are alive and keeps
what they tell each other at the start; JAX's collectives carry what they
exchange later.
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
from mig_jax.devices._meeting import meet
from mig_jax.errors import InputError, printable

__all__ = ["joined", "told_by_all"]

# JAX ends a process by itself when its own time is up: ours is first.
_GRACE_SECONDS = 10
_COORDINATOR_STAYS_SECONDS = 5
_POLL_MS = 500
_ENDING = ("SIGINT", "SIGTERM", "SIGHUP")
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
      InputError: if `address` leads nowhere or is somebody else's, or if two processes have one
        index or were told of other numbers of processes: in all that have come.
    """
    end: tuple[str, int] | None = None  # What to say, and the status, once all is done.

    def tell(text: str) -> None:
        _leave(*(end or (_told_in_one_line(text, count, index, timeout_seconds), 1)))

    with fatal_errors_told(tell), _ends_when_told():
        try:
            meet(address, count, index, timeout_seconds)
        except TimeoutError as error:
            _leave(str(error), 1)
        _join(address, count, index, timeout_seconds)
        try:
            yield
        # All processes have the first, see `Hosts.together`; the second comes when all is done.
        except (InputError, BrokenPipeError) as error:
            end = str(error), 2
            _shut_down(*end)
            raise
        except OSError as error:  # As of a full disk: the others must not wait for this one.
            where = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
            _leave(f"{where}{error.strerror or error}", 2)
        except Exception as error:
            # JAX raises several types here, in words that change with what carries the bytes.
            if not _is_lost(error):
                sys.excepthook(type(error), error, error.__traceback__)
                _leave(f"process {index} of {count} failed", 1)
            # Process 0, which coordinates, is the last to go, so that the others find by
            # themselves which process was lost first.
            stay = _COORDINATOR_STAYS_SECONDS if index == 0 else 0
            lost = f"process {index} of {count} has lost another process: {_why_lost(error)}"
            _leave(lost, 1, after_seconds=stay)
        end = f"process {index} of {count} has lost another process, but all was done", 0
        _shut_down(*end)


def told_by_all(about: str, own: dict[str, Any]) -> list[dict[str, Any]]:
    """What the processes that have joined tell under this name, in their order.

    Unlike collectives it needs no devices, which may be of different kinds.

    Args:
      about: what it is called, the same in all processes; once each.
      own: what this process tells, in types that JSON has.
    """
    # JAX has no public name for it; orbax and flax use it under this one.
    from jax._src.distributed import global_state

    store: Any = global_state.client
    store.key_value_set(f"mig_jax/{about}/{global_state.process_id}", json.dumps(own))
    told: list[dict[str, Any]] = []
    while len(told) < global_state.num_processes:
        try:
            found = store.blocking_key_value_get(f"mig_jax/{about}/{len(told)}", _POLL_MS)
        except jax.errors.JaxRuntimeError as error:
            if "DEADLINE_EXCEEDED" not in str(error):
                raise
        else:
            told.append(json.loads(found))
        # Between two tries an interrupt comes through.
    return told


def _join(address: str, count: int, index: int, timeout_seconds: int) -> None:
    waiting = threading.Timer(
        timeout_seconds,
        lambda: _leave(
            f"process {index} of {count} has met the others at {address}, but waited "
            f"{timeout_seconds} s for JAX to connect them",
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


def _told_in_one_line(text: str, count: int, index: int, timeout_seconds: int) -> str:
    """What JAX's words mean for which it ends the process."""
    if found := re.search(r"unhealthy[^\n]*\n((?:[\w:/]*\d+\n)+)", text):
        ids = {int(line.rpartition(":")[2]) for line in found[1].split()}
        lost = " and ".join(map(str, sorted(ids - {index} or ids)))
        reason = f"process {lost} was not heard of for {timeout_seconds} s"
    elif "Heartbeat" in text and "DEADLINE_EXCEEDED" in text:
        reason = f"process 0 was not heard of for {timeout_seconds} s"
    elif "UNAVAILABLE" in text:
        reason = "the connection to process 0 broke"
    else:
        reason = (text.partition("absl::Status: ")[2] or text).strip().splitlines()[0]
    return f"process {index} of {count} has lost another process: {reason}"


@contextlib.contextmanager
def _ends_when_told() -> Iterator[None]:
    """Ctrl-C and TERM end the process even if it waits for others, where Python sees no signal."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reading, writing = socket.socketpair()
    writing.setblocking(False)
    over = threading.Event()

    def watch() -> None:
        with reading:
            while number := reading.recv(1):
                if signal.Signals(number[0]).name not in _ENDING:
                    continue
                # Python is told, too: it has some time to end the process in its own words.
                if not over.wait(_GRACE_SECONDS / 2):
                    name = signal.Signals(number[0]).name
                    _leave(f"ended by {name} while it waited for other processes", 128 + number[0])

    before = signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=watch, name="mig_jax signals", daemon=True).start()
    try:
        yield
    finally:
        over.set()
        signal.set_wakeup_fd(before)
        writing.close()


def _is_lost(error: Exception) -> bool:
    signs = ("gloo", "nccl", "connection", "peer", "unavailable", "aborted", "deadline", "barrier")
    return any(sign in str(error).lower() for sign in signs)


def _why_lost(error: Exception) -> str:
    """The error's first line; of Gloo, whose own places in its files tell users nothing, the end.

    It is such as: UNKNOWN: Gloo AllGather failed: [external/gloo/gloo/transport/tcp/pair.cc:538]
    Read error [127.0.0.1]:64164: Connection reset by peer
    """
    line = _first_line(error)
    if "gloo" not in line.lower():
        return line
    return f"the connection broke ({re.sub(r'^(:[0-9]+)?:? *', '', line.rpartition(']')[2])})"


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]


def _leave(message: str, status: int, *, after_seconds: float = 0) -> NoReturn:
    """Ends the process: an ordinary exit would wait for the others."""
    with _leaving:
        try:
            # A bar that is there has no end of line; with its lock, none is drawn from now on.
            tqdm.tqdm.get_lock().acquire(timeout=1)
            open_line = "\n" if getattr(tqdm.tqdm, "_instances", None) else ""
            print(f"{open_line}mig-jax: {printable(message)}", file=sys.stderr)
            sys.stdout.flush()
            sys.stderr.flush()
            time.sleep(after_seconds)
        finally:
            os._exit(status)
