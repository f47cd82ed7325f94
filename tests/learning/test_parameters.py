"""Parameterisations: what they stand for, how softening becomes hardening, and their files."""

from __future__ import annotations

import dataclasses
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mig_jax
from mig_jax import learning
from mig_jax.errors import InputError
from mig_jax.learning import even_information, fit_feature_basis, label_features
from tests.strategies import random_case

KEY = jax.random.key(0)
ANCHOR = np.geomspace(0.1, 10, 20)  # Of mean logarithm 0.
NAMES = [f"label {number:02d}" for number in range(20)]


def _case(seed=0):
    """A pool of 20 labels, the last two of which no record has, and its graph and embeddings."""
    rng = np.random.default_rng(seed)
    rows = [rng.choice(18, rng.integers(0, 5), replace=False).tolist() for _ in range(60)]
    pool = mig_jax.pool_from_label_lists(rows, rng.uniform(0, 5, len(rows)))
    embeddings = rng.normal(size=(20, 8))
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    embeddings[3] = 0  # A label without embedding.
    return pool, mig_jax.label_graph_from_embeddings(embeddings, 0.2), embeddings


def _members(start, case, *, hidden=3):
    pool, graph, embeddings = case
    basis = fit_feature_basis(pool, graph, embeddings, dimensions=4)
    features = label_features(basis, pool, graph, embeddings)
    range_of_threshold = {"lowest_threshold": 0.2, "highest_threshold": 0.9}
    even = even_information(start, pool, graph, 30)
    return [
        learning.Free(
            start, 20, features, **range_of_threshold, smoothing=1.0, graph=graph, anchor=ANCHOR
        ),
        learning.Free(start, 20, **range_of_threshold),
        learning.FromFeatures(
            start, features, basis, hidden, **range_of_threshold, anchor=even, anchor_records=30.0
        ),
    ]


def _moved(params, scale=0.5, seed=1):
    rng = np.random.default_rng(seed)
    return jax.tree_util.tree_map(
        lambda leaf: leaf + scale * jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype), params
    )


START = learning.shared_start(
    mig_jax.Power(0.7, 1e-3, 1.0), propagation=0.6, threshold=0.5, score_exponent=1.2
)


@pytest.mark.parametrize("member", range(3))
def test_starts_at_the_shared_values(member):
    parameterisation = _members(START, _case())[member]
    params = parameterisation.init(KEY)
    learned = parameterisation.learned(params)
    phi = learned.measure.score_function
    np.testing.assert_allclose(phi.exponent, np.full(20, 0.7), rtol=1e-6)
    np.testing.assert_array_equal(phi.weight, np.ones(20))
    found = (learned.measure.propagation, learned.threshold, learned.score_exponent)
    np.testing.assert_allclose(found, [0.6, 0.5, 1.2], rtol=1e-6)
    assert parameterisation.penalty(params) == 0
    assert parameterisation.penalty(_moved(params)) > 0


@pytest.mark.parametrize("member", range(3))
def test_values_stay_where_they_make_sense_however_far_parameters_go(member):
    parameterisation = _members(START, _case())[member]
    learned = parameterisation.learned(_moved(parameterisation.init(KEY), scale=8.0))
    phi = learned.measure.score_function
    assert np.all((np.asarray(phi.exponent) > 0) & (np.asarray(phi.exponent) <= 1))
    assert np.all(np.asarray(phi.weight) > 0)
    assert 0.2 <= learned.threshold <= 0.9
    assert learned.score_exponent > 0
    assert learned.measure.propagation > 0


def test_what_labels_hold_of_an_even_choice():
    pool, graph, _ = _case()
    held = np.asarray(even_information(START, pool, graph, 30))
    hard = learning.harden(START, pool, graph)
    amounts = np.full(60, 0.5)
    expected = np.maximum(np.asarray(mig_jax.label_information(*hard, amounts)), 0.01)
    np.testing.assert_allclose(held, expected, rtol=1e-5)
    assert held.min() == np.float32(0.01)  # No record has this label, nor a neighbour.


def test_free_values_against_their_definition():
    case = _case()
    parameterisation = _members(START, case)[0]
    params = _moved(parameterisation.init(KEY))
    learned = parameterisation.learned(params)
    p = jax.tree_util.tree_map(lambda leaf: np.asarray(leaf, np.float64), params)
    features = np.asarray(parameterisation.directions, np.float64)
    weights = p["weights"] + features @ p["common_weights"]
    shapes = p["shapes"] + features @ p["common_shapes"]
    logits = np.log(0.7 / 0.3) + 0.5 * p["shape"] + shapes
    phi = learned.measure.score_function
    exponents = 1 / (1 + np.exp(-logits))
    np.testing.assert_allclose(phi.exponent, exponents, rtol=1e-4)
    slopes = exponents * (ANCHOR + 1e-3) ** (exponents - 1)
    prices = np.exp(weights) * 0.7 * (ANCHOR + 1e-3) ** -0.3
    np.testing.assert_allclose(phi.weight, prices / slopes, rtol=1e-3)
    np.testing.assert_allclose(learned.measure.propagation, 0.6 * np.exp(p["propagation"]), 1e-5)
    own = sum(np.mean(p[name] ** 2) for name in params if name.endswith(("weights", "shapes")))
    graph = case[1]
    rough = sum(
        np.average((x[graph.sources] - x[graph.targets]) ** 2, weights=graph.similarities)
        for x in (weights, shapes)
    )
    np.testing.assert_allclose(parameterisation.penalty(params), 1e-3 * own + rough, rtol=1e-4)


def test_a_unit_of_the_threshold_moves_it_by_the_same_wherever_it_starts():
    for start in (0.3, 0.5, 0.85):
        shared = dataclasses.replace(START, threshold=jnp.asarray(start))
        parameterisation = _members(shared, _case())[1]
        params = parameterisation.init(KEY)
        slope = jax.grad(lambda x, p=parameterisation, q=params: p.learned({**q, "threshold": x})
                         .threshold)(0.0)  # fmt: skip
        np.testing.assert_allclose(slope, 0.03, rtol=1e-4)


def test_rates_are_learned_on_a_log_scale():
    start = learning.shared_start(mig_jax.Log(2.0), threshold=0.5)
    parameterisation = learning.Free(start, 20)
    params = parameterisation.init(KEY) | {"shapes": jnp.linspace(-4.0, 5.0, 20)}
    rates = parameterisation.learned(params).measure.score_function.rate
    np.testing.assert_allclose(rates, 2 * np.exp(np.linspace(-4, 5, 20)), rtol=1e-5)


@pytest.mark.parametrize("member", [0, 2])
def test_gradients_through_softening_are_those_of_finite_differences(member):
    with jax.enable_x64(True):
        case = _case()
        start = jax.tree_util.tree_map(lambda x: jnp.asarray(x, jnp.float64), START)
        parameterisation = _members(start, case)[member]
        params = _moved(parameterisation.init(KEY), 0.3)
        amounts = np.random.default_rng(2).uniform(size=60)

        @jax.jit
        @jax.value_and_grad
        def loss(params):
            softened = learning.soften(parameterisation.learned(params), case[0], case[1], 0.05)
            z = mig_jax.label_information(*softened, amounts)
            return mig_jax.information(softened[2], z) + parameterisation.penalty(params)

        _, gradient = loss(params)
        leaves, structure = jax.tree_util.tree_flatten(params)
        for place, leaf in enumerate(leaves):
            step = 1e-6 * np.random.default_rng(place).normal(size=leaf.shape)
            ends = []
            for sign in (1, -1):
                moved = [x + sign * step if n == place else x for n, x in enumerate(leaves)]
                ends.append(loss(jax.tree_util.tree_unflatten(structure, moved))[0])
            ours = np.vdot(jax.tree_util.tree_leaves(gradient)[place], step)
            np.testing.assert_allclose(ours, (ends[0] - ends[1]) / 2, rtol=1e-4, atol=1e-10)


def test_softening_becomes_hardening_as_the_gate_narrows():
    pool, graph, _ = _case()
    learned = dataclasses.replace(START, threshold=jnp.float32(0.45))
    hard_pool, hard_graph, measure = learning.harden(learned, pool, graph)
    assert 0 < hard_graph.num_edges < graph.num_edges
    assert np.asarray(hard_graph.similarities).min() >= 0.45
    amounts = np.random.default_rng(2).uniform(size=60)
    expected = mig_jax.label_information(hard_pool, hard_graph, measure, amounts)
    softened = learning.soften(learned, pool, graph, 1e-5)
    np.testing.assert_allclose(mig_jax.label_information(*softened, amounts), expected, rtol=1e-5)
    mean = np.asarray(pool.scores, np.float64).mean()
    np.testing.assert_allclose(hard_pool.scores, (pool.scores / mean) ** 1.2, rtol=1e-5)


def test_the_unit_of_scores_means_nothing():
    pool, graph, _ = _case()
    tenfold = dataclasses.replace(pool, scores=10 * np.asarray(pool.scores))
    first, second = (learning.harden(START, x, graph)[0].scores for x in (pool, tenfold))
    np.testing.assert_allclose(first, second, rtol=1e-5)


def test_scores_of_zero_stay_zero_and_have_finite_gradients():
    pool = mig_jax.pool_from_label_lists([[0], [1]], [0.0, 2.0])
    graph = mig_jax.label_graph_from_edges(2)

    def total(score_exponent):
        learned = dataclasses.replace(START, score_exponent=score_exponent)
        return jnp.sum(learning.soften(learned, pool, graph, 0.02)[0].scores)

    assert learning.soften(START, pool, graph, 0.02)[0].scores[0] == 0
    assert np.isfinite(jax.grad(total)(0.5))


def test_features_do_not_depend_on_the_order_of_labels_or_the_unit_of_scores():
    pool, graph, embeddings = _case()
    basis = fit_feature_basis(pool, graph, embeddings, dimensions=4)
    features = label_features(basis, pool, graph, embeddings)
    np.testing.assert_allclose(features[:, :4].mean(axis=0)[[0]], 0, atol=1e-6)
    assert features.shape == (20, 7)
    np.testing.assert_array_equal(features[3, :4], np.zeros(4))
    order = np.random.default_rng(5).permutation(20)  # New id of each label.
    rows = [[] for _ in range(60)]
    for record, label in zip(pool.records, pool.labels, strict=True):
        rows[record].append(int(order[label]))
    renamed = mig_jax.pool_from_label_lists(rows, 3 * np.asarray(pool.scores))
    moved = np.zeros_like(embeddings)
    moved[order] = embeddings
    moved_graph = mig_jax.label_graph_from_embeddings(moved, 0.2)
    found = label_features(basis, renamed, moved_graph, moved)
    np.testing.assert_allclose(found[order], features, atol=1e-5)


def test_statistics_of_labels_against_counting():
    case = random_case(4, 50)
    embeddings = np.random.default_rng(0).normal(size=(case.num_labels, 3))
    basis = fit_feature_basis(case.pool, case.graph, embeddings)
    found = label_features(basis, case.pool, case.graph, embeddings)[:, 3:]
    found = found * np.asarray(basis.spread) + np.asarray(basis.centre)
    mean = np.mean(case.scores)
    for label in range(case.num_labels):
        has = [d for d, row in enumerate(case.label_lists) if label in row]
        degree = sum(label in edge[:2] for edge in case.edges)
        relative = (sum(case.scores[d] / mean for d in has) + 1) / (len(has) + 1)
        expected = [np.log((len(has) + 0.5) / 50), np.log1p(degree), np.log(relative)]
        np.testing.assert_allclose(found[label], expected, rtol=1e-4, atol=1e-4)


def test_free_parameters_come_back_by_label_name(tmp_path):
    pool, graph, _ = _case()
    parameterisation = _members(START, _case())[0]
    params = _moved(parameterisation.init(KEY))
    learning.save_learned(tmp_path / "params", parameterisation, params, NAMES)
    learned = parameterisation.learned(params)
    names = [NAMES[7], "never seen", NAMES[2]]
    found = learning.restore_learned(tmp_path / "params", names, None, pool, graph)
    phi, ours = learned.measure.score_function, found.measure.score_function
    np.testing.assert_array_equal(np.asarray(ours.weight)[[0, 2]], np.asarray(phi.weight)[[7, 2]])
    # One never seen holds what is typical, 1 here, and has the price that all start from.
    seen = mig_jax.Power(ours.exponent[1], 1e-3, ours.weight[1])
    np.testing.assert_allclose(seen.derivative(1.0), 0.7 * 1.001**-0.3, rtol=1e-4)
    np.testing.assert_array_equal(
        np.asarray(ours.exponent)[[0, 2]], np.asarray(phi.exponent)[[7, 2]]
    )
    shared = np.log(0.7 / 0.3) + 0.5 * float(params["shape"])
    np.testing.assert_allclose(ours.exponent[1], 1 / (1 + np.exp(-shared)), rtol=1e-5)
    assert found.measure.propagation == learned.measure.propagation
    assert found.score_exponent == learned.score_exponent
    assert float(learned.threshold) == learning.learned_threshold(tmp_path / "params")
    assert learning.learned_budgets(tmp_path / "params") == []
    assert learning.learned_labels(tmp_path / "params") == NAMES
    learning.save_learned(tmp_path / "params", parameterisation, params, NAMES, budgets=(40, 10))
    assert learning.learned_budgets(tmp_path / "params") == [10, 40]


@pytest.mark.parametrize("kind", [0, 1])
def test_what_labels_do_not_differ_in_they_share(kind):
    """Without weights of their own, labels of one shape have one score function."""
    whole = _members(START, _case())[kind]
    labels = whole.learned(whole.init(KEY)).measure.score_function.weight.shape[0]
    anchor = jnp.geomspace(0.1, 10, labels)
    params = _moved(whole.init(KEY))
    for by_label in map(learning.ByLabel, (0, 1, 0, 1), (0, 0, 1, 1)):
        part = dataclasses.replace(whole, by_label=by_label, anchor=anchor)
        phi = part.learned(params).measure.score_function
        assert (np.ptp(np.asarray(phi.exponent)) > 1e-3) == bool(by_label.shapes)
        middle = float(np.exp(np.mean(np.log(np.asarray(anchor)))))
        slopes = np.asarray(phi.derivative(middle))
        assert (np.ptp(slopes) > 1e-3 * slopes.max()) == bool(by_label.weights)


def test_offsets_stay_where_floats_can_compute():
    parameterisation = _members(START, _case())[0]
    far = jax.tree_util.tree_map(lambda leaf: leaf - 1000.0, parameterisation.init(KEY))
    of_labels = ("weights", "common_weights")
    near = far | {name: jnp.zeros_like(far[name]) for name in of_labels}
    learned = parameterisation.learned(near)
    assert all(np.isfinite(np.asarray(leaf)).all() for leaf in jax.tree.leaves(learned))
    assert float(learned.measure.propagation) > 0


@pytest.mark.parametrize("hidden", [0, 3])
def test_parameters_of_features_come_back_for_any_pool(tmp_path, hidden):
    parameterisation = _members(START, _case(), hidden=hidden)[2]
    params = _moved(parameterisation.init(KEY))
    learning.save_learned(tmp_path / "params", parameterisation, params, NAMES)
    pool, graph, embeddings = _case(seed=9)  # Other records, labels and edges.
    features = label_features(parameterisation.basis, pool, graph, embeddings)
    even = even_information(START, pool, graph, 30)
    expected = dataclasses.replace(parameterisation, features=features, anchor=even)
    expected = expected.learned(params)
    found = learning.restore_learned(tmp_path / "params", ["new"] * 20, embeddings, pool, graph)
    jax.tree_util.tree_map(np.testing.assert_array_equal, found, expected)
    # Saved again in the same place, they are replaced.
    learning.save_learned(tmp_path / "params", parameterisation, parameterisation.init(KEY), NAMES)
    again = learning.restore_learned(tmp_path / "params", NAMES, embeddings, pool, graph)
    np.testing.assert_array_equal(again.measure.score_function.weight, np.ones(20))


def test_what_cannot_be_restored_is_told(tmp_path):
    pool, graph, embeddings = _case()
    parameterisation = _members(START, _case())[2]
    where = tmp_path / "params"
    learning.save_learned(where, parameterisation, parameterisation.init(KEY), NAMES)

    def refusal(directory, embeddings):
        with pytest.raises(InputError) as refused:
            learning.restore_learned(directory, NAMES, embeddings, pool, graph)
        return str(refused.value)

    assert "--label_embeddings" in refusal(where, None)
    assert "5 columns, expected 8" in refusal(where, embeddings[:, :5])
    assert "is no directory" in refusal(tmp_path / "nowhere", embeddings)
    os.mkdir(tmp_path / "empty")
    assert "does not hold learned parameters" in refusal(tmp_path / "empty", embeddings)
    for folder, _, files in os.walk(where):
        for name in files:
            with open(os.path.join(folder, name), "wb") as stream:
                stream.write(b"?")
    assert "does not hold learned parameters" in refusal(where, embeddings)
    (tmp_path / "file").write_bytes(b"")
    params = parameterisation.init(KEY)
    with pytest.raises(InputError, match="expected a directory"):
        learning.save_learned(tmp_path / "file" / "x", parameterisation, params, NAMES)
