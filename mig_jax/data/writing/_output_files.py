"""The output files of a command: all of them appear, or none."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from types import TracebackType
from typing import BinaryIO, Self

from mig_jax.errors import InputError
from mig_jax.runs import open_temporary

__all__ = ["OutputFiles"]


class OutputFiles:
    """The output files of a command, which all appear together once it has succeeded.

    Each is written under a temporary name in its own folder. Leaving the `with` block
    renames them all; an exception, KeyboardInterrupt included, removes them all and
    leaves files of these names as they were.

    >>> import os, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with OutputFiles() as outputs:
    ...         _ = outputs.open(os.path.join(folder, "picks.txt")).write(b"3")
    ...     os.listdir(folder)
    ['picks.txt']
    """

    def __init__(self, inputs: Iterable[str | os.PathLike[str]] = ()) -> None:
        """`inputs` are files that no output may overwrite; names of no file are passed over."""
        self._inputs = [os.fspath(path) for path in inputs]
        self._streams: dict[str, BinaryIO] = {}  # By the path that the file will have.

    def open(self, path: str | os.PathLike[str]) -> BinaryIO:
        """A stream for the bytes of the output that will stand at `path`.

        Raises:
          InputError: if the folder does not exist or cannot be written to, or the
            path is an input, an earlier output, a directory or a device.
        """
        given = os.fspath(path)
        # A link stays a link: what it points to is replaced.
        target = os.path.realpath(given)
        folder = os.path.dirname(target)
        if not os.path.isdir(folder):
            raise InputError(f"{given}: folder {folder} does not exist; expected an existing one")
        if os.path.exists(target):
            if not os.path.isfile(target):
                raise InputError(f"{given}: is not a regular file; expected a file name")
            for source in self._inputs:
                if os.path.exists(source) and os.path.samefile(source, target):
                    raise InputError(f"{given}: is an input; expected another file to write to")
        if target in self._streams:
            raise InputError(f"{given}: is an output already; expected another file to write to")
        try:
            self._streams[target] = open_temporary(target)
        except OSError as error:
            raise InputError(f"{given}: {error.strerror}; expected a writable folder") from None
        return self._streams[target]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                # All are on the disk before the first takes its name.
                for stream in self._streams.values():
                    stream.flush()
                    os.fsync(stream.fileno())
                    if os.name == "nt":
                        stream.close()  # Windows renames no open files.
                # Held until they have their names: nobody takes them for left behind.
                for target, stream in self._streams.items():
                    os.replace(stream.name, target)
        finally:
            for stream in self._streams.values():
                # Closing flushes, and fails again if the disk is full.
                with contextlib.suppress(OSError):
                    stream.close()
                with contextlib.suppress(FileNotFoundError):
                    os.remove(stream.name)
            self._streams.clear()
