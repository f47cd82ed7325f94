"""The label graph against a dense similarity matrix; what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

import mig_jax


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
