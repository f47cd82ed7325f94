"""What tells that a file is still the one that was read."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import stat
from collections.abc import Iterable

import xxhash

from mig_jax.errors import InputError

__all__ = ["FileStamp", "reason_of"]


@dataclasses.dataclass(frozen=True)
class FileStamp:
    """What tells that a file, or the files of a dataset, are still those that were read.

    Size and times alone do not: `cp -p`, `rsync -t` and `mv` put another file of the same size and
    time of change in its place. So the inode and the time of any change (ctime) count too. These
    also differ after a `chmod` or a copy back; then the content decides, if `digests` was called
    before.
    """

    path: str  # As given.
    size: int  # Bytes.
    modified_ns: int  # Time of the last change of the content, nanoseconds since the epoch.
    identity: tuple[int, int]  # Device and inode: the same for every name of one file.
    changed_ns: int = 0  # Time of the last change of content, name or rights: ctime.
    local: str = ""  # Where the bytes are: `path`, or the copy of a remote file.
    parts: tuple[FileStamp, ...] = ()  # The stamps of a dataset's files.
    _known: list[str] = dataclasses.field(default_factory=list, compare=False, repr=False)

    @classmethod
    def of(cls, path: str, local: str | None = None) -> FileStamp:
        """The stamp of a regular file, or of one whose bytes are in the file `local`.

        Raises:
          InputError: if there is no such file, or it is a directory or a pipe.
        """
        place = path if local is None else local
        try:
            path.encode()
            status = os.stat(place)
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: {reason_of(error)}; expected a readable file") from None
        if not stat.S_ISREG(status.st_mode):
            kind = "a directory" if stat.S_ISDIR(status.st_mode) else "not a regular file"
            raise InputError(f"{path}: is {kind}; expected a file of records")
        size, modified, identity, changed = _told(status)
        return cls(path, size, modified, identity, changed, place)

    @classmethod
    def of_all(cls, path: str, files: Iterable[str]) -> FileStamp:
        """The stamp of what `path` names and is in all of these files, at least one.

        Raises:
          InputError: as `of` does.
        """
        parts = tuple(map(cls.of, files))
        return cls(
            path,
            sum(part.size for part in parts),
            max(part.modified_ns for part in parts),
            parts[0].identity,
            max(part.changed_ns for part in parts),
            path,
            parts,
        )

    @property
    def stored_in(self) -> tuple[str, ...]:
        """The files whose bytes are all of it."""
        return tuple(part.local for part in self.parts) or (self.local,)

    def digests(self) -> list[str]:
        """A hash of the bytes of each file in `stored_in`, as fast as memory is read.

        It tells contents apart, but would not withstand malice. Remembered, so that
        `check_unchanged` can compare contents.

        Raises:
          InputError: if a file cannot be read.
        """
        if self.parts:
            return [digest for part in self.parts for digest in part.digests()]
        if not self._known:
            try:
                with open(self.local, "rb", buffering=0) as stream:
                    before = os.fstat(stream.fileno())
                    found = hashlib.file_digest(stream, xxhash.xxh3_128)  # type: ignore[arg-type]
                    after = os.fstat(stream.fileno())
            except OSError as error:
                raise InputError(
                    f"{self.path}: {reason_of(error)}; expected a readable file"
                ) from None
            if not self._status == _told(before) == _told(after):
                return [found.hexdigest()]  # Of something else than what was stamped.
            self._known.append(found.hexdigest())
        return [*self._known]

    def check_unchanged(self) -> None:
        """Raises `InputError` if a file was changed, replaced or removed since the stamp."""
        for part in self.parts:
            part.check_unchanged()
        if self.parts:
            return
        now = FileStamp.of(self.path, self.local)
        if now._status == self._status:
            return
        if now.size == self.size and self._known and now.digests() == self._known:
            return
        differs = "size or time of change"
        if (now.size, now.modified_ns) == (self.size, self.modified_ns):
            differs = "another file of the same size and time, or changed in place"
        raise InputError(
            f"{self.path}: has changed since it was read ({differs}); expected it to stay as it was"
        )

    def check_open(self, descriptor: int) -> None:
        """Raises `InputError` if an open file is not what was stamped."""
        if _told(os.fstat(descriptor)) != self._status:
            self.check_unchanged()

    @property
    def _status(self) -> tuple[int, int, tuple[int, int], int]:
        return self.size, self.modified_ns, self.identity, self.changed_ns


def reason_of(error: Exception) -> str:
    """Why a file cannot be opened or read, in a few words."""
    if isinstance(error, UnicodeEncodeError):
        return "the file name is not valid UTF-8"
    return (getattr(error, "strerror", None) or str(error)).lower()


def _told(status: os.stat_result) -> tuple[int, int, tuple[int, int], int]:
    # On Windows, st_ctime is the time at which the file was made.
    return (
        status.st_size,
        status.st_mtime_ns,
        (status.st_dev, status.st_ino),
        status.st_ctime_ns,
    )
