"""What an information score function φ is: how much a label's information is worth.

Every φ rises, is concave and has φ(0) = 0. A family of them is a class; one of your own needs
`value` only:

    @mig_jax.as_pytree
    class Root(mig_jax.ScoreFunction):
        shape_name = "scale"  # To have it swept and learned.
        scale: mig_jax.measure.Parameter = 1.0

        def value(self, x):
            return jnp.sqrt(self.scale * x + 1e-6) - 1e-3

It is a pytree whose leaves are its parameters, a `Parameter` each: a number, or one for each
label. So they can be traced, swept by `vmap` and learned. A line in `FAMILIES` gives it a name, for
the commands and for files.
"""

from __future__ import annotations

import abc
import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from mig_jax.measure._arrays import Array, Numbers, Parameter

__all__ = ["ScoreFunction", "safe_base"]

# Smallest base of a power. 1e-30 ** -1 is still finite in float32; float64 holds all that is
# made of float32 numbers, the smallest of them included.
_SMALLEST_BASE, _SMALLEST_BASE_FLOAT64 = 1e-30, 1e-60

# If x + step is no more than this many times x, an increase is an integral of the slope.
# Farther, φ(x) is so small a part of φ(x + step) that their difference keeps its digits.
_FARTHEST_BY_SLOPES = 16.0
_FARTHEST_PRICE = 20.0  # A shape moves a weight by e^20 at most.
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(8)  # Of Gauss's rule, in [−1, 1].
_PLACES, _SHARES = (_NODES + 1) / 2, _WEIGHTS / 2  # In [0, 1], shares of sum 1.


def safe_base(x: Numbers) -> jax.Array:
    """x kept away from 0, where powers below 1 have no finite derivative.

    The one place that makes gradients safe: for x ≤ 1e-30 the result is the
    constant 1e-30, so values stay finite and gradients are 0 instead of NaN. In float64
    the constant is 1e-60.
    """
    smallest = _smallest_base(x)
    away = x > smallest
    # Both branches of `where` are differentiated: the inner one must be safe too.
    return jnp.where(away, jnp.where(away, x, 1.0), smallest)


def _smallest_base(x: Numbers) -> float:
    return _SMALLEST_BASE_FLOAT64 if jnp.result_type(x) == np.float64 else _SMALLEST_BASE


class ScoreFunction(abc.ABC):
    """Base of all families; see the module's docstring for one of your own.

    `value` says what φ is, and all else follows from it: a slope by differentiation, an increase
    by eight slopes. A family that knows faster or more exact forms overrides them.
    """

    #: The name of the parameter that makes φ saturate sooner or later, which grids sweep and
    #: learning moves; None if a family has no such parameter.
    shape_name: ClassVar[str | None] = None

    #: What φ is multiplied by. Learning moves it if a family has a field of this name.
    weight: Parameter = 1.0

    @abc.abstractmethod
    def value(self, x: Numbers) -> Array:
        """φ(x), element by element, for x ≥ 0. Leaves are as in `at`: they broadcast with x."""

    def derivative(self, x: Numbers) -> Array:
        """φ'(x), element by element; at x ≤ 1e-30 that of 1e-30, so that it is finite (1e-60 in
        float64).

        It has the digits that differentiation of `value` leaves: all of them for powers and
        logarithms; few for a φ that is a quotient or 1 less an exponential, if x is large.
        Such a family has a derivative of its own, by which increases become exact as well.
        """
        x = safe_base(_as_float(x))
        return jax.jvp(self.value, (x,), (jnp.ones_like(x),))[1]

    def prepare(self, x: Numbers) -> Any:
        """What an increase from x needs to know, a pytree of arrays of the shape of x.

        A label's share is so computed once, and not once for every record that has the label.
        `increase` may look at nothing else: its φ may be that of other labels.
        """
        x = _as_float(x)
        own = jax.tree_util.tree_map(lambda leaf: jnp.broadcast_to(leaf, x.shape), self)
        return x, own.value(x), own

    def increase(self, prepared: Any, step: Numbers) -> Array:
        """φ(x + step) − φ(x) for step ≥ 0, of what `prepare` gave for x.

        It must not be a difference of two nearly equal numbers: in float32 that would keep
        three digits if a label already holds much, and lazy selection trusts in five.

        Up to x + step = 16·x it is the integral of φ' over log x by Gauss's rule, with eight
        slopes: in float32 to 5e-7 of itself for powers and logarithms, and to what `derivative`
        leaves for others. Beyond, it is the difference, to as many digits as `value` has.
        """
        x, value, function = prepared
        near = (x > _smallest_base(x)) & (step <= (_FARTHEST_BY_SLOPES - 1) * x)
        start = jnp.where(near, x, 1.0)
        length = jnp.log1p(jnp.where(near, step, 0.0) / start)
        places, shares = (
            jnp.asarray(part, length.dtype).reshape(-1, *[1] * length.ndim)
            for part in (_PLACES, _SHARES)
        )
        between = start * jnp.exp(length * places)
        by_slopes = length * jnp.sum(shares * between * function.derivative(between), axis=0)
        return jnp.where(near, by_slopes, function.value(x + step) - value)

    def at(self, labels: Int[Array, "*slots"] | np.integer) -> ScoreFunction:
        """The same function with one parameter value for each entry of `labels`."""

        def of_labels(leaf: Parameter) -> Numbers:
            return leaf if jnp.ndim(leaf) == 0 else jnp.asarray(leaf)[labels]

        return jax.tree_util.tree_map(of_labels, self)

    def moved(self, shape: Parameter, log_weight: Parameter) -> ScoreFunction:
        """The function of parameters that are learned.

        Args:
          shape: by how much the shape moves, on the scale of `moved_shape`.
          log_weight: the logarithm of what the weight is multiplied by. It changes nothing
            if the family has no field `weight`, nor `shape` if it has no shape.
        """
        moved: dict[str, Parameter] = {}
        if self.shape_name is not None:
            moved[self.shape_name] = self.moved_shape(shape)
        if any(field.name == "weight" for field in dataclasses.fields(self)):  # type: ignore[arg-type]
            moved["weight"] = self.weight * jnp.exp(log_weight)
        return dataclasses.replace(self, **moved)  # type: ignore[type-var]

    def priced(self, shape: Parameter, log_price: Parameter, anchor: Parameter) -> ScoreFunction:
        """As `moved`, with a weight by which the slope at `anchor` moves with the price alone.

        A steeper shape has a lower slope where a label holds much. So shape and weight pull
        together, while shape and price are apart: φ'(z) = price · shape(z / anchor).

        Args:
          shape: by how much the shape moves, on the scale of `moved_shape`.
          log_price: the logarithm of what the slope at `anchor` is multiplied by.
          anchor: above 0; what a label holds where its price is meant.
        """
        bent = self.moved(shape, 0.0)
        before, after = (jnp.log(safe_base(one.derivative(anchor))) for one in (self, bent))
        # A slope that has vanished has no price: it is left nearly as it is.
        gap = jnp.clip(before - after, -_FARTHEST_PRICE, _FARTHEST_PRICE)
        return bent.moved(0.0, log_price + gap)

    def moved_shape(self, offset: Parameter) -> Array:
        """The shape parameter after a move by `offset`: of its logarithm, as it is above 0."""
        return getattr(self, str(self.shape_name)) * jnp.exp(offset)


def _as_float(x: Numbers) -> jax.Array:
    return jnp.asarray(x, jnp.result_type(x, float))
