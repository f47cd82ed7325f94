"""The softened greedy: its limits, and its gradients as a check on the relaxed selection's."""

from __future__ import annotations

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mig_jax
from tests.strategies import random_case, to_float64

RULES = [mig_jax.EXACT, mig_jax.LINEAR]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_cold_picks_are_the_greedy_picks(rule):
    case = random_case(3, 120)
    measure = mig_jax.Measure(propagation=case.alpha)
    picks = mig_jax.select(case.pool, case.graph, 25, measure=measure, gain=rule).picks
    with jax.enable_x64(True):
        pool, graph, measure = to_float64((case.pool, case.graph, measure))
        for temperature in [0.1, 1e-5]:
            amounts, z = mig_jax.softened_greedy(pool, graph, measure, 25, temperature, gain=rule)
            np.testing.assert_allclose(amounts.sum(), 25, rtol=1e-9)
            assert np.all((amounts >= 0) & (amounts <= 1 + 1e-12))
            np.testing.assert_allclose(z, amounts @ case.rows, rtol=1e-9)
        amounts = np.asarray(amounts)
    assert set(np.flatnonzero(amounts > 0.5)) == set(picks)
    np.testing.assert_allclose(amounts, np.round(amounts), atol=1e-6)


def test_none_and_all():
    case = random_case(4, 9)
    for budget in [0, 9]:
        amounts, _ = mig_jax.softened_greedy(case.pool, case.graph, mig_jax.Measure(), budget, 0.3)
        np.testing.assert_allclose(amounts, budget / 9, atol=1e-5)


def test_gradients_are_those_of_finite_differences():
    case = random_case(5, 40)
    weights = np.random.default_rng(0).normal(size=40)
    with jax.enable_x64(True):
        pool, graph = to_float64((case.pool, case.graph))

        def loss(exponent, alpha, temperature):
            # Without epsilon slopes at no information have no bound.
            measure = mig_jax.Measure(mig_jax.Power(exponent, 0.0), alpha)
            amounts, _ = mig_jax.softened_greedy(pool, graph, measure, 6, temperature)
            return weights @ amounts

        point = np.array([0.7, 0.9, 0.1])
        value_and_gradient = jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2)))
        gradient = value_and_gradient(*point)[1]
        for i, step in enumerate(1e-6 * np.eye(3)):
            high, low = (value_and_gradient(*(point + sign * step))[0] for sign in (1, -1))
            np.testing.assert_allclose(gradient[i], (high - low) / 2e-6, rtol=1e-5)


def test_both_ways_give_gradients_of_the_same_sign_and_size():
    """Two independent ways to soften the same choice, judged by one fixed objective."""
    case = random_case(3, 200)
    with jax.enable_x64(True):
        pool, graph = to_float64((case.pool, case.graph))
        judge = mig_jax.Measure(mig_jax.Power(0.5, 1e-2), 0.0)
        importance = jnp.linspace(0.1, 2, case.num_labels)

        def judged(parameters, soften):
            function = mig_jax.Power(parameters["exponent"], 1e-3, parameters["weight"])
            measure = mig_jax.Measure(function, parameters["alpha"])
            similarities = graph.similarities * parameters["edges"]
            changed = dataclasses.replace(graph, similarities=similarities)
            amounts = soften(changed, measure)
            z = mig_jax.label_information(pool, graph, judge, amounts)
            return importance @ judge.score_function.value(z)

        def relaxed(graph, measure):
            return mig_jax.relaxed_selection(pool, graph, measure, 30, 0.1, tolerance=1e-10).amounts

        def greedy(rule, graph, measure):
            return mig_jax.softened_greedy(pool, graph, measure, 30, 0.1, gain=rule)[0]

        parameters = {
            "exponent": jnp.linspace(0.3, 0.9, case.num_labels),
            "weight": jnp.linspace(1, 2, case.num_labels),
            "alpha": jnp.float64(0.7),
            "edges": jnp.ones(2 * len(case.edges)),
        }
        gradient = jax.jit(jax.grad(judged), static_argnums=1)
        ours = gradient(parameters, relaxed)
        checks = {rule.name: gradient(parameters, partial(greedy, rule)) for rule in RULES}
    for rule, check in checks.items():
        for name in parameters:
            a, b = np.ravel(ours[name]), np.ravel(check[name])
            assert a @ b >= 0.95 * np.linalg.norm(a) * np.linalg.norm(b), (rule, name)
            assert 0.8 <= np.linalg.norm(b) / np.linalg.norm(a) <= 1.25, (rule, name)
