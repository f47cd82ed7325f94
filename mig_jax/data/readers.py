"""Reads pools of records from files, in memory bounded by their labels and scores."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO, Literal, NamedTuple

import msgspec

from mig_jax.data.input_files import BYTE_ORDER_MARK, FileStamp, LineFile
from mig_jax.data.layouts import (
    LAYOUTS,
    BadRecord,
    LabelsAndScore,
    convert_record,
    detect_layout,
    told_layouts,
)
from mig_jax.data.parquet_files import ParquetRows
from mig_jax.data.record_table import RecordTable, RecordTableBuilder
from mig_jax.errors import InputError

__all__ = ["read_pool", "read_vocabulary"]

Progress = Callable[[int], None]


class _Decoded(NamedTuple):
    """One record of a file, usable or not."""

    line: int
    position: int
    outcome: LabelsAndScore | BadRecord
    text: bytes  # Empty for a usable row of Parquet.


def read_pool(
    paths: Sequence[str | os.PathLike[str]],
    *,
    layout: Literal["auto", "xsample", "plain"] = "auto",
    vocabulary: Sequence[str] | None = None,
    on_bad_record: Literal["error", "skip"] = "error",
    rejects: BinaryIO | None = None,
    progress: Progress | None = None,
) -> RecordTable:
    """Reads the records of all files, in order, into one table.

    The ending of its name tells how a file is stored: `.gz`, `.zst`, `.parquet`, or
    else plain text. Text has one JSON object a line; blank lines are passed over.

    Args:
      paths: files, no two the same.
      layout: the layout of all files; "auto" takes each file's own, from its first
        record with the telling fields, and wants the same for all.
      vocabulary: labels not in it are dropped, and counted.
      on_bad_record: "error" raises at the first bad record. "skip" counts it, writes
        it to `rejects` and goes on.
      rejects: gets one JSON line for each record skipped: its file, line, reason and
        text. Bytes that are not UTF-8 stand as lone surrogates, so that
        `text.encode("utf-8", "surrogateescape")` is the line again. Of a row of
        Parquet the text is a JSON object of the fields that were read.
      progress: gets the bytes consumed so far, of all files as they are stored.

    Raises:
      InputError: for a bad record where `on_bad_record` is "error"; and always where a
        file cannot be read, has no usable record, or is given twice, or where the
        files differ in layout.
    """
    if layout != "auto" and layout not in LAYOUTS:
        raise ValueError(f"layout is {layout!r}, expected auto, {' or '.join(LAYOUTS)}")
    if on_bad_record not in ("error", "skip"):
        raise ValueError(f"on_bad_record is {on_bad_record!r}, expected error or skip")
    skip = on_bad_record == "skip"
    stamps = _distinct_files([os.fspath(path) for path in paths])
    files = [_open_file(stamp) for stamp in stamps]
    layouts = [_layout_of(file, layout, skip) for file in files]
    _check_one_layout(stamps, layouts)

    builder = RecordTableBuilder(None if vocabulary is None else frozenset(vocabulary))
    consumed = records_skipped = 0
    for file_index, (file, name) in enumerate(zip(files, layouts, strict=True)):
        path = file.stamp.path
        used_before, first_bad, bad = len(builder), "", 0
        for line, position, outcome, text in _decode_file(file, name, _after(progress, consumed)):
            if not isinstance(outcome, BadRecord):
                labels, score = outcome
                builder.add(labels, score, file_index=file_index, line=line, position=position)
                continue
            if not skip:
                raise _bad_record_error(path, line, outcome)
            bad += 1
            first_bad = first_bad or str(_bad_record_error(path, line, outcome))
            if rejects is not None:
                rejects.write(_reject(path, line, outcome, text))
        if len(builder) == used_before:
            raise _no_usable_record(path, bad, first_bad)
        records_skipped += bad
        consumed += file.stamp.size
        if progress is not None:
            progress(consumed)
    return builder.build(
        files=tuple(stamp.path for stamp in stamps),
        layouts=tuple(layouts),
        sources=tuple(files),
        records_skipped=records_skipped,
    )


def read_vocabulary(path: str | os.PathLike[str]) -> list[str]:
    """The labels of a JSON file that is a list of strings.

    Raises:
      InputError: where it cannot be read or is anything else, an empty list included.
    """
    stamp = FileStamp.of(os.fspath(path))
    expected = "expected a JSON list of at least one string"
    try:
        with open(stamp.path, "rb") as stream:
            content = stream.read().removeprefix(BYTE_ORDER_MARK)
        labels = msgspec.json.decode(content, type=list[str])
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{stamp.path}: {error}; {expected}") from None
    if not labels:
        raise InputError(f"{stamp.path}: the list is empty; {expected}")
    return labels


def _distinct_files(paths: Sequence[str]) -> list[FileStamp]:
    if not paths:
        raise InputError("no file of records is given; expected at least one")
    stamps: dict[tuple[int, int], FileStamp] = {}
    for path in paths:
        stamp = FileStamp.of(path)
        if (twin := stamps.setdefault(stamp.identity, stamp)) is not stamp:
            raise InputError(f"{path}: is the same file as {twin.path}; expected each file once")
    return list(stamps.values())


def _open_file(stamp: FileStamp) -> LineFile | ParquetRows:
    return ParquetRows(stamp) if stamp.path.lower().endswith(".parquet") else LineFile(stamp)


def _layout_of(file: LineFile | ParquetRows, layout: str, skip: bool) -> str:
    """The layout asked for or, for "auto", the one that the file's own records tell."""
    if isinstance(file, ParquetRows):
        return file.detect_layout(layout)
    if layout != "auto":
        return layout
    bad, first_bad = 0, ""
    for line in file.scan():
        try:
            return detect_layout(line.text)
        except BadRecord as error:
            told = _bad_record_error(file.stamp.path, line.number, error)
            if not skip:
                raise told from None
            bad += 1
            first_bad = first_bad or str(told)
    raise _no_usable_record(file.stamp.path, bad, first_bad)


def _check_one_layout(stamps: Sequence[FileStamp], layouts: Sequence[str]) -> None:
    for stamp, layout in zip(stamps, layouts, strict=True):
        if layout != layouts[0]:
            raise InputError(
                f"{stamp.path}: has layout {layout}, but {stamps[0].path} has layout "
                f"{layouts[0]}; expected one layout for all files of a pool"
            )


def _decode_file(
    file: LineFile | ParquetRows, layout: str, progress: Progress | None
) -> Iterator[_Decoded]:
    outcome: LabelsAndScore | BadRecord
    if isinstance(file, ParquetRows):
        for position, row in enumerate(file.scan(layout, progress)):
            text = b""
            try:
                outcome = convert_record(row, layout)
            except BadRecord as bad:
                outcome, text = bad, json.dumps(row, default=str).encode()
            yield _Decoded(position + 1, position, outcome, text)
        return
    decode = LAYOUTS[layout].decode
    for line in file.scan(progress):
        try:
            outcome = decode(line.text)
        except BadRecord as bad:
            outcome = _other_layout(line.text, layout) or bad
        yield _Decoded(line.number, line.position, outcome, line.text)


def _other_layout(line: bytes, layout: str) -> BadRecord | None:
    """The better reason, where a record is bad because it has another layout."""
    try:
        told = told_layouts(line)
    except BadRecord:
        return None
    if not told or layout in told:
        return None
    return BadRecord(f"found a record of layout {told[0]}, expected layout {layout}")


def _after(progress: Progress | None, consumed: int) -> Progress | None:
    """Progress within a file as progress over all files."""
    if progress is None:
        return None
    return lambda within: progress(consumed + within)


def _bad_record_error(path: str, line: int, bad: BadRecord) -> InputError:
    separator = ", " if bad.field else ": "
    return InputError(f"{path}, line {line}{separator}{bad}")


def _no_usable_record(path: str, bad: int, first_bad: str) -> InputError:
    if not bad:
        return InputError(f"{path}: holds no records; expected at least one")
    return InputError(f"{path}: all of its records ({bad}) are bad; the first: {first_bad}")


def _reject(path: str, line: int, bad: BadRecord, text: bytes) -> bytes:
    # Python's own JSON writer, as it takes the lone surrogates that stand for bytes
    # that are not UTF-8.
    record = {
        "file": path,
        "line": line,
        "reason": str(bad),
        "text": text.decode("utf-8", "surrogateescape"),
    }
    return json.dumps(record).encode("ascii") + b"\n"
