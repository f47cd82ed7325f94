"""Keeps what was read from pools, so that a second run need not read them again.

A pool is known by the bytes of its files, not by their names or times: a copy is the
same pool, and a changed file is another one. Any file of the cache, and its folder, may
be deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
import platformdirs

import mig_jax
from mig_jax.data.files import read_npz
from mig_jax.data.reading._record_parts import RecordFile
from mig_jax.data.reading._record_table import RecordTable
from mig_jax.errors import InputError
from mig_jax.runs import open_temporary

__all__ = ["Writable", "default_cache_folder", "read_through_cache", "store_arrays"]

# Part of the key, as is the version: a change of what is stored, or of how records are
# read, needs a new one.
_FORMAT: Final = 5

_ARRAYS: Final = ("labels", "offsets", "scores", "file_index", "line", "position")
_VECTORS: Final = "label_vectors"  # Not every table has them: then it has no rows.
_COUNTS: Final = ("records_read", "records_skipped", "labels_dropped")


class Writable(Protocol):
    """What takes bytes, as an open binary file does."""

    def write(self, text: bytes, /) -> object: ...


def default_cache_folder() -> str:
    """Where the platform wants caches, such as `~/.cache/mig_jax`; it need not exist."""
    return platformdirs.user_cache_dir("mig_jax", appauthor=False)


def read_through_cache(
    read: Callable[[Writable | None], RecordTable],
    *,
    folder: str | os.PathLike[str],
    files: Sequence[RecordFile],
    choices: Sequence[Any],
    rejects: Writable | None,
    kept_rejects: int,
    tell: Callable[[str], None],
    lines: Sequence[str] = (),
) -> RecordTable:
    """What `read(rejects)` gives and writes, from a file of `folder` if it has one.

    Else it is read, and kept. `choices`, which JSON must take, are all that the table
    depends on besides the files. More than `kept_rejects` bytes of
    rejects are not kept, nor the pool. `tell` gets a line if the cache was used, or could
    not be; that never ends the reading. `lines`, to which `read` may add what it says of the
    records, are kept with the table: `tell` gets them whenever that comes from the cache.

    Raises:
      InputError: as `read` does.
    """
    try:
        key = _key(files, choices, with_names=rejects is not None)
    except InputError:
        return read(rejects)  # Which says what is wrong with the file.
    path = pathlib.Path(folder, f"{key}.npz")
    try:
        table, rejected, said = _load(path, files)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except Exception as error:  # A damaged file may raise anything.
        tell(f"{path}: is damaged or cannot be read ({type(error).__name__}); reading the pool")
    else:
        tell(f"the pool is unchanged: read from {path}")
        for line in said:
            tell(line)
        if rejects is not None:
            rejects.write(rejected)
        return table
    copied = None if rejects is None else _Copied(rejects, kept_rejects)
    table = read(copied)
    kept = b"" if copied is None else copied.text
    if kept is not None and _are_unchanged(files):
        try:
            _store(path, table, bytes(kept), lines)
        except OSError as error:
            tell(f"{path.parent}: {error.strerror or error}; what was read is not kept there")
    return table


class _Copied:
    """Passes on what is written, and keeps it unless it is much."""

    def __init__(self, stream: Writable, most: int) -> None:
        self._stream = stream
        self._most = most
        self.text: bytearray | None = bytearray()

    def write(self, text: bytes, /) -> None:
        self._stream.write(text)
        if self.text is not None:
            self.text += text
            if len(self.text) > self._most:
                self.text = None


def _key(files: Sequence[RecordFile], choices: Sequence[Any], with_names: bool) -> str:
    """A name for all that the table and, `with_names`, its rejects depend on."""
    contents = []
    for file in files:
        # Kind and ending tell how a file is read.
        name = file.stamp.path
        ending = name if with_names else os.path.splitext(name)[1].lower()
        contents.append([type(file).__name__, ending, *file.stamp.digests()])
    # Labels may be lone surrogates, which only this JSON writer takes.
    text = json.dumps([_FORMAT, mig_jax.__version__, with_names, contents, *choices])
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:32]


def _are_unchanged(files: Sequence[RecordFile]) -> bool:
    """False if a file was changed meanwhile: it may not be the one that was hashed."""
    try:
        for file in files:
            file.stamp.check_unchanged()
    except InputError:
        return False
    return True


def _store(path: pathlib.Path, table: RecordTable, rejects: bytes, lines: Sequence[str]) -> None:
    about = {name: getattr(table, name) for name in ("layouts", *_COUNTS)} | {"lines": [*lines]}
    names = [name.encode() for name in table.label_names]
    members = {name: getattr(table, name) for name in _ARRAYS} | {
        # Fixed-width strings of NumPy would lose zeros at their end.
        "label_text": _as_bytes(b"".join(names)),
        "label_ends": np.cumsum([len(name) for name in names], dtype=np.int64),
        "about": _as_bytes(json.dumps(about).encode("ascii")),
        "rejects": _as_bytes(rejects),
        _VECTORS: np.zeros((0, 0), np.float32)
        if table.label_vectors is None
        else table.label_vectors,
    }
    store_arrays(path, members)


def store_arrays(path: pathlib.Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Writes a file of the cache, whole or not at all.

    Raises:
      OSError: if it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open_temporary(str(path)) as stream:
        try:
            np.savez(stream, allow_pickle=False, **arrays)
            stream.flush()
            os.replace(stream.name, path)
        except BaseException:
            os.remove(stream.name)
            raise


def _load(path: pathlib.Path, files: Sequence[RecordFile]) -> tuple[RecordTable, bytes, list[str]]:
    """The table, of these files, the text of its rejects, and what was said of it."""
    members: dict[str, Any] = read_npz(
        path, [*_ARRAYS, _VECTORS, "label_text", "label_ends", "about", "rejects"]
    )
    about = json.loads(members["about"].tobytes())
    text, ends = members["label_text"].tobytes(), members["label_ends"].tolist()
    table = RecordTable(
        **{name: members[name] for name in _ARRAYS},
        **{name: about[name] for name in _COUNTS},
        label_names=[
            text[start:end].decode() for start, end in zip([0, *ends], ends, strict=False)
        ],
        files=tuple(file.stamp.path for file in files),
        layouts=tuple(about["layouts"]),
        sources=tuple(files),
        label_vectors=members[_VECTORS] if len(members[_VECTORS]) else None,
    )
    return table, members["rejects"].tobytes(), about["lines"]


def _as_bytes(text: bytes) -> npt.NDArray[np.uint8]:
    return np.frombuffer(text, np.uint8)
