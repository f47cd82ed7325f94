"""Records on their way to one Parquet file: columns of tables as they are, others from JSON."""

from __future__ import annotations

import array
import contextlib
import io
import itertools
import tempfile
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, BinaryIO, Final, Self

import numpy as np
import numpy.typing as npt

from mig_jax.data.files import (
    JsonColumn,
    JsonRows,
    Losses,
    RowSpool,
    TableRows,
    common_schema,
    features_of,
    parsed,
    with_features,
)
from mig_jax.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["TableSpool", "check_one_table"]

_ROWS: Final = 1024


def check_one_table(sources: Sequence[Any]) -> None:
    """Raises `InputError` if the tables among the sources cannot be rows of one Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables = [source for source in sources if isinstance(source, TableRows)]
    if not tables:
        return
    for field in common_schema(tables):
        try:
            pq.ParquetWriter(io.BytesIO(), pa.schema([field])).close()
        except pa.ArrowException as error:
            raise InputError(
                f"{tables[0].stamp.path}: the column {field.name} cannot stand in a Parquet file "
                f"({str(error).splitlines()[0]}); expected --output=FILE.jsonl"
            ) from None


class TableSpool:
    """Holds records on disk until all are there, and makes a Parquet file of them.

    A column that comes from tables only, and that no record has changed, keeps its Arrow
    type, its values to the bit and its metadata; so does the schema. All other columns are
    made of the records' JSON, by `JsonColumn`.
    """

    def __init__(self, sources: Sequence[Any], losses: Losses) -> None:
        """`sources` are the files of the records, as `RecordTable.sources`.

        `losses` are those of columns that were made JSON; more are added here.

        Raises:
          InputError: if the tables among them have columns of types that do not agree.
        """
        self._sources = sources
        tables = [source for source in sources if isinstance(source, TableRows)]
        self._schema = common_schema(tables) if tables else None
        self._names = set() if self._schema is None else set(self._schema.names)
        self._kept: set[str] = set()  # Columns of tables that a record has as they are.
        self._from_json: dict[str, None] = {}  # Other columns.
        self._left_out: set[str] = set()  # Columns of tables that a record has no more.
        self._entries = array.array("q")  # Source, position and place of the JSON of each record.
        self._losses = losses
        self._held = contextlib.ExitStack()
        self._json = self._temporary()
        self._size = 0  # Of the JSON.

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._held.close()

    def add_row(self, source: int, position: int) -> None:
        """Adds a row of a table as it came."""
        self._kept |= self._names
        self._entries.extend((source, position, -1))

    def add(self, record: bytes, source: int, position: int, came: bytes | None = None) -> None:
        """Adds a record, a JSON object; of a row of a table, with the object that came."""
        fields = parsed(record)
        if came is None or self._schema is None or not self._is_table(source):
            self._from_json |= dict.fromkeys(fields)
            position = -1
        else:
            before = parsed(came)
            for name, value in fields.items():
                if name in before and _same(before[name], value):
                    self._kept.add(name)
                else:
                    self._from_json[name] = None
            self._left_out |= before.keys() - fields.keys()
        self._entries.extend((source, position, self._size))
        self._size += self._json.write(record.rstrip(b"\n") + b"\n")

    def write(
        self,
        stream: BinaryIO,
        order: npt.NDArray[np.int64] | None = None,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        """Writes the records as they were added, or in this order.

        `tell` gets a line for each column whose values JSON could not hold as they are.

        Raises:
          InputError: if a table has changed, or a value does not fit.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        for name in self._kept & self._left_out:
            self._from_json[name] = None
        entries = np.array(self._entries, np.int64).reshape(-1, 3)
        spool, row_of = self._rows_of_tables(entries)
        order = np.arange(len(entries)) if order is None else order
        rows_a_chunk = _ROWS if spool is None else spool.rows_a_batch

        def chunks() -> Iterator[tuple[pa.RecordBatch | None, list[dict[str, Any]]]]:
            for start in range(0, len(order), rows_a_chunk):
                chosen = order[start : start + rows_a_chunk]
                numbers = row_of[chosen]
                batches = [None] if spool is None else spool.rows(numbers)
                done = 0
                for batch in batches:
                    count = len(chosen) if batch is None else batch.num_rows
                    part = chosen[done : done + count]
                    done += count
                    yield batch, self._fields(batch, entries[part, 2].tolist())

        columns = {name: JsonColumn() for name in self._from_json}
        if columns:
            for _, rows in chunks():
                for name, column in columns.items():
                    for row in rows:
                        column.see(row.get(name))
        schema = self._output_schema(columns)
        with pq.ParquetWriter(stream, schema) as writer:
            for batch, rows in chunks():
                arrays = []
                for place, field in enumerate(schema):
                    if field.name in columns:
                        values = (row.get(field.name) for row in rows)
                        arrays.append(columns[field.name].array(values))
                    else:
                        assert batch is not None
                        same = schema.names == batch.schema.names
                        arrays.append(batch.column(place if same else field.name))
                if arrays:
                    writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema))
        if tell is not None:
            for line in self._losses.told(set(columns)):
                tell(line)

    def _temporary(self) -> IO[bytes]:
        return self._held.enter_context(tempfile.TemporaryFile())

    def _is_table(self, source: int) -> bool:
        return isinstance(self._sources[source], TableRows)

    def _rows_of_tables(
        self, entries: npt.NDArray[np.int64]
    ) -> tuple[RowSpool | None, npt.NDArray[np.int64]]:
        """The rows that are of tables, and the number of each record's there, or -1."""
        row_of = np.full(len(entries), -1, np.int64)
        if self._schema is None or not len(entries):
            return None, row_of
        spool = RowSpool(self._temporary(), self._schema)
        for index in np.unique(entries[entries[:, 1] >= 0, 0]).tolist():
            source = self._sources[index]
            of_source = np.flatnonzero((entries[:, 0] == index) & (entries[:, 1] >= 0))
            positions, which = np.unique(entries[of_source, 1], return_inverse=True)
            row_of[of_source] = len(spool) + which
            expected = len(spool) + len(positions)
            source.stamp.check_unchanged()
            for batch in source.batches_at(positions):
                spool.add(batch, source.stamp.path)
            if len(spool) != expected:
                raise InputError(
                    f"{source.stamp.path}: has fewer rows than were read; expected it to stay as "
                    "it was"
                )
        return spool, row_of

    def _fields(self, batch: pa.RecordBatch | None, places: list[int]) -> list[dict[str, Any]]:
        """The fields of records that are columns from JSON."""
        if not self._from_json:
            return []
        rows: list[dict[str, Any]] = [{} for _ in places]
        if batch is not None and self._schema is not None and -1 in places:
            names = [name for name in batch.schema.names if name in self._from_json]
            some = batch.select(names)
            rows = JsonRows(some.schema, features_of(self._schema), self._losses)(some)
        for number, place in enumerate(places):
            if place >= 0:
                self._json.seek(place)
                rows[number] = parsed(self._json.readline())
        return rows

    def _output_schema(self, columns: dict[str, JsonColumn]) -> pa.Schema:
        import pyarrow as pa

        if self._schema is None:
            return pa.schema([column.field(name) for name, column in columns.items()])
        some_have_none = any(position < 0 for position in self._entries[1::3])
        fields = []
        for field in self._schema:
            if field.name in columns:
                fields.append(columns[field.name].field(field.name))
            elif field.name in self._kept or not self._entries:
                fields.append(field.with_nullable(field.nullable or some_have_none))
        given = {field.name for field in fields}
        fields += [column.field(name) for name, column in columns.items() if name not in given]
        schema = pa.schema(fields, self._schema.metadata)
        if schema.equals(self._schema):
            return schema
        # What is said of columns that are gone or of another type is true no more.
        metadata = {k: v for k, v in (schema.metadata or {}).items() if k != b"pandas"}
        features = features_of(schema)
        left = {name: known for name, known in features.items() if name in given - columns.keys()}
        schema = schema.with_metadata(metadata)
        return with_features(schema, left) if features else schema


def _same(one: Any, other: Any) -> bool:
    """Whether two JSON values are the same; 1, 1.0 and true are three."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[k], other[k]) for k in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(
            itertools.starmap(_same, zip(one, other, strict=True))
        )
    return bool(one == other)
