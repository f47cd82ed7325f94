"""What commands say on the terminal: progress, remarks, and one line if one fails."""

from __future__ import annotations

import contextlib
import contextvars
import io
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TextIO

import tqdm
from absl import flags

from mig_jax.commands.ends import die_by, in_one_line, raised
from mig_jax.commands.progress import Bar, bar_on, passing_word
from mig_jax.errors import InputError, printable
from mig_jax.runs import commits_made, place_told

__all__ = [
    "exit_status",
    "goes_on_from",
    "kept_lines",
    "listed",
    "progress_bar",
    "say",
    "say_and_keep",
    "silent",
    "starting",
    "tell",
    "told_by",
]

_is_silent = contextvars.ContextVar("_is_silent", default=False)
# How a caller from Python has lines put, and whether bars are drawn where there is no terminal.
_words: contextvars.ContextVar[Callable[[str], str]] = contextvars.ContextVar("_words", default=str)
_draws = contextvars.ContextVar("_draws", default=False)
# What a run that ends now would go on from, if there is anything.
_kept: contextvars.ContextVar[Callable[[], str]] = contextvars.ContextVar("_kept", default=str)
# Lines that are kept to be told again.
_lines: contextvars.ContextVar[list[str] | None] = contextvars.ContextVar("_lines", default=None)


def exit_status(name: str, command: Callable[[], int | None], *, interrupted: str) -> int:
    """Runs a command: its status, or 2 with one line on stderr for what cannot be used.

    That is input, or a place to write to: a disk that is full, or a folder that is not ours.

    Args:
      name: what the line begins with.
      command: gives its status; None for 0.
      interrupted: what to say if a signal ends it before its outputs are written. The process
        then ends by that signal: 130 is what a shell sees after Ctrl-C, 143 after TERM and 129
        after HUP, and what a session (IPython, python -i) gets.
    """
    before = commits_made()
    _kept.set(str)
    if sys.stderr is None:  # As of `2>&-`.
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115

    def told() -> str:
        if commits_made() > before:
            return "all outputs were written"
        kept = _kept.get()()
        return f"{interrupted}, and the same command goes on from {kept}" if kept else interrupted

    try:
        with raised(name, told):
            status = command() or 0
            if sys.stdout is not None:  # As of `>&-`.
                with place_told("standard output"):
                    sys.stdout.flush()
            return status
    except (InputError, flags.Error) as error:
        _stderr.write(f"{name}: {printable(' '.join(str(error).split()))}\n")
        return 2
    except BrokenPipeError:
        _give_up(sys.stdout)
        return 1
    except OSError as error:
        where = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
        _stderr.write(f"{name}: {printable(f'{where}{error.strerror or error}')}; {told()}\n")
        return 2
    except KeyboardInterrupt as error:
        number = getattr(error, "number", signal.SIGINT)
        _stderr.write(in_one_line(name, number, told()))
        if not hasattr(sys, "ps1") or number != signal.SIGINT:  # Else a person goes on here.
            die_by(number)
        return 128 + number


def goes_on_from(kept: Callable[[], str]) -> None:
    """From now on, a command that is ended says that it goes on from what `kept` tells, if any."""
    _kept.set(kept)


def _give_up(stream: TextIO) -> None:
    """Nothing more is written to a stream: Python would fail once more when it exits."""
    with contextlib.suppress(OSError, ValueError):
        number = stream.fileno()
        os.dup2(os.open(os.devnull, os.O_WRONLY), number)


class _Stderr:
    """The stderr of the moment; a full disk, or a reader that has left, ends no run there.

    Nor does a program without one: pythonw, a service, or what has closed it.
    """

    def write(self, text: str) -> None:
        if sys.stderr is None or getattr(sys.stderr, "closed", False):
            return
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except OSError:
            _give_up(sys.stderr)

    def __getattr__(self, name: str) -> Any:
        return getattr(io.StringIO() if sys.stderr is None else sys.stderr, name)


_stderr: Any = _Stderr()


@contextlib.contextmanager
def silent(is_silent: bool) -> Iterator[None]:
    """Within, `say` and `progress_bar` show nothing if `is_silent`: one process of many speaks."""
    before = _is_silent.set(is_silent)
    try:
        yield
    finally:
        _is_silent.reset(before)


@contextlib.contextmanager
def told_by(words: Callable[[str], str], *, draws: bool) -> Iterator[None]:
    """Within, `say` and bars put it as `words` does; and bars are drawn on any stream if `draws`.

    For a caller from Python: a notebook draws bars, though its stderr is no terminal.
    """
    before = _words.set(words), _draws.set(draws)
    try:
        yield
    finally:
        _words.reset(before[0])
        _draws.reset(before[1])


def progress_bar(name: str, total: float | None, **options: Any) -> Bar:
    """A bar on stderr, or lines if it is no terminal; `options` are those of `bar_on`."""
    how = {"is_drawn": _draws.get() or None, "is_silent": _is_silent.get(), **options}
    return bar_on(_stderr, _words.get()(name), total, **how)


def starting(name: str) -> contextlib.AbstractContextManager[object]:
    """Within, a terminal shows that a command of this name starts, if that takes long."""
    return passing_word(_stderr, f"{name}: starting")


def say(text: str) -> None:
    """A line on stderr, above the bars that are there."""
    if not _is_silent.get():
        tqdm.tqdm.write(printable(_words.get()(text)), file=_stderr)


@contextlib.contextmanager
def kept_lines() -> Iterator[list[str]]:
    """Within, what `say_and_keep` says is in the list, too."""
    lines: list[str] = []
    before = _lines.set(lines)
    try:
        yield lines
    finally:
        _lines.reset(before)


def say_and_keep(text: str) -> None:
    """As `say`, of what is made: whoever keeps that for later runs keeps the line with it."""
    say(text)
    if (lines := _lines.get()) is not None:
        lines.append(text)


def listed(words: Sequence[str], last: str = "and") -> str:
    """Words as a sentence has them.

    >>> listed(["a", "b", "c"]), listed(["a"])
    ('a, b and c', 'a')
    """
    *others, final = words
    return f"{', '.join(others)} {last} {final}" if others else final


def tell(text: str) -> None:
    """Lines on stdout: what the command is asked for.

    Raises:
      OSError: if they cannot be written, as to a full disk.
    """
    lines = "\n".join(map(printable, text.split("\n")))
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    with place_told("standard output"):
        print(lines.encode(encoding, "backslashreplace").decode(encoding))
