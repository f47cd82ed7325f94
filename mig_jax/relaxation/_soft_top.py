"""The N largest of P values, softly: amounts between 0 and 1 that sum to N.

Each amount is sigmoid((value − λ)/τ), with the one threshold λ for which they
sum to N. Among all amounts in [0, 1] of sum N these have the largest
Σ amount·value + τ·(entropy of the amounts, each taken as a coin). As the
temperature τ goes to 0 they become 1 for the N largest values and 0 elsewhere.
"""

from __future__ import annotations

from typing import Any

import chex
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Float

from mig_jax.measure import Array, Scalar

__all__ = ["soft_top"]

_MAX_STEPS = 100
# Newton alone for so many steps; then every second step halves the bracket.
_NEWTON_STEPS = 8
# The amounts never sum to less than this share of P, nor do the rests: the least log-odds are
# about −80, whose sigmoid is still a normal float32.
_LEAST_SHARE = 1e-35


@jax.jit
def soft_top(
    values: Float[Array, " records"],
    count: Scalar,
    temperature: Scalar,
    guess: Scalar | None = None,
) -> tuple[Float[jax.Array, " records"], Float[jax.Array, ""]]:
    """Log-odds of the amounts, and their threshold λ.

    Differentiable in values and temperature, in forward and reverse mode, by the
    implicit function theorem.

    Args:
      values: P numbers.
      count: N, from 0 to P; may be traced.
      temperature: τ above 0, in the unit of the values.
      guess: where to look for λ first; changes the time it takes only.

    Returns:
      (value − λ)/τ, whose sigmoid is the amount, and λ. The
      amounts sum to N as closely as their type can tell: log-odds keep digits
      that λ has lost if τ is small next to it.

    >>> odds, threshold = soft_top(jnp.array([3.0, 1.0, 2.0, 0.0]), 2, 0.01)
    >>> jax.nn.sigmoid(odds).round(2).tolist(), round(float(threshold), 2)
    ([1.0, 0.0, 1.0, 0.0], 1.5)
    """
    chex.assert_rank(
        [values, count, temperature],
        [1, 0, 0],
        custom_message="values, count, temperature: expected an array and two scalars",
    )
    values = jnp.asarray(values)
    if not values.shape[0]:
        return values, jnp.zeros((), values.dtype)
    if guess is None:
        guess = jnp.mean(values)
    as_values = (jnp.asarray(x, values.dtype) for x in (count, temperature, guess))
    return _soft_top(values, *as_values)


@jax.custom_jvp
def _soft_top(
    values: jax.Array, count: jax.Array, temperature: jax.Array, guess: jax.Array
) -> tuple[jax.Array, jax.Array]:
    low, high = jnp.min(values), jnp.max(values)
    least = values.shape[0] * _LEAST_SHARE
    above, below = jnp.maximum(count, least), jnp.maximum(values.shape[0] - count, least)
    target = jnp.log(above) - jnp.log(below)
    precision = jnp.asarray([1e-3, 4 * jnp.finfo(values.dtype).eps], values.dtype)

    def approach(turn: jax.Array, state: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        threshold, centre, _ = state
        # First from the guess, then around the value nearest to the threshold: differences from
        # it are exact where amounts are neither 0 nor 1, however small the temperature.
        centre = jnp.where(turn == 0, centre, values[jnp.argmin(jnp.abs(values - threshold))])
        scaled = (values - centre) / temperature
        # At these shifts no, or every, amount is less than N / P.
        ends = (low - centre) / temperature - target, (high - centre) / temperature - target
        start = (threshold - centre) / temperature
        shift = _shift(scaled, above, below, *ends, start, precision[turn])
        return centre + temperature * shift, centre, shift

    state = (guess, guess, jnp.zeros_like(guess))
    threshold, centre, shift = lax.fori_loop(0, 2, approach, state)
    return (values - centre) / temperature - shift, threshold


@_soft_top.defjvp
def _soft_top_jvp(primals, tangents):  # type: ignore[no-untyped-def]
    temperature = primals[2]
    of_values, _, of_temperature, _ = tangents
    odds, threshold = _soft_top(*primals)
    # The threshold moves so that the amounts still sum to N.
    share = jax.nn.sigmoid(odds) * jax.nn.sigmoid(-odds)
    total = jnp.sum(share)
    share = jnp.where(total > 0, share / jnp.where(total > 0, total, 1), 0)
    moved = of_values - odds * of_temperature
    of_threshold = jnp.vdot(share, moved)
    return (odds, threshold), ((moved - of_threshold) / temperature, of_threshold)


def _shift(
    scaled: jax.Array,
    above: jax.Array,
    below: jax.Array,
    low: jax.Array,
    high: jax.Array,
    start: jax.Array,
    precision: jax.Array,
) -> jax.Array:
    """The shift for which Σ sigmoid(scaled − shift) = above, and Σ sigmoid(shift − scaled) = below.

    Newton's method on the log-odds of the sum, which are almost linear in the
    shift if they are far from the target, kept within a shrinking bracket.
    """

    def unsolved(state: Any) -> jax.Array:
        step, shift, low, high, error = state
        return (step < _MAX_STEPS) & (jnp.abs(error) > precision) & (low < shift) & (shift < high)

    def improve(state: Any) -> Any:
        step, shift, low, high, _ = state
        amounts, rest = jax.nn.sigmoid(scaled - shift), jax.nn.sigmoid(shift - scaled)
        sum_above, sum_below = jnp.sum(amounts), jnp.sum(rest)
        error = jnp.log(sum_above / above) - jnp.log(sum_below / below)
        low, high = jnp.where(error > 0, shift, low), jnp.where(error < 0, shift, high)
        slope = jnp.sum(amounts * rest) * (1 / sum_above + 1 / sum_below)
        newton = shift + error / slope
        inside = (newton > low) & (newton < high)  # False if the slope is 0 or not finite.
        halve = ~inside | ((step >= _NEWTON_STEPS) & (step % 2 == 1))
        searched = jnp.where(halve, low + (high - low) / 2, newton)
        polished = jnp.where(inside, newton, shift)
        new_shift = jnp.where(jnp.abs(error) > precision, searched, polished)
        return step + 1, new_shift, low, high, error

    start = jnp.where((start > low) & (start < high), start, low + (high - low) / 2)
    state = (jnp.int32(0), start, low, high, jnp.full_like(start, jnp.inf))
    return lax.while_loop(unsolved, improve, state)[1]
