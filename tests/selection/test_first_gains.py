"""The bound by the gains of the first pick: against all gains, and all selections."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mig_jax
from mig_jax.selection import Constraints, certify, certify_prefixes
from tests import oracles
from tests.strategies import FUNCTIONS, TINY, cases, random_case

POWER = oracles.power(0.8, 1e-6)


def gains_beside(rows: np.ndarray, held: np.ndarray) -> np.ndarray:
    """What each record adds to z."""
    base = oracles.total_information(POWER, held)
    return np.array([oracles.total_information(POWER, held + row) - base for row in rows])


def knapsack(gains: np.ndarray, costs: np.ndarray, most: int) -> float:
    """What is worth most for its cost, the last of it in part."""
    worth, left = gains[costs == 0].sum(), float(most)
    fits = np.flatnonzero((costs > 0) & (costs <= most))
    for record in fits[np.argsort(-gains[fits] / costs[fits])]:
        part = min(1.0, left / costs[record])
        worth, left = worth + part * gains[record], left - part * costs[record]
    return worth


@pytest.mark.parametrize("records", [300, 5000])
def test_the_largest_gains_are_found_among_many(records):
    """Of 5,000 records most are not computed, and no bound is below the true one."""
    case = random_case(3, records, labels=20)
    rng = np.random.default_rng(0)
    costs = rng.choice([0, 1, 7, 50, 400], records, p=[0.001, 0.199, 0.3, 0.3, 0.2])
    costs = costs.astype(np.int32)
    taken = np.arange(records) % 100 == 7
    held = case.rows[taken].sum(axis=0)
    free = np.flatnonzero(~taken)
    gains = gains_beside(case.rows[free], held)
    base = oracles.total_information(POWER, held)
    largest = np.sort(gains)[::-1]
    problem = case.pool, case.graph, mig_jax.Measure()

    def bound(budget: int | None, most_cost: int | None) -> float:
        limits = Constraints(costs, most_cost, given=taken)
        found = certify(*problem, [], budget=budget, constraints=limits, max_steps=0)
        return found.upper_bound - base

    for budget in (1, 3, 40, 250, len(free)):
        true = largest[:budget].sum()
        found = bound(budget, None)
        assert found >= true * (1 - 1e-5)
        if budget <= 40 or records < 1000:
            np.testing.assert_allclose(found, true, rtol=1e-5)
    for most in (1, 6, 49, 300, 10_000, 2_000_000):
        true = knapsack(gains, costs[free], most)
        found = bound(None, most)
        assert found >= true * (1 - 1e-5)
        if most <= 300 or records < 1000:
            np.testing.assert_allclose(found, true, rtol=1e-5)
        of_records = np.sort(gains[costs[free] <= most])[::-1][:3].sum()
        np.testing.assert_allclose(bound(3, most), min(found, of_records), rtol=1e-5)


def test_what_is_not_computed_counts_for_no_less_than_it_may_add():
    """Records are so alike that a bound of the others a little too low would be below the sum."""
    scores = np.random.default_rng(0).uniform(1, 1.02, 4000)
    pool = mig_jax.pool_from_label_lists([[0]] * 2000 + [[1]] * 2000, scores)
    graph = mig_jax.label_graph_from_edges(2)
    bound = certify(pool, graph, mig_jax.Measure(), [], budget=4000, max_steps=0).upper_bound
    true = sum(POWER(score) for score in scores)
    assert true <= bound <= 1.04 * true


def test_prices_are_those_of_the_next_record_and_the_next_unit_of_cost():
    case = random_case(3, 50, labels=20)
    costs = np.random.default_rng(0).integers(1, 9, 50).astype(np.int32)
    problem = case.pool, case.graph, mig_jax.Measure()

    def certified(budget: int | None, most_cost: int | None):
        limits = Constraints(costs, most_cost)
        return certify(*problem, [], budget=budget, constraints=limits, max_steps=0)

    few, more = certified(4, None), certified(5, None)
    np.testing.assert_allclose(few.prices.record, more.upper_bound - few.upper_bound, rtol=1e-9)
    few, more = certified(None, 20), certified(None, 21)
    np.testing.assert_allclose(few.prices.cost, more.upper_bound - few.upper_bound, rtol=1e-9)
    assert (few.prices.record, certified(4, None).prices.cost) == (0, 0)


def test_the_first_pick_is_proven_to_be_the_best():
    case = random_case(5, 200)
    gains = gains_beside(case.rows, np.zeros(case.num_labels))
    picks = np.argsort(-gains)[:5]
    problem = case.pool, case.graph, mig_jax.Measure()
    first = certify_prefixes(*problem, picks, max_steps=0)[0].certificate
    np.testing.assert_allclose(first.certified_ratio, 1, rtol=1e-5)


@pytest.mark.parametrize("limited", ["records", "tokens", "records tokens"])
@given(case=cases(TINY), data=st.data())
@settings(max_examples=12)
def test_no_selection_passes_the_bound_of_a_prefix(limited, case, data):
    """Of each length all selections of no more records, or no more cost, with what is given."""
    ours, phi, _ = FUNCTIONS[["records", "tokens", "records tokens"].index(limited)]
    records = len(case.scores)
    rng = np.random.default_rng(data.draw(st.integers(0, 10_000), label="seed"))
    costs = rng.choice([0, 1, 2, 5, 9], records).astype(np.int32)
    taken = rng.random(records) < rng.choice([0, 0.3])
    picks = rng.permutation(np.flatnonzero(~taken))[:5]
    has_costs, has_budget = "tokens" in limited, "records" in limited
    constraints = Constraints(costs, int(costs[picks].sum()) if has_costs else None, given=taken)
    prefixes = certify_prefixes(
        case.pool,
        case.graph,
        mig_jax.Measure(ours, case.alpha),
        picks,
        budget=len(picks) if has_budget else None,
        constraints=constraints,
        max_steps=0,
    )
    held = case.rows[taken].sum(axis=0)
    sets = (np.arange(1 << records)[:, None] >> np.arange(records)) & 1
    sets = sets[~np.any(sets[:, taken], axis=1)]
    values = [oracles.total_information(phi, held + chosen @ case.rows) for chosen in sets]
    for prefix in prefixes:
        allowed = np.ones(len(sets), bool)
        if has_budget or not has_costs:
            allowed &= sets.sum(axis=1) <= prefix.records
        if has_costs:
            allowed &= sets @ costs <= prefix.cost
        best = np.max(np.array(values)[allowed])
        assert best <= prefix.certificate.upper_bound * (1 + 1e-6) + 1e-6
