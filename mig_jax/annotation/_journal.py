"""What is annotated so far, kept on disk as it comes, so that a killed run goes on.

A file of JSON lines: first the fingerprint of the run that it belongs to, then an
annotation a record, written a batch at a time. A batch that is not whole is not there:
models round differently in other batches, and what is written must not depend on kills.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, BinaryIO, Self

import msgspec

from mig_jax.errors import InputError
from mig_jax.runs import differences

__all__ = ["Annotation", "Journal"]


class Annotation(msgspec.Struct, frozen=True, gc=False):
    """What the models found of a record."""

    labels: list[str]
    scores: dict[str, list[float]]  # By scorer: a value for each turn, or a single one.


class _Header(msgspec.Struct):
    run: dict[str, Any]


_ANNOTATION = msgspec.json.Decoder(Annotation)


class Journal:
    """The annotations of a run; a `with` block holds the file for this process alone."""

    def __init__(self, path: str, run: dict[str, Any], batch: int) -> None:
        """`run` is what decides the annotations, part by part; `batch` how many come at once."""
        self.path = path
        self.done = 0  # Records whose annotations are there.
        self._run = msgspec.json.decode(msgspec.json.encode(run))
        self._batch = batch
        self._stream: BinaryIO | None = None

    def __enter__(self) -> Self:
        """Opens the file, and drops what is not whole.

        Raises:
          InputError: where it belongs to another run, is in use, or cannot be written.
        """
        try:
            self._stream = open(self.path, "a+b")
        except OSError as error:
            raise InputError(f"{self.path}: {error.strerror}; expected a writable file") from None
        try:
            _lock(self._stream, self.path)
            self._recover(self._stream)
        except BaseException:
            self._stream.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._stream is not None
        if not self.done:
            self.remove()
        self._stream.close()

    def append(self, annotations: Sequence[Annotation]) -> None:
        """Adds those of the next batch; they outlive this process from now on."""
        assert self._stream is not None
        self._stream.write(b"".join(msgspec.json.encode(one) + b"\n" for one in annotations))
        self._stream.flush()
        self.done += len(annotations)

    def read(self) -> Iterator[Annotation]:
        """Yields all annotations, in order."""
        with open(self.path, "rb") as stream:
            next(stream)
            yield from map(_ANNOTATION.decode, stream)

    def remove(self) -> None:
        """For when all outputs are written."""
        with contextlib.suppress(FileNotFoundError):
            os.remove(self.path)

    def _recover(self, stream: BinaryIO) -> None:
        stream.seek(0)
        header = stream.readline()
        if not header.endswith(b"\n"):
            # Killed before anything was found.
            stream.truncate(0)
            stream.write(msgspec.json.encode(_Header(self._run)) + b"\n")
            stream.flush()
            return
        try:
            run = msgspec.json.decode(header, type=_Header).run
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise InputError(
                f"{self.path}: is not what an earlier run left; expected no file of this name, "
                "or one to go on from"
            ) from None
        if told := differences(run, self._run):
            raise InputError(
                f"{self.path}: was begun by another run: {told}; expected the same command, or "
                "no such file (delete it to begin anew)"
            )
        whole = position = stream.tell()
        for found, line in enumerate(itertools.takewhile(_is_whole, stream), 1):
            position += len(line)
            if not found % self._batch:
                whole, self.done = position, found
        stream.truncate(whole)


def _is_whole(line: bytes) -> bool:
    try:
        _ANNOTATION.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return line.endswith(b"\n")


def _lock(stream: BinaryIO, path: str) -> None:
    try:
        import fcntl
    except ImportError:  # Not on Windows.
        return
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise InputError(
            f"{path}: another run is writing it; expected one run for an output"
        ) from None
