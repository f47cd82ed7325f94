"""The four objectives against their definitions in plain loops, their gradients, and bad input."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

import mig_jax
from mig_jax import learning
from mig_jax.errors import InputError
from mig_jax.learning import objectives
from tests import oracles
from tests.strategies import random_case, to_float64

CASE = random_case(3, 60, labels=15, edges=20)
PHI, SLOPE = oracles.power(0.7, 1e-3), None
FUNCTION = mig_jax.Power(0.7, 1e-3)
MEASURE = mig_jax.Measure(FUNCTION, 0.6)
RNG = np.random.default_rng(7)
AMOUNTS = RNG.uniform(size=60)
TARGETS = [RNG.integers(0, 15, 3).tolist() for _ in range(20)] + [[]]
SUBSETS = [RNG.choice(60, 12, replace=False).tolist() for _ in range(9)]
RESULTS = np.array([3.0, 1.0, 2.0, 2.0, 5.0, -1.0, 0.5, 4.0, 2.5])
PICKED = [3, 8, 13, 21, 34, 40, 41, 55, 59, 0]


def _selection(amounts):
    return mig_jax.RelaxedSelection(amounts, np.zeros(15), 0.0, 0.0, 0)


def _rows():
    a = oracles.propagation_matrix(15, CASE.edges, 0.6)
    return oracles.propagated(CASE.label_lists, CASE.scores, a)


def _validation():
    rng = np.random.default_rng(1)
    members = rng.dirichlet(np.ones(4), 60).astype(np.float32)
    entries = [rng.integers(0, high, (3, 50)).astype(np.int32) for high in (16, 60)]
    shares = rng.uniform(size=(3, 50)).astype(np.float32)
    models = [
        learning.CountModel(members[:, order], *entries, shares, 16)
        for order in (np.arange(4), np.array([2, 0, 1, 1]))
    ]
    bags = [
        learning.ResponseBags(
            rng.dirichlet(np.ones(4), 12).astype(np.float32),
            rng.integers(0, 16, (12, 5)).astype(np.int32),
            rng.dirichlet(np.ones(5), 12).astype(np.float32),
        )
        for _ in models
    ]
    return models, bags, np.array(["a"] * 8 + ["b"] * 4)


def _members():
    pool, graph = CASE.pool, CASE.graph
    return {
        "target": objectives.target(TARGETS, pool, graph, seed=0),
        "validation": objectives.validation(*_validation(), seed=0),
        "subsets": objectives.subsets(SUBSETS, RESULTS, pool, seed=0),
        "imitation": objectives.imitation(PICKED, pool, graph, seed=0, temperature=0.5),
    }


def _losses(objective, amounts=AMOUNTS, **more):
    outcome = objectives.Outcome(CASE.pool, CASE.graph, MEASURE, _selection(amounts), **more)
    found = objective.losses(outcome)
    return [float(loss) for loss in found]


def test_target_is_the_divergence_from_each_part():
    a = oracles.propagation_matrix(15, CASE.edges, 0.3)
    z = AMOUNTS @ oracles.propagated(CASE.label_lists, CASE.scores, a)
    q = 0.999 * z / z.sum() + 0.001 / 15
    labelled = [row for row in TARGETS if row]
    held = objectives.hold_out(np.zeros(20), 0.25, 5)
    expected = []
    for part in (~held, held):
        rows = [row for row, kept in zip(labelled, part, strict=True) if kept]
        p = oracles.propagated(rows, np.ones(len(rows)), a).sum(axis=0)
        expected.append(scipy.stats.entropy(p / p.sum(), q))
    objective = objectives.target(
        TARGETS, CASE.pool, CASE.graph, propagation=0.3, held_out=0.25, seed=5
    )
    np.testing.assert_allclose(_losses(objective), expected, rtol=1e-4)
    assert sum(held) == 5


def test_target_is_met_by_the_targets_own_labels():
    rows = [[0, 1], [2], [0, 1], [2], [5], [6]]
    pool = mig_jax.pool_from_label_lists(rows, np.ones(6))
    graph = mig_jax.label_graph_from_edges(7)
    objective = objectives.target(rows[:4] * 5, pool, graph, seed=1)
    chosen, others = (
        objective.losses(
            objectives.Outcome(pool, graph, MEASURE, _selection(np.array(amounts, np.float32)))
        )
        for amounts in ([1, 1, 1, 1, 0, 0], [1, 0, 0, 0, 1, 1])
    )
    assert max(chosen) < 0.1 < min(others)


def test_validation_gives_every_group_the_same_part_of_each_side():
    models, bags, groups = _validation()
    objective = objectives.validation(models, bags, groups, seed=3)
    held = objectives.hold_out(groups, 0.3, 3)
    by_model = []
    for model, wanted in zip(models, bags, strict=True):
        loss = np.asarray(learning.response_losses(model.fit(AMOUNTS), wanted))
        by_model.append(
            [np.mean([loss[part & (groups == g)].mean() for g in "ab"]) for part in (~held, held)]
        )
    np.testing.assert_allclose(_losses(objective), np.mean(by_model, axis=0), rtol=1e-5)
    for turn in range(4):
        np.testing.assert_allclose(
            _losses(objective, turn=jnp.int32(turn)), by_model[turn % 2], rtol=1e-5
        )


def test_subsets_are_ranked_by_their_information():
    objective = objectives.subsets(SUBSETS, RESULTS, CASE.pool, seed=4)
    rows = _rows()
    e = np.array([oracles.total_information(PHI, rows[subset].sum(axis=0)) for subset in SUBSETS])
    found = objectives.subset_information(objective, CASE.pool, CASE.graph, MEASURE)
    np.testing.assert_allclose(found, e, rtol=1e-4)
    scaled = (e - e.mean()) / e.std()
    held = objectives.hold_out(np.zeros(9), 0.3, 4)
    parts = ([], [])
    for i in range(9):
        for j in range(9):
            if RESULTS[i] > RESULTS[j]:
                parts[int(held[i] or held[j])].append(np.log1p(np.exp(scaled[j] - scaled[i])))
    np.testing.assert_allclose(_losses(objective), [np.mean(part) for part in parts], rtol=1e-3)


def test_imitation_is_the_likelihood_of_picks_by_hand():
    objective = objectives.imitation(PICKED, CASE.pool, CASE.graph, seed=2, temperature=0.5)
    rows = _rows()
    fitted = np.flatnonzero(objective.fitted).tolist()
    held = np.flatnonzero(objective.held_out).tolist()
    assert sorted(fitted + held) == sorted(PICKED)
    order = sorted(fitted, key=lambda record: objective.rank[record])
    surprises = ([], [])
    for length in range(len(order)):
        before = order[:length]
        gains = oracles.gains(PHI, None, rows, rows[before].sum(axis=0), "exact")
        odds = np.exp(gains / (0.5 * gains.mean()))
        for part, wanted, other in ((0, fitted, held), (1, held, fitted)):
            left = [d for d in range(60) if d not in before and d not in other]
            right = [d for d in wanted if d in left]
            surprises[part].append(np.log(odds[left].sum() / odds[right].sum()))
    assert len(surprises[0]) == 7
    np.testing.assert_allclose(_losses(objective), np.mean(surprises, axis=1), rtol=1e-4)


@pytest.mark.parametrize("name", ["target", "validation", "subsets", "imitation"])
def test_gradients_are_those_of_finite_differences(name):
    with jax.enable_x64(True):
        objective, pool, graph = to_float64((_members()[name], CASE.pool, CASE.graph))
        weights = np.linspace(0.5, 2, 15)

        @jax.jit
        @jax.value_and_grad
        def loss(parameters):
            exponent, weight, alpha, edges, scores, amounts = parameters
            measure = mig_jax.Measure(mig_jax.Power(exponent, 1e-3, weight), alpha)
            moved = dataclasses.replace(pool, scores=pool.scores * scores)
            gated = dataclasses.replace(graph, similarities=graph.similarities * edges)
            z = mig_jax.label_information(moved, gated, measure, amounts)
            selection = mig_jax.RelaxedSelection(amounts, z, 0.0, 0.0, 0)
            outcome = objectives.Outcome(moved, gated, measure, selection)
            fitted, held_out = objective.losses(outcome)
            return fitted + 0.5 * held_out

        ones = np.ones(len(graph.similarities)), np.ones(60)
        parameters = [np.full(15, 0.6), weights, np.float64(0.7), *ones, AMOUNTS]
        _, gradient = loss(parameters)
        uses = np.array([0, 0, 0, 0, 0, 1] if objective.needs_selection else [1, 1, 1, 1, 1, 0])
        for place, leaf in enumerate(parameters):
            step = 1e-6 * np.random.default_rng(place).normal(size=leaf.shape)
            ends = [
                loss([x + sign * step if n == place else x for n, x in enumerate(parameters)])[0]
                for sign in (1, -1)
            ]
            ours = np.vdot(gradient[place], step)
            assert (ours != 0) == uses[place]
            np.testing.assert_allclose(ours, (ends[0] - ends[1]) / 2, rtol=1e-4, atol=1e-13)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40), st.floats(0, 1), st.integers(0, 99))
def test_holding_out_leaves_some_of_each_group_on_either_side(groups, share, seed):
    held = objectives.hold_out(groups, share, seed)
    assert held.tolist() == objectives.hold_out(groups, share, seed).tolist()
    for group in set(groups):
        members = held[np.array(groups) == group]
        assert len(members) == 1 or 1 <= members.sum() < len(members)
        assert abs(members.sum() - share * len(members)) <= 1


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=20))
def test_spearman_is_that_of_scipy(pairs):
    first, second = np.array(pairs, float).T
    if len(set(first)) == 1 or len(set(second)) == 1:
        assert objectives.spearman(first, second) == 0
    else:
        expected = scipy.stats.spearmanr(first, second).statistic
        np.testing.assert_allclose(objectives.spearman(first, second), expected, atol=1e-12)


def test_another_seed_holds_out_others():
    first, second, again = (
        objectives.imitation(PICKED, CASE.pool, CASE.graph, seed=seed).held_out
        for seed in (0, 1, 0)
    )
    assert first.tolist() == again.tolist() != second.tolist()


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda p, g: objectives.target([[], [1]], p, g, seed=0), "1 of 2 target records"),
        (lambda p, g: objectives.validation(*_validation()[:2], ["a"], seed=0), "1 validation"),
        (lambda p, g: objectives.subsets(SUBSETS, RESULTS[:8], p, seed=0), "9 subsets but 8"),
        (lambda p, g: objectives.subsets(SUBSETS[:3], [1, 2, 3], p, seed=0), "at least 4"),
        (
            lambda p, g: objectives.subsets(SUBSETS, [*RESULTS[:8], np.nan], p, seed=0),
            "result 9 is nan",
        ),
        (lambda p, g: objectives.subsets(SUBSETS, np.ones(9), p, seed=0), "distinct"),
        (lambda p, g: objectives.subsets([[], *SUBSETS[1:]], RESULTS, p, seed=0), "subset 1 is"),
        (lambda p, g: objectives.subsets([[60], *SUBSETS[1:]], RESULTS, p, seed=0), "0 to 59"),
        (lambda p, g: objectives.imitation([1, 1, 2, 3], p, g, seed=0), "3 records of 60"),
        (lambda p, g: objectives.imitation(range(60), p, g, seed=0), "not all"),
        (lambda p, g: objectives.imitation([1, 2, 3, 60], p, g, seed=0), "outside the pool"),
        (lambda p, g: objectives.imitation([1, 2, 3, -1], p, g, seed=0), "outside the pool"),
    ],
)
def test_bad_input_is_told(make, told):
    with pytest.raises(InputError, match=told) as refused:
        make(CASE.pool, CASE.graph)
    assert "\n" not in str(refused.value)


def test_influence_is_what_a_token_teaches_in_the_mean_over_tasks():
    rng = np.random.default_rng(2)
    fitted, held_out = rng.normal(size=(2, 7, 3))
    tokens, amounts = rng.integers(5, 90, 7), rng.random(7)
    objective = objectives.influence(fitted, held_out, tokens)
    relaxed = _selection(jnp.asarray(amounts, jnp.float32))
    found = objective.losses(objectives.Outcome(CASE.pool, CASE.graph, MEASURE, relaxed))
    for loss, taught in zip(found, (fitted, held_out), strict=True):
        expected = 0.0
        for task in range(3):
            own = sum(a * t for a, t in zip(amounts, taught[:, task], strict=True))
            expected -= own / fitted[:, task].std() / 3
        expected /= (amounts * tokens).sum() / tokens.mean()
        assert float(loss) == pytest.approx(expected, rel=1e-5)
