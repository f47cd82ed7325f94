"""What `mig-jax select` chooses, from its flags to picks with a certificate; nothing is written."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Any

from mig_jax import data
from mig_jax.commands.budgets import Budget
from mig_jax.commands.comparison import Way, choose_ways, told_comparison
from mig_jax.commands.enough import told_if_enough
from mig_jax.commands.extension import Changes, Extension
from mig_jax.commands.given_records import GivenRecords
from mig_jax.commands.method_selection import select_by_method
from mig_jax.commands.pool_inputs import Outputs
from mig_jax.commands.pool_parts import progress_of_first
from mig_jax.commands.pool_passes import counted
from mig_jax.commands.preparation import prepare_selection
from mig_jax.commands.problem import say_if_beyond
from mig_jax.commands.select_options import SelectOptions
from mig_jax.commands.selection_steps import certify_with_bar, select_with_bar, told_prefixes
from mig_jax.commands.terminal import goes_on_from, say
from mig_jax.commands.timing import timed
from mig_jax.devices import Hosts
from mig_jax.measure import GAIN_RULES, LabelGraph, Measure, Pool
from mig_jax.reports import manifest
from mig_jax.selection import (
    Certificate,
    Checkpoints,
    Progress,
    Selection,
    fingerprint,
    labels_covered,
    random_choice,
)

__all__ = ["Chosen", "choose"]


@dataclasses.dataclass(frozen=True, eq=False)
class Chosen:
    """What was selected of a pool, and what is told of it."""

    table: data.RecordTable  #: This process's part.
    pool: Pool
    graph: LabelGraph
    measure: Measure
    given: GivenRecords
    budget: Budget
    selection: Selection
    certificate: Certificate | None
    about: dict[str, Any]  #: For the manifest.


def choose(
    options: SelectOptions, files: Outputs | None, hosts: Hosts, seconds: dict[str, float]
) -> Chosen:
    """Reads, selects and certifies; writes nothing but bad records.

    Args:
      options: the flags.
      files: get the bad records, if they are skipped; None to keep them nowhere.
      hosts: the processes that select together.
      seconds: gets what each stage takes.

    Raises:
      InputError: for anything given that cannot be used.
    """
    hosts.together(lambda: options.token_counter)
    hosts.together(lambda: options.base_model if options.asks else None)
    ready = prepare_selection(options, files, hosts, seconds)
    table, given, budget, earlier = ready.table, ready.given, ready.budget, ready.earlier
    pool, graph, measure, learned, threshold = ready.problem
    candidates = ready.num_records - len(given)
    problem = pool, graph, measure
    ways: list[Way] = []
    if options.compare:
        with timed(seconds, "comparison"):
            ways = choose_ways(options, table, *problem, budget, hosts)
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
        **(told_if_enough(*problem, selection, budget, hosts) if options.by_mig else {}),
        **prefixes,
        **told_comparison(ways, selection.picks, *problem, budget, certificate),
    }
    return Chosen(table, *problem, given, budget, selection, certificate, about)


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
        goes_on_from(lambda: f"{checkpoints.picks:,} picks" if checkpoints.picks else "")
        return checkpoints, resume

    checkpoints, resume = hosts.together(restore)
    return checkpoints, progress_of_first(resume, hosts)
