"""What the records of a pool cost, and which group each is of, in one pass."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from mig_jax.data.reading._passes import each_record, each_with
from mig_jax.data.reading._record_table import RecordTable
from mig_jax.data.records import (
    BadRecord,
    FieldNames,
    counted_value,
    decode_conversation,
    parse_record,
    value_at,
)
from mig_jax.errors import InputError

__all__ = ["CostsAndGroups", "CountTexts", "bytes_over_4", "costs_and_groups"]

#: What each of some records costs, by the texts of its turns.
CountTexts = Callable[[Sequence[Sequence[str]]], Sequence[int]]

_LARGEST_COST: Final = 2**31 - 2  # Below what the core has for no limit.
_RECORDS_A_BATCH: Final = 1024
_SYMBOLS_A_BATCH: Final = 1 << 22  # A batch is ended at so much text.
_SHOWN: Final = 60  # Symbols of a value that are told.
# Columns of whole numbers with gaps become 12.0, also where a table is written as text.
_WHOLE_TEXT: Final = re.compile(r"(\d{1,10})(\.0*)?", re.ASCII)


class CostsAndGroups(NamedTuple):
    """What a pass found of P records."""

    costs: npt.NDArray[np.int64] | None  #: [P], at least 0; None if not asked for.
    names: list[str]  #: The values of the group field, in the order met.
    groups: npt.NDArray[np.int32] | None  #: [P], indices into names; None if not asked for.


def bytes_over_4(records: Sequence[Sequence[str]]) -> list[int]:
    """About the tokens of each record: the UTF-8 bytes of all its texts over 4, rounded up.

    >>> bytes_over_4([["abcd", "e"], ["é"], []])
    [2, 1, 0]
    """
    return [-(-sum(map(_num_bytes, texts)) // 4) for texts in records]


def costs_and_groups(
    table: RecordTable,
    *,
    cost_field: str | None = None,
    count: CountTexts | None = None,
    group_field: str | None = None,
    fields: FieldNames | Mapping[str, str] | None = None,
    progress: Callable[[int], None] | None = None,
) -> CostsAndGroups:
    """What each record costs, and the value of a field that it has.

    Args:
      table: P records, which are read again.
      cost_field: names joined by dots that lead to the cost: a whole number of at least 0, also
        as 12.0, or text that is one, as in CSV.
      count: gives the costs, in place of a field, by the texts of the turns.
      group_field: names joined by dots that lead to the value, as `counted_value` has it.
      fields: the pool's names of fields, by the usual ones, for the turns.
      progress: gets the records read so far.

    Raises:
      InputError: if a file is no longer what was read; or a record has no such cost, or no
        conversation whose texts could be counted.
    """
    names = FieldNames.of(fields)
    paths = [path for path in (cost_field, group_field) if path is not None]
    records = each_with(table, paths) if count is None else map(parse_record, each_record(table))
    batch = _Batch(count)
    costs: list[int] = []
    place: dict[str, int] = {}
    groups: list[int] = []
    done = 0
    try:
        for record in records:
            if count is not None:
                turns = decode_conversation(record, names).turns
                costs += batch.add([turn.text for turn in turns])
            elif cost_field is not None:
                costs.append(_cost(value_at(record, cost_field), cost_field))
            if group_field is not None:
                groups.append(place.setdefault(counted_value(record, group_field), len(place)))
            done += 1
            if progress is not None and not done % _RECORDS_A_BATCH:
                progress(done)
    except BadRecord as bad:
        separator = ", " if bad.field else ": "
        where = f"{table.files[table.file_index[done]]}, line {table.line[done]}"
        raise InputError(f"{where}{separator}{bad}") from None
    costs += batch.finish()
    if progress is not None:
        progress(done)
    return CostsAndGroups(
        None if cost_field is None and count is None else np.array(costs, np.int64),
        list(place),
        None if group_field is None else np.array(groups, np.int32),
    )


class _Batch:
    """The texts of records that are counted together, which is faster."""

    def __init__(self, count: CountTexts | None) -> None:
        self._count = count
        self._texts: list[list[str]] = []
        self._symbols = 0

    def add(self, texts: list[str]) -> Sequence[int]:
        """What the records cost that are counted now: all added before, and this, or none."""
        self._texts.append(texts)
        self._symbols += sum(map(len, texts))
        is_full = len(self._texts) == _RECORDS_A_BATCH or self._symbols >= _SYMBOLS_A_BATCH
        return self.finish() if is_full else ()

    def finish(self) -> Sequence[int]:
        """What those cost that were not counted yet."""
        texts, self._texts, self._symbols = self._texts, [], 0
        return () if self._count is None else self._count(texts)


def _cost(value: Any, path: str) -> int:
    """The value as a cost.

    Raises:
      BadRecord: if it is none.
    """
    found = value
    if isinstance(found, str) and (text := _WHOLE_TEXT.fullmatch(found)):
        found = int(text[1])
    if isinstance(found, float) and found.is_integer():
        found = int(found)
    if isinstance(found, int) and not isinstance(found, bool) and 0 <= found <= _LARGEST_COST:
        return found
    told = "nothing" if value is None else json.dumps(value, default=str)
    shown = told if len(told) <= _SHOWN else told[:_SHOWN] + "..."
    expected = f"a whole number of at least 0 and at most {_LARGEST_COST:,}"
    raise BadRecord(f"found {shown}; expected {expected}", path)


def _num_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())
