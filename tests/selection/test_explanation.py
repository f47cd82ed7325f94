"""Why a record was picked or not, against float64 loops and by selecting again."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import mig_jax
from mig_jax.selection import Explainer
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


def by_hand(case, problem, picks, gain, start=0.0):
    """Gains of all records in every rank, [ranks + 1, records], as the definitions say."""
    _, phi, derivative = problem
    rows, z = case.rows, np.zeros(case.num_labels) + start
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


def test_what_is_held_at_the_start_counts(case):
    pool, graph, measure, rule, selection = selected(case, FUNCTIONS[3][0], "exact")
    explainer = explained(pool, graph, measure, rule, selection, held=np.full(30, 2.0))
    expected = by_hand(case, FUNCTIONS[3], selection.picks, "exact", start=2.0)
    np.testing.assert_allclose(explainer.gains_of(5), expected[:-1, 5], rtol=1e-5)


def test_ranks_in_which_a_record_is_not_allowed_do_not_count(case):
    pool, graph, measure, rule, selection = selected(case, FUNCTIONS[0][0], "exact")
    explainer = explained(pool, graph, measure, rule, selection)
    record = next(d for d in range(200) if d not in selection.picks and case.label_lists[d])
    allowed = np.arange(BUDGET) < 4
    found = explainer.explain(record, allowed=allowed)
    ratios = explainer.gains_of(record) / selection.gains
    assert found.rank == np.argmax(ratios[:4]) + 1
    assert found.least.rank <= 4
    twice = explainer.explain(record, allowed=allowed, factors=np.full(BUDGET, 2.0))
    np.testing.assert_allclose(twice.ratio, found.ratio / 2)
    assert twice.least.score > found.least.score
    never = explainer.explain(record, allowed=np.zeros(BUDGET, bool))
    assert (never.rank, never.ratio, never.least) == (None, 0, None)


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
