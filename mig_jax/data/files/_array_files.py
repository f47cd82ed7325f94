"""Files of records that are one JSON array, as `json.dump` writes a list."""

from __future__ import annotations

import contextlib
import dataclasses
import mmap
import os
from collections.abc import Callable, Iterator

import msgspec
import numpy as np
import numpy.typing as npt

from mig_jax.data.files._line_files import BYTE_ORDER_MARK, FileStamp, TextLine, open_text
from mig_jax.errors import InputError

__all__ = ["ArrayFile"]

_ENDINGS = (".json", ".json.gz", ".json.zst")
_ELEMENTS = msgspec.json.Decoder(list[msgspec.Raw])
_RECORDS_A_REPORT = 1024


@dataclasses.dataclass(frozen=True)
class ArrayFile:
    """A text file that holds one JSON array of records, plain or compressed.

    Where a record starts is known only after all before it: the file is read as a
    whole, by one process. Plain text is mapped into memory, which the system can take
    back; compressed text is held while it is read.
    """

    stamp: FileStamp

    @staticmethod
    def is_array(path: str) -> bool:
        """Whether the file is named as JSON (not as JSON lines), and starts as an array does.

        Raises:
          InputError: if it cannot be read.
        """
        if not path.lower().endswith(_ENDINGS):
            return False
        with open_text(path) as (_, text):
            start = text.read(len(BYTE_ORDER_MARK)).removeprefix(BYTE_ORDER_MARK).lstrip()
            while not start and (more := text.read(1 << 12)):
                start = more.lstrip()
        return start.startswith(b"[")

    def scan(self) -> Iterator[TextLine]:
        """Yields the records in order, each on one line; its number and place count records.

        Raises:
          InputError: if the file cannot be read, or is no JSON array.
        """
        for position, element in enumerate(self.elements()):
            yield TextLine(position + 1, position, _on_one_line(element))

    def elements(self, progress: Callable[[int], None] | None = None) -> Iterator[memoryview]:
        """Yields the bytes of each record in order, as they stand.

        `progress` gets the share of the records passed so far, in bytes of the file.

        Raises:
          InputError: if the file cannot be read, or is no JSON array.
        """
        with self._elements() as elements:
            for position, element in enumerate(elements):
                yield memoryview(element)
                if progress is not None and not position % _RECORDS_A_REPORT:
                    progress(self.stamp.size * position // len(elements))

    def read_records(self, positions: npt.NDArray[np.int64]) -> Iterator[bytes]:
        """Yields the records at these places, from 0, each on one line.

        Raises:
          InputError: if the file is no longer what was read.
        """
        self.stamp.check_unchanged()
        with self._elements() as elements:
            for position in positions.tolist():
                yield _on_one_line(memoryview(elements[position]))

    @contextlib.contextmanager
    def _elements(self) -> Iterator[list[msgspec.Raw]]:
        """The bytes of each record, which are views of the file's."""
        path = self.stamp.path
        with open_text(path) as (raw, text):
            is_plain = os.path.splitext(path)[1].lower() == ".json"
            mapped = is_plain and self.stamp.size
            content = (
                memoryview(mmap.mmap(raw.fileno(), 0, access=mmap.ACCESS_READ))
                if mapped
                else memoryview(text.read())
            )
            if content[: len(BYTE_ORDER_MARK)] == BYTE_ORDER_MARK:
                content = content[len(BYTE_ORDER_MARK) :]
            try:
                yield _ELEMENTS.decode(content)
            except RecursionError:
                raise InputError(f"{path}: JSON is nested too deeply") from None
            except msgspec.DecodeError as error:
                problem = str(error).replace("Input data was truncated", "JSON is truncated")
                raise InputError(f"{path}: {problem}; expected one JSON array of records") from None


def _on_one_line(element: memoryview) -> bytes:
    """The record with the same names and values, to the digit; spaces go if it has lines."""
    text = bytes(element)
    return msgspec.json.format(text, indent=-1) if b"\n" in text else text
