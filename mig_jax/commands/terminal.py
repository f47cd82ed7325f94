"""What commands say on the terminal: progress, remarks, flags, and one line if one fails."""

from __future__ import annotations

import _thread
import contextlib
import contextvars
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tqdm
from absl import flags

from mig_jax.errors import InputError

__all__ = ["exit_status", "flags_only", "help_text", "progress_bar", "say", "silent"]

_is_silent = contextvars.ContextVar("_is_silent", default=False)


def exit_status(name: str, command: Callable[[], int | None], *, interrupted: str) -> int:
    """Runs a command: its status, or 2 for input that cannot be used, with one line on stderr.

    Args:
      name: what the line begins with.
      command: gives its status; None for 0.
      interrupted: what to say if the user interrupts it, which ends the process as interrupts
        do: 130 is what a shell sees then, and what a session (IPython, python -i) gets.
    """
    try:
        with _interrupts_arrive():
            return command() or 0
    except (InputError, flags.Error) as error:
        print(f"{name}: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print(f"{name}: interrupted; {interrupted}", file=sys.stderr)
        if not hasattr(sys, "ps1"):  # Else a person goes on working here.
            _end_as_interrupted()
        return 130


@contextlib.contextmanager
def _interrupts_arrive() -> Iterator[None]:
    """Sends an interrupt again, within the block, that came when Python could not raise it.

    Such a place is the callback that JAX has at each garbage collection: most interrupts of a
    compilation end up there (jax issue 18246), and the command would go on as if there were none.
    """
    hook = sys.unraisablehook
    again: list[threading.Timer] = []

    def unraisable(what: sys.UnraisableHookArgs) -> None:
        if issubclass(what.exc_type, KeyboardInterrupt):
            # Not at once: that would be in the same callback.
            again.append(threading.Timer(0.01, _interrupt))
            again[-1].start()
        else:
            hook(what)

    sys.unraisablehook = unraisable
    try:
        yield
    finally:
        sys.unraisablehook = hook
        for timer in again:
            timer.cancel()


def _interrupt() -> None:
    """As Ctrl-C does, which ends a wait of the main thread too."""
    main = threading.main_thread().ident
    if main is not None and hasattr(signal, "pthread_kill"):
        signal.pthread_kill(main, signal.SIGINT)
    else:  # On Windows.
        _thread.interrupt_main()


def _end_as_interrupted() -> None:
    """Ends the process by the signal itself, so that a loop in a shell ends with it.

    At once: a compilation goes on in one of XLA's threads, and crashes if an ordinary exit
    takes away what it works on.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.raise_signal(signal.SIGINT)


def flags_only(left_over: Sequence[str]) -> None:
    """Raises `InputError` if a command was given words that are no flags."""
    if left_over:
        raise InputError(f"{left_over[0]}: expected flags only, as --flag=value")


def help_text(usage: str, values: flags.FlagValues) -> str:
    """All flags of a command with their meanings and defaults."""
    lines = [f"usage: {usage} [--flag=value ...]", ""]
    for flag in (values[flag] for flag in sorted(values)):
        choices = getattr(flag.parser, "enum_values", None)
        shown = f"--{flag.name}" + ("=" + "|".join(choices) if choices else "")
        default = flag.default
        if isinstance(default, list):
            default = ",".join(map(str, default))
        told = "" if default in (None, "") else f" (default: {default})"
        lines += [f"  {shown}", f"      {flag.help}{told}"]
    return "\n".join(lines)


@contextlib.contextmanager
def silent(is_silent: bool) -> Iterator[None]:
    """Within, `say` and `progress_bar` show nothing if `is_silent`: one process of many speaks."""
    before = _is_silent.set(is_silent)
    try:
        yield
    finally:
        _is_silent.reset(before)


def progress_bar(name: str, total: int | None, **options: Any) -> tqdm.tqdm:
    """A bar on stderr; `options` are tqdm's."""
    return tqdm.tqdm(
        desc=name,
        total=total,
        file=sys.stderr,
        mininterval=0.2,
        disable=_is_silent.get(),
        **options,
    )


def say(text: str) -> None:
    """A line on stderr, above the bars that are there."""
    if not _is_silent.get():
        tqdm.tqdm.write(text, file=sys.stderr)
