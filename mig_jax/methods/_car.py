"""CaR: clusters, and the best of each, and the best of all (2402.18191).

Embeddings are reduced to the principal components that hold 95 % of their variance, and k-means
puts N records into √(N/2) clusters, as in the paper's code. The paper takes the 1,000 best of
52,002 records and the best of each of the 161 clusters: 1,017 together. Here the best of the
clusters come first and then the best of all, which gives the same set for a budget of any
size: 1,017 records of that pool are those of the paper. A budget below the number of clusters
gets the best of their best.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from mig_jax.methods._candidates import Candidates, Limits

__all__ = ["car"]

_VARIANCE = 0.95


def car(candidates: Candidates, rng: np.random.Generator, limits: Limits) -> Iterator[int]:
    """The best of each cluster, the best scored first, then all others by score.

    Ties go to the lowest index; `rng` starts k-means.
    """
    number = max(math.isqrt(candidates.num_records // 2), 1)
    clusters = _clusters(candidates.embeddings(), number, int(rng.integers(2**31)))
    yield from best_of_each_first(candidates.scores, clusters).tolist()


def best_of_each_first(
    scores: npt.NDArray[np.floating], clusters: npt.NDArray[np.integer]
) -> npt.NDArray[np.int64]:
    """All records by score, those before the rest that are the best of their cluster.

    >>> best_of_each_first(np.array([5.0, 4.0, 3.0, 2.0]), np.array([0, 0, 1, 0])).tolist()
    [0, 2, 1, 3]
    """
    order = np.argsort(-scores, kind="stable")
    is_best = np.zeros(len(order), bool)
    is_best[np.unique(clusters[order], return_index=True)[1]] = True
    return np.concatenate([order[is_best], order[~is_best]])


def _clusters(
    embeddings: npt.NDArray[np.float32], number: int, seed: int
) -> npt.NDArray[np.integer]:
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA
    from sklearn.exceptions import ConvergenceWarning

    if not np.ptp(embeddings, axis=0).any():  # All the same: nothing to reduce.
        return np.zeros(len(embeddings), np.int64)
    reduced = PCA(_VARIANCE, svd_solver="full", random_state=seed).fit_transform(embeddings)
    with warnings.catch_warnings():
        # Of fewer points than clusters, as copies are one point, some clusters stay empty.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return KMeans(number, random_state=seed).fit(reduced).labels_
