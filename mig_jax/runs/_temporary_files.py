"""Temporary files that a killed process leaves behind, and how others tell that it is gone.

A process holds (by `flock`) what it writes. The system lets go when the process ends, however
it ends: what nobody holds was left behind.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
from typing import BinaryIO

__all__ = ["hold", "is_temporary", "open_temporary", "remove_left_behind", "temporary_name"]

_LONGEST = 50  # Characters; a file name has 255 bytes.


def hold(descriptor: int) -> bool | None:
    """Holds an open file or folder until it is closed, or this process ends.

    False if it is held already, by this process or another; None if there are no locks
    (on Windows, and on some file systems).
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


def temporary_name(path: str) -> str:
    """A name beside `path`, not yet used, for what will be renamed to `path`."""
    folder, name = os.path.split(path)
    return os.path.join(folder, f".mig_jax.{name[:_LONGEST]}.{secrets.token_hex(8)}.tmp")


def is_temporary(name: str, of: str = "") -> bool:
    """Whether `temporary_name` gives such names: for any path, or those that end in `of`."""
    output = re.escape(of[:_LONGEST]) if of else ".+"
    # Orbax adds to the name while it writes.
    return re.fullmatch(rf"\.mig_jax\.{output}\.[0-9a-f]{{16}}\.tmp(\.orbax.*)?", name) is not None


def open_temporary(path: str) -> BinaryIO:
    """A new file for what will be renamed to `path`, held while it is open.

    What killed processes have left of the same path is removed.

    Raises:
      OSError: if the folder cannot be written to.
    """
    folder, name = os.path.split(path)
    remove_left_behind(folder, name)
    while True:
        stream = open(temporary_name(path), "xb")  # noqa: SIM115 - given away
        # Another process may have taken it for left behind before it was held.
        if hold(stream.fileno()) is not False and os.fstat(stream.fileno()).st_nlink:
            return stream
        stream.close()


def remove_left_behind(folder: str, of: str = "") -> None:
    """Removes temporary files and folders that nobody holds: all, or those of one name."""
    for name in os.listdir(folder or "."):
        if not is_temporary(name, of):
            continue
        path = os.path.join(folder, name)
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except OSError:
            continue  # Gone meanwhile, or another user's.
        try:
            if hold(descriptor):
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
