"""Information score functions φ: how much a label's information is worth.

Each family is a pytree whose leaves are its parameters, a scalar or one value
a label (float [K]), so that they can be traced, swept by `vmap` and learned.
Every φ rises, is concave and has φ(0) = 0. A family offers

- `value(x)`: φ(x);
- `derivative(x)`: φ'(x);
- `prepare(x)`: what an increase from x needs to know of x, so that a label's
  share is computed once and not once for every record that has the label;
- `increase(prepared, step)`: φ(x + step) − φ(x) for step ≥ 0, computed without
  subtracting two nearly equal numbers: in float32 that difference would keep
  three digits where a label already holds much;
- `at(labels)`: the same function with one parameter value for each entry of
  `labels`.

The paper (arXiv 2504.13835, section 3.2) uses `Power(0.8, 1e-6)` for all labels.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol, TypeVar

import jax
import jax.numpy as jnp

from mig_jax.measure._arrays import Array
from mig_jax.measure._paper import PAPER
from mig_jax.measure._pytrees import as_pytree

__all__ = ["FAMILIES", "Exponential", "Log", "Power", "Saturating", "ScoreFunction", "safe_base"]

_Family = TypeVar("_Family", bound="_Parameters")

# Smallest base of a power. 1e-30 ** -1 is still finite in float32.
_SMALLEST_BASE = 1e-30


class ScoreFunction(Protocol):
    """What selection asks of a family; see the module's docstring."""

    def value(self, x: Array) -> jax.Array: ...

    def derivative(self, x: Array) -> jax.Array: ...

    def prepare(self, x: Array) -> Any: ...

    def increase(self, prepared: Any, step: Array) -> jax.Array: ...

    def at(self, labels: Array) -> ScoreFunction: ...


def safe_base(x: Array) -> jax.Array:
    """x kept away from 0, where powers below 1 have no finite derivative.

    The one place that makes gradients safe: for x ≤ 1e-30 the result is the
    constant 1e-30, so values stay finite and gradients are 0 instead of NaN.
    """
    away = x > _SMALLEST_BASE
    # Both branches of `where` are differentiated: the inner one must be safe too.
    return jnp.where(away, jnp.where(away, x, 1.0), _SMALLEST_BASE)


class _Parameters:
    """Leaves that are either shared by all labels or one value a label."""

    def at(self: _Family, labels: Array) -> _Family:
        def take(leaf: Array) -> Array:
            return leaf if jnp.ndim(leaf) == 0 else jnp.asarray(leaf)[labels]

        return jax.tree_util.tree_map(take, self)


@as_pytree
@dataclasses.dataclass(frozen=True)
class Power(_Parameters):
    """φ(x) = weight · ((x + epsilon)^exponent − epsilon^exponent), 0 < exponent ≤ 1.

    >>> round(float(Power(0.5, 0.0).value(4.0)), 6)
    2.0
    """

    exponent: Array = PAPER.exponent
    epsilon: Array = PAPER.epsilon
    weight: Array = 1.0

    def value(self, x: Array) -> jax.Array:
        top = safe_base(x + self.epsilon) ** self.exponent
        return self.weight * (top - safe_base(jnp.asarray(self.epsilon)) ** self.exponent)

    def derivative(self, x: Array) -> jax.Array:
        return self.weight * self.exponent * safe_base(x + self.epsilon) ** (self.exponent - 1)

    def prepare(self, x: Array) -> tuple[jax.Array, ...]:
        base = safe_base(x + self.epsilon)
        exponent = jnp.broadcast_to(jnp.asarray(self.exponent, base.dtype), base.shape)
        return base, self.weight * base**exponent, exponent

    def increase(self, prepared: tuple[jax.Array, ...], step: Array) -> jax.Array:
        base, height, exponent = prepared
        return height * jnp.expm1(exponent * jnp.log1p(step / base))


@as_pytree
@dataclasses.dataclass(frozen=True)
class Exponential(_Parameters):
    """φ(x) = weight · (1 − e^(−rate·x)).

    >>> float(Exponential(1.0).value(0.0))
    0.0
    """

    rate: Array = 1.0
    weight: Array = 1.0

    def value(self, x: Array) -> jax.Array:
        return -self.weight * jnp.expm1(-self.rate * x)

    def derivative(self, x: Array) -> jax.Array:
        return self.weight * self.rate * jnp.exp(-self.rate * x)

    def prepare(self, x: Array) -> tuple[jax.Array, ...]:
        left = self.weight * jnp.exp(-self.rate * jnp.asarray(x))
        return left, jnp.broadcast_to(jnp.asarray(self.rate, left.dtype), left.shape)

    def increase(self, prepared: tuple[jax.Array, ...], step: Array) -> jax.Array:
        left, rate = prepared
        return left * -jnp.expm1(-rate * step)


@as_pytree
@dataclasses.dataclass(frozen=True)
class Log(_Parameters):
    """φ(x) = weight · log(1 + rate·x).

    >>> round(float(Log(1.0).derivative(1.0)), 6)
    0.5
    """

    rate: Array = 1.0
    weight: Array = 1.0

    def value(self, x: Array) -> jax.Array:
        return self.weight * jnp.log1p(self.rate * x)

    def derivative(self, x: Array) -> jax.Array:
        return self.weight * self.rate / (1 + self.rate * x)

    def prepare(self, x: Array) -> tuple[jax.Array, ...]:
        slope = self.rate / (1 + self.rate * jnp.asarray(x))
        return slope, jnp.broadcast_to(jnp.asarray(self.weight, slope.dtype), slope.shape)

    def increase(self, prepared: tuple[jax.Array, ...], step: Array) -> jax.Array:
        slope, weight = prepared
        return weight * jnp.log1p(slope * step)


@as_pytree
@dataclasses.dataclass(frozen=True)
class Saturating(_Parameters):
    """φ(x) = weight · x / (x + 1/rate): half of the weight is reached at x = 1/rate.

    >>> float(Saturating(rate=0.5).value(2.0))
    0.5
    """

    rate: Array = 1.0
    weight: Array = 1.0

    def value(self, x: Array) -> jax.Array:
        return self.weight * x / (x + self._half(x))

    def derivative(self, x: Array) -> jax.Array:
        half = self._half(x)
        return self.weight * half / (x + half) ** 2

    def prepare(self, x: Array) -> tuple[jax.Array, ...]:
        reach = x + self._half(x)
        return reach, self.weight * self._half(x) / reach

    def increase(self, prepared: tuple[jax.Array, ...], step: Array) -> jax.Array:
        reach, room = prepared
        return room * (step / (reach + step))

    def _half(self, x: Array) -> jax.Array:
        return 1 / safe_base(jnp.asarray(self.rate, jnp.result_type(x, jnp.float32)))


FAMILIES: dict[str, type] = {
    "power": Power,
    "exponential": Exponential,
    "log": Log,
    "saturating": Saturating,
}
