"""The files that a pool is in: what each path stands for, by its name and its first bytes."""

from __future__ import annotations

from collections.abc import Sequence

from mig_jax.data.files import (
    ArrayFile,
    DatasetRows,
    FileStamp,
    LineFile,
    ParquetRows,
    is_dataset,
)
from mig_jax.data.reading._record_parts import RecordFile
from mig_jax.errors import InputError

__all__ = ["open_files"]


def open_files(paths: Sequence[str]) -> list[RecordFile]:
    """The files of records, by the endings of their names, or the datasets.

    Raises:
      InputError: if there is none, one cannot be read, or one is given twice.
    """
    if not paths:
        raise InputError("no file of records is given; expected at least one")
    files: dict[tuple[int, int], RecordFile] = {}
    for path in paths:
        file = _open_file(path)
        if (twin := files.setdefault(file.stamp.identity, file)) is not file:
            raise InputError(
                f"{path}: is the same file as {twin.stamp.path}; expected each file once"
            )
    return list(files.values())


def _open_file(path: str) -> RecordFile:
    if is_dataset(path):
        return DatasetRows.of(path)
    stamp = FileStamp.of(path)
    if path.lower().endswith(".parquet"):
        return ParquetRows(stamp)
    return ArrayFile(stamp) if ArrayFile.is_array(path) else LineFile(stamp)
