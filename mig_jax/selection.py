"""Selection from start to end: lay out the pool, pick in chunks, say what was picked."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from mig_jax.certificate import conditional_gradient_step
from mig_jax.gains import EXACT, GainRule
from mig_jax.greedy import initial_state, lazy_greedy
from mig_jax.information import Measure, information, linear_gains
from mig_jax.label_graph import LabelGraph
from mig_jax.pages import Pages, fill_pages, lay_out_pages
from mig_jax.pool import Pool

__all__ = ["Selection", "lay_out", "select"]

# More than these order the pages no better: 50,000 of a million records need 9.2 pages a pick
# after 6 steps as after all, and 12.4 without any (pages of 512).
_ORDERING_STEPS = 6


@dataclasses.dataclass(frozen=True)
class Selection:
    """The records picked, in order."""

    picks: np.ndarray  # int64 [N]
    gains: np.ndarray  # float32 [N]: each pick's gain at its moment, exact or linear.
    increases: np.ndarray  # float32 [N]: by how much each pick raised E; the gains where exact.
    z: np.ndarray  # float32 [K]: information held by each label in the end.
    information: float  # E of all picks.

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


def select(
    pool: Pool,
    graph: LabelGraph,
    budget: int,
    *,
    measure: Measure | None = None,
    gain: GainRule = EXACT,
    chunk: int = 1024,
    pages: Pages | None = None,
    on_chunk: Callable[[int], None] | None = None,
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
      on_chunk: called with the number of picks so far.

    Raises:
      ValueError: where the budget is negative or larger than the pool.

    >>> from mig_jax import label_graph_from_edges, pool_from_label_lists
    >>> pool = pool_from_label_lists([[0], [0], [1]], [1.0, 0.9, 0.8])
    >>> select(pool, label_graph_from_edges(2), 2).picks.tolist()
    [0, 2]
    """
    if not 0 <= budget <= pool.num_records:
        raise ValueError(f"the budget must be in 0 to {pool.num_records}, got {budget}")
    measure = Measure() if measure is None else measure
    pages = lay_out(pool, graph, measure, budget) if pages is None else pages
    state = initial_state(gain, measure, pages, jnp.zeros(graph.num_labels))
    picks = [np.zeros(0, np.int64)]
    gains = [np.zeros(0, np.float32)]
    increases = [np.zeros(0, np.float32)]
    while (done := int(state.count)) < budget:
        state, found = lazy_greedy(gain, measure, pages, state, jnp.int32(budget), chunk)
        new = int(state.count) - done
        picks.append(np.asarray(found.records[:new], np.int64))
        gains.append(np.asarray(found.gains[:new]))
        increases.append(np.asarray(found.increases[:new]))
        if not new:
            raise RuntimeError(f"selection stopped at {done} of {budget} picks")
        if on_chunk is not None:
            on_chunk(int(state.count))
    z = np.asarray(state.z)
    return Selection(
        np.concatenate(picks),
        np.concatenate(gains),
        np.concatenate(increases),
        z,
        float(information(measure, z)),
    )
