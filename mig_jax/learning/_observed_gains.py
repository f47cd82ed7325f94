"""What an objective says that records are worth at some selections, and what a measure says.

At a selection w, an objective L tells what a little more of each record would be worth,
g_d = −∂L/∂w_d. By a measure it is φ'(z)·ê_d (Eq. 10 of arXiv 2504.13835).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Float

from mig_jax.learning._parameters import Parameterisation, Params, cut, scored
from mig_jax.learning.objectives import Objective, Outcome
from mig_jax.measure import (
    Array,
    LabelGraph,
    Measure,
    Pool,
    amounts_of_picks,
    as_pytree,
    label_information,
    linear_gains,
)
from mig_jax.relaxation import LEAST_INFORMATION, RelaxedSelection
from mig_jax.selection import select

__all__ = [
    "ObservedGains",
    "gains_of_objective",
    "gains_of_parameters",
    "greedy_picks",
    "hardened",
    "matching_problem",
    "observe",
    "outcome_of_amounts",
    "typical_scale",
]

_EVEN_SHARE = 0.2  # Of each selection, spread over the pool.
_REST = 0.1  # What records count that nobody would pick.
_PROBES = 8  # Random signs, by which a diagonal is estimated.
_Map = Callable[[jax.Array], jax.Array]


@as_pytree
class ObservedGains:
    """An objective's gains at S selections."""

    amounts: Float[Array, "selections records"]
    gains: Float[Array, "selections records"]
    counts: Float[Array, "selections records"]  #: By which records count.

    def followed_by(self, others: ObservedGains, most: int) -> ObservedGains:
        """The last of these and the others, so many at most."""
        return jax.tree_util.tree_map(
            lambda old, new: jnp.concatenate([old, new])[-most:], self, others
        )

    def residuals(self, predicted: jax.Array, scale: jax.Array) -> jax.Array:
        """By how much gains are missed, relative to their size: [S, P], whose squares' sum is a
        mean over selections and records."""
        wanted = scale * self.gains
        size = jnp.abs(wanted) + jnp.mean(jnp.abs(wanted), axis=1, keepdims=True)
        size = jnp.maximum(size, jnp.finfo(size.dtype).tiny)  # Nothing may be worth anything.
        return jnp.sqrt(self.counts / jnp.sum(self.counts)) / size * (predicted - wanted)


@partial(jax.jit, static_argnames="held_out")
def gains_of_objective(
    objective: Objective,
    pool: Pool,
    graph: LabelGraph,
    amounts: Float[Array, " records"],
    *,
    held_out: bool = False,
) -> Float[Array, " records"]:
    """−∂L/∂w at amounts w: by how much a little more of each record lowers the loss.

    Args:
      objective: of what is selected, and of no more of a measure: `needs_selection`.
      pool: P records.
      graph: K labels.
      amounts: float [P].
      held_out: whether of the held-out loss, and not of the fitted one.
    """

    def loss(amounts: jax.Array) -> jax.Array:
        losses = objective.losses(outcome_of_amounts(pool, graph, Measure(), amounts))
        return losses[int(held_out)]

    return -jax.grad(loss)(amounts)


def outcome_of_amounts(
    pool: Pool, graph: LabelGraph, measure: Measure, amounts: Float[Array, " records"]
) -> Outcome:
    """What an objective judges of a selection that is there."""
    nothing = jnp.zeros(())
    z = label_information(pool, graph, measure, amounts)
    relaxed = RelaxedSelection(amounts, z, nothing, nothing, jnp.int32(0))
    return Outcome(pool, graph, measure, relaxed)


def greedy_picks(pool: Pool, graph: LabelGraph, measure: Measure, budget: int) -> np.ndarray:
    """The hard selection of a pool that jit has made; its first records are those of less."""
    on_host = dataclasses.replace(pool, scores=np.asarray(pool.scores))
    return select(on_host, graph, budget, measure=measure).picks


@jax.jit
def hardened(
    parameterisation: Parameterisation, params: Params, pool: Pool, graph: LabelGraph
) -> tuple[Pool, LabelGraph, Measure]:
    """What parameters make of a pool and a graph, edges below the threshold counting nothing."""
    return cut(parameterisation.learned(params), pool, graph)


def observe(
    objective: Objective,
    pool: Pool,
    graph: LabelGraph,
    order: np.ndarray,
    budgets: Sequence[int],
) -> ObservedGains:
    """Gains at the first records of an order, so many as each budget says.

    A part of each selection is spread evenly over the pool, as a label that holds nothing at all
    has a slope that no pick ever sees.
    """
    found = []
    for budget in budgets:
        picked = np.asarray(amounts_of_picks(pool, order[:budget]), np.float32)
        even = np.float32(budget / pool.num_records)
        amounts = (1 - _EVEN_SHARE) * picked + _EVEN_SHARE * even
        gains = np.asarray(gains_of_objective(objective, pool, graph, amounts))
        counts = np.where(picked > 0, 1, _REST)
        counts[np.argsort(-gains, kind="stable")[: 2 * budget]] = 1
        found.append((amounts, gains, counts.astype(np.float32)))
    return ObservedGains(*map(jnp.asarray, map(np.stack, zip(*found, strict=True))))


def gains_of_parameters(
    parameterisation: Parameterisation,
    params: Params,
    pool: Pool,
    graph: LabelGraph,
    observed: ObservedGains,
) -> jax.Array:
    """φ'(z)·ê at the selections observed: [S, P]. T is that of the graph."""
    learned = parameterisation.learned(params)
    own = scored(learned, pool)

    def gains(amounts: jax.Array) -> jax.Array:
        z = label_information(own, graph, learned.measure, amounts)
        return linear_gains(own, graph, learned.measure, jnp.maximum(z, LEAST_INFORMATION))

    return jax.lax.map(gains, observed.amounts)


@jax.jit
def typical_scale(
    parameterisation: Parameterisation,
    params: Params,
    pool: Pool,
    graph: LabelGraph,
    observed: ObservedGains,
) -> jax.Array:
    """What gains are multiplied by to be as large as the measure's, in least squares."""
    ours = gains_of_parameters(parameterisation, params, pool, graph, observed)
    scale = jnp.sum(ours * observed.gains) / jnp.sum(observed.gains**2)
    # An objective that a fuller selection makes worse has the opposite sign at first.
    sizes = jnp.linalg.norm(ours) / jnp.linalg.norm(observed.gains)
    return jnp.where(scale > 0, scale, sizes)


class MatchingProblem(NamedTuple):
    """Gains to be matched in least squares, by parameters in one row."""

    start: jax.Array
    unravel: Callable[[jax.Array], Params]
    residuals: _Map  #: Of parameters: by how much gains are missed.
    penalty: _Map

    def normal_equations(self, x: jax.Array) -> tuple[jax.Array, _Map, _Map, _Map]:
        """Gauss's and Newton's equations of Σ residuals² + penalty at x.

        Returns:
          The residuals; their derivative transposed, of a vector like them; half of the second
          derivative by Gauss and Newton, of a vector like x; and a vector like x over an estimate
          of its diagonal. Records of a label differ by thousands, and so do the scales of its
          parameters: without the last conjugate gradients would take hundreds.
        """
        found, along = jax.linearize(self.residuals, x)
        transposed = jax.linear_transpose(along, x)
        _, bend = jax.linearize(jax.grad(self.penalty), x)

        def back(rest: jax.Array) -> jax.Array:
            return transposed(rest)[0]

        signs = jax.random.rademacher(jax.random.key(0), (_PROBES, *found.shape), found.dtype)
        own = jnp.mean(jax.lax.map(lambda sign: back(sign) ** 2, signs), axis=0)
        diagonal = own + jnp.abs(bend(jnp.ones_like(x))) / 2
        diagonal = diagonal + 1e-6 * jnp.mean(diagonal)
        return found, back, lambda v: back(along(v)) + bend(v) / 2, lambda v: v / diagonal


def matching_problem(
    parameterisation: Parameterisation,
    params: Params,
    pool: Pool,
    graph: LabelGraph,
    observed: ObservedGains,
    scale: jax.Array,
) -> MatchingProblem:
    """The gains observed, times a scale, as those of the parameterisation."""
    start, unravel = ravel_pytree(params)

    def residuals(x: jax.Array) -> jax.Array:
        ours = gains_of_parameters(parameterisation, unravel(x), pool, graph, observed)
        return observed.residuals(ours, scale)

    def penalty(x: jax.Array) -> jax.Array:
        return parameterisation.penalty(unravel(x))

    return MatchingProblem(start, unravel, residuals, penalty)
