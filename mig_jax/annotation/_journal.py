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


class Annotation(msgspec.Struct, frozen=True, gc=False):
    """What the models found of a record."""

    labels: list[str]
    scores: dict[str, list[float]]  # By scorer: a value for each turn, or a single one.


_ANNOTATION = msgspec.json.Decoder(Annotation)


class Journal:
    """The annotations of a run; a `with` block holds the file for this process alone."""

    def __init__(self, path: str, run: dict[str, Any], batch: int) -> None:
        """`run` is what decides the annotations, part by part; `batch` how many come at once."""
        self.path = path
        self.done = 0  # Records whose annotations are there.
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
        for found, line in enumerate(itertools.takewhile(_is_whole, stream), 1):
            position += len(line)
            if not found % self._batch:
                whole, self.done = position, found
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

    def read(self) -> Iterator[Annotation]:
        """Yields all annotations, in order."""
        with open(self.path, "rb") as stream:
            next(stream)
            yield from map(_ANNOTATION.decode, stream)

    def finish(self) -> None:
        """Nothing is left to go on from: a block that ends without an error removes the file."""
        self._finished = True


def _is_whole(line: bytes) -> bool:
    try:
        _ANNOTATION.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return line.endswith(b"\n")
