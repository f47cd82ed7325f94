"""Which labels' shapes the data tell, and which are what all labels share for want of data."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from mig_jax.learning._observed_gains import (
    ObservedGains,
    greedy_picks,
    hardened,
    matching_problem,
    observe,
    typical_scale,
)
from mig_jax.learning._parameterisations import Free
from mig_jax.learning._parameters import Params
from mig_jax.learning.objectives import Objective
from mig_jax.measure import LabelGraph, Pool

__all__ = ["KnownShapes", "known_shapes"]

_CG = 40
_WITHIN = 1.96  # Deviations: 95 %.


@dataclasses.dataclass(frozen=True, eq=False)
class KnownShapes:
    """How well the shape of each of K labels is known."""

    #: float [K], from 0 to 1: how much of what is not known before the data leave open.
    open: Float[np.ndarray, " labels"]
    low: Float[np.ndarray, " labels"]  #: Of a plain interval, 95 %: as the shape itself.
    high: Float[np.ndarray, " labels"]

    @property
    def determined(self) -> np.ndarray:
        """bool [K]: the data tell more of the shape than that labels are much alike."""
        return self.open < 0.5


def known_shapes(
    pool: Pool,
    graph: LabelGraph,
    parameterisation: Free,
    params: Params,
    objective: Objective,
    budgets: Sequence[int],
    key: jax.Array,
    *,
    samples: int = 32,
) -> KnownShapes:
    """How well shapes are told by the objective's gains at the selections that are learned for.

    The loss near the parameters is taken for a parabola, by Gauss and Newton: half of its second
    derivative is H = Jᵀ J + R, J of the gains and R of the prior, diagonal. What data leave open
    of a label's own shape is R_kk (H⁻¹)_kk, which is 1 where they say nothing: all that is known
    then is that labels differ by about 1 in the logit. (H⁻¹)_kk is the variance of
    H⁻¹(Jᵀ ε + R^½ ε') for normal ε and ε'. So a label whose shape another's can stand for counts as
    open, too.

    Args:
      pool: P records.
      graph: K labels, with edges from the threshold at least.
      parameterisation: whose labels differ in shapes, of a family that has one.
      params: as learned.
      objective: as for `gains_of_objective`.
      budgets: that were learned for.
      key: for the samples.
      samples: of parameters; with 32 a deviation is off by an eighth of itself.
    """
    own_pool, own_graph, measure = hardened(parameterisation, params, pool, graph)
    picks = greedy_picks(own_pool, own_graph, measure, max(budgets))
    observed = observe(objective, pool, own_graph, picks, budgets)
    arguments = (parameterisation, params, pool, own_graph, observed)
    scale = typical_scale(*arguments)
    keys = jax.random.split(key, samples)
    left = np.clip(np.asarray(_open(*arguments, scale, keys), np.float64), 0.0, 1.0)
    shapes = params["shapes"]
    reach = _WITHIN * np.sqrt(left).astype(np.float32)
    low, high = (
        np.asarray(_shapes(parameterisation, params | {"shapes": shapes + sign * reach}))
        for sign in (-1, 1)
    )
    return KnownShapes(left, np.minimum(low, high), np.maximum(low, high))


@jax.jit
def _shapes(parameterisation: Free, params: Params) -> jax.Array:
    phi = parameterisation.learned(params).measure.score_function
    assert phi.shape_name is not None
    return jnp.asarray(getattr(phi, phi.shape_name))


@jax.jit
def _open(
    parameterisation: Free,
    params: Params,
    pool: Pool,
    graph: LabelGraph,
    observed: ObservedGains,
    scale: jax.Array,
    keys: jax.Array,
) -> jax.Array:
    """R_kk (H⁻¹)_kk of labels' own shapes: [K]."""
    problem = matching_problem(parameterisation, params, pool, graph, observed, scale)
    x, unravel, penalty = problem.start, problem.unravel, problem.penalty
    found, back, curvature, scaled = problem.normal_equations(x)
    prior = jax.jvp(jax.grad(penalty), (x,), (jnp.ones_like(x),))[1] / 2

    def sample(key: jax.Array) -> jax.Array:
        of_gains, of_prior = jax.random.split(key)
        drawn = back(jax.random.normal(of_gains, found.shape, found.dtype))
        drawn = drawn + jnp.sqrt(prior) * jax.random.normal(of_prior, x.shape, x.dtype)
        # T has neither gains nor a prior: nothing is drawn of it, and it stays.
        solved, _ = jax.scipy.sparse.linalg.cg(curvature, drawn, maxiter=_CG, tol=1e-3, M=scaled)
        return unravel(solved)["shapes"]

    samples = jax.lax.map(sample, keys)
    return jnp.mean(samples**2, axis=0) * unravel(prior)["shapes"]
