"""Reads pools of records from files, in memory bounded by their labels and scores."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Final, Literal

from mig_jax.data.files import DatasetRows, LineFile, ParquetRows
from mig_jax.data.reading._bad_records import BadRecords
from mig_jax.data.reading._cache import Writable, read_through_cache
from mig_jax.data.reading._limits import USUAL_LIMITS, ReadingLimits
from mig_jax.data.reading._pool_files import open_files
from mig_jax.data.reading._record_parts import Decoded, Decoding, RecordFile, decode_file
from mig_jax.data.reading._record_table import RecordTable, RecordTableBuilder
from mig_jax.data.reading._workers import decode_in_parallel
from mig_jax.data.records import (
    AS_IT_CAME,
    LABEL_FORMATS,
    BadRecord,
    FieldNames,
    RecordForm,
    WrittenForm,
    detect_label_format,
)
from mig_jax.devices import cores
from mig_jax.errors import InputError

__all__ = [
    "can_be_cut",
    "common_form",
    "is_whole",
    "ranges",
    "read_pool",
    "read_ranges",
]

_Progress = Callable[[int], None]
_Range = tuple[int, int | None]  # Bytes from the first up to the second, or to the end.

# About how many bytes of JSON a byte of a compressed file stands for.
_COMPRESSION: Final = 4


def read_pool(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str] | RecordFile],
    *,
    layout: Literal["auto", "mig_jax", "xsample", "plain"] = "auto",
    vocabulary: Sequence[str] | None = None,
    on_bad_record: Literal["error", "skip"] = "error",
    rejects: Writable | None = None,
    progress: Callable[[int], None] | None = None,
    workers: int | None = None,
    cache: str | os.PathLike[str] | None = None,
    fields: FieldNames | Mapping[str, str] | None = None,
    fits: WrittenForm = AS_IT_CAME,
    on_cache: Callable[[str], None] | None = None,
    limits: ReadingLimits = USUAL_LIMITS,
) -> RecordTable:
    """Reads the records of all files, in order, into one table.

    A file is Parquet, or text, plain or compressed by gzip or zstd, as its first bytes say.
    Text has one JSON object a line, blank lines passed over; or it is one JSON array of
    records; or rows, if it is named `.csv` or `.tsv` (see `mig_jax.data.files.CsvFile`). A
    path may be a pattern (`data/*.jsonl`), a folder of files, a folder that `datasets`
    saved, `hub:OWNER/NAME`, or an address that fsspec knows (`s3://…`).

    Args:
      paths: a file, or several, no two the same; or what `open_files` has made of them.
      layout: the layout of all files; "auto" takes each file's own, from its first
        record with the telling fields, and wants the same for all.
      vocabulary: labels not in it are dropped, and counted.
      on_bad_record: "error" raises at the first bad record. "skip" counts it, writes
        it to `rejects` and goes on.
      rejects: gets one JSON line for each record skipped: its file, line, reason and
        text. Bytes that are not UTF-8 stand as lone surrogates, so that
        `text.encode("utf-8", "surrogateescape")` is the line again. Of a row of
        Parquet the text is a JSON object of the fields that were read.
      progress: gets the bytes consumed so far, of all files as they are stored; nothing if
        they come from the cache.
      workers: processes that read; None for one a core. One file that is compressed,
        and less than 128 MB of text, is read in this process. The table does not depend
        on it.
      cache: folder that keeps what was read: if it has the same bytes, read the same
        way by the same version, they are not read again. It is made if it is not
        there, and may be deleted at any time. None for no cache.
      fields: the pool's names of fields, by the usual ones (`mig_jax.data.FIELD_NAMES`).
      fits: how records will be written; one that cannot be written so is a bad one.
      on_cache: gets a line about what came from the cache, or why it could not be used;
        that never ends the reading.
      limits: from which sizes on it is read in ranges, by several processes, or not kept.

    Raises:
      InputError: for a bad record if `on_bad_record` is "error"; and always if a
        file cannot be read, has no usable record, or is given twice, or if the
        files differ in layout.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile(suffix=".jsonl") as file:
    ...     _ = file.write(b'{"labels": ["maths", "code"], "score": 4.5}')
    ...     file.flush()
    ...     table = read_pool(file.name)
    >>> table.label_names, table.scores.tolist()
    (['code', 'maths'], [4.5])
    """
    if layout != "auto" and layout not in LABEL_FORMATS:
        *others, last = LABEL_FORMATS
        raise ValueError(f"layout is {layout!r}, expected auto, {', '.join(others)} or {last}")
    if on_bad_record not in ("error", "skip"):
        raise ValueError(f"on_bad_record is {on_bad_record!r}, expected error or skip")
    if workers is not None and workers < 1:
        raise ValueError(f"workers is {workers}, expected at least 1")
    skip = on_bad_record == "skip"
    names = FieldNames.of(fields)
    files = open_files(paths, fields=names, longest_record=limits.longest_record, cache=cache)
    known = None if vocabulary is None else frozenset(vocabulary)

    def read(rejects: Writable | None) -> RecordTable:
        form = common_form(files, layout, names, fits, skip)
        tasks = [
            [Decoding(file, form, known, not skip, *cut) for cut in ranges(file, limits)]
            for file in files
        ]
        bad = [BadRecords(file.stamp.path, skip, rejects) for file in files]
        return read_ranges(files, tasks, bad, progress, workers, limits)

    if cache is None:
        return read(rejects)
    return read_through_cache(
        read,
        folder=cache,
        files=files,
        choices=[
            layout,
            on_bad_record,
            None if known is None else sorted(known),
            names.mapped,
            dataclasses.astuple(fits),
            limits.longest_record,
        ],
        rejects=rejects,
        kept_rejects=limits.kept_rejects,
        tell=on_cache or (lambda line: None),
    )


def read_ranges(
    files: Sequence[RecordFile],
    tasks: Sequence[Sequence[Decoding]],
    bad: Sequence[BadRecords],
    progress: _Progress | None,
    workers: int | None,
    limits: ReadingLimits,
    lines_before: Sequence[int] | None = None,
) -> RecordTable:
    """The table of what the tasks of each file decode, of which there may be none.

    `lines_before` tells how many lines of each file precede its first task.
    """
    builder = RecordTableBuilder()
    consumed = 0
    with contextlib.closing(_decode_ahead(tasks, workers or cores(), limits)) as results:
        for file_index, (of_file, bad_of_file) in enumerate(zip(tasks, bad, strict=True)):
            used_before = len(builder)
            line = 0 if lines_before is None else int(lines_before[file_index])
            within = _after(progress, consumed)
            for task in of_file:
                lines_passed = 0
                for part, bad_lines in next(results) or decode_file(task, within):
                    builder.add(part, file_index=file_index, lines_before=line)
                    for number, reason, text in bad_lines:
                        bad_of_file.meet(line + number, reason, text)
                    lines_passed = part.lines_passed
                line += lines_passed
                if within is not None and task.stop is not None:
                    within(task.stop)
            if of_file and len(builder) == used_before and is_whole(of_file):
                raise bad_of_file.nothing_usable()
            consumed += files[file_index].stamp.size
            if progress is not None:
                progress(consumed)
    return builder.build(
        files=tuple(file.stamp.path for file in files),
        layouts=tuple(of_file[0].form.layout if of_file else "" for of_file in tasks),
        sources=tuple(files),
        records_skipped=sum(of_file.count for of_file in bad),
    )


def is_whole(tasks: Sequence[Decoding]) -> bool:
    """Whether the tasks of a file are all of it."""
    return tasks[0].start == 0 and tasks[-1].stop is None


def common_form(
    files: Sequence[RecordFile], layout: str, names: FieldNames, fits: WrittenForm, skip: bool
) -> RecordForm:
    """The form of the layout asked for or, for "auto", of the one that all files tell."""
    layouts = [_layout_of(file, layout, names, skip) for file in files]
    for file, name in zip(files, layouts, strict=True):
        if name != layouts[0]:
            raise InputError(
                f"{file.stamp.path}: has layout {name}, but {files[0].stamp.path} has layout "
                f"{layouts[0]}; expected one layout for all files of a pool"
            )
    return RecordForm(layouts[0], names, fits)


def _layout_of(file: RecordFile, layout: str, names: FieldNames, skip: bool) -> str:
    if isinstance(file, ParquetRows | DatasetRows):
        return file.detect_label_format(layout, names)
    if layout != "auto":
        return layout
    bad = BadRecords(file.stamp.path, skip, None)
    for line in file.scan():
        try:
            if line.problem is not None:
                raise line.problem
            return detect_label_format(line.text, names)
        except BadRecord as reason:
            bad.meet(line.number, reason, line.text)
    raise bad.nothing_usable()


def ranges(
    file: RecordFile, limits: ReadingLimits, start: int = 0, stop: int | None = None
) -> list[_Range]:
    """The ranges that a file, or those of its bytes, is decoded in; one if it can't be cut."""
    if not can_be_cut(file):
        return [(0, None)]
    end = file.stamp.size if stop is None else stop
    starts = range(start, max(end, start + 1), limits.range_size)
    # The last of a file has no end: the file may have grown.
    return [(cut, cut + limits.range_size) for cut in starts[:-1]] + [(starts[-1], stop)]


def can_be_cut(file: RecordFile) -> bool:
    """Whether its text can be read from anywhere, and not only from its start."""
    return isinstance(file, LineFile) and not file.is_compressed


def _decode_ahead(
    tasks: Sequence[Sequence[Decoding]], workers: int, limits: ReadingLimits
) -> Generator[list[Decoded] | None]:
    """What each task decodes to, in order; None if it is to be decoded by the caller."""
    every = [task for of_file in tasks for task in of_file]
    text = sum(_text_size(of_file[0].file) for of_file in tasks if of_file)
    workers = min(workers, len(every))
    if workers <= 1 or text < limits.parallel_from:
        yield from itertools.repeat(None, len(every))
    else:
        yield from decode_in_parallel(every, workers, limits)


def _text_size(file: RecordFile) -> int:
    """About how many bytes of JSON the file would be."""
    return file.stamp.size * (1 if can_be_cut(file) else _COMPRESSION)


def _after(progress: _Progress | None, consumed: int) -> _Progress | None:
    """Progress within a file as progress over all files."""
    if progress is None:
        return None
    return lambda within: progress(consumed + within)
