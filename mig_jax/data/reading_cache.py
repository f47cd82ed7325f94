"""Keeps what was read from large pools, so that a second run need not read them again.

A pool is known by the bytes of its files, not by their names or times: a copy is the
same pool, and a changed file is another one. Any file of the cache, and its folder, may
be deleted at any time.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import hashlib
import io
import json
import os
import pathlib
import secrets
import time
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO, Final, Literal

import numpy as np
import numpy.typing as npt

from mig_jax.data.input_files import FileStamp
from mig_jax.data.readers import Progress, cores, distinct_files, open_file, read_pool
from mig_jax.data.record_table import RecordTable
from mig_jax.errors import InputError

__all__ = ["default_cache_folder", "read_pool_cached"]

# Part of the key: a change of what is stored, or of how records are read, needs a new one.
_FORMAT: Final = "mig_jax reading cache 1"
# What is read in less time is not worth a file, and no file this small takes as long.
_LEAST_SECONDS: Final = 1.0
_LEAST_BYTES: Final = 1 << 22
# More text of rejected records is not kept, nor is the pool.
_MOST_REJECTS: Final = 1 << 26
# Files are hashed in pieces, on all cores. Of the hashes of the standard library SHA-256
# is the fastest where the processor has instructions for it.
_PIECE: Final = 1 << 25
_BUFFER_SIZE: Final = 1 << 20

_ARRAYS: Final = ("labels", "offsets", "scores", "file_index", "line", "position")
_COUNTS: Final = ("records_read", "records_skipped", "labels_dropped")


def default_cache_folder() -> pathlib.Path:
    """`$XDG_CACHE_HOME/mig_jax`, or `~/.cache/mig_jax`; it need not exist."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    # The standard has relative paths ignored.
    base = pathlib.Path(given) if os.path.isabs(given) else pathlib.Path("~/.cache").expanduser()
    return base / "mig_jax"


def read_pool_cached(
    paths: Sequence[str | os.PathLike[str]],
    *,
    cache: str | os.PathLike[str] | None,
    layout: Literal["auto", "xsample", "plain"] = "auto",
    vocabulary: Sequence[str] | None = None,
    on_bad_record: Literal["error", "skip"] = "error",
    rejects: BinaryIO | None = None,
    progress: Progress | None = None,
    workers: int | None = None,
) -> RecordTable:
    """The same as `read_pool`, from a file of the folder `cache` where it has one.

    Else the files are read and, where that took a second or more, what was read is
    kept; the folder is made for it. A cache that cannot be used costs a warning, never
    the run. None stands for no cache. All other arguments are those of `read_pool`, and
    `rejects` gets the same lines.

    Raises:
      InputError: as `read_pool` does.
    """
    text = _Copied(rejects)

    def read() -> RecordTable:
        return read_pool(
            paths,
            layout=layout,
            vocabulary=vocabulary,
            on_bad_record=on_bad_record,
            rejects=None if rejects is None else text,  # type: ignore[arg-type]
            progress=progress,
            workers=workers,
        )

    if cache is None:
        return read()
    stamps = distinct_files([os.fspath(path) for path in paths])
    if sum(stamp.size for stamp in stamps) < _LEAST_BYTES:
        return read()
    choices = [layout, on_bad_record, rejects is not None]
    if vocabulary is not None:
        choices.append(sorted(set(vocabulary)))
    try:
        key = _key(stamps, choices)
    except OSError:
        return read()  # Which says what is wrong with the file.
    stored = pathlib.Path(cache, f"{key}.npz")
    if (found := _load(stored, stamps)) is not None:
        table, told = found
        if rejects is not None:
            rejects.write(told)
        if progress is not None:
            progress(sum(stamp.size for stamp in stamps))
        return table
    start = time.perf_counter()
    table = read()
    if time.perf_counter() - start >= _LEAST_SECONDS and text.copy is not None:
        # A file that was changed meanwhile is not the one that was hashed.
        with contextlib.suppress(InputError):
            for stamp in stamps:
                stamp.check_unchanged()
            _store(stored, table, bytes(text.copy))
    return table


class _Copied:
    """Passes on what is written, and keeps it unless it is much."""

    def __init__(self, stream: BinaryIO | None) -> None:
        self._stream = stream
        self.copy: bytearray | None = bytearray()

    def write(self, text: bytes) -> None:
        assert self._stream is not None
        self._stream.write(text)
        if self.copy is not None:
            self.copy += text
            if len(self.copy) > _MOST_REJECTS:
                self.copy = None


def _key(stamps: Sequence[FileStamp], choices: Sequence[Any]) -> str:
    """A name for all that the table depends on but the names of the files."""
    pieces = [(stamp.path, start) for stamp in stamps for start in range(0, stamp.size, _PIECE)]
    with concurrent.futures.ThreadPoolExecutor(cores()) as threads:
        digests = iter(list(threads.map(lambda piece: _piece_digest(*piece), pieces)))
    # The ending tells how a file is read.
    files = [
        [
            os.path.splitext(stamp.path)[1].lower(),
            stamp.size,
            [next(digests) for _ in range(0, stamp.size, _PIECE)],
        ]
        for stamp in stamps
    ]
    # Labels may be lone surrogates, which only this JSON writer takes.
    return hashlib.sha256(json.dumps([_FORMAT, files, *choices]).encode("ascii")).hexdigest()


def _piece_digest(path: str, start: int) -> str:
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(_BUFFER_SIZE))
    with open(path, "rb", buffering=0) as stream:
        stream.seek(start)
        left = _PIECE
        while left and (got := stream.readinto(buffer[: min(left, _BUFFER_SIZE)])):
            digest.update(buffer[:got])
            left -= got
    return digest.hexdigest()


def _store(path: pathlib.Path, table: RecordTable, rejects: bytes) -> None:
    about = {name: getattr(table, name) for name in ("files", "layouts", *_COUNTS)}
    names = [name.encode() for name in table.label_names]
    members = {name: getattr(table, name) for name in _ARRAYS} | {
        # Fixed-width strings of NumPy would lose zeros at their end.
        "label_text": _as_bytes(b"".join(names)),
        "label_ends": np.cumsum([len(name) for name in names], dtype=np.int64),
        "about": _as_bytes(json.dumps(about).encode("ascii")),
        "rejects": _as_bytes(rejects),
    }
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, "xb") as stream:
                np.savez(stream, allow_pickle=False, **members)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        warnings.warn(
            f"what was read is not kept: {path.parent}: {error.strerror or error}", stacklevel=3
        )


def _load(path: pathlib.Path, stamps: Sequence[FileStamp]) -> tuple[RecordTable, bytes] | None:
    """The table of these files and the text of its rejects; None where there is none."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = dict(_arrays(archive))
        about = json.loads(members["about"].tobytes())
        text, ends = members["label_text"].tobytes(), members["label_ends"].tolist()
        files = tuple(stamp.path for stamp in stamps)
        table = RecordTable(
            **{name: members[name] for name in _ARRAYS},
            **{name: about[name] for name in _COUNTS},
            label_names=[
                text[start:end].decode() for start, end in zip([0, *ends], ends, strict=False)
            ],
            files=files,
            layouts=tuple(about["layouts"]),
            sources=tuple(open_file(stamp) for stamp in stamps),
        )
        return table, _renamed(members["rejects"].tobytes(), about["files"], files)
    except FileNotFoundError:
        return None
    except Exception as error:  # A damaged file may raise anything.
        warnings.warn(
            f"{path}: is damaged or cannot be read ({type(error).__name__}); reading the pool",
            stacklevel=3,
        )
        return None


def _arrays(archive: zipfile.ZipFile) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    for name in archive.namelist():
        # Reading a member checks its checksum: only then are its bytes made an array.
        content = io.BytesIO(archive.read(name))
        array = np.lib.format.read_array(content, allow_pickle=False)
        yield name.removesuffix(".npy"), array


def _renamed(rejects: bytes, before: Iterable[str], now: Iterable[str]) -> bytes:
    """The lines of rejects with the present names of the files."""
    names = dict(zip(before, now, strict=True))
    if all(old == new for old, new in names.items()):
        return rejects
    records = [json.loads(line) for line in rejects.splitlines()]
    lines = [json.dumps(record | {"file": names[record["file"]]}) for record in records]
    return "".join(line + "\n" for line in lines).encode("ascii")


def _as_bytes(text: bytes) -> npt.NDArray[np.uint8]:
    return np.frombuffer(text, np.uint8)
