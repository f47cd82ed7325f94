"""E after each pick, beside a loop in NumPy."""

from __future__ import annotations

import numpy as np
import pytest

import mig_jax
from mig_jax.selection import (
    Constraints,
    information_curve,
    random_choice,
    random_curve,
    selected_information,
)
from mig_jax.synthetic import BuiltinPool
from tests import oracles
from tests.strategies import FUNCTIONS, SMALL, random_case

CASE = random_case(23, 40)
GIVEN = np.isin(np.arange(40), [4, 7, 30])


def curve_of_loop(case, phi, picks, given=()):
    z = case.rows[list(given)].sum(axis=0) if len(given) else np.zeros(case.num_labels)
    found = []
    for pick in picks:
        z = z + case.rows[pick]
        found.append(oracles.total_information(phi, z))
    return found


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda one: str(one[0]))
@pytest.mark.parametrize("given", [None, GIVEN], ids=["alone", "beside given records"])
def test_each_point_is_what_the_picks_up_to_it_hold(function, given):
    ours, phi, _ = function
    free = np.arange(40) if given is None else np.flatnonzero(~given)
    picks = np.random.default_rng(1).permutation(free)[:25]
    measure = mig_jax.Measure(ours, CASE.alpha)
    found = information_curve(CASE.pool, CASE.graph, measure, picks, given=given)
    before = () if given is None else np.flatnonzero(given)
    # Scores are float32 numbers, and so are the similarities.
    np.testing.assert_allclose(found, curve_of_loop(CASE, phi, picks, before), rtol=1e-6)
    assert found.dtype == np.float64


def test_of_few_records_or_none():
    for case in SMALL.values():
        picks = np.arange(len(case.scores))
        measure = mig_jax.Measure(propagation=case.alpha)
        found = information_curve(case.pool, case.graph, measure, picks)
        expected = curve_of_loop(case, oracles.power(0.8, 1e-6), picks)
        np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.fixture(scope="module")
def large():
    """More picks than are spread over the graph at once."""
    builtin = BuiltinPool(records=20_000, labels=300)
    table = builtin.table()
    names, vectors = builtin.label_embeddings()
    place = {name: number for number, name in enumerate(names)}
    rows = vectors[[place[name] for name in table.label_names]]
    graph = mig_jax.label_graph_from_embeddings(rows, 0.9)
    return mig_jax.pool_from_table(table), graph, mig_jax.Measure()


def test_the_end_of_many_picks_is_what_they_hold_in_any_order(large):
    picks = np.random.default_rng(2).permutation(20_000)[:17_000]
    forward, backward = (information_curve(*large, order) for order in (picks, picks[::-1]))
    held = float(mig_jax.information(large[2], selected_information(*large, picks)))
    np.testing.assert_allclose([forward[-1], backward[-1]], held, rtol=1e-5)
    middle = selected_information(*large, picks[:9_000])
    np.testing.assert_allclose(
        forward[8_999], float(mig_jax.information(large[2], middle)), rtol=1e-5
    )
    assert (np.diff(forward) >= 0).all()


def test_a_selections_curve_is_that_of_its_increases(large):
    selection = mig_jax.select(large[0], large[1], 300, measure=large[2])
    found = information_curve(*large, selection.picks)
    np.testing.assert_allclose(found, np.cumsum(selection.increases, dtype=np.float64), rtol=1e-5)


def test_digits_of_labels_that_hold_little_stay():
    pool = mig_jax.pool_from_label_lists([[0], [1], [1]], [1e30, 1e-7, 1e-7])
    graph, measure = mig_jax.label_graph_from_edges(2), mig_jax.Measure(mig_jax.Power(0.5, 0.0))
    found = information_curve(pool, graph, measure, [1, 2, 0])
    np.testing.assert_allclose(found[:2], np.sqrt(np.array([1.0, 2.0]) * np.float32(1e-7)))


@pytest.mark.parametrize("picks", [[3, 3], [40], [-1], [4]])
def test_bad_picks_are_refused(picks):
    with pytest.raises(ValueError, match="picks"):
        information_curve(CASE.pool, CASE.graph, mig_jax.Measure(), picks, given=GIVEN)


def test_the_random_curve_ends_where_random_choices_do(large):
    curve = random_curve(*large, 400)
    assert len(curve) == 400
    expected = random_choice(*large, 400)["information"]
    np.testing.assert_allclose(curve[-1], expected, rtol=1e-5)
    shorter = random_choice(*large, 1)["information"]
    assert shorter / 2 < curve[0] < shorter * 2


def test_the_random_curve_keeps_to_limits(large):
    costs = np.random.default_rng(3).integers(50, 150, 20_000)
    given = np.arange(20_000) < 100
    limits = Constraints(costs=costs, most_cost=np.int32(5_000), given=given)
    curve = random_curve(*large, None, constraints=limits)
    assert 5_000 / 150 - 1 <= len(curve) <= 5_000 / 50
    held = selected_information(*large, np.arange(100))
    assert curve[0] > float(mig_jax.information(large[2], held))
