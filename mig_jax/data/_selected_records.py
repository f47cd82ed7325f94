"""A finished selection as a training order: its records by their rank, each read when asked for."""

from __future__ import annotations

import dataclasses
import mmap
import operator
import os
import tempfile
import warnings
from typing import Any, Protocol, SupportsIndex

import numpy as np
import numpy.typing as npt

from mig_jax.data._finished_selections import read_selection
from mig_jax.data.files import LONGEST_RECORD, LineFile, Losses, TableRows
from mig_jax.data.reading import RecordFile, open_files
from mig_jax.data.records import BadRecord, parse_record
from mig_jax.data.writing import check_outputs
from mig_jax.errors import InputError

__all__ = ["SelectedRecords"]


class SelectedRecords:
    """The records that `mig-jax select` wrote, in the order picked.

    A data source for Grain (its protocol `RandomAccessDataSource`) and for whatever else takes
    an object with a length and items. Picks in order serve all smaller budgets, so that `first`
    and `tokens` are selections of these sizes. Of JSON lines each record is read from the file when
    it is asked for; what cannot be read from anywhere (compressed lines, tables) is unpacked once
    in each process, to an anonymous file on disk. May be pickled, as Grain's workers need it,
    and be used by several threads.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile(suffix=".jsonl") as file:
    ...     _ = file.write(b'{"text": "best"}\\n{"text": "second"}\\n')
    ...     file.flush()
    ...     records = SelectedRecords(file.name)
    ...     len(records), records[1], len(SelectedRecords(file.name, first=1))
    (2, {'text': 'second'}, 1)
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        first: int | None = None,
        tokens: int | None = None,
        longest_record: int = LONGEST_RECORD,
    ) -> None:
        """Finds where each record is; reads none.

        Args:
          path: the --output of the run: JSON lines, plain or as .gz or .zst, or Parquet.
          first: only so many records, those picked first; records that were given and are written
            too stand before them, and count.
          tokens: only the records picked first that have at most so many tokens together, as the
            run counted them (records given cost nothing): its table of picks, beside the output,
            has them.
          longest_record: bytes that a record may have.

        Raises:
          InputError: if the file cannot be read, holds fewer records than `first`, or there is no
            table of its picks with their tokens, which `tokens` needs.
          ValueError: if `first` or `tokens` is below 0.
        """
        for name, limit in (("first", first), ("tokens", tokens)):
            if limit is not None and limit < 0:
                raise ValueError(f"{name} is {limit}, expected at least 0")
        self.path = os.fspath(path)
        files = open_files([path], longest_record=longest_record)
        if len(files) != 1:
            raise InputError(f"{self.path}: is {len(files)} files; expected one, as select writes")
        self._records = _records_of(files[0])
        held = len(self._records)
        if first is not None and first > held:
            raise InputError(f"{self.path}: has {held:,} records, expected the first {first:,}")
        self._count = held if first is None else first
        if tokens is not None:
            self._count = min(self._count, _picks_within(self.path, tokens))

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, rank: SupportsIndex) -> dict[str, Any]:
        """The record at a rank, from 0, or from the end if it is negative.

        Raises:
          IndexError: if there is no such rank.
          InputError: if the file has changed, or the record is no JSON object.
        """
        place = operator.index(rank)
        place += self._count if place < 0 else 0
        if not 0 <= place < self._count:
            raise IndexError(f"record {operator.index(rank)} of {self._count:,}")
        try:
            return parse_record(self._records.text(place))
        except BadRecord as bad:
            raise InputError(f"{self.path}, record {place + 1:,}: {bad}") from None

    def __repr__(self) -> str:
        # Grain compares it with that of a checkpoint.
        return f"SelectedRecords({self.path!r}, first={self._count})"


class _Records(Protocol):
    """The JSON of records by their place."""

    def __len__(self) -> int: ...

    def text(self, place: int) -> bytes: ...


def _records_of(file: RecordFile) -> _Records:
    if isinstance(file, LineFile) and not file.is_compressed:
        return _Lines(file, np.array([line.position for line in file.scan()], np.int64))
    return _Unpacked(file)


@dataclasses.dataclass(frozen=True, eq=False)
class _Lines:
    """Those of a file that can be read from anywhere; it must stay as it was."""

    file: LineFile
    positions: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.positions)

    def text(self, place: int) -> bytes:
        return next(self.file.read_records(self.positions[place : place + 1]))


class _Unpacked:
    """Those of any other file, which is read once; another process reads it again."""

    def __init__(self, file: RecordFile) -> None:
        self._file = file
        losses = Losses()
        ends = [0]
        with tempfile.TemporaryFile() as stream:
            for line in file.scan(losses) if isinstance(file, TableRows) else file.scan():
                if line.problem is not None:
                    raise InputError(f"{file.stamp.path}, line {line.number}: {line.problem}")
                ends.append(ends[-1] + stream.write(line.text))
            stream.flush()
            # Mapped, not read: threads and forked processes have no place in it to share.
            self._map = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) if ends[-1] else b""
        self._ends = np.array(ends)
        for loss in losses.told():
            warnings.warn(f"{file.stamp.path}: {loss}", stacklevel=4)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def text(self, place: int) -> bytes:
        return self._map[self._ends[place] : self._ends[place + 1]]

    def __reduce__(self) -> tuple[Any, ...]:
        return _Unpacked, (self._file,)


def _picks_within(path: str, tokens: int) -> int:
    """How many of the first picks have at most so many tokens together."""
    found = read_selection(path)
    check_outputs(found.place, path)
    if found.tokens is None:
        raise InputError(
            f"{found.place}: its table of picks has no tokens; expected a run with --budget_tokens"
        )
    return int(np.searchsorted(np.cumsum(found.tokens), tokens, side="right"))
