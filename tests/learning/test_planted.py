"""Learning recovers a planted truth; utility and its estimates are what they say."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import mig_jax
from mig_jax.learning import Free, bootstrap, harden, learn, shared_start
from mig_jax.learning.objectives import plant
from mig_jax.synthetic import BuiltinPool
from tests import oracles


@pytest.fixture(scope="module")
def world():
    generator = BuiltinPool(records=1500, labels=80, topics=8)
    table = generator.table()
    names, vectors = generator.label_embeddings()
    place = {name: row for row, name in enumerate(names)}
    vectors = vectors[[place[name] for name in table.label_names]]
    graph = mig_jax.label_graph_from_embeddings(vectors, 0.9)
    pool = mig_jax.pool_from_table(table)
    return pool, graph, vectors


def utility(truth, pool, graph, picks) -> float:
    """By a loop in float64, from the equations."""
    edges = [
        (int(p), int(q), float(w))
        for p, q, w in zip(graph.sources, graph.targets, graph.similarities, strict=True)
        if p < q
    ]
    a = oracles.propagation_matrix(graph.num_labels, edges, 1.0)
    raw = np.zeros(graph.num_labels)
    for record, label in zip(pool.records, pool.labels, strict=True):
        if record in picks:
            raw[label] += float(pool.scores[record])
    phi = truth.learned.measure.score_function
    exponent, epsilon, weight = (
        np.asarray(x, np.float64) for x in (phi.exponent, phi.epsilon, phi.weight)
    )
    return float(np.sum(weight * ((a @ raw + epsilon) ** exponent - epsilon**exponent)))


def test_learned_reaches_the_true_utility(world):
    pool, graph, vectors = world
    truth = plant(pool, graph, vectors, seed=3)
    best = mig_jax.select(pool, graph, 60, measure=truth.learned.measure).picks
    parameterisation = Free(
        start=shared_start(threshold=0.92),
        num_labels=graph.num_labels,
        directions=vectors,
        lowest_threshold=0.9,
    )
    found = learn(pool, graph, parameterisation, truth.objective, 60, jax.random.key(0), steps=30)
    hard = harden(found.learned, pool, graph)
    reached = mig_jax.select(hard[0], hard[1], 60, measure=hard[2]).picks
    paper = mig_jax.select(pool, graph, 60).picks
    of_best = utility(truth, pool, graph, set(best.tolist()))
    assert utility(truth, pool, graph, set(reached.tolist())) > 0.93 * of_best
    assert utility(truth, pool, graph, set(paper.tolist())) < 0.9 * of_best


def test_estimates_are_of_the_truth_and_differ(world):
    pool, graph, vectors = world
    truth = plant(pool, graph, vectors, seed=3)
    weights = np.log(np.asarray(truth.objective.measure.score_function.weight))
    noise = weights - np.log(np.asarray(truth.learned.measure.score_function.weight))
    assert abs(np.corrcoef(noise)[0, 1]) < 0.4
    assert np.all(np.abs(noise.std(axis=1) - 0.3) < 0.1)
    everything = np.ones(pool.num_records, np.float32)
    np.testing.assert_allclose(truth.objective.missed(everything), 0, atol=1e-6)
    np.testing.assert_allclose(truth.objective.missed(0 * everything), 1, atol=1e-6)


def test_bootstrap_is_paired_and_by_group():
    rng = np.random.default_rng(0)
    groups = np.repeat([0, 1], [900, 100])
    losses = rng.normal(groups * 2.0, 0.5)
    mean, low, high = bootstrap(losses, groups)
    assert mean == pytest.approx((losses[:900].mean() + losses[900:].mean()) / 2)
    spread = np.sqrt(losses[:900].var() / 900 + losses[900:].var() / 100) / 2
    assert (high - low) / 2 == pytest.approx(1.96 * spread, rel=0.1)
    assert bootstrap(losses - losses, groups) == (0.0, 0.0, 0.0)
