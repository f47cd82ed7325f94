"""The uncompressed text of files, a bounded piece at a time whatever they hold."""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import io
import os
import zlib
from collections.abc import Iterator
from typing import Final, Literal

import zstandard

from mig_jax.data.files._file_stamps import FileStamp, reason_of
from mig_jax.errors import InputError

__all__ = ["LONGEST_RECORD", "Compression", "TextFile", "compression_of", "name_of", "open_text"]

Compression = Literal["", "gzip", "zstd"]

#: Bytes that a record may have, if nothing else is said.
LONGEST_RECORD: Final = 1 << 24

_BUFFER_SIZE: Final = 1 << 18
_READ_AT_ONCE: Final = 1 << 15
_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = 0xFD2FB528
_ZSTD_SKIPPED: Final = 0x184D2A50  # The last four bits may be any.
# Frames of `zstd --long` need a window above the library's default limit. A larger one would be
# held as a whole.
_LARGEST_WINDOW: Final = 1 << 29


@dataclasses.dataclass(frozen=True)
class TextFile:
    """A file of text, plain or compressed."""

    stamp: FileStamp
    compression: Compression = ""
    longest: int = LONGEST_RECORD  # Bytes that a record may have.

    @property
    def is_compressed(self) -> bool:
        return self.compression != ""

    @contextlib.contextmanager
    def open(self) -> Iterator[tuple[io.FileIO, io.BufferedReader]]:
        """As `open_text`; the file must be what was stamped, and still be it afterwards.

        Raises:
          InputError: if it is not, or cannot be read to its end.
        """
        with open_text(self.stamp, self.compression) as (raw, text):
            self.stamp.check_open(raw.fileno())
            yield raw, text
        self.stamp.check_unchanged()

    def too_long(self, where: str) -> InputError:
        """What to say of a record that is longer than `longest`."""
        return InputError(
            f"{self.stamp.path}: the record {where} is longer than {_told_size(self.longest)}; "
            "expected one record a line (--longest_record=MIB allows longer ones)"
        )


def name_of(path: str) -> str:
    """What tells by its ending what a file is: of an address, without its query.

    >>> name_of("https://a.org/pool.jsonl.gz?download=true")
    'https://a.org/pool.jsonl.gz'
    """
    if "://" not in path:
        return path.lower()
    first = path.partition("::")[0]
    return first.partition("#")[0].partition("?")[0].lower()


def compression_of(stamp: FileStamp) -> Compression:
    """How a file is compressed, by its first bytes.

    Raises:
      InputError: if it cannot be read, or is not what its name says.
    """
    with open_text(stamp, "") as (_, text):
        start = text.read(4)
    number = int.from_bytes(start, "little")
    if start.startswith(_GZIP):
        return "gzip"
    if number == _ZSTD or (number & ~15) == _ZSTD_SKIPPED:
        return "zstd"
    ending = os.path.splitext(name_of(stamp.path))[1]
    named = {".gz": "gzip", ".zst": "zstd"}.get(ending)
    if named and start:
        raise InputError(
            f"{stamp.path}: holds no {named} data; expected it, as the name ends in {ending}"
        )
    return ""


@contextlib.contextmanager
def open_text(
    stamp: FileStamp, compression: Compression
) -> Iterator[tuple[io.FileIO, io.BufferedReader]]:
    """A file and its uncompressed text; whatever fails inside is told as its fault."""
    try:
        with contextlib.ExitStack() as stack:
            raw = stack.enter_context(open(stamp.local, "rb", buffering=0))
            plain: io.RawIOBase = raw
            if compression == "gzip":
                # GzipFile has all that BufferedReader asks of a raw stream.
                plain = stack.enter_context(gzip.GzipFile(fileobj=raw))  # type: ignore[assignment]
            elif compression == "zstd":
                plain = stack.enter_context(_Pieces(_zstd_pieces(_Exact(raw))))
            yield raw, io.BufferedReader(plain, _BUFFER_SIZE)
    except (EOFError, gzip.BadGzipFile, zlib.error, zstandard.ZstdError) as error:
        raise InputError(
            f"{stamp.path}: {compression} data is corrupt or truncated ({error}); "
            "expected a whole file"
        ) from None
    except OSError as error:
        raise InputError(f"{stamp.path}: {reason_of(error)}; expected a readable file") from None


class _Pieces(io.RawIOBase):
    """A stream of the bytes of pieces that follow each other."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        target = memoryview(buffer)  # type: ignore[arg-type]
        while not self._ready:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._ready = memoryview(piece)
        count = min(len(target), len(self._ready))
        target[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count


class _Exact:
    """Reads as many bytes as are asked for; an `EOFError` if there are fewer.

    Not a `BufferedReader`, which would close the file when it is no longer used.
    """

    def __init__(self, raw: io.RawIOBase) -> None:
        self._raw = raw
        self._held = memoryview(b"")

    def is_at_end(self) -> bool:
        if not self._held:
            self._held = memoryview(self._raw.read(_READ_AT_ONCE) or b"")
        return not self._held

    def read(self, count: int) -> bytes:
        found = bytes(self._held[:count])
        self._held = self._held[count:]
        while len(found) < count:
            if self.is_at_end():
                raise EOFError("the file ends within a frame")
            more = self._held[: count - len(found)]
            found += more
            self._held = self._held[len(more) :]
        return found


def _zstd_pieces(file: _Exact) -> Iterator[bytes]:
    """Yields the uncompressed bytes of all frames of a zstd file (RFC 8878), block by block.

    A block has at most 128 KiB, however few bytes it was compressed to: `zstandard` itself gives
    all at once that it makes of what it gets. And its stream reader takes the end of the file in
    the middle of a frame for the end of the data; here it is an `EOFError`.
    """
    context = zstandard.ZstdDecompressor(max_window_size=_LARGEST_WINDOW)
    while not file.is_at_end():
        magic = file.read(4)
        number = int.from_bytes(magic, "little")
        if (number & ~15) == _ZSTD_SKIPPED:
            left = int.from_bytes(file.read(4), "little")
            while left:
                left -= len(file.read(min(left, _BUFFER_SIZE)))
            continue
        if number != _ZSTD:
            raise zstandard.ZstdError("what stands there is no zstd frame")
        frame = context.decompressobj()
        descriptor = file.read(1)
        flags = descriptor[0]
        is_single = flags >> 5 & 1
        content_size = (is_single, 2, 4, 8)[flags >> 6]
        header = (1 - is_single) + (0, 1, 2, 4)[flags & 3] + content_size
        yield frame.decompress(magic + descriptor + file.read(header))
        is_last = 0
        while not is_last:
            start = file.read(3)
            block = int.from_bytes(start, "little")
            is_last, kind, size = block & 1, block >> 1 & 3, block >> 3
            # A block of kind 1 is one byte, `size` times.
            yield frame.decompress(start + file.read(1 if kind == 1 else size))
        if flags >> 2 & 1:
            yield frame.decompress(file.read(4))  # Checksum.
        if not frame.eof:
            raise EOFError("a frame does not end")


def _told_size(size: int) -> str:
    return f"{size >> 20} MiB" if size >= 1 << 20 and not size % (1 << 20) else f"{size:,} bytes"
