"""The soft top N against SciPy's root finder and finite differences."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.special import expit

from mig_jax.relaxation import soft_top

SIZES = [1, 2, 7, 40]


@st.composite
def problems(draw: st.DrawFn, size: int) -> tuple[np.ndarray, int, float]:
    """Values with ties and gaps, a count from none to all, and a temperature of any size."""
    value = st.sampled_from([0.0, 0.0, 1.0, 1.0, 2.5, 3.0, 3.0078125, 1000.0])
    values = np.array(draw(st.lists(value, min_size=size, max_size=size)))
    return values, draw(st.integers(0, size)), 10.0 ** draw(st.floats(-7, 2))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_amounts_are_those_of_the_root(size, dtype):
    with jax.enable_x64(dtype == np.float64):
        # Compiled once a size; hypothesis then varies all else.
        compiled = jax.jit(soft_top)
        tight = 1e-6 if dtype == np.float32 else 1e-12

        @given(problem=problems(size))
        @settings(max_examples=60)
        def check(problem):
            values, count, temperature = problem
            odds, _ = compiled(values.astype(dtype), count, dtype(temperature))
            assert odds.dtype == dtype
            amounts = expit(np.asarray(odds, np.float64))
            assert abs(amounts.sum() - count) <= tight * max(count, 1)
            scaled = values / float(dtype(temperature))
            # Seen from the best value: a threshold between far values is known up to a plateau.
            if 0 < count < size and np.ptp(scaled) < 500:
                low, high = scaled.min() - 100, scaled.max() + 100
                shift = brentq(lambda x: expit(scaled - x).sum() - count, low, high, xtol=1e-13)
                rounding = np.finfo(dtype).eps * np.abs(scaled).max()
                tolerance = 20 * tight + 4 * rounding
                np.testing.assert_allclose(amounts, expit(scaled - shift), atol=tolerance)

        check()


@pytest.mark.parametrize("count", [1, 3, 5])
def test_no_temperature_is_too_small(count):
    values = jnp.array([5.0, 4.0, 3.0, 3.0, 3.0, 1.0, 0.0])
    for temperature in 10.0 ** np.arange(-30, -1):
        odds, threshold = soft_top(values, count, temperature)
        expected = {1: [1, 0, 0, 0, 0, 0, 0], 3: [1, 1, *[1 / 3] * 3, 0, 0], 5: [1] * 5 + [0] * 2}
        np.testing.assert_allclose(jax.nn.sigmoid(odds), expected[count], atol=1e-5)
        below, above = {1: (4, 5), 3: (2.9, 3.1), 5: (1, 3)}[count]
        assert below <= threshold <= above


@pytest.mark.parametrize("count", [0, 7])
def test_none_and_all(count):
    values = jnp.linspace(-1e6, 1e6, 7)
    odds, threshold = soft_top(values, count, 0.1)
    np.testing.assert_array_equal(jax.nn.sigmoid(odds).round(20), [count / 7] * 7)
    gradient = jax.grad(lambda values: soft_top(values, count, 0.1)[1])(values)
    assert np.all(np.isfinite(gradient))
    assert np.isfinite(threshold)


def test_an_empty_pool():
    odds, threshold = soft_top(jnp.zeros(0), 0, 0.1)
    assert odds.shape == (0,)
    assert threshold == 0


def test_a_bad_guess_changes_nothing():
    values = jnp.asarray(np.random.default_rng(0).normal(size=50).astype(np.float32))
    odds, _ = soft_top(values, 11, 0.01)
    for guess in [-1e6, 0.3, 1e6]:
        np.testing.assert_allclose(soft_top(values, 11, 0.01, guess)[0], odds, atol=1e-4)


@pytest.mark.parametrize("temperature", [1.0, 0.05])
def test_gradients_are_those_of_finite_differences(temperature):
    rng = np.random.default_rng(1)
    values, weights = rng.normal(size=20), rng.normal(size=20)
    with jax.enable_x64(True):

        @jax.jit
        def total(values, temperature):
            odds, threshold = soft_top(values, 6, temperature)
            return jnp.vdot(weights, jax.nn.sigmoid(odds)) + 0.3 * threshold

        by_values, by_temperature = jax.grad(total, argnums=(0, 1))(values, temperature)
        h = 1e-6
        for d in range(20):
            step = h * np.eye(20)[d]
            expected = (total(values + step, temperature) - total(values - step, temperature)) / 2
            np.testing.assert_allclose(by_values[d], expected / h, rtol=1e-5, atol=1e-8)
        expected = (total(values, temperature + h) - total(values, temperature - h)) / (2 * h)
        np.testing.assert_allclose(by_temperature, expected, rtol=1e-5)


def test_many_at_once():
    values = np.random.default_rng(2).normal(size=(3, 9)).astype(np.float32)
    counts, temperatures = jnp.array([1, 4, 9]), jnp.array([1e-4, 1.0, 0.1])
    odds, thresholds = jax.vmap(soft_top)(values, counts, temperatures)
    for i in range(3):
        one, threshold = soft_top(values[i], counts[i], temperatures[i])
        np.testing.assert_allclose(jax.nn.sigmoid(odds[i]), jax.nn.sigmoid(one), atol=1e-6)
        np.testing.assert_allclose(thresholds[i], threshold, rtol=1e-5)


def test_a_million_amounts_sum_to_the_count():
    values = np.random.default_rng(3).gamma(4, 1, 1_000_000).astype(np.float32)
    for temperature in [1.0, 0.01]:
        odds, _ = jax.jit(soft_top)(values, 10_000, temperature)
        total = expit(np.asarray(odds, np.float64)).sum()
        assert abs(total - 10_000) <= 1e-6 * 10_000
