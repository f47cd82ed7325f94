"""What records add to what is given alone: an upper bound on E that is close for few picks.

As gains never rise, each selection S has, with G given,

    E(G ∪ S) ≤ E(G) + Σ_{d∈S} g_d,   g_d = E(G ∪ {d}) − E(G),

and so at most the sum of the N largest g, or of the best g a unit of cost. The bound at some z
(`upper_bound`) is loose there: a few records in many small parts hold more than any few records.

Only some thousand g are computed. No other is above the smallest u of these, where

    g_d ≤ u_d = Σ_{l of d} max(s_d / s, 1)·f_l(s),

f_l(s) is what label l alone adds with a score of s, and s one of few scores: φ is concave, and so
f_l(s) / s never rises.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Bool, Float, Int

from mig_jax.devices import all_gather_parts, over_threads
from mig_jax.measure import (
    EXACT,
    Array,
    Count,
    LabelGraph,
    Measure,
    Pool,
    information,
    prepare,
    propagation_weights,
)
from mig_jax.selection._constraints import UNCONSTRAINED, Constraints
from mig_jax.selection._largest_gains import RECORDS_A_BLOCK, offsets_of, sums_of_records

__all__ = ["FirstGains", "SumOfGains", "first_gains"]

_MOST_COMPUTED = 2048
_SCORES_A_DOUBLING, _SCORES = 4, 40


class SumOfGains(NamedTuple):
    """The bound E(G) + Σ g, and by how much it rises with a further record or unit of cost."""

    bound: float
    record: float
    cost: float


class FirstGains(NamedTuple):
    """g of the records that add most, and what no other record passes."""

    given: float  #: E(G).
    gains: Float[np.ndarray, " computed"]
    costs: Float[np.ndarray, " computed"]
    other_gain: float
    other_rate: float  #: Over cost.
    free: float  #: What all others that cost nothing add together.

    def at_most(self, budget: int | None, most_cost: Count | None) -> SumOfGains:
        """The lower one of the bounds that so many records and so much cost allow."""
        bounds = [SumOfGains(np.inf, 0.0, 0.0)]
        if budget is not None:
            largest = np.sort(np.maximum(self.gains, self.other_gain))[::-1]
            further = largest[budget] if budget < len(largest) else self.other_gain
            rest = max(budget - len(largest), 0) * self.other_gain
            bounds.append(
                SumOfGains(self.given + float(largest[:budget].sum() + rest), float(further), 0.0)
            )
        if most_cost is not None:
            bounds.append(self._within(float(most_cost)))
        return min(bounds)

    def _within(self, most_cost: float) -> SumOfGains:
        """Whatever is worth most for its cost, the last of it in part."""
        fits = self.costs <= most_cost
        gains, costs = self.gains[fits], self.costs[fits]
        is_free = costs == 0
        free = self.free + float(gains[is_free].sum())
        gains, costs = gains[~is_free], costs[~is_free]
        rates = gains / costs
        order = np.argsort(-rates, kind="stable")
        order = order[rates[order] > self.other_rate]
        spent = np.cumsum(costs[order])
        number = int(np.searchsorted(spent, most_cost, side="right"))
        left = most_cost - (float(spent[number - 1]) if number else 0.0)
        rate = float(rates[order[number]]) if number < len(order) else self.other_rate
        held = float(gains[order[:number]].sum()) + (left * rate if left else 0.0)
        return SumOfGains(self.given + free + held, 0.0, rate)


def first_gains(
    pool: Pool,
    graph: LabelGraph,
    measure: Measure,
    given: Float[Array, " labels"],
    constraints: Constraints = UNCONSTRAINED,
    mesh: Mesh | None = None,
) -> FirstGains:
    """The gains of the first pick, of the records that add most, alone or for their cost.

    Args:
      pool: P records, in the dtype of all; if the mesh is of several processes, this one's part.
      graph: K labels.
      measure: score functions and α.
      given: z_G; zeros if nothing is given.
      constraints: what is given, and what records cost.
      mesh: devices of all processes, which find the same.
    """
    parts = _Parts.of(graph, measure, given)
    free = np.ones(pool.num_records, bool)
    if constraints.given is not None:
        free &= ~np.asarray(constraints.given, bool)
    costs = np.ones(pool.num_records)
    most = _sums(pool, parts, mesh)
    ranked = [most]
    if constraints.most_cost is not None:
        costs = np.asarray(constraints.costs, np.float64)
        free &= costs <= float(constraints.most_cost)
        ranked.append(most / np.maximum(costs, 1))
    computed = np.zeros(pool.num_records, bool)
    limits = []
    for keys in ranked:
        largest = _largest(keys[free], _MOST_COMPUTED + 1)
        largest = np.sort(np.concatenate(all_gather_parts(largest, mesh)))[::-1]
        limits.append(float(largest[_MOST_COMPUTED]) if len(largest) > _MOST_COMPUTED else -np.inf)
        computed |= free & (keys > limits[-1])
    others = free & ~computed
    alone = np.sum(all_gather_parts(np.array([most[others & (costs == 0)].sum()]), mesh))
    gains, costs = (
        np.concatenate(all_gather_parts(part, mesh))
        for part in (_gains(pool, parts, computed), costs[computed])
    )
    other_gain, other_rate = (max(limit, 0.0) for limit in (limits[0], limits[-1]))
    held = float(information(measure, given))
    return FirstGains(held, gains, costs, other_gain, other_rate, float(alone))


def _largest(values: np.ndarray, count: int) -> np.ndarray:
    """The `count` largest, or all."""
    return np.partition(values, -count)[-count:] if len(values) > count else values


class _Parts(NamedTuple):
    """The nonzeros of A (Eq. 6), label after label that they come from, and what z_G makes of φ."""

    measure: Measure
    table: Any
    firsts: Int[np.ndarray, " labels"]
    sizes: Int[np.ndarray, " labels"]
    reached: Int[np.ndarray, " nonzeros"]
    shares: Float[np.ndarray, " nonzeros"]

    @classmethod
    def of(cls, graph: LabelGraph, measure: Measure, given: Array) -> _Parts:
        own = np.arange(graph.num_labels)
        sources = np.concatenate([own, np.asarray(graph.sources)])
        order = np.argsort(sources, kind="stable")
        sizes = np.bincount(sources, minlength=graph.num_labels)
        weights = [np.asarray(part) for part in propagation_weights(graph, measure.propagation)]
        table = prepare(EXACT, measure, jnp.asarray(given)).gains
        return cls(
            measure,
            jax.tree_util.tree_map(np.asarray, table),
            np.cumsum(sizes) - sizes,
            sizes,
            np.concatenate([own, np.asarray(graph.targets)])[order],
            np.concatenate(weights)[order],
        )

    def increases(self, labels: np.ndarray, values: np.ndarray) -> np.ndarray:
        """By how much so much more on these labels raises φ of each."""
        rows = jax.tree_util.tree_map(lambda leaf: leaf[labels], self.table)
        return np.asarray(_increases(self.measure.score_function, rows, values))


_increases = jax.jit(EXACT.of_slot)


def _sums(pool: Pool, parts: _Parts, mesh: Mesh | None) -> Float[np.ndarray, " records"]:
    """u of all records."""
    scores = np.asarray(pool.scores)
    top = float(np.max(all_gather_parts(np.max(scores, initial=0, keepdims=True), mesh)))
    if top == 0:
        return np.zeros_like(scores)
    offsets, labels, num_labels = offsets_of(pool), np.asarray(pool.labels), len(parts.sizes)
    chosen = top * np.exp2(-np.arange(_SCORES) / _SCORES_A_DOUBLING)
    sources = np.repeat(np.arange(num_labels), parts.sizes)
    # Each on its own: of all together there are forty times as many numbers as the graph has.
    of_labels = np.concatenate(
        [
            np.bincount(sources, parts.increases(parts.reached, score * parts.shares), num_labels)
            for score in chosen
        ]
    ).astype(np.float64)  # Of nothing NumPy would make whole numbers.
    sums = np.zeros_like(scores)

    def write(first: int) -> None:
        here, ends = slice(first, first + RECORDS_A_BLOCK), offsets[first:][: RECORDS_A_BLOCK + 1]
        steps = -_SCORES_A_DOUBLING * np.log2(np.maximum(scores[here] / top, 1e-30))
        step = np.minimum(np.ceil(steps), _SCORES - 1).astype(np.int64)
        cells = np.repeat(num_labels * step, np.diff(ends)) + labels[ends[0] : ends[-1]]
        added = sums_of_records(of_labels[cells], ends)
        added *= np.maximum(scores[here] / chosen[step], 1)
        sums[here] = np.where(scores[here] > 0, added, 0)

    over_threads(write, range(0, len(scores), RECORDS_A_BLOCK))
    return sums


def _gains(
    pool: Pool, parts: _Parts, computed: Bool[np.ndarray, " records"]
) -> Float[np.ndarray, " computed"]:
    """g of the records that are asked for, in their order."""
    entries = np.flatnonzero(computed[np.asarray(pool.records)])
    records = (np.cumsum(computed) - 1)[np.asarray(pool.records)[entries]]
    labels = np.asarray(pool.labels)[entries]
    sizes = parts.sizes[labels]
    before = np.cumsum(sizes) - sizes
    nonzeros = np.repeat(parts.firsts[labels] - before, sizes) + np.arange(sizes.sum())
    records = np.repeat(records.astype(np.int64), sizes)
    places, cells = np.unique(
        records * len(parts.sizes) + parts.reached[nonzeros], return_inverse=True
    )
    values = parts.shares[nonzeros] * np.asarray(pool.scores)[computed][records]
    values = np.bincount(cells, values, len(places))
    records, labels = np.divmod(places, max(len(parts.sizes), 1))
    gains = np.bincount(records, parts.increases(labels, values), np.count_nonzero(computed))
    return gains.astype(np.float64)  # Of nothing NumPy would make whole numbers.
