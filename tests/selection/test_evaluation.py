"""What a selection holds, for picks at hand and for picks that are traced."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mig_jax
from mig_jax.measure import amounts_of_picks
from mig_jax.selection import selected_information
from tests.strategies import random_case

CASE = random_case(23, 40)
MEASURE = mig_jax.Measure()
PICKS = np.random.default_rng(0).permutation(40)[:12].reshape(3, 4)


def _held(picks):
    return selected_information(CASE.pool, CASE.graph, MEASURE, picks)


def test_selected_information_is_the_sum_of_the_rows_picked():
    for picks in PICKS:
        np.testing.assert_allclose(_held(picks), CASE.rows[picks].sum(axis=0), rtol=1e-5)
    np.testing.assert_array_equal(_held([]), np.zeros(CASE.num_labels))


def test_it_works_under_jit_and_vmap():
    expected = np.stack([_held(picks) for picks in PICKS])
    np.testing.assert_allclose(jax.jit(_held)(PICKS[0]), expected[0], rtol=1e-6)
    np.testing.assert_allclose(jax.vmap(_held)(PICKS), expected, rtol=1e-6)
    whole = jax.jit(selected_information)(CASE.pool, CASE.graph, MEASURE, PICKS[1])
    np.testing.assert_allclose(whole, expected[1], rtol=1e-6)
    # Parameters are traced and picks are not.
    gradient = jax.jit(
        jax.grad(
            lambda alpha: jnp.sum(
                selected_information(
                    CASE.pool, CASE.graph, mig_jax.Measure(propagation=alpha), PICKS[0]
                )[:5]
            )
        )
    )(1.0)
    assert np.isfinite(gradient)
    assert gradient != 0


@pytest.mark.parametrize("picks", [[3, 3], [40], [-1]])
def test_bad_picks_are_refused_and_traced_ones_count_as_documented(picks):
    with pytest.raises(ValueError, match="picks"):
        _held(picks)
    counted = [pick for pick in set(picks) if 0 <= pick < 40]
    np.testing.assert_allclose(jax.jit(_held)(np.array(picks)), _held(counted), rtol=1e-6)


def test_amounts_of_picks_are_ones_and_zeros():
    expected = np.isin(np.arange(40), PICKS[0]).astype(np.float32)
    for found in (
        amounts_of_picks(CASE.pool, PICKS[0]),
        jax.jit(lambda picks: amounts_of_picks(CASE.pool, picks))(PICKS[0]),
    ):
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == np.float32
