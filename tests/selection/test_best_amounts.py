"""The best amounts within limits against a general solver, and what their prices mean."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from scipy.optimize import linprog

import mig_jax
from mig_jax.measure import linear_gains
from mig_jax.selection import NO_MAXIMUM, Constraints, Quotas, linear_limits, upper_bound
from tests.strategies import random_case, to_float64

GROUPS = 5


def problem(seed: int, case, kind: str) -> tuple[int | None, Constraints]:
    """Limits of a kind that something keeps to, some of them without effect."""
    rng = np.random.default_rng(seed)
    records = len(case.scores)
    groups = rng.integers(0, GROUPS - 1, records)  # The last has no record.
    costs = rng.choice([0, 1, 3, 10, 40, 300], records).astype(np.int32)
    given = rng.random(records) < 0.1 if seed % 2 else None
    free = np.ones(records, bool) if given is None else ~given
    of_costs = "quotas of costs" in kind
    budget = int(rng.integers(1, max(records // 2, 2)))
    most_cost = int(costs.sum() * rng.uniform(0.05, 0.6))
    free &= (costs <= most_cost) | ("tokens" not in kind)  # Others cannot be picked.
    masses = np.where(free, costs if of_costs else 1, 0)
    totals = np.bincount(groups, masses, GROUPS)
    inside = rng.uniform(0, 1, records) * free * rng.uniform(0.1, 0.5)
    if "records" in kind:
        inside *= min(1, budget / inside.sum())
    if "tokens" in kind:
        inside *= min(1, most_cost / max(costs @ inside, 1))
    held = np.bincount(groups, inside * masses, GROUPS)
    has_minimum = rng.random(GROUPS) < 0.6
    minima = np.floor(held * rng.uniform(0.2, 1, GROUPS)) * has_minimum
    maxima = np.where(
        rng.random(GROUPS) < 0.4, NO_MAXIMUM, np.ceil(held * 1.3) + rng.integers(0, 2)
    )
    maxima = np.maximum(maxima, minima)
    if of_costs:
        # What costs more than the maximum of its group is not picked, and counts for no minimum.
        maxima = np.maximum(maxima, costs.max())
        if "records" in kind:
            minima *= 0
    quotas = Quotas(
        groups.astype(np.int32), minima.astype(np.int32), maxima.astype(np.int32), of_costs
    )
    assert np.all(minima <= totals)
    return (
        budget if "records" in kind else None,
        Constraints(
            costs=costs,
            most_cost=most_cost if "tokens" in kind else None,
            quotas=quotas if "quotas" in kind else None,
            given=given,
        ),
    )


def solved(gains, budget, constraints: Constraints) -> float:
    """The largest worth by HiGHS."""
    rows, limits = [], []
    most = np.ones(len(gains))
    if constraints.given is not None:
        most = most * ~constraints.given
    if constraints.most_cost is not None:
        most = most * (constraints.costs <= constraints.most_cost)
        rows.append(constraints.costs)
        limits.append(constraints.most_cost)
    if budget is not None:
        rows.append(np.ones(len(gains)))
        limits.append(budget)
    if (quotas := constraints.quotas) is not None:
        for group, (least, largest) in enumerate(zip(quotas.minima, quotas.maxima, strict=True)):
            row = (quotas.groups == group) * (constraints.costs if quotas.of_costs else 1)
            rows += [row, -row]
            limits += [largest, -least]
    found = linprog(-gains, np.array(rows), limits, bounds=np.stack([np.zeros_like(most), most], 1))
    assert found.status == 0, found.message
    return -found.fun


KINDS = [
    "records",
    "tokens",
    "tokens, records",
    "quotas, records",
    "quotas, tokens",
    "quotas, tokens, records",
    "quotas of costs, tokens",
    "quotas of costs, records",
    "quotas of costs, tokens, records",
]


@pytest.mark.parametrize("records", [30, 2000])
@pytest.mark.parametrize("kind", KINDS)
def test_the_best_amounts_are_those_of_a_general_solver(kind, records):
    for seed in range(8 if records < 100 else 2):
        case = random_case(seed % 3, records, labels=20)
        rng = np.random.default_rng(seed)
        budget, constraints = problem(seed, case, kind)
        z = rng.uniform(0.1, 5, case.num_labels)
        measure = mig_jax.Measure(mig_jax.Power(0.8, 1e-6), case.alpha)
        with jax.enable_x64(True):
            pool, graph, measure = to_float64((case.pool, case.graph, measure))
            limits = linear_limits(pool, budget, constraints)
            bound, amounts = map(np.asarray, jax.jit(upper_bound)(pool, graph, measure, z, limits))
            gains = np.asarray(linear_gains(pool, graph, measure, z))
            function = measure.score_function
            held = float(np.sum(function.value(z) - z * function.derivative(z)))
        best = solved(gains, budget, constraints)
        given = np.zeros(records) if constraints.given is None else 1.0 * constraints.given
        np.testing.assert_allclose(bound - held - gains @ given, best, rtol=2e-6, err_msg=f"{seed}")
        picked = amounts - given
        assert picked.min() >= 0
        assert picked.max() <= 1
        assert gains @ picked >= best * (1 - 2e-6)
        if budget is not None:
            assert picked.sum() <= budget * (1 + 1e-9)
        if constraints.most_cost is not None:
            assert constraints.costs @ picked <= constraints.most_cost * (1 + 1e-9)
        if (quotas := constraints.quotas) is not None:
            masses = picked * (constraints.costs if quotas.of_costs else 1)
            held = np.bincount(quotas.groups, masses, GROUPS)
            assert np.all(held >= quotas.minima * (1 - 1e-9))
            assert np.all(held <= quotas.maxima * (1 + 1e-9))
