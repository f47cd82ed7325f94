"""Records read for their texts: one at a time, with labels and a score or without."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from mig_jax.data.files import LONGEST_RECORD
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
    convert_named,
    convert_xsample,
    decode_conversation,
    instruction_and_response,
    parse_record,
    value_at,
)
from mig_jax.errors import InputError

__all__ = ["RawRecord", "read_conversations", "read_texts"]

_RECORDS_A_REPORT = 1024
_RIGHT = ""  # The name of a field that no field name leads to.


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

    @property
    def where(self) -> str:
        """How messages name the record."""
        return f"{self.path}, line {self.line}"

    @property
    def turns(self) -> list[tuple[Role, str]]:
        """Role and text of each turn."""
        return self.conversation.texts


def read_conversations(
    paths: Sequence[str | os.PathLike[str] | RecordFile],
    *,
    layout: Literal["auto", "xsample", "plain"] = "auto",
    fields: FieldNames | Mapping[str, str] | None = None,
    on_bad_record: Literal["error", "skip"] = "error",
    rejects: Writable | None = None,
    progress: Callable[[int], None] | None = None,
    longest_record: int = LONGEST_RECORD,
) -> Iterator[RawRecord]:
    """Yields every record of the files, in order; holds one at a time.

    Args:
      paths: files as for `read_pool`.
      layout: where labels and scores may stand, as for `read_pool`; "auto" takes them from
        fields of their own (plain), or else from an annotation (xsample), whichever is there.
      fields: the pool's names of fields, by the usual ones (`mig_jax.data.FIELD_NAMES`).
      on_bad_record: as for `read_pool`. Bad are records without a conversation, and
        those whose labels or score are there but cannot be used.
      rejects: as for `read_pool`.
      progress: gets the records passed so far, bad ones included.
      longest_record: bytes that a record of a text may have.

    Raises:
      InputError: as `read_pool` does, but labels and scores need not be there.
    """
    if layout != "auto" and layout not in LABEL_FORMATS:
        raise ValueError(f"layout is {layout!r}, expected auto, {' or '.join(LABEL_FORMATS)}")
    names = FieldNames.of(fields)
    files = open_files(paths, fields=names, longest_record=longest_record)
    passed = 0
    for file in files:
        path = file.stamp.path
        bad = BadRecords(path, on_bad_record == "skip", rejects)
        used = 0
        for number, _, text, problem in file.scan():
            try:
                if problem is not None:
                    raise problem
                found = _raw_record(path, number, text, names, layout)
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


def _raw_record(path: str, line: int, text: bytes, names: FieldNames, layout: str) -> RawRecord:
    record = parse_record(text)
    conversation = decode_conversation(record, names)
    labels, score = _labels_and_score(record, names, layout)
    return RawRecord(path, line, text, record, conversation, labels, score)


def _labels_and_score(
    record: dict[str, Any], names: FieldNames, layout: str
) -> tuple[list[str] | None, float | None]:
    """What there is of both: in fields of their own, or in an annotation of layout xsample.

    Raises:
      BadRecord: if one is there and cannot be used.
    """
    of_labels, of_score, has_score = names["labels"], names["score"], False
    if layout == "xsample" or (layout == "auto" and value_at(record, of_labels) is None):
        of_labels = "annotation.instag.content"
    if layout != "xsample":
        has_score = value_at(record, of_score) is not None
    labels = score = None
    # Each is read beside one that is right.
    if value_at(record, of_labels) is not None:
        labels, _ = convert_named({**record, _RIGHT: 0.0}, of_labels, _RIGHT)
    if has_score:
        _, score = convert_named({**record, _RIGHT: []}, _RIGHT, of_score)
    elif layout != "plain" and (deita := value_at(record, "annotation.deita")) is not None:
        annotation = {"instag": {"content": []}, "deita": deita}
        _, score = convert_xsample({"annotation": annotation})
    return labels, score
