"""`mig-jax select`: from pool files to the selected records, step by step."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
from absl import flags

from mig_jax import data
from mig_jax.commands.agreement import check_agreement
from mig_jax.commands.choosing import Chosen, choose
from mig_jax.commands.command import Command
from mig_jax.commands.dry_run import dry_run
from mig_jax.commands.pool_inputs import Nowhere
from mig_jax.commands.pool_parts import table_of_picks
from mig_jax.commands.progress import Bar
from mig_jax.commands.select_options import SelectOptions, define_select_flags, select_options
from mig_jax.commands.selection_steps import (
    write_selection,
)
from mig_jax.commands.standard_streams import standard_output
from mig_jax.commands.terminal import progress_bar, say, silent, tell
from mig_jax.commands.timing import timed
from mig_jax.devices import ALONE, Hosts, joined, pool_mesh
from mig_jax.errors import InputError
from mig_jax.reports import Selected, comparison_picture, selection_page, summary
from mig_jax.runs import refuse_foreign
from mig_jax.selection import (
    Selection,
)

__all__ = ["COMMAND", "run"]


@dataclasses.dataclass(frozen=True)
class _Outputs:
    """The streams of what the first process writes."""

    records: BinaryIO
    # None, as the table and the comparison, if the records go to standard output.
    manifest: BinaryIO | None
    table: BinaryIO | None
    dataset_info: BinaryIO | None
    page: BinaryIO | None
    comparison: BinaryIO | None


def run(values: flags.FlagValues) -> None:
    """Selects, certifies and writes; all outputs appear at the end, or none.

    Raises:
      InputError: for anything given that cannot be used.
    """
    options = select_options(values)
    if options.dry_run:
        dry_run(options, _hosts(options.devices or "1", alone=True))
        return
    if options.coordinator_address is None:
        _run(options, _hosts(options.devices or "1", alone=True))
        return
    with (
        silent(options.process_id > 0),
        joined(
            options.coordinator_address,
            options.num_processes,
            options.process_id,
            timeout_seconds=options.process_timeout_seconds,
        ),
    ):
        say(
            f"{options.num_processes} processes have joined; should one be lost, the others end "
            f"within {options.process_timeout_seconds} s"
        )
        check_agreement(options)
        _run(options, _hosts(options.devices or "all", alone=False))


def _hosts(devices: str, *, alone: bool) -> Hosts:
    """The processes that select, with so many devices; `alone` if there is no other process."""
    if alone and devices == "1":
        return ALONE
    try:
        return Hosts(pool_mesh(None if devices == "all" else int(devices)))
    except ValueError as error:
        raise InputError(f"--devices: {error}") from None


def _run(options: SelectOptions, hosts: Hosts) -> None:
    """The command in one process, or in one of several: the first of them speaks and writes."""
    seconds: dict[str, float] = {}
    with contextlib.ExitStack() as last, data.OutputFiles(options.files()) as files:
        to_standard = options.to_standard_output
        stream = last.enter_context(standard_output()) if to_standard else None
        # First: what is not there, be it a folder or a model, is known before the work.
        outputs = hosts.together(lambda: _open(options, files, stream) if hosts.is_first else None)
        chosen = choose(options, Nowhere() if to_standard else files, hosts, seconds)
        with timed(seconds, "writing"), progress_bar("writing", None, leave=False) as bar:
            _write_all(options, outputs, chosen, hosts, bar)
        if outputs is not None and outputs.manifest is not None:
            about_run = {**chosen.about, "seconds": seconds}
            files.write_manifest(outputs.manifest, about_run, options.output)
    if hosts.is_first:
        if to_standard:
            for line in summary(chosen.about, "standard output").split("\n"):
                say(line)
            if options.report is not None:
                say(f"report -> {_page_file(options.report)}")
        else:
            tell(summary(chosen.about, options.output))
            for name, path in _pictures(options):
                tell(f"{name} -> {path}")


def _pictures(options: SelectOptions) -> Iterator[tuple[str, str]]:
    """What is there to look at, and where."""
    if options.compare:
        yield "curves of all ways", _picture_file(options)
    if options.report is not None:
        yield "report", _page_file(options.report)


def _write_all(
    options: SelectOptions, outputs: _Outputs | None, chosen: Chosen, hosts: Hosts, bar: Bar
) -> None:
    """Writes the records and what tells of them; says what a trainer's user must know."""
    table, given, selection, about = chosen.table, chosen.given, chosen.selection, chosen.about
    written = given.with_picks(selection.picks) if given.included else selection.picks
    picked, picks = table_of_picks(table, written, hosts)
    tokens = chosen.budget.tokens_of(written, hosts)

    def write() -> list[str]:
        if outputs is None:
            return []
        return _write(options, outputs, picked, picks, selection, tokens)

    about["notes"] = hosts.together(write)
    for note in about["notes"]:
        say(f"note: {note}")
    if outputs is not None and outputs.comparison is not None:
        outputs.comparison.write(comparison_picture(about["compare"]))
    if outputs is not None and outputs.page is not None:
        bar.rename("drawing the report")
        problem = chosen.pool, chosen.graph, chosen.measure
        parts = (about, table, *problem, selection, options.fields)
        outputs.page.write(selection_page(Selected(*parts, chosen.budget.constraints)))


def _open(options: SelectOptions, files: data.OutputFiles, stream: BinaryIO | None) -> _Outputs:
    """The outputs that are asked for; records go to the stream, if there is one.

    Raises:
      InputError: if one cannot be written, --dataset_info takes no entry, or --checkpoint_dir
        holds something else.
    """
    if options.checkpoint_dir is not None:
        refuse_foreign(options.checkpoint_dir, "checkpoints")
    outputs = _Outputs(
        records=stream or files.open(options.output),
        manifest=None if stream else _open_manifest(options, files),
        table=None if stream else files.open(options.stem + ".selection.parquet"),
        dataset_info=None if options.dataset_info is None else files.open(options.dataset_info),
        page=None if options.report is None else files.open(_made_page_file(options.report)),
        comparison=_open_picture(options, files) if options.compare and not stream else None,
    )
    if options.dataset_info is not None:
        _updated_dataset_info(options, {})
    return outputs


def _open_picture(options: SelectOptions, files: data.OutputFiles) -> BinaryIO:
    return files.open(_picture_file(options))


def _picture_file(options: SelectOptions) -> str:
    return options.stem + ".compare.svg"


def _open_manifest(options: SelectOptions, files: data.OutputFiles) -> BinaryIO:
    return files.open_manifest(options.stem + ".manifest.json", options.output)


def _page_file(folder: str) -> str:
    return os.path.join(folder, "index.html")


def _made_page_file(folder: str) -> str:
    """The page of --report, in a folder that is made if it is not there."""
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"--report: {folder}: {error.strerror}; expected a folder that can be made"
        ) from None
    return _page_file(folder)


def _write(
    options: SelectOptions,
    outputs: _Outputs,
    table: data.RecordTable,
    picks: np.ndarray,
    selection: Selection,
    tokens: np.ndarray | None,
) -> list[str]:
    """Writes the records and the tables of them; returns what a trainer's user must know."""
    form = options.written_form
    convert = data.RecordConverter(form, options.fields)
    stay_rows = options.form == "parquet" and form == data.AS_IT_CAME
    how: dict[str, Any] = {"form": options.form, "tell": _warn, "tokens": tokens}
    how["convert"] = None if stay_rows else convert
    write_selection(table, picks, selection, outputs.records, outputs.table, **how)
    notes = data.notes_of_rows(table, picks) if stay_rows else convert.notes
    if outputs.dataset_info is not None:
        folder = os.path.dirname(os.path.realpath(str(options.dataset_info)))
        where = os.path.relpath(os.path.realpath(options.output), folder)
        names = form.names_written(options.fields)
        entry = data.dataset_info_entry(convert.readings, names, where)
        outputs.dataset_info.write(_updated_dataset_info(options, entry))
        notes += data.dataset_info_notes(convert.readings)
    return notes


def _warn(line: str) -> None:
    say(f"warning: {line}")


def _updated_dataset_info(options: SelectOptions, entry: dict[str, Any]) -> bytes:
    """The text of --dataset_info with the entry, named as the output is.

    Raises:
      InputError: if the file takes no entry.
    """
    name = os.path.splitext(os.path.basename(options.output))[0]
    return data.updated_dataset_info(str(options.dataset_info), name, entry)


COMMAND = Command(
    name="select",
    define_flags=define_select_flags,
    run=run,
    required=("output",),
    examples=(
        "raw.jsonl --budget=5000 --output=train.jsonl",
        "pool.jsonl --label_embeddings=labels.npz --budget=10% --output=train.jsonl "
        "--report=report",
        "pool.jsonl --budget_tokens=2M --group_field=source --quota=maths=10%.. "
        "--output=train.jsonl",
    ),
)
