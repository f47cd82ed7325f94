"""Files of records: lines of plain or compressed text, with the place of each line."""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import hashlib
import io
import os
import stat
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import xxhash
import zstandard

from mig_jax.errors import InputError

__all__ = [
    "BYTE_ORDER_MARK",
    "FileStamp",
    "LineBlock",
    "LineFile",
    "TextLine",
    "bare_line",
    "open_text",
]

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_BUFFER_SIZE = 1 << 18


@dataclasses.dataclass(frozen=True)
class FileStamp:
    """What tells that a file is still the one that was read."""

    path: str  # As given.
    size: int  # Bytes.
    modified_ns: int  # Time of the last change, nanoseconds since the epoch.
    identity: tuple[int, int]  # Device and inode: the same for every name of one file.

    @classmethod
    def of(cls, path: str) -> FileStamp:
        """The stamp of a regular file.

        Raises:
          InputError: if there is no such file, or it is a directory or a pipe.
        """
        try:
            path.encode()
            status = os.stat(path)
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: {_reason(error)}; expected a readable file") from None
        if not stat.S_ISREG(status.st_mode):
            kind = "a directory" if stat.S_ISDIR(status.st_mode) else "not a regular file"
            raise InputError(f"{path}: is {kind}; expected a file of records")
        return cls(path, status.st_size, status.st_mtime_ns, (status.st_dev, status.st_ino))

    @property
    def stored_in(self) -> tuple[str, ...]:
        """The files whose bytes are all of it."""
        return (self.path,)

    def digests(self) -> list[str]:
        """A hash of the bytes of each file in `stored_in`, as fast as memory is read.

        It tells contents apart, but would not withstand malice.

        Raises:
          InputError: if a file cannot be read.
        """
        found = []
        for path in self.stored_in:
            try:
                with open(path, "rb", buffering=0) as stream:
                    digest = hashlib.file_digest(stream, xxhash.xxh3_128)  # type: ignore[arg-type]
            except OSError as error:
                raise InputError(f"{path}: {_reason(error)}; expected a readable file") from None
            found.append(digest.hexdigest())
        return found

    def check_unchanged(self) -> None:
        """Raises `InputError` if the file was changed or removed since the stamp."""
        self._compare(FileStamp.of(self.path))

    def _compare(self, now: FileStamp) -> None:
        if (now.size, now.modified_ns) != (self.size, self.modified_ns):
            raise InputError(
                f"{self.path}: has changed since it was read (size or time of change); "
                "expected it to stay as it was"
            )


class TextLine(NamedTuple):
    """One line that is not blank."""

    number: int  # From 1, blank lines counted.
    position: int  # Byte offset of its start in the uncompressed text.
    text: bytes  # Without its b"\n", and without the file's byte-order mark.


class LineBlock(NamedTuple):
    """Whole lines of a file, blank ones and the byte-order mark included."""

    position: int  # Byte offset of the first of them in the uncompressed text.
    buffer: bytearray  # Used again for the next block.
    end: int  # The lines are buffer[:end]; the last, too, ends in b"\n".


@dataclasses.dataclass(frozen=True)
class LineFile:
    """A text file of lines, plain or compressed (told by the ending .gz or .zst)."""

    stamp: FileStamp

    @property
    def is_compressed(self) -> bool:
        return self.stamp.path.lower().endswith((".gz", ".zst"))

    def scan(self) -> Iterator[TextLine]:
        """Yields the lines that are not blank, in order.

        Lines end at b"\\n" only.

        Raises:
          InputError: if the file cannot be read to its end.
        """
        position = 0
        with open_text(self.stamp.path) as (_, text):
            for number, line in enumerate(text, 1):
                content = bare_line(line, position)
                if content and not content.isspace():
                    yield TextLine(number, position, content)
                position += len(line)

    def blocks(
        self,
        start: int = 0,
        stop: int | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Iterator[LineBlock]:
        """Yields the lines that start in bytes [start, stop) of the uncompressed text.

        Wherever a file is cut, each of its lines starts in one range. Memory is that of
        a block, or twice the longest line. `progress` gets the bytes of the file
        consumed so far.

        Raises:
          InputError: if the file cannot be read to its end.
        """
        with open_text(self.stamp.path) as (raw, text):
            position = _first_line_from(text, start, stop)
            buffer = bytearray(_BUFFER_SIZE)
            held = 0  # Bytes at the start of the buffer, of a line that has not ended.
            while stop is None or position < stop:
                got = text.readinto(memoryview(buffer)[held:])
                if progress is not None:
                    progress(raw.tell())
                if not got:
                    if held:
                        yield LineBlock(position, buffer[:held] + b"\n", held + 1)
                    return
                total = held + got
                end = buffer.rfind(b"\n", held, total) + 1
                if not end:
                    held = total
                    if held == len(buffer):
                        buffer = buffer + bytearray(len(buffer))
                    continue
                if stop is not None and position + end > stop:
                    # The last line is the one that the last byte of the range is in.
                    end = buffer.find(b"\n", stop - 1 - position) + 1
                yield LineBlock(position, buffer, end)
                held = total - end
                buffer[:held] = buffer[end:total]
                position += end

    def read_records(self, positions: npt.NDArray[np.int64]) -> Iterator[bytes]:
        """Yields the lines at ascending byte offsets, without their b"\\n".

        Plain text is read at these places only; compressed text in one pass up to the
        last of them.

        Raises:
          InputError: if the file is no longer what was read.
        """
        self.stamp.check_unchanged()
        with open_text(self.stamp.path) as (_, text):
            here = 0
            for position in positions.tolist():
                if not self.is_compressed:
                    here = text.seek(position)
                while here < position and (passed := text.readline()):
                    here += len(passed)
                line = text.readline()
                if here != position or not line:
                    raise InputError(
                        f"{self.stamp.path}: no line starts at byte {position}; "
                        "expected the file to be as it was read"
                    )
                here += len(line)
                yield bare_line(line, position)


@contextlib.contextmanager
def open_text(path: str) -> Iterator[tuple[io.FileIO, io.BufferedReader]]:
    """A file and its uncompressed text; whatever fails inside is told as its fault."""
    ending = os.path.splitext(path)[1].lower()
    try:
        with contextlib.ExitStack() as stack:
            raw = stack.enter_context(open(path, "rb", buffering=0))
            plain: io.RawIOBase = raw
            if ending == ".gz":
                # GzipFile has all that BufferedReader asks of a raw stream.
                plain = stack.enter_context(gzip.GzipFile(fileobj=raw))  # type: ignore[assignment]
            elif ending == ".zst":
                plain = stack.enter_context(_ZstdStream(raw))
            yield raw, io.BufferedReader(plain, _BUFFER_SIZE)
    except (EOFError, gzip.BadGzipFile, zlib.error, zstandard.ZstdError) as error:
        name = {".gz": "gzip", ".zst": "zstd"}[ending]
        raise InputError(
            f"{path}: {name} data is corrupt or truncated ({error}); expected a whole file"
        ) from None
    except OSError as error:
        raise InputError(f"{path}: {_reason(error)}; expected a readable file") from None


class _ZstdStream(io.RawIOBase):
    """Uncompressed bytes of all frames of a zstd file.

    zstandard's own stream reader takes the end of the file in the middle of a frame
    for the end of the data; here it is an `EOFError`.
    """

    def __init__(self, raw: io.RawIOBase) -> None:
        # Frames of `zstd --long` need a window above the library's default limit.
        self._context = zstandard.ZstdDecompressor(max_window_size=1 << 31)
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self._raw = raw
        self._waiting = b""  # Compressed bytes behind the end of the last frame.
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        target = memoryview(buffer)  # type: ignore[arg-type]
        while not self._ready:
            compressed = self._waiting or self._raw.read(1 << 15)
            self._waiting = b""
            if not compressed:
                if self._frame is not None:
                    raise EOFError("the file ends within a frame")
                return 0
            if self._frame is None:
                self._frame = self._context.decompressobj()
            self._ready = memoryview(self._frame.decompress(compressed))
            if self._frame.eof:
                self._waiting = self._frame.unused_data
                self._frame = None
        count = min(len(target), len(self._ready))
        target[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count


def _first_line_from(text: io.BufferedReader, start: int, stop: int | None) -> int:
    """Puts plain text where the first line at or after `start` starts; tells where.

    Looks no further than `stop`: behind it, no line of the range can start.
    """
    if not start:
        return 0
    position = text.seek(start - 1)
    while (stop is None or position < stop) and (part := text.readline(_BUFFER_SIZE)):
        position += len(part)
        if part.endswith(b"\n"):
            break
    return position


def bare_line(line: bytes, position: int) -> bytes:
    """The line without its b"\\n" and, at the start of the file, its byte-order mark."""
    return (line if position else line.removeprefix(BYTE_ORDER_MARK)).removesuffix(b"\n")


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeEncodeError):
        return "the file name is not valid UTF-8"
    return (getattr(error, "strerror", None) or str(error)).lower()
