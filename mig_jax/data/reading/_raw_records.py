"""Records read for their texts: one at a time, with labels and a score or without."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from mig_jax.data.files import LONGEST_RECORD, Losses, TableRows
from mig_jax.data.reading._bad_records import BadRecords
from mig_jax.data.reading._cache import Writable
from mig_jax.data.reading._pool_files import open_files
from mig_jax.data.reading._record_parts import RecordFile
from mig_jax.data.reading._record_table import RecordTable
from mig_jax.data.records import (
    LABEL_FORMATS,
    BadRecord,
    Conversation,
    FieldNames,
    Role,
    decode_conversation,
    instruction_and_response,
    labels_and_score,
    parse_record,
)
from mig_jax.errors import InputError

__all__ = ["RawRecord", "read_conversations", "read_texts"]

_RECORDS_A_REPORT = 1024


@dataclasses.dataclass(frozen=True, slots=True)
class RawRecord:
    """One record: its place, its bytes, and what was found in it."""

    path: str  # As it was given.
    line: int  # From 1: line of a text file, row of a table, place in a JSON array.
    raw: bytes  # Its JSON as it came; of a table, the row as a JSON object.
    record: dict[str, Any]  # The same, parsed.
    conversation: Conversation
    labels: list[str] | None  # Each once; None if it has none.
    score: float | None
    position: int  # As `RecordTable.position`.

    @property
    def where(self) -> str:
        """How messages name the record."""
        return f"{self.path}, line {self.line}"

    @property
    def turns(self) -> list[tuple[Role, str]]:
        """Role and text of each turn."""
        return self.conversation.texts


def read_conversations(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str] | RecordFile],
    *,
    layout: Literal["auto", "mig_jax", "xsample", "plain"] = "auto",
    fields: FieldNames | Mapping[str, str] | None = None,
    on_bad_record: Literal["error", "skip"] = "error",
    rejects: Writable | None = None,
    progress: Callable[[int], None] | None = None,
    wanted: Sequence[Literal["labels", "score"]] = ("labels", "score"),
    questions: bool = False,
    losses: Losses | None = None,
    longest_record: int = LONGEST_RECORD,
) -> Iterator[RawRecord]:
    """Yields every record of the files, in order; holds one at a time.

    Args:
      paths: files as for `read_pool`.
      layout: where labels and scores may stand, as for `read_pool`; "auto" takes each from
        `mig_jax`, or else from a field of its own (plain), or else from an annotation (xsample).
      fields: the pool's names of fields, by the usual ones (`mig_jax.data.FIELD_NAMES`).
      on_bad_record: as for `read_pool`. Bad are records without a conversation, and
        those whose labels or score are wanted and there but cannot be used.
      rejects: as for `read_pool`.
      progress: gets the records passed so far, bad ones included.
      wanted: which of labels and score are read; the others are None, whatever is there.
      questions: whether records that only ask are read, as evaluation files have them.
      losses: gets the columns of tables whose values JSON has not.
      longest_record: bytes that a record of a text may have.

    Raises:
      InputError: as `read_pool` does, but labels and scores need not be there.
    """
    if layout != "auto" and layout not in LABEL_FORMATS:
        *others, last = LABEL_FORMATS
        raise ValueError(f"layout is {layout!r}, expected auto, {', '.join(others)} or {last}")
    names = FieldNames.of(fields)
    files = open_files(paths, fields=names, longest_record=longest_record)
    passed = 0
    for file in files:
        path = file.stamp.path
        bad = BadRecords(path, on_bad_record == "skip", rejects)
        used = 0
        scanned = file.scan(losses) if isinstance(file, TableRows) else file.scan()
        for number, position, text, problem in scanned:
            try:
                if problem is not None:
                    raise problem
                found = _raw_record(path, number, position, text, names, layout, wanted, questions)
            except BadRecord as reason:
                bad.meet(number, reason, text)
            else:
                used += 1
                yield found
            passed += 1
            if progress is not None and not passed % _RECORDS_A_REPORT:
                progress(passed)
        if not used:
            raise bad.nothing_usable()
    if progress is not None:
        progress(passed)


def read_texts(
    table: RecordTable,
    *,
    fields: FieldNames | Mapping[str, str] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Iterator[tuple[str, str]]:
    """Yields the instruction and the response of each record of a pool, in order.

    Reads the pool's files once more, whatever they are; holds one record at a time.

    Args:
      table: as `read_pool` or the built-in pool gives it.
      fields: as for `read_conversations`.
      progress: gets the records read so far.

    Raises:
      InputError: if a file has changed, or a record has no conversation of at least
        two turns.
    """
    names = FieldNames.of(fields)
    done = 0
    for index, source in enumerate(table.sources):
        rows = np.flatnonzero(table.file_index == index)
        records = source.read_records(table.position[rows])
        for line, text in zip(table.line[rows].tolist(), records, strict=True):
            try:
                yield instruction_and_response(decode_conversation(parse_record(text), names))
            except BadRecord as bad:
                separator = ", " if bad.field else ": "
                raise InputError(f"{table.files[index]}, line {line}{separator}{bad}") from None
            done += 1
            if progress is not None and not done % _RECORDS_A_REPORT:
                progress(done)


def _raw_record(
    path: str,
    line: int,
    position: int,
    text: bytes,
    names: FieldNames,
    layout: str,
    wanted: Sequence[str],
    questions: bool,
) -> RawRecord:
    record = parse_record(text)
    conversation = decode_conversation(record, names, questions=questions)
    labels, score = labels_and_score(
        record, names, layout, labels="labels" in wanted, score="score" in wanted
    )
    return RawRecord(path, line, text, record, conversation, labels, score, position)
