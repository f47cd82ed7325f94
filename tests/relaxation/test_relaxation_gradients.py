"""Gradients of the relaxed selection: finite differences, unrolled iteration, their memory."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mig_jax
from mig_jax.relaxation import typical_gain
from tests.strategies import Case, random_case, to_float64

BUDGET = 30


def _problem(case: Case, parameters: dict[str, Any]) -> tuple[Any, ...]:
    pool, graph = to_float64((case.pool, case.graph))
    pool = dataclasses.replace(pool, scores=pool.scores * parameters["scores"])
    graph = dataclasses.replace(graph, similarities=graph.similarities * parameters["edges"])
    graph = mig_jax.gate_edges(graph, parameters["threshold"], 0.05)
    measure = mig_jax.Measure(parameters["function"], parameters["alpha"])
    return pool, graph, measure, BUDGET, parameters["temperature"]


def _parameters(case: Case, function: Any, temperature: float) -> dict[str, Any]:
    spread = np.linspace(0.8, 1.2, case.num_labels)
    return {
        "function": jax.tree_util.tree_map(lambda leaf: leaf * spread, function),
        "alpha": jnp.float64(0.7),
        "edges": jnp.ones(2 * len(case.edges)),
        "threshold": jnp.float64(0.7),
        "scores": jnp.ones(len(case.scores)),
        "temperature": jnp.float64(temperature),
    }


def _weigh(case: Case, amounts: jax.Array, z: jax.Array, threshold: jax.Array) -> jax.Array:
    """A number that every output enters."""
    rng = np.random.default_rng(0)
    of_amounts, of_z = rng.normal(size=len(case.scores)), rng.normal(size=case.num_labels)
    return jnp.vdot(of_amounts, amounts) + jnp.vdot(of_z, z) + threshold


CASE = random_case(3, 200)


@jax.jit
@jax.value_and_grad
def _value_and_gradient(parameters: dict[str, Any], tolerance: float) -> jax.Array:
    relaxed = mig_jax.relaxed_selection(*_problem(CASE, parameters), tolerance=tolerance)
    total = _weigh(CASE, relaxed.amounts, relaxed.z, relaxed.threshold)
    return total + relaxed.residual  # Which has no gradient.


@pytest.mark.parametrize(
    ("function", "temperature"),
    [
        (mig_jax.Power(0.8, 1e-6), 0.1),
        (mig_jax.Power(0.5, 1e-3), 0.01),
        (mig_jax.Power(0.3, 1e-2), 1.0),
        (mig_jax.Exponential(0.3), 0.1),
        (mig_jax.Saturating(0.5), 0.1),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, float) else str(value),
)
def test_gradients_are_those_of_finite_differences(function, temperature):
    with jax.enable_x64(True):
        parameters = _parameters(CASE, function, temperature)
        _, gradient = _value_and_gradient(parameters, 1e-11)
        rng = np.random.default_rng(1)
        for name in parameters:
            leaves, structure = jax.tree_util.tree_flatten(parameters[name])
            steps = [1e-6 * leaf * rng.normal(size=leaf.shape) for leaf in leaves]
            ends = []
            for sign in (1, -1):
                moved = [leaf + sign * step for leaf, step in zip(leaves, steps, strict=True)]
                changed = jax.tree_util.tree_unflatten(structure, moved)
                ends.append(_value_and_gradient(parameters | {name: changed}, 1e-11)[0])
            slopes = jax.tree_util.tree_leaves(gradient[name])
            ours = sum(jnp.vdot(slope, step) for slope, step in zip(slopes, steps, strict=True))
            expected = (ends[0] - ends[1]) / 2
            np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-9, err_msg=name)


def test_gradients_are_those_of_unrolled_differentiation():
    """Damped iteration of the fixed point on dense arrays, differentiated through every step."""
    records, labels = len(CASE.scores), CASE.num_labels

    def unrolled(parameters):
        pool, graph, measure, budget, temperature = _problem(CASE, parameters)
        w = jnp.zeros((labels, labels)).at[graph.targets, graph.sources].set(graph.similarities)
        a = measure.propagation * w + jnp.eye(labels)
        a = a / a.sum(axis=1, keepdims=True)
        has = jnp.zeros((records, labels)).at[pool.records, pool.labels].set(1.0)
        rows = pool.scores[:, None] * has @ a.T
        phi = measure.score_function
        even = rows.sum(axis=0) * budget / records
        tau = temperature * jnp.mean(rows @ phi.derivative(even))

        def answer(z):
            gains = rows @ phi.derivative(z)

            def lower(threshold, _):
                # Newton's method on log Σw, from above.
                w = jax.nn.sigmoid((gains - threshold) / tau)
                excess = jnp.log(w.sum() / budget)
                return threshold + tau * w.sum() * excess / jnp.sum(w * (1 - w)), None

            threshold, _ = jax.lax.scan(lower, jnp.max(gains), length=30)
            return jax.nn.sigmoid((gains - threshold) / tau), threshold

        def iterate(z, _):
            amounts, _ = answer(z)
            return 0.7 * z + 0.3 * amounts @ rows, None

        z, _ = jax.lax.scan(iterate, even, length=120)
        amounts, threshold = answer(z)
        return _weigh(CASE, amounts, amounts @ rows, threshold)

    with jax.enable_x64(True):
        parameters = _parameters(CASE, mig_jax.Power(0.6, 1e-2), 0.5)
        expected_value, expected = jax.jit(jax.value_and_grad(unrolled))(parameters)
        value, gradient = _value_and_gradient(parameters, 1e-11)
    np.testing.assert_allclose(value, expected_value, rtol=1e-9)
    for ours, theirs in zip(*map(jax.tree_util.tree_leaves, (gradient, expected)), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-8)


def test_float32_gradients_are_those_of_float64():
    with jax.enable_x64(True):
        parameters = _parameters(CASE, mig_jax.Power(0.8, 1e-6), 0.03)
        expected = jax.device_get(_value_and_gradient(parameters, 1e-11)[1])
        single = jax.tree_util.tree_map(np.float32, parameters)
    ours = jax.device_get(_value_and_gradient(single, 1e-4)[1])
    for name in parameters:
        pairs = zip(*map(jax.tree_util.tree_leaves, (ours[name], expected[name])), strict=True)
        for found, leaf in pairs:
            assert found.dtype == np.float32
            assert np.linalg.norm(found - leaf) <= 0.01 * (1 + np.linalg.norm(leaf)), name


def test_memory_does_not_grow_with_the_steps():
    case = random_case(9, 500)

    def loss(alpha, max_steps):
        measure = mig_jax.Measure(propagation=alpha)
        relaxed = mig_jax.relaxed_selection(
            case.pool, case.graph, measure, 50, 0.01, tolerance=0.0, max_steps=max_steps
        )
        return relaxed.amounts[0], relaxed.steps

    # One program, whose buffers have been laid out before it runs, does any number of steps.
    program = jax.jit(jax.grad(loss, has_aux=True)).lower(1.0, 1).compile()
    dense = 500 * case.num_labels * 4
    assert program.memory_analysis().temp_size_in_bytes < 4 * dense
    steps = [int(program(jnp.float32(1), jnp.int32(most))[1]) for most in (1, 4)]
    assert steps == [1, 4]


def test_typical_gain_is_differentiable_at_zero_information():
    pool = mig_jax.pool_from_label_lists([[0], [1]], [1.0, 0.0])
    graph = mig_jax.label_graph_from_edges(3)

    def unit(alpha):
        measure = mig_jax.Measure(mig_jax.Power(0.3, 0.0), alpha)
        return typical_gain(pool, graph, measure, 1)

    assert np.isfinite(jax.grad(unit)(1.0))
