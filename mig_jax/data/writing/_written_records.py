"""Writes the records that were picked, as they came or converted."""

from __future__ import annotations

import itertools
import mmap
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from mig_jax.data.files import Losses, TableRows
from mig_jax.data.reading import RecordTable
from mig_jax.data.records import BadRecord
from mig_jax.data.writing._record_sink import OutputForm, text_stream
from mig_jax.data.writing._table_spool import TableSpool
from mig_jax.errors import InputError

__all__ = ["checked_picks", "write_records"]


def write_records(
    table: RecordTable,
    picks: npt.ArrayLike,
    stream: BinaryIO,
    *,
    convert: Callable[[bytes], bytes] | None = None,
    form: OutputForm = "lines",
    tell: Callable[[str], None] | None = None,
) -> None:
    """Writes the picked records one a line, in the order picked, or as the rows of a table.

    A line has the bytes that came in, its b"\\n" added if the file ended without;
    a row of a table is written as a JSON object, and so is a record of a JSON array that
    has line breaks. In a Parquet file a column that comes from tables, and that is not
    converted, keeps its Arrow type and metadata; other columns are made of the JSON as
    `mig_jax.data.files.JsonColumn` does it. The records pass through an anonymous file on
    disk, as a compressed file can only be read from its start; memory does not grow with
    their number.

    Args:
      table: as `read_pool` gives it.
      picks: record indices (integers, 1-D).
      stream: where they go.
      convert: makes of each record the one that is written; may raise BadRecord.
      form: "lines", "gzip" and "zstd" for these compressed, or "parquet".
      tell: gets a line for each column of tables whose values JSON cannot hold, with what is
        written in their place.

    Raises:
      InputError: if a file has changed since the table was read, a record cannot be
        converted, or the tables of the pool have no common types for the columns of one.
      IndexError: for a pick that is not in [0, num_records).
    """
    picks = checked_picks(table, picks)
    records, order = np.unique(picks, return_inverse=True)
    losses = Losses()
    if form == "parquet":
        with TableSpool(table.sources, losses) as spool:
            for came in _records(table, records, losses, as_json=convert is not None):
                if came.text is None:
                    spool.add_row(came.source, came.position)
                elif convert is None:
                    spool.add(came.text, came.source, came.position)
                else:
                    record = _converted(table, came, convert)
                    spool.add(record, came.source, came.position, came.text)
            spool.write(stream, order, tell)
        return
    ends = [0]
    with tempfile.TemporaryFile() as lines:
        for came in _records(table, records, losses, as_json=True):
            assert came.text is not None
            record = came.text if convert is None else _converted(table, came, convert)
            ends.append(ends[-1] + lines.write(record + b"\n"))
        lines.flush()
        with text_stream(stream, form) as text:
            if len(records):
                with mmap.mmap(lines.fileno(), 0, access=mmap.ACCESS_READ) as held:
                    for entry in order.tolist():
                        text.write(held[ends[entry] : ends[entry + 1]])
    if tell is not None:
        for line in losses.told():
            tell(line)


class _Came(NamedTuple):
    """A record as it came, with its place."""

    record: int
    source: int
    position: int
    text: bytes | None  # None of a row of a table that stays one.


def _records(
    table: RecordTable, records: npt.NDArray[np.int64], losses: Losses, as_json: bool
) -> Iterator[_Came]:
    """The records of ascending numbers; rows of tables without their text unless `as_json`."""
    # Records stand in the table file by file, so ascending indices pass each file once.
    file_index = table.file_index[records]
    for index in np.unique(file_index).tolist():
        of_file = records[file_index == index]
        positions = table.position[of_file]
        source = table.sources[index]
        texts: Iterable[bytes | None]
        if not isinstance(source, TableRows):
            texts = source.read_records(positions)
        elif as_json:
            texts = source.read_records(positions, losses)
        else:
            texts = itertools.repeat(None, len(positions))
        for record, position, text in zip(of_file.tolist(), positions.tolist(), texts, strict=True):
            yield _Came(record, index, position, text)


def _converted(table: RecordTable, came: _Came, convert: Callable[[bytes], bytes]) -> bytes:
    assert came.text is not None
    try:
        return convert(came.text)
    except BadRecord as bad:
        separator = ", " if bad.field else ": "
        where = f"{table.files[came.source]}, line {table.line[came.record]}"
        raise InputError(f"{where}{separator}{bad}") from None


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
