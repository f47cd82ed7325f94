"""Why a record was picked or not, against float64 loops and by selecting again."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import mig_jax
from mig_jax.selection import Constraints, Explainer, Quotas
from tests import oracles
from tests.strategies import FUNCTIONS, random_case

BUDGET = 30


@pytest.fixture(scope="module")
def case():
    return random_case(3, 200)


def selected(case, function, gain, scores=None):
    """Pool, graph, measure, rule and what is selected of them."""
    pool = case.pool
    if scores is not None:
        pool = dataclasses.replace(pool, scores=scores)
    measure, rule = mig_jax.Measure(function, case.alpha), mig_jax.GAIN_RULES[gain]
    selection = mig_jax.select(pool, case.graph, BUDGET, measure=measure, gain=rule)
    return pool, case.graph, measure, rule, selection


def explained(pool, graph, measure, rule, selection, **options):
    return Explainer(pool, graph, measure, rule, selection.picks, selection.gains, **options)


def by_hand(case, problem, picks, gain):
    """Gains of all records in every rank, [ranks + 1, records], as the definitions say."""
    _, phi, derivative = problem
    rows, z = case.rows, np.zeros(case.num_labels)
    found = [oracles.gains(phi, derivative, rows, z, gain)]
    for pick in picks:
        z = z + rows[pick]
        found.append(oracles.gains(phi, derivative, rows, z, gain))
    return np.array(found)


@pytest.mark.parametrize("gain", ["exact", "linear"])
@pytest.mark.parametrize("which", [0, 2, 4])
def test_gains_ranks_and_losses_are_those_of_a_loop(case, which, gain):
    problem = FUNCTIONS[which]
    pool, graph, measure, rule, selection = selected(case, problem[0], gain)
    picks = selection.picks.tolist()
    explainer = explained(pool, graph, measure, rule, selection)
    np.testing.assert_allclose(explainer.gains_found, selection.gains, rtol=1e-5)
    expected = by_hand(case, problem, picks, gain)
    for record in range(0, 200, 3):
        gains = expected[:-1, record]
        np.testing.assert_allclose(explainer.gains_of(record), gains, rtol=2e-4, atol=1e-9)
        found = explainer.explain(record)
        assert found.picked == (record in picks)
        if found.picked:
            assert found.rank == picks.index(record) + 1
            assert found.ratio == 1
            assert found.least is None
        else:
            ratios = gains / selection.gains
            assert ratios[found.rank - 1] >= ratios.max() * (1 - 1e-3)
            np.testing.assert_allclose(found.ratio, ratios[found.rank - 1], rtol=1e-3)
        here = found.rank - 1
        np.testing.assert_allclose(found.gain, gains[here], rtol=2e-4)
        np.testing.assert_allclose(found.at_first, gains[0], rtol=2e-4)
        np.testing.assert_allclose(sum(each.gain for each in found.labels), found.gain)
        np.testing.assert_allclose(sum(each.at_first for each in found.labels), found.at_first)
        falls = -np.diff(expected[: here + 1, record])
        told = {loss.rank - 1: loss.amount for loss in found.losses}
        assert len(told) == min(5, np.count_nonzero(falls > 1e-12 * gains[0]))
        np.testing.assert_allclose(
            list(told.values()), [falls[i] for i in told], rtol=2e-3, atol=1e-5 * gains[0]
        )
        np.testing.assert_allclose(
            list(told.values()), np.sort(falls)[::-1][: len(told)], rtol=2e-3, atol=1e-5 * gains[0]
        )
        for loss in found.losses:
            assert loss.pick == picks[loss.rank - 1]
            np.testing.assert_allclose(sum(fall for _, fall in loss.labels), loss.amount)


@pytest.mark.parametrize("gain", ["exact", "linear"])
def test_gains_by_label_of_all_picks_are_those_of_each(case, gain):
    pool, graph, measure, rule, selection = selected(case, FUNCTIONS[0][0], gain)
    given = np.zeros(200, bool)
    given[np.setdiff1d(np.arange(200), selection.picks)[:20]] = True
    for options in ({}, {"constraints": Constraints(given=given)}):
        explainer = explained(pool, graph, measure, rule, selection, **options)
        found = explainer.gains_by_label
        assert np.all(np.diff(found.ranks) >= 0)
        for rank, pick in enumerate(selection.picks.tolist()):
            here = found.ranks == rank
            told = explainer.explain(pick).labels
            order = np.argsort([each.label for each in told])
            np.testing.assert_array_equal(
                np.sort(found.labels[here]), [told[k].label for k in order]
            )
            by_label = np.argsort(found.labels[here])
            for name, values in (("gain", found.gains), ("at_first", found.at_first)):
                expected = [getattr(told[k], name) for k in order]
                np.testing.assert_allclose(values[here][by_label], expected, rtol=1e-6)


def test_labels_are_told_with_those_they_are_reached_through():
    pool = mig_jax.pool_from_label_lists([[0], [1, 3], [2]], [1.0, 2.0, 3.0])
    graph = mig_jax.label_graph_from_edges(4, [(0, 1, 0.5), (1, 2, 0.25), (2, 3, 0.75)])
    measure = mig_jax.Measure(mig_jax.Power(0.5, 0.01))
    selection = mig_jax.select(pool, graph, 1, measure=measure)
    found = explained(pool, graph, measure, mig_jax.EXACT, selection).explain(1)
    assert {each.label: each.through for each in found.labels} == {
        0: (1,),
        1: (1,),
        2: (3, 1),  # The more similar first.
        3: (3,),
    }


@pytest.mark.parametrize("gain", ["exact", "linear"])
@pytest.mark.parametrize("which", [0, 3])
def test_the_least_score_is_where_a_new_selection_picks_the_record(case, which, gain):
    function = FUNCTIONS[which][0]
    pool, graph, measure, rule, selection = selected(case, function, gain)
    explainer = explained(pool, graph, measure, rule, selection)
    others = [d for d in range(200) if d not in selection.picks and case.label_lists[d]]
    for record in others[:: len(others) // 6]:
        least = explainer.explain(record).least
        for factor, is_picked in ((1 + 1e-5, True), (1 - 1e-5, False)):
            scores = pool.scores.copy()
            scores[record] = np.float32(least.score * factor)
            again = selected(case, function, gain, scores)[-1].picks.tolist()
            assert (record in again) == is_picked
            if is_picked:
                assert again.index(record) + 1 == least.rank


def test_a_score_of_zero_has_a_least_score_too(case):
    scores = case.pool.scores.copy()
    record = next(d for d in range(200) if case.label_lists[d])
    scores[record] = 0
    pool, graph, measure, rule, selection = selected(case, mig_jax.Log(2.0), "exact", scores)
    found = explained(pool, graph, measure, rule, selection).explain(record)
    assert (found.gain, found.ratio) == (0, 0)
    for factor, is_picked in ((1 + 1e-5, True), (1 - 1e-5, False)):
        scores[record] = np.float32(found.least.score * factor)
        again = selected(case, mig_jax.Log(2.0), "exact", scores)[-1]
        assert (record in again.picks) == is_picked


def test_no_score_helps_without_labels_or_where_labels_level_off():
    pool = mig_jax.pool_from_label_lists([[0, 1], [0], [], [1]], [3.0, 2.0, 9.0, 2.0])
    graph = mig_jax.label_graph_from_edges(2)
    measure = mig_jax.Measure(mig_jax.Saturating(1.0))  # At most 1 a label.
    selection = mig_jax.select(pool, graph, 1, measure=measure)
    explainer = explained(pool, graph, measure, mig_jax.EXACT, selection)
    bare = explainer.explain(2)
    assert (bare.labels, bare.losses, bare.gain, bare.least) == ((), (), 0, None)
    one = explainer.explain(1)  # 0.75 + 0.75 are more than 1.
    assert one.least is None
    np.testing.assert_allclose([one.gain, one.needed], [2 / 3, 1.5], rtol=1e-6)


def test_an_equal_record_of_a_higher_index_needs_the_same_score():
    pool = mig_jax.pool_from_label_lists([[0], [0], [1]], [1.0, 1.0, 0.9])
    graph = mig_jax.label_graph_from_edges(2)
    selection = mig_jax.select(pool, graph, 2)
    assert selection.picks.tolist() == [0, 2]
    explainer = explained(pool, graph, mig_jax.Measure(), mig_jax.EXACT, selection)
    found = explainer.explain(1)
    assert found.rank == 1
    np.testing.assert_allclose([found.ratio, found.least.score], 1, rtol=1e-6)


def audited(case, constraints, budget=None, records=range(0, 200, 15), gain="exact"):
    """What is explained of a selection under constraints, its least scores by selecting again.

    Returns how many least scores there were, and how many records were shut out at some rank.
    """
    pool, graph, rule = case.pool, case.graph, mig_jax.GAIN_RULES[gain]
    measure = mig_jax.Measure(mig_jax.Power(0.5, 0.1), case.alpha)

    def again(scores):
        changed = dataclasses.replace(pool, scores=scores)
        return mig_jax.select(
            changed, graph, budget, constraints=constraints, measure=measure, gain=rule
        )

    selection = again(pool.scores)
    explainer = explained(
        *(pool, graph, measure, rule, selection),
        budget=budget,
        constraints=constraints,
        rates=selection.rates,
    )
    np.testing.assert_allclose(explainer.gains_found, selection.gains, rtol=1e-5)
    audits = shut_out = 0
    for record in records:
        found = explainer.explain(record)
        if found.picked:
            continue
        shut_out += found.allowed < len(selection)
        if found.least is None:
            continue
        for factor, is_picked in ((1 + 1e-5, True), (1 - 1e-5, False)):
            scores = pool.scores.copy()
            scores[record] = np.float32(found.least.score * factor)
            now = again(scores)
            if rates_of(now) != rates_of(selection):
                break  # Another pass is the better one now, or prices are others.
            assert (record in now.picks) == is_picked, (record, found.least)
            if is_picked:
                assert now.picks.tolist().index(record) + 1 == found.least.rank
                audits += 1
    return selection, explainer, audits, shut_out


def rates_of(selection):
    return None if selection.rates is None else selection.rates.told()


def test_quotas_say_in_which_ranks_a_record_was_allowed(case):
    groups = np.arange(200, dtype=np.int32) % 3
    quotas = Quotas(groups, np.array([0, 12, 0], np.int32), np.array([6, 30, 30], np.int32))
    selection, explainer, audits, shut_out = audited(case, Constraints(quotas=quotas), BUDGET)
    assert audits > 4
    assert shut_out > 3
    last = np.flatnonzero(groups[selection.picks] == 0)[5]
    record = next(d for d in range(0, 200, 3) if d not in selection.picks and case.label_lists[d])
    found = explainer.explain(record)
    assert (found.allowed, found.most_cost) == (last + 1, -1)
    assert found.rank <= last + 1
    assert found.least.rank <= last + 1


def test_a_record_that_costs_more_than_was_left(case):
    costs = np.random.default_rng(0).integers(20, 200, 200).astype(np.int32)
    constraints = Constraints(costs=costs, most_cost=np.int32(1500))
    selection, explainer, audits, shut_out = audited(case, constraints)
    assert selection.rates.has_costs
    assert audits > 4
    assert shut_out > 4
    left = 1500 - np.cumsum(np.append(0, costs[selection.picks]))
    for record in range(0, 200, 9):
        found = explainer.explain(record)
        fits = left >= costs[record]
        assert found.allowed == np.count_nonzero(fits[:-1])
        if not found.picked and found.least is not None and found.rank <= len(selection):
            pick = selection.picks[found.rank - 1]
            needed = selection.gains[found.rank - 1] * costs[record] / costs[pick]
            np.testing.assert_allclose(found.needed, needed, rtol=1e-6)


def test_given_records_count_and_are_not_picked(case):
    given = np.zeros(200, bool)
    given[[4, 20, 36, 45]] = True
    _, explainer, audits, _ = audited(case, Constraints(given=given), BUDGET, gain="linear")
    assert audits > 4
    held = case.rows[given].sum(axis=0)
    phi = oracles.power(0.5, 0.1)
    first = oracles.gains(phi, lambda x: 0.5 * (x + 0.1) ** -0.5, case.rows, held, "linear")
    np.testing.assert_allclose([explainer.gains_of(d)[0] for d in (3, 5)], first[[3, 5]], rtol=1e-5)
    found = explainer.explain(45)
    assert (found.picked, found.rank, found.least, found.allowed) == (False, None, None, 0)


def test_a_range_that_float32_cannot_hold_is_explained_in_float64():
    pool = mig_jax.pool_from_label_lists([[0], [0], [1], [0, 1]], [1e38, 3e38, 2e38, 0.5e38])
    graph = mig_jax.label_graph_from_edges(2)
    measure = mig_jax.Measure(mig_jax.Power(0.5, 0.0))
    selection = mig_jax.select(pool, graph, 2, measure=measure)
    assert selection.gains.dtype == np.float64
    assert selection.picks.tolist() == [1, 2]
    explainer = explained(pool, graph, measure, mig_jax.EXACT, selection)
    np.testing.assert_allclose(explainer.gains_found, selection.gains, rtol=1e-12)
    found = explainer.explain(3)  # Of both labels: (2·√s)² = 3e38 is enough in rank 1.
    assert found.least.rank == 1
    np.testing.assert_allclose(found.least.score, 0.75e38, rtol=1e-6)
