"""The four families of score functions that are known by name.

The paper (arXiv 2504.13835, section 3.2) uses `Power(0.8, 1e-6)` for all labels.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mig_jax.measure._arrays import Array, Numbers, Parameter
from mig_jax.measure._paper import PAPER
from mig_jax.measure._parameter_checks import check_at_least_0, is_known
from mig_jax.measure._pytrees import as_pytree
from mig_jax.measure._registry import name_in
from mig_jax.measure._score_function import ScoreFunction, safe_base

__all__ = ["FAMILIES", "Exponential", "Log", "Power", "Saturating", "family_name"]


@as_pytree
class Power(ScoreFunction):
    """φ(x) = weight · ((x + epsilon)^exponent − epsilon^exponent), 0 < exponent ≤ 1.

    Raises:
      ValueError: if a parameter is below 0, or an exponent above 1: such a φ is not concave.

    >>> round(float(Power(0.5, 0.0).value(4.0)), 6)
    2.0
    """

    shape_name = "exponent"

    exponent: Parameter = PAPER.exponent
    epsilon: Parameter = PAPER.epsilon
    weight: Parameter = 1.0

    def __post_init__(self) -> None:
        check_at_least_0(self)
        if is_known(self.exponent) and np.any(np.asarray(self.exponent) > 1):
            largest = np.max(np.asarray(self.exponent))
            raise ValueError(f"exponent: found {largest:.6g}, expected at most 1")

    def value(self, x: Numbers) -> Array:
        top = safe_base(x + self.epsilon) ** self.exponent
        return self.weight * (top - safe_base(jnp.asarray(self.epsilon)) ** self.exponent)

    def derivative(self, x: Numbers) -> Array:
        return self.weight * self.exponent * safe_base(x + self.epsilon) ** (self.exponent - 1)

    def prepare(self, x: Numbers) -> tuple[Array, ...]:
        base = safe_base(x + self.epsilon)
        exponent = jnp.broadcast_to(jnp.asarray(self.exponent, base.dtype), base.shape)
        return base, self.weight * base**exponent, exponent

    def increase(self, prepared: tuple[Array, ...], step: Numbers) -> Array:
        base, height, exponent = prepared
        return height * jnp.expm1(exponent * jnp.log1p(step / base))

    def moved_shape(self, offset: Parameter) -> jax.Array:
        """The exponent after a move of its logit: it stays between 0 and 1."""
        logit = jnp.log(self.exponent) - jnp.log1p(-self.exponent)
        return jax.nn.sigmoid(logit + offset)


@as_pytree
class Exponential(ScoreFunction):
    """φ(x) = weight · (1 − e^(−rate·x)).

    Raises:
      ValueError: if a parameter is below 0.

    >>> float(Exponential(1.0).value(0.0))
    0.0
    """

    shape_name = "rate"

    rate: Parameter = 1.0
    weight: Parameter = 1.0

    def __post_init__(self) -> None:
        check_at_least_0(self)

    def value(self, x: Numbers) -> Array:
        return -self.weight * jnp.expm1(-self.rate * x)

    def derivative(self, x: Numbers) -> Array:
        return self.weight * self.rate * jnp.exp(-self.rate * x)

    def prepare(self, x: Numbers) -> tuple[Array, ...]:
        left = self.weight * jnp.exp(-self.rate * jnp.asarray(x))
        return left, jnp.broadcast_to(jnp.asarray(self.rate, left.dtype), left.shape)

    def increase(self, prepared: tuple[Array, ...], step: Numbers) -> Array:
        left, rate = prepared
        return left * -jnp.expm1(-rate * step)


@as_pytree
class Log(ScoreFunction):
    """φ(x) = weight · log(1 + rate·x).

    Raises:
      ValueError: if a parameter is below 0.

    >>> round(float(Log(1.0).derivative(1.0)), 6)
    0.5
    """

    shape_name = "rate"

    rate: Parameter = 1.0
    weight: Parameter = 1.0

    def __post_init__(self) -> None:
        check_at_least_0(self)

    def value(self, x: Numbers) -> Array:
        return self.weight * jnp.log1p(self.rate * x)

    def derivative(self, x: Numbers) -> Array:
        return self.weight * self.rate / (1 + self.rate * jnp.asarray(x))

    def prepare(self, x: Numbers) -> tuple[Array, ...]:
        slope = self.rate / (1 + self.rate * jnp.asarray(x))
        return slope, jnp.broadcast_to(jnp.asarray(self.weight, slope.dtype), slope.shape)

    def increase(self, prepared: tuple[Array, ...], step: Numbers) -> Array:
        slope, weight = prepared
        return weight * jnp.log1p(slope * step)


@as_pytree
class Saturating(ScoreFunction):
    """φ(x) = weight · x / (x + 1/rate): half of the weight is reached at x = 1/rate.

    Raises:
      ValueError: if a parameter is below 0.

    >>> float(Saturating(rate=0.5).value(2.0))
    0.5
    """

    shape_name = "rate"

    rate: Parameter = 1.0
    weight: Parameter = 1.0

    def __post_init__(self) -> None:
        check_at_least_0(self)

    def value(self, x: Numbers) -> Array:
        return self.weight * x / (x + self._half(x))

    def derivative(self, x: Numbers) -> Array:
        half = self._half(x)
        return self.weight * half / (x + half) ** 2

    def prepare(self, x: Numbers) -> tuple[Array, ...]:
        reach = x + self._half(x)
        return reach, self.weight * self._half(x) / reach

    def increase(self, prepared: tuple[Array, ...], step: Numbers) -> Array:
        reach, room = prepared
        return room * (step / (reach + step))

    def _half(self, x: Numbers) -> jax.Array:
        return 1 / safe_base(jnp.asarray(self.rate, jnp.result_type(x, jnp.float32)))


#: A line for each subclass of `ScoreFunction`; add yours to have it found by name.
FAMILIES: dict[str, type[Any]] = {
    "power": Power,
    "exponential": Exponential,
    "log": Log,
    "saturating": Saturating,
}


def family_name(score_function: ScoreFunction) -> str:
    """The name of its family in `FAMILIES`.

    Raises:
      ValueError: if it is of no family there.

    >>> family_name(Log(0.5))
    'log'
    """
    return name_in(FAMILIES, score_function, "FAMILIES")
