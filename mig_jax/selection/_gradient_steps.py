"""Conditional gradient (Frank–Wolfe) steps on the relaxed problem, where amounts lie in [0, 1].

z moves towards the information of the amounts with the largest linear gains, by exact line search.
Each step also finds the bound of `upper_bound` at the z it starts from.
"""

from __future__ import annotations

from functools import cached_property, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh
from jaxtyping import Float

from mig_jax.devices import POOL_AXIS, REPLICATED, SHARDED, num_parts, over_shards, shard_pool
from mig_jax.measure import (
    Array,
    Count,
    LabelGraph,
    Measure,
    Pool,
    Scalar,
    back_propagate,
    check_labels,
    information,
    label_information,
    propagate,
)
from mig_jax.selection._largest_gains import LargestGains
from mig_jax.selection._linear_limits import LinearLimits, specs_of_limits
from mig_jax.selection._pool_gains import gains_of_pool
from mig_jax.selection._upper_bound import Prices, bound_at

__all__ = ["GradientStep", "GradientSteps", "conditional_gradient_step"]


class GradientStep(NamedTuple):
    """What a conditional gradient step finds at z, and where it leads."""

    bound: Float[Array, ""]  #: The bound at z.
    information: Float[Array, ""]  #: E at z.
    z: Float[Array, " labels"]  #: z after the step.
    prices: Prices  #: At z.


class GradientSteps:
    """Steps for one pool from any z, within any limits, one after another.

    If the number of picks alone is limited and this process has the whole pool, then most steps
    pass over few of the records (`LargestGains`). Else each is a `conditional_gradient_step`.
    """

    def __init__(
        self, pool: Pool, graph: LabelGraph, measure: Measure, mesh: Mesh | None = None
    ) -> None:
        """Takes a problem in float64, the pool not sharded; the mesh is of what holds the pool.

        Raises ValueError if a label id is not in the graph.
        """
        check_labels(pool, graph)
        self._problem = pool, graph, measure
        self._mesh = mesh

    def __call__(
        self, z: Float[Array, " labels"], limits: Count | LinearLimits, near: Scalar = 0.0
    ) -> GradientStep:
        """Args as for `conditional_gradient_step`."""
        _, graph, measure = self._problem
        if isinstance(limits, LinearLimits) or num_parts(self._mesh) > 1:
            args = self._on_shards, graph, measure, z, limits, self._mesh, near
            return conditional_gradient_step(*args)
        held, own, worth = map(np.asarray, _bound_of_nothing(graph, measure, z))
        largest = self._largest.at(worth, int(limits))
        after = np.asarray(_towards(graph, measure, z, largest.raw))
        prices = Prices(np.float64(largest.further), np.float64(0), np.zeros(0))
        return GradientStep(held + largest.total, own, after, prices)

    def gains(self, z: Float[Array, " labels"]) -> Float[np.ndarray, " records"]:
        """The linear gains at z of all records; if there are several processes, of this one's."""
        pool, graph, measure = self._problem
        if num_parts(self._mesh) > 1:
            return gains_of_pool(pool, graph, measure, z, self._mesh, self._on_shards)
        return self._largest.gains(np.asarray(_bound_of_nothing(graph, measure, z)[2]))

    @cached_property
    def _on_shards(self) -> Pool:
        pool, _, _ = self._problem
        return pool if self._mesh is None else shard_pool(pool, self._mesh)

    @cached_property
    def _largest(self) -> LargestGains:
        pool, graph, _ = self._problem
        return LargestGains(pool, graph.num_labels)


@partial(jax.jit, static_argnames="mesh")
def conditional_gradient_step(
    pool: Pool,
    graph: LabelGraph,
    measure: Measure,
    z: Float[Array, " labels"],
    budget: Count | LinearLimits,
    mesh: Mesh | None = None,
    near: Scalar = 0.0,
) -> GradientStep:
    """One conditional gradient step by a pass over the pool.

    Args as for `upper_bound`, `mesh` if the pool is one from `shard_pool`, and `near`, what the
    last step found as `price_beside`: to find the next one from there is quicker.
    """
    step = over_shards(
        partial(_step, None if mesh is None else POOL_AXIS),
        mesh,
        (SHARDED, REPLICATED, REPLICATED, REPLICATED, specs_of_limits(budget), REPLICATED),
        REPLICATED,
    )
    return step(pool, graph, measure, z, budget, near)


def _step(
    axis: str | None,
    pool: Pool,
    graph: LabelGraph,
    measure: Measure,
    z: jax.Array,
    budget: jax.Array | LinearLimits,
    near: Scalar,
) -> GradientStep:
    bound, amounts, prices = bound_at(pool, graph, measure, z, budget, axis, near)
    direction = label_information(pool, graph, measure, amounts, axis=axis) - z
    return GradientStep(bound, information(measure, z), _best_on(measure, z, direction), prices)


def _best_on(measure: Measure, z: Array, direction: Array) -> jax.Array:
    """Where E is largest from z to z + direction."""

    def halve(_: jax.Array, ends: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = ends
        middle = (low + high) / 2
        slope = jnp.vdot(measure.score_function.derivative(z + middle * direction), direction)
        return jnp.where(slope > 0, middle, low), jnp.where(slope > 0, high, middle)

    ends = jnp.zeros((), z.dtype), jnp.ones((), z.dtype)
    low, high = lax.fori_loop(0, 40, halve, ends)
    return z + (low + high) / 2 * direction


@jax.jit
def _bound_of_nothing(
    graph: LabelGraph, measure: Measure, z: Float[Array, " labels"]
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The bound at z less what records add to it, E, and what records add for each label."""
    function = measure.score_function
    slopes = function.derivative(z)
    held = jnp.sum(function.value(z) - z * slopes)
    return held, information(measure, z), back_propagate(graph, measure.propagation, slopes)


@jax.jit
def _towards(
    graph: LabelGraph,
    measure: Measure,
    z: Float[Array, " labels"],
    raw: Float[Array, " labels"],
) -> jax.Array:
    """Where E is largest from z to the information that `raw` leads to."""
    return _best_on(measure, z, propagate(graph, measure.propagation, raw) - z)
