"""What commands say on the terminal: progress, remarks, flags, and one line if one fails."""

from __future__ import annotations

import contextlib
import contextvars
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TextIO

import tqdm
from absl import flags

from mig_jax.commands.ends import die_by, in_one_line, raised
from mig_jax.errors import InputError, printable
from mig_jax.runs import commits_made, place_told

__all__ = [
    "exit_status",
    "flags_only",
    "help_text",
    "listed",
    "progress_bar",
    "say",
    "silent",
    "tell",
    "told_by",
]

_is_silent = contextvars.ContextVar("_is_silent", default=False)
# How a caller from Python has lines put, and bars drawn.
_words: contextvars.ContextVar[Callable[[str], str]] = contextvars.ContextVar("_words", default=str)
_bar: contextvars.ContextVar[type[tqdm.tqdm]] = contextvars.ContextVar("_bar", default=tqdm.tqdm)


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

    def told() -> str:
        return "all outputs were written" if commits_made() > before else interrupted

    try:
        with raised(name, told):
            status = command() or 0
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


def _give_up(stream: TextIO) -> None:
    """Nothing more is written to a stream: Python would fail once more when it exits."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class _Stderr:
    """The stderr of the moment; a full disk, or a reader that has left, ends no run there."""

    def write(self, text: str) -> None:
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except OSError:
            _give_up(sys.stderr)

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr, name)


_stderr: Any = _Stderr()


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


@contextlib.contextmanager
def told_by(words: Callable[[str], str], bar: type[tqdm.tqdm]) -> Iterator[None]:
    """Within, `say` puts its lines as `words` does, and `progress_bar` makes a `bar`."""
    before = _words.set(words), _bar.set(bar)
    try:
        yield
    finally:
        _words.reset(before[0])
        _bar.reset(before[1])


def progress_bar(name: str, total: int | None, **options: Any) -> tqdm.tqdm:
    """A bar on stderr; `options` are tqdm's."""
    return _bar.get()(
        desc=_words.get()(name),
        total=total,
        file=_stderr,
        mininterval=0.2,
        disable=_is_silent.get(),
        **options,
    )


def say(text: str) -> None:
    """A line on stderr, above the bars that are there."""
    if not _is_silent.get():
        tqdm.tqdm.write(printable(_words.get()(text)), file=_stderr)


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
