"""Propagation, information and gains against dense NumPy float64."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import mig_jax
from mig_jax.measure import back_propagate, propagate
from mig_jax.selection import fill_pages, labels_covered, lay_out_pages
from tests import oracles
from tests.strategies import FUNCTIONS, SMALL, cases, random_case, to_float64


@given(case=cases(), seed=st.integers(0, 99))
@example(case=SMALL["no records"], seed=0)
@example(case=SMALL["one record"], seed=0)
@settings(max_examples=30)
def test_propagation_is_the_matrix_of_equation_6(case, seed):
    x = np.random.default_rng(seed).uniform(0, 5, case.num_labels)
    a = oracles.propagation_matrix(case.num_labels, case.edges, case.alpha)
    np.testing.assert_allclose(a.sum(axis=1), 1)
    np.testing.assert_allclose(propagate(case.graph, case.alpha, x), a @ x, rtol=1e-5)
    np.testing.assert_allclose(back_propagate(case.graph, case.alpha, x), a.T @ x, rtol=1e-5)


class Variants(chex.TestCase):
    """What `select` and the learners compile, and a notebook calls as it is."""

    @chex.variants(with_jit=True, without_jit=True, with_device=True)
    def test_all_that_is_measured_is_the_definition(self):
        case = random_case(2, 60)
        ours, phi, derivative = FUNCTIONS[0]
        amounts = np.random.default_rng(0).integers(0, 2, 60).astype(np.float32)

        @self.variant
        def measured(pool, graph, measure, amounts):
            z = mig_jax.label_information(pool, graph, measure, amounts)
            total = mig_jax.information(measure, z)
            return z, total, mig_jax.linear_gains(pool, graph, measure, z)

        measure = mig_jax.Measure(ours, case.alpha)
        z, total, gains = measured(case.pool, case.graph, measure, amounts)
        expected = amounts @ case.rows
        np.testing.assert_allclose(z, expected, rtol=1e-5)
        np.testing.assert_allclose(total, oracles.total_information(phi, expected), rtol=1e-5)
        slow = oracles.gains(phi, derivative, case.rows, expected, "linear")
        np.testing.assert_allclose(gains, slow, rtol=1e-4)


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: type(f[0]).__name__)
@given(case=cases(), seed=st.integers(0, 99))
@example(case=SMALL["no records"], seed=0)
@example(case=SMALL["no labels"], seed=0)
@settings(max_examples=15)
def test_information_and_linear_gains_are_the_definitions(function, case, seed):
    ours, phi, derivative = function
    rng = np.random.default_rng(seed)
    amounts = rng.integers(0, 2, len(case.scores)).astype(np.float64)
    with jax.enable_x64(True):
        measure = to_float64(mig_jax.Measure(ours, case.alpha))
        pool, graph = to_float64((case.pool, case.graph))
        z = mig_jax.label_information(pool, graph, measure, amounts)
        np.testing.assert_allclose(z, amounts @ case.rows, rtol=1e-9, atol=1e-12)
        expected = oracles.total_information(phi, np.asarray(z))
        np.testing.assert_allclose(mig_jax.information(measure, z), expected, rtol=1e-9)
        gains = mig_jax.linear_gains(pool, graph, measure, z)
        slow = oracles.gains(phi, derivative, case.rows, np.asarray(z), "linear")
        np.testing.assert_allclose(gains, slow, rtol=1e-8, atol=1e-200)


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: type(f[0]).__name__)
@given(case=cases(), seed=st.integers(0, 99))
@settings(max_examples=15)
def test_information_is_monotone_and_submodular(function, case, seed):
    """A ⊆ B and d not in B: E(A + d) − E(A) ≥ E(B + d) − E(B) ≥ 0."""
    rng = np.random.default_rng(seed)
    records = len(case.scores)
    d = int(rng.integers(records))
    large = rng.integers(0, 2, records).astype(np.float64)
    large[d] = 0
    small = large * rng.integers(0, 2, records)
    with jax.enable_x64(True):
        measure = to_float64(mig_jax.Measure(function[0], case.alpha))
        pool, graph = to_float64((case.pool, case.graph))

        def information(amounts):
            z = mig_jax.label_information(pool, graph, measure, amounts)
            return float(mig_jax.information(measure, z))

        one = np.eye(records)[d]
        early = information(small + one) - information(small)
        late = information(large + one) - information(large)
    assert early >= late - 1e-9
    assert late >= -1e-9


def test_gradients_reach_every_parameter():
    case = random_case(1, 50)
    amounts = np.linspace(0, 1, 50)
    with jax.enable_x64(True):
        pool, graph = to_float64((case.pool, case.graph))
        exponents = jnp.linspace(0.3, 0.9, case.num_labels)
        measure = mig_jax.Measure(mig_jax.Power(exponents, jnp.float64(1e-3)), jnp.float64(0.7))

        def total(measure):
            z = mig_jax.label_information(pool, graph, measure, amounts)
            return mig_jax.information(measure, z)

        gradient = jax.jit(jax.grad(total))(measure)

        def along(make):
            h = 1e-6
            return (total(make(h)) - total(make(-h))) / (2 * h)

        function = measure.score_function
        steps = {
            "alpha": (
                gradient.propagation,
                along(lambda h: mig_jax.Measure(function, 0.7 + h)),
            ),
            "exponent": (
                gradient.score_function.exponent[4],
                along(lambda h: mig_jax.Measure(mig_jax.Power(exponents.at[4].add(h), 1e-3), 0.7)),
            ),
        }
        for name, (ours, expected) in steps.items():
            np.testing.assert_allclose(ours, expected, rtol=1e-5, err_msg=name)


def test_labels_outside_the_graph_are_told():
    pool = mig_jax.pool_from_label_lists([[0], [3]], [1.0, 1.0])
    graph, measure = mig_jax.label_graph_from_edges(3), mig_jax.Measure()
    told = "label id 3 is not in a graph of 3 labels"
    with pytest.raises(ValueError, match=told):
        mig_jax.linear_gains(pool, graph, measure, np.zeros(3))
    with pytest.raises(ValueError, match=told):
        mig_jax.label_information(pool, graph, measure, np.ones(2))
    with pytest.raises(ValueError, match=told):
        mig_jax.certify(pool, graph, measure, [0])
    with pytest.raises(ValueError, match=told):
        mig_jax.select(pool, graph, 1)
    with pytest.raises(ValueError, match=told):
        labels_covered(pool, graph, np.array([1]))
    negative = mig_jax.Pool(np.int32([0, -1]), np.int32([0, 1]), np.float32([1, 1]))
    with pytest.raises(ValueError, match="label id -1"):
        mig_jax.certify(negative, graph, measure, [0])


def test_page_values_are_differentiable_in_alpha():
    case = random_case(2, 40)
    layout = lay_out_pages(case.pool, case.graph)
    with jax.enable_x64(True):
        pool, graph = to_float64((case.pool, case.graph))

        def total(alpha):
            pages = fill_pages(layout, pool, graph, mig_jax.Measure(propagation=alpha))
            return jnp.sum(jnp.sqrt(pages.values + 1e-3))

        h = 1e-6
        expected = (total(0.8 + h) - total(0.8 - h)) / (2 * h)
        np.testing.assert_allclose(jax.grad(total)(jnp.float64(0.8)), expected, rtol=1e-6)


@pytest.mark.parametrize("gain", ["exact", "linear"])
@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: type(f[0]).__name__)
def test_marginal_gains_are_the_definitions_and_differentiable(function, gain):
    ours, phi, derivative = function
    case = random_case(6, 40)
    layout = lay_out_pages(case.pool, case.graph, area=64)
    z = np.random.default_rng(0).uniform(0.1, 5, case.num_labels)
    with jax.enable_x64(True):
        pool, graph = to_float64((case.pool, case.graph))
        weights = np.random.default_rng(1).uniform(0, 1, 40)

        def gains(measure, z):
            pages = fill_pages(layout, pool, graph, measure)
            return mig_jax.marginal_gains(mig_jax.GAIN_RULES[gain], measure, pages, z, 40)

        measure = to_float64(mig_jax.Measure(ours, case.alpha))
        slow = oracles.gains(phi, derivative, case.rows, z, gain)
        np.testing.assert_allclose(gains(measure, jnp.asarray(z)), slow, rtol=1e-8, atol=1e-12)

        def total(alpha, z):
            return jnp.vdot(weights, gains(mig_jax.Measure(measure.score_function, alpha), z))

        alpha, z = jnp.float64(0.9), jnp.asarray(z)
        by_alpha, by_z = jax.jit(jax.grad(total, argnums=(0, 1)))(alpha, z)
        h = 1e-6
        expected = (total(alpha + h, z) - total(alpha - h, z)) / (2 * h)
        np.testing.assert_allclose(by_alpha, expected, rtol=1e-5)
        step = h * jnp.eye(case.num_labels)[3]
        expected = (total(alpha, z + step) - total(alpha, z - step)) / (2 * h)
        np.testing.assert_allclose(by_z[3], expected, rtol=1e-5, atol=1e-9)
