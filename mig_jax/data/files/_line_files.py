"""Files of records: lines of plain or compressed text, with the place of each line."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from mig_jax.data.files._text_streams import TextFile
from mig_jax.data.records import BadRecord
from mig_jax.errors import InputError

__all__ = [
    "BYTE_ORDER_MARK",
    "LineBlock",
    "LineFile",
    "TextLine",
    "bare_line",
    "end_of_blank_lines",
    "read_up_to",
]

BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_BUFFER_SIZE: Final = 1 << 18
_SPACES: Final = b" \t\n\v\f\r"
# What a bomb of line breaks is compared with: looking at each byte takes 20 times as long.
_RUN: Final = b"\n" * (1 << 16)
_PIECE: Final = 1 << 12


class TextLine(NamedTuple):
    """One record of a file that is no table."""

    number: int  # From 1: of its line, blank lines counted, or of its place in an array.
    position: int  # Byte offset of its start in the uncompressed text, or place from 0.
    text: bytes  # Without its b"\n", and without a byte-order mark.
    problem: BadRecord | None = None  # Why it is no record, if the file's form tells.


class LineBlock(NamedTuple):
    """Whole lines of a file, blank ones and byte-order marks included."""

    position: int  # Byte offset of the first of them in the uncompressed text.
    buffer: bytearray  # Used again for the next block.
    end: int  # The lines are buffer[:end]; the last, too, ends in b"\n".


@dataclasses.dataclass(frozen=True)
class LineFile(TextFile):
    """A text file with a record a line."""

    def scan(self) -> Iterator[TextLine]:
        """Yields the lines that are not blank, in order.

        Lines end at b"\\n" only.

        Raises:
          InputError: if the file cannot be read to its end.
        """
        number = 0
        for position, buffer, end in self.blocks():
            here = 0
            while here < end:
                if (after := end_of_blank_lines(buffer, here, end)) > here:
                    number += buffer.count(b"\n", here, after)
                    here = after
                    continue
                stop = buffer.find(b"\n", here)
                number += 1
                content = bare_line(bytes(memoryview(buffer)[here:stop]))
                if content and not content.isspace():
                    yield TextLine(number, position + here, content)
                here = stop + 1

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
          InputError: if the file cannot be read to its end, or a line is too long.
        """
        with self.open() as (raw, text):
            position = _first_line_from(text, start, stop)
            most = self.longest + 1  # With its b"\n".
            buffer = bytearray(min(_BUFFER_SIZE, most))
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
                    if held > self.longest:
                        raise self.too_long(f"that starts at byte {position:,} of the text")
                    if held == len(buffer):
                        buffer = buffer + bytearray(min(held, most - held))
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
        with self.open() as (_, text):
            here = 0
            for position in positions.tolist():
                if not self.is_compressed:
                    here = text.seek(position)
                here += read_up_to(text, position - here)
                line = text.readline(self.longest + 2)
                if here != position or not line:
                    raise InputError(
                        f"{self.stamp.path}: no line starts at byte {position}; "
                        "expected the file to be as it was read"
                    )
                here += len(line)
                yield bare_line(line)


def read_up_to(text: io.BufferedReader, count: int) -> int:
    """Reads on by so many bytes, some at a time; gives how many there were."""
    left = count
    while left and (passed := text.read(min(left, _BUFFER_SIZE))):
        left -= len(passed)
    return count - left


def end_of_blank_lines(buffer: bytearray, start: int, end: int) -> int:
    """Where the lines end that are blank from `start` on, a start of a line, and before `end`."""
    if buffer[start] not in _SPACES:
        return start
    here = start
    while here < end:
        if buffer.startswith(_RUN, here, end):
            here += len(_RUN)
            continue
        piece = buffer[here : min(here + _PIECE, end)]
        blank = len(piece) - len(piece.lstrip())
        here += blank
        if blank < len(piece):
            break
    return buffer.rfind(b"\n", start, here) + 1 or start


def bare_line(line: bytes) -> bytes:
    """The line without its b"\\n" and, at its start, a byte-order mark.

    A mark stands at the start of a file, and where one was appended to another (RFC 8259, section
    8.1, lets readers pass over it).
    """
    return line.removeprefix(BYTE_ORDER_MARK).removesuffix(b"\n")


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
