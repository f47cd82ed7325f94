"""The label graph against a dense similarity matrix; what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

import mig_jax
from mig_jax.measure import propagate


@pytest.mark.parametrize("block", [1, 7, 50, 1000])
@pytest.mark.parametrize("threshold", [0.2, 0.5])
def test_blocks_find_the_edges_of_the_dense_matrix(block, threshold):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(50, 6)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    present = rng.uniform(size=50) < 0.9
    graph = mig_jax.label_graph_from_embeddings(vectors, threshold, present=present, block=block)
    expected = {
        (p, q): float(vectors[p].astype(np.float64) @ vectors[q])
        for p in range(50)
        for q in range(50)
        if p != q and present[p] and present[q] and vectors[p] @ vectors[q] >= threshold
    }
    found = list(zip(graph.sources.tolist(), graph.targets.tolist(), strict=True))
    assert found == sorted(expected)
    assert graph.num_edges == len(expected) // 2
    np.testing.assert_allclose(graph.similarities, [expected[e] for e in found], rtol=1e-5)


@pytest.mark.parametrize("block", [1, 7, 1000])
@pytest.mark.parametrize("neighbours", [0.5, 3.5, 1000.0])
def test_the_threshold_gives_labels_so_many_neighbours(block, neighbours):
    """As many as are wanted, or a tenth of all, and no more than its rounding adds."""
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(60, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    present = rng.uniform(size=60) < 0.9
    count = int(present.sum())
    threshold = mig_jax.threshold_of_neighbours(vectors, neighbours, present=present, block=block)
    similar = np.sort(
        (vectors[present].astype(np.float64) @ vectors[present].T)[np.triu_indices(count, 1)]
    )[::-1]
    pairs = int(min(neighbours, (count - 1) / 10) * count / 2)
    assert threshold == np.floor(similar[pairs - 1] * 1000) / 1000
    graph = mig_jax.label_graph_from_embeddings(vectors, threshold, present=present)
    assert graph.num_edges == np.sum(similar >= threshold) >= pairs


@pytest.mark.parametrize(
    "vectors", [np.zeros((0, 3)), np.ones((1, 1)), np.eye(30), np.array([[-0.6, 0.8]]), np.eye(3)]
)
def test_labels_that_are_not_similar_are_not_joined(vectors):
    assert mig_jax.threshold_of_neighbours(vectors, 3.5) == 1.0


def test_equal_labels_have_a_threshold():
    assert mig_jax.threshold_of_neighbours(np.ones((40, 1)), 3.5) == 1.0
    with pytest.raises(ValueError, match="must be a matrix"):
        mig_jax.threshold_of_neighbours(np.ones(3), 3.5)
    with pytest.raises(ValueError, match="present must have shape"):
        mig_jax.threshold_of_neighbours(np.ones((3, 1)), 3.5, present=[True])


def test_no_labels_no_edges():
    assert mig_jax.label_graph_from_embeddings(np.zeros((0, 4)), 0.5).num_edges == 0
    assert mig_jax.label_graph_from_edges(3).num_edges == 0


def test_equal_embeddings_have_similarity_one():
    vectors = np.full((2, 3), 0.57735027, np.float32)
    graph = mig_jax.label_graph_from_embeddings(vectors, 0.9)
    assert graph.similarities.max() <= 1


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ([(0, 3, 0.5)], "outside 0 to 2"),
        ([(-1, 0, 0.5)], "outside 0 to 2"),
        ([(1, 1, 0.5)], "with itself"),
        ([(0, 1, 0.5), (1, 0, 0.4)], "twice"),
        ([(0, 1, float("nan"))], "finite number above 0"),
        ([(0, 1, 0.0)], "finite number above 0"),
    ],
)
def test_edges_that_are_refused(edges, message):
    with pytest.raises(ValueError, match=message):
        mig_jax.label_graph_from_edges(3, edges)


def test_threshold_must_be_above_zero():
    with pytest.raises(ValueError, match="above 0"):
        mig_jax.label_graph_from_embeddings(np.ones((2, 1)), 0.0)


def test_a_narrow_gate_is_the_hard_threshold():
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(40, 6)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    wide = mig_jax.label_graph_from_embeddings(vectors, 0.1)
    hard = mig_jax.label_graph_from_embeddings(vectors, 0.5)
    gated = mig_jax.gate_edges(wide, 0.5, 1e-6)
    kept = np.asarray(gated.similarities) > 0.25
    np.testing.assert_array_equal(np.asarray(gated.sources)[kept], hard.sources)
    np.testing.assert_array_equal(np.asarray(gated.targets)[kept], hard.targets)
    np.testing.assert_allclose(np.asarray(gated.similarities)[kept], hard.similarities)
    np.testing.assert_allclose(np.asarray(gated.similarities)[~kept], 0, atol=1e-6)
    x = rng.uniform(0, 5, 40)
    np.testing.assert_allclose(propagate(gated, 1.0, x), propagate(hard, 1.0, x), rtol=1e-5)


def test_a_wide_gate_fades():
    graph = mig_jax.label_graph_from_edges(3, [(0, 1, 0.8), (1, 2, 0.6)])
    gated = mig_jax.gate_edges(graph, 0.7, 0.1)
    gate = 1 / (1 + np.exp([-1.0, -1.0, 1.0, 1.0]))
    expected = np.array([0.8, 0.8, 0.6, 0.6]) * gate
    np.testing.assert_allclose(gated.similarities[np.array([0, 1, 2, 3])], expected, rtol=1e-5)
