"""Rows of tables on disk, to be had again in any order."""

from __future__ import annotations

import mmap
from typing import IO, TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mig_jax.data.files._table_rows import BYTES_A_BATCH, ROWS_A_BATCH, gathered
from mig_jax.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["RowSpool"]


class RowSpool:
    """Rows of one schema, which stand in a file as Arrow has them in memory."""

    def __init__(self, stream: IO[bytes], schema: pa.Schema) -> None:
        """`stream` is an empty file that can be read and written."""
        self.schema = schema
        self._stream = stream
        self._starts: list[int] = []  # Bytes.
        self._first: list[int] = [0]  # Row of each batch, then of the next.
        self._batches: dict[int, pa.RecordBatch] = {}
        self._mapped: pa.Buffer | None = None

    def __len__(self) -> int:
        return self._first[-1]

    @property
    def rows_a_batch(self) -> int:
        """How many rows may well be held at a time: fewer if they are large."""
        a_row = self._stream.tell() // max(len(self), 1)
        return max(1, min(ROWS_A_BATCH, BYTES_A_BATCH // max(a_row, 1)))

    def add(self, batch: pa.RecordBatch, path: str) -> None:
        """Appends rows of the table at `path`; columns that it has not are null.

        Raises:
          InputError: if a value does not fit the schema, or the rows are damaged.
        """
        import pyarrow as pa

        columns = []
        names = batch.schema.names
        for place, field in enumerate(self.schema):
            if names == self.schema.names:  # Names may be there twice.
                column = batch.column(place)
            elif field.name in names:
                column = batch.column(names.index(field.name))
            else:
                column = pa.nulls(batch.num_rows, field.type)
            try:
                columns.append(column if column.type == field.type else column.cast(field.type))
            except pa.ArrowException as error:
                raise InputError(
                    f"{path}: a value of the column {field.name} does not fit the type "
                    f"{field.type} of the table ({str(error).splitlines()[0]})"
                ) from None
        rows = pa.RecordBatch.from_arrays(columns, schema=self.schema)
        try:
            rows.validate(full=True)
        except pa.ArrowException as error:
            raise InputError(
                f"{path}: data is corrupt ({str(error).splitlines()[0]}); expected a whole file"
            ) from None
        self._starts.append(self._stream.tell())
        with pa.ipc.new_stream(self._stream, self.schema) as writer:
            writer.write_batch(rows)
        self._first.append(self._first[-1] + batch.num_rows)

    def rows(self, numbers: npt.NDArray[np.int64]) -> list[pa.RecordBatch]:
        """The rows of these numbers, counted as they were added, in this order; null for -1."""
        import pyarrow as pa

        nothing = pa.RecordBatch.from_arrays(
            [pa.nulls(1, field.type) for field in self.schema], schema=self.schema
        )
        # Only batches with a wanted row are looked at, behind a row of nulls.
        which = np.searchsorted(self._first, numbers, side="right") - 1
        wanted = np.unique(which[numbers >= 0])
        batches = [nothing, *(self._batch(index) for index in wanted.tolist())]
        starts = np.cumsum([0, *(batch.num_rows for batch in batches)])
        place = np.zeros(len(numbers), np.int64)
        for order, index in enumerate(wanted.tolist(), 1):
            here = (which == index) & (numbers >= 0)
            place[here] = starts[order] + numbers[here] - self._first[index]
        return gathered(batches, place)

    def _batch(self, index: int) -> pa.RecordBatch:
        import pyarrow as pa

        if self._mapped is None:
            self._stream.flush()
            # Not read but mapped: the system may take the memory back.
            self._mapped = pa.py_buffer(
                mmap.mmap(self._stream.fileno(), 0, access=mmap.ACCESS_READ)
            )
        if index not in self._batches:
            stream = pa.ipc.open_stream(self._mapped.slice(self._starts[index]))
            self._batches[index] = stream.read_next_batch()
        return self._batches[index]
