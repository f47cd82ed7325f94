"""The relaxed selection: its definition in dense NumPy, its limits, what it reports, its size."""

from __future__ import annotations

import functools
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import entr, expit

import mig_jax
from mig_jax.relaxation import typical_gain
from mig_jax.synthetic import BuiltinPool
from tests.strategies import FUNCTIONS, Shape, cases, random_case, to_float64


@functools.cache
def _generated() -> tuple[mig_jax.Pool, mig_jax.LabelGraph]:
    generator = BuiltinPool(records=4000, labels=150, topics=10)
    table, (names, vectors) = generator.table(), generator.label_embeddings()
    place = {name: i for i, name in enumerate(names)}
    rows = vectors[[place[name] for name in table.label_names]]
    graph = mig_jax.label_graph_from_embeddings(rows, 0.9)
    return mig_jax.pool_from_table(table), graph


def _relax(measure: mig_jax.Measure, temperature: float, **settings: Any) -> Any:
    """200 records of the generated pool; compiled once, whatever the settings."""
    pool, graph = _generated()
    settings = {"start": jnp.zeros(graph.num_labels)} | settings
    return mig_jax.relaxed_selection(pool, graph, measure, 200, temperature, **settings)


@pytest.mark.parametrize("function", FUNCTIONS[::2], ids=lambda f: type(f[0]).__name__)
def test_amounts_are_the_soft_top_of_their_own_gains(function):
    """The optimality condition of the strictly concave problem, in dense NumPy float64."""
    ours, phi, derivative = function
    relax = partial(mig_jax.relaxed_selection, tolerance=1e-10)

    @given(
        case=cases(Shape(16, 5, 30, 4), structures=None),
        budget=st.integers(0, 16),
        temperature=st.sampled_from([3.0, 0.3, 0.03]),
    )
    @settings(max_examples=25)
    def check(case, budget, temperature):
        with jax.enable_x64(True):
            pool, graph = to_float64((case.pool, case.graph))
            measure = to_float64(mig_jax.Measure(ours, case.alpha))
            relaxed = jax.device_get(relax(pool, graph, measure, budget, temperature))
        rows, amounts = case.rows, relaxed.amounts
        assert relaxed.residual <= 1e-10
        assert abs(amounts.sum() - budget) <= 1e-6
        assert np.all((amounts >= 0) & (amounts <= 1))
        z = amounts @ rows
        np.testing.assert_allclose(relaxed.z, z, rtol=1e-12, atol=1e-12)
        even = np.maximum(rows.sum(axis=0) * budget / 16, 1e-12)
        typical = np.mean(rows @ [derivative(x) for x in even])
        tau = temperature * (typical if typical > 0 else 1)
        slopes = np.array([derivative(x) for x in np.maximum(z, 1e-12)])
        odds = (rows @ slopes - float(relaxed.threshold)) / tau
        np.testing.assert_allclose(amounts, expit(odds), atol=1e-7)
        # And so no other amounts of the same sum are better.
        if not 0 < budget < 16:
            return
        rng = np.random.default_rng(0)

        def height(w: np.ndarray) -> float:
            return sum(map(phi, w @ rows)) + tau * (entr(w).sum() + entr(1 - w).sum())

        for scale in [1e-3, 0.1, 1.0]:
            toward = np.zeros(16)
            toward[rng.permutation(16)[:budget]] = 1
            other = amounts + scale * (toward - amounts)
            assert height(np.clip(other, 0, 1)) <= height(amounts) * (1 + 1e-12) + 1e-12

    check()


@pytest.mark.parametrize(
    ("function", "records", "labels", "entries", "edges"),
    [
        (mig_jax.Power(), 1, 1, 0, 0),
        (mig_jax.Power(), 12, 8, 40, 20),
        (mig_jax.Power(0.3, 0.0), 1, 1, 1, 0),
        (mig_jax.Power(0.3, 0.0), 12, 8, 20, 0),
        (mig_jax.Power(1.0, 0.0), 9, 1, 9, 0),
    ],
)
def test_any_small_pool_has_finite_gradients(function, records, labels, entries, edges):
    @jax.jit
    def outputs(pool, graph, alpha, budget, temperature):
        def total(function, alpha, similarities, scores, temperature):
            changed = mig_jax.Pool(pool.labels, pool.records, scores)
            joined = mig_jax.LabelGraph(graph.sources, graph.targets, similarities, labels)
            measure = mig_jax.Measure(function, alpha)
            relaxed = mig_jax.relaxed_selection(changed, joined, measure, budget, temperature)
            weights = jnp.arange(records) + 1.0
            return weights @ relaxed.amounts + relaxed.z.sum() + relaxed.threshold, relaxed

        arguments = of_labels, alpha, jnp.asarray(graph.similarities), pool.scores, temperature
        return jax.grad(total, argnums=(0, 1, 2, 3, 4), has_aux=True)(*arguments)

    of_labels = jax.tree_util.tree_map(lambda leaf: jnp.full(labels, leaf), function)

    @given(
        case=cases(Shape(records, labels, entries, edges), structures=None),
        budget=st.integers(0, records),
        temperature=st.sampled_from([10.0, 1.0, 0.1, 0.01, 1e-4]),
    )
    @settings(max_examples=25)
    def check(case, budget, temperature):
        gradients, relaxed = outputs(case.pool, case.graph, case.alpha, budget, temperature)
        for leaf in jax.tree_util.tree_leaves((gradients, relaxed)):
            assert np.all(np.isfinite(leaf))
        total = np.asarray(relaxed.amounts, np.float64).sum()
        assert abs(total - budget) <= 1e-6 * max(budget, 1)

    check()


def test_a_pool_without_records_or_labels():
    empty = mig_jax.pool_from_label_lists([], [])
    graph = mig_jax.label_graph_from_edges(3, [(0, 1, 0.5)])
    relaxed = mig_jax.relaxed_selection(empty, graph, mig_jax.Measure(), 0, 0.1)
    assert relaxed.amounts.shape == (0,)
    np.testing.assert_array_equal(relaxed.z, np.zeros(3))
    bare = mig_jax.pool_from_label_lists([[], []], [1.0, 2.0])
    none = mig_jax.label_graph_from_edges(0)
    relaxed = mig_jax.relaxed_selection(bare, none, mig_jax.Measure(), 1, 0.1)
    np.testing.assert_allclose(relaxed.amounts, [0.5, 0.5])


def test_cold_amounts_are_the_greedy_picks_where_gains_do_not_interact():
    """With φ linear the greedy is exact, and the N largest gains are its picks."""
    pool, graph = _generated()
    measure = mig_jax.Measure(mig_jax.Power(1.0, 0.0))
    relaxed = _relax(measure, 1e-6)
    picks = mig_jax.select(pool, graph, 200, measure=measure).picks
    assert set(np.flatnonzero(relaxed.amounts > 0.5)) == set(picks)
    np.testing.assert_allclose(relaxed.amounts, np.round(relaxed.amounts), atol=1e-3)


def test_cold_amounts_are_the_greedy_picks_up_to_shared_records():
    """As τ → 0, E lies between that of the greedy and the certified bound, and few amounts differ.

    If φ bends, the optimum may share a record's place between records of like gain.
    """
    pool, graph = _generated()
    measure = mig_jax.Measure()
    selection = mig_jax.select(pool, graph, 200)
    bound = mig_jax.certify(pool, graph, measure, selection.picks).upper_bound
    distances, overlaps = [], []
    for temperature in [0.1, 0.01, 0.002]:
        relaxed = _relax(measure, temperature)
        assert relaxed.residual <= 1e-4
        held = float(mig_jax.information(measure, relaxed.z))
        assert held <= bound * (1 + 1e-5)
        distances.append(bound - held)
        amounts = np.asarray(relaxed.amounts)
        assert set(np.flatnonzero(amounts > 0.99)) <= set(selection.picks)
        overlaps.append(amounts[selection.picks].sum() / 200)
    assert distances == sorted(distances, reverse=True)
    assert overlaps == sorted(overlaps)
    assert distances[-1] <= bound - selection.information
    assert overlaps[-1] >= 0.95


def test_scales_of_scores_and_weights_do_not_matter():
    """Temperatures are relative: the same amounts if every gain is a hundred times as large."""
    pool, graph = _generated()
    plain = mig_jax.Measure(mig_jax.Power(0.6, 0.0))
    heavy = mig_jax.Measure(mig_jax.Power(0.6, 0.0, 100.0))
    large = mig_jax.Pool(pool.labels, pool.records, pool.scores * 8)
    amounts = _relax(plain, 0.1, tolerance=1e-6).amounts
    np.testing.assert_allclose(_relax(heavy, 0.1, tolerance=1e-6).amounts, amounts, atol=1e-3)
    start = jnp.zeros(graph.num_labels)
    scaled = mig_jax.relaxed_selection(large, graph, plain, 200, 0.1, start=start, tolerance=1e-6)
    np.testing.assert_allclose(scaled.amounts, amounts, atol=1e-3)
    ratio = typical_gain(pool, graph, heavy, 25) / typical_gain(pool, graph, plain, 25)
    np.testing.assert_allclose(ratio, 100, rtol=1e-5)


def test_a_warm_start_takes_fewer_steps_to_the_same_amounts():
    _, graph = _generated()
    before = _relax(mig_jax.Measure(propagation=1.0), 0.05, tolerance=1e-5)
    relax = partial(_relax, mig_jax.Measure(propagation=1.02), 0.05, tolerance=1e-5)
    cold = relax()
    warm = relax(start=before.z)
    assert warm.steps < cold.steps
    np.testing.assert_allclose(warm.amounts, cold.amounts, atol=2e-3)
    nonsense = np.random.default_rng(0).exponential(1e3, graph.num_labels).astype(np.float32)
    for start in [nonsense, -nonsense]:
        again = relax(start=jnp.asarray(start))
        assert again.residual <= 1e-5
        np.testing.assert_allclose(again.amounts, cold.amounts, atol=2e-3)


def test_stopping_early_is_reported():
    early = _relax(mig_jax.Measure(), 0.05, max_steps=1)
    assert early.steps == 1
    assert early.residual > 1e-2
    np.testing.assert_allclose(np.asarray(early.amounts, np.float64).sum(), 200, rtol=1e-6)
    # The residual is what it says: how far the information moves in one more round.
    again = _relax(mig_jax.Measure(), 0.05, start=early.z, max_steps=0)
    moved = jnp.abs(again.z - early.z).sum() / jnp.abs(again.z).sum()
    assert again.residual > 1e-3
    np.testing.assert_allclose(again.residual, moved, rtol=1e-3)


def test_many_problems_at_once():
    case = random_case(6, 60)
    pool, graph = jax.device_put((case.pool, case.graph))

    def total(alpha, budget, temperature):
        measure = mig_jax.Measure(propagation=alpha)
        relaxed = mig_jax.relaxed_selection(pool, graph, measure, budget, temperature)
        return jnp.arange(60) @ relaxed.amounts, relaxed.amounts

    alphas = jnp.array([0.1, 1.0, 2.0])
    budgets, temperatures = jnp.array([5, 20, 60]), jnp.array([1.0, 0.03, 0.3])
    one = jax.jit(jax.grad(total, has_aux=True))
    gradients, amounts = jax.vmap(one)(alphas, budgets, temperatures)
    for i in range(3):
        gradient, expected = one(alphas[i], budgets[i], temperatures[i])
        np.testing.assert_allclose(amounts[i], expected, atol=1e-4)
        np.testing.assert_allclose(gradients[i], gradient, rtol=1e-2, atol=1e-2)


def test_temperatures_and_budgets_that_are_none():
    """All amounts were NaN."""
    case = random_case(6, 60)
    relax = partial(mig_jax.relaxed_selection, case.pool, case.graph, mig_jax.Measure())
    for temperature in (0, -0.1, np.nan, np.inf, jnp.array(0.0)):
        with pytest.raises(
            ValueError, match=r"temperature: found .*, expected a finite number abo"
        ):
            relax(5, temperature)
        with pytest.raises(ValueError, match="temperature"):
            jax.jit(lambda at=temperature: relax(5, at).amounts)()
    for budget in (-1, 61, np.nan, jnp.array(61)):
        with pytest.raises(ValueError, match=r"budget: found .*, expected 0 to 60"):
            relax(budget, 0.1)
    # Of what is traced nothing is known.
    traced = jax.jit(lambda budget, at: relax(budget, at).amounts.sum())
    np.testing.assert_allclose(traced(60, 0.1), 60, rtol=1e-6)
