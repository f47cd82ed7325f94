"""Records as rows of a table: what Parquet files and saved datasets have in common."""

from __future__ import annotations

import abc
import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
import numpy as np
import numpy.typing as npt

from mig_jax.data.files._file_stamps import FileStamp
from mig_jax.data.files._line_files import TextLine
from mig_jax.data.records import LABEL_FORMATS, FieldNames, label_fields, unlabelled
from mig_jax.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ROWS_A_BATCH", "TableRows", "telling_errors"]

ROWS_A_BATCH = 1024


@dataclasses.dataclass(frozen=True)
class TableRows(abc.ABC):
    """Records in (nested) columns, one a row."""

    kind: ClassVar[str]  # Of storage.

    stamp: FileStamp

    @abc.abstractmethod
    def schema(self) -> pa.Schema:
        """The columns and their types."""

    @abc.abstractmethod
    def batches(self, columns: Sequence[str] | None) -> Iterator[tuple[pa.RecordBatch, int]]:
        """Yields the rows, some at a time, each with the number of all rows.

        `columns` may be paths into objects; then other fields of these may be left out.
        """

    @abc.abstractmethod
    def batches_at(self, positions: npt.NDArray[np.int64]) -> Iterator[pa.RecordBatch]:
        """Yields the rows at ascending row numbers, from 0, some at a time."""

    def detect_label_format(self, layout: str, names: FieldNames) -> str:
        """The layout whose columns there are: `layout`, or any if that is "auto".

        Raises:
          InputError: if the columns are missing, or the table cannot be read.
        """
        schema = self.schema()
        allowed = tuple(LABEL_FORMATS) if layout == "auto" else (layout,)
        if layout == "auto" and (names.is_mapped("labels") or names.is_mapped("score")):
            allowed = ("plain",)
        for name in allowed:
            if all(_has_field(schema, field) for field in label_fields(name, names)):
                return name
        # As if each row had every column.
        bad = unlabelled(_outline(schema), names)
        if "annotate" in bad.problem:
            raise InputError(f"{self.stamp.path}: {bad}")
        expected = ", or ".join(
            f"{', '.join(label_fields(name, names))} (layout {name})" for name in allowed
        )
        raise InputError(
            f"{self.stamp.path}: has the columns {', '.join(schema.names)}; expected {expected}"
        )

    def scan(self) -> Iterator[TextLine]:
        """Yields the rows in order, each as a JSON object with all its fields.

        Raises:
          InputError: if the table cannot be read to its end, or a value cannot be
            written as JSON.
        """
        with telling_errors(self.stamp.path, self.kind):
            for position, row in enumerate(self.rows(None)):
                yield TextLine(position + 1, position, msgspec.json.encode(row))

    def rows(
        self, columns: Sequence[str] | None, progress: Callable[[int], None] | None = None
    ) -> Iterator[dict[str, Any]]:
        """Yields the rows in order, each an object with at least these fields; None for all.

        `progress` gets the share of the rows passed so far, in bytes.

        Raises:
          InputError: if the table cannot be read to its end.
        """
        passed = 0
        for batch, total in self.batches(columns):
            with telling_errors(self.stamp.path, self.kind):
                rows = batch.to_pylist()
            yield from rows
            passed += batch.num_rows
            if progress is not None:
                progress(self.stamp.size * passed // max(total, 1))
        self.stamp.check_unchanged()

    def read_records(self, positions: npt.NDArray[np.int64]) -> Iterator[bytes]:
        """Yields the rows at ascending row numbers (from 0) as JSON objects, with all columns.

        Raises:
          InputError: if the table is no longer what was read, or a value cannot be
            written as JSON.
        """
        self.stamp.check_unchanged()
        for batch in self.batches_at(positions):
            with telling_errors(self.stamp.path, self.kind):
                records = [msgspec.json.encode(row) for row in batch.to_pylist()]
            yield from records
        self.stamp.check_unchanged()


@contextlib.contextmanager
def telling_errors(path: str, kind: str) -> Iterator[None]:
    """Whatever Arrow or JSON cannot do inside is told as the fault of the file."""
    import pyarrow as pa

    try:
        yield
    except UnicodeDecodeError:
        raise InputError(f"{path}: a column has bytes that are not UTF-8") from None
    except InputError:
        raise
    except (pa.ArrowException, OSError) as error:
        first_line = (str(error).splitlines() or [""])[0]
        raise InputError(
            f"{path}: {kind} data is corrupt or truncated ({first_line}); expected a whole file"
        ) from None
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(
            f"{path}: a value is of a kind that JSON has not ({error}); "
            "expected text, numbers, times, lists and objects"
        ) from None


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


def _outline(schema: pa.Schema) -> dict[str, Any]:
    """An object with the columns as names, and nothing of interest as values."""
    import pyarrow as pa

    def outline(kind: pa.DataType) -> Any:
        if not pa.types.is_struct(kind):
            return ""
        return {field.name: outline(field.type) for field in kind}

    return {field.name: outline(field.type) for field in schema}
