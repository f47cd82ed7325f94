"""What tells that several processes see the same files of a pool, whatever they are called."""

from __future__ import annotations

import os
from collections.abc import Sequence

import xxhash

from mig_jax.data.files import ArrayFile, CsvFile, DatasetRows, ParquetRows
from mig_jax.data.reading._pool_files import open_files
from mig_jax.data.reading._record_parts import RecordFile
from mig_jax.errors import InputError

__all__ = ["pool_digests"]

_BLOCK = 1 << 16
_BLOCKS = 64  # Of each file that is not read as a whole, spread evenly.


def pool_digests(
    pool: Sequence[str | os.PathLike[str] | RecordFile], *, whole_up_to: int = 4 << 30
) -> list[str]:
    """For each file of a pool a text that is the same if the same records are read from it.

    It tells what the file is read as, which its name may decide, its size and a hash of its
    bytes. In pools of more than `whole_up_to` bytes the hash is that of 64 blocks of 64 KiB of
    each file, the first and the last ones among them: each process would read all that others
    read, else.

    Raises:
      InputError: if a file cannot be read, or one is given twice.
    """
    files = open_files(pool)
    whole = sum(file.stamp.size for file in files) <= whole_up_to
    return [_told(file, file.stamp.digests() if whole else _sampled(file)) for file in files]


def _told(file: RecordFile, digests: list[str]) -> str:
    told = (
        digests[0] if len(digests) == 1 else xxhash.xxh3_128_hexdigest(" ".join(digests).encode())
    )
    return f"{_read_as(file)} of {file.stamp.size:,} bytes, hash {told}"


def _read_as(file: RecordFile) -> str:
    match file:
        case CsvFile():
            return "TSV" if file.separator == "\t" else "CSV"
        case ArrayFile():
            return "a JSON array"
        case ParquetRows():
            return "Parquet"
        case DatasetRows():
            return "a dataset"
    return "JSON lines"


def _sampled(file: RecordFile) -> list[str]:
    found = []
    for path in file.stamp.stored_in:
        digest = xxhash.xxh3_128()
        try:
            with open(path, "rb", buffering=0) as stream:
                last = max(stream.seek(0, os.SEEK_END) - _BLOCK, 0)
                for number in range(_BLOCKS):
                    stream.seek(last * number // (_BLOCKS - 1))
                    digest.update(stream.read(_BLOCK))
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}; expected a readable file") from None
        found.append(digest.hexdigest())
    return found
