"""Files of records in Parquet: one record a row, its fields in (nested) columns."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import numpy.typing as npt

from mig_jax.data.input_files import FileStamp, TextLine
from mig_jax.data.layouts import LAYOUTS
from mig_jax.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

__all__ = ["ParquetRows"]

_ROWS_A_BATCH = 1024


@dataclasses.dataclass(frozen=True)
class ParquetRows:
    """A Parquet file of records."""

    stamp: FileStamp

    def detect_layout(self, layout: str) -> str:
        """The layout whose columns the file has: `layout`, or any where that is "auto".

        Raises:
          InputError: where the columns are missing, or the file cannot be read.
        """
        with self._open() as parquet:
            schema = parquet.schema_arrow
        allowed = tuple(LAYOUTS) if layout == "auto" else (layout,)
        for name in allowed:
            if all(_has_field(schema, field) for field in LAYOUTS[name].fields):
                return name
        expected = ", or ".join(
            f"{', '.join(LAYOUTS[name].fields)} (layout {name})" for name in allowed
        )
        raise InputError(
            f"{self.stamp.path}: has the columns {', '.join(schema.names)}; expected {expected}"
        )

    def scan(self) -> Iterator[TextLine]:
        """Yields the rows in order, each as a JSON object with all its fields.

        Raises:
          InputError: where the file cannot be read to its end, or a value cannot be
            written as JSON.
        """
        for position, row in enumerate(self.rows(None)):
            yield TextLine(position + 1, position, msgspec.json.encode(row))

    def rows(
        self, fields: Sequence[str] | None, progress: Callable[[int], None] | None = None
    ) -> Iterator[dict[str, Any]]:
        """Yields the rows in order, each an object with these fields, or all.

        `progress` gets the share of the rows passed so far, in bytes of the file.

        Raises:
          InputError: where the file cannot be read to its end.
        """
        columns = None if fields is None else list(fields)
        with self._open() as parquet:
            passed, total = 0, parquet.metadata.num_rows
            for batch in parquet.iter_batches(batch_size=_ROWS_A_BATCH, columns=columns):
                yield from batch.to_pylist()
                passed += batch.num_rows
                if progress is not None:
                    progress(self.stamp.size * passed // total)

    def read_records(self, positions: npt.NDArray[np.int64]) -> Iterator[bytes]:
        """Yields the rows at ascending row numbers (from 0) as JSON objects.

        All columns are written. Only row groups with a wanted row are read, a batch at
        a time.

        Raises:
          InputError: where the file is no longer what was read, or a value cannot be
            written as JSON.
        """
        self.stamp.check_unchanged()
        with self._open() as parquet:
            metadata = parquet.metadata
            sizes = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
            first = 0
            for group, size in enumerate(sizes):
                if len(_within(positions, first, size)):
                    yield from _rows_of_group(parquet, group, positions - first)
                first += size

    @contextlib.contextmanager
    def _open(self) -> Iterator[pq.ParquetFile]:
        """The open file; whatever fails inside names the file."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self.stamp.path
        try:
            with pq.ParquetFile(path) as parquet:
                yield parquet
        except UnicodeDecodeError:
            raise InputError(f"{path}: a column has bytes that are not UTF-8") from None
        except (pa.ArrowException, OSError) as error:
            first_line = (str(error).splitlines() or [""])[0]
            raise InputError(
                f"{path}: Parquet data is corrupt or truncated ({first_line}); "
                "expected a whole file"
            ) from None
        except (TypeError, ValueError) as error:
            raise InputError(
                f"{path}: a value is of a kind that JSON has not ({error}); "
                "expected text, numbers, times, lists and objects"
            ) from None


def _rows_of_group(
    parquet: pq.ParquetFile, group: int, positions: npt.NDArray[np.int64]
) -> Iterator[bytes]:
    """The rows at the positions, counted from the group's first row, as JSON objects."""
    first = 0
    for batch in parquet.iter_batches(batch_size=_ROWS_A_BATCH, row_groups=[group]):
        wanted = _within(positions, first, batch.num_rows)
        if len(wanted):
            yield from map(msgspec.json.encode, batch.take(wanted - first).to_pylist())
        first += batch.num_rows


def _has_field(schema: pa.Schema, path: str) -> bool:
    import pyarrow as pa

    first, *rest = path.split(".")
    if schema.names.count(first) != 1:
        return False
    kind = schema.field(first).type
    for name in rest:
        if not pa.types.is_struct(kind) or kind.get_field_index(name) < 0:
            return False
        kind = kind.field(name).type
    return True


def _within(positions: npt.NDArray[np.int64], first: int, count: int) -> npt.NDArray[np.int64]:
    """The ascending positions in [first, first + count)."""
    start, stop = np.searchsorted(positions, [first, first + count])
    return positions[start:stop]
