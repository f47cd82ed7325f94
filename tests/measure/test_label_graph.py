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
