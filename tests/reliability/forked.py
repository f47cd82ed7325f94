"""Commands in processes that are forked when all is imported, and stopped at a step of theirs.

A step is what a command does to files of its own: each opens, renames, links or removes one, or
locks it. Forked before JAX has started anything, a command takes a second where it takes four.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence

import tests.conftest  # noqa: F401 - keeps what is compiled
from mig_jax.commands.main import COMMANDS, load

EVENTS = {
    "open",
    "os.rename",
    "os.link",
    "os.remove",
    "os.mkdir",
    "os.rmdir",
    "os.truncate",
    "os.listdir",
    "shutil.rmtree",
    "fcntl.flock",
}
SIGNALS = {"KILL": signal.SIGKILL, "TERM": signal.SIGTERM, "INT": signal.SIGINT}


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int  # Negative for a signal, as of `subprocess`.
    out: str
    err: str
    seconds: float
    step: str  # Where it was stopped; empty if nowhere.
    steps: int  # How many it had made by then.

    @property
    def line(self) -> str:
        """What it said last."""
        lines = self.err.replace("\r", "\n").strip().splitlines()
        return lines[-1] if lines else ""


def ready() -> None:
    """Imports all commands, so that a fork need not."""
    for name in COMMANDS:
        load(name)
    import orbax.checkpoint  # noqa: F401


def start(
    words: Sequence[object],
    folder: pathlib.Path,
    log: pathlib.Path,
    *,
    stop_at: int | None = None,
    by: int = signal.SIGKILL,
    before: Callable[[], None] = lambda: None,
) -> int:
    """Starts `mig-jax` with these words: its process id.

    Args:
      words: of the command.
      folder: of its own files, whose steps count.
      log: what the names of the files for its stdout, stderr and steps begin with.
      stop_at: the step, from 0, before which it gets a signal.
      by: that signal.
      before: called in the new process first.
    """
    child = os.fork()
    if child:
        return child
    status = 70
    try:
        os.setpgid(0, 0)
        for descriptor, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(f"{log}.{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        before()
        _count_steps(str(folder), f"{log}.steps", stop_at, by)
        sys.argv = ["mig-jax", *map(str, words)]
        from mig_jax.__main__ import main

        status = main()
        sys.stdout.flush()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(status)


def stopped_or_ended(child: int, *, within: float = 300) -> None:
    """Waits until a command has stopped itself by SIGSTOP, or has ended."""
    begun = time.monotonic()
    while not os.waitid(os.P_PID, child, os.WSTOPPED | os.WEXITED | os.WNOWAIT | os.WNOHANG):
        assert time.monotonic() - begun < within, f"{child}: runs on after {within} s"
        time.sleep(0.001)


def end(child: int, log: pathlib.Path, *, within: float = 300) -> Ended:
    """Waits for a command; one that does not end in time is a failure."""
    begun = time.monotonic()
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            break
        if time.monotonic() - begun > within:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise AssertionError(f"{log}: did not end within {within} s")
        time.sleep(0.01)
    steps = pathlib.Path(f"{log}.steps")
    count, _, step = ((steps.read_text() if steps.exists() else "") or "0 ").partition(" ")
    texts = [pathlib.Path(f"{log}.{name}").read_text(errors="replace") for name in ("out", "err")]
    seconds = time.monotonic() - begun
    return Ended(os.waitstatus_to_exitcode(status), *texts, seconds, step, int(count))


def run(words: Sequence[object], folder: pathlib.Path, log: pathlib.Path, **how: object) -> Ended:
    """Starts a command and waits for its end."""
    pathlib.Path(f"{log}.steps").unlink(missing_ok=True)
    return end(start(words, folder, log, **how), log)  # type: ignore[arg-type]


def _count_steps(folder: str, log: str, stop_at: int | None, by: int) -> None:
    made = 0
    told = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)

    def hook(event: str, arguments: tuple) -> None:
        nonlocal made
        if event not in EVENTS:
            return
        paths = [os.fsdecode(one) for one in arguments if isinstance(one, str | bytes)]
        if event == "fcntl.flock" and os.path.isdir("/proc/self/fd"):
            paths = [os.readlink(f"/proc/self/fd/{arguments[0]}")]
        if not any(path.startswith(folder) for path in paths):
            return
        made += 1
        stops = made - 1 == stop_at
        step = f"{event} {' '.join(path.removeprefix(folder) for path in paths)}" if stops else ""
        os.pwrite(told, f"{made} {step}".encode(), 0)
        if stops:
            os.kill(os.getpid(), by)

    sys.addaudithook(hook)


def spread(count: int, over: int, seed: int) -> list[int]:
    """So many different steps of `over`, or all, at random."""
    chosen = range(over)
    return sorted(random.Random(seed).sample(chosen, min(count, over)))
