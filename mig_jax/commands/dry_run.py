"""`mig-jax select --dry_run`: what a run would do and take, and nothing is selected or written."""

from __future__ import annotations

import os
from collections.abc import Iterator

import jax
import numpy as np

from mig_jax import data
from mig_jax.commands.dry_run_raw import read_plan_of_raw
from mig_jax.commands.expected_cost import Work, expected_cost, told_bytes, told_seconds
from mig_jax.commands.pool_inputs import Nowhere, label_embeddings
from mig_jax.commands.preparation import Prepared, prepare_selection
from mig_jax.commands.problem import say_if_beyond
from mig_jax.commands.select_options import SelectOptions
from mig_jax.commands.terminal import silent, tell
from mig_jax.devices import Hosts
from mig_jax.errors import InputError
from mig_jax.reports import counted
from mig_jax.runs import refuse_foreign
from mig_jax.selection import InfeasibleError, limits_of

__all__ = ["dry_run"]

_WIDTH = 15  # Of the names in front of what is told.
_SLOW = 1.75  # From so many times on it is told that the machine is slow.


def dry_run(options: SelectOptions, hosts: Hosts) -> None:
    """Tells what the run would do, once all is checked that can be without selecting.

    Nothing is written but what --cache keeps of what was read.

    Raises:
      InputError: for anything given that the run itself would refuse.
    """
    files = list(_files(options))
    _ = options.token_counter
    if options.asks:
        _ = options.base_model
    if options.validation is not None and not options.by_mig:
        data.read_validation(options.validation)
    raw = read_plan_of_raw(options)
    told: list[tuple[str, str]] = []
    if raw is not None:
        told += raw.told()
    else:
        seconds: dict[str, float] = {}
        ready = prepare_selection(options, Nowhere(), hosts, seconds)
        told += _told(options, ready, hosts)
        told += _told_cost(options, ready, seconds)
        if options.by_mig and ready.budget.records is not None and not ready.budget.most_cost:
            say_if_beyond(ready.problem.about, len(ready.given) + ready.budget.records)
    told += files
    tell(
        "\n".join(
            [
                "dry run: nothing is selected, no output is written",
                *(f"  {name:<{_WIDTH}} {text}" for name, text in told),
            ]
        )
    )


def _told(options: SelectOptions, ready: Prepared, hosts: Hosts) -> Iterator[tuple[str, str]]:
    table, graph = ready.table, ready.problem.graph
    bad = table.records_skipped
    skipped = f"; {counted(bad, 'bad record')} left out" if bad else ""
    made = ", labels or scores made before" if data.ANNOTATED in table.layouts else ""
    in_files = f" in {len(table.files):,} files" if len(table.files) > 1 else ""
    yield "records", f"{ready.num_records:,}{in_files}{made}{skipped}"
    without = int(np.count_nonzero(np.diff(table.offsets) == 0))
    mean = len(table.labels) / max(table.num_records, 1)
    have = "has" if without == 1 else "have"
    none = f"; {counted(without, 'record')} {have} none" if without else ""
    yield "labels", f"{graph.num_labels:,}, {mean:.1f} a record{none}"
    yield "label graph", _told_graph(options, ready)
    if len(ready.given):
        yield "given", f"{len(ready.given):,} records"
    yield from _told_budget(ready)
    several = f"{hosts.num_devices} × " if hosts.num_devices > 1 else ""
    yield "device", f"{several}{jax.devices()[0].device_kind}"


def _told_graph(options: SelectOptions, ready: Prepared) -> str:
    graph, threshold = ready.problem.graph, ready.problem.threshold
    with silent(True):  # It was said which they are.
        found = label_embeddings(options, ready.table)
    if found is None:
        return "no edges, as the labels have no embeddings"
    present = found[1]
    lacking = 0 if present is None else int(np.count_nonzero(~present))
    at = "as learned" if threshold is None else f"at similarity {threshold:g} or more"
    mean = 2 * graph.num_edges / max(graph.num_labels, 1)
    edges = f"{graph.num_edges:,} edge{'s' * (graph.num_edges != 1)}"
    text = f"{edges} {at}, {mean:.1f} neighbours a label"
    return text + (f"; {lacking:,} labels have no embedding and stand alone" if lacking else "")


def _told_budget(ready: Prepared) -> Iterator[tuple[str, str]]:
    """What is understood of the limits, once it is sure that they can be kept.

    Raises:
      InputError: if no selection keeps to them.
    """
    budget, num_records = ready.budget, ready.num_records - len(ready.given)
    try:
        if not budget.constraints.is_empty:
            limits_of(ready.problem.pool, budget.records, budget.constraints)
    except InfeasibleError as error:
        raise budget.refusal(error) from None
    parts = []
    if budget.records is not None:
        parts.append(f"{budget.records:,} of {num_records:,} records")
    if budget.most_cost is not None:
        tokens = budget.told["tokens"]
        parts.append(f"{tokens['budget']:,} of {tokens['pool']:,} tokens ({tokens['counted_by']})")
    yield "budget", ", and ".join(parts)
    if budget.quotas is not None:
        yield "quotas", f"of {len(budget.quotas.names):,} groups, and can all be kept"
    elif budget.constraints.quotas is not None:
        yield "changes", "can be kept"


def _told_cost(
    options: SelectOptions, ready: Prepared, seconds: dict[str, float]
) -> Iterator[tuple[str, str]]:
    if not options.by_mig:
        yield "time", f"not known beforehand for --method={options.method}"
        return
    expected = expected_cost(_work(options, ready), read_and_joined=sum(seconds.values()))
    is_cpu = jax.devices()[0].platform == "cpu"
    on_cpu = "" if is_cpu else "on a CPU, of which alone it is known: "
    first, later = told_seconds(expected.first_seconds), told_seconds(expected.seconds)
    new = f"{first} if programs of these sizes were never compiled here"
    yield "time", f"{on_cpu}about {later}, or {new}"
    if expected.slower > _SLOW:
        yield "", f"as this machine is {expected.slower:.0f} times slower now than the benchmarks'"
    yield "memory", f"{on_cpu}about {told_bytes(expected.bytes)}"


def _work(options: SelectOptions, ready: Prepared) -> Work:
    """What the time of a selection grows with."""
    graph, pool, budget = ready.problem.graph, ready.problem.pool, ready.budget
    near = 1 + np.bincount(np.asarray(graph.sources), minlength=graph.num_labels)
    picks = budget.records
    if budget.most_cost is not None:
        costs = np.asarray(budget.constraints.costs)
        paid = int(budget.most_cost / max(float(costs.mean()), 1e-9)) + 1
        picks = min(paid, ready.num_records if picks is None else picks)
    assert picks is not None
    return Work(
        records=pool.num_records,
        entries=len(np.asarray(pool.labels)),
        contributions=int(near[np.asarray(pool.labels)].sum()),
        picks=picks,
        of_costs=budget.most_cost is not None,
        certified=options.certificate,
        prefixes=options.certificate and budget.constraints.quotas is None,
    )


def _files(options: SelectOptions) -> Iterator[tuple[str, str]]:
    """The files that the run would write, and which of them are there already.

    Raises:
      InputError: if one cannot be written.
    """
    outputs = data.OutputFiles(options.files())
    manifest = options.stem + ".manifest.json"
    names: list[str] = []
    if options.to_standard_output:
        yield "would write", "the records to standard output"
    else:
        names += [options.output, options.stem + ".selection.parquet", manifest]
        if options.compare:
            names.append(options.stem + ".compare.svg")
        if options.on_bad_record == "skip" and options.pool:
            names.append(options.stem + ".rejected.jsonl")
    if options.dataset_info is not None:
        names.append(options.dataset_info)
        data.updated_dataset_info(options.dataset_info, "any", {})
    if options.report is not None:
        page = os.path.join(options.report, "index.html")
        if os.path.isdir(options.report):
            names.append(page)
        else:
            _check_new_folder(options.report)
            yield "would write", f"{page}, in a new folder"
    if options.checkpoint_dir is not None:
        refuse_foreign(options.checkpoint_dir, "checkpoints")
        yield "would write", f"checkpoints in {options.checkpoint_dir}"
    seen: set[str] = set()
    for name in names:
        is_there = outputs.check(name, manifest_of=options.output if name == manifest else None)
        if (real := os.path.realpath(name)) in seen:
            raise InputError(f"{name}: is an output already; expected another file to write to")
        seen.add(real)
        updated = "updated" if name == options.dataset_info else "replaced"
        yield "would write", name + (f" (is there, and would be {updated})" if is_there else "")


def _check_new_folder(folder: str) -> None:
    above = os.path.abspath(folder)
    while not os.path.lexists(above):
        above = os.path.dirname(above)
    if not os.path.isdir(above) or not os.access(above, os.W_OK | os.X_OK):
        raise InputError(
            f"--report: {folder}: cannot be made in {above}; expected a folder that can"
        )
