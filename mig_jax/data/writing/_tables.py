"""What a command tells beside its records: the table of a selection, and JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt

from mig_jax.data.reading import RecordTable
from mig_jax.data.writing._written_records import checked_picks

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["write_json", "write_selection_table"]


def write_selection_table(
    output: str | os.PathLike[str] | BinaryIO,
    table: RecordTable,
    picks: npt.ArrayLike,
    gains: npt.ArrayLike,
    information: npt.ArrayLike,
    *,
    increases: npt.ArrayLike | None = None,
    given: int = 0,
    tokens: npt.ArrayLike | None = None,
) -> None:
    """Writes a Parquet table with one row for each pick, in order.

    Its columns: rank (int64, from 1), file (string) and line (int64) of the record,
    gain (float64) of the pick, information (float64), E with this pick included, and
    what the pick was chosen by: labels (list of strings) and score (float32). These
    stand here and not in the records, where trainers take `labels` for token labels. The last
    column is increase (float64): by how much the pick raised E, which its gain is if it is exact.

    If records that were given are written too, they come first: `picks` and `information` tell of
    them as of others, and their rank is 0, their gain and increase null.

    Args:
      output: where it goes.
      table: as `read_pool` gives it.
      picks: record indices, in the order written.
      gains: of each record of `picks` that was not given.
      information: of each record of `picks`.
      increases: as `gains`, which they are by default.
      given: how many of the records were given.
      tokens: of each record of `picks`, int; then there is a column of them (int64).

    Raises:
      IndexError: for a pick that is not in [0, num_records).
      ValueError: if picks, gains, increases, information and tokens differ in length.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    picks = checked_picks(table, picks)
    increases = gains if increases is None else increases
    # NaN is written as null.
    gains, increases = (
        np.append(np.full(given, np.nan), np.asarray(column, np.float64))
        for column in (gains, increases)
    )
    information = np.asarray(information, np.float64)
    if not picks.shape == gains.shape == increases.shape == information.shape:
        raise ValueError(
            f"picks {picks.shape}, gains {gains.shape}, increases {increases.shape} and "
            f"information {information.shape} differ in shape"
        )
    files = pa.DictionaryArray.from_arrays(_numbers(table.file_index[picks]), _texts(table.files))
    columns = {
        "rank": _numbers(np.maximum(np.arange(1, len(picks) + 1, dtype=np.int64) - given, 0)),
        "file": files.cast(pa.string()),
        "line": _numbers(table.line[picks]),
        "gain": _numbers(gains),
        "information": _numbers(information),
        "labels": _labels_of(table, picks),
        "score": _numbers(table.scores[picks]),
        "increase": _numbers(increases),
    }
    if tokens is not None:
        if np.shape(tokens) != picks.shape:
            raise ValueError(f"picks {picks.shape} and tokens {np.shape(tokens)} differ in shape")
        columns["tokens"] = _numbers(np.asarray(tokens, np.int64))
    where = output if hasattr(output, "write") else os.fspath(output)
    pq.write_table(pa.table(columns), where)


def _labels_of(table: RecordTable, picks: npt.NDArray[np.int64]) -> pa.Array:
    import pyarrow as pa

    starts, ends = table.offsets[picks], table.offsets[picks + 1]
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(ends - starts)])
    # Entry e of a pick stands at its start, and as far behind it as e behind the pick's offset.
    entries = np.repeat(starts - offsets[:-1], ends - starts) + np.arange(offsets[-1])
    names = _texts(table.label_names)
    labels = names.take(_numbers(table.labels[entries]))
    return pa.ListArray.from_arrays(_numbers(offsets.astype(np.int32)), labels)


def _numbers(values: npt.NDArray[Any]) -> pa.Array:
    """The column of an array, with nulls for NaN; for `pa.array`, Arrow imports pandas."""
    import pyarrow as pa

    values = np.ascontiguousarray(values)
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    is_null = np.isnan(values)
    held = None
    if is_null.any():
        held = pa.py_buffer(np.packbits(~is_null, bitorder="little"))
    kind = pa.from_numpy_dtype(values.dtype)
    return pa.Array.from_buffers(kind, len(values), [held, pa.py_buffer(values)])


def _texts(texts: Sequence[str]) -> pa.Array:
    import pyarrow as pa

    encoded = [text.encode() for text in texts]
    ends = np.cumsum([0, *map(len, encoded)]).astype(np.int64)
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.large_string(), len(encoded), buffers).cast(pa.string())


def write_json(stream: BinaryIO, value: Any) -> None:
    """Writes indented JSON with sorted keys and a line break at its end.

    NumPy scalars and arrays are written as numbers and lists, paths as strings.

    Raises:
      ValueError: for NaN or an infinity, which JSON has not.
      TypeError: for any other object that JSON has not.
    """
    text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False, default=_plain_value)
    stream.write(text.encode("ascii") + b"\n")


def _plain_value(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")
