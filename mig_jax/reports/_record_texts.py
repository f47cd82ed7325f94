"""Texts of records for a page: read again from their files, decoded, and cut."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from mig_jax import data
from mig_jax.data import BadRecord

__all__ = ["Turns", "as_utf8", "cut", "record_texts"]

Turns = list[tuple[str, str]]  # Role and text of each.

_MOST_TURNS = 12


def record_texts(
    table: data.RecordTable,
    records: Int[np.ndarray, " n"],
    fields: data.FieldNames,
    longest: int,
) -> list[Turns]:
    """The turns of these records, in their order; of one that has none, the record as it is.

    Args:
      table: has the records.
      records: indices into the table, no two alike.
      fields: where turns stand in a record.
      longest: so many symbols of a turn are kept.
    """
    rows = np.sort(np.asarray(records, np.int64))
    lines = data.each_record(table.only(rows))
    found = {
        record: _turns(line, fields, longest)
        for record, line in zip(rows.tolist(), lines, strict=True)
    }
    return [found[record] for record in np.asarray(records).tolist()]


def _turns(line: bytes, fields: data.FieldNames, longest: int) -> Turns:
    turns: Sequence[tuple[str, str]]
    try:
        turns = data.decode_conversation(data.parse_record(line), fields).texts
    except BadRecord:
        turns = [("record", line.decode("utf-8", "replace"))]
    kept = [(cut(as_utf8(role), 40), cut(as_utf8(text), longest)) for role, text in turns]
    if rest := kept[_MOST_TURNS:]:
        kept[_MOST_TURNS:] = [("…", f"{len(rest):,} more turns")]
    return kept


def cut(text: str, longest: int) -> str:
    """The text, or its beginning with an ellipsis.

    >>> cut("abcdef", 4), cut("abcd", 4)
    ('abc…', 'abcd')
    """
    return text if len(text) <= longest else text[: longest - 1] + "…"


def as_utf8(text: str) -> str:
    """The text with a question mark for each half of a surrogate pair, which UTF-8 has not."""
    return text.encode("utf-8", "replace").decode("utf-8")
