"""Selection from start to end: lay out the pool, pick in chunks, say what was picked."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from mig_jax.certificate import conditional_gradient_step
from mig_jax.gains import EXACT, GainRule
from mig_jax.greedy import Picks, SelectionState, initial_state, lazy_greedy
from mig_jax.information import Measure, information, linear_gains
from mig_jax.label_graph import LabelGraph
from mig_jax.pages import EMPTY, Pages, fill_pages, lay_out_pages
from mig_jax.pool import Pool
from mig_jax.sharding import shard_pages, sharded_initial_state, sharded_lazy_greedy

__all__ = ["Progress", "Selection", "lay_out", "resumed_state", "select"]

# More than these order the pages no better: 50,000 of a million records need 9.2 pages a pick
# after 6 steps as after all, and 12.4 without any (pages of 512).
_ORDERING_STEPS = 6


@dataclasses.dataclass(frozen=True)
class Selection:
    """The records picked, in order."""

    picks: np.ndarray  # int64 [N]
    gains: np.ndarray  # float32 [N]: each pick's gain at its moment, exact or linear.
    increases: np.ndarray  # float32 [N]: by how much each pick raised E; the gains where exact.
    z: np.ndarray  # float32 [K]: information held by each label in the end; [0.] without labels.
    information: float  # E of all picks.

    def __len__(self) -> int:
        return len(self.picks)


@dataclasses.dataclass(frozen=True)
class Progress:
    """A selection under way: all that is needed to go on as if it had never stopped.

    Nothing in it depends on pages or devices: they only decide where records stand.
    """

    picks: np.ndarray  # int64 [n]: the records picked so far, in order.
    gains: np.ndarray  # float32 [n], as in `Selection`.
    increases: np.ndarray  # float32 [n], as in `Selection`.
    z: np.ndarray  # float32 [K]: information held by each label.
    # The leaves of the gain rule's table, float32 [K] each. Not computed from z again: compiled
    # into the scan, `prepare` rounds some of them in another way than outside it.
    table: tuple[np.ndarray, ...]

    def __len__(self) -> int:
        return len(self.picks)


def lay_out(
    pool: Pool, graph: LabelGraph, measure: Measure, budget: int, *, area: int = 1024
) -> Pages:
    """The propagated pool in pages; records that `budget` picks will likely choose come first.

    Likely means a large gain at the information that a few steps towards the
    relaxed optimum lead to. The order never changes what is picked, only how
    many pages are read for it.
    """
    z = jnp.zeros(graph.num_labels)
    for _ in range(_ORDERING_STEPS):
        _, _, z = conditional_gradient_step(pool, graph, measure, z, jnp.int32(budget))
    priority = jax.jit(linear_gains)(pool, graph, measure, z)
    layout = lay_out_pages(pool, graph, priority=priority, area=area)
    return fill_pages(layout, pool, graph, measure)


def resumed_state(fresh: SelectionState, progress: Progress) -> SelectionState:
    """The state after the picks of `progress`, from an initial state for its z and its pages.

    Bounds are not kept: the first pick reads every page and finds them again.

    Raises:
      ValueError: where `progress` is of another number of labels or kind of table.
    """
    leaves, structure = jax.tree_util.tree_flatten(fresh.table)
    shapes = [np.shape(leaf) for leaf in leaves]
    if [leaf.shape for leaf in progress.table] != shapes:
        found = [leaf.shape for leaf in progress.table]
        raise ValueError(f"the table to resume from has shapes {found}, expected {shapes}")
    return dataclasses.replace(
        fresh,
        table=jax.tree_util.tree_unflatten(structure, map(jnp.asarray, progress.table)),
        count=jnp.int32(len(progress)),
    )


def select(
    pool: Pool,
    graph: LabelGraph,
    budget: int,
    *,
    measure: Measure | None = None,
    gain: GainRule = EXACT,
    chunk: int = 1024,
    pages: Pages | None = None,
    mesh: Mesh | None = None,
    resume: Progress | None = None,
    on_chunk: Callable[[Progress], None] | None = None,
) -> Selection:
    """Picks `budget` records greedily, each the one with the largest marginal gain.

    Args:
      pool: P records.
      graph: K labels.
      budget: N, from 0 to P.
      measure: score functions and α; the default is the paper's φ and α = 1.
      gain: `EXACT` (Eq. 9) or `LINEAR` (Eq. 10–11, what the paper's Algorithm 1 maximises).
      chunk: picks between two calls of `on_chunk`; never changes what is picked.
      pages: what `lay_out` gives, where it is at hand already.
      mesh: devices to shard the pool over, from `pool_mesh`; one device by default. Never
        changes what is picked.
      resume: where to go on, as `on_chunk` was given it for the same pool, graph, measure
        and gain; the result is that of a selection never stopped, bit for bit.
      on_chunk: called with the picks so far and what is needed to go on from them.

    Raises:
      ValueError: where the budget is negative or larger than the pool, or smaller than
        what is picked already.

    >>> from mig_jax import label_graph_from_edges, pool_from_label_lists
    >>> pool = pool_from_label_lists([[0], [0], [1]], [1.0, 0.9, 0.8])
    >>> select(pool, label_graph_from_edges(2), 2).picks.tolist()
    [0, 2]
    """
    if not 0 <= budget <= pool.num_records:
        raise ValueError(f"the budget must be in 0 to {pool.num_records}, got {budget}")
    measure = Measure() if measure is None else measure
    done = 0 if resume is None else len(resume)
    if done > budget:
        raise ValueError(f"{done} records are picked already, more than the budget of {budget}")
    if resume is not None and done == budget:
        return _selection(measure, resume)
    pages = lay_out(pool, graph, measure, budget) if pages is None else pages
    z = jnp.zeros(max(graph.num_labels, 1))  # Gathers need a row, though there be no label.
    if resume is not None:
        z = jnp.asarray(resume.z)
        pages = _without(pages, resume.picks)
    start: Callable[..., SelectionState] = initial_state
    scan: Callable[..., tuple[SelectionState, Picks]] = lazy_greedy
    if mesh is not None:
        pages = shard_pages(pages, mesh)
        start = partial(sharded_initial_state, mesh=mesh)
        scan = partial(sharded_lazy_greedy, mesh=mesh)
    state = start(gain, measure, pages, z)
    if resume is not None:
        state = resumed_state(state, resume)
    picks = np.zeros(budget, np.int64)
    gains, increases = np.zeros(budget, state.z.dtype), np.zeros(budget, state.z.dtype)
    if resume is not None:
        picks[:done], gains[:done], increases[:done] = resume.picks, resume.gains, resume.increases

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
        state, found = scan(gain, measure, pages, state, jnp.int32(budget), chunk)
        before, done = done, int(state.count)
        if done == before:
            raise RuntimeError(f"selection stopped at {done} of {budget} picks")
        picks[before:done] = np.asarray(found.records)[: done - before]
        gains[before:done] = np.asarray(found.gains)[: done - before]
        increases[before:done] = np.asarray(found.increases)[: done - before]
        if on_chunk is not None:
            on_chunk(progress())
    return _selection(measure, progress())


def _without(pages: Pages, picks: np.ndarray) -> Pages:
    records = np.asarray(pages.records)
    return dataclasses.replace(pages, records=np.where(np.isin(records, picks), EMPTY, records))


def _selection(measure: Measure, done: Progress) -> Selection:
    return Selection(
        done.picks, done.gains, done.increases, done.z, float(information(measure, done.z))
    )
