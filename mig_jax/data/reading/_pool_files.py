"""The files that a pool is in: what each path stands for, by its name and its first bytes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from typing import Final

from mig_jax.data.files import (
    LONGEST_RECORD,
    ArrayFile,
    CsvFile,
    DatasetRows,
    FileStamp,
    LineFile,
    OnFetch,
    ParquetRows,
    compression_of,
    expand,
    foreign_content,
    is_array_text,
    is_dataset,
    is_remote,
    local_copy,
    lone_object,
    name_of,
    near_file,
    open_text,
)
from mig_jax.data.reading._cache import default_cache_folder
from mig_jax.data.reading._record_parts import RecordFile
from mig_jax.data.records import USUAL, FieldNames
from mig_jax.errors import InputError

__all__ = ["open_files", "stamp_of"]

# As much of a text is looked at, to tell what it is.
_LOOKED_AT: Final = 1 << 16
_BLANK_LOOKED_AT: Final = 1 << 22
_STANDARD_INPUT: Final = "standard input"  # As a file of a pool is called.


def open_files(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str] | RecordFile],
    *,
    fields: FieldNames = USUAL,
    longest_record: int = LONGEST_RECORD,
    cache: str | os.PathLike[str] | None = None,
    on_fetch: OnFetch | None = None,
    standard_input: Callable[[], str] | None = None,
) -> list[RecordFile]:
    """The files of records, or the datasets, that the paths stand for, in order.

    What a path stands for is told by `mig_jax.data.files.expand`. Files that are open already
    are passed on.

    Args:
      paths: one, or several.
      fields: the pool's names of fields, which tell what a field of CSV is.
      longest_record: bytes that a record of a text may have.
      cache: folder that copies of remote files are kept in; None for the platform's.
      on_fetch: gets the address of a remote file that is being copied, the bytes so far, and
        how many there are if that is known.
      standard_input: gives a file with all of it, which the path `-` stands for; None if that is
        a name like any other.

    Raises:
      InputError: if there is none, one cannot be read or be records, or one is given twice.
    """
    if isinstance(paths, str | os.PathLike):
        paths = [paths]
    if not paths:
        raise InputError("no file of records is given; expected at least one")
    files: dict[tuple[int, int], RecordFile] = {}
    for given in paths:
        if isinstance(given, RecordFile):
            found = [given]
        elif given == "-" and standard_input is not None:
            stamp = FileStamp.of(_STANDARD_INPUT, standard_input())
            found = [_opened(stamp, fields, longest_record)]
        else:
            found = [
                _open_file(path, fields, longest_record, cache, on_fetch)
                for path in expand(os.fspath(given))
            ]
        for file in found:
            if (twin := files.setdefault(file.stamp.identity, file)) is not file:
                raise InputError(
                    f"{file.stamp.path}: is the same file as {twin.stamp.path}; "
                    "expected each file once"
                )
    return list(files.values())


def stamp_of(
    path: str, cache: str | os.PathLike[str] | None = None, on_fetch: OnFetch | None = None
) -> FileStamp:
    """The stamp of one file, here or elsewhere, whose bytes are in `stamp.local` then.

    Raises:
      InputError: if it is no regular file that can be read.
    """
    if not is_remote(path):
        if not os.path.lexists(path) and (meant := near_file(path)):
            raise InputError(f"{path}: no such file; perhaps {meant} is meant")
        return FileStamp.of(path)
    folder = default_cache_folder() if cache is None else os.fspath(cache)
    return FileStamp.of(path, local_copy(path, folder, on_fetch))


def _open_file(
    path: str,
    fields: FieldNames,
    longest: int,
    cache: str | os.PathLike[str] | None,
    on_fetch: OnFetch | None,
) -> RecordFile:
    if is_dataset(path):
        return DatasetRows.of(path)
    return _opened(stamp_of(path, cache, on_fetch), fields, longest)


def _opened(stamp: FileStamp, fields: FieldNames, longest: int) -> RecordFile:
    """A file of records, by its name and what it holds."""
    path = stamp.path
    with open_text(stamp, "") as (_, raw):
        start = raw.read(4)
    name = name_of(path)
    if start == b"PAR1" or (name.endswith(".parquet") and not _is_text(start)):
        return ParquetRows(stamp)
    if name.endswith(".parquet"):
        raise InputError(
            f"{path}: holds text under the name of a Parquet file; expected Parquet, or for JSON "
            "lines a name that ends in .jsonl"
        )
    compression = compression_of(stamp)
    start, is_all = _start_of(LineFile(stamp, compression))
    if problem := foreign_content(start):
        raise InputError(f"{path}: {problem}")
    if CsvFile.is_named(path):
        return CsvFile(stamp, compression, longest, fields)
    is_named_json = name.endswith((".json", ".json.gz", ".json.zst"))
    if is_array_text(start, is_named_json):
        return ArrayFile(stamp, compression, longest)
    # A first line without an end may be the first of many records.
    may_be_one = is_all or is_named_json or b"\n" in start
    if may_be_one and (problem := lone_object(start, is_all, fields)):
        raise InputError(f"{path}: {problem}")
    return LineFile(stamp, compression, longest)


def _start_of(file: LineFile) -> tuple[bytes, bool]:
    """The start of a text behind blank lines, as far as it can be read; whether that is all."""
    start, passed = b"", 0
    with contextlib.suppress(InputError), file.open() as (_, text):  # Reading tells it in its turn.
        while len(start) < _LOOKED_AT and (start or passed < _BLANK_LOOKED_AT):
            more = text.read1(_LOOKED_AT)
            if not more:
                return start, True
            passed += len(more)
            start = start + more if start else more.lstrip()
    return start, False


def _is_text(start: bytes) -> bool:
    """Whether a file that starts so holds text, in the way of Parquet, or compressed text."""
    return start.lstrip()[:1] in (b"{", b"[") or start[:2] in (b"\x1f\x8b", b"\x28\xb5")
