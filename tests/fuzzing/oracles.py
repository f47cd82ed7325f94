"""What files hold, by other parsers and the rules as the documentation has them.

A record is good, bad, or doubtful: the documentation leaves open whether it can be used, but if
it is used its values are those told here.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
import warnings
import zlib
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow.parquet as pq
import zstandard

LARGEST_SCORE = float(np.finfo(np.float32).max)
MOST_TEXT = 1 << 26  # Bytes that are taken out of a compressed file.
_DEEP = 400  # Levels, at most, if there are so many brackets.
_CONTROL = re.compile("[\x00-\x1f]")
_OF_BINARIES = {*range(9), *range(14, 32), *range(0xF5, 0x100)}  # No text begins so.
_LONE = re.compile(r"\\u[dD][89a-fA-F]")


class Record(NamedTuple):
    verdict: Literal["good", "doubtful", "bad"]
    labels: tuple[str, ...] = ()
    score: float = 0.0


class Unknown(Exception):  # noqa: N818 - an outcome, not a failure
    """What the file holds is left open: it may be read or not, but must not fail."""


class Unreadable(Exception):  # noqa: N818 - an outcome, not a failure
    """The file as a whole cannot be read."""


class Damaged(Unreadable):
    """Whether what is whole of it may be used, if bad records are skipped, is left open."""


BAD = Record("bad")
TOO_DEEP = Record("doubtful", (), math.nan)  # For Python's parser, which then tells nothing.
Records = dict[int, Record]  # By line, row or place, from 1; blank lines are none.


def of_value(value: Any, layout: str) -> Record:
    """The labels and the score of one record that is an object already."""
    if not isinstance(value, dict):
        return BAD
    if layout == "plain":
        labels, score = value.get("labels"), value.get("score")
        if isinstance(score, bool) or not isinstance(score, int | float):
            return BAD
        score = _as_float(score)
    else:
        parts = [value]
        for name in ("annotation", "deita"):
            parts.append(parts[-1].get(name) if isinstance(parts[-1], dict) else None)
        annotation, deita = parts[1:]
        instag = annotation.get("instag") if isinstance(annotation, dict) else None
        if not isinstance(instag, dict) or not isinstance(deita, dict):
            return BAD
        labels = instag.get("content")
        scores = [deita.get(name) for name in ("quality_scores", "complexity_scores")]
        if not all(isinstance(numbers, list) for numbers in scores):
            return BAD
        every = [number for numbers in scores for number in numbers]
        if any(isinstance(n, bool) or not isinstance(n, int | float) for n in every):
            return BAD
        quality, complexity = ([_as_float(n) for n in numbers] for numbers in scores)
        if not quality or len(quality) != len(complexity):
            return BAD
        score = sum(q * c for q, c in zip(quality, complexity, strict=True)) / len(quality)
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        return BAD
    if not 0 <= score <= LARGEST_SCORE:
        return BAD
    # Whether lone surrogates may stand in a label is left open.
    lone = any("\ud800" <= letter <= "\udfff" for label in labels for letter in label)
    return Record("doubtful" if lone else "good", tuple(dict.fromkeys(labels)), score)


def is_seen(label: str) -> bool:
    """Whether a label has a letter that is printed."""
    return any(letter.isprintable() and not letter.isspace() for letter in label)


def _as_float(number: float) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf


def _parsed(content: bytes) -> tuple[Any, bool]:
    """What JSON says, and whether the documentation leaves open if it may be said so.

    Raises:
      ValueError: if it is no JSON.
      RecursionError: if it is nested too deeply to tell.
    """
    doubts = []
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = content.decode("utf-8", "surrogateescape")
        doubts.append("bytes that are not UTF-8")
    if text.startswith("\ufeff"):
        text = text[1:]
        doubts.append("a byte-order mark")
    if _CONTROL.search(text):
        doubts.append("control characters, which strings may not hold as they are")
    if _LONE.search(text):
        doubts.append("lone surrogates, or pairs that look like it")
    if max(text.count("["), text.count("{")) > _DEEP:
        doubts.append("deep nesting")

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(found)) < len(found):
            doubts.append("a name given twice")
        return dict(found)

    def constant(name: str) -> float:
        doubts.append(name)
        return float(name)

    value = json.loads(
        text,
        strict=False,
        parse_constant=constant,
        parse_int=_integer,
        object_pairs_hook=pairs,
    )
    return value, bool(doubts)


def of_line(line: bytes, layout: str) -> Record:
    """One line of JSON."""
    try:
        value, is_doubtful = _parsed(line)
    except RecursionError:
        return TOO_DEEP
    except ValueError:
        return BAD
    return _doubted(of_value(value, layout), is_doubtful)


def _doubted(record: Record, is_doubtful: bool) -> Record:
    is_good = record.verdict == "good"
    return record._replace(verdict="doubtful") if is_good and is_doubtful else record


def _integer(digits: str) -> float:
    return int(digits) if len(digits) < 4000 else float(digits)


def of_lines(text: bytes, layout: str) -> Records:
    """Lines of JSON; lines end at b"\\n" only."""
    if text[:2] not in (b"\xff\xfe", b"\xfe\xff") and any(
        byte in _OF_BINARIES for byte in text[:4]
    ):
        raise Unknown  # It may be taken for UTF-16, or a binary file.
    found: Records = {}
    for number, line in enumerate(text.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        bare = line.removeprefix(b"\xef\xbb\xbf")
        if bare and not bare.isspace():
            found[number] = of_line(line, layout)
    if text[:2] in (b"\xff\xfe", b"\xfe\xff"):
        # Whether such text is read is left open.
        for number, line in enumerate(text.decode("utf-16", "replace").split("\n"), 1):
            if line.strip():
                found[number] = of_line(line.encode("utf-8", "replace"), layout)
        return {number: _doubted(record, True) for number, record in found.items()}
    return found


def of_array(text: bytes, layout: str) -> Records:
    """One JSON array, or lines."""
    bare = text.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n")
    if not bare.startswith(b"["):
        if bare.lstrip().startswith(b"["):
            raise Damaged  # Behind what is space, but not to JSON.
        return of_lines(text, layout)
    try:
        elements, is_doubtful = _parsed(bare)
    except (ValueError, RecursionError):
        if b"\xef\xbb\xbf" in bare:  # A byte-order mark in the middle may be passed over.
            raise Unknown from None
        raise Damaged from None
    return {
        place: _doubted(of_value(element, layout), is_doubtful)
        for place, element in enumerate(elements, 1)
    }


def of_csv(content: bytes, layout: str) -> Records:
    """Rows of values with commas between, by Python's module; the first has the names."""
    text = content.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    if "\r" in text.replace("\r\n", "") or "\x00" in text:
        raise Unknown  # Whether these end lines, or may stand in them, is left open.
    # Lines end at "\n" alone: `splitlines` knows others.
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    found: Records = {}
    names: list[str] = []
    while True:
        start = rows.line_num + 1
        try:
            cells = next(rows, None)
        except csv.Error:
            raise Unreadable from None
        if cells is None:
            return found
        if not "".join(cells).strip() and len(cells) < 2:
            continue
        try:
            "".join(cells).encode()
            is_text = True
        except UnicodeEncodeError:
            is_text = False
        if not names:
            names = cells
            if not is_text or len(set(names)) < len(names) or names[0].lstrip()[:1] in ("{", "["):
                raise Unreadable
        elif len(cells) != len(names) or not is_text:
            found[start] = BAD
        else:
            values = zip(names, cells, strict=True)
            record = {name: _of_cell(name, cell) for name, cell in values if cell}
            row = ",".join(cells)
            doubts = _LONE.search(row) or _CONTROL.search(row) or "\ufeff" in row
            found[start] = _doubted(of_value(record, layout), bool(doubts))


def _of_cell(name: str, cell: str) -> Any:
    """Scores are numbers as JSON has them; labels and annotations are JSON."""
    if name in ("score", "labels", "annotation"):
        try:
            value, _ = _parsed(cell.strip().encode("utf-8", "surrogateescape"))
        except (ValueError, RecursionError):
            return cell
        kinds = (int, float) if name == "score" else (list, dict)
        if isinstance(value, kinds) and not (isinstance(value, float) and math.isnan(value)):
            return value
    return cell


def gunzipped(content: bytes) -> bytes:
    """The text of all members; zeros may follow the last.

    Flags without a meaning so far may be set: the checksum tells whether the text is whole.
    """
    text = b""
    while content:
        content = content[:3] + bytes(flags & 0x1F for flags in content[3:4]) + content[4:]
        member = zlib.decompressobj(wbits=31)
        try:
            text += member.decompress(content, MOST_TEXT)
        except zlib.error:
            raise Unreadable from None
        if not member.eof:
            raise Unreadable
        content = member.unused_data.lstrip(b"\x00")
    return text


def unzstd(content: bytes) -> bytes:
    """The text of all frames; skippable ones are passed over."""
    text = b""
    while content:
        if len(content) >= 8 and content[1:4] == b"\x2a\x4d\x18" and content[0] >> 4 == 5:
            size = int.from_bytes(content[4:8], "little")
            if len(content) < 8 + size:
                raise Unreadable
            content = content[8 + size :]
            continue
        frame = zstandard.ZstdDecompressor().decompressobj()
        try:
            text += frame.decompress(content)
        except zstandard.ZstdError:
            raise Unreadable from None
        if not frame.eof:
            raise Unreadable
        content = frame.unused_data
    return text


def of_parquet(path: str, layout: str) -> Records:
    """Rows of a table with columns of their own; of layout xsample none is made."""
    try:
        with pq.ParquetFile(path) as file:
            columns = [name for name in ("labels", "score") if name in file.schema_arrow.names]
            kind = str(file.schema_arrow.field("labels").type) if "labels" in columns else ""
            rows = file.read(columns).to_pylist()
    except Exception:  # Arrow raises whatever a damage leads to.
        raise Unreadable from None
    found = {}
    for number, row in enumerate(rows, 1):
        record = of_value(row, layout)
        number_like = hasattr(row.get("score"), "is_finite")  # A decimal: left open.
        if number_like:
            record = _doubted(of_value({**row, "score": float(row["score"])}, layout), True)
        # Whether bytes that are none may be labels is left open.
        found[number] = _doubted(record, "binary" in kind)
    return found


def of_npz(path: str, names: list[str]) -> tuple[np.ndarray, list[bool]]:
    """Embeddings of unit length of the names, in float64, and which of them there are."""
    try:
        with warnings.catch_warnings(), np.load(path, allow_pickle=False) as arrays:
            warnings.simplefilter("ignore")
            labels, vectors = arrays["labels"], arrays["embeddings"]
            for name, array in (("labels.npy", labels), ("embeddings.npy", vectors)):
                raw = arrays.zip.read(name)
                about = arrays.zip.getinfo(name)
                if about.compress_size > os.path.getsize(path) or about.file_size != len(raw):
                    raise Unreadable  # Nor at that.
                width = 4 if raw[6] == 2 else 2  # Of the length of the header.
                head = 8 + width + int.from_bytes(raw[8 : 8 + width], "little")
                if len(raw) != head + array.nbytes:  # Which NumPy does not look at.
                    raise Unreadable
        usable = labels.dtype.kind == "U" and vectors.dtype.kind in "fiu" and labels.ndim == 1
        if not usable or vectors.ndim != 2 or len(labels) != len(vectors) or not len(labels):
            raise Unreadable
        rows: dict[str, np.ndarray] = {}
        for label, vector in zip(labels.tolist(), vectors, strict=True):
            if not np.array_equal(rows.setdefault(label, vector), vector, equal_nan=True):
                raise Unreadable
        unit = np.zeros((len(names), vectors.shape[1]))
    except Unreadable:
        raise
    except (Exception, MemoryError):
        raise Unreadable from None
    for row, name in enumerate(names):
        if name in rows:
            vector = rows[name].astype(np.float64)
            largest = np.abs(vector).max(initial=0)
            if not 0 < largest < np.inf:
                raise Unreadable
            unit[row] = vector / largest / math.sqrt(math.fsum((vector / largest) ** 2))
    return unit, [name in rows for name in names]
