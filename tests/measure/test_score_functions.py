"""Score functions against their definitions and against finite differences."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mig_jax
from mig_jax.measure import safe_base
from tests.strategies import FUNCTIONS, to_float64

amounts = st.floats(0, 1e4, allow_nan=False)
functions = pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: type(f[0]).__name__)


@functions
@given(x=amounts)
def test_value_and_derivative_are_the_definitions(function, x):
    ours, phi, derivative = function
    with jax.enable_x64(True):
        x = np.float64(x)
        np.testing.assert_allclose(ours.value(x), phi(x), rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(ours.derivative(x), derivative(x), rtol=1e-9, atol=1e-200)


@functions
@given(x=amounts, y=amounts, step=st.floats(0, 100))
def test_rises_and_is_concave(function, x, y, step):
    ours, _, _ = function
    low, high = sorted((x, y))
    with jax.enable_x64(True):
        assert ours.value(np.float64(high)) >= ours.value(np.float64(low))
        early = ours.increase(ours.prepare(np.float64(low)), step)
        late = ours.increase(ours.prepare(np.float64(high)), step)
        assert 0 <= late <= early * (1 + 1e-9)
        slope = ours.derivative(np.float64(low)) * step
        assert early <= slope * (1 + 1e-9) + 1e-300


@functions
@pytest.mark.parametrize("x", [0.0, 1e-3, 1.0, 1e3, 1e5])
@pytest.mark.parametrize("step", [1e-4, 0.3, 20.0])
def test_increase_keeps_its_digits_in_float32(function, x, step):
    """A difference of two values would have none left at x = 1e5."""
    ours, phi, _ = function
    x, step = float(np.float32(x)), float(np.float32(step))
    exact = phi(x + step) - phi(x)
    if exact < 1e-9:
        pytest.skip("too small a difference for the float64 definition itself")
    increase = ours.increase(ours.prepare(jnp.float32(x)), jnp.float32(step))
    np.testing.assert_allclose(increase, exact, rtol=3e-5)


@mig_jax.as_pytree
class _ValueOnly(mig_jax.ScoreFunction):
    """A family as one of those here, of which nothing but the value is known."""

    other: mig_jax.ScoreFunction

    def value(self, x):
        return self.other.value(x)


@functions
@given(x=amounts, step=st.floats(0, 100), beyond=st.booleans())
def test_what_follows_from_the_value_is_what_families_say_themselves(function, x, step, beyond):
    ours, _, derivative = function
    with jax.enable_x64(True):
        x = np.float64(1e-3 * x if beyond else x)
        by_value = _ValueOnly(to_float64(ours))
        slope = derivative(max(x, 1e-30))
        np.testing.assert_allclose(by_value.derivative(x), slope, rtol=1e-6, atol=1e-16)
        increase = by_value.increase(by_value.prepare(x), np.float64(step))
        own = ours.increase(ours.prepare(x), np.float64(step))
        np.testing.assert_allclose(increase, own, rtol=2e-4, atol=1e-14)


@pytest.mark.parametrize("shape", [(), (3,)])
def test_increases_by_slopes_have_gradients(shape):
    with jax.enable_x64(True):
        by_value = _ValueOnly(mig_jax.Log(jnp.full(shape, 0.3), jnp.full(shape, 2.0)))
        x, step = jnp.full(3, 0.7), jnp.array([[0.1, 30.0, 0.0], [1.0, 2.0, 3.0]])

        def total(function, x, step):
            return jnp.sum(function.increase(function.prepare(x), step))

        ours = jax.grad(total, argnums=(0, 1, 2))(by_value, x, step)
        expected = jax.grad(total, argnums=(0, 1, 2))(by_value.other, x, step)
        for one, other in zip(
            jax.tree_util.tree_leaves(ours), jax.tree_util.tree_leaves(expected), strict=True
        ):
            np.testing.assert_allclose(one, other, rtol=1e-8)


@functions
@given(x=st.floats(1e-2, 1e3))
def test_gradients_agree_with_finite_differences(function, x):
    ours, _, _ = function
    with jax.enable_x64(True):
        x = jnp.float64(x)
        wide = to_float64(ours)
        h = 1e-6 * x
        slope = (wide.value(x + h) - wide.value(x - h)) / (2 * h)
        np.testing.assert_allclose(jax.grad(wide.value)(x), slope, rtol=1e-5, atol=1e-9)
        np.testing.assert_allclose(wide.derivative(x), slope, rtol=1e-5, atol=1e-9)
        gradient = jax.grad(lambda f: f.value(x))(wide)
        leaves, tree = jax.tree_util.tree_flatten(wide)
        for i, leaf in enumerate(jax.tree_util.tree_leaves(gradient)):
            step = 1e-4 * float(leaves[i])

            def value(shift, i=i):
                moved = [v + shift * (j == i) for j, v in enumerate(leaves)]
                return tree.unflatten(moved).value(x)

            expected = (value(step) - value(-step)) / (2 * step)
            np.testing.assert_allclose(leaf, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("epsilon", [0.0, 1e-6])
@pytest.mark.parametrize("method", ["value", "derivative"])
def test_all_gradients_at_nothing_are_finite(method, epsilon):
    """φ'(0) is infinite for a power with epsilon 0: the gradient must be finite all the same."""
    for ours in (
        mig_jax.Power(0.5, epsilon),
        mig_jax.Exponential(),
        mig_jax.Log(),
        mig_jax.Saturating(),
    ):
        both = jax.grad(lambda f, x: getattr(f, method)(x), argnums=(0, 1))
        ours = jax.tree_util.tree_map(jnp.float32, ours)
        for leaf in jax.tree_util.tree_leaves(both(ours, jnp.float32(0))):
            assert np.isfinite(leaf)
        assert np.isfinite(getattr(ours, method)(jnp.float32(0)))


def test_safe_base_is_the_identity_away_from_zero():
    x = jnp.array([0.0, 1e-35, 1e-20, 2.0])
    np.testing.assert_array_equal(safe_base(x)[2:], x[2:])
    assert (safe_base(x) > 0).all()
    np.testing.assert_array_equal(jax.vmap(jax.grad(safe_base))(x), [0, 0, 1, 1])


def test_one_parameter_a_label():
    exponents = jnp.array([0.2, 0.9, 0.5])
    z = jnp.array([1.0, 2.0, 3.0])
    together = mig_jax.Power(exponents).value(z)
    for k in range(3):
        np.testing.assert_allclose(together[k], mig_jax.Power(exponents[k]).value(z[k]), rtol=1e-6)
    at = mig_jax.Power(exponents, weight=2.0).at(jnp.array([2, 2, 0]))
    np.testing.assert_array_equal(at.exponent, exponents[jnp.array([2, 2, 0])])
    assert at.weight == 2.0
