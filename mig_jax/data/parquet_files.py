"""Files of records in Parquet: one record a row, its fields in (nested) columns."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from mig_jax.data.table_rows import ROWS_A_BATCH, TableRows, telling_errors

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

__all__ = ["ParquetRows"]


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

        path = self.stamp.path
        with telling_errors(path, self.kind), pq.ParquetFile(path) as parquet:
            yield parquet


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
