"""What a command tells beside its records: the table of a selection, and JSON."""

from __future__ import annotations

import json
import os
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
    tokens: npt.ArrayLike | None = None,
) -> None:
    """Writes a Parquet table with one row for each pick, in order.

    Its columns: rank (int64, from 1), file (string) and line (int64) of the record,
    gain (float64) of the pick, information (float64), E with this pick included, and
    what the pick was chosen by: labels (list of strings) and score (float32). These
    stand here and not in the records, where trainers take `labels` for token labels.
    If `tokens` is given, int [N], there is a column of it (int64): what each pick costs.

    Raises:
      IndexError: for a pick that is not in [0, num_records).
      ValueError: if picks, gains, information and tokens differ in length.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    picks = checked_picks(table, picks)
    gains, information = np.asarray(gains, np.float64), np.asarray(information, np.float64)
    if not picks.shape == gains.shape == information.shape:
        raise ValueError(
            f"picks {picks.shape}, gains {gains.shape} and information {information.shape} "
            "differ in shape"
        )
    files = pa.DictionaryArray.from_arrays(
        pa.array(table.file_index[picks]), pa.array(table.files, pa.string())
    )
    columns = {
        "rank": pa.array(np.arange(1, len(picks) + 1, dtype=np.int64)),
        "file": files.cast(pa.string()),
        "line": pa.array(table.line[picks]),
        "gain": pa.array(gains),
        "information": pa.array(information),
        "labels": _labels_of(table, picks),
        "score": pa.array(table.scores[picks]),
    }
    if tokens is not None:
        if np.shape(tokens) != picks.shape:
            raise ValueError(f"picks {picks.shape} and tokens {np.shape(tokens)} differ in shape")
        columns["tokens"] = pa.array(np.asarray(tokens, np.int64))
    where = output if hasattr(output, "write") else os.fspath(output)
    pq.write_table(pa.table(columns), where)


def _labels_of(table: RecordTable, picks: npt.NDArray[np.int64]) -> pa.Array:
    import pyarrow as pa

    starts, ends = table.offsets[picks], table.offsets[picks + 1]
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(ends - starts)])
    # Entry e of a pick stands at its start, and as far behind it as e behind the pick's offset.
    entries = np.repeat(starts - offsets[:-1], ends - starts) + np.arange(offsets[-1])
    names = pa.array(table.label_names, pa.string())
    labels = names.take(pa.array(table.labels[entries]))
    return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), labels)


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
