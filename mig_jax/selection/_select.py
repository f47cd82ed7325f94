"""Selection from start to end: lay out the pool, pick in chunks, say what was picked."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable

import chex
import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float, Int

from mig_jax.devices import (
    all_gather_parts,
    all_reduce_max,
    own_shards,
    part_sizes,
    place_shards,
)
from mig_jax.measure import (
    EXACT,
    Array,
    GainRule,
    LabelGraph,
    Measure,
    Pool,
    check_measure,
    check_pool,
    information,
)
from mig_jax.selection._constraints import UNCONSTRAINED, Constraints
from mig_jax.selection._feasibility import limits_of
from mig_jax.selection._given import given_information
from mig_jax.selection._gradient_steps import GradientSteps
from mig_jax.selection._lost_passes import has_lost
from mig_jax.selection._number_range import check_finite, in_range, widened
from mig_jax.selection._page_layout import AREA, EMPTY, PagePlan, deal_pages, plan_pages
from mig_jax.selection._pages import Pages, pages_of
from mig_jax.selection._passes import Progress, Run, holds_more, pick, with_limits
from mig_jax.selection._rates import Rates
from mig_jax.selection._selection_state import SetSize
from mig_jax.selection._typical_rates import rates_of_passes

__all__ = ["Selection", "lay_out", "page_priority", "select"]

# More than these order the pages no better: 50,000 of a million records need 9.2 pages a pick
# after 6 steps as after all, and 12.4 without any (pages of 512).
_ORDERING_STEPS = 6
_SHOWN = 5  # Picks that `repr` tells.


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Selection:
    """The records picked, in order."""

    picks: Int[np.ndarray, " picks"]
    gains: Float[np.ndarray, " picks"]  #: Each pick's gain at its moment, exact or linear.
    increases: Float[np.ndarray, " picks"]  #: By how much each pick raised E; gains if exact.
    #: Information held by each label in the end; [0.] without labels.
    z: Float[np.ndarray, " labels"]
    information: float  #: E of all picks, and of the records given.
    given_information: float = 0.0  #: E of the records given alone.
    #: What gains were compared over, if costs are limited.
    rates: Rates | None = None

    def __len__(self) -> int:
        return len(self.picks)

    def __repr__(self) -> str:
        few = [*map(str, self.picks[:_SHOWN].tolist()), *["…"] * (len(self) > _SHOWN)]
        held = f"information {self.information:.6g}"
        return f"Selection({len(self):,} records: {', '.join(few)}; {held})"


def lay_out(
    pool: Pool,
    graph: LabelGraph,
    measure: Measure,
    budget: int | None,
    *,
    constraints: Constraints = UNCONSTRAINED,
    area: int = AREA,
    mesh: Mesh | None = None,
) -> Pages:
    """The propagated pool in pages; records that `budget` picks will likely choose come first.

    Likely means a large gain at the information that a few steps towards the
    relaxed optimum lead to. The order never changes what is picked, only how
    many pages are read for it.

    Args:
      pool: P records; if the mesh is of several processes, this one's part.
      graph: K labels.
      measure: score functions and α.
      budget: N; None if only costs are limited.
      constraints: as for `select`.
      area: slots a page has, as in `lay_out_pages`.
      mesh: devices to deal the pages to, from `pool_mesh`; one device by default.

    Raises:
      ValueError: if the pool or the measure does not fit the graph.
    """
    check_pool(pool, graph)
    check_measure(measure, graph)
    return _laid_out(pool, graph, measure, budget, constraints, area, mesh)


def _laid_out(
    pool: Pool,
    graph: LabelGraph,
    measure: Measure,
    budget: int | None,
    constraints: Constraints,
    area: int,
    mesh: Mesh | None,
) -> Pages:
    """As `lay_out`, of what was looked at."""
    with in_range(pool, graph, measure, mesh) as (pool, graph, measure):
        priority = page_priority(pool, graph, measure, budget, constraints, mesh)
        plan = plan_pages(pool, graph, priority=priority, area=area)
        if mesh is not None and plan.area < (widest := all_reduce_max(plan.area, mesh)):
            # Another part has a longer row.
            plan = plan_pages(pool, graph, priority=priority, area=widest)
        del priority  # As large as all pages have records.
        if mesh is None:
            return pages_of(plan, pool, graph, measure)
        return _dealt(plan, pool, graph, measure, mesh)


def page_priority(
    pool: Pool,
    graph: LabelGraph,
    measure: Measure,
    budget: int | None,
    constraints: Constraints = UNCONSTRAINED,
    mesh: Mesh | None = None,
) -> Float[np.ndarray, " records"]:
    """What `lay_out` orders the records by: linear gains near the relaxed optimum.

    If costs are limited, over costs; the optimum is then that of so many records as the budget
    pays at the mean cost.
    """
    costs = None if constraints.most_cost is None else np.asarray(constraints.costs)
    if costs is not None:
        told = np.array([costs.sum(dtype=np.int64), len(costs)])
        spent, records = np.sum(all_gather_parts(told, mesh), axis=0).tolist()
        paid = int(constraints.most_cost or 0) * records // max(spent, 1)
        budget = min(paid, records if budget is None else budget)
    likely = np.int32(0 if budget is None else budget)
    # In float64, as the certificate is: what is compiled for one serves the other.
    with jax.enable_x64(True):
        pool, graph, measure = widened((pool, graph, measure))
        steps = GradientSteps(pool, graph, measure, mesh)
        z: Array = np.zeros(graph.num_labels)
        for _ in range(_ORDERING_STEPS):
            z = steps(z, likely).z
        priority = steps.gains(z)
    return priority if costs is None else priority / np.maximum(costs, 1)


def _dealt(plan: PagePlan, pool: Pool, graph: LabelGraph, measure: Measure, mesh: Mesh) -> Pages:
    """Pages on the devices of the mesh, each filled where it stays."""
    devices = own_shards(mesh)
    pages_a_shard = all_reduce_max(-(-plan.num_pages // len(devices)), mesh)
    dealt = deal_pages(plan, len(devices), pages_a_shard)
    rows = all_reduce_max(max(len(own.records) for own in dealt), mesh)
    shards = []
    for own, device in zip(dealt, devices, strict=True):
        records = np.pad(own.records, (0, rows - len(own.records)), constant_values=EMPTY)
        with jax.default_device(device):
            own = dataclasses.replace(own, records=records)
            shards.append(pages_of(own, pool, graph, measure))
    return jax.tree_util.tree_map(lambda *blocks: place_shards(list(blocks), mesh), *shards)


def select(
    pool: Pool,
    graph: LabelGraph,
    budget: int | None,
    *,
    constraints: Constraints = UNCONSTRAINED,
    measure: Measure | None = None,
    gain: GainRule = EXACT,
    chunk: int = 1024,
    pages: Pages | None = None,
    mesh: Mesh | None = None,
    resume: Progress | None = None,
    on_chunk: Callable[[Progress], None] | None = None,
    working_set: SetSize | None = None,
) -> Selection:
    """Picks records greedily, each the one with the largest marginal gain.

    N of them; or, if costs are limited, as many as gain something and fit, each the one with the
    largest gain over its cost. Another pass compares by the gain alone, for as long as it may
    win, and what holds more information counts: at least (1 − 1/e)/2 of the best, if costs alone
    are limited. If records or groups are limited beside costs, a first pass compares by the gain
    over what a record takes of all limits, each at its price. Quotas are met: only records that
    leave enough for the minima may be picked, and records of groups with a minimum due are picked
    though they gain nothing.

    It works on the host, and not under `jit` or `vmap`: `select_grid` takes many measures at once,
    `relaxed_selection` has gradients.

    In float32; if that cannot hold the scores, their sums or what the measure makes of them,
    all of it is in float64, gains and z of the result too.

    Args:
      pool: P records; if the mesh is of several processes, the part of this one.
      graph: K labels, the same in all processes, as is every other argument.
      budget: N, from 0 to the number of records that are not given; None if only costs are
        limited.
      constraints: costs, quotas and records given.
      measure: score functions and α; the default is the paper's φ and α = 1.
      gain: `EXACT` (Eq. 9) or `LINEAR` (Eq. 10–11, what the paper's Algorithm 1 maximises).
      chunk: picks between two calls of `on_chunk`, at least 1; never changes what is picked.
      pages: what `lay_out` gives for this mesh, where it is at hand already.
      mesh: devices to shard the pool over, from `pool_mesh`; one device by default. Never
        changes what is picked.
      resume: where to go on, as `on_chunk` was given it for the same pool, graph, constraints,
        measure and gain. The budget may be another one if neither costs nor minima are limited.
        The result is that of a selection never stopped, bit for bit.
      on_chunk: called with the picks so far and what is needed to go on from them.
      working_set: how records are searched, as `set_size` has it by default; never changes
        what is picked.

    Raises:
      InfeasibleError: a ValueError, if no selection keeps to all limits.
      ValueError: if the budget is negative or larger than the pool, or smaller than
        what is picked already, or the pool or the measure does not fit the graph.
      TypeError: if the measure, the gain rule or what to resume is none, or a number is not whole.
      AssertionError: if `resume` is of another number of labels.
      InputError: if what records gain is not finite in float64.

    >>> from mig_jax import label_graph_from_edges, pool_from_label_lists
    >>> pool = pool_from_label_lists([[0], [0], [1]], [1.0, 0.9, 0.8])
    >>> select(pool, label_graph_from_edges(2), 2).picks.tolist()
    [0, 2]
    """
    budget = None if budget is None else operator.index(budget)
    measure = Measure() if measure is None else measure
    for name, given, kind in (("gain", gain, GainRule), ("resume", resume, Progress)):
        if given is not None and not isinstance(given, kind):
            found, expected = type(given).__name__, kind.__name__
            raise TypeError(f"{name}: found {found}, expected a mig_jax.{expected}")
    if operator.index(chunk) < 1:
        raise ValueError(f"chunk must be at least 1, got {chunk}")
    if pages is None:  # Else they were laid out, and looked at there.
        check_pool(pool, graph)
    check_measure(measure, graph)
    sizes = part_sizes(pool, mesh)
    limits = None
    if not constraints.is_empty:
        limits = limits_of(pool, budget, constraints, mesh)
        most = limits.most_picks
    elif budget is None:
        raise ValueError("expected a budget of records, or of costs, or both")
    elif not 0 <= budget <= sizes.sum():
        raise ValueError(f"the budget must be in 0 to {sizes.sum()}, got {budget}")
    else:
        most = budget
    start = Progress.none(graph.num_labels) if resume is None else resume
    message = "resume: expected a z with a number for each label of the graph"
    chex.assert_shape(start.z, (max(graph.num_labels, 1),), custom_message=message)
    first, now = start.passes()
    for part in (first, now):
        if part is not None and len(part) > most:
            raise ValueError(
                f"{len(part)} records are picked already, more than the budget of {most}"
            )
    with in_range(pool, graph, measure, mesh) as (pool, graph, measure):
        if limits is None and len(start) == most:
            return _selection(measure, start)
        if pages is None:
            pages = _laid_out(pool, graph, measure, budget, constraints, AREA, mesh)
        z = np.zeros_like(start.z)
        if constraints.given is not None:
            z = given_information(pool, graph, measure, constraints.given, mesh)
        z = z.astype(pages.values.dtype, copy=False)
        if limits is not None:
            pages = with_limits(pages, limits, mesh)
        run = Run(pages, measure, gain, most, limits, sizes, chunk, mesh, working_set)
        nothing = dataclasses.replace(Progress.none(graph.num_labels), z=z)
        now = now if len(now) else nothing
        passes = rates_of_passes(pool, graph, measure, budget, constraints, limits, mesh)
        finished, best, before = first, start.best, start.before
        for number in range(start.under_way, len(passes)):
            if finished is None or limits is None:
                finished = pick(run, now, passes[number], on_chunk)
                best, before, now = number, len(finished), nothing
                continue
            told = None
            if on_chunk is not None:
                told = _told_after(on_chunk, finished, best, number, before)
            lost = has_lost(pool, graph, measure, limits, passes[0], finished, z, sizes, mesh)
            other, now = pick(run, now, passes[number], told, lost), nothing
            before += len(other)
            if _is_better(other, finished):
                finished, best = other, number
        assert finished is not None
        rates = passes[best] if limits is not None and limits.of_costs else None
        return dataclasses.replace(_selection(measure, finished, z), rates=rates)


def _told_after(
    on_chunk: Callable[[Progress], None],
    finished: Progress,
    best: int,
    under_way: int,
    before: int,
) -> Callable[[Progress], None]:
    return lambda done: on_chunk(done.after(finished, best, under_way, before))


def _is_better(other: Progress, finished: Progress) -> bool:
    """Whether a pass holds more information than the one before; both at their ends."""
    # Few lengths: a program is compiled for each.
    length = 1 << max(len(finished), len(other), 1).bit_length()
    padded = (np.pad(part.increases, (0, length - len(part))) for part in (finished, other))
    return bool(holds_more(*padded))


def _selection(
    measure: Measure, done: Progress, given: Float[np.ndarray, " labels"] | None = None
) -> Selection:
    held = float(information(measure, done.z))
    before = 0.0 if given is None or not given.any() else float(information(measure, given))
    check_finite(held, before)
    return Selection(done.picks, done.gains, done.increases, done.z, held, before)
