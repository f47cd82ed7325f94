"""The records of a pool as flat arrays, with the place each one came from."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

__all__ = ["RecordPart", "RecordSource", "RecordTable", "RecordTableBuilder", "sort_entries"]


class RecordSource(Protocol):
    """Where the records of one file can be had again, to be written out."""

    def read_records(self, positions: npt.NDArray[np.int64]) -> Iterator[bytes]:
        """Yields the record at each position as one line without its line break.

        `positions` (int64) are `RecordTable.position` entries, ascending, no two alike.

        Raises:
          InputError: if the file is no longer what was read.
        """
        ...


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class RecordTable:
    """P records: their label ids, their scores and their places, file after file.

    The entries of record r are `labels[offsets[r]:offsets[r + 1]]`; a record without
    labels has none. Records stand in the order of `files` and, within a file, in the
    order of their lines.
    """

    labels: npt.NDArray[np.int32]  #: [entries]: ids into label_names, ascending in a record.
    offsets: npt.NDArray[np.int64]  #: [P + 1]: first entry of each record, then the end.
    scores: npt.NDArray[np.float32]  #: [P]: finite and at least 0.
    label_names: list[str]  #: Sorted; exactly the labels that occur.
    files: tuple[str, ...]  #: Paths as they were given.
    layouts: tuple[str, ...]  #: The label format of each file.
    sources: tuple[RecordSource, ...]  #: One a file.
    file_index: npt.NDArray[np.int32]  #: [P]: index into files.
    line: npt.NDArray[np.int64]  #: [P]: line of the file, or row of a Parquet file, from 1.
    position: npt.NDArray[np.int64]  #: [P]: byte offset in the uncompressed text, or row from 0.
    records_read: int  #: Used and skipped records together.
    records_skipped: int  #: Bad records left out.
    labels_dropped: int  #: Entries left out: labels that are blank or not in the vocabulary.
    #: float32 [K, width]: unit embeddings that came with the labels, if any did.
    label_vectors: npt.NDArray[np.float32] | None = None

    @property
    def num_records(self) -> int:
        return len(self.scores)

    @property
    def num_labels(self) -> int:
        return len(self.label_names)

    def __repr__(self) -> str:
        of = self.files[0] if len(self.files) == 1 else f"{len(self.files):,} files"
        skipped = f", {self.records_skipped:,} skipped" * (self.records_skipped > 0)
        return (
            f"RecordTable({self.num_records:,} records{skipped}, {self.num_labels:,} labels; {of})"
        )

    def only(self, rows: npt.NDArray[np.integer]) -> RecordTable:
        """Some records, by their indices, ascending. Labels keep their ids; not all may occur."""
        counts = np.diff(self.offsets)[rows]
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
        entries = np.arange(offsets[-1]) + np.repeat(self.offsets[rows] - offsets[:-1], counts)
        columns = ("scores", "file_index", "line", "position")
        return dataclasses.replace(
            self,
            labels=self.labels[entries],
            offsets=offsets,
            **{name: getattr(self, name)[rows] for name in columns},
        )


class RecordPart(NamedTuple):
    """R records that follow each other in a file, on their own: a step to the table.

    The entries of a record are `labels[sum(counts[:r]):sum(counts[:r + 1])]`.
    """

    labels: npt.NDArray[np.int32]  #: [entries]: ids into names, ascending in a record.
    counts: npt.NDArray[np.int64]  #: [R]: entries of each record.
    scores: npt.NDArray[np.float32]  #: [R].
    names: list[str]  #: Sorted.
    line: npt.NDArray[np.int64]  #: [R]: from 1, the first line of the text that was decoded.
    position: npt.NDArray[np.int64]  #: [R]: as in RecordTable.
    lines_passed: int  #: Lines of that text up to the end of this part, of all kinds.
    labels_dropped: int


class RecordTableBuilder:
    """Collects the parts of a table; holds numbers only, and each label string once."""

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}
        self._parts: list[RecordPart] = []  # Their names taken out.
        self._file_index: list[int] = []  # Of each part.
        self._records = 0

    def __len__(self) -> int:
        return self._records

    def add(self, part: RecordPart, *, file_index: int, lines_before: int) -> None:
        """Adds the next part; `lines_before` lines of the file precede its text."""
        ids = self._ids
        new_id = np.array([ids.setdefault(name, len(ids)) for name in part.names], np.int32)
        labels = new_id[part.labels] if len(part.labels) else part.labels
        line = part.line + lines_before
        self._parts.append(part._replace(labels=labels, line=line, names=[]))
        self._file_index.append(file_index)
        self._records += len(part.scores)

    def build(
        self,
        *,
        files: tuple[str, ...],
        layouts: tuple[str, ...],
        sources: tuple[RecordSource, ...],
        records_skipped: int,
        vectors: tuple[Sequence[str], npt.NDArray[np.float32]] | None = None,
    ) -> RecordTable:
        """The table of all records added; `vectors` are labels and the embedding of each."""
        nothing = np.zeros(0, np.int64)
        parts = self._parts or [
            RecordPart(
                nothing.astype(np.int32),
                nothing,
                nothing.astype(np.float32),
                [],
                nothing,
                nothing,
                0,
                0,
            )
        ]
        counts = np.concatenate([part.counts for part in parts])
        label_names = sorted(self._ids)
        # Ids were given out by first appearance; the table's follow the sorted names.
        # Both these and the names of a part ascend, so entries stay in order.
        sorted_id = np.empty(len(label_names), np.int32)
        sorted_id[[self._ids[name] for name in label_names]] = np.arange(len(label_names))
        return RecordTable(
            labels=sorted_id[np.concatenate([part.labels for part in parts])],
            offsets=np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)]),
            scores=np.concatenate([part.scores for part in parts]),
            label_names=label_names,
            files=files,
            layouts=layouts,
            sources=sources,
            file_index=np.repeat(
                np.array(self._file_index or [0], np.int32), [len(part.scores) for part in parts]
            ),
            line=np.concatenate([part.line for part in parts]),
            position=np.concatenate([part.position for part in parts]),
            records_read=len(self) + records_skipped,
            records_skipped=records_skipped,
            labels_dropped=sum(part.labels_dropped for part in parts),
            label_vectors=None if vectors is None else _rows_of(label_names, *vectors),
        )


def _rows_of(
    names: Sequence[str], known: Sequence[str], vectors: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    row_of = {name: row for row, name in enumerate(known)}
    return vectors[[row_of[name] for name in names]]


def sort_entries(
    labels: npt.NDArray[np.int32], offsets: npt.NDArray[np.int64], num_labels: int
) -> npt.NDArray[np.int32]:
    """The label ids (int32 [entries]) put in ascending order within each record."""
    records = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    keys = records * num_labels + labels
    keys.sort()
    return (keys - records * num_labels).astype(np.int32)
