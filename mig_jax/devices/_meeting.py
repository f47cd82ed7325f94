"""Processes meet before JAX connects them: it would wait in silence for one that never comes.

Process 0 listens at the address where JAX will. Each other one says in a line who it is and how
many there are to be. Whenever one comes, process 0 tells all in a line who is still missing; in
the end nobody is, or it tells what is wrong with those who came.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import time
from typing import Any

from mig_jax.errors import InputError

__all__ = ["meet"]

_GREETING = "mig_jax meeting"
_LONGEST_LINE = 1 << 16
_AGAIN_SECONDS = 0.2
_STRANGER_SECONDS = 2  # For somebody who connects to say who it is.


def meet(address: str, count: int, index: int, timeout_seconds: float) -> None:
    """Returns once `count` processes, with an index each, have met at `address`.

    Raises:
      InputError: if `address` leads nowhere or is somebody else's, or if two processes have one
        index or were told of other numbers of processes: in all that have come.
      TimeoutError: if not all have come in time; it tells which.
    """
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    try:
        if not 0 < int(port) < 1 << 16:
            raise ValueError("a port is a number from 1 to 65535")
        socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
        until = time.monotonic() + timeout_seconds
        missing = (
            _receive(int(port), count, until)
            if index == 0
            else _visit((host, int(port)), count, index, until)
        )
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"process {index} cannot join the others at {address}: {reason}; expected HOST:PORT of "
            "process 0, with a port that nothing else uses"
        ) from None
    if missing:
        who = " and ".join(map(str, missing))
        raise TimeoutError(
            f"process {index} of {count} waited {timeout_seconds:g} s for the others at {address}: "
            f"process {who} is missing; expected {count} processes, with the ids 0 to {count - 1}, "
            "to be started within that time"
        )


def _receive(port: int, count: int, until: float) -> list[int]:
    """Process 0's part; gives who has not come."""
    came: dict[int, _Line] = {}
    with contextlib.ExitStack() as stack:
        # All addresses of this host, as JAX listens later.
        server = stack.enter_context(_listening(port))
        while missing := [number for number in range(1, count) if number not in came]:
            for line in came.values():
                line.say(missing)
            server.settimeout(max(until - time.monotonic(), 0.001))
            try:
                line = _Line(stack.enter_context(server.accept()[0]))
            except TimeoutError:
                return missing
            try:
                greeting, number, theirs = line.hear(_STRANGER_SECONDS)
            except (TypeError, ValueError):
                continue
            if greeting != _GREETING:
                continue
            wrong = ""
            if theirs != count:
                wrong = f"process {number} was told of {theirs} processes, process 0 of {count}"
            elif number in came and came[number].is_open():
                wrong = f"two processes have the id {number}; expected each id once"
            if wrong:
                for each in (*came.values(), line):
                    each.say(wrong)
                raise InputError(wrong)
            came[number] = line
        for line in came.values():
            line.say([])
    return []


def _visit(place: tuple[str, int], count: int, index: int, until: float) -> list[int]:
    """The part of the others; gives who has not come, as far as process 0 has said."""
    missing = [0]
    while (left := until - time.monotonic()) > 0:
        try:
            with socket.create_connection(place, timeout=left) as connection:
                line = _Line(connection)
                line.say([_GREETING, index, count])
                while (told := line.hear(until - time.monotonic())) is not None:
                    if isinstance(told, str):
                        raise InputError(told)
                    if not told:
                        return []
                    missing = told
        except OSError:
            pass  # Process 0 is not there yet.
        time.sleep(_AGAIN_SECONDS)
    return missing


def _listening(port: int) -> socket.socket:
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", port))


class _Line:
    """A connection on which lines of JSON come and go."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection, self._held = connection, b""

    def say(self, what: Any) -> None:
        with contextlib.suppress(OSError):  # Gone: it is missed later.
            self._connection.sendall(json.dumps(what).encode() + b"\n")

    def hear(self, seconds: float) -> Any:
        """The next line; None if there is none in time, or the other is gone.

        Raises:
          ValueError: if it is not one of ours.
        """
        until = time.monotonic() + seconds
        while b"\n" not in self._held:
            self._connection.settimeout(max(until - time.monotonic(), 0.001))
            try:
                found = self._connection.recv(_LONGEST_LINE)
            except OSError:
                return None
            if not found:
                return None
            self._held += found
            if self._held[:1] not in (b"[", b'"') or len(self._held) > _LONGEST_LINE:
                raise ValueError("what answers there is not process 0")
        text, _, self._held = self._held.partition(b"\n")
        return json.loads(text)

    def is_open(self) -> bool:
        ready, _, _ = select.select([self._connection], [], [], 0)
        return not ready or bool(self._connection.recv(1, socket.MSG_PEEK))
