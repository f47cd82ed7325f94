"""A measure whose gains are those of an objective: shapes are read off, not descended to.

At a selection w, an objective L tells what a little more of each record would be worth,
g_d = −∂L/∂w_d. By a measure it is φ'(z)·ê_d (Eq. 10 of arXiv 2504.13835). One selection tells the
price φ'_k(z_k) of each label at one z, which any shape can have with some weight. Selections of
several sizes tell it at several z: what is left of the price there is the shape.

Selections are those that the measure itself makes, hard and greedy, so that gains agree where it
will choose; the first are random. A part of each is spread evenly over the pool, as a label that
holds nothing at all has a slope that no pick ever sees.

T decides which labels share information, and is no smooth matter: gains are matched at a given
T, with the hard threshold, and the T where they match best is the one to take.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial

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
    "GainMatch",
    "gains_of_objective",
    "greedy_picks",
    "match_gains",
    "outcome_of_amounts",
]

_EVEN_SHARE = 0.2  # Of each selection, spread over the pool.
_REST = 0.1  # What records count that nobody would pick.
_Moving = tuple[jax.Array, jax.Array, jax.Array]  # Parameters, damping, loss.
_CG, _DAMPING = 20, 1e-2  # Conjugate gradients of each step; damping of the first.
_ROUNDS_KEPT = 3  # Older selections are of measures that chose otherwise.


@dataclasses.dataclass(frozen=True)
class GainMatch:
    """Parameters by which gains match, and how well they do."""

    params: Params
    #: Mean over selections and records of (φ'(z)·ê − g)² / (|g| + mean |g|)², records that
    #: nobody would pick counted by a tenth.
    residual: float


@as_pytree
class _Observed:
    """Gains at S selections."""

    amounts: Float[Array, "selections records"]
    gains: Float[Array, "selections records"]
    counts: Float[Array, "selections records"]  # By which records count.


@jax.jit
def gains_of_objective(
    objective: Objective, pool: Pool, graph: LabelGraph, amounts: Float[Array, " records"]
) -> Float[Array, " records"]:
    """−∂L/∂w at amounts w: by how much a little more of each record lowers the fitted loss.

    Args:
      objective: of what is selected, and of no more of a measure: `needs_selection`.
      pool: P records.
      graph: K labels.
      amounts: float [P].
    """

    def loss(amounts: jax.Array) -> jax.Array:
        return objective.losses(outcome_of_amounts(pool, graph, Measure(), amounts))[0]

    return -jax.grad(loss)(amounts)


def outcome_of_amounts(
    pool: Pool, graph: LabelGraph, measure: Measure, amounts: Float[Array, " records"]
) -> Outcome:
    """What an objective judges of a selection that is there."""
    nothing = jnp.zeros(())
    z = label_information(pool, graph, measure, amounts)
    relaxed = RelaxedSelection(amounts, z, nothing, nothing, jnp.int32(0))
    return Outcome(pool, graph, measure, relaxed)


def match_gains(
    pool: Pool,
    graph: LabelGraph,
    parameterisation: Parameterisation,
    objective: Objective,
    budgets: Sequence[int],
    key: jax.Array,
    *,
    rounds: int = 3,
    steps: int = 15,
    on_round: Callable[[int], None] | None = None,
) -> GainMatch:
    """Matches gains at the parameterisation's threshold, in rounds of selecting and fitting.

    Args:
      pool: P records.
      graph: K labels, with edges from the threshold at least.
      parameterisation: of the same K labels.
      objective: as for `gains_of_objective`.
      budgets: of each selection, from 1 to P records.
      key: for the initial parameters and the first selection.
      rounds: how often is selected; at least 1.
      steps: of the fit in each round.
      on_round: called after each round with the number of rounds done.
    """
    first_key, random_key = jax.random.split(key)
    params = parameterisation.init(first_key)
    _, graph, _ = _hardened(parameterisation, params, pool, graph)
    order = np.asarray(jax.random.permutation(random_key, pool.num_records))
    observed = _observe(objective, pool, graph, order, budgets)
    # E has no unit: gains are in that of the measure at the start.
    scale = _scale(parameterisation, params, pool, graph, observed)
    residual = np.inf
    for number in range(rounds):
        own_pool, _, measure = _hardened(parameterisation, params, pool, graph)
        picks = greedy_picks(own_pool, graph, measure, max(budgets))
        own = _observe(objective, pool, graph, picks, budgets)
        observed = jax.tree_util.tree_map(
            lambda old, new: jnp.concatenate([old, new])[-_ROUNDS_KEPT * len(budgets) :],
            observed,
            own,
        )
        params, residual = _fit(parameterisation, params, pool, graph, observed, scale, steps=steps)
        if on_round is not None:
            on_round(number + 1)
    return GainMatch(params, float(residual))


def greedy_picks(pool: Pool, graph: LabelGraph, measure: Measure, budget: int) -> np.ndarray:
    """The hard selection of a pool that jit has made; its first records are those of less."""
    on_host = dataclasses.replace(pool, scores=np.asarray(pool.scores))
    return select(on_host, graph, budget, measure=measure).picks


@jax.jit
def _hardened(
    parameterisation: Parameterisation, params: Params, pool: Pool, graph: LabelGraph
) -> tuple[Pool, LabelGraph, Measure]:
    return cut(parameterisation.learned(params), pool, graph)


def _observe(
    objective: Objective,
    pool: Pool,
    graph: LabelGraph,
    order: np.ndarray,
    budgets: Sequence[int],
) -> _Observed:
    """Gains at the first records of an order, so many as each budget says."""
    found = []
    for budget in budgets:
        picked = np.asarray(amounts_of_picks(pool, order[:budget]), np.float32)
        even = np.float32(budget / pool.num_records)
        amounts = (1 - _EVEN_SHARE) * picked + _EVEN_SHARE * even
        gains = np.asarray(gains_of_objective(objective, pool, graph, amounts))
        counts = np.where(picked > 0, 1, _REST)
        counts[np.argsort(-gains, kind="stable")[: 2 * budget]] = 1
        found.append((amounts, gains, counts.astype(np.float32)))
    return _Observed(*map(jnp.asarray, map(np.stack, zip(*found, strict=True))))


def _predicted(
    parameterisation: Parameterisation,
    params: Params,
    pool: Pool,
    graph: LabelGraph,
    observed: _Observed,
) -> jax.Array:
    """φ'(z)·ê at the selections observed: [S, P]. T is that of the graph."""
    learned = parameterisation.learned(params)
    own = scored(learned, pool)

    def gains(amounts: jax.Array) -> jax.Array:
        z = label_information(own, graph, learned.measure, amounts)
        return linear_gains(own, graph, learned.measure, jnp.maximum(z, LEAST_INFORMATION))

    return jax.lax.map(gains, observed.amounts)


@jax.jit
def _scale(
    parameterisation: Parameterisation,
    params: Params,
    pool: Pool,
    graph: LabelGraph,
    observed: _Observed,
) -> jax.Array:
    """What gains are multiplied by to be as large as the measure's, in least squares."""
    ours = _predicted(parameterisation, params, pool, graph, observed)
    scale = jnp.sum(ours * observed.gains) / jnp.sum(observed.gains**2)
    # An objective that a fuller selection makes worse has the opposite sign at first.
    sizes = jnp.linalg.norm(ours) / jnp.linalg.norm(observed.gains)
    return jnp.where(scale > 0, scale, sizes)


@partial(jax.jit, static_argnames="steps")
def _fit(
    parameterisation: Parameterisation,
    params: Params,
    pool: Pool,
    graph: LabelGraph,
    observed: _Observed,
    scale: jax.Array,
    *,
    steps: int,
) -> tuple[Params, jax.Array]:
    """The parameters after so many steps, and the residual there.

    Labels that share information trade their parameters against each other: steps of first
    order would take thousands. These are Levenberg's and Marquardt's, each solved by conjugate
    gradients and none longer than 1 in any parameter, as far away the residual is flat.
    """
    wanted = scale * observed.gains
    size = jnp.abs(wanted) + jnp.mean(jnp.abs(wanted), axis=1, keepdims=True)
    weights = jnp.sqrt(observed.counts / jnp.sum(observed.counts)) / size
    start, unravel = ravel_pytree(params)

    def residuals(x: jax.Array) -> jax.Array:
        ours = _predicted(parameterisation, unravel(x), pool, graph, observed)
        return weights * (ours - wanted)

    def penalty(x: jax.Array) -> jax.Array:
        return parameterisation.penalty(unravel(x))

    def loss(x: jax.Array) -> jax.Array:
        return jnp.sum(residuals(x) ** 2) + penalty(x)

    def step(moving: _Moving, _: None) -> tuple[_Moving, None]:
        x, damping, before = moving
        found, along = jax.linearize(residuals, x)
        back = jax.linear_transpose(along, x)
        slope, bend = jax.linearize(jax.grad(penalty), x)

        def curvature(direction: jax.Array) -> jax.Array:
            (through,) = back(along(direction))
            return 2 * through + bend(direction) + damping * direction

        gradient = 2 * back(found)[0] + slope
        direction, _ = jax.scipy.sparse.linalg.cg(curvature, -gradient, maxiter=_CG, tol=1e-3)
        new = x + jnp.clip(direction, -1, 1)
        after = loss(new)
        better = after < before
        return (
            jnp.where(better, new, x),
            damping * jnp.where(better, 0.3, 4.0),
            jnp.where(better, after, before),
        ), None

    first = (start, jnp.asarray(_DAMPING, start.dtype), loss(start))
    (x, _, _), _ = jax.lax.scan(step, first, length=steps)
    return unravel(x), jnp.sum(residuals(x) ** 2)
