"""E after each pick, of any records in any order."""

from __future__ import annotations

import operator
from functools import partial

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from mig_jax.measure import (
    EXACT,
    Array,
    Indices,
    LabelGraph,
    Measure,
    Pool,
    ScoreFunction,
    check_measure,
    check_pool,
    information,
    propagation_weights,
    whole_picks,
)
from mig_jax.selection._constraints import UNCONSTRAINED, Constraints
from mig_jax.selection._given import given_information
from mig_jax.selection._number_range import check_finite, widened
from mig_jax.selection._propagated_rows import Neighbourhoods, propagated_rows
from mig_jax.selection._random_picks import random_choices
from mig_jax.selection._trajectories import of_records

__all__ = ["information_curve", "random_curve"]

# So many picks are spread over the graph at once, and so many of their parts computed.
_PICKS, _PARTS = 1 << 13, 1 << 14


def information_curve(
    pool: Pool,
    graph: LabelGraph,
    measure: Measure,
    picks: Indices,
    *,
    given: Bool[Array, " records"] | None = None,
) -> Float[np.ndarray, " picks"]:
    """E after the first 1, 2, …, N of the picks, in the order that they are in: float64 [N].

    On the host and in float64, whatever chose the picks. Space is that of some thousand picks,
    and time that of N: 50,000 of a million records take less than a second.

    Args:
      pool: P records, all of them.
      graph: K labels.
      measure: score functions and α.
      picks: records, each at most once.
      given: of the P records, those that are there before the first pick; none by default.

    Raises:
      ValueError: if `picks` names a record twice, one that is given or one that the pool does not
        have, or the pool has a label that the graph has not.
      InputError: if E is not a finite number.

    >>> from mig_jax import label_graph_from_edges, pool_from_label_lists
    >>> pool = pool_from_label_lists([[0], [0], [1]], [1.0, 1.0, 2.0])
    >>> curve = information_curve(pool, label_graph_from_edges(2), Measure(), [0, 1, 2])
    >>> curve.round(2).tolist()
    [1.0, 1.74, 3.48]
    """
    check_pool(pool, graph)
    check_measure(measure, graph)
    chosen = whole_picks(picks, pool.num_records)
    _check_picks(chosen, given)
    near = Neighbourhoods.of(graph)
    with jax.enable_x64(True):
        pool, graph, measure = widened((pool, graph, measure))
        weights = np.concatenate(propagation_weights(graph, measure.propagation))
        z, held = np.zeros(graph.num_labels), 0.0
        if given is not None and np.any(given):
            z = given_information(pool, graph, measure, given)[: graph.num_labels].copy()
            held = float(information(measure, z))
        raised = np.zeros(len(chosen))
        for start in range(0, len(chosen), _PICKS):
            few = of_records(pool, chosen[start : start + _PICKS])
            owners, labels, units = propagated_rows(few, graph, near).nonzeros(weights)
            steps = units * few.scores[owners]
            before = _accumulated(z, labels, steps)
            parts = _increases(measure.score_function, labels, before, steps)
            raised[start : start + _PICKS] = np.bincount(owners, parts, few.num_records)
    curve = held + np.cumsum(raised)
    check_finite(curve)
    return curve


def random_curve(
    pool: Pool,
    graph: LabelGraph,
    measure: Measure,
    budget: int | None,
    *,
    constraints: Constraints = UNCONSTRAINED,
) -> Float[np.ndarray, " picks"]:
    """E after each pick of a random choice within the limits, on average: float64.

    The choices are those of `random_choice`. If costs are limited, they differ in length: it is
    told up to the end of the shortest.

    Raises:
      ValueError: if the pool has a label that the graph has not, nothing keeps to the limits, or
        the budget is not in 0 to P.
      InputError: if E is not a finite number.

    >>> from mig_jax import label_graph_from_edges, pool_from_label_lists
    >>> pool = pool_from_label_lists([[0], [1]], [1.0, 1.0])
    >>> random_curve(pool, label_graph_from_edges(2), Measure(), 2).round(2).tolist()
    [1.0, 2.0]
    """
    if budget is not None and not 0 <= operator.index(budget) <= pool.num_records:
        raise ValueError(f"budget must be in 0 to {pool.num_records}, got {budget}")
    curves = [
        information_curve(pool, graph, measure, picks, given=constraints.given)
        for picks in random_choices(pool.num_records, budget, constraints)
    ]
    shortest = min(map(len, curves))
    return np.mean([curve[:shortest] for curve in curves], axis=0)


def _check_picks(picks: Int[np.ndarray, " picks"], given: Bool[Array, " records"] | None) -> None:
    if len(np.unique(picks)) < len(picks):
        raise ValueError("picks name a record twice")
    if given is not None and np.asarray(given)[picks].any():
        raise ValueError("picks name a record that is given")


def _accumulated(
    z: Float[np.ndarray, " labels"],
    labels: Int[np.ndarray, " nonzeros"],
    steps: Float[np.ndarray, " nonzeros"],
) -> Float[np.ndarray, " nonzeros"]:
    """What each part's label held before it; z is brought to what labels hold after all."""
    order = np.argsort(labels, kind="stable")
    touched, firsts, counts = np.unique(labels[order], return_index=True, return_counts=True)
    # For each label what it holds, and then its steps; their sums are what it held at each.
    places = np.arange(len(order)) + np.repeat(np.arange(len(touched)), counts)
    sums = np.empty(len(order) + len(touched))
    starts = firsts + np.arange(len(touched))
    sums[starts], sums[places + 1] = z[touched], steps[order]
    # Label by label: a sum over all of them would lose the digits of those that hold little.
    for start, count in zip(starts.tolist(), counts.tolist(), strict=True):
        here = sums[start : start + count + 1]
        np.add.accumulate(here, out=here)
    z[touched] = sums[starts + counts]
    before = np.empty(len(order))
    before[order] = sums[places]
    return before


@jax.jit
def _block_increases(
    function: ScoreFunction, labels: jax.Array, before: jax.Array, steps: jax.Array
) -> Array:
    of_labels = function.at(labels)
    return EXACT.of_slot(of_labels, EXACT.prepare(of_labels, before), steps)


def _increases(
    function: ScoreFunction,
    labels: Int[np.ndarray, " nonzeros"],
    before: Float[np.ndarray, " nonzeros"],
    steps: Float[np.ndarray, " nonzeros"],
) -> Float[np.ndarray, " nonzeros"]:
    """φ(z + step) − φ(z) of each part, block by block: one program serves all."""
    found = np.empty(len(steps))
    for start in range(0, len(steps), _PARTS):
        here = slice(start, min(start + _PARTS, len(steps)))
        pad = partial(np.pad, pad_width=(0, start + _PARTS - here.stop))
        block = _block_increases(function, *(pad(one[here]) for one in (labels, before, steps)))
        found[here] = np.asarray(block)[: here.stop - start]
    return np.maximum(found, 0)
