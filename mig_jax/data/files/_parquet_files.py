"""Files of records in Parquet: one record a row, its fields in (nested) columns."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from mig_jax.data.files._table_rows import (
    BYTES_A_BATCH,
    ROWS_A_BATCH,
    TableRows,
    rows_at,
    telling_errors,
)

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
            total = parquet.metadata.num_rows
            left = total
            for batch in parquet.iter_batches(batch_size=_batch_rows(parquet), columns=wanted):
                left -= batch.num_rows
                yield batch, total
            _check_rows(total - left, total)
            _check_rows(total, sum(_group_sizes(parquet)))

    def batches_at(self, positions: npt.NDArray[np.int64]) -> Iterator[pa.RecordBatch]:
        """Only row groups with a wanted row are read, a batch at a time."""
        with self._open() as parquet:
            first = 0
            rows = _batch_rows(parquet)
            for group, size in enumerate(_group_sizes(parquet)):
                start, stop = np.searchsorted(positions, [first, first + size])
                if start < stop:
                    batches = parquet.iter_batches(batch_size=rows, row_groups=[group])
                    found = yield from rows_at(batches, positions[start:stop] - first)
                    _check_rows(found, size)
                first += size

    @contextlib.contextmanager
    def _open(self) -> Iterator[pq.ParquetFile]:
        """The open file; whatever fails inside names the file."""
        import pyarrow.parquet as pq

        stamp = self.stamp
        with telling_errors(stamp.path, self.kind), pq.ParquetFile(stamp.local) as parquet:
            yield parquet


def _group_sizes(parquet: pq.ParquetFile) -> list[int]:
    metadata = parquet.metadata
    return [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]


def _check_rows(found: int, told: int) -> None:
    """Raises ValueError if a damaged file has more or fewer rows than it says."""
    if found != told:
        raise ValueError(f"{found:,} rows of {told:,} that it tells of were found")


def _batch_rows(parquet: pq.ParquetFile) -> int:
    """How many rows are held at a time: fewer if they are large, as images are."""
    metadata = parquet.metadata
    groups = (metadata.row_group(group) for group in range(metadata.num_row_groups))
    a_row = max((group.total_byte_size // max(group.num_rows, 1) for group in groups), default=0)
    return max(1, min(ROWS_A_BATCH, BYTES_A_BATCH // max(a_row, 1)))
