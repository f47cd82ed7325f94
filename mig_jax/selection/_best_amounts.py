"""The best amounts within limits, by thresholds: no sort, and no general solver.

Amounts x in [0, 1] that maximise Σ_d v_d x_d take within each group what is worth most for its
mass, down to a threshold; there, equals share what is left in equal parts. One threshold λ serves
all groups but those that would end below their minimum or above their maximum: these have their
own. The thresholds are the dual solution, and weak duality makes of any thresholds a bound,

    Σ_d v_d x_d ≤ λ·most + Σ_g [(τ_g − λ)⁺·maxima_g − (λ − τ_g)⁺·minima_g]
                  + Σ_d (v_d − τ_{g(d)}·m_d)⁺,

so that no rounding on the way to them can make it too low. A limit in a second unit is taken
into the values, v = w − ν·q, at one price ν ≥ 0 that is searched for; its bound adds ν·most_other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Float

from mig_jax.measure import Array, Numbers, Scalar
from mig_jax.selection._linear_limits import LinearLimits

__all__ = ["BestAmounts", "best_amounts"]

# Digits of a number that are found at once, and how many places all groups may have for them.
_DIGIT_BITS, _FEWEST_DIGIT_BITS, _PLACES_BITS = 11, 4, 18
# The price ν is good enough if amounts within all limits reach the bound but for this share.
_PRICE_TOLERANCE = {"float32": 1e-4, "float64": 1e-6}
_MOST_PRICES = 40


class BestAmounts(NamedTuple):
    """Amounts within the limits, and the dual solution that bounds what any are worth."""

    amounts: Float[jax.Array, " records"]
    bound: Float[jax.Array, ""]  #: No amounts within the limits are worth more.
    price: Float[jax.Array, ""]  #: λ, what a further unit of `most` is worth.
    other_price: Float[jax.Array, ""]  #: ν, what a further unit of `most_other` is worth.
    group_prices: Float[jax.Array, " groups"]  #: τ − λ: above 0 at a maximum, below at a minimum.


def best_amounts(
    values: Float[Array, " records"],
    limits: LinearLimits,
    axis: str | None = None,
    near: Scalar = 0.0,
) -> BestAmounts:
    """The amounts that are worth most within the limits.

    Args:
      values: w ≥ 0 of each record; only those of candidates count.
      limits: what the amounts must keep to.
      axis: name of the mesh axis that the records are sharded over, inside `shard_map`.
      near: where to begin the search for ν, such as what the last search found.
    """
    values = jnp.asarray(values) * limits.candidates
    if limits.other is None:
        return _at_price(values, limits, axis, jnp.zeros((), values.dtype)).best
    top = jnp.max(values, initial=0)
    top = top if axis is None else lax.pmax(top, axis)

    def at_price(price: jax.Array) -> _Priced:
        return _at_price(values, limits, axis, price)

    # At this price no record is worth its cost, and so the cheapest are taken for minima.
    dearest = 2 * top + jnp.finfo(values.dtype).tiny
    return _price_found(at_price, jnp.asarray(near, values.dtype), dearest)


class _Priced(NamedTuple):
    """The best amounts if the other unit has a price and no limit."""

    best: BestAmounts
    excess: jax.Array  # By how much they pass the limit in that unit.


def _at_price(
    values: jax.Array, limits: LinearLimits, axis: str | None, price: jax.Array
) -> _Priced:
    masses, other = limits.masses, limits.other
    if other is not None:
        values = values - price * other
    weighs = masses > 0
    keys = jnp.where(weighs, values / jnp.where(weighs, masses, 1), 0)
    taken, threshold, group_prices = _filled(keys, limits, axis)
    amounts = jnp.where(weighs, taken, values > 0)

    def total(numbers: jax.Array) -> jax.Array:
        here = jnp.sum(numbers)
        return here if axis is None else lax.psum(here, axis)

    def times(price: jax.Array, limit: Numbers) -> jax.Array:  # Infinite limits have no price.
        return jnp.where(price > 0, price * limit, 0)

    bound, own = times(threshold, limits.most), threshold
    if limits.groups is not None and limits.minima is not None and limits.maxima is not None:
        own = (threshold + group_prices)[limits.groups]
        bound += jnp.sum(times(group_prices, limits.maxima) - times(-group_prices, limits.minima))
    bound += total(jnp.maximum(values - own * masses, 0))
    excess = jnp.zeros((), values.dtype)
    if other is not None and limits.most_other is not None:
        bound += price * limits.most_other
        excess = total(amounts * other) - limits.most_other
    return _Priced(BestAmounts(amounts, bound, threshold, price, group_prices), excess)


def _filled(
    keys: jax.Array, limits: LinearLimits, axis: str | None
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The amounts of what weighs something, λ, and the prices of the groups."""
    positive = _bits(jnp.where(keys > 0, keys, 0))  # Only minima take what is worth less.
    if limits.groups is None:
        edge = _edge(positive, limits, axis, lambda totals: totals > limits.most)
        threshold = _number(edge.bits[0], keys.dtype)
        target = jnp.where(threshold > 0, limits.most, edge.above)
        return _down_to(edge, positive, None, target), threshold, jnp.zeros(0, keys.dtype)
    minima, maxima = jnp.asarray(limits.minima), jnp.asarray(limits.maxima)

    def within(totals: jax.Array) -> jax.Array:
        return jnp.clip(totals, minima[:, None], maxima[:, None])

    def too_much(totals: jax.Array) -> jax.Array:
        return jnp.sum(within(totals), axis=0, keepdims=True) > limits.most

    edge = _edge(positive, limits, axis, too_much)
    threshold = _number(edge.bits[0], keys.dtype)
    # Of the records at λ all groups get the same share of what each may take.
    least = within(edge.above[:, None])[:, 0]
    room = within((edge.above + edge.equal)[:, None])[:, 0] - least
    share = jnp.clip((limits.most - jnp.sum(least)) / jnp.maximum(jnp.sum(room), 1), 0, 1)
    target = least + jnp.where(threshold > 0, share, 0) * room
    at_minimum, at_maximum = (target <= minima) & (minima > 0), target >= maxima

    def reached(totals: jax.Array) -> jax.Array:
        # A maximum's price is that of the next record, a minimum's that of the last.
        enough = jnp.where(at_maximum[:, None], totals > target[:, None], totals >= target[:, None])
        return enough & (totals > 0)

    ordered = _ordered(_bits(keys))
    edge = _edge(ordered, limits, axis, reached)
    dearer = _number(_unordered(edge.bits), keys.dtype) - threshold
    has_price = (at_maximum & (dearer > 0)) | (at_minimum & (dearer < 0))
    taken = _down_to(edge, ordered, limits.groups, target)
    return taken, threshold, jnp.where(has_price, dearer, 0)


class _Edge(NamedTuple):
    """A threshold for each group, and the masses of what is above it and of what is equal."""

    bits: jax.Array
    above: jax.Array
    equal: jax.Array


def _edge(
    bits: jax.Array,
    limits: LinearLimits,
    axis: str | None,
    reached: Callable[[jax.Array], jax.Array],
) -> _Edge:
    """The largest thresholds with `reached`, digit by digit, from sums of masses by digit.

    Args:
      bits: unsigned numbers of the records.
      limits: masses and groups.
      axis: as in `best_amounts`.
      reached: of the masses at or above each digit, [groups, digits], whether that is enough.
    """
    groups = limits.groups
    count = 1 if limits.minima is None else limits.minima.shape[0]
    width = bits.dtype.itemsize * 8
    digit_bits = min(max(_PLACES_BITS - count.bit_length(), _FEWEST_DIGIT_BITS), _DIGIT_BITS)
    base, rounds = 1 << digit_bits, -(-width // digit_bits)

    def next_digit(i: jax.Array, edge: _Edge) -> _Edge:
        leading = bits >> (digit_bits * (rounds - 1 - i)).astype(bits.dtype)
        begun = (leading >> digit_bits) == _of_group(edge.bits, groups)
        places = (leading & (base - 1)).astype(jnp.int32)
        if groups is not None:
            places += groups * base
        sums = jax.ops.segment_sum(jnp.where(begun, limits.masses, 0), places, count * base)
        sums = (sums if axis is None else lax.psum(sums, axis)).reshape(count, base)
        totals = edge.above[:, None] + jnp.cumsum(sums[:, ::-1], axis=1)[:, ::-1]
        digit = jnp.sum(jnp.broadcast_to(reached(totals), totals.shape)[:, 1:], axis=1)
        here = jnp.arange(count), digit
        found = (edge.bits << digit_bits) | digit.astype(bits.dtype)
        return _Edge(found, totals[here] - sums[here], sums[here])

    nothing = jnp.zeros(count, limits.masses.dtype)
    start = _Edge(jnp.zeros(count, bits.dtype), nothing, nothing)
    return lax.fori_loop(0, rounds, next_digit, start)


def _down_to(edge: _Edge, bits: jax.Array, groups: Array | None, target: jax.Array) -> jax.Array:
    """1 above the edge, at it what is left to `target` in equal parts, and 0 below."""
    share = jnp.clip((target - edge.above) / jnp.maximum(edge.equal, 1), 0, 1)
    at_edge = jnp.where(bits == _of_group(edge.bits, groups), _of_group(share, groups), 0)
    return jnp.where(bits > _of_group(edge.bits, groups), 1, at_edge)


def _of_group(numbers: jax.Array, groups: Array | None) -> jax.Array:
    """The number of each record's group."""
    return numbers[0] if groups is None else numbers[groups]


def _bits(values: jax.Array) -> jax.Array:
    """Unsigned numbers, ordered as the values are if these are of one sign."""
    return lax.bitcast_convert_type(values, jnp.dtype(f"uint{values.dtype.itemsize * 8}"))


def _number(bits: jax.Array, dtype: jnp.dtype) -> jax.Array:
    return lax.bitcast_convert_type(bits, dtype)


def _ordered(bits: jax.Array) -> jax.Array:
    """Bits of any floats so changed that they are ordered as the floats are."""
    sign = ~(~jnp.zeros((), bits.dtype) >> 1)
    return jnp.where(bits >= sign, ~bits, bits | sign)


def _unordered(ordered: jax.Array) -> jax.Array:
    sign = ~(~jnp.zeros((), ordered.dtype) >> 1)
    return jnp.where(ordered >= sign, ordered ^ sign, ~ordered)


class _Search(NamedTuple):
    """Prices between which the best one is: at `low` the limit is passed, at `high` it is kept."""

    low: _Priced
    high: _Priced
    has_low: jax.Array
    has_high: jax.Array
    tried: jax.Array  # How many prices.


def _price_found(
    at_price: Callable[[jax.Array], _Priced], near: jax.Array, dearest: jax.Array
) -> BestAmounts:
    """The price with the lowest bound, and amounts that keep to the limit in the other unit.

    The bound is convex in the price, and its slope is what the amounts leave of the limit. Amounts
    between those of two prices that keep to the limit exactly are worth what the two tangents
    meet at: the distance to the bound tells when to stop.
    """
    tolerance = _PRICE_TOLERANCE[str(near.dtype)]
    first = at_price(near)
    passed = first.excess > 0

    def goes_on(state: _Search) -> jax.Array:
        low, high = state.low, state.high
        reached = low.best.bound - low.excess * (_meeting(low, high) - low.best.other_price)
        best = jnp.minimum(low.best.bound, high.best.bound)
        is_close = state.has_low & (best - reached <= tolerance * best)
        is_found = state.has_high & ((high.best.other_price == 0) | (high.excess == 0) | is_close)
        return ~is_found & (state.tried < _MOST_PRICES)

    def next_price(state: _Search) -> jax.Array:
        low, high = state.low.best.other_price, state.high.best.other_price
        step = 0.01 * 3.0**state.tried
        up = jnp.maximum(low * (1 + step), dearest / 1024)
        up = jnp.where(state.tried < _MOST_PRICES - 1, jnp.minimum(up, dearest), dearest)
        down = high * jnp.maximum(1 - step, 0)
        # In turn where the excess would be 0 if it were linear, and where the tangents meet.
        rise = state.low.excess / (state.low.excess - state.high.excess)
        straight = low + jnp.clip(rise, 0.02, 0.98) * (high - low)
        between = jnp.where(state.tried % 2 == 0, straight, _meeting(state.low, state.high))
        return jnp.where(state.has_high, jnp.where(state.has_low, between, down), up)

    def try_next(state: _Search) -> _Search:
        new = at_price(next_price(state).astype(near.dtype))
        passed = new.excess > 0

        def if_(is_new: jax.Array, old: _Priced) -> _Priced:
            return jax.tree_util.tree_map(lambda a, b: jnp.where(is_new, a, b), new, old)

        return _Search(
            if_(passed, state.low),
            if_(~passed, state.high),
            state.has_low | passed,
            state.has_high | ~passed,
            state.tried + 1,
        )

    state = lax.while_loop(
        goes_on, try_next, _Search(first, first, passed, ~passed, jnp.ones((), jnp.int32))
    )
    low, high = state.low, state.high
    between = low.excess / jnp.maximum(low.excess - high.excess, jnp.finfo(near.dtype).tiny)
    of_high = jnp.where(state.has_low & state.has_high, between, state.has_high)
    amounts = jnp.where(of_high > 0, of_high * high.best.amounts, 0)
    amounts += jnp.where(of_high < 1, (1 - of_high) * low.best.amounts, 0)
    low_is_best = state.has_low & (~state.has_high | (low.best.bound < high.best.bound))
    best = jax.tree_util.tree_map(lambda a, b: jnp.where(low_is_best, a, b), low.best, high.best)
    return best._replace(amounts=amounts)


def _meeting(low: _Priced, high: _Priced) -> jax.Array:
    """The price at which the tangents of the bound meet."""
    at_zero = [end.best.bound + end.excess * end.best.other_price for end in (low, high)]
    apart = low.excess - high.excess
    return (at_zero[0] - at_zero[1]) / jnp.where(apart > 0, apart, 1)
