"""A pool that several processes read, each its share of the bytes.

Shares follow each other: what the processes read, one after the other, is what
one process would read. Plain text is cut anywhere; a file that can only be read
from its start belongs to the share that its first byte is in.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from mig_jax.data.files import LineFile
from mig_jax.data.reading._bad_records import BadRecords
from mig_jax.data.reading._cache import Writable
from mig_jax.data.reading._limits import USUAL_LIMITS, ReadingLimits
from mig_jax.data.reading._pool_files import open_files
from mig_jax.data.reading._readers import (
    can_be_cut,
    common_form,
    is_whole,
    ranges,
    read_ranges,
)
from mig_jax.data.reading._record_parts import Decoding, RecordFile
from mig_jax.data.reading._record_table import RecordTable
from mig_jax.data.records import FieldNames
from mig_jax.errors import InputError

__all__ = ["PoolShare", "share_of_pool"]


@dataclasses.dataclass(frozen=True)
class PoolShare:
    """What one process reads of a pool; the same files, and layout, for all."""

    files: Sequence[RecordFile]
    tasks: Sequence[Sequence[Decoding]]  # Of each file; none if others read it.
    skip: bool
    limits: ReadingLimits

    def count_lines(self) -> npt.NDArray[np.int64]:
        """Lines of each file in this share, int64 [files], as far as another share needs them.

        A later share of the same file must know how many lines came before. Counting is
        many times as fast as reading.

        Raises:
          InputError: if a file cannot be read.
        """
        lines = np.zeros(len(self.files), np.int64)
        for index, of_file in enumerate(self.tasks):
            file = self.files[index]
            if of_file and not is_whole(of_file) and isinstance(file, LineFile):
                for block in file.blocks(of_file[0].start, of_file[-1].stop):
                    lines[index] += block.buffer.count(b"\n", 0, block.end)
        return lines

    def read(
        self,
        lines_before: npt.NDArray[np.int64],
        *,
        rejects: Writable | None = None,
        progress: Callable[[int], None] | None = None,
        workers: int | None = None,
    ) -> RecordTable:
        """The records of this share, of which there may be none; as `read_pool` gives them.

        Args:
          lines_before: int64 [files], lines of each file in the shares before this one.
          rejects: as for `read_pool`.
          progress: as for `read_pool`.
          workers: as for `read_pool`.

        Raises:
          InputError: as `read_pool` does, but a file that several shares are of may have
            no usable record: see `check_all_used`.
        """
        bad = [BadRecords(file.stamp.path, self.skip, rejects) for file in self.files]
        before = lines_before.tolist()
        return read_ranges(self.files, self.tasks, bad, progress, workers, self.limits, before)

    def check_all_used(self, used: npt.NDArray[np.int64]) -> None:
        """Checks that every file has records, given those used by all shares, int64 [files].

        Raises:
          InputError: if one has none.
        """
        for file, records in zip(self.files, used.tolist(), strict=True):
            if not records:
                raise InputError(f"{file.stamp.path}: holds no usable record; expected one")


def share_of_pool(
    paths: Sequence[str | os.PathLike[str] | RecordFile],
    index: int,
    count: int,
    *,
    layout: Literal["auto", "xsample", "plain"] = "auto",
    vocabulary: Sequence[str] | None = None,
    on_bad_record: Literal["error", "skip"] = "error",
    fields: FieldNames | Mapping[str, str] | None = None,
    fits: str | None = None,
    limits: ReadingLimits = USUAL_LIMITS,
) -> PoolShare:
    """Share `index` of `count` of the files; the other arguments as for `read_pool`.

    Raises:
      InputError: if there is no file, one is given twice or cannot be read, or the
        files differ in layout.
    """
    skip = on_bad_record == "skip"
    names = FieldNames.of(fields)
    files = open_files(paths, fields=names, longest_record=limits.longest_record)
    form = common_form(files, layout, names, fits, skip)
    known = None if vocabulary is None else frozenset(vocabulary)
    total = sum(file.stamp.size for file in files)
    first, last = total * index // count, total * (index + 1) // count
    tasks, begin = [], 0
    for file in files:
        size = file.stamp.size
        start, stop = max(first - begin, 0), min(last - begin, size)
        begin += size
        cuts: list[tuple[int, int | None]] = []
        if start < stop and can_be_cut(file):
            cuts = ranges(file, limits, start, None if stop == size else stop)
        elif start == 0 < stop:
            cuts = ranges(file, limits)
        tasks.append([Decoding(file, form, known, not skip, *cut) for cut in cuts])
    return PoolShare(files, tasks, skip, limits)
