"""A measure whose gains are those of an objective: shapes are read off, not descended to.

One selection tells the price φ'_k(z_k) of each label at one z, which any shape can have with some
weight. Selections of several sizes tell it at several z: what is left of the price there is the
shape. They are those that the measure itself makes, hard and greedy, so that gains agree where it
will choose; the first are random.

T decides which labels share information, and is no smooth matter: gains are matched at a given
T, with the hard threshold, and the T where they match best is the one to take.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from mig_jax.learning._observed_gains import (
    ObservedGains,
    greedy_picks,
    hardened,
    matching_problem,
    observe,
    typical_scale,
)
from mig_jax.learning._parameters import Parameterisation, Params
from mig_jax.learning.objectives import Objective
from mig_jax.measure import LabelGraph, Pool

__all__ = ["GainMatch", "match_gains"]

_Moving = tuple[jax.Array, jax.Array, jax.Array]  # Parameters, damping, loss.
_CG, _DAMPING = 20, 1e-2  # Conjugate gradients of each step; damping of the first.
_ROUNDS_KEPT = 3  # Older selections are of measures that chose otherwise.


@dataclasses.dataclass(frozen=True)
class GainMatch:
    """Parameters by which gains match, and how well they do."""

    params: Params
    #: Mean square, over selections and records, of the gap of φ'(z)·ê and g, relative to the size
    #: of g and the mean size together; records that nobody would pick count for a tenth.
    residual: float
    observed: ObservedGains  #: By which it was fitted last.
    scale: jax.Array  #: What the objective's gains are multiplied by.


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
    after: GainMatch | None = None,
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
      after: rounds of the same arguments, to go on from.
      on_round: called after each round with the number of rounds done.
    """
    first_key, random_key = jax.random.split(key)
    first = parameterisation.init(first_key)
    _, graph, _ = hardened(parameterisation, first, pool, graph)
    if after is None:
        order = np.asarray(jax.random.permutation(random_key, pool.num_records))
        observed = observe(objective, pool, graph, order, budgets)
        # E has no unit: gains are in that of the measure at the start.
        scale = typical_scale(parameterisation, first, pool, graph, observed)
        match = GainMatch(first, math.inf, observed, scale)
    else:
        match = after
    for number in range(rounds):
        params, scale = match.params, match.scale
        own_pool, _, measure = hardened(parameterisation, params, pool, graph)
        picks = greedy_picks(own_pool, graph, measure, max(budgets))
        own = observe(objective, pool, graph, picks, budgets)
        observed = match.observed.followed_by(own, _ROUNDS_KEPT * len(budgets))
        params, residual = _fit(parameterisation, params, pool, graph, observed, scale, steps=steps)
        match = GainMatch(params, float(residual), observed, scale)
        if on_round is not None:
            on_round(number + 1)
    return match


@partial(jax.jit, static_argnames="steps")
def _fit(
    parameterisation: Parameterisation,
    params: Params,
    pool: Pool,
    graph: LabelGraph,
    observed: ObservedGains,
    scale: jax.Array,
    *,
    steps: int,
) -> tuple[Params, jax.Array]:
    """The parameters after so many steps, and the residual there.

    Labels that share information trade their parameters against each other: steps of first
    order would take thousands. These are Levenberg's and Marquardt's, each solved by conjugate
    gradients and none longer than 1 in any parameter, as far away the residual is flat.
    """
    problem = matching_problem(parameterisation, params, pool, graph, observed, scale)
    residuals, penalty = problem.residuals, problem.penalty

    def loss(x: jax.Array) -> jax.Array:
        return jnp.sum(residuals(x) ** 2) + penalty(x)

    def step(moving: _Moving, _: None) -> tuple[_Moving, None]:
        x, damping, before = moving
        found, back, curvature, scaled = problem.normal_equations(x)
        down = -back(found) - jax.grad(penalty)(x) / 2
        direction, _ = jax.scipy.sparse.linalg.cg(
            lambda v: curvature(v) + damping * v, down, maxiter=_CG, tol=1e-3, M=scaled
        )
        new = x + jnp.clip(direction, -1, 1)
        after = loss(new)
        better = after < before
        return (
            jnp.where(better, new, x),
            damping * jnp.where(better, 0.3, 4.0),
            jnp.where(better, after, before),
        ), None

    start = problem.start
    first = (start, jnp.asarray(_DAMPING, start.dtype), loss(start))
    (x, _, _), _ = jax.lax.scan(step, first, length=steps)
    return problem.unravel(x), jnp.sum(residuals(x) ** 2)
