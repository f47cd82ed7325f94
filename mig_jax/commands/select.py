"""`mig-jax select`: from pool files to the selected records, step by step."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
from jax.sharding import Mesh

from mig_jax import data
from mig_jax.commands.pool_inputs import (
    InputOptions,
    label_embeddings,
    read_label_graph,
    read_table,
    say_read,
)
from mig_jax.commands.pool_parts import progress_of_first, table_of_picks
from mig_jax.commands.terminal import progress_bar, say
from mig_jax.devices import joined, own_part, part_sizes, pool_mesh, together
from mig_jax.errors import InputError
from mig_jax.measure import FAMILIES, GAIN_RULES, LabelGraph, Measure, Pool, pool_from_table
from mig_jax.reports import _selection_page as report_page
from mig_jax.reports import at_least, manifest, summary
from mig_jax.selection import (
    Certificate,
    Checkpoints,
    Progress,
    Selection,
    certify,
    fingerprint,
    labels_covered,
    random_choice,
    select,
)

__all__ = ["REPLACED_BY_PARAMS", "Options", "run"]

# Flags whose place is taken by what --params holds.
REPLACED_BY_PARAMS = (
    "preset",
    "score_function",
    "exponent",
    "rate",
    "epsilon",
    "propagation",
    "similarity_threshold",
)
_TABLE_ENDING = ".selection.parquet"


@dataclasses.dataclass(frozen=True)
class Options(InputOptions):
    """The flags of the command; `mig-jax select --help` explains each."""

    budget: int
    output: str
    output_layout: str
    dataset_info: str | None
    report: str | None
    similarity_threshold: float
    propagation: float
    gain: str
    preset: str | None
    score_function: str
    exponent: float
    rate: float
    epsilon: float
    params: str | None
    certificate: bool
    devices: str | None
    coordinator_address: str | None
    num_processes: int
    process_id: int
    process_timeout_seconds: int
    checkpoint_dir: str | None
    checkpoint_every_seconds: float

    @property
    def stem(self) -> str:
        """What the names of the other outputs begin with."""
        base, ending = os.path.splitext(self.output)
        return base if ending in (".jsonl", ".json", ".parquet") else self.output

    @property
    def as_parquet(self) -> bool:
        """Whether the records are written as a table."""
        return self.output_layout == "parquet" or self.output.endswith(".parquet")

    def parameters(self) -> dict[str, Any]:
        """The flags that count, for the manifest."""
        unused = () if self.params is None else REPLACED_BY_PARAMS
        return {k: v for k, v in dataclasses.asdict(self).items() if k not in unused}

    def measure(self) -> Measure:
        family = FAMILIES[self.score_function]
        if self.score_function == "power":
            function = family(exponent=self.exponent, epsilon=self.epsilon)
        else:
            function = family(rate=self.rate)
        return Measure(function, self.propagation)


class _Stages:
    """Seconds spent in each stage of the command."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - start, 3)


def run(options: Options) -> None:
    """Selects, certifies and writes; all outputs appear at the end, or none.

    Raises:
      InputError: for anything given that cannot be used.
    """
    if options.coordinator_address is None:
        _run(options)
        return
    with joined(
        options.coordinator_address,
        options.num_processes,
        options.process_id,
        timeout_seconds=options.process_timeout_seconds,
    ):
        say(
            f"{options.num_processes} processes have joined; should one be lost, the others end "
            f"within {options.process_timeout_seconds} s"
        )
        _run(options)


def _run(options: Options) -> None:
    """The command in one process, or in one of several: the first of them speaks and writes."""
    stages = _Stages()
    mesh = _mesh(options)
    leads = own_part(mesh) == 0
    inputs = [*options.pool, options.label_embeddings, options.vocabulary]
    with data.OutputFiles([path for path in inputs if path]) as outputs:
        # Opened first: a folder that is not there is known before the work, not after.
        names = [options.output, options.stem + ".manifest.json", options.stem + _TABLE_ENDING]
        if options.dataset_info is not None:
            names.append(options.dataset_info)
        if options.report is not None:
            names.append(_report_file(options.report))
        opened = together(lambda: [outputs.open(name) for name in names if leads], mesh)
        if options.dataset_info is not None:
            together(lambda: _dataset_info(options, {}), mesh)  # Raises where it takes no entry.
        with stages.stage("reading"):
            fits = data.OUTPUT_LAYOUTS[options.output_layout]
            table = read_table(options, outputs, options.stem, mesh, fits)
        pool = pool_from_table(table)
        num_records = int(part_sizes(pool, mesh).sum())
        say_read(table, num_records, mesh)
        if options.budget > num_records:
            raise InputError(
                f"--budget: found {options.budget}, expected at most the pool's "
                f"{num_records:,} records"
            )
        with stages.stage("graph"):
            pool, graph, measure, learned = together(lambda: _problem(options, table, pool), mesh)
        with stages.stage("selection"):
            selection, resumed_after = _select(options, pool, graph, measure, mesh)
        certificate = None
        if options.certificate:
            with stages.stage("certificate"):
                certificate = _certify(pool, graph, measure, selection, mesh)
        about = {
            **manifest(options.parameters(), table, graph, selection, certificate, mesh),
            "records_used": num_records,
            "labels_covered": labels_covered(pool, graph, selection.picks, mesh),
            "random_choice": random_choice(pool, graph, measure, options.budget, mesh),
            "resumed_after": resumed_after,
            **learned,
        }
        with stages.stage("writing"):
            picked, picks = table_of_picks(table, selection.picks, mesh)
            info = opened[3] if options.dataset_info is not None and leads else None
            together(lambda: _write(options, opened, info, picked, picks, selection, leads), mesh)
            if options.report is not None:
                say("drawing the report")
                fields = data.FieldNames.parse(options.field)
                parts = (about, table, pool, graph, measure, selection, fields)
                opened[-1].write(report_page.report_page(report_page.Selected(*parts)))
        about["seconds"] = stages.seconds
        if leads:
            data.write_json(opened[1], about)
    if leads:
        print(summary(about, options.output))


def _problem(
    options: Options, table: data.RecordTable, pool: Pool
) -> tuple[Pool, LabelGraph, Measure, dict[str, Any]]:
    """Pool, graph and measure to select with; and what of them is learned, for the manifest."""
    if options.params is None:
        graph = read_label_graph(options, table, options.similarity_threshold)
        return pool, graph, options.measure(), {}
    # Not at the top: only who has learned parameters needs optax, flax and orbax here.
    from mig_jax.learning import harden, learned_threshold, restore_learned

    graph = read_label_graph(options, table, learned_threshold(options.params))
    embeddings = label_embeddings(options, table)
    vectors = None if embeddings is None else embeddings[0]
    learned = restore_learned(options.params, table.label_names, vectors, pool, graph)
    pool, graph, measure = harden(learned, pool, graph)
    about = {
        "propagation": float(measure.propagation),
        "threshold": float(learned.threshold),
        "score_exponent": float(learned.score_exponent),
    }
    say(
        f"learned parameters of {options.params}: propagation {about['propagation']:.3g}, score "
        f"exponent {about['score_exponent']:.3g}, {graph.num_edges:,} edges at similarity "
        f"{about['threshold']:.3g} or more"
    )
    return pool, graph, measure, {"learned": about}


def _write(
    options: Options,
    opened: list[BinaryIO],
    info_out: BinaryIO | None,
    table: data.RecordTable,
    picks: np.ndarray,
    selection: Selection,
    leads: bool,
) -> None:
    """The first process writes all but the manifest."""
    if not leads:
        return
    records_out, _, table_out, *_ = opened
    converter = None
    if options.output_layout != "as_it_came" or options.as_parquet or info_out is not None:
        layout = data.OUTPUT_LAYOUTS[options.output_layout]
        names = data.FieldNames.parse(options.field)
        converter = data.RecordConverter(layout, names, describe=info_out is not None)
    data.write_records(table, picks, records_out, convert=converter, parquet=options.as_parquet)
    so_far = np.cumsum(selection.increases, dtype=np.float64)
    data.write_selection_table(table_out, table, picks, selection.gains, so_far)
    if converter is not None and info_out is not None:
        folder = os.path.dirname(os.path.realpath(str(options.dataset_info)))
        entry = converter.dataset_info_entry(
            os.path.relpath(os.path.realpath(options.output), folder)
        )
        info_out.write(_dataset_info(options, entry))


def _report_file(folder: str) -> str:
    """The page of --report, in a folder that is made where it is not there."""
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"--report: {folder}: {error.strerror}; expected a folder that can be made"
        ) from None
    return os.path.join(folder, "index.html")


def _dataset_info(options: Options, entry: dict[str, Any]) -> bytes:
    """The text of --dataset_info with the entry, named as the output is."""
    name = os.path.splitext(os.path.basename(options.output))[0]
    return data.updated_dataset_info(str(options.dataset_info), name, entry)


def _select(
    options: Options,
    pool: Pool,
    graph: LabelGraph,
    measure: Measure,
    mesh: Mesh | None,
) -> tuple[Selection, int]:
    """The selection, and how many of its picks came from a checkpoint."""
    gain = GAIN_RULES[options.gain]
    with contextlib.ExitStack() as stack:
        checkpoints, resume = None, None
        if options.checkpoint_dir is not None:
            run = fingerprint(pool, graph, measure, gain, mesh)
            checkpoints, resume = _checkpoints(options, run, stack, mesh)
        resumed_after = 0 if resume is None else len(resume)
        if resumed_after:
            say(f"resuming after {resumed_after:,} of {options.budget:,} picks")
        bar = stack.enter_context(
            progress_bar("selecting", options.budget, unit="records", initial=resumed_after)
        )

        def on_chunk(progress: Progress) -> None:
            bar.update(len(progress) - bar.n)
            if checkpoints is not None:
                checkpoints.save(progress, now=len(progress) == options.budget)

        selection = select(
            pool,
            graph,
            options.budget,
            measure=measure,
            gain=gain,
            mesh=mesh,
            resume=resume,
            on_chunk=on_chunk,
        )
    return selection, resumed_after


def _checkpoints(
    options: Options, run: dict[str, str], stack: contextlib.ExitStack, mesh: Mesh | None
) -> tuple[Checkpoints | None, Progress | None]:
    """The checkpoints, held by the first process only, and where all go on."""

    def restore() -> tuple[Checkpoints | None, Progress | None]:
        if own_part(mesh):
            return None, None
        checkpoints = stack.enter_context(
            Checkpoints(
                str(options.checkpoint_dir), run, every_seconds=options.checkpoint_every_seconds
            )
        )
        resume = checkpoints.restore(
            options.budget,
            on_damaged=lambda picks: say(f"passed over a damaged checkpoint after {picks:,} picks"),
        )
        return checkpoints, resume

    checkpoints, resume = together(restore, mesh)
    return checkpoints, progress_of_first(resume, mesh)


def _mesh(options: Options) -> Mesh | None:
    alone = options.coordinator_address is None
    devices = options.devices or ("1" if alone else "all")
    if alone and devices == "1":
        return None
    try:
        return pool_mesh(None if devices == "all" else int(devices))
    except ValueError as error:
        raise InputError(f"--devices: {error}") from None


def _certify(
    pool: Pool,
    graph: LabelGraph,
    measure: Measure,
    selection: Selection,
    mesh: Mesh | None,
) -> Certificate:
    with progress_bar("certifying", None, unit="steps") as bar:

        def on_step(step: int, bound: float) -> None:
            bar.set_postfix_str(at_least(selection.information / bound), refresh=False)
            bar.update(step - bar.n)

        return certify(pool, graph, measure, selection.picks, mesh=mesh, on_step=on_step)
