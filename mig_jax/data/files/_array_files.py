"""Files of records that are one JSON array, as `json.dump` writes a list."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from mig_jax.data.files._line_files import BYTE_ORDER_MARK, TextLine
from mig_jax.data.files._text_streams import TextFile
from mig_jax.errors import InputError

__all__ = ["ArrayFile"]

_CHUNK: Final = 1 << 20
_BLANK: Final = b" \t\r\n"
_EXPECTED: Final = "expected one JSON array of records"

_QUOTE, _BACKSLASH, _COMMA, _END = b'"\\,]'
_OPENING, _CLOSING = b"[{", b"]}"
_STRUCTURAL: Final = (*_OPENING, *_CLOSING, _QUOTE, _BACKSLASH, _COMMA)
# For `bytes.translate`, which is four times as fast as NumPy's indexing.
_IS_STRUCTURAL: Final = bytes(byte in _STRUCTURAL for byte in range(256))
# What each byte adds to the depth of nesting.
_DEEPER: Final = np.zeros(256, np.int32)
_DEEPER[[*_OPENING]], _DEEPER[[*_CLOSING]] = 1, -1


@dataclasses.dataclass(frozen=True)
class ArrayFile(TextFile):
    """A text file that holds one JSON array of records, plain or compressed.

    Where a record starts is known only after all before it: the file is read from its start,
    by one process, some of it at a time.
    """

    def scan(self) -> Iterator[TextLine]:
        """Yields the records in order, each on one line; its number and place count records.

        Raises:
          InputError: if the file cannot be read, or is no JSON array.
        """
        for position, element in enumerate(self.elements()):
            yield TextLine(position + 1, position, _on_one_line(element))

    def elements(self, progress: Callable[[int], None] | None = None) -> Iterator[bytes]:
        """Yields the bytes of each record in order, as they stand: what it is, is not checked.

        `progress` gets the bytes of the file consumed so far.

        Raises:
          InputError: if the file cannot be read, or is no JSON array.
        """
        splitter = _Splitter()
        number = 1
        pending: list[bytes] = []  # Of the record that has not ended.
        for chunk in self._chunks(progress):
            start = 0
            for end in splitter.ends(chunk):
                element = b"".join([*pending, chunk[start:end]]).strip(_BLANK)
                pending.clear()
                start = end + 1
                if chunk[end] not in (_COMMA, _END):
                    raise self._no_array("JSON is malformed: expected ']' at its end")
                if not element and (number > 1 or chunk[end] != _END):
                    raise self._no_array(f"JSON is malformed: record {number} is empty")
                if len(element) > self.longest:
                    raise self.too_long(f"number {number:,}")
                if element:
                    yield element
                    number += 1
            if not splitter.is_closed:
                pending.append(chunk[start:])
                if sum(map(len, pending)) > self.longest:
                    raise self.too_long(f"number {number:,}")
            elif chunk[start:].strip(_BLANK):
                raise self._no_array("JSON is malformed: more follows the array")
        if not splitter.is_closed:
            raise self._no_array("JSON is truncated")

    def read_records(self, positions: npt.NDArray[np.int64]) -> Iterator[bytes]:
        """Yields the records at these ascending places, from 0, each on one line.

        Raises:
          InputError: if the file is no longer what was read.
        """
        self.stamp.check_unchanged()
        wanted = iter(positions.tolist())
        position = next(wanted, None)
        for place, element in enumerate(self.elements()):
            if place == position:
                yield _on_one_line(element)
                position = next(wanted, None)
        if position is not None:
            raise InputError(
                f"{self.stamp.path}: has no record {position + 1}; "
                "expected the file to be as it was read"
            )

    def _chunks(self, progress: Callable[[int], None] | None) -> Iterator[bytes]:
        """The text behind the array's opening bracket, some at a time."""
        with self.open() as (raw, text):
            chunk = text.read(_CHUNK).removeprefix(BYTE_ORDER_MARK).lstrip(_BLANK)
            while not chunk and (chunk := text.read(_CHUNK)):
                chunk = chunk.lstrip(_BLANK)
            if not chunk.startswith(b"["):
                raise self._no_array("the text does not start with [")
            chunk = chunk[1:]
            while chunk or (chunk := text.read(_CHUNK)):
                yield chunk
                if progress is not None:
                    progress(raw.tell())
                chunk = b""

    def _no_array(self, problem: str) -> InputError:
        return InputError(f"{self.stamp.path}: {problem}; {_EXPECTED}")


class _Splitter:
    """Finds where the elements of a JSON array end, in its text behind the opening bracket."""

    def __init__(self) -> None:
        self.is_closed = False
        self._depth = 0  # Brackets open, the array's own not counted.
        self._is_string = False
        self._is_escaped = False  # The next byte.

    def ends(self, chunk: bytes) -> list[int]:
        """Where the elements end in the next chunk of the text: at a comma, or the last bracket."""
        if self.is_closed:
            return []
        text = b" " + chunk[1:] if self._is_escaped else chunk
        places = np.flatnonzero(np.frombuffer(text.translate(_IS_STRUCTURAL), bool))
        found = np.frombuffer(text, np.uint8)[places]
        is_quote = found == _QUOTE
        escapes = places[found == _BACKSLASH]
        self._is_escaped = False
        if len(escapes):
            # In a run of backslashes every second is escaped; an odd run escapes what follows.
            is_first = np.diff(escapes, prepend=-2) != 1
            firsts = np.flatnonzero(is_first)
            lengths = np.diff(firsts, append=len(escapes))
            behind = (escapes[firsts] + lengths)[lengths % 2 == 1]
            self._is_escaped = bool(len(behind)) and int(behind[-1]) == len(text)
            is_escaped = np.zeros(len(text) + 1, bool)
            is_escaped[behind] = True
            is_quote &= ~is_escaped[places]
        is_string = (np.cumsum(is_quote, dtype=np.int32) + np.int32(self._is_string)) % 2 == 1
        if len(is_string):
            self._is_string = bool(is_string[-1])
        is_outside = ~(is_string | is_quote)
        depth = np.cumsum(_DEEPER[found] * is_outside, dtype=np.int32) + np.int32(self._depth)
        if len(depth):
            self._depth = int(depth[-1])
        closed = np.flatnonzero(depth < 0)[:1]
        commas = places[(found == _COMMA) & is_outside & (depth == 0)]
        if not len(closed):
            return commas.tolist()
        self.is_closed = True
        end = int(places[closed[0]])
        return [*commas[commas < end].tolist(), end]


def _on_one_line(element: bytes) -> bytes:
    """The record with the same names and values, to the digit; spaces go if it has lines."""
    if b"\n" not in element:
        return element
    try:
        return msgspec.json.format(element, indent=-1)
    except (msgspec.DecodeError, RecursionError):
        # It has a NaN, or is no JSON, which whoever reads it tells. A string has no line breaks.
        return element.replace(b"\n", b" ")
