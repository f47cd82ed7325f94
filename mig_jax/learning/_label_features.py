"""Features of labels that mean the same in every pool."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from mig_jax.measure import Array, LabelGraph, Pool, as_pytree

__all__ = ["FeatureBasis", "fit_feature_basis", "label_features"]

# Standard deviation of each feature that is no part of the embedding. All of an embedding's
# together have 1, so that a label's meaning and its statistics move it about as much.
_STATISTIC_SPREAD = 0.3
_STATISTICS = 3


@as_pytree
class FeatureBasis:
    """How features are computed: fitted once, then kept, so that they never change meaning."""

    mean: Array  #: float32 [width]: of the embeddings.
    components: Array  #: float32 [width, D]: their D first principal directions, scaled.
    centre: Array  #: float32 [3]: of log frequency, log degree and log mean score.
    spread: Array  #: float32 [3]: what they are divided by.

    @property
    def num_features(self) -> int:
        return int(np.shape(self.components)[1]) + _STATISTICS


def fit_feature_basis(
    pool: Pool, graph: LabelGraph, embeddings: Any, *, dimensions: int = 48
) -> FeatureBasis:
    """The principal directions of the embeddings, and the scale of the labels' statistics.

    Args:
      pool: P records.
      graph: K labels.
      embeddings: float [K, width], of unit length; rows of zeros are of labels without.
      dimensions: D, how many directions to keep; fewer if there are no more.

    Raises:
      ValueError: if the embeddings are no matrix of K rows.
    """
    vectors = _checked_embeddings(graph, embeddings)
    present = vectors.any(axis=1)
    mean = vectors[present].mean(axis=0) if present.any() else np.zeros(vectors.shape[1])
    centred = vectors[present] - mean
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    components = directions[:dimensions].T
    # One scale for all: the first directions stay the longest.
    size = np.sqrt(np.sum((centred @ components) ** 2) / max(len(centred), 1))
    statistics = _statistics(pool, graph)
    spread = statistics.std(axis=0) if len(statistics) else np.ones(_STATISTICS)
    return FeatureBasis(
        mean.astype(np.float32),
        (components / (size if size > 0 else 1)).astype(np.float32),
        (statistics.mean(axis=0) if len(statistics) else spread).astype(np.float32),
        (np.where(spread > 0, spread, 1) / _STATISTIC_SPREAD).astype(np.float32),
    )


def label_features(
    basis: FeatureBasis, pool: Pool, graph: LabelGraph, embeddings: Any
) -> np.ndarray:
    """The features of K labels, float32 [K, D + 3], centred on those the basis was fitted to.

    They are the embedding along D principal directions; the log of the share of the
    records that have the label; the log of its degree in the graph; and the log of the
    mean score of its records relative to the pool's. A label without embedding stands
    at the mean of all.

    Raises:
      ValueError: if the embeddings are no matrix of K rows of the basis' width.
    """
    vectors = _checked_embeddings(graph, embeddings)
    if vectors.shape[1] != len(basis.mean):
        raise ValueError(
            f"embeddings have {vectors.shape[1]} columns, expected {len(basis.mean)} as learned"
        )
    basis = jax.tree_util.tree_map(np.asarray, basis)
    present = vectors.any(axis=1, keepdims=True)
    meaning = np.where(present, (vectors - basis.mean) @ basis.components, 0)
    statistics = (_statistics(pool, graph) - basis.centre) / basis.spread
    return np.concatenate([meaning, statistics], axis=1).astype(np.float32)


def _statistics(pool: Pool, graph: LabelGraph) -> np.ndarray:
    """Log frequency, log degree and log relative mean score of each label: float64 [K, 3]."""
    count = np.bincount(pool.labels, minlength=graph.num_labels)
    scores = np.asarray(pool.scores, np.float64)
    mean = scores.mean() if scores.any() else 1.0
    sums = np.bincount(pool.labels, scores[np.asarray(pool.records)] / mean, graph.num_labels)
    degree = np.bincount(graph.sources, minlength=graph.num_labels)
    frequency = np.log((count + 0.5) / max(pool.num_records, 1))
    # As if each label had one more record, of mean score.
    return np.stack([frequency, np.log1p(degree), np.log((sums + 1) / (count + 1))], axis=1)


def _checked_embeddings(graph: LabelGraph, embeddings: Any) -> np.ndarray:
    vectors = np.asarray(embeddings, np.float64)
    if vectors.ndim != 2 or len(vectors) != graph.num_labels:
        raise ValueError(f"embeddings are {vectors.shape}, expected {graph.num_labels} rows")
    return vectors
