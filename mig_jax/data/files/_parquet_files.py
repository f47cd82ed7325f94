"""Files of records in Parquet: one record a row, its fields in (nested) columns."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar

import msgspec
import numpy as np
import numpy.typing as npt

from mig_jax.data.files._table_rows import ROWS_A_BATCH, TableRows, telling_errors
from mig_jax.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

__all__ = ["ParquetRows", "write_rows"]


@dataclasses.dataclass(frozen=True)
class ParquetRows(TableRows):
    """A Parquet file of records; whatever cannot be read of it raises InputError."""

    kind: ClassVar[str] = "Parquet"

    def schema(self) -> pa.Schema:
        with self._open() as parquet:
            return parquet.schema_arrow

    def batches(self, columns: Sequence[str] | None) -> Iterator[tuple[pa.RecordBatch, int]]:
        wanted = None if columns is None else list(columns)
        with self._open() as parquet:
            for batch in parquet.iter_batches(batch_size=ROWS_A_BATCH, columns=wanted):
                yield batch, parquet.metadata.num_rows

    def batches_at(self, positions: npt.NDArray[np.int64]) -> Iterator[pa.RecordBatch]:
        """Only row groups with a wanted row are read, a batch at a time."""
        with self._open() as parquet:
            metadata = parquet.metadata
            sizes = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
            first = 0
            for group, size in enumerate(sizes):
                if len(_within(positions, first, size)):
                    yield from _batches_of_group(parquet, group, positions - first)
                first += size

    @contextlib.contextmanager
    def _open(self) -> Iterator[pq.ParquetFile]:
        """The open file; whatever fails inside names the file."""
        import pyarrow.parquet as pq

        stamp = self.stamp
        with telling_errors(stamp.path, self.kind), pq.ParquetFile(stamp.local) as parquet:
            yield parquet


def write_rows(lines: Callable[[], Iterator[bytes]], stream: BinaryIO) -> None:
    """Writes records, a JSON object each, as the rows of one Parquet file.

    A column is there for each field that any record has; a record without it has null
    there. Passes over the records twice, first for the types; holds some at a time.

    Args:
      lines: gives the records, each time from the first.
      stream: where the file goes.

    Raises:
      InputError: if a field has values that no one type can hold.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pa.schema([])
        for rows in _some_at_a_time(lines()):
            found = pa.RecordBatch.from_pylist(rows).schema
            schema = pa.unify_schemas([schema, found], promote_options="permissive")
        with pq.ParquetWriter(stream, schema) as writer:
            for rows in _some_at_a_time(lines()):
                writer.write_batch(pa.RecordBatch.from_pylist(rows, schema))
    except (pa.ArrowException, OverflowError) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise InputError(
            f"the records cannot be rows of one Parquet file ({reason}); expected one type for "
            "each field"
        ) from None


def _some_at_a_time(lines: Iterator[bytes]) -> Iterator[list[dict[str, Any]]]:
    decoder = msgspec.json.Decoder()
    while rows := [decoder.decode(line) for line in itertools.islice(lines, ROWS_A_BATCH)]:
        yield _with_every_field(rows)


def _with_every_field(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with the fields of all in the first: Arrow takes the columns from there."""
    fields = dict.fromkeys(field for row in rows for field in row)
    return [{**dict.fromkeys(fields), **rows[0]}, *rows[1:]]


def _batches_of_group(
    parquet: pq.ParquetFile, group: int, positions: npt.NDArray[np.int64]
) -> Iterator[pa.RecordBatch]:
    """The rows at the positions, counted from the group's first row."""
    first = 0
    for batch in parquet.iter_batches(batch_size=ROWS_A_BATCH, row_groups=[group]):
        wanted = _within(positions, first, batch.num_rows)
        if len(wanted):
            yield batch.take(wanted - first)
        first += batch.num_rows


def _within(positions: npt.NDArray[np.int64], first: int, count: int) -> npt.NDArray[np.int64]:
    """The ascending positions in [first, first + count)."""
    start, stop = np.searchsorted(positions, [first, first + count])
    return positions[start:stop]
