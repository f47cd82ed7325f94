"""An upper bound on E of every selection that is allowed, at any z, and the prices of its limits.

For any z, concavity of every φ gives, for each selection S of N records,

    E(S) ≤ Σ_k [φ_k(z_k) − z_k·φ'_k(z_k)] + the sum of the N largest φ'(z)·ê_d.

Under constraints the largest sum is that of the best amounts within the limits. Of records G that
are given, E(G ∪ S) is bounded, and φ'(z)·z_G is added.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float

from mig_jax.measure import (
    Array,
    Count,
    LabelGraph,
    Measure,
    Pool,
    Scalar,
    as_pytree,
    linear_gains,
)
from mig_jax.selection._best_amounts import best_amounts
from mig_jax.selection._linear_limits import LinearLimits

__all__ = ["Prices", "bound_at", "on_host", "price_beside", "upper_bound"]


@as_pytree
class Prices:
    """By how much the bound would rise with each limit: the dual of its linear problem at z."""

    record: Scalar  #: A further record of the budget; 0 if there is room or no budget of records.
    cost: Scalar  #: A further unit of cost, such as a token; 0 if there is room or no such budget.
    #: A further record, or unit of cost, of each group: above 0 at a maximum, below at a minimum.
    groups: Float[Array, " groups"]


def on_host(prices: Prices) -> Prices:
    """The same as numbers and a NumPy array."""
    return Prices(float(prices.record), float(prices.cost), np.asarray(prices.groups))


def price_beside(prices: Prices, limits: Count | LinearLimits) -> Scalar:
    """The price of the other unit, which the quotas are not in: the one that is searched for."""
    of_costs = isinstance(limits, LinearLimits) and limits.of_costs
    return prices.record if of_costs else prices.cost


def upper_bound(
    pool: Pool,
    graph: LabelGraph,
    measure: Measure,
    z: Float[Array, " labels"],
    budget: Count | LinearLimits,
    *,
    axis: str | None = None,
) -> tuple[Float[jax.Array, ""], Float[jax.Array, " records"]]:
    """The bound at z: E(G ∪ S) ≤ Σ_k [φ_k(z_k) − z_k·φ'_k(z_k)] + φ'(z)·z_G + max Σ_d w_d·x_d.

    S is any selection that is allowed, G what is given, w = φ'(z)·ê, and the maximum is over
    amounts x that the limits allow; with N records and no more, the sum of the N largest w.

    Args:
      pool: P records.
      graph: K labels.
      measure: score functions and α.
      z: at least 0.
      budget: N ≤ P, which may be traced; or what `linear_limits` gives, if more limits the picks.
      axis: name of the mesh axis that the pool is sharded over, inside `shard_map`.

    Returns:
      The bound and the amounts: 1 for the N records with the
      largest linear gains (the lowest index among equals), else 0; within limits the best
      amounts between 0 and 1, and 1 for what is given.
    """
    bound, amounts, _ = bound_at(pool, graph, measure, z, budget, axis, 0.0)
    return bound, amounts


def bound_at(
    pool: Pool,
    graph: LabelGraph,
    measure: Measure,
    z: Array,
    budget: Count | LinearLimits,
    axis: str | None,
    near: Scalar,
) -> tuple[jax.Array, jax.Array, Prices]:
    """Bound and amounts as in `upper_bound`, and the prices; `near` is about `price_beside`."""
    gains = linear_gains(pool, graph, measure, z)
    function = measure.score_function
    held = jnp.sum(function.value(z) - z * function.derivative(z))

    def total(here: jax.Array) -> jax.Array:
        return here if axis is None else lax.psum(here, axis)

    if not isinstance(budget, LinearLimits):
        amounts = _largest(gains, budget, axis)
        further = jnp.max(jnp.where(amounts > 0, 0, gains), initial=0)
        price = further if axis is None else lax.pmax(further, axis)
        prices = Prices(price, jnp.zeros_like(price), jnp.zeros(0, price.dtype))
        return held + total(jnp.vdot(gains, amounts)), amounts, prices
    best = best_amounts(gains, budget, axis, near)
    own, other = best.price, best.other_price
    prices = Prices(*((other, own) if budget.of_costs else (own, other)), best.group_prices)
    bound, amounts = held + best.bound, best.amounts
    if budget.given is not None:
        bound += total(jnp.vdot(gains, budget.given))
        amounts += jnp.asarray(budget.given)
    return bound, amounts, prices


def _largest(values: jax.Array, count: Count, axis: str | None) -> jax.Array:
    """1 for the `count` largest of values ≥ 0, the lowest index among equals, else 0.

    The smallest value that belongs to them is found bit by bit: floats of one
    sign are ordered as their bits are. That takes a pass a bit, and no sort.
    """
    width = values.dtype.itemsize * 8
    unsigned = jnp.dtype(f"uint{width}")
    bits = lax.bitcast_convert_type(jnp.maximum(values, 0), unsigned)

    def number(found: jax.Array) -> jax.Array:
        # No more than is asked for: 32 bits can count the records of a shard, not of all.
        here = jnp.minimum(jnp.sum(found), count)
        return here if axis is None else lax.psum(here, axis)

    def set_bit(i: jax.Array, smallest: jax.Array) -> jax.Array:
        candidate = smallest | (unsigned.type(1) << (width - 1 - i).astype(unsigned))
        return jnp.where(number(bits >= candidate) >= count, candidate, smallest)

    smallest = lax.fori_loop(0, width, set_bit, unsigned.type(0))
    above, equal = bits > smallest, bits == smallest
    room = count - number(above)
    if axis is not None:
        on_each = lax.all_gather(jnp.minimum(jnp.sum(equal), count), axis)
        before = jnp.arange(on_each.shape[0]) < lax.axis_index(axis)
        room -= jnp.sum(jnp.where(before, on_each, 0))
    return (above | (equal & (jnp.cumsum(equal) <= room))).astype(values.dtype)
