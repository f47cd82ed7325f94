"""The records of a pool as flat arrays, with the place each one came from."""

from __future__ import annotations

import dataclasses
from array import array
from collections.abc import Collection, Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt

__all__ = ["RecordSource", "RecordTable", "RecordTableBuilder", "sort_entries"]


class RecordSource(Protocol):
    """Where the records of one file can be had again, to be written out."""

    def read_records(self, positions: npt.NDArray[np.int64]) -> Iterator[bytes]:
        """Yields the record at each position as one line without its line break.

        `positions` (int64) are `RecordTable.position` entries, ascending, no two alike.

        Raises:
          InputError: where the file is no longer what was read.
        """
        ...


@dataclasses.dataclass(frozen=True, eq=False)
class RecordTable:
    """P records: their label ids, their scores and their places, file after file.

    The entries of record r are `labels[offsets[r]:offsets[r + 1]]`; a record without
    labels has none. Records stand in the order of `files` and, within a file, in the
    order of their lines.
    """

    labels: npt.NDArray[np.int32]  # [entries]: ids into label_names, ascending in a record.
    offsets: npt.NDArray[np.int64]  # [P + 1]: first entry of each record, then the end.
    scores: npt.NDArray[np.float32]  # [P]: finite and at least 0.
    label_names: list[str]  # Sorted; exactly the labels that occur.
    files: tuple[str, ...]  # Paths as they were given.
    layouts: tuple[str, ...]  # Layout of each file.
    sources: tuple[RecordSource, ...]  # One a file.
    file_index: npt.NDArray[np.int32]  # [P]: index into files.
    line: npt.NDArray[np.int64]  # [P]: line of the file, or row of a Parquet file, from 1.
    position: npt.NDArray[np.int64]  # [P]: byte offset in the uncompressed text, or row from 0.
    records_read: int  # Used and skipped records together.
    records_skipped: int  # Bad records left out.
    labels_dropped: int  # Entries left out because their label is not in the vocabulary.

    @property
    def num_records(self) -> int:
        return len(self.scores)

    @property
    def num_labels(self) -> int:
        return len(self.label_names)


class RecordTableBuilder:
    """Collects records one by one; holds numbers only, and each label string once."""

    def __init__(self, vocabulary: Collection[str] | None = None) -> None:
        """`vocabulary` should answer `in` quickly: a set."""
        self._vocabulary = vocabulary
        self._ids: dict[str, int] = {}
        self._labels = array("i")
        self._offsets = array("q", [0])
        self._scores = array("f")
        self._file_index = array("i")
        self._line = array("q")
        self._position = array("q")
        self._dropped = 0

    def __len__(self) -> int:
        return len(self._scores)

    def add(
        self, labels: list[str], score: float, *, file_index: int, line: int, position: int
    ) -> None:
        """Adds a record; `labels` must hold each label once."""
        if self._vocabulary is not None:
            known = [label for label in labels if label in self._vocabulary]
            self._dropped += len(labels) - len(known)
            labels = known
        ids = self._ids
        self._labels.extend([ids.setdefault(label, len(ids)) for label in labels])
        self._offsets.append(len(self._labels))
        self._scores.append(score)
        self._file_index.append(file_index)
        self._line.append(line)
        self._position.append(position)

    def build(
        self,
        *,
        files: tuple[str, ...],
        layouts: tuple[str, ...],
        sources: tuple[RecordSource, ...],
        records_skipped: int,
    ) -> RecordTable:
        """The table of all records added."""
        offsets = np.frombuffer(self._offsets, np.int64)
        label_names = sorted(self._ids)
        # Ids were given out by first appearance; the table's follow the sorted names.
        sorted_id = np.empty(len(label_names), np.int32)
        sorted_id[[self._ids[name] for name in label_names]] = np.arange(len(label_names))
        labels = sorted_id[np.frombuffer(self._labels, np.int32)]
        return RecordTable(
            labels=sort_entries(labels, offsets, len(label_names)),
            offsets=offsets,
            scores=np.frombuffer(self._scores, np.float32),
            label_names=label_names,
            files=files,
            layouts=layouts,
            sources=sources,
            file_index=np.frombuffer(self._file_index, np.int32),
            line=np.frombuffer(self._line, np.int64),
            position=np.frombuffer(self._position, np.int64),
            records_read=len(self) + records_skipped,
            records_skipped=records_skipped,
            labels_dropped=self._dropped,
        )


def sort_entries(
    labels: npt.NDArray[np.int32], offsets: npt.NDArray[np.int64], num_labels: int
) -> npt.NDArray[np.int32]:
    """The label ids (int32 [entries]) put in ascending order within each record."""
    records = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    keys = records * num_labels + labels
    keys.sort()
    return (keys - records * num_labels).astype(np.int32)
