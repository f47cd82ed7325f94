"""The relaxed selection and its gradients against finite differences and its own definition."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mig_jax
from tests.strategies import FUNCTIONS, random_case, to_float64

BUDGET = 30


def _loss(case: Any, parameters: dict[str, Any], temperature: float) -> jax.Array:
    """A number that every output of the selection enters, from every kind of parameter."""
    pool, graph = to_float64((case.pool, case.graph))
    pool = dataclasses.replace(pool, scores=pool.scores * parameters["scores"])
    graph = dataclasses.replace(graph, similarities=graph.similarities * parameters["edges"])
    measure = mig_jax.Measure(parameters["function"], parameters["alpha"])
    temperature = temperature * parameters["temperature"]
    relaxed = mig_jax.relaxed_selection(pool, graph, measure, BUDGET, temperature, tolerance=1e-11)
    rng = np.random.default_rng(0)
    of_amounts, of_z = rng.normal(size=len(case.scores)), rng.normal(size=case.num_labels)
    return jnp.vdot(of_amounts, relaxed.amounts) + jnp.vdot(of_z, relaxed.z) + relaxed.threshold


@pytest.mark.parametrize("temperature", [1.0, 0.03])
@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: type(f[0]).__name__)
def test_gradients_are_those_of_finite_differences(function, temperature):
    case = random_case(3, 200)
    with jax.enable_x64(True):
        rng = np.random.default_rng(1)
        spread = np.linspace(0.8, 1.2, case.num_labels)
        of_labels = jax.tree_util.tree_map(lambda leaf: leaf * spread, function[0])
        parameters = {
            "function": of_labels,
            "alpha": jnp.float64(0.7),
            "edges": jnp.ones(2 * len(case.edges)),
            "scores": jnp.ones(len(case.scores)),
            "temperature": jnp.float64(1),
        }
        loss = jax.jit(lambda parameters: _loss(case, parameters, temperature))
        gradient = jax.grad(loss)(parameters)
        for name in parameters:
            step = jax.tree_util.tree_map(
                lambda leaf: 1e-6 * leaf * rng.normal(size=leaf.shape), parameters[name]
            )
            ends = []
            for sign in (1, -1):
                moved = jax.tree_util.tree_map(
                    lambda leaf, by, sign=sign: leaf + sign * by, parameters[name], step
                )
                ends.append(loss(parameters | {name: moved}))
            ours = sum(
                jnp.vdot(g, s)
                for g, s in zip(
                    jax.tree_util.tree_leaves(gradient[name]),
                    jax.tree_util.tree_leaves(step),
                    strict=True,
                )
            )
            expected = (ends[0] - ends[1]) / 2
            np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-9, err_msg=name)
