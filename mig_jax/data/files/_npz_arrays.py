"""Arrays of NumPy's .npz files, which are zip archives, from whoever may have written them.

Nothing in such a file is believed before it is checked: pickled objects are never loaded, memory
is that of the arrays, and whatever a damage leads to is one kind of error.
"""

from __future__ import annotations

import io
import math
import os
import stat
import warnings
import zipfile
from collections.abc import Sequence
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt

__all__ = ["read_npz"]

# Arrays that are larger than this and that many times their compressed size are a bomb.
_LARGE: Final = 1 << 26
_MOST_COMPRESSED: Final = 100
_READERS: Final = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read_npz(path: str | os.PathLike[str], names: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
    """The arrays of these names, which are not to be changed.

    Raises:
      OSError: if the file cannot be opened or read.
      ValueError: if it is no regular file, has no array of one of the names, or is damaged; the
        message is one line without a full stop.
    """
    # Opened without waiting: a pipe would wait for a writer, for ever.
    with open(path, "rb", opener=_open_now) as stream:
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("is not a regular file")
        try:
            with zipfile.ZipFile(stream) as archive:
                return {name: _array(archive, name, status.st_size) for name in names}
        except OSError:
            raise
        # Zip files, decompressors, headers in Python's syntax: each fails in its own ways.
        except Exception as error:
            raise ValueError(_first_line(error)) from None


def _open_now(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _array(archive: zipfile.ZipFile, name: str, size: int) -> npt.NDArray[Any]:
    try:
        member = archive.getinfo(f"{name}.npy")
    except KeyError:
        raise ValueError(f"{name} is not a file in the archive") from None
    if member.compress_size > size:
        raise ValueError(f"{name} claims to be larger than the file")
    if member.file_size > max(_LARGE, _MOST_COMPRESSED * member.compress_size):
        raise ValueError(
            f"{name} claims {member.file_size:,} bytes in {member.compress_size:,} compressed ones"
        )
    content = archive.read(member)  # Its checksum is compared.
    head = io.BytesIO(content)
    kind, shape, is_fortran = _header(head)
    if kind.hasobject:
        raise ValueError("Object arrays cannot be loaded: they may run anything")
    count = math.prod(shape)
    if min(shape, default=0) < 0 or head.tell() + count * kind.itemsize != len(content):
        raise ValueError(f"{name} claims the shape {shape}, which its bytes do not fill")
    if not count:
        return np.zeros(shape, kind)
    array = np.frombuffer(content, kind, count, head.tell())
    return array.reshape(shape, order="F" if is_fortran else "C")


def _header(stream: BinaryIO) -> tuple[np.dtype[Any], tuple[int, ...], bool]:
    version = np.lib.format.read_magic(stream)
    if version not in _READERS:
        raise ValueError(f"format {version} of arrays is not known")
    with warnings.catch_warnings():  # Of headers as Python 2 wrote them.
        warnings.simplefilter("ignore", UserWarning)
        shape, is_fortran, kind = _READERS[version](stream)
    return kind, shape, is_fortran


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
