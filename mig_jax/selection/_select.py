"""Selection from start to end: lay out the pool, pick in chunks, say what was picked."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float, Int

from mig_jax.devices import (
    REPLICATED,
    SHARDED,
    all_reduce_max,
    over_shards,
    own_shards,
    part_of_picks,
    part_sizes,
    place_shards,
    shard_pool,
    unshard_records,
)
from mig_jax.measure import (
    EXACT,
    Array,
    Count,
    GainRule,
    LabelGraph,
    Measure,
    Pool,
    information,
    linear_gains,
)
from mig_jax.selection._certificate import conditional_gradient_step
from mig_jax.selection._constraints import UNCONSTRAINED, Constraints
from mig_jax.selection._greedy import initial_state, lazy_greedy
from mig_jax.selection._number_range import check_finite, in_range
from mig_jax.selection._page_layout import AREA, EMPTY, PageLayout, deal_pages, lay_out_pages
from mig_jax.selection._pages import Pages, fill_pages
from mig_jax.selection._selection_state import Picks, SelectionState

__all__ = ["Progress", "Selection", "lay_out", "page_priority", "resumed_state", "select"]

# More than these order the pages no better: 50,000 of a million records need 9.2 pages a pick
# after 6 steps as after all, and 12.4 without any (pages of 512).
_ORDERING_STEPS = 6


@dataclasses.dataclass(frozen=True, eq=False)
class Selection:
    """The records picked, in order."""

    picks: Int[np.ndarray, " picks"]
    gains: Float[np.ndarray, " picks"]  #: Each pick's gain at its moment, exact or linear.
    increases: Float[np.ndarray, " picks"]  #: By how much each pick raised E; gains if exact.
    #: Information held by each label in the end; [0.] without labels.
    z: Float[np.ndarray, " labels"]
    information: float  #: E of all picks.

    def __len__(self) -> int:
        return len(self.picks)


@dataclasses.dataclass(frozen=True, eq=False)
class Progress:
    """A selection under way: all that is needed to go on as if it had never stopped.

    Nothing in it depends on pages or devices: they only decide where records stand.
    """

    picks: Int[np.ndarray, " picks"]  #: The records picked so far, in order.
    gains: Float[np.ndarray, " picks"]  #: As in `Selection`.
    increases: Float[np.ndarray, " picks"]  #: As in `Selection`.
    z: Float[np.ndarray, " labels"]  #: Information held by each label.
    #: The leaves of the gain rule's table, a number a label. Not computed from z again: compiled
    #: into the scan, `prepare` rounds some of them in another way than outside it.
    table: tuple[Float[np.ndarray, " labels"], ...]

    def __len__(self) -> int:
        return len(self.picks)

    @classmethod
    def none(cls, num_labels: int) -> Progress:
        """No picks yet, and so nothing held by any label, nor a table."""
        nothing = np.zeros(0, np.float32)
        z = np.zeros(max(num_labels, 1), np.float32)  # Gathers need a row for no label too.
        return cls(np.zeros(0, np.int64), nothing, nothing, z, ())


def lay_out(
    pool: Pool,
    graph: LabelGraph,
    measure: Measure,
    budget: int,
    *,
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
      budget: N.
      area: slots a page has, as in `lay_out_pages`.
      mesh: devices to deal the pages to, from `pool_mesh`; one device by default.
    """
    with in_range(pool, graph, measure, mesh) as (pool, graph, measure):
        priority = page_priority(pool, graph, measure, budget, mesh)
        layout = lay_out_pages(pool, graph, priority=priority, area=area)
        if mesh is None:
            return fill_pages(layout, pool, graph, measure)
        widest = all_reduce_max(layout.area, mesh)
        if layout.area < widest:  # Another part has a longer row.
            layout = lay_out_pages(pool, graph, priority=priority, area=widest)
        return _dealt(layout, pool, graph, measure, mesh)


def page_priority(
    pool: Pool, graph: LabelGraph, measure: Measure, budget: int, mesh: Mesh | None = None
) -> Float[np.ndarray, " records"]:
    """What `lay_out` orders the records by: linear gains near the relaxed optimum."""
    z = np.zeros(graph.num_labels, np.result_type(pool.scores, np.float32))
    records = pool.num_records
    if mesh is not None:
        pool = shard_pool(pool, mesh)
    for _ in range(_ORDERING_STEPS):
        z = conditional_gradient_step(pool, graph, measure, z, np.int32(budget), mesh).z
    gains = _linear_gains(pool, graph, measure, z, mesh)
    return np.asarray(gains) if mesh is None else unshard_records(gains, records, mesh)


@partial(jax.jit, static_argnames="mesh")
def _linear_gains(
    pool: Pool,
    graph: LabelGraph,
    measure: Measure,
    z: Float[Array, " labels"],
    mesh: Mesh | None,
) -> Float[jax.Array, " records"]:
    gains = over_shards(linear_gains, mesh, (SHARDED, REPLICATED, REPLICATED, REPLICATED), SHARDED)
    return gains(pool, graph, measure, z)


def _dealt(
    layout: PageLayout, pool: Pool, graph: LabelGraph, measure: Measure, mesh: Mesh
) -> Pages:
    """Pages on the devices of the mesh, each filled where it stays."""
    devices = own_shards(mesh)
    pages_a_shard = all_reduce_max(-(-layout.num_pages // len(devices)), mesh)
    shards = []
    for own, device in zip(deal_pages(layout, len(devices), pages_a_shard), devices, strict=True):
        with jax.default_device(device):
            shards.append(fill_pages(own, pool, graph, measure))
    return jax.tree_util.tree_map(lambda *blocks: place_shards(list(blocks), mesh), *shards)


def resumed_state(fresh: SelectionState, progress: Progress) -> SelectionState:
    """The state after the picks of `progress`, from an initial state for its z and its pages.

    Bounds are not kept: the first pick reads every page and finds them again. Before the first
    pick the state is the initial one.

    Raises:
      ValueError: if `progress` is of another number of labels or kind of table.
    """
    if not len(progress):
        return fresh
    leaves, structure = jax.tree_util.tree_flatten(fresh.table)
    shapes = [np.shape(leaf) for leaf in leaves]
    if [leaf.shape for leaf in progress.table] != shapes:
        found = [leaf.shape for leaf in progress.table]
        raise ValueError(f"the table to resume from has shapes {found}, expected {shapes}")
    return dataclasses.replace(
        fresh,
        table=jax.tree_util.tree_unflatten(structure, progress.table),
        count=np.array(len(progress), np.int32),
    )


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
) -> Selection:
    """Picks `budget` records greedily, each the one with the largest marginal gain.

    In float32; if that cannot hold the scores, their sums or what the measure makes of them,
    all of it is in float64, gains and z of the result too.

    Args:
      pool: P records; if the mesh is of several processes, the part of this one.
      graph: K labels, the same in all processes, as is every other argument.
      budget: N, from 0 to P.
      measure: score functions and α; the default is the paper's φ and α = 1.
      gain: `EXACT` (Eq. 9) or `LINEAR` (Eq. 10–11, what the paper's Algorithm 1 maximises).
      chunk: picks between two calls of `on_chunk`; never changes what is picked.
      pages: what `lay_out` gives for this mesh, where it is at hand already.
      mesh: devices to shard the pool over, from `pool_mesh`; one device by default. Never
        changes what is picked.
      resume: where to go on, as `on_chunk` was given it for the same pool, graph, measure
        and gain; the result is that of a selection never stopped, bit for bit.
      on_chunk: called with the picks so far and what is needed to go on from them.

    Raises:
      ValueError: if the budget is negative or larger than the pool, or smaller than
        what is picked already.
      AssertionError: if `resume` is of another number of labels.
      InputError: if what records gain is not finite in float64.

    >>> from mig_jax import label_graph_from_edges, pool_from_label_lists
    >>> pool = pool_from_label_lists([[0], [0], [1]], [1.0, 0.9, 0.8])
    >>> select(pool, label_graph_from_edges(2), 2).picks.tolist()
    [0, 2]
    """
    sizes = part_sizes(pool, mesh)
    if budget is None or not constraints.is_empty:
        raise NotImplementedError
    if not 0 <= budget <= sizes.sum():
        raise ValueError(f"the budget must be in 0 to {sizes.sum()}, got {budget}")
    measure = Measure() if measure is None else measure
    start = Progress.none(graph.num_labels) if resume is None else resume
    message = "resume: expected a z with a number for each label of the graph"
    chex.assert_shape(start.z, (max(graph.num_labels, 1),), custom_message=message)
    if len(start) > budget:
        raise ValueError(
            f"{len(start)} records are picked already, more than the budget of {budget}"
        )
    with in_range(pool, graph, measure, mesh) as (pool, graph, measure):
        if len(start) == budget:
            return _selection(measure, start)
        if pages is None:
            pages = lay_out(pool, graph, measure, budget, mesh=mesh)
        return _picked(pages, measure, gain, budget, sizes, start, chunk, mesh, on_chunk)


def _picked(
    pages: Pages,
    measure: Measure,
    gain: GainRule,
    budget: int,
    sizes: Int[np.ndarray, " parts"],
    start: Progress,
    chunk: int,
    mesh: Mesh | None,
    on_chunk: Callable[[Progress], None] | None,
) -> Selection:
    """Goes on from `start` to the budget, chunk by chunk."""
    done = len(start)
    pages = _without(pages, part_of_picks(start.picks, sizes, mesh), mesh)
    z = np.asarray(start.z).astype(pages.values.dtype, copy=False)
    state = resumed_state(initial_state(gain, measure, pages, z, mesh), start)
    _check_bounds(state)
    first_of_part = np.cumsum(sizes) - sizes
    picks = np.zeros(budget, np.int64)
    gains, increases = np.zeros(budget, state.z.dtype), np.zeros(budget, state.z.dtype)
    picks[:done], gains[:done], increases[:done] = start.picks, start.gains, start.increases

    def progress() -> Progress:
        # Views: what is picked never changes, so nothing is copied at every chunk.
        return Progress(
            picks[:done],
            gains[:done],
            increases[:done],
            np.asarray(state.z),
            tuple(map(np.asarray, jax.tree_util.tree_leaves(state.table))),
        )

    while done < budget:
        state, found = next_chunk(gain, measure, pages, state, np.int32(budget), chunk, mesh)
        before, done = done, int(state.count)
        if done == before:
            raise RuntimeError(f"selection stopped at {done} of {budget} picks")
        picks[before:done] = (first_of_part[np.asarray(found.parts)] + np.asarray(found.records))[
            : done - before
        ]
        gains[before:done] = np.asarray(found.gains)[: done - before]
        increases[before:done] = np.asarray(found.increases)[: done - before]
        check_finite(state.z, gains[before:done], increases[before:done])
        _check_bounds(state)
        if on_chunk is not None:
            on_chunk(progress())
    return _selection(measure, progress())


@partial(jax.jit, static_argnames=("gain", "chunk", "mesh"), donate_argnames="state")
def next_chunk(
    gain: GainRule,
    measure: Measure,
    pages: Pages,
    state: SelectionState,
    budget: Count,
    chunk: int,
    mesh: Mesh | None,
) -> tuple[SelectionState, Picks]:
    """`lazy_greedy` that takes over the state it is given, which cannot be used again.

    Its arrays are updated where they stand: copying the records of all pages at every chunk
    took longer than the picks, with ten million of them.
    """
    return lazy_greedy(gain, measure, pages, state, budget, chunk, mesh)


def _without(pages: Pages, picks: Int[np.ndarray, " picks"], mesh: Mesh | None) -> Pages:
    """The pages less the records picked, which are named within this part of the pool."""
    if not len(picks):
        return pages

    def rest(records: jax.Array) -> np.ndarray:
        return np.where(np.isin(np.asarray(records), picks), EMPTY, np.asarray(records))

    if mesh is None:
        return dataclasses.replace(pages, records=jnp.asarray(rest(pages.records)))
    shards = {shard.device: shard.data for shard in pages.records.addressable_shards}
    blocks = [rest(shards[device]) for device in own_shards(mesh)]
    return dataclasses.replace(pages, records=place_shards(blocks, mesh))


def _check_bounds(state: SelectionState) -> None:
    """Raises InputError if what a record gains is not a number: the search passes over it."""
    check_finite(*(shard.data for shard in state.tops.addressable_shards))


def _selection(measure: Measure, done: Progress) -> Selection:
    held = float(information(measure, done.z))
    check_finite(held)
    return Selection(done.picks, done.gains, done.increases, done.z, held)
