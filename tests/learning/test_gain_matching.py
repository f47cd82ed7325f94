"""Gains of an objective, a measure that is found from them, and what of it they tell."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from jax.flatten_util import ravel_pytree

import mig_jax
from mig_jax import learning
from mig_jax.learning.objectives import Objective
from mig_jax.measure import drop_edges, propagate

KEY = jax.random.key(0)
LABELS, RECORDS = 30, 1500
BUDGETS = (20, 80, 320)
TRUE_THRESHOLD, TRUE_PROPAGATION = 0.8, 0.7


@mig_jax.as_pytree
class _Missed(Objective):
    """What a measure that nobody knows would add, were all records selected."""

    pool: mig_jax.Pool
    graph: mig_jax.LabelGraph
    measure: mig_jax.Measure

    def losses(self, outcome):
        z = mig_jax.label_information(self.pool, self.graph, self.measure, outcome.amounts)
        loss = -mig_jax.information(self.measure, z)
        return loss, 2 * loss


def _case():
    rng = np.random.default_rng(1)
    often = rng.permutation(1 / np.arange(1, LABELS + 1))
    rows = [
        rng.choice(LABELS, rng.integers(1, 4), replace=False, p=often / often.sum()).tolist()
        for _ in range(RECORDS)
    ]
    pool = mig_jax.pool_from_label_lists(rows, rng.uniform(0.5, 1.5, RECORDS))
    pairs = rng.permutation(LABELS)[:24].reshape(12, 2)
    edges = [(*sorted(pair), 0.65 + 0.025 * n) for n, pair in enumerate(pairs.tolist())]
    return pool, mig_jax.label_graph_from_edges(LABELS, edges)


POOL, GRAPH = _case()


def _truth(exponent, weight=1.0) -> _Missed:
    leaves = (exponent, np.full(LABELS, 1e-3), np.broadcast_to(weight, LABELS))
    function = mig_jax.Power(*(jnp.asarray(leaf, jnp.float32) for leaf in leaves))
    measure = mig_jax.Measure(function, jnp.float32(TRUE_PROPAGATION))
    # Scores are in units of their mean, as those of what is learned.
    scores = np.asarray(POOL.scores)
    pool = dataclasses.replace(POOL, scores=(scores / scores.mean()).astype(np.float32))
    return _Missed(pool, drop_edges(GRAPH, TRUE_THRESHOLD), measure)


def _free(threshold: float, start=None) -> learning.Free:
    shared = learning.shared_start(start, threshold=threshold)
    even = learning.even_information(shared, POOL, GRAPH, 80)
    return learning.Free(shared, LABELS, prior=1e-6, anchor=even)


def test_gains_are_those_of_finite_differences():
    truth = _truth(np.linspace(0.2, 0.9, LABELS))
    amounts = np.random.default_rng(0).uniform(0.1, 0.9, RECORDS)
    gains = np.asarray(learning.gains_of_objective(truth, POOL, GRAPH, jnp.asarray(amounts)))
    pool, graph, phi = truth.pool, truth.graph, truth.measure.score_function
    exponent, scores = np.asarray(phi.exponent, np.float64), np.asarray(pool.scores, np.float64)
    # A plain loop in float64: what a record brings, where it arrives, and what it is worth there.
    brought = np.zeros((RECORDS, LABELS))
    brought[pool.records, pool.labels] = scores[pool.records]
    spread = np.eye(LABELS)
    alpha = TRUE_PROPAGATION
    for source, target, similarity in zip(
        graph.sources, graph.targets, graph.similarities, strict=True
    ):
        spread[target, source] = alpha * similarity
    arriving = brought @ (spread / spread.sum(axis=1, keepdims=True)).T

    def utility(w):
        return np.sum((w @ arriving + 1e-3) ** exponent - 1e-3**exponent)

    for record in (0, 7, 801):
        step = np.zeros(RECORDS)
        step[record] = 1e-4
        expected = (utility(amounts + step) - utility(amounts - step)) / 2e-4
        np.testing.assert_allclose(gains[record], expected, rtol=1e-3)


@pytest.mark.parametrize("weight", [1.0, np.geomspace(0.2, 5, LABELS)], ids=["even", "differ"])
def test_shapes_prices_propagation_and_threshold_of_a_measure_are_found(weight):
    rng = np.random.default_rng(3)
    exponent, weight = rng.uniform(0.15, 0.9, LABELS), rng.permutation(np.broadcast_to(weight, 30))
    truth = _truth(exponent, weight)
    rounds: list[int] = []
    matches = {
        threshold: learning.match_gains(
            *(POOL, GRAPH, _free(threshold), truth, BUDGETS, KEY),
            steps=30,
            on_round=rounds.append,
        )
        for threshold in (0.7, TRUE_THRESHOLD, 0.9)
    }
    assert rounds == 3 * [1, 2, 3]
    best = min(matches, key=lambda threshold: matches[threshold].residual)
    assert best == TRUE_THRESHOLD
    assert matches[best].residual < 0.3 * sorted(m.residual for m in matches.values())[1]
    learned = _free(best).learned(matches[best].params)
    found = np.asarray(learned.measure.score_function.exponent)
    assert scipy.stats.spearmanr(found, exponent).statistic > 0.85
    assert np.median(np.abs(found - exponent)) < 0.01
    np.testing.assert_allclose(learned.measure.propagation, TRUE_PROPAGATION, rtol=0.1)
    np.testing.assert_allclose(learned.score_exponent, 1, rtol=0.05)
    # Prices, up to the unit that E does not have.
    at = np.asarray(_free(best).anchor)
    ratio = np.asarray(learned.measure.score_function.derivative(at)) / np.asarray(
        truth.measure.score_function.derivative(at)
    )
    logs = np.log(ratio) - np.median(np.log(ratio))
    assert np.median(np.abs(logs)) < 0.01


def test_one_measure_serves_budgets_that_were_not_matched():
    rng = np.random.default_rng(3)
    truth = _truth(rng.uniform(0.15, 0.9, LABELS))
    match = learning.match_gains(POOL, GRAPH, _free(0.8), truth, BUDGETS, KEY, steps=30)
    pool, graph, measure = learning.harden(_free(0.8).learned(match.params), POOL, GRAPH)
    picks = mig_jax.select(pool, graph, 640, measure=measure).picks
    best = mig_jax.select(truth.pool, truth.graph, 640, measure=truth.measure).picks

    def utility(chosen):
        amounts = np.zeros(RECORDS, np.float32)
        amounts[chosen] = 1
        z = mig_jax.label_information(truth.pool, truth.graph, truth.measure, amounts)
        return float(mig_jax.information(truth.measure, z))

    for budget in (8, 40, 160, 640):
        assert utility(picks[:budget]) > 0.99 * utility(best[:budget])


@pytest.mark.parametrize(
    "function",
    [
        mig_jax.Power(0.6, 1e-3, 2.0),
        mig_jax.Exponential(0.5, 2.0),
        mig_jax.Log(0.5, 2.0),
        mig_jax.Saturating(0.5, 2.0),
    ],
    ids=lambda f: type(f).__name__,
)
def test_a_price_is_the_slope_at_the_anchor_whatever_the_shape(function):
    anchor = np.geomspace(0.01, 3, 7)
    for shape in (-1.5, 0.0, 2.0):
        priced = function.priced(shape, np.log(3.0), anchor)
        np.testing.assert_allclose(
            priced.derivative(anchor), 3 * np.asarray(function.derivative(anchor)), rtol=1e-4
        )
    # A slope that has vanished in float32 leaves numbers that are finite.
    far = function.priced(2.0, 0.0, np.float32(1e4))
    gradient = jax.grad(lambda s: function.priced(s, 0.0, 1e4).value(1.0))(2.0)
    assert np.isfinite([far.weight, far.derivative(0.1), gradient]).all()
    bent = np.asarray(function.priced(2.0, 0.0, anchor).derivative(2 * anchor))
    assert not np.allclose(bent, np.asarray(function.derivative(2 * anchor)), rtol=1e-2)


EXPONENTS = np.random.default_rng(3).uniform(0.15, 0.9, LABELS)


@pytest.fixture(scope="module")
def matched():
    truth = _truth(EXPONENTS)
    free = dataclasses.replace(_free(0.8), prior=1e-4)
    return truth, free, learning.match_gains(POOL, GRAPH, free, truth, BUDGETS, KEY).params


def test_what_is_open_is_that_of_a_dense_inverse(matched):
    """The same selections; gains written out, a dense Jacobian, inverted in float64."""
    truth, free, params = matched
    found = learning.known_shapes(POOL, GRAPH, free, params, truth, BUDGETS, KEY, samples=600)
    pool, graph, measure = learning.harden(free.learned(params), POOL, GRAPH)
    picks = mig_jax.select(pool, graph, max(BUDGETS), measure=measure).picks
    scores = jnp.asarray(POOL.scores) / jnp.mean(POOL.scores)
    flat, unravel = ravel_pytree(params)

    def predicted(x, amounts):
        learned = free.learned(unravel(x))
        own = dataclasses.replace(POOL, scores=scores**learned.score_exponent)
        z = mig_jax.label_information(own, graph, learned.measure, amounts)
        slopes = learned.measure.score_function.derivative(z)
        return linear_rows(own, graph, learned.measure.propagation) @ slopes

    rows, gains, counts = [], [], []
    for budget in BUDGETS:
        amounts = np.full(RECORDS, 0.2 * budget / RECORDS)
        amounts[picks[:budget]] += 0.8
        told = np.asarray(learning.gains_of_objective(truth, POOL, GRAPH, jnp.asarray(amounts)))
        count = np.full(RECORDS, 0.1)
        count[picks[:budget]] = count[np.argsort(-told, kind="stable")[: 2 * budget]] = 1
        rows.append(amounts)
        gains.append(told.astype(np.float64))
        counts.append(count)
    ours = [np.asarray(predicted(flat, jnp.asarray(row, jnp.float32)), np.float64) for row in rows]
    scale = np.sum(np.multiply(ours, gains)) / np.sum(np.square(gains))
    jacobian = []
    for row, told, count in zip(rows, gains, counts, strict=True):
        size = scale * (np.abs(told) + np.abs(told).mean())
        weight = np.sqrt(count / np.sum(counts)) / size
        jac = jax.jacfwd(predicted)(flat, jnp.asarray(row, jnp.float32))
        jacobian.append(weight[:, None] * np.asarray(jac, np.float64))
    jacobian = np.concatenate(jacobian)
    prior = np.asarray(jax.hessian(lambda x: free.penalty(unravel(x)))(flat), np.float64) / 2
    inverse = np.linalg.inv(jacobian.T @ jacobian + prior + 1e-12 * np.eye(len(flat)))
    own, variance = (
        np.asarray(unravel(jnp.asarray(np.diag(of), jnp.float32))["shapes"], np.float64)
        for of in (prior, inverse)
    )
    np.testing.assert_allclose(found.open, np.clip(own * variance, 0, 1), atol=0.12)
    assert np.corrcoef(found.open, own * variance)[0, 1] > 0.97


def linear_rows(pool, graph, propagation):
    """ê of all records, dense: float [P, K]."""
    brought = (
        jnp.zeros((RECORDS, LABELS))
        .at[pool.records, pool.labels]
        .add(jnp.asarray(pool.scores)[pool.records])
    )
    return jax.vmap(lambda row: propagate(graph, propagation, row))(brought)


def test_rounds_are_gone_on_from():
    truth = _truth(EXPONENTS)
    common = (POOL, GRAPH, _free(0.8), truth, BUDGETS, KEY)
    whole = learning.match_gains(*common, rounds=3, steps=4)
    first = learning.match_gains(*common, rounds=1, steps=4)
    rest = learning.match_gains(*common, rounds=2, steps=4, after=first)
    assert rest.residual == whole.residual < first.residual
    for name, values in whole.params.items():
        np.testing.assert_array_equal(rest.params[name], values, err_msg=name)


def test_of_several_thresholds_learning_starts_at_the_one_where_gains_match_best():
    truth = _truth(EXPONENTS)
    inputs = learning.Inputs(
        *(None, POOL, GRAPH, np.eye(LABELS, dtype=np.float32)),
        **{"budget": BUDGETS[1], "budgets": tuple(BUDGETS), "seed": 0, "say": print},
        **{"validation": None, "test": None, "task": None},
    )
    told: list[tuple[int, int]] = []
    starts = [_free(threshold) for threshold in (0.7, TRUE_THRESHOLD, 0.9)]
    start, params = learning.matched_start(
        inputs, truth, starts, lambda done, rounds: told.append((done, rounds))
    )
    assert start is starts[1]
    assert told == [(done, 5) for done in range(1, 6)]
    found = np.asarray(start.learned(params).measure.score_function.exponent)
    assert scipy.stats.spearmanr(found, EXPONENTS).statistic > 0.85


def test_shapes_are_known_where_the_interval_says(matched):
    truth, free, params = matched
    found = learning.known_shapes(POOL, GRAPH, free, params, truth, BUDGETS, KEY)
    exponents = np.asarray(free.learned(params).measure.score_function.exponent)
    assert ((found.low <= exponents) & (exponents <= found.high)).all()
    assert found.determined.mean() > 0.5
    inside = (found.low <= EXPONENTS) & (found.high >= EXPONENTS)
    assert inside.mean() > 0.7
    errors = np.abs(exponents - EXPONENTS)
    # The more is open, the farther off.
    assert scipy.stats.spearmanr(found.open, errors).statistic > 0.3


def test_one_budget_does_not_tell_a_shape_from_a_weight(matched):
    truth, free, params = matched
    at_one = learning.known_shapes(POOL, GRAPH, free, params, truth, BUDGETS[1:2], KEY)
    at_three = learning.known_shapes(POOL, GRAPH, free, params, truth, BUDGETS, KEY)
    assert at_one.determined.sum() < 0.6 * at_three.determined.sum()


def test_a_label_that_no_record_has_is_not_known(matched):
    truth, free, _ = matched
    rows = [row for row in range(POOL.num_records) if 0 not in _labels_of(row)]
    lists = [_labels_of(row) for row in rows]
    pool = mig_jax.pool_from_label_lists(lists, np.asarray(POOL.scores)[rows])
    scores = np.asarray(pool.scores)
    own = dataclasses.replace(pool, scores=(scores / scores.mean()).astype(np.float32))
    alone = mig_jax.label_graph_from_edges(LABELS)
    truth = dataclasses.replace(truth, pool=own, graph=alone)
    found = learning.known_shapes(pool, alone, free, free.init(KEY), truth, BUDGETS, KEY)
    assert found.open[0] > 0.6
    assert not found.determined[0]
    assert found.high[0] - found.low[0] > 0.4


def _labels_of(row: int) -> list[int]:
    labels, records = np.asarray(POOL.labels), np.asarray(POOL.records)
    return labels[records == row].tolist()


@mig_jax.as_pytree
class _OtherHeldOut(_Missed):
    """Held out is another measure: what the data say of shapes is noise."""

    other: mig_jax.Measure = None

    def losses(self, outcome):
        fitted, _ = super().losses(outcome)
        other = dataclasses.replace(self, measure=self.other)
        return fitted, _Missed.losses(other, outcome)[0]


def test_shapes_that_held_out_data_do_not_confirm_are_not_known(matched):
    truth, free, params = matched
    same = learning.known_shapes(POOL, GRAPH, free, params, truth, BUDGETS, KEY)
    fields = {field.name: getattr(truth, field.name) for field in dataclasses.fields(truth)}
    noise = _OtherHeldOut(**fields, other=_truth(1 - EXPONENTS).measure)
    other = learning.known_shapes(POOL, GRAPH, free, params, noise, BUDGETS, KEY)
    assert (other.open >= same.open - 1e-6).all()
    assert other.determined.sum() < 0.8 * same.determined.sum()
