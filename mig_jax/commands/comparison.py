"""Other ways to choose under the limits of a selection, held against it by its measure."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mig_jax import data
from mig_jax.commands.budgets import Budget
from mig_jax.commands.candidates import candidates_of_table
from mig_jax.commands.compare_flags import PAPER_WAY
from mig_jax.commands.select_options import SelectOptions
from mig_jax.commands.terminal import progress_bar, say
from mig_jax.devices import Hosts
from mig_jax.errors import InputError
from mig_jax.measure import LINEAR, LabelGraph, Measure, Pool
from mig_jax.methods import METHODS, Limits, choose
from mig_jax.selection import (
    Certificate,
    InfeasibleError,
    information_curve,
    labels_covered,
    picks_in_order,
    random_choices,
    select,
)

__all__ = ["Way", "choose_ways", "told_comparison"]

# Of a curve: about half of them evenly, half of them ever farther apart.
_POINTS = 58

_PAPER_ABOUT = "most information by the paper's linear gains"


@dataclasses.dataclass(frozen=True, eq=False)
class Way:
    """What another way picked: once, or several times if it is left to chance."""

    name: str
    about: str
    choices: list[npt.NDArray[np.int64]]  # Empty if it could not be tried.
    failed: str | None = None  # Why not.


def choose_ways(
    options: SelectOptions,
    table: data.RecordTable,
    pool: Pool,
    graph: LabelGraph,
    measure: Measure,
    budget: Budget,
    hosts: Hosts,
) -> list[Way]:
    """The picks of all that --compare names, within the same limits.

    A way that cannot be tried on this pool says why; it keeps nobody from the selection.
    """
    if not options.compare:
        return []
    found = []
    # One for all: texts are read once, and embedded once.
    candidates, rows = _candidates(options, table, budget)

    def choices_of(name: str) -> list[npt.NDArray[np.int64]]:
        if name == PAPER_WAY:
            return [_by_linear_gains(pool, graph, measure, budget, hosts)]
        if name == "random":
            limits = pool.num_records, budget.records, budget.constraints
            return list(random_choices(*limits))
        return [_by_method(name, candidates, rows, budget)]

    with progress_bar("choosing in other ways", len(options.compare), unit="ways") as bar:
        for name in options.compare:
            bar.rename(f"choosing by {name}")
            about = _PAPER_ABOUT if name == PAPER_WAY else METHODS[name].about
            try:
                choices = choices_of(name)
                if not len(choices[0]):
                    raise InputError(
                        "it picks nothing: no record is one that it takes and fits the budget"
                    )
                found.append(Way(name, about, choices))
            except InputError as error:
                say(f"--compare: {name} could not be tried: {error}")
                found.append(Way(name, about, [], str(error)))
            bar.update()
    return found


def _candidates(
    options: SelectOptions, table: data.RecordTable, budget: Budget
) -> tuple[Any, npt.NDArray[np.int64]]:
    """What methods choose from, and which record of the pool each is: those not given."""
    encode = None
    if options.embedding_model is not None and any(
        "embeddings" in METHODS[name].needs for name in options.compare if name in METHODS
    ):
        from mig_jax.annotation import encoder_of

        encode = encoder_of(options.embedding_model)
    limits = budget.constraints
    rows = np.arange(table.num_records)
    if limits.given is not None:
        rows = np.flatnonzero(~np.asarray(limits.given))
    costs = np.zeros(table.num_records, np.int64)
    if limits.costs is not None:
        costs += np.asarray(limits.costs)
    found = candidates_of_table(table, costs, rows=rows, fields=options.fields, encode=encode)
    return found, rows


def _by_linear_gains(
    pool: Pool, graph: LabelGraph, measure: Measure, budget: Budget, hosts: Hosts
) -> npt.NDArray[np.int64]:
    try:
        found = select(
            pool,
            graph,
            budget.records,
            constraints=budget.constraints,
            measure=measure,
            gain=LINEAR,
            mesh=hosts.mesh,
        )
    except InfeasibleError as error:
        raise budget.refusal(error) from None
    return found.picks


def _by_method(
    name: str, candidates: Any, rows: npt.NDArray[np.int64], budget: Budget
) -> npt.NDArray[np.int64]:
    if budget.constraints.quotas is None:
        return rows[choose(name, candidates, Limits(budget.records, budget.most_cost))]
    every = METHODS[name].order(candidates, np.random.default_rng(0), Limits())
    order = rows[np.fromiter(every, np.int64)]
    try:
        return picks_in_order(order, budget.records, budget.constraints)
    except ValueError:
        raise InputError("its order of records meets the minima of the quotas nowhere") from None


def told_comparison(
    ways: Sequence[Way],
    picks: npt.NDArray[np.int64],
    pool: Pool,
    graph: LabelGraph,
    measure: Measure,
    budget: Budget,
    certificate: Certificate | None,
) -> dict[str, Any]:
    """What the manifest tells of other ways beside the selection; nothing without any.

    Each has a row: E, labels covered, records, tokens, and a curve of some sixty points of E at
    numbers of records, and of tokens if these are counted. Of several choices all are means. E and
    labels are those of the picks with what is given. Ways that could not be tried stand apart, each
    with the reason.
    """
    if not ways:
        return {}
    every = [Way("mig", "this selection", [picks]), *(way for way in ways if way.failed is None)]
    costs, given = budget.constraints.costs, budget.constraints.given
    before = np.zeros(0, np.int64) if given is None else np.flatnonzero(np.asarray(given))
    bound = None if certificate is None else certificate.upper_bound
    rows: list[dict[str, Any]] = []
    for way in every:
        curves = [information_curve(pool, graph, measure, one, given=given) for one in way.choices]
        held = float(np.mean([curve[-1] for curve in curves]))
        if certificate is not None and not rows:
            held = certificate.information  # As it is told elsewhere, to the last digit.
        own = rows[0]["information"] if rows else held
        covered = [labels_covered(pool, graph, np.append(before, one)) for one in way.choices]
        scores = [np.mean(np.asarray(pool.scores, np.float64)[one]) for one in way.choices]
        spent = None
        if costs is not None:
            spent = [np.cumsum(np.asarray(costs)[one], dtype=np.int64) for one in way.choices]
        rows.append(
            {
                "method": way.name,
                "about": way.about,
                "choices": len(way.choices),
                "information": held,
                "share_of_this": held / own if own else None,
                "share_of_bound": held / bound if bound else None,
                "labels_covered": float(np.mean(covered)),
                "mean_score": float(np.mean(scores)),
                "records": float(np.mean([len(one) for one in way.choices])),
                "tokens": None if spent is None else float(np.mean([one[-1] for one in spent])),
                "curve": _curve(curves, spent),
            }
        )
    start = 0.0
    if len(before):
        start = float(information_curve(pool, graph, measure, before)[-1])
    unit = "records" if budget.most_cost is None else "tokens"
    untried = [{"method": way.name, "reason": way.failed} for way in ways if way.failed]
    told = {"unit": unit, "start": start, "upper_bound": bound, "ways": rows, "untried": untried}
    return {"compare": told}


def _curve(
    curves: list[npt.NDArray[np.float64]], spent: list[npt.NDArray[np.int64]] | None
) -> dict[str, list[float]]:
    """E at some numbers of picks, the mean of all; beyond the shortest, where all end."""
    shortest = min(map(len, curves))
    evenly, farther = (
        np.linspace(1, shortest, _POINTS // 2),
        np.geomspace(1, shortest, _POINTS // 2),
    )
    places = np.unique(np.round(np.append(evenly, farther)).astype(np.int64)) - 1

    def points(numbers: Sequence[npt.NDArray[Any]]) -> list[float]:
        found = np.mean([one[places] for one in numbers], axis=0)
        last = np.mean([one[-1] for one in numbers])
        ended = all(len(one) == shortest for one in numbers)
        return [float(f"{x:.7g}") for x in (found if ended else np.append(found, last))]

    counts = [np.arange(1, len(curve) + 1) for curve in curves]
    told = {"records": points(counts), "information": points(curves)}
    return told if spent is None else {**told, "tokens": points(spent)}
