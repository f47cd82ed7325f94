"""The records that stay, a batch at a time, in parts that any machine can read alone.

A batch is the same records wherever it is read: `size` successive records of those that stay.
A part is the batches that begin in one file. Whoever reads it reads that file from its start
and, for its last batch, the beginning of the next one: no file needs to be cut, which those that
are compressed could not be.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import socket
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from mig_jax import data
from mig_jax.annotation.running._annotating import Batch
from mig_jax.annotation.running._pipeline import Kept, Needs
from mig_jax.errors import InputError

__all__ = ["PoolBatches", "PoolPart"]

# Opens and reads files as `data.open_files` and `data.read_conversations` do. Can be pickled.
Open = Callable[[Sequence[str]], list[data.RecordFile]]
Read = Callable[[Sequence[data.RecordFile]], Iterator[data.RawRecord]]


@dataclasses.dataclass(frozen=True)
class _File:
    """A file of a part, as another machine finds it."""

    name: str  # As it was given.
    path: str  # The same, from any folder.
    digests: list[str]
    records: int  # Usable ones.
    stays: bytes  # A bit for each.

    def read(self, opened: Open, read: Read) -> Iterator[data.RawRecord]:
        """Yields its records that stay.

        Raises:
          InputError: if it is not there, or not the same file.
        """
        [file] = opened([self.path])
        if file.stamp.digests() != self.digests:
            raise InputError(
                f"{self.name}: is another file on {socket.gethostname()} than where the command "
                "runs; expected the same files on all machines, under the same path"
            )
        bits = np.unpackbits(np.frombuffer(self.stays, np.uint8), count=self.records)
        for record, stays in zip(read([file]), bits.tolist(), strict=True):
            if stays:
                yield record


@dataclasses.dataclass(frozen=True)
class PoolPart:
    """Successive batches that begin in the same file; can be pickled, and read anywhere."""

    first: int  # Number of its first batch.
    batches: int
    size: int  # Records of a batch; the last of the pool may have fewer.
    skipped: int  # Records that stay, at its start, that belong to earlier batches.
    files: list[_File]
    needs: Needs
    opened: Open
    read: Read

    def __iter__(self) -> Iterator[Batch]:
        """Yields the batches in order; holds one at a time.

        Raises:
          InputError: if a file is not there, or not the same.
        """
        records = (
            (file.name, record)
            for file in self.files
            for record in file.read(self.opened, self.read)
        )
        rest = itertools.islice(records, self.skipped, self.skipped + self.batches * self.size)
        while batch := list(itertools.islice(rest, self.size)):
            yield Batch(
                [self.needs.sample_of(record) for _, record in batch],
                [f"{name}, line {record.line}" for name, record in batch],
            )


@dataclasses.dataclass(frozen=True)
class PoolBatches:
    """All batches of a pool."""

    files: Sequence[data.RecordFile]
    kept: Kept
    needs: Needs
    size: int
    opened: Open
    read: Read

    def parts(self, done: int) -> list[PoolPart]:
        """The parts whose batches are all those behind the first `done` records that stay.

        `done` is a multiple of the size, or all. No part is empty.
        """
        digests = {file.stamp.path: file.stamp.digests() for file in self.files}
        found = [
            (_shared(path, digests[path], stays), stays.count(1))
            for path, stays in self.kept.by_file()
        ]
        total = len(self.kept)
        parts, start = [], 0
        for place, (_, count) in enumerate(found):
            # Its batches: those that begin at one of the records [start, start + count).
            first = -(-max(start, done) // self.size)
            end = -(-(start + count) // self.size)
            if first < end:
                stop = min(end * self.size, total)
                needed, reached = [], start
                for file, more in found[place:]:
                    if reached >= stop:
                        break
                    needed.append(file)
                    reached += more
                parts.append(
                    PoolPart(
                        first,
                        end - first,
                        self.size,
                        first * self.size - start,
                        needed,
                        self.needs,
                        self.opened,
                        self.read,
                    )
                )
            start += count
        return parts


def _shared(path: str, digests: list[str], stays: bytes) -> _File:
    packed = np.packbits(np.frombuffer(stays, np.uint8)).tobytes()
    # An address stays as it is.
    anywhere = os.path.abspath(path) if os.path.exists(path) else path
    return _File(path, anywhere, digests, len(stays), packed)
