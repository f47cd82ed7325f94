"""Temporary files that a killed process leaves behind, and how others tell that it is gone.

A process holds (by `flock`) what it writes. The system lets go when the process ends, however
it ends: what nobody holds was left behind.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from typing import Any, BinaryIO

__all__ = [
    "hold",
    "is_temporary",
    "locked",
    "open_temporary",
    "place_told",
    "remove",
    "remove_left_behind",
    "temporary_name",
]

_LONGEST = 50  # Characters; a file name has 255 bytes.
_ONLY = "0" * 8  # In place of what is random, for the file that only one run may hold.


def hold(descriptor: int) -> bool | None:
    """Holds an open file or folder until it is closed, or this process ends.

    False if it is held already, by this process or another; None if there are no locks
    (on Windows, and on some file systems; over NFS for what is not open for writing, as folders).
    """
    try:
        import fcntl
    except ImportError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def temporary_name(path: str, ending: str = "tmp", token: str | None = None) -> str:
    """A name beside `path` for what will be renamed to it; a new one, unless a token is given."""
    folder, name = os.path.split(path)
    token = token or secrets.token_hex(4)
    return os.path.join(folder, f".mig_jax.{name[:_LONGEST]}.{_tag(name)}{token}.{ending}")


def is_temporary(name: str, of: str = "", ending: str = "tmp") -> bool:
    """Whether `temporary_name` gives such names: for any path, or those that end in `of`."""
    output = re.escape(f"{of[:_LONGEST]}.{_tag(of)}") if of else r".+\.[0-9a-f]{8}"
    # Orbax adds to the name while it writes.
    pattern = rf"\.mig_jax\.{output}[0-9a-f]{{8}}\.{ending}(\.orbax.*)?"
    return re.fullmatch(pattern, name, re.DOTALL) is not None


def _tag(name: str) -> str:
    """Tells long names apart."""
    return hashlib.blake2b(os.fsencode(name), digest_size=4).hexdigest()


def open_temporary(path: str) -> BinaryIO:
    """A new file for what will be renamed to `path`, held while it is open.

    What killed processes have left of the same path is removed.

    Raises:
      OSError: if the folder cannot be written to.
    """
    folder, name = os.path.split(path)
    remove_left_behind(folder, name)
    while True:
        temporary = temporary_name(path)
        try:
            stream = io.BufferedWriter(_Named(temporary, path), buffer_size=1 << 16)
            # Another process may have taken it for left behind before it was held.
            if hold(stream.fileno()) is not False and os.fstat(stream.fileno()).st_nlink:
                return stream
        except FileExistsError:
            continue
        except BaseException:  # An interrupt, say.
            remove(temporary)
            raise
        stream.close()


@contextlib.contextmanager
def locked(path: str) -> Iterator[None]:
    """Within, this is the one run that may write to `path`; where there are no locks, one of many.

    What is held is a file of its own. It never gets the name of the output, so that it lasts
    until all that the run does there is done.

    Raises:
      BlockingIOError: if another run, or this one, has claimed it.
      OSError: if the folder cannot be written to.
    """
    name = temporary_name(path, token=_ONLY)
    if os.name == "nt":  # It has no locks.
        yield
        return
    descriptor = None
    try:
        while descriptor is None:
            descriptor = _open_claim(name)
            if hold(descriptor) is False:
                raise BlockingIOError(errno.EWOULDBLOCK, "another run is writing it", path)
            if not _is_at(descriptor, name):  # Who held it has just removed it.
                os.close(descriptor)
                descriptor = None
        yield
    finally:
        if descriptor is not None:
            # Removed while it is held: later it may be another's.
            if hold(descriptor) is not False and _is_at(descriptor, name):
                with contextlib.suppress(OSError):  # It is only left behind.
                    remove(name)
            os.close(descriptor)


def _open_claim(name: str) -> int:
    try:
        return os.open(name, _FLAGS, 0o666)
    except PermissionError:  # Another user of the folder has left it, who was killed.
        with contextlib.suppress(FileNotFoundError):
            return os.open(name, _FLAGS & ~os.O_CREAT & ~os.O_RDWR)
        raise


class _Named(io.FileIO):
    """A new file whose errors name the output that it will be."""

    def __init__(self, name: str, output: str) -> None:
        self._output = output
        flags = _FLAGS | os.O_EXCL
        super().__init__(name, "w", opener=lambda name, _: os.open(name, flags, 0o666))

    def write(self, text: Any, /) -> int:  # type: ignore[override]
        with place_told(self._output):
            return super().write(text) or 0


# A link that somebody has put at a name of ours is not followed.
_FLAGS = os.O_RDWR | os.O_CREAT
for _flag in ("O_CLOEXEC", "O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"):
    _FLAGS |= getattr(os, _flag, 0)


def _is_at(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def place_told(path: str | os.PathLike[str]) -> Iterator[None]:
    """An OSError from within tells this path, if it tells none: as one of a full disk does."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = os.fspath(path)
        raise


def remove_left_behind(folder: str, of: str = "") -> None:
    """Removes temporary files and folders that nobody holds: all, or those of one name."""
    for name in os.listdir(folder or "."):
        if not is_temporary(name, of):
            continue
        path = os.path.join(folder, name)
        flags = _FLAGS & ~os.O_CREAT
        try:  # NFS locks no file that is not open for writing; a folder cannot be.
            descriptor = os.open(path, flags if os.path.isfile(path) else flags & ~os.O_RDWR)
        except OSError:
            continue  # Gone meanwhile, or another user's.
        try:
            # What was there is gone, and another's is there, if its holder has just ended.
            if hold(descriptor) and _is_at(descriptor, path):
                remove(path)
        finally:
            os.close(descriptor)


def remove(path: str) -> None:
    """Removes a file, or a folder with all in it; passes over what is not there."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(FileNotFoundError):
            os.remove(path)
