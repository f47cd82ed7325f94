"""The certificate under constraints: against brute force, over shards, and what prices mean."""

from __future__ import annotations

import itertools

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

import mig_jax
from mig_jax.devices import pool_mesh
from mig_jax.selection import (
    NO_MAXIMUM,
    Constraints,
    Quotas,
    certify,
    certify_prefixes,
    linear_limits,
    random_choice,
)
from tests import oracles
from tests.strategies import FUNCTIONS, TINY, cases, random_case

# What is limited: records, costs, or quotas in one of the two; each with a family of its own.
KINDS = {
    "records": FUNCTIONS[0],
    "tokens": FUNCTIONS[1],
    "records tokens": FUNCTIONS[2],
    "records quotas": FUNCTIONS[3],
    "tokens quotas": FUNCTIONS[0],
    "tokens quotas-of-costs": FUNCTIONS[4],
    "records quotas-of-costs": FUNCTIONS[0],
    "records tokens quotas": FUNCTIONS[0],
}


def allowed(records: int, budget: int | None, constraints: Constraints) -> list[list[int]]:
    """All selections that keep to the limits."""
    costs, quotas = np.asarray(constraints.costs), constraints.quotas
    free = np.flatnonzero(~constraints.given)
    sizes = range(len(free) + 1)
    if constraints.most_cost is None:
        sizes = [budget]

    def fits(picks: list[int]) -> bool:
        if constraints.most_cost is not None and costs[picks].sum() > constraints.most_cost:
            return False
        if quotas is None:
            return True
        held = np.bincount(
            quotas.groups[picks],
            costs[picks] if quotas.of_costs else np.ones(len(picks)),
            quotas.num_groups,
        )
        return bool(np.all((held >= quotas.minima) & (held <= quotas.maxima)))

    most = len(free) if budget is None else budget
    return [
        list(picks)
        for size in sizes
        if size <= most
        for picks in itertools.combinations(free.tolist(), size)
        if fits(list(picks))
    ]


@pytest.mark.parametrize("kind", KINDS)
@given(case=cases(TINY), data=st.data())
@settings(max_examples=25)
def test_no_selection_that_is_allowed_passes_the_bound(kind, case, data):
    ours, phi, _ = KINDS[kind]
    records = len(case.scores)
    rng = np.random.default_rng(data.draw(st.integers(0, 10_000), label="seed"))
    budget = int(rng.integers(1, 6)) if "records" in kind else None
    costs = rng.choice([0, 1, 2, 5, 9], records).astype(np.int32)
    of_costs = "of-costs" in kind
    minima = rng.integers(0, 4 if of_costs else 2, 3)
    if of_costs and budget is not None:
        minima *= 0
    maxima = np.where(rng.random(3) < 0.3, NO_MAXIMUM, minima + rng.integers(0, 9, 3))
    quotas = Quotas(
        rng.integers(0, 3, records).astype(np.int32),
        minima.astype(np.int32),
        maxima.astype(np.int32),
        of_costs,
    )
    constraints = Constraints(
        costs,
        int(rng.integers(3, 20)) if "tokens" in kind else None,
        quotas if "quotas" in kind else None,
        rng.random(records) < rng.choice([0, 0.3]),
    )
    found = allowed(records, budget, constraints)
    if not found:
        return
    held = case.rows[constraints.given].sum(axis=0)
    values = [oracles.total_information(phi, held + case.rows[x].sum(axis=0)) for x in found]
    place = int(rng.choice([np.argmax(values), rng.integers(len(found))]))
    certificate = certify(
        case.pool,
        case.graph,
        mig_jax.Measure(ours, case.alpha),
        np.array(found[place], np.int64),
        budget=budget,
        constraints=constraints,
        max_steps=20,
    )
    np.testing.assert_allclose(certificate.information, values[place], rtol=1e-5, atol=1e-6)
    assert max(values) <= certificate.upper_bound * (1 + 1e-6) + 1e-6
    assert certificate.certified_ratio <= 1
    if not of_costs:
        measure = mig_jax.Measure(ours, case.alpha)
        limits = budget, None
        random = random_choice(case.pool, case.graph, measure, *limits, constraints=constraints)
        assert min(values) - 1e-5 <= random["information"] <= max(values) * (1 + 1e-5) + 1e-5


def test_prices_are_what_a_further_unit_brings():
    """Against the relaxed problem with limits a little larger and smaller, by another method."""
    case = random_case(3, 60, labels=12)
    rng = np.random.default_rng(0)
    groups, costs = rng.integers(0, 3, 60).astype(np.int32), rng.integers(1, 9, 60).astype(np.int32)
    # Of each limit: the row, and where it is. A minimum is the maximum of what is negative.
    limits = {
        "record": (np.ones(60), 20),
        "cost": (1.0 * costs, 80),
        "maximum": (1.0 * (groups == 1), 4),
        "minimum": (-1.0 * (groups == 2), -11),
    }

    def optimum(name: str, step: float) -> float:
        rows = np.array([row for row, _ in limits.values()])
        most = np.array([limit + step * (name == of) for of, (_, limit) in limits.items()])
        found = minimize(
            lambda x: -np.log1p(2 * (x @ case.rows)).sum(),
            np.full(60, 0.2),
            jac=lambda x: -case.rows @ (2 / (1 + 2 * (x @ case.rows))),
            bounds=[(0, 1)] * 60,
            constraints={"type": "ineq", "fun": lambda x: most - rows @ x, "jac": lambda x: -rows},
            method="SLSQP",
            options={"maxiter": 500, "ftol": 1e-13},
        )
        assert found.success
        return -found.fun

    picks = np.concatenate([np.flatnonzero(groups == g)[:n] for g, n in ((0, 1), (1, 1), (2, 11))])
    maxima = np.array([NO_MAXIMUM, 4, NO_MAXIMUM], np.int32)
    certificate = certify(
        case.pool,
        case.graph,
        mig_jax.Measure(mig_jax.Log(2.0), case.alpha),
        picks,
        budget=20,
        constraints=Constraints(costs, 80, Quotas(groups, np.array([0, 0, 11], np.int32), maxima)),
        tolerance=1e-8,
    )
    now = optimum("", 0)
    np.testing.assert_allclose(certificate.upper_bound, now, rtol=1e-7)
    prices = certificate.prices
    found = (prices.record, prices.cost, prices.groups[1], -prices.groups[2])
    for name, price in zip(limits, found, strict=True):
        least, most = optimum(name, 0.1) - now, now - optimum(name, -0.1)
        assert least - 1e-5 <= price * 0.1 <= most + 1e-5, name
        assert price > 0, name
    assert prices.groups[0] == 0


@pytest.mark.skipif(jax.device_count() < 8, reason="needs 8 (virtual) devices")
@pytest.mark.parametrize("kind", ["tokens", "records tokens quotas"])
def test_shards_certify_as_one_device(kind):
    case = random_case(5, 301, labels=20)
    rng = np.random.default_rng(0)
    groups, costs = (rng.integers(1, 5, 301).astype(np.int32) for _ in range(2))
    picks = np.argsort(-case.rows.sum(axis=1))[:40]
    held = np.bincount(groups[picks], minlength=5).astype(np.int32)
    minima = np.where(held % 2, held, 0).astype(np.int32)
    constraints = Constraints(
        costs,
        int(costs[picks].sum()),
        Quotas(groups, minima, np.maximum(held, 10)) if "quotas" in kind else None,
        np.isin(np.arange(301), np.setdiff1d(np.arange(30), picks)),
    )
    budget = 40 if "records" in kind else None
    one, many = (
        certify(
            case.pool,
            case.graph,
            mig_jax.Measure(),
            picks,
            budget=budget,
            constraints=constraints,
            max_steps=6,
            mesh=mesh,
        )
        for mesh in (None, pool_mesh(8))
    )
    np.testing.assert_allclose(many.upper_bound, one.upper_bound, rtol=1e-6)
    np.testing.assert_allclose(many.information, one.information, rtol=1e-12)
    for name in ("record", "cost", "groups"):
        ours, theirs = getattr(one.prices, name), getattr(many.prices, name)
        np.testing.assert_allclose(theirs, ours, rtol=1e-2, atol=1e-6)


def test_a_group_without_a_maximum_may_cost_more_than_a_number_holds():
    case = random_case(6, 30)
    rng = np.random.default_rng(1)
    costs, groups = (rng.integers(low, high, 30).astype(np.int32) for low, high in ((1, 8), (0, 2)))
    picks = np.concatenate([np.flatnonzero(groups == g)[:n] for g, n in ((0, 6), (1, 1))])
    most = int(costs[picks[6]])
    bounds = []
    for scale in (1, 2**28):
        maxima = np.array([NO_MAXIMUM, most * scale], np.int32)
        quotas = Quotas(groups, np.zeros(2, np.int32), maxima, of_costs=True)
        constraints = Constraints(costs * np.int32(scale), quotas=quotas)
        certificate = certify(
            case.pool,
            case.graph,
            mig_jax.Measure(),
            picks,
            budget=len(picks),
            constraints=constraints,
        )
        bounds.append(certificate.upper_bound)
    assert int(costs[picks[:6]].sum()) * scale > NO_MAXIMUM
    np.testing.assert_allclose(bounds[1], bounds[0], rtol=1e-5)


def test_picks_must_keep_to_the_limits():
    case = random_case(4, 10)
    costs, groups = np.arange(10, dtype=np.int32), np.zeros(10, np.int32)
    none, one = np.zeros(1, np.int32), np.ones(1, np.int32)
    for budget, constraints, message in (
        (1, Constraints(costs, 20), "expected at most 1, found 2"),
        (None, Constraints(costs, 6), "expected costs of 6 at most, found 7"),
        (None, Constraints(given=np.arange(10) > 3), "1 of them are given already"),
        (None, Constraints(quotas=Quotas(groups, none, one)), "at most 1 of group 0, found 2"),
        (None, Constraints(quotas=Quotas(groups, 3 * one, 9 * one)), "at least 3 and at most 9"),
        (9, Constraints(quotas=Quotas(groups, 3 * one, 9 * one)), "at least 3 and at most 9"),
    ):
        with pytest.raises(ValueError, match=message):
            certify(
                case.pool,
                case.graph,
                mig_jax.Measure(),
                [3, 4],
                budget=budget,
                constraints=constraints,
            )


def test_what_nothing_keeps_to_has_no_limits():
    pool = random_case(4, 10).pool
    costs, groups = np.full(10, 5, np.int32), np.arange(10, dtype=np.int32) % 2
    none, six = np.zeros(2, np.int32), np.full(2, 6, np.int32)
    for budget, constraints, message in (
        (None, Constraints(), "expected a budget"),
        (9, Constraints(quotas=Quotas(groups, six, six)), "no more than 5"),
        (9, Constraints(quotas=Quotas(groups, six - 1, six)), "10 together, but the budget is 9"),
        (9, Constraints(quotas=Quotas(groups, six, none)), "no more than 0"),
        (9, Constraints(costs, 4, Quotas(groups, none + 1, six, True)), "no more than 0"),
    ):
        with pytest.raises(ValueError, match=message):
            linear_limits(pool, budget, constraints)


def test_random_choices_take_what_minima_and_maxima_leave_them():
    """Of each group two records are cheap enough, or one is dear: there is one choice."""
    case = random_case(6, 40)
    groups = np.arange(40, dtype=np.int32) % 4
    costs = np.where(np.arange(40) < 8, 3, 40).astype(np.int32)
    expected = np.zeros(4, np.int32)
    for quotas, budget, most_cost in (
        (Quotas(groups, expected + 2, expected + 2), 8, 24),
        (Quotas(groups, expected + 2, expected + 9), None, 24),
        (Quotas(groups, expected + 6, expected + 8, of_costs=True), None, 40),
        (Quotas(groups, expected, expected + 6, of_costs=True), 8, None),
    ):
        found = random_choice(
            case.pool,
            case.graph,
            mig_jax.Measure(),
            budget,
            constraints=Constraints(costs, most_cost, quotas),
        )
        held = oracles.total_information(oracles.power(0.8, 1e-6), case.rows[:8].sum(axis=0))
        np.testing.assert_allclose(found["information"], held, rtol=1e-5)


def test_random_choices_hold_what_is_given():
    case = random_case(6, 40)
    given = Constraints(given=np.arange(40) >= 2)
    found = random_choice(case.pool, case.graph, mig_jax.Measure(), 2, constraints=given)
    held = oracles.total_information(oracles.power(0.8, 1e-6), case.rows.sum(axis=0))
    np.testing.assert_allclose(found["information"], held, rtol=1e-5)
    assert found["labels_covered"] == len(np.unique(case.pool.labels))


@pytest.mark.parametrize("kind", ["records", "tokens", "records tokens"])
def test_prefixes_are_certified_as_selections_of_their_own(kind):
    case = random_case(8, 200, labels=15)
    rng = np.random.default_rng(0)
    costs = rng.integers(1, 9, 200).astype(np.int32)
    given = np.arange(200) < 3
    picks = 3 + np.argsort(-case.rows.sum(axis=1)[3:])[:60]
    has_costs = "tokens" in kind
    budget = len(picks) if "records" in kind else None
    problem = case.pool, case.graph, mig_jax.Measure()
    limits = Constraints(costs, int(costs[picks].sum()), given=given)
    if not has_costs:
        limits = Constraints(given=given)
    prefixes = certify_prefixes(*problem, picks, budget=budget, constraints=limits, tolerance=1e-4)
    assert [prefix.records for prefix in prefixes] == [1, 2, 5, 10, 20, 50, 60]
    for prefix in prefixes[2:]:
        first = picks[: prefix.records]
        spent = int(costs[first].sum())
        assert prefix.cost == (spent if has_costs else None)
        alone = certify(
            *problem,
            first,
            budget=None if budget is None else prefix.records,
            constraints=Constraints(costs, spent, given=given) if has_costs else limits,
            tolerance=1e-4,
            max_steps=60,
        )
        found = prefix.certificate
        np.testing.assert_allclose(found.information, alone.information, rtol=1e-9)
        np.testing.assert_allclose(found.certified_ratio, alone.certified_ratio, rtol=0.01)
        assert found.certified_ratio <= 1
    whole = prefixes[0].certificate
    again = certify_prefixes(*problem, picks, budget=budget, constraints=limits, whole=whole)
    assert again[-1].certificate is whole


def test_prefixes_of_a_selection_by_quotas_are_refused():
    case = random_case(4, 10)
    none = np.zeros(1, np.int32)
    quotas = Quotas(np.zeros(10, np.int32), none, none + 9)
    with pytest.raises(ValueError, match="quotas: expected none"):
        certify_prefixes(
            case.pool,
            case.graph,
            mig_jax.Measure(),
            [1],
            budget=1,
            constraints=Constraints(quotas=quotas),
        )
