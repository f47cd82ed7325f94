"""`mig-jax select`: from pool files to the selected records, step by step."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from typing import Any, BinaryIO

import numpy as np
from absl import flags

from mig_jax import data
from mig_jax.commands.agreement import check_agreement
from mig_jax.commands.budgets import Budget, read_budget
from mig_jax.commands.command import Command
from mig_jax.commands.extension import Changes, Extension, read_extension
from mig_jax.commands.given_records import read_given
from mig_jax.commands.method_selection import select_by_method
from mig_jax.commands.pool_inputs import check_worth, read_table, say_read
from mig_jax.commands.pool_parts import progress_of_first, table_of_picks
from mig_jax.commands.pool_passes import check_dataset_info, counted
from mig_jax.commands.problem import read_problem, say_if_beyond
from mig_jax.commands.select_options import SelectOptions, define_select_flags, select_options
from mig_jax.commands.selection_steps import (
    certify_with_bar,
    select_with_bar,
    told_prefixes,
    write_selection,
)
from mig_jax.commands.terminal import say, silent, tell
from mig_jax.commands.timing import timed
from mig_jax.devices import ALONE, Hosts, joined, pool_mesh
from mig_jax.errors import InputError
from mig_jax.measure import GAIN_RULES, LabelGraph, Measure, Pool, pool_from_table
from mig_jax.reports import Selected, manifest, selection_page, summary
from mig_jax.runs import refuse_foreign
from mig_jax.selection import (
    Checkpoints,
    Progress,
    Selection,
    fingerprint,
    labels_covered,
    random_choice,
)

__all__ = ["COMMAND", "run"]


@dataclasses.dataclass(frozen=True)
class _Outputs:
    """The streams of what the first process writes."""

    records: BinaryIO
    manifest: BinaryIO
    table: BinaryIO
    dataset_info: BinaryIO | None
    page: BinaryIO | None


def run(values: flags.FlagValues) -> None:
    """Selects, certifies and writes; all outputs appear at the end, or none.

    Raises:
      InputError: for anything given that cannot be used.
    """
    options = select_options(values)
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
    with data.OutputFiles(options.files()) as files:
        # First: what is not there, be it a folder or a model, is known before the work.
        outputs = hosts.together(lambda: _open(options, files) if hosts.is_first else None)
        hosts.together(lambda: options.token_counter)
        hosts.together(lambda: options.base_model if options.asks else None)
        with timed(seconds, "reading"):
            form = options.written_form
            table = read_table(options, files, options.stem, fits=form, hosts=hosts)
            if options.form == "parquet":
                hosts.together(lambda: data.check_one_table(table.sources))
        pool = pool_from_table(table)
        num_records = hosts.sum(table.num_records)
        say_read(table, hosts)
        check_worth(table, hosts)
        given = read_given(options, table, hosts)
        candidates = num_records - len(given)
        budget = read_budget(options, table, hosts, given.own if len(given) else None)
        earlier = read_extension(options, table, given.records, hosts)
        if isinstance(earlier, Changes):
            budget = earlier.limit(budget, table, hosts)
        joined_at = earlier.joined_at if isinstance(earlier, Extension) else None
        if options.dataset_info is not None:
            with timed(seconds, "checking"):
                as_rows = options.form == "parquet"
                check_dataset_info(table, form, options.fields, hosts, as_rows=as_rows)
        with timed(seconds, "graph"):
            pool, graph, measure, learned, threshold = hosts.together(
                lambda: read_problem(options, table, pool, joined_at=joined_at)
            )
        problem = pool, graph, measure
        with timed(seconds, "selection"):
            if options.by_mig:
                selection, run = _select(options, *problem, budget, earlier, hosts)
            else:
                selection, run = select_by_method(options, table, *problem, budget)
        if options.by_mig:
            say_if_beyond(learned, len(given) + len(selection))
        certificate, prefixes = None, {}
        if options.certificate:
            with timed(seconds, "certificate"):
                certificate = certify_with_bar(*problem, selection, budget, hosts)
            # A prefix need not meet the minima.
            if budget.constraints.quotas is None and options.by_mig:
                with timed(seconds, "prefixes"):
                    prefixes = told_prefixes(*problem, selection, budget, certificate, hosts)
        about = {
            **manifest(options.parameters(threshold), table, graph, selection, certificate, hosts),
            "records_used": candidates,
            "labels_covered": labels_covered(
                pool, graph, given.with_picks(selection.picks), hosts.mesh
            ),
            "random_choice": random_choice(
                pool,
                graph,
                measure,
                budget.records,
                hosts.mesh,
                constraints=budget.constraints,
            ),
            # Labels or scores were made, by the defaults of annotate.
            **({"annotated": True} if data.ANNOTATED in table.layouts else {}),
            **run,
            **counted(table, selection.picks, options.count_by, hosts, given.own),
            **learned,
            **given.told(selection.given_information),
            **(earlier.told(selection.picks) if isinstance(earlier, Changes) else {}),
            **budget.told_of(selection.picks, certificate if options.by_mig else None, hosts),
            **prefixes,
        }
        with timed(seconds, "writing"):
            written = given.with_picks(selection.picks) if given.included else selection.picks
            picked, picks = table_of_picks(table, written, hosts)
            tokens = budget.tokens_of(written, hosts)

            def write() -> list[str]:
                if outputs is None:
                    return []
                return _write(options, outputs, picked, picks, selection, tokens)

            about["notes"] = hosts.together(write)
            for note in about["notes"]:
                say(f"note: {note}")
            if outputs is not None and outputs.page is not None:
                say("drawing the report")
                parts = (about, table, pool, graph, measure, selection, options.fields)
                outputs.page.write(selection_page(Selected(*parts, budget.constraints)))
        if outputs is not None:
            about_run = {**about, "seconds": seconds}
            files.write_manifest(outputs.manifest, about_run, options.output)
    if hosts.is_first:
        tell(summary(about, options.output))


def _open(options: SelectOptions, files: data.OutputFiles) -> _Outputs:
    """The outputs that are asked for.

    Raises:
      InputError: if one cannot be written, --dataset_info takes no entry, or --checkpoint_dir
        holds something else.
    """
    if options.checkpoint_dir is not None:
        refuse_foreign(options.checkpoint_dir, "checkpoints")
    outputs = _Outputs(
        records=files.open(options.output),
        manifest=files.open_manifest(options.stem + ".manifest.json", options.output),
        table=files.open(options.stem + ".selection.parquet"),
        dataset_info=None if options.dataset_info is None else files.open(options.dataset_info),
        page=None if options.report is None else files.open(_page_file(options.report)),
    )
    if options.dataset_info is not None:
        _updated_dataset_info(options, {})
    return outputs


def _page_file(folder: str) -> str:
    """The page of --report, in a folder that is made if it is not there."""
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"--report: {folder}: {error.strerror}; expected a folder that can be made"
        ) from None
    return os.path.join(folder, "index.html")


def _select(
    options: SelectOptions,
    pool: Pool,
    graph: LabelGraph,
    measure: Measure,
    budget: Budget,
    earlier: Extension | Changes | None,
    hosts: Hosts,
) -> tuple[Selection, dict[str, Any]]:
    """The selection, and what the manifest tells of the run and of where it went on."""
    gain = GAIN_RULES[options.gain]
    limits: dict[str, Any] = {"budget": budget.records, "constraints": budget.constraints}
    run = fingerprint(pool, graph, measure, gain, hosts.mesh, **limits)
    with contextlib.ExitStack() as stack:
        checkpoints, resume = None, None
        if options.checkpoint_dir is not None:
            checkpoints, resume = _checkpoints(options, run, budget, stack, hosts)
        told: dict[str, Any] = {"run": run, "resumed_after": 0 if resume is None else len(resume)}
        if isinstance(earlier, Extension):
            kept, extension = earlier.progress(options, pool, graph, measure, budget, hosts)
            told |= extension
            if kept is not None and len(kept) > told["resumed_after"]:
                resume, told["resumed_after"] = kept, 0

        def save(progress: Progress) -> None:
            if checkpoints is not None:
                checkpoints.save(progress, now=len(progress) == budget.records)

        selection = select_with_bar(
            pool,
            graph,
            budget,
            measure=measure,
            gain=gain,
            hosts=hosts,
            resume=resume,
            save=save,
        )
    return selection, told


def _checkpoints(
    options: SelectOptions,
    run: dict[str, str],
    budget: Budget,
    stack: contextlib.ExitStack,
    hosts: Hosts,
) -> tuple[Checkpoints | None, Progress | None]:
    """The checkpoints, held by the first process only, and where all go on."""

    def restore() -> tuple[Checkpoints | None, Progress | None]:
        if not hosts.is_first:
            return None, None
        checkpoints = stack.enter_context(
            Checkpoints(
                str(options.checkpoint_dir), run, every_seconds=options.checkpoint_every_seconds
            )
        )
        resume = checkpoints.restore(
            budget.records,
            on_damaged=lambda picks: say(f"passed over a damaged checkpoint after {picks:,} picks"),
        )
        return checkpoints, resume

    checkpoints, resume = hosts.together(restore)
    return checkpoints, progress_of_first(resume, hosts)


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
    summary="choose the most informative records of a pool",
    define_flags=define_select_flags,
    run=run,
    required=("output",),
)
