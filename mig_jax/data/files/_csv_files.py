"""Files of records with a row each: CSV (RFC 4180) and TSV, whose first row names the fields."""

from __future__ import annotations

import csv
import dataclasses
import io
import os
import re
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from mig_jax.data.files._line_files import BYTE_ORDER_MARK, TextLine, read_up_to
from mig_jax.data.files._text_streams import TextFile, name_of
from mig_jax.data.records import USUAL, BadRecord, FieldNames
from mig_jax.errors import InputError

__all__ = ["CSV_ENDINGS", "CsvFile", "CsvRow"]

#: What parts the fields of a row, by the ending of the name.
CSV_ENDINGS: Final = {".csv": ",", ".tsv": "\t"}

_NUMBER: Final = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
_MOST_FIELDS: Final = 1 << 16
# Lines and separators of a row: what is made of each takes ten times its bytes.
_MOST_PARTS: Final = 1 << 21
_EXPECTED: Final = "expected a row of names first, then a row of as many fields for each record"


class CsvRow(NamedTuple):
    """One row that is not blank."""

    number: int  # Of the line that it starts in, from 1; that of the names is the first.
    position: int  # Byte offset of its start in the uncompressed text.
    text: bytes  # As it stands, with the line breaks within quotes.
    record: dict[str, Any]  # Its fields that are not empty.
    problem: BadRecord | None  # Why it is no record.


@dataclasses.dataclass(frozen=True)
class CsvFile(TextFile):
    """A file of comma- or tab-separated values, plain or compressed: one record a row.

    Fields are text, and an empty one is absent. But

    * a JSON number in the field of the score is a number,
    * a JSON list or object in the field of the labels, `history`, `annotation` or `mig_jax` is
      that,
    * a JSON list of turns (objects with a role, or `from`) is that in any field.
    """

    names: FieldNames = USUAL

    @staticmethod
    def is_named(path: str) -> bool:
        """Whether a file's name says that it holds rows."""
        return _ending(path) in CSV_ENDINGS

    @property
    def separator(self) -> str:
        """What stands between the fields of a row."""
        return CSV_ENDINGS[_ending(self.stamp.path)]

    def scan(self) -> Iterator[TextLine]:
        """Yields the rows that are not blank, in order, each as a JSON object.

        Raises:
          InputError: if the file cannot be read to its end, or its quotes are no CSV.
        """
        for row in self.rows():
            if row.problem is None:
                text = msgspec.json.encode(row.record)
                yield TextLine(row.number, row.position, text)
            else:
                yield TextLine(row.number, row.position, row.text, row.problem)

    def rows(self, progress: Callable[[int], None] | None = None) -> Iterator[CsvRow]:
        """Yields the rows that are not blank, in order.

        `progress` gets the bytes of the file consumed so far.

        Raises:
          InputError: as `scan` does.
        """
        with self.open() as (raw, text):
            lines = _Lines(self, text)
            header = self._header(lines)
            convert = self._converters(header)
            for cells in self._split(lines):
                yield self._row(lines, header, convert, cells)
                if progress is not None:
                    progress(raw.tell())

    def read_records(self, positions: npt.NDArray[np.int64]) -> Iterator[bytes]:
        """Yields the rows at ascending byte offsets as JSON objects.

        Raises:
          InputError: if the file is no longer what was read.
        """
        self.stamp.check_unchanged()
        with self.open() as (_, text):
            lines = _Lines(self, text)
            header = self._header(lines)
            convert = self._converters(header)
            for position in positions.tolist():
                lines.go_to(position)
                cells = next(self._split(lines), None)
                row = None if cells is None else self._row(lines, header, convert, cells)
                if row is None or row.problem is not None or row.position != position:
                    raise InputError(
                        f"{self.stamp.path}: no row starts at byte {position}; "
                        "expected the file to be as it was read"
                    )
                yield msgspec.json.encode(row.record)

    def _split(self, lines: _Lines) -> Iterator[list[str]]:
        """The fields of each row that is not blank; `lines` then has its place and text."""
        # It holds for the process. Longer rows end the reading.
        if csv.field_size_limit() <= self.longest:
            csv.field_size_limit(self.longest + 1)
        reader = csv.reader(lines, delimiter=self.separator, strict=True)
        while True:
            lines.start_row()
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                where = f"{self.stamp.path}, line {lines.row_number}"
                problem = str(error).partition(" - ")[0]
                raise InputError(
                    f"{where}: {problem}; expected quotes about a field that holds quotes, which "
                    "are doubled, separators or line breaks"
                ) from None
            if len(cells) > 1 or (cells and cells[0].strip()):
                yield cells
            else:
                lines.skip_blank()

    def _header(self, lines: _Lines) -> list[str]:
        """The names of the fields."""
        path = self.stamp.path
        names = next(self._split(lines), None)
        if names is None:
            raise InputError(f"{path}: holds no records; expected at least one")
        where = f"{path}, line {lines.row_number}"
        try:
            text = "".join(names).encode().decode()
        except UnicodeEncodeError:
            raise InputError(f"{where}: found bytes that are not UTF-8; {_EXPECTED}") from None
        if "\0" in text:
            raise InputError(f"{where}: found a NUL; {_EXPECTED}")
        if len(names) > _MOST_FIELDS:
            raise InputError(f"{where}: found {len(names):,} names; {_EXPECTED}")
        if names[0].lstrip().startswith(("{", "[")):
            raise InputError(f"{where}: found JSON, which goes under the name .jsonl; {_EXPECTED}")
        if len(names) == 1:
            for other in ";\t,|":
                if other in names[0]:
                    raise InputError(
                        f"{where}: found one name, which has {other!r} in it; expected "
                        f"{self.separator!r} between fields"
                    )
        # As pandas and `datasets` name the column of an index, which pandas writes without one.
        names = [name or f"Unnamed: {place}" for place, name in enumerate(names)]
        seen: set[str] = set()
        for name in names:
            if name in seen:
                raise InputError(f"{where}: found the field {name!r} twice; expected each once")
            seen.add(name)
        return names

    def _converters(self, header: list[str]) -> list[Callable[[str], Any]]:
        def of_turns(cell: str) -> Any:
            found = _json(cell, "[")
            turns = {self.names["role"], self.names["from"]}
            is_list = isinstance(found, list) and len(found) > 0
            if is_list and all(isinstance(turn, dict) and turns & turn.keys() for turn in found):
                return found
            return cell

        structured = [
            "annotation",
            "mig_jax",
            self.names["history"],
            self.names["labels"].partition(".")[0],
        ]
        score, *inner = self.names["score"].split(".")
        if inner:
            structured.append(score)
        return [
            _structure if name in structured else _number if name == score else of_turns
            for name in header
        ]

    def _row(
        self,
        lines: _Lines,
        header: list[str],
        convert: list[Callable[[str], Any]],
        cells: list[str],
    ) -> CsvRow:
        text = bytes(lines.row)
        record: dict[str, Any] = {}
        problem = None
        if len(cells) != len(header):
            problem = BadRecord(f"found {len(cells)} fields, expected {len(header)}, as in line 1")
        elif b"\0" in text:
            problem = BadRecord("found a NUL, expected text")
        else:
            try:
                text.decode()
                record = {
                    name: of_cell(cell)
                    for name, of_cell, cell in zip(header, convert, cells, strict=True)
                    if cell
                }
            except UnicodeDecodeError:
                problem = BadRecord("found bytes that are not UTF-8, expected UTF-8")
        return CsvRow(lines.row_number, lines.row_position, text, record, problem)


class _Lines:
    """The lines of a text, for `csv`, and where the row is that they are read for."""

    def __init__(self, file: CsvFile, text: io.BufferedReader) -> None:
        self._file = file
        self._text = text
        self._separator = file.separator.encode()
        self._position = 0
        self._number = 0
        self.start_row()

    def start_row(self) -> None:
        self.row = bytearray()
        self.row_position = self._position
        self.row_number = self._number + 1
        self._parts = 0

    def go_to(self, position: int) -> None:
        """Puts the text at a byte offset, behind the present one if it is compressed."""
        if self._file.is_compressed:
            self._position += read_up_to(self._text, position - self._position)
        else:
            self._position = self._text.seek(position)

    def skip_blank(self) -> None:
        """Passes over blank lines, of which there may be very many."""
        while blank := self._text.peek():
            blank = blank[: len(blank) - len(blank.lstrip(b"\r\n"))]
            count = blank.rfind(b"\n") + 1
            if not count:
                return
            self._number += self._text.read(count).count(b"\n")
            self._position += count

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._text.readline(self._file.longest + 2 - len(self.row))
        if not line:
            raise StopIteration
        if not self._position:
            self._position = len(line) - len(line := line.removeprefix(BYTE_ORDER_MARK))
        self.row += line
        self._parts += 1 + line.count(self._separator)
        if len(self.row) > self._file.longest + 1:
            raise self._file.too_long(f"that starts at line {self.row_number:,}")
        if self._parts > _MOST_PARTS:
            raise InputError(
                f"{self._file.stamp.path}, line {self.row_number}: found more than "
                f"{_MOST_PARTS:,} separators and line breaks in one row; {_EXPECTED}"
            )
        self._position += len(line)
        self._number += 1
        return line.decode("utf-8", "surrogateescape")


def _number(cell: str) -> Any:
    text = cell.strip()
    if not _NUMBER.fullmatch(text):
        return cell
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:  # It has too many digits.
        return float(text)


def _structure(cell: str) -> Any:
    found = _json(cell, "[{")
    return cell if found is None else found


def _json(cell: str, starts: str) -> Any:
    """The JSON that a cell holds, if it starts so; None if it holds none."""
    text = cell.strip()
    if text[:1] not in tuple(starts):
        return None
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None


def _ending(path: str) -> str:
    base, ending = os.path.splitext(name_of(path))
    return os.path.splitext(base)[1] if ending in (".gz", ".zst") else ending
