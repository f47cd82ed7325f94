"""Records as rows of a table: what Parquet files and saved datasets have in common."""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import itertools
import json
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from mig_jax.data.files._file_stamps import FileStamp
from mig_jax.data.files._json_values import (
    JSON_TYPE,
    JsonRows,
    Losses,
    encoded,
    extension_name,
    is_binary,
)
from mig_jax.data.files._line_files import TextLine
from mig_jax.data.records import (
    FieldNames,
    label_fields,
    possible_formats,
    unlabelled,
    value_at,
)
from mig_jax.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "BYTES_A_BATCH",
    "ROWS_A_BATCH",
    "TableRows",
    "features_of",
    "gathered",
    "rows_at",
    "telling_errors",
]

# What is held of a table at a time: so many rows, or fewer if they are large.
ROWS_A_BATCH = 1024
BYTES_A_BATCH = 1 << 26


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
        allowed = possible_formats(names) if layout == "auto" else (layout,)
        for name in allowed:
            if all(self._has_field(schema, field) for field in label_fields(name, names)):
                self._check_no_binary(schema, label_fields(name, names))
                return name
        # The first record stands for all: each has every column.
        if (first := self._first_row()) is not None:
            bad = unlabelled(first, names, encoded(first))
            if "annotate" in bad.problem:
                raise InputError(f"{self.stamp.path}, line 1: {bad}")
        elif not any(batch.num_rows for batch, _ in self.batches(schema.names[:1])):
            raise InputError(f"{self.stamp.path}: holds no records; expected at least one")
        expected = ", or ".join(
            f"{', '.join(label_fields(name, names))} (layout {name})" for name in allowed
        )
        raise InputError(
            f"{self.stamp.path}: has the columns {', '.join(schema.names)}; expected {expected}"
        )

    def _first_row(self) -> dict[str, Any] | None:
        """None if there is none, or none that JSON can hold: then its columns are told alone."""
        try:
            with telling_errors(self.stamp.path, self.kind):
                return next(self.rows(None), None)
        except InputError:
            return None

    def _has_field(self, schema: pa.Schema, path: str) -> bool:
        """Whether the path leads to a column, or to a field that any row has within its JSON."""
        place = _place(schema, path)
        if place is None or not place.is_json or place.path == path:
            return place is not None
        missing = object()
        return any(value_at(row, path, missing) is not missing for row in self.rows([path]))

    def _check_no_binary(self, schema: pa.Schema, paths: Sequence[str]) -> None:
        for path in paths:
            place = _place(schema, path)
            kind = None if place is None else place.kind
            while kind is not None and hasattr(kind, "value_type"):
                kind = kind.value_type
            if kind is not None and is_binary(kind):
                # As base64, which it is in JSON, a label would be another one.
                raise InputError(
                    f"{self.stamp.path}: the column {path} has binary values; expected text"
                )

    def scan(self, losses: Losses | None = None) -> Iterator[TextLine]:
        """Yields the rows in order, each as a JSON object with all its fields.

        `losses` gets what JSON has not.

        Raises:
          InputError: if the table cannot be read to its end, or a value cannot be
            written as JSON.
        """
        with telling_errors(self.stamp.path, self.kind):
            for position, row in enumerate(self.rows(None, losses=losses)):
                yield TextLine(position + 1, position, encoded(row))

    def rows(
        self,
        columns: Sequence[str] | None,
        progress: Callable[[int], None] | None = None,
        losses: Losses | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Yields the rows in order, each an object with at least these fields; None for all.

        The values are those of `JsonRows`. `progress` gets the share of the rows passed so
        far, in bytes; `losses` what JSON has not.

        Raises:
          InputError: if the table cannot be read to its end.
        """
        passed = 0
        schema = self.schema()
        found = None
        if columns is not None:
            places = (_place(schema, column) for column in columns)
            found = [place.path for place in places if place is not None]
        to_rows = self._to_rows(schema, losses)
        for batch, total in self.batches(found):
            with telling_errors(self.stamp.path, self.kind):
                rows = to_rows(batch)
            yield from rows
            passed += batch.num_rows
            if progress is not None:
                progress(self.stamp.size * passed // max(total, 1))
        self.stamp.check_unchanged()

    def read_records(
        self, positions: npt.NDArray[np.int64], losses: Losses | None = None
    ) -> Iterator[bytes]:
        """Yields the rows at ascending row numbers (from 0) as JSON objects, with all columns.

        `losses` gets what JSON has not.

        Raises:
          InputError: if the table is no longer what was read, or a value cannot be
            written as JSON.
        """
        self.stamp.check_unchanged()
        to_rows = self._to_rows(self.schema(), losses)
        for batch in self.batches_at(positions):
            with telling_errors(self.stamp.path, self.kind):
                records = [encoded(row) for row in to_rows(batch)]
            yield from records
        self.stamp.check_unchanged()

    def _to_rows(
        self, schema: pa.Schema, losses: Losses | None
    ) -> Callable[[pa.RecordBatch], list[dict[str, Any]]]:
        """What makes JSON objects of batches, which have all columns of the schema or some."""
        features = features_of(schema)
        losses = Losses() if losses is None else losses
        last: tuple[pa.Schema, JsonRows] | None = None

        def to_rows(batch: pa.RecordBatch) -> list[dict[str, Any]]:
            nonlocal last
            if last is None or not last[0].equals(batch.schema, check_metadata=True):
                last = batch.schema, JsonRows(batch.schema, features, losses)
            return last[1](batch)

        return to_rows


@contextlib.contextmanager
def telling_errors(path: str, kind: str) -> Iterator[None]:
    """Whatever Arrow or JSON cannot do inside is told as the fault of the file."""
    try:
        yield
    except UnicodeDecodeError:
        raise InputError(f"{path}: a column has bytes that are not UTF-8") from None
    except InputError as error:
        if path in str(error):
            raise
        raise InputError(f"{path}: {error}") from None
    except Exception as error:  # Damaged bytes lead pyarrow to raise of many kinds.
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"{path}: {kind} data is corrupt or truncated ({first_line}); expected a whole file"
        ) from None


def features_of(schema: pa.Schema) -> dict[str, Any]:
    """The features of `datasets` by column, as its metadata has them; none without."""
    try:
        found = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def rows_at(
    batches: Iterator[pa.RecordBatch], positions: npt.NDArray[np.int64]
) -> Generator[pa.RecordBatch, None, int]:
    """Yields the rows at ascending positions, counted from the first; returns the number of all."""
    first = 0
    for batch in batches:
        start, stop = np.searchsorted(positions, [first, first + batch.num_rows])
        if start < stop:
            yield from gathered([batch], positions[start:stop] - first)
        first += batch.num_rows
    return first


def gathered(
    batches: Sequence[pa.RecordBatch], rows: npt.NDArray[np.int64]
) -> list[pa.RecordBatch]:
    """The rows of one batch, or of several of one schema that are counted on, in this order.

    Arrow's own `take` has no kernel for some types, such as views of text.
    """
    import pyarrow as pa

    starts = np.concatenate([[0], np.cumsum([batch.num_rows for batch in batches])])
    which = np.searchsorted(starts, rows, side="right") - 1
    # Rows that follow each other are one piece.
    breaks = np.flatnonzero((np.diff(rows) != 1) | (np.diff(which) != 0)) + 1
    edges = [0, *breaks.tolist(), len(rows)]
    pieces = [
        batches[which[low]].slice(int(rows[low] - starts[which[low]]), high - low)
        for low, high in itertools.pairwise(edges)
        if low < high
    ]
    if len(pieces) <= 1:
        return pieces
    return pa.Table.from_batches(pieces).combine_chunks().to_batches()


@dataclasses.dataclass(frozen=True)
class _Place:
    """Where a path leads in the columns: as far as they have fields of their own."""

    path: str
    kind: pa.DataType
    is_json: bool  # What else there is of the path leads on in JSON text.


def _place(schema: pa.Schema, path: str) -> _Place | None:
    """None if the path leads nowhere."""
    import pyarrow as pa

    names = path.split(".")
    if schema.names.count(names[0]) != 1:
        return None
    field = schema.field(names[0])
    for depth, name in enumerate(names[1:], 1):
        if extension_name(field) == JSON_TYPE:
            return _Place(".".join(names[:depth]), field.type, is_json=True)
        kind = field.type
        if not pa.types.is_struct(kind) or kind.get_field_index(name) < 0:
            return None
        field = kind.field(name)
    return _Place(path, field.type, is_json=extension_name(field) == JSON_TYPE)
