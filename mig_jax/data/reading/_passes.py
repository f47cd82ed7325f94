"""Passes over the records of a table, once it is known which can be used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mig_jax.data.files import TableRows
from mig_jax.data.reading._record_table import RecordTable
from mig_jax.data.records import FieldDecoder, counted_value

__all__ = ["each_record", "each_with", "field_values"]


def each_record(table: RecordTable) -> Iterator[bytes]:
    """Yields the records of a table in order, as they came; holds one at a time.

    Raises:
      InputError: if a file is no longer what was read.
    """
    for index, source in enumerate(table.sources):
        positions = table.position[table.file_index == index]
        if len(positions):
            yield from source.read_records(positions)


def field_values(table: RecordTable, path: str) -> tuple[list[str], npt.NDArray[np.int32]]:
    """The values of a field, as `counted_value` has them, and which of them each record has.

    Args:
      table: P records, which are read again.
      path: names joined by dots.

    Returns:
      The V values in the order met, and int32 [P], indices into them.

    Raises:
      InputError: if a file is no longer what was read.
    """
    place: dict[str, int] = {}
    found = np.zeros(table.num_records, np.int32)
    for number, record in enumerate(each_with(table, [path])):
        found[number] = place.setdefault(counted_value(record, path), len(place))
    return list(place), found


def each_with(table: RecordTable, paths: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yields each record with these fields at least, as far as it has them.

    `paths` are names joined by dots.
    """
    roots = [path.partition(".")[0] for path in paths]
    decoder = FieldDecoder(roots)
    for index, source in enumerate(table.sources):
        positions = table.position[table.file_index == index]
        if isinstance(source, TableRows) and len(positions):
            is_used = np.zeros(int(positions[-1]) + 1, bool)
            is_used[positions] = True
            there = source.schema().names
            columns = [path for path, root in zip(paths, roots, strict=True) if root in there]
            rows = zip(is_used.tolist(), source.rows(columns), strict=False)
            yield from (row for used, row in rows if used)
        elif len(positions):
            for record in source.read_records(positions):
                yield decoder.decode_line(record)
