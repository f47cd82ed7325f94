"""Writes what a command puts out: all of it, or nothing."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
import numpy.typing as npt

from mig_jax.data.files import write_rows
from mig_jax.data.reading import RecordTable
from mig_jax.data.records import BadRecord
from mig_jax.errors import InputError
from mig_jax.runs import open_temporary

__all__ = ["OutputFiles", "write_json", "write_records", "write_selection_table"]


class OutputFiles:
    """The output files of a command, which all appear together once it has succeeded.

    Each is written under a temporary name in its own folder. Leaving the `with` block
    renames them all; an exception, KeyboardInterrupt included, removes them all and
    leaves files of these names as they were.

    >>> import os, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with OutputFiles() as outputs:
    ...         _ = outputs.open(os.path.join(folder, "picks.txt")).write(b"3")
    ...     os.listdir(folder)
    ['picks.txt']
    """

    def __init__(self, inputs: Iterable[str | os.PathLike[str]] = ()) -> None:
        """`inputs` are files that no output may overwrite; names of no file are passed over."""
        self._inputs = [os.fspath(path) for path in inputs]
        self._streams: dict[str, BinaryIO] = {}  # By the path that the file will have.

    def open(self, path: str | os.PathLike[str]) -> BinaryIO:
        """A stream for the bytes of the output that will stand at `path`.

        Raises:
          InputError: if the folder does not exist or cannot be written to, or the
            path is an input, an earlier output, a directory or a device.
        """
        given = os.fspath(path)
        # A link stays a link: what it points to is replaced.
        target = os.path.realpath(given)
        folder = os.path.dirname(target)
        if not os.path.isdir(folder):
            raise InputError(f"{given}: folder {folder} does not exist; expected an existing one")
        if os.path.exists(target):
            if not os.path.isfile(target):
                raise InputError(f"{given}: is not a regular file; expected a file name")
            for source in self._inputs:
                if os.path.exists(source) and os.path.samefile(source, target):
                    raise InputError(f"{given}: is an input; expected another file to write to")
        if target in self._streams:
            raise InputError(f"{given}: is an output already; expected another file to write to")
        try:
            self._streams[target] = open_temporary(target)
        except OSError as error:
            raise InputError(f"{given}: {error.strerror}; expected a writable folder") from None
        return self._streams[target]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                # All are on the disk before the first takes its name.
                for stream in self._streams.values():
                    stream.flush()
                    os.fsync(stream.fileno())
                    if os.name == "nt":
                        stream.close()  # Windows renames no open files.
                # Held until they have their names: nobody takes them for left behind.
                for target, stream in self._streams.items():
                    os.replace(stream.name, target)
        finally:
            for stream in self._streams.values():
                # Closing flushes, and fails again if the disk is full.
                with contextlib.suppress(OSError):
                    stream.close()
                with contextlib.suppress(FileNotFoundError):
                    os.remove(stream.name)
            self._streams.clear()


def write_records(
    table: RecordTable,
    picks: npt.ArrayLike,
    stream: BinaryIO,
    *,
    convert: Callable[[bytes], bytes] | None = None,
    parquet: bool = False,
) -> None:
    """Writes the picked records one a line, in the order picked.

    A line has the bytes that came in, its b"\\n" added if the file ended without;
    a row of a table is written as a JSON object, and so is a record of a JSON array that
    has line breaks. The records pass through an anonymous file on disk, as a compressed
    file can only be read from its start; memory does not grow with their number.

    Args:
      table: as `read_pool` gives it.
      picks: record indices (integers, 1-D).
      stream: where they go.
      convert: makes of each record the one that is written; may raise BadRecord.
      parquet: writes a Parquet file instead, one record a row.

    Raises:
      InputError: if a file has changed since the table was read, a record cannot be
        converted, or the records have no common types for the columns of a table.
      IndexError: for a pick that is not in [0, num_records).
    """
    picks = _checked_picks(table, picks)
    records, order = np.unique(picks, return_inverse=True)
    starts = np.zeros(len(records) + 1, np.int64)
    # Records stand in the table file by file, so ascending indices pass each file once.
    file_index = table.file_index[records]
    with tempfile.TemporaryFile() as spool:
        done = 0
        for index in np.unique(file_index).tolist():
            positions = table.position[records[file_index == index]]
            for record in table.sources[index].read_records(positions):
                if convert is not None:
                    try:
                        record = convert(record)
                    except BadRecord as bad:
                        separator = ", " if bad.field else ": "
                        where = f"{table.files[index]}, line {table.line[records[done]]}"
                        raise InputError(f"{where}{separator}{bad}") from None
                starts[done + 1] = starts[done] + spool.write(record + b"\n")
                done += 1

        def lines() -> Iterator[bytes]:
            for entry in order.tolist():
                spool.seek(starts[entry])
                yield spool.read(starts[entry + 1] - starts[entry])

        if parquet:
            write_rows(lines, stream)
        else:
            stream.writelines(lines())


def write_selection_table(
    output: str | os.PathLike[str] | BinaryIO,
    table: RecordTable,
    picks: npt.ArrayLike,
    gains: npt.ArrayLike,
    information: npt.ArrayLike,
) -> None:
    """Writes a Parquet table with one row for each pick, in order.

    Its columns: rank (int64, from 1), file (string) and line (int64) of the record,
    gain (float64) of the pick, and information (float64), E with this pick included.

    Raises:
      IndexError: for a pick that is not in [0, num_records).
      ValueError: if picks, gains and information differ in length.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    picks = _checked_picks(table, picks)
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
    }
    where = output if hasattr(output, "write") else os.fspath(output)
    pq.write_table(pa.table(columns), where)


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


def _checked_picks(table: RecordTable, picks: npt.ArrayLike) -> npt.NDArray[np.int64]:
    indices = np.asarray(picks)
    if not indices.size:
        return np.zeros(0, np.int64)
    if indices.ndim != 1 or not np.issubdtype(indices.dtype, np.integer):
        raise ValueError(f"picks are {indices.dtype} {indices.shape}, expected 1-D integers")
    if indices.min() < 0 or indices.max() >= table.num_records:
        raise IndexError(f"a pick is outside the {table.num_records} records")
    return indices.astype(np.int64)
