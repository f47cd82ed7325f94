"""Pools that lack labels, scores or both: what is lacking, and their table once it is made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from mig_jax.data.files import TextLine
from mig_jax.data.reading._record_parts import RecordFile, decoded_rows
from mig_jax.data.reading._record_table import RecordTable, RecordTableBuilder
from mig_jax.data.records import (
    BadRecord,
    FieldNames,
    decode_conversation,
    labels_and_score,
    parse_record,
    perhaps,
    reading_of,
)
from mig_jax.errors import InputError

__all__ = ["ANNOTATED", "AnnotatedRecord", "Lacking", "lacking", "table_of_annotated"]

#: The layout, in a table, of a file whose records have labels or scores that were made.
ANNOTATED: Final = "annotated"

# Records of a file that are looked at for one that can be read.
_LOOKED_AT = 100


class Lacking(NamedTuple):
    """What the records of a pool do not have."""

    what: frozenset[Literal["labels", "score"]] = frozenset()
    perhaps: str = ""  # Flags that might tell where it is after all; "" for no guess.
    #: How the first record of each file was read, each reading once: `records.reading_of`.
    read_as: tuple[str, ...] = ()


class AnnotatedRecord(NamedTuple):
    """A record whose labels and score were made."""

    labels: Sequence[str]
    score: float
    file_index: int
    line: int  # As `RecordTable.line`.
    position: int  # As `RecordTable.position`.


def lacking(files: Sequence[RecordFile], names: FieldNames, layout: str = "auto") -> Lacking:
    """Which of labels and score the records of a pool do not have, as conversations that are raw.

    The first record that is a conversation tells, file by file. A layout or a field that was
    named is there: what lacks it is a bad record, and not raw.

    Raises:
      InputError: if the files do not lack the same.
    """
    if layout != "auto":
        return Lacking()
    of_files = [_lacking_in(file, names) for file in files]
    for file, found in zip(files, of_files, strict=True):
        if found.what != of_files[0].what:
            raise InputError(
                f"{file.stamp.path}: its records have {_told(found)}, and those of "
                f"{files[0].stamp.path} have {_told(of_files[0])}; expected all files of a pool to "
                "have the same (`mig-jax annotate` makes labels and scores)"
            )
    if not of_files:
        return Lacking()
    read_as = dict.fromkeys(reading for found in of_files for reading in found.read_as)
    return of_files[0]._replace(read_as=tuple(read_as))


def table_of_annotated(
    records: Iterable[AnnotatedRecord],
    files: Sequence[RecordFile],
    *,
    skipped: int,
    vectors: tuple[Sequence[str], npt.NDArray[np.float32]] | None = None,
) -> RecordTable:
    """The table of a pool whose labels and scores do not stand in its files.

    Args:
      records: those that are used, in the order of the files and, in a file, of its lines.
      files: all of the pool.
      skipped: how many records are not used.
      vectors: labels, and an embedding of each: float32 [labels, width].
    """
    builder = RecordTableBuilder()
    for file_index, decoded in decoded_rows(records):
        builder.add(decoded.part, file_index=file_index, lines_before=0)
    return builder.build(
        files=tuple(file.stamp.path for file in files),
        layouts=(ANNOTATED,) * len(files),
        sources=tuple(files),
        records_skipped=skipped,
        vectors=vectors,
    )


def _lacking_in(file: RecordFile, names: FieldNames) -> Lacking:
    for number, line in enumerate(file.scan()):
        if number == _LOOKED_AT:
            break
        if (found := _lacking_of(line, names)) is not None:
            return found
    return Lacking()  # Whoever reads it tells what is wrong with it.


def _lacking_of(line: TextLine, names: FieldNames) -> Lacking | None:
    """What a record lacks; None if it cannot be read, or is no conversation."""
    if line.problem is not None:
        return None
    try:
        record = parse_record(line.text)
        read_as = reading_of(decode_conversation(record, names))
    except BadRecord:
        return None
    try:
        labels, score = labels_and_score(record, names)
    except BadRecord:
        return Lacking()  # Something is there, and is bad.
    lacks: set[Literal["labels", "score"]] = set()
    if labels is None and not names.is_mapped("labels"):
        lacks.add("labels")
    if score is None and not names.is_mapped("score"):
        lacks.add("score")
    return Lacking(frozenset(lacks), perhaps(record, sorted(lacks)), (read_as,))


def _told(lacks: Lacking) -> str:
    if not lacks.what:
        return "labels and a score"
    return f"no {' and no '.join(sorted(lacks.what))}"
