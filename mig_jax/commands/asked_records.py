"""The records that a user asks about: by their lines, or by their IDs."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from mig_jax import data
from mig_jax.commands.terminal import say
from mig_jax.errors import InputError

__all__ = ["ID_FIELDS", "AskedRecord", "asked_records"]

#: The names that fields of IDs usually have, the likeliest first.
ID_FIELDS: Final = ("id", "_id", "uuid", "uid", "conversation_id", "prompt_id", "hash", "idx")

_LINE: Final = re.compile(r"\d[\d,_]*")
_SHOWN: Final = 5


class AskedRecord(NamedTuple):
    """A record of a table, as it was asked for."""

    record: int  # Its index in the table.
    told_id: str | None  # If it was asked for by that.


def asked_records(
    table: data.RecordTable, asked: Sequence[str], id_field: str | None
) -> list[AskedRecord]:
    """The records that --record names: `LINE`, `FILE:LINE`, or an ID.

    Args:
      table: the pool.
      asked: what was given. With an `id_field` they are IDs, whatever they look like.
      id_field: the field of IDs; by default the first of `ID_FIELDS` that the pool has.

    Raises:
      InputError: if there is no such record, or there are several.
    """
    places = [None if id_field is not None else _place(table, each) for each in asked]
    ids = [each for each, place in zip(asked, places, strict=True) if place is None]
    found = _by_id(table, ids, id_field) if ids else {}
    return [
        AskedRecord(found[each], each) if place is None else AskedRecord(place, None)
        for each, place in zip(asked, places, strict=True)
    ]


def _place(table: data.RecordTable, asked: str) -> int | None:
    """The record of `LINE` or `FILE:LINE`; None if it is neither."""
    name, _, line = asked.rpartition(":")
    if not _LINE.fullmatch(line):
        return None
    if not name:
        if len(table.files) > 1:
            shown = ", ".join(table.files[:_SHOWN]) + (", ..." if len(table.files) > _SHOWN else "")
            raise InputError(
                f"--record: found {asked}, expected FILE:LINE, as the pool has "
                f"{len(table.files):,} files: {shown}"
            )
        return _in_file(table, 0, line)
    files = _files_of(table, name)
    if not files:
        return None
    if len(files) > 1:
        raise InputError(
            f"--record: {name} may be {' or '.join(table.files[i] for i in files[:_SHOWN])}; "
            "expected one of these paths"
        )
    return _in_file(table, files[0], line)


def _files_of(table: data.RecordTable, name: str) -> list[int]:
    """The files of this path; else those that this is another path of, or the last part of."""
    readings: tuple[Callable[[str], bool], ...] = (
        lambda file: file == name,
        lambda file: os.path.realpath(file) == os.path.realpath(name),
        lambda file: os.path.basename(file) == name,
    )
    for is_meant in readings:
        if found := [i for i, file in enumerate(table.files) if is_meant(file)]:
            return found
    return []


def _in_file(table: data.RecordTable, file: int, told: str) -> int:
    line = int(re.sub("[,_]", "", told))
    start, stop = np.searchsorted(table.file_index, np.array([file, file + 1], np.int32))
    lines = table.line[start:stop]
    place = int(np.searchsorted(lines, line))
    if place == len(lines) or lines[place] != line:
        last = int(lines[-1]) if len(lines) else 0
        is_inside = 0 < line <= last
        raise InputError(
            f"--record: {table.files[file]} has no record in line {line:,}"
            + (": it is blank or was skipped" if is_inside else f"; its last is in {last:,}")
            + ("" if is_inside else "; if this is an ID, --id_field=FIELD names its field")
        )
    return int(start) + place


def _by_id(table: data.RecordTable, ids: Sequence[str], field: str | None) -> dict[str, int]:
    """The record of each ID."""
    if field is None:
        field = _usual_field(table, ids[0])
    say(f"looking for {', '.join(ids)} in the field {field} of {table.num_records:,} records")
    values, of_records = data.field_values(table, field)
    number = {value: i for i, value in enumerate(values)}
    found = {}
    for asked in ids:
        wanted = data.counted_value({"id": asked}, "id")  # Long ones are cut, as those read are.
        at = np.flatnonzero(of_records == number.get(wanted, -1))
        if not len(at):
            raise InputError(
                f"--record: no record has {asked} in the field {field}; expected an ID, LINE or "
                "FILE:LINE; --id_field names another field"
            )
        if len(at) > 1:
            places = [f"{table.files[table.file_index[i]]}:{table.line[i]}" for i in at[:_SHOWN]]
            raise InputError(
                f"--record: {len(at):,} records have {asked} in the field {field}; expected one "
                f"of {', '.join(places)}{', ...' if len(at) > _SHOWN else ''}"
            )
        found[asked] = int(at[0])
    return found


def _usual_field(table: data.RecordTable, asked: str) -> str:
    """The field of IDs that the first record has.

    Raises:
      InputError: if it has none of them.
    """
    first: dict[str, Any] = data.parse_record(next(data.each_record(table)))
    for name in ID_FIELDS:
        if name in first:
            return name
    raise InputError(
        f"--record: found {asked}, expected LINE or FILE:LINE, as no usual field of IDs is there "
        f"({', '.join(ID_FIELDS)}); --id_field=FIELD names one"
    )
