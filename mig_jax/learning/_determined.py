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
    gains_of_objective,
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

    #: float [K], at least 0: how much is not known, of 1 before there are data.
    open: Float[np.ndarray, " labels"]
    low: Float[np.ndarray, " labels"]  #: Of a plain interval, 95 %: as the shape itself.
    high: Float[np.ndarray, " labels"]

    @property
    def determined(self) -> np.ndarray:
        """bool [K]: the data tell more of the shape than all labels share."""
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
    derivative is H = Jᵀ J + R, J of the gains and R of the prior, diagonal. What is open of a
    label's own shape has two parts. The data may not say: R_kk (H⁻¹)_kk, which is 1 where all that
    is known is that labels differ by about 1 in the logit. (H⁻¹)_kk is the variance of
    H⁻¹(Jᵀ ε + R^½ ε') for normal ε and ε'. So a label whose shape another's can stand for counts
    as open. And the data may be noise: half of the square of how far the held-out data, which are
    noisy in their own way, would move the shape, H⁻¹Jᵀ times the difference of the gains. That is
    one draw of a label's noise, and may be small by luck: it counts for one half, and what labels
    have of it in the mean for the other.
    Intervals are of the whole logit, with what a label shares with others.

    Args:
      pool: P records.
      graph: K labels, with edges from the threshold at least.
      parameterisation: whose labels differ in shapes, of a family that has one; without smoothing.
      params: as learned.
      objective: as for `gains_of_objective`.
      budgets: that were learned for.
      key: for the samples.
      samples: of parameters; with 32 a deviation is off by an eighth of itself.
    """
    own_pool, own_graph, measure = hardened(parameterisation, params, pool, graph)
    picks = greedy_picks(own_pool, own_graph, measure, max(budgets))
    observed = observe(objective, pool, own_graph, picks, budgets)
    others = jnp.stack(
        [
            gains_of_objective(objective, pool, own_graph, amounts, held_out=True)
            for amounts in observed.amounts
        ]
    )
    arguments = (parameterisation, params, pool, own_graph, observed)
    scale = typical_scale(*arguments)
    found = _open(*arguments, scale, others, jax.random.split(key, samples))
    left, spread = (np.asarray(values, np.float64) for values in found)
    reach = _WITHIN * np.sqrt(spread).astype(np.float32)
    low, high = (
        np.asarray(_shapes(parameterisation, params | {"shapes": params["shapes"] + sign * reach}))
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
    others: jax.Array,
    keys: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """What is open of labels' own shapes, and of their whole logits: [K] each.

    `others` are the gains of the held-out loss: [S, P].
    """
    problem = matching_problem(parameterisation, params, pool, graph, observed, scale)
    x, unravel, penalty = problem.start, problem.unravel, problem.penalty
    found, back, curvature, scaled = problem.normal_equations(x)
    prior = jax.jvp(jax.grad(penalty), (x,), (jnp.ones_like(x),))[1] / 2

    def solve(rest: jax.Array) -> tuple[jax.Array, jax.Array]:
        solved, _ = jax.scipy.sparse.linalg.cg(curvature, rest, maxiter=_CG, tol=1e-3, M=scaled)
        moved = unravel(solved)
        return moved["shapes"], parameterisation.shape_offsets(moved)

    def sample(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        of_gains, of_prior = jax.random.split(key)
        drawn = back(jax.random.normal(of_gains, found.shape, found.dtype))
        return solve(drawn + jnp.sqrt(prior) * jax.random.normal(of_prior, x.shape, x.dtype))

    # Losses of other data have another size: as large as the fitted ones, in least squares.
    size = jnp.sum(others * observed.gains) / jnp.sum(others**2)
    apart = observed.residuals(scale * size * others, scale)
    unit = unravel(prior)["shapes"]
    own, whole = (
        jnp.minimum(unit * jnp.mean(drawn**2, axis=0), 1) + (noise + jnp.mean(noise)) / 2
        for drawn, moved in zip(jax.lax.map(sample, keys), solve(back(apart)), strict=True)
        for noise in [moved**2 / 2]
    )
    return own, whole
