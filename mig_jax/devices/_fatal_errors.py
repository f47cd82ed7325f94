"""What JAX says when it ends the process, and time to say it in one line instead.

JAX ends a process by `abort` and pages of text, from a thread of its own, once it hears that
another process is lost. No option changes that: a callback written in Python cannot take what
it is called with (std::bad_cast). So what is written to the standard error stream by all but
Python leads through a pipe, where a thread reads what the end is about. Meanwhile the thread
that aborts sleeps: the handler of SIGABRT is `sleep` of the C library, which gets the signal's
number, and returns after that many seconds, 6. Then it aborts if nobody has ended the process.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator

__all__ = ["fatal_errors_told"]

# How a message of XLA begins: F1125 21:24:11.704347   24826 client.h:80] Terminating process …
_HEAD = re.compile(rb"([EWIF])\d{4} [\d:.]+ +\d+ (\S+):\d+\] ")
# What is said of nothing: by Gloo, which carries what processes exchange, on the standard output
# of each of them, and by XLA above its first message. Gloo's threads write a line in pieces, which
# may stand among those of another line.
_OF_NOTHING = re.compile(
    rb"(?=.*(?:\[Gloo\]|peer ranks))(?:\[Gloo\] Rank |\d+| is connected to | peer ranks\. "
    rb"|Expected number of connected peer ranks is : )+\s*$"
    rb"|WARNING: All log messages before absl::InitializeLog\(\)"
)
# The files that speak about other processes, by the ends of their names.
_ABOUT_PROCESSES = re.compile(rb"(^|/)client\.h$|coordination|distributed")
_SILENCE_MS = 200  # After which a message is complete.


@contextlib.contextmanager
def fatal_errors_told(tell: Callable[[str], None]) -> Iterator[None]:
    """Within, `tell` gets JAX's words about other processes for which it ends this one.

    It is called in a thread, within 6 seconds of the end, and ends the process. What else JAX
    says about other processes is not shown, as they are told of by then; all other text is. What
    others than Python write to the standard output leads to the standard error stream: the output
    is ours alone. On Windows nothing is done.
    """
    if os.name != "posix":
        yield
        return
    terminal = os.dup(2)
    reading, writing = os.pipe()
    ended = threading.Event()
    passing = threading.Thread(
        target=_pass_on, args=(reading, terminal, tell, ended), name="mig_jax stderr", daemon=True
    )
    passing.start()
    try:
        # Python's own is not led through the pipe: bars have no ends of lines, and nothing of ours
        # is held back.
        with _led_to(writing, "stdout"), _led_to(writing, "stderr"), _aborts_sleep():
            yield
    finally:
        os.close(writing)
        ended.set()
        passing.join()
        os.close(reading)
        os.close(terminal)


@contextlib.contextmanager
def _led_to(pipe: int, name: str) -> Iterator[None]:
    """Within, the pipe gets what others than Python write to sys.stdout's or sys.stderr's place."""
    of_python, descriptor = getattr(sys, name), {"stdout": 1, "stderr": 2}[name]
    is_its_own = _descriptor(of_python) == descriptor
    if name == "stdout" and not is_its_own:  # As in a notebook, or without any.
        yield
        return
    place = os.dup(descriptor)
    if is_its_own:
        of_python.flush()
        # Line by line: what cannot be written is known where it is written.
        how = {"encoding": of_python.encoding, "errors": of_python.errors}
        ours = open(os.dup(descriptor), "w", 1, **how)  # noqa: SIM115 - closed below
        setattr(sys, name, ours)
    os.dup2(pipe, descriptor)
    try:
        yield
    finally:
        os.dup2(place, descriptor)
        os.close(place)
        if is_its_own:
            setattr(sys, name, of_python)
            with contextlib.suppress(OSError):  # Told where it was written.
                ours.close()


@contextlib.contextmanager
def _aborts_sleep() -> Iterator[None]:
    library = ctypes.CDLL(None)
    handle = library.signal
    handle.argtypes, handle.restype = [ctypes.c_int, ctypes.c_void_p], ctypes.c_void_p
    before = handle(signal.SIGABRT, ctypes.cast(library.sleep, ctypes.c_void_p))
    try:
        yield
    finally:
        handle(signal.SIGABRT, before)


def _descriptor(stream: object) -> int | None:
    try:
        return stream.fileno()  # type: ignore[attr-defined]
    except (AttributeError, OSError, ValueError):  # As of a stream that a test or notebook has.
        return None


def _pass_on(
    reading: int, terminal: int, tell: Callable[[str], None], ended: threading.Event
) -> None:
    """Copies what is read, but for messages about other processes; tells of a fatal one."""
    poll = select.poll()
    poll.register(reading, select.POLLIN)
    rest, fatal, severity = b"", b"", b""  # Of a message that is not shown.
    while True:
        # Once ended, only what has been written until now.
        ready = poll.poll(0 if ended.is_set() else _SILENCE_MS)
        found = os.read(reading, 1 << 16) if ready else b""
        lines = (rest + found).splitlines(keepends=True)
        rest = lines.pop() if found and lines and not lines[-1].endswith(b"\n") else b""
        for line in lines:
            if head := _HEAD.match(line):
                severity = head[1] if _ABOUT_PROCESSES.search(head[2]) else b""
            if not severity and not _OF_NOTHING.match(line):
                with contextlib.suppress(OSError):
                    os.write(terminal, line)
            elif severity == b"F":
                fatal += line
        if not found:
            if fatal:
                tell(fatal.decode(errors="replace"))
            if ended.is_set():
                return
            severity = b""
