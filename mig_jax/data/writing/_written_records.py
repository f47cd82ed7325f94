"""Writes the records that were picked, as they came or converted."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from mig_jax.data.files import write_rows
from mig_jax.data.reading import RecordTable
from mig_jax.data.records import BadRecord
from mig_jax.errors import InputError

__all__ = ["checked_picks", "write_records"]


def write_records(
    table: RecordTable,
    picks: npt.ArrayLike,
    stream: BinaryIO,
    *,
    convert: Callable[[bytes], bytes] | None = None,
    parquet: bool = False,
) -> None:
    """Writes the picked records one a line, in the order picked.

    A line has the bytes that came in, its b"\\n" added if the file ended without;
    a row of a table is written as a JSON object, and so is a record of a JSON array that
    has line breaks. The records pass through an anonymous file on disk, as a compressed
    file can only be read from its start; memory does not grow with their number.

    Args:
      table: as `read_pool` gives it.
      picks: record indices (integers, 1-D).
      stream: where they go.
      convert: makes of each record the one that is written; may raise BadRecord.
      parquet: writes a Parquet file instead, one record a row.

    Raises:
      InputError: if a file has changed since the table was read, a record cannot be
        converted, or the records have no common types for the columns of a table.
      IndexError: for a pick that is not in [0, num_records).
    """
    picks = checked_picks(table, picks)
    records, order = np.unique(picks, return_inverse=True)
    starts = np.zeros(len(records) + 1, np.int64)
    # Records stand in the table file by file, so ascending indices pass each file once.
    file_index = table.file_index[records]
    with tempfile.TemporaryFile() as spool:
        done = 0
        for index in np.unique(file_index).tolist():
            positions = table.position[records[file_index == index]]
            for record in table.sources[index].read_records(positions):
                if convert is not None:
                    try:
                        record = convert(record)
                    except BadRecord as bad:
                        separator = ", " if bad.field else ": "
                        where = f"{table.files[index]}, line {table.line[records[done]]}"
                        raise InputError(f"{where}{separator}{bad}") from None
                starts[done + 1] = starts[done] + spool.write(record + b"\n")
                done += 1

        def lines() -> Iterator[bytes]:
            for entry in order.tolist():
                spool.seek(starts[entry])
                yield spool.read(starts[entry + 1] - starts[entry])

        if parquet:
            write_rows(lines, stream)
        else:
            stream.writelines(lines())


def checked_picks(table: RecordTable, picks: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """The picks as int64; raises IndexError or ValueError for what are no records of the table."""
    indices = np.asarray(picks)
    if not indices.size:
        return np.zeros(0, np.int64)
    if indices.ndim != 1 or not np.issubdtype(indices.dtype, np.integer):
        raise ValueError(f"picks are {indices.dtype} {indices.shape}, expected 1-D integers")
    if indices.min() < 0 or indices.max() >= table.num_records:
        raise IndexError(f"a pick is outside the {table.num_records} records")
    return indices.astype(np.int64)
