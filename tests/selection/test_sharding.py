"""A sharded pool gives the picks of one device, bit for bit."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mig_jax
from mig_jax.devices import pool_mesh
from mig_jax.selection import initial_state, lazy_greedy
from tests.strategies import SMALL, Case, Shape, cases, random_case

pytestmark = pytest.mark.skipif(jax.device_count() < 8, reason="needs 8 (virtual) devices")


def alone(case: Case, function, gain: str, budget: int, area: int):
    rule, measure = mig_jax.GAIN_RULES[gain], mig_jax.Measure(function, case.alpha)
    pages = mig_jax.lay_out(case.pool, case.graph, measure, budget, area=area)
    state = initial_state(rule, measure, pages, jnp.zeros(case.num_labels))
    state, picks = lazy_greedy(rule, measure, pages, state, jnp.int32(budget), 40)
    return jax.device_get((picks.records, picks.gains, picks.increases, state.z))


def sharded(case: Case, function, gain: str, budget: int, area: int, devices: int):
    rule, measure = mig_jax.GAIN_RULES[gain], mig_jax.Measure(function, case.alpha)
    mesh = pool_mesh(devices)
    pages = mig_jax.lay_out(case.pool, case.graph, measure, budget, area=area, mesh=mesh)
    state = initial_state(rule, measure, pages, jnp.zeros(case.num_labels), mesh)
    records, gains, increases = [], [], []
    for _ in range(2):
        state, picks = lazy_greedy(rule, measure, pages, state, jnp.int32(budget), 20, mesh)
        records.append(picks.records)
        gains.append(picks.gains)
        increases.append(picks.increases)
    parts = (np.concatenate(records), np.concatenate(gains), np.concatenate(increases))
    return (*parts, jax.device_get(state.z))


def assert_same(case: Case, function, gain: str, area: int, devices: int) -> None:
    budget = max(len(case.scores) - 1, 0)
    expected = alone(case, function, gain, budget, 16)
    found = sharded(case, function, gain, budget, area, devices)
    chex.assert_trees_all_equal(found, expected)


@pytest.mark.parametrize(
    ("devices", "gain", "area", "function"),
    [
        (1, "linear", 64, mig_jax.Power(0.8, 1e-6)),
        (2, "exact", 8, mig_jax.Saturating(0.5)),
        (4, "linear", 8, mig_jax.Exponential(0.3)),
        (8, "exact", 64, mig_jax.Log(2.0)),  # More devices than pages.
        (8, "linear", 8, mig_jax.Power(0.3, 1e-2)),
    ],
)
@given(data=st.data())
@settings(max_examples=12)
def test_ties_and_all(devices, gain, area, function, data):
    # Without edges, which would have every shard of every pool compiled for its own sums of them;
    # `test_a_larger_pool` has edges.
    case = data.draw(cases(Shape(40, 4, 70, 0)), label="case")
    assert_same(case, function, gain, area, devices)


@pytest.mark.parametrize("case", SMALL.values(), ids=SMALL)
def test_pools_smaller_than_the_devices(case):
    assert_same(case, mig_jax.Power(), "exact", 8, 8)


@pytest.mark.parametrize("devices", [2, 8])
@pytest.mark.parametrize("gain", ["exact", "linear"])
def test_a_larger_pool(devices, gain):
    case = random_case(9, 4000, labels=200, edges=500)
    expected = alone(case, mig_jax.Power(), gain, 40, 512)
    found = sharded(case, mig_jax.Power(), gain, 40, 128, devices)
    chex.assert_trees_all_equal(found, expected)


def test_more_devices_than_there_are():
    with pytest.raises(ValueError, match="devices"):
        pool_mesh(jax.device_count() + 1)


@pytest.mark.parametrize("gain", ["exact", "linear"])
def test_a_selection_resumes_on_other_devices(gain):
    """Started on one device, gone on with on four, and finished on two."""
    case = random_case(12, 900, labels=80, edges=200)
    rule = mig_jax.GAIN_RULES[gain]
    straight = mig_jax.select(case.pool, case.graph, 300, gain=rule)
    resume = None
    for budget, mesh in ((100, None), (200, pool_mesh(4)), (300, pool_mesh(2))):
        seen: list[mig_jax.Progress] = []
        selection = mig_jax.select(
            case.pool,
            case.graph,
            budget,
            gain=rule,
            mesh=mesh,
            resume=resume,
            chunk=50,
            on_chunk=seen.append,
        )
        resume = seen[-1]
    for name in ("picks", "gains", "increases", "z"):
        np.testing.assert_array_equal(getattr(selection, name), getattr(straight, name), name)
