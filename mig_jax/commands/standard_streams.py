"""What `-` stands for: records read from standard input, and those written to standard output."""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from typing import BinaryIO, Final

from mig_jax.commands.terminal import say
from mig_jax.errors import InputError
from mig_jax.runs import place_told

__all__ = ["STANDARD", "spooled_input", "standard_input", "standard_output"]

#: The name of standard input and output among flags.
STANDARD: Final = "-"


@dataclasses.dataclass
class _Spool:
    held: contextlib.ExitStack
    path: str | None = None  # Once standard input was read.


_spool = contextvars.ContextVar[_Spool | None]("_spool", default=None)


@contextlib.contextmanager
def standard_input() -> Iterator[None]:
    """Within, `spooled_input` may be called; what it keeps is removed in the end."""
    with contextlib.ExitStack() as held:
        before = _spool.set(_Spool(held))
        try:
            yield
        finally:
            _spool.reset(before)


def spooled_input() -> str:
    """A file with all of standard input, which is read once: pools are read several times.

    Raises:
      InputError: if there is no standard input, or it cannot be read.
    """
    spool = _spool.get()
    if spool is None or sys.stdin is None:
        raise InputError(f"{STANDARD}: there is no standard input here; expected a file")
    if spool.path is not None:
        return spool.path
    if sys.stdin.isatty():
        say("reading records from the terminal, up to Ctrl-D")
    with place_told(tempfile.gettempdir()):
        folder = spool.held.enter_context(tempfile.TemporaryDirectory(prefix="mig_jax_"))
        path = os.path.join(folder, "standard_input")
        with open(path, "xb") as stream:
            shutil.copyfileobj(sys.stdin.buffer, stream, 1 << 20)
    spool.path = path
    return path


@contextlib.contextmanager
def standard_output() -> Iterator[BinaryIO]:
    """A stream whose bytes go to standard output in the end, all of them; none if it fails.

    Raises:
      InputError: if there is no standard output.
    """
    if sys.stdout is None:  # As of `>&-`.
        raise InputError("standard output: is closed; expected a file or a pipe to write to")
    with tempfile.TemporaryFile() as spool:
        yield spool
        spool.seek(0)
        with place_told("standard output"):
            sys.stdout.flush()
            binary = getattr(sys.stdout, "buffer", None)
            if binary is None:  # As in a notebook.
                sys.stdout.write(spool.read().decode(errors="replace"))
            else:
                shutil.copyfileobj(spool, binary, 1 << 20)
                binary.flush()
