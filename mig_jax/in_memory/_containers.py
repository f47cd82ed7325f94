"""What people hold records in: how each is written to a file to be read, and rows taken of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from mig_jax import data
from mig_jax.errors import InputError

__all__ = ["Container", "container_of", "paths_of", "plain"]

_EXPECTED: Final = (
    "expected a datasets.Dataset, a DataFrame of pandas or polars, a pyarrow.Table, a list of "
    "dicts, or paths of files"
)
_ROWS_A_GROUP: Final = 1 << 14


class Container(NamedTuple):
    """A way to hold records in memory."""

    ending: str  #: Of the file that is written.
    write: Callable[[Any, str, str], None]  #: Records to a path; the last is what errors name.
    take: Callable[[Any, npt.NDArray[np.int64]], Any]  #: The rows of these numbers, in order.


def paths_of(records: Any) -> list[str] | None:
    """The paths that are given in place of records; None if records are."""
    if isinstance(records, str | os.PathLike):
        return [os.fspath(records)]
    if not isinstance(records, list | tuple) or not records:
        return None
    are_paths = all(isinstance(one, str | os.PathLike) for one in records)
    return [os.fspath(one) for one in records] if are_paths else None


def container_of(records: Any, argument: str) -> Container:
    """How these records are held; `argument` is what errors name.

    Libraries are known by the name of a type, so that none is imported for the others' sake.

    Raises:
      InputError: if records are not held so.
    """
    for kind in type(records).__mro__:
        name = f"{kind.__module__.partition('.')[0]}.{kind.__name__}"
        if name in _OTHERS:
            raise InputError(f"{argument}: found a {name}, {_OTHERS[name]}")
        if name in _CONTAINERS:
            return _CONTAINERS[name]
    if isinstance(records, Sequence) and not isinstance(records, str | bytes):
        return _LISTS
    found = f"{type(records).__module__}.{type(records).__name__}".removeprefix("builtins.")
    raise InputError(f"{argument}: found {found}; {_EXPECTED}")


def _write_rows(records: Sequence[Any], path: str, argument: str) -> None:
    with open(path, "wb") as stream:
        for number, record in enumerate(records):
            if not isinstance(record, Mapping):
                found = type(record).__name__
                raise InputError(f"{argument}[{number}]: found {found}, expected a dict")
            try:
                stream.write(_json_of(record) + b"\n")
            except (TypeError, ValueError, data.BadRecord) as error:
                raise InputError(
                    f"{argument}[{number}]: {error}; expected texts, numbers, lists and dicts"
                ) from None


def _json_of(record: Mapping[str, Any]) -> bytes:
    try:
        return data.record_as_json(record)
    except TypeError:  # Numbers of NumPy, perhaps.
        return data.record_as_json(msgspec.to_builtins(record, enc_hook=plain))


def plain(value: Any) -> Any:
    """What an array or a number of NumPy, JAX or torch is in JSON."""
    if not hasattr(value, "tolist"):
        raise TypeError(f"found a value of type {type(value).__name__}")
    return value.tolist()


def _write_table(table: Any, path: str, argument: str) -> None:
    _write_tables([table], table.schema, path, argument)


def _write_tables(tables: Iterable[Any], schema: Any, path: str, argument: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # Read once, and soon: what compression saves, it costs.
        with pq.ParquetWriter(path, schema, compression="none") as writer:
            for table in tables:
                writer.write_table(table, row_group_size=_ROWS_A_GROUP)
    except (pa.ArrowException, ValueError) as error:
        raise _refusal(argument, error) from None


def _write_pandas(frame: Any, path: str, argument: str) -> None:
    import pyarrow as pa

    try:
        table = pa.Table.from_pandas(frame, preserve_index=False)
    except (pa.ArrowException, ValueError, TypeError) as error:
        raise _refusal(argument, error, "records.to_dict('records')") from None
    _write_table(table, path, argument)


def _write_polars(frame: Any, path: str, argument: str) -> None:
    import polars

    # Not all readers of Parquet know the newest types of text.
    _write_table(frame.to_arrow(compat_level=polars.CompatLevel.oldest()), path, argument)


def _write_dataset(dataset: Any, path: str, argument: str) -> None:
    tables: Iterator[Any] = dataset.with_format("arrow").iter(_ROWS_A_GROUP)
    _write_tables(tables, dataset.features.arrow_schema, path, argument)


def _refusal(argument: str, error: Exception, instead: str = "a list of dicts") -> InputError:
    reason = ", ".join(map(str, error.args)) or type(error).__name__
    return InputError(
        f"{argument}: is no table with one kind of values a column ({reason}); expected one, or "
        f"{instead}"
    )


_LISTS: Final = Container(
    ".jsonl", _write_rows, lambda records, picks: [records[row] for row in picks.tolist()]
)
_CONTAINERS: Final = {
    "pandas.DataFrame": Container(
        ".parquet", _write_pandas, lambda frame, picks: frame.iloc[picks]
    ),
    "polars.DataFrame": Container(".parquet", _write_polars, lambda frame, picks: frame[picks]),
    "pyarrow.Table": Container(".parquet", _write_table, lambda table, picks: table.take(picks)),
    "datasets.Dataset": Container(
        ".parquet", _write_dataset, lambda dataset, picks: dataset.select(picks)
    ),
}
# What is held otherwise, and how to have it as above.
_OTHERS: Final = {
    "datasets.DatasetDict": "expected one of its splits, as records['train']",
    "datasets.IterableDataset": "expected a datasets.Dataset, which has all records at hand, or a "
    "list of dicts: list(records)",
    "datasets.IterableDatasetDict": "expected one of its splits, as list(records['train'])",
    "polars.LazyFrame": "expected a DataFrame: records.collect()",
    "pandas.Series": "expected a DataFrame",
    "polars.Series": "expected a DataFrame",
    "pyarrow.RecordBatch": "expected a Table: pyarrow.Table.from_batches([records])",
}
