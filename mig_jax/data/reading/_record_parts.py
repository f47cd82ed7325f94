"""From the text or rows of a file to columns of numbers, part by part.

All that is done to one record at a time is in `_text_parts`; whatever can wait is done
to the columns of a part at once.
"""

from __future__ import annotations

import itertools
import json
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from mig_jax.data.files import (
    ArrayFile,
    CsvFile,
    DatasetRows,
    LineFile,
    ParquetRows,
    bare_line,
    end_of_blank_lines,
)
from mig_jax.data.reading._record_table import RecordPart, sort_entries
from mig_jax.data.records import BadRecord, LabelsAndScore, RecordForm, other_format

__all__ = ["BadLine", "Decoded", "Decoding", "RecordFile", "decode_file", "decoded_rows"]

RecordFile = LineFile | ArrayFile | CsvFile | ParquetRows | DatasetRows

# A part is ended at this many records, or this much text of bad ones.
_RECORDS_A_PART: Final = 1 << 14
_BAD_TEXT_A_PART: Final = 1 << 24


class Decoding(NamedTuple):
    """What to decode, and how."""

    file: RecordFile
    form: RecordForm
    vocabulary: frozenset[str] | None  # Other labels are dropped.
    stop_at_bad: bool  # Nothing after the first bad record is wanted.
    start: int = 0  # Plain text: the lines that start in bytes [start, stop).
    stop: int | None = None


class BadLine(NamedTuple):
    """A record that cannot be used."""

    line: int  # As `RecordPart.line`.
    reason: BadRecord
    text: bytes  # Of a row of a table, the fields that were read.


class Decoded(NamedTuple):
    """Records that follow each other in a file, used and bad ones."""

    part: RecordPart
    bad: list[BadLine]


def decode_file(
    decoding: Decoding, progress: Callable[[int], None] | None = None
) -> Iterator[Decoded]:
    """Yields the records in order, a bounded number at a time.

    `progress` gets the bytes of the file consumed so far.

    Raises:
      InputError: if the file cannot be read to its end.
    """
    if isinstance(decoding.file, LineFile):
        return _text_parts(decoding.file, decoding, progress)
    if isinstance(decoding.file, ArrayFile):
        return _element_parts(decoding.file, decoding, progress)
    if isinstance(decoding.file, CsvFile):
        return _csv_parts(decoding.file, decoding, progress)
    return _row_parts(decoding.file, decoding, progress)


class _Row(Protocol):
    """A record whose labels and score are known already."""

    @property
    def labels(self) -> Sequence[str]: ...
    @property
    def score(self) -> float: ...
    @property
    def file_index(self) -> int: ...
    @property
    def line(self) -> int: ...
    @property
    def position(self) -> int: ...


def decoded_rows(rows: Iterable[_Row]) -> Iterator[tuple[int, Decoded]]:
    """Yields records that need no decoding as parts, each with the index of its file.

    `rows` are those of one file after the other.
    """
    for file_index, of_file in itertools.groupby(rows, lambda row: row.file_index):
        columns = _Columns()
        for row in of_file:
            columns.add((list(row.labels), row.score), row.line, row.position)
            if columns.is_full():
                yield file_index, columns.finish(row.line, None)
                columns = _Columns()
        yield file_index, columns.finish(0, None)


class _LabelIds(dict[str, int]):
    """Gives each label that is looked up the next id when it is new."""

    def __missing__(self, label: str) -> int:
        number = self[label] = len(self)
        return number


class _Columns:
    """The records of the part that is being decoded, an entry or a record an item."""

    def __init__(self) -> None:
        self.labels: list[str] = []  # Repeats included.
        self.counts: list[int] = []
        self.scores: list[float] = []
        self.line: list[int] = []
        self.position: list[int] = []
        self.bad: list[BadLine] = []
        self.bad_text = 0  # Bytes.

    def is_full(self) -> bool:
        return len(self.scores) >= _RECORDS_A_PART or self.bad_text >= _BAD_TEXT_A_PART

    def add(self, found: LabelsAndScore, line: int, position: int) -> None:
        labels, score = found
        self.labels += labels
        self.counts.append(len(labels))
        self.scores.append(score)
        self.line.append(line)
        self.position.append(position)

    def add_bad(self, bad: BadLine) -> None:
        self.bad.append(bad)
        self.bad_text += len(bad.text)

    def finish(self, lines_passed: int, vocabulary: frozenset[str] | None) -> Decoded:
        """The part; labels that repeat in a record are left out.

        So are, and are counted, those that are blank or not in the vocabulary.
        """
        ids = _LabelIds()
        entries = np.fromiter(map(ids.__getitem__, self.labels), np.int32, len(self.labels))
        names = sorted(ids)
        sorted_id = np.empty(len(names), np.int32)
        sorted_id[[ids[name] for name in names]] = np.arange(len(names), dtype=np.int32)
        counts = np.array(self.counts, np.int64)
        labels, counts = _drop_repeats(sorted_id[entries], counts, len(names))
        dropped = 0
        known = [name for name in names if _is_label(name, vocabulary)]
        if len(known) < len(names):
            is_known = np.array([_is_label(name, vocabulary) for name in names], bool)
            before = len(labels)
            labels, counts = _keep(is_known[labels], labels, counts)
            dropped = before - len(labels)
            names = known
            labels = (np.cumsum(is_known, dtype=np.int32) - np.int32(1))[labels]
        part = RecordPart(
            labels=labels,
            counts=counts,
            scores=np.array(self.scores, np.float32),
            names=names,
            line=np.array(self.line, np.int64),
            position=np.array(self.position, np.int64),
            lines_passed=lines_passed,
            labels_dropped=dropped,
        )
        return Decoded(part, self.bad)


def _text_parts(
    file: LineFile, decoding: Decoding, progress: Callable[[int], None] | None
) -> Iterator[Decoded]:
    parse = decoding.form.reader.parse
    columns = _Columns()
    number = 0
    for position, buffer, end in file.blocks(decoding.start, decoding.stop, progress):
        view, find = memoryview(buffer), buffer.find
        here = 0
        # This loop is most of the time of reading: `_Columns.add` is written out in it.
        labels, counts, scores = columns.labels, columns.counts, columns.scores
        lines, positions = columns.line, columns.position
        while here < end:
            stop = find(b"\n", here)
            number += 1
            found = parse(view[here:stop])
            if found is not None:
                labels += found[0]
                counts.append(len(found[0]))
                scores.append(found[1])
                lines.append(number)
                positions.append(position + here)
            elif (after := end_of_blank_lines(buffer, here, end)) > here:
                number += buffer.count(b"\n", here, after) - 1
                stop = after - 1
            else:
                line = bytes(view[here : stop + 1])
                _add_carefully(columns, line, number, position + here, decoding.form)
                if columns.bad and decoding.stop_at_bad:
                    yield columns.finish(number, decoding.vocabulary)
                    return
            here = stop + 1
        if columns.is_full():
            yield columns.finish(number, decoding.vocabulary)
            columns = _Columns()
    yield columns.finish(number, decoding.vocabulary)


def _add_carefully(
    columns: _Columns, line: bytes, number: int, position: int, form: RecordForm
) -> None:
    """Adds a line that is not a record without fault: blank, bad, or usable after all."""
    text = bare_line(line)
    if not text or text.isspace():
        return
    try:
        columns.add(form.reader.decode(text), number, position)
    except BadRecord as bad:
        columns.add_bad(BadLine(number, other_format(text, form) or bad, text))


def _element_parts(
    file: ArrayFile, decoding: Decoding, progress: Callable[[int], None] | None
) -> Iterator[Decoded]:
    columns = _Columns()
    parse = decoding.form.reader.parse
    number = 0
    for number, text in enumerate(file.elements(progress), 1):
        found = parse(text)
        if found is not None:
            columns.add(found, number, number - 1)
        else:
            _add_carefully(columns, text, number, number - 1, decoding.form)
        if columns.bad and decoding.stop_at_bad:
            break
        if columns.is_full():
            yield columns.finish(number, decoding.vocabulary)
            columns = _Columns()
    yield columns.finish(number, decoding.vocabulary)


def _csv_parts(
    file: CsvFile, decoding: Decoding, progress: Callable[[int], None] | None
) -> Iterator[Decoded]:
    columns = _Columns()
    convert = decoding.form.reader.convert
    number = 0
    for number, position, text, record, problem in file.rows(progress):
        try:
            if problem is not None:
                raise problem
            columns.add(convert(record), number, position)
        except BadRecord as bad:
            if "found a string" in bad.problem:
                bad = BadRecord(f"{bad.problem}, as JSON", bad.field)
            columns.add_bad(BadLine(number, bad, text.rstrip(b"\r\n")))
            if decoding.stop_at_bad:
                break
        if columns.is_full():
            yield columns.finish(number, decoding.vocabulary)
            columns = _Columns()
    yield columns.finish(number, decoding.vocabulary)


def _row_parts(
    file: ParquetRows | DatasetRows, decoding: Decoding, progress: Callable[[int], None] | None
) -> Iterator[Decoded]:
    columns = _Columns()
    convert = decoding.form.reader.convert
    number = 0
    for number, row in enumerate(file.rows(decoding.form.columns, progress), 1):
        try:
            columns.add(convert(row), number, number - 1)
        except BadRecord as bad:
            columns.add_bad(BadLine(number, bad, json.dumps(row, default=str).encode()))
            if decoding.stop_at_bad:
                break
        if columns.is_full():
            yield columns.finish(number, decoding.vocabulary)
            columns = _Columns()
    yield columns.finish(number, decoding.vocabulary)


def _is_label(name: str, vocabulary: frozenset[str] | None) -> bool:
    if vocabulary is not None:
        return name in vocabulary
    # Spaces and marks that nobody sees name nothing.
    return any(unicodedata.category(c) not in ("Zs", "Zl", "Zp", "Cc", "Cf") for c in name)


def _drop_repeats(
    labels: npt.NDArray[np.int32], counts: npt.NDArray[np.int64], num_labels: int
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Entries and counts with each label once in a record, in ascending order."""
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    labels = sort_entries(labels, offsets, num_labels)
    is_first = np.ones(len(labels), bool)
    is_first[1:] = labels[1:] != labels[:-1]
    is_first[offsets[:-1][counts > 0]] = True
    return (labels, counts) if is_first.all() else _keep(is_first, labels, counts)


def _keep(
    is_kept: npt.NDArray[np.bool_], labels: npt.NDArray[np.int32], counts: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    records = np.repeat(np.arange(len(counts)), counts)
    return labels[is_kept], np.bincount(records[is_kept], minlength=len(counts))
