"""What is annotated so far, kept on disk as it comes, so that a killed run goes on.

A file of JSON lines: first the record of the run that it belongs to, then an
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

from mig_jax.runs import open_run_file, place_told

__all__ = ["Annotation", "Journal"]


class Annotation(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What the models found of a record."""

    labels: list[str]
    scores: dict[str, list[float]]  # By scorer: a value for each turn, or a single one.
    rejected: str | None = None  # Why the record is left out, and has no labels and scores.


_ANNOTATION = msgspec.json.Decoder(Annotation)


class Journal:
    """The annotations of a run; a `with` block holds the file for this process alone."""

    def __init__(self, path: str, run: dict[str, Any], batch: int) -> None:
        """`run` is what decides the annotations, part by part; `batch` how many come at once."""
        self.path = path
        self.done = 0  # Records whose annotations are there.
        self.rejected = 0  # Of those: left out by a model.
        self._run = run
        self._batch = batch
        self._stream: BinaryIO | None = None
        self._finished = False

    def __enter__(self) -> Self:
        """Opens the file, and drops what is not whole.

        Raises:
          InputError: if it is no journal, or one of another run, or in use, or cannot be written.
        """
        stream = self._stream = open_run_file(self.path, "journal", self._run)
        whole = position = stream.tell()
        rejected = 0
        lines = itertools.takewhile(lambda pair: pair[1] is not None, map(_read_line, stream))
        for found, (size, annotation) in enumerate(lines, 1):
            position += size
            rejected += annotation is not None and annotation.rejected is not None
            if not found % self._batch:
                whole, self.done, self.rejected = position, found, rejected
        stream.seek(whole)
        stream.truncate()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._stream is not None
        if not self.done or (self._finished and error is None):
            with contextlib.suppress(FileNotFoundError):
                os.remove(self.path)
        self._stream.close()

    def append(self, annotations: Sequence[Annotation]) -> None:
        """Adds those of the next batch; they outlive this process from now on."""
        assert self._stream is not None
        with place_told(self.path):
            self._stream.write(b"".join(msgspec.json.encode(one) + b"\n" for one in annotations))
            self._stream.flush()
        self.done += len(annotations)
        self.rejected += sum(one.rejected is not None for one in annotations)

    def read(self) -> Iterator[Annotation]:
        """Yields all annotations, in order."""
        with open(self.path, "rb") as stream:
            next(stream)
            yield from map(_ANNOTATION.decode, stream)

    def finish(self) -> None:
        """Nothing is left to go on from: a block that ends without an error removes the file."""
        self._finished = True


def _read_line(line: bytes) -> tuple[int, Annotation | None]:
    """The size of a line and what it holds; None if it is not whole."""
    try:
        found = _ANNOTATION.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return len(line), None
    return len(line), found if line.endswith(b"\n") else None
