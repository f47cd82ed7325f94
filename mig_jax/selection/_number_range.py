"""Which problems float32 can hold, and float64 for the others.

Scores near the largest float32, tiny ones, strong propagation and steep or flat score functions
lead to sums, quotients or squares that are infinite or 0 in float32: gains would then be equal,
and picks decided by their index. Such a problem is computed in float64 from the start. What fits
float32 stays there, to the bit.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from mig_jax.devices import all_reduce_max, part_sizes
from mig_jax.errors import InputError
from mig_jax.measure import Array, LabelGraph, Measure, Pool, ScoreFunction

__all__ = ["check_finite", "in_range", "needs_float64", "widened"]

# Scores, sums of scores and parameters in this range need no closer look: squares and quotients
# of any two are finite, and so is a score by 1e-30, the smallest base of a power.
_SMALLEST, _LARGEST_SCORE, _LARGEST = 1e-7, 1e6, 1e12
# A gain of fewer digits than this in float32 is taken to float64.
_TOLERANCE = 1e-2
# Weakest share of its own information that a label keeps: 1 / (1 + α·Σ w).
_STRONGEST_PROPAGATION = 1e18


@contextlib.contextmanager
def in_range(
    pool: Pool, graph: LabelGraph, measure: Measure, mesh: Mesh | None = None
) -> Iterator[tuple[Pool, LabelGraph, Measure]]:
    """The same problem, in float64 if float32 cannot hold it; within, JAX computes so.

    Args:
      pool: P records; if the mesh is of several processes, this one's part.
      graph: K labels.
      measure: score functions and α; leaves may have leading axes, for several at once.
      mesh: devices of all processes, which decide alike.
    """
    if not needs_float64(pool, graph, measure, mesh):
        yield pool, graph, measure
        return
    with jax.enable_x64(True):
        yield widened((pool, graph, measure))


def widened(tree: Any) -> Any:
    """The same pytree with float64 leaves where they are floats, on the host."""

    def widen(leaf: Any) -> np.ndarray:
        leaf = np.asarray(leaf)
        return leaf.astype(np.float64) if np.issubdtype(leaf.dtype, np.floating) else leaf

    return jax.tree_util.tree_map(widen, tree)


def needs_float64(
    pool: Pool, graph: LabelGraph, measure: Measure, mesh: Mesh | None = None
) -> bool:
    """Whether float32 loses what decides the picks; False of what is traced or is float64."""
    leaves = jax.tree_util.tree_leaves((pool, graph, measure))
    if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
        return False
    if jnp.result_type(float) == np.float64:  # As the caller wants it.
        return False
    scores = np.asarray(pool.scores)
    positive = scores[scores > 0]
    smallest, largest = positive.min(initial=np.inf), positive.max(initial=0.0)
    records = int(part_sizes(pool, mesh).sum())
    here = not _fits(graph, measure, float(smallest), float(largest), records)
    return bool(all_reduce_max(int(here), mesh))


def check_finite(*numbers: Any) -> None:
    """Raises InputError if one of the numbers, or of the arrays of them, is not finite."""
    if not all(np.isfinite(np.asarray(number)).all() for number in numbers):
        raise InputError(
            "the information of the selection is not a finite number: scores or parameters of "
            "the measure are too large or too small to compute with; expected scores near 1 "
            "(divide all by one number)"
        )


def _fits(
    graph: LabelGraph, measure: Measure, smallest: float, largest: float, records: int
) -> bool:
    if not largest:  # Nothing gains anything.
        return True
    # Like A, which is 1 / (1 + α·Σ w) on its diagonal: the share that a label keeps.
    similar = np.bincount(
        np.asarray(graph.targets), np.asarray(graph.similarities, np.float64), graph.num_labels
    ).max(initial=0.0)
    propagation = float(np.max(np.asarray(measure.propagation, np.float64)))
    kept = 1 / (1 + propagation * similar)
    if propagation > _STRONGEST_PROPAGATION or kept < 1 / _STRONGEST_PROPAGATION:
        return False
    parameters = [
        np.abs(np.asarray(leaf, np.float64).ravel())
        for leaf in jax.tree_util.tree_leaves(measure.score_function)
    ]
    sizes = np.concatenate([*parameters, [1.0]])
    sizes = sizes[sizes > 0]
    # A sum of scores is no more than that.
    total = largest * max(records, 1)
    if (
        smallest * kept >= _SMALLEST
        and largest <= _LARGEST_SCORE
        and total <= _LARGEST
        and sizes.min() >= _SMALLEST
        and sizes.max() <= _LARGEST
    ):
        return True
    ends = smallest * kept, largest, total, max(graph.num_labels, 1)
    rough, rough_later = _probe(measure.score_function, *ends)
    with jax.enable_x64(True):
        fine, _ = _probe(widened(measure.score_function), *ends)
    if not (np.isfinite(rough).all() and np.isfinite(rough_later).all()):
        return False
    return not np.any(np.abs(rough - fine) > _TOLERANCE * fine)


def _probe(
    function: ScoreFunction, smallest: float, largest: float, total: float, labels: int
) -> tuple[np.ndarray, np.ndarray]:
    """What selection computes at the ends of the range, in JAX's present precision.

    First what must have digits: increases and E from nothing. Then what must be finite: slopes,
    and increases where much is held.
    """
    kind = jnp.result_type(float)
    leaves = jax.tree_util.tree_leaves(function)
    shape = np.broadcast_shapes(*(np.shape(leaf) for leaf in leaves))

    def column(number: float) -> jax.Array:
        with np.errstate(over="ignore"):  # What is too large shall be infinite.
            return jnp.full(shape, np.asarray(number).astype(kind))

    def gain(held: float, step: float) -> Array:
        return function.increase(function.prepare(column(held)), column(step))

    exact = [
        gain(0, smallest),
        gain(0, largest) * labels,
        function.value(column(total)) * labels,
    ]
    finite = [
        gain(total, largest),
        function.derivative(column(0)) * column(largest) * labels,
        function.derivative(column(total)) * column(largest),
    ]
    # A slope of 0 is as bad as an infinite one: by it a record is chosen or not.
    slope = function.derivative(column(0))
    finite.append(jnp.where(slope > 0, slope, jnp.inf))
    flat = [np.concatenate([np.ravel(part) for part in parts]) for parts in (exact, finite)]
    return flat[0].astype(np.float64), flat[1]
