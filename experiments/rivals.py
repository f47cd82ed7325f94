"""What a user might run instead of mig_jax, on the same propagated pool: for benchmarks only."""

from __future__ import annotations

import heapq
import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jax import lax

import mig_jax
from mig_jax.measure import propagation_weights

__all__ = ["apricot_lazy", "compiled_heap", "dense_full_scan", "propagated_matrix", "read_once"]


def propagated_matrix(
    pool: mig_jax.Pool, graph: mig_jax.LabelGraph, propagation: float
) -> scipy.sparse.csr_matrix:
    """ê of all records as a CSR matrix, float32 [P, K], indices sorted."""
    kept, carried = (np.asarray(part) for part in propagation_weights(graph, propagation))
    k = graph.num_labels
    own = np.arange(k)
    # Transposed: a row of raw information times this is a row of propagated information.
    transposed = scipy.sparse.csr_matrix(
        (
            np.concatenate([kept, carried]),
            (np.concatenate([own, graph.sources]), np.concatenate([own, graph.targets])),
        ),
        shape=(k, k),
    )
    records = np.asarray(pool.records)
    raw = scipy.sparse.csr_matrix(
        (np.asarray(pool.scores)[records], (records, pool.labels)), shape=(pool.num_records, k)
    )
    matrix = (raw @ transposed).tocsr()
    matrix.sort_indices()
    return matrix.astype(np.float32)


def _heap_greedy(starts, labels, values, num_labels, budget, exponent, epsilon):  # type: ignore[no-untyped-def]
    """Lazy greedy with a binary heap of (−bound, record): the tie rule is the heap's order."""
    z = np.full(num_labels, epsilon)
    held = z**exponent
    heap = [(0.0, 0) for _ in range(0)]
    for d in range(len(starts) - 1):
        gain = 0.0
        for i in range(starts[d], starts[d + 1]):
            gain += (epsilon + values[i]) ** exponent - held[labels[i]]
        heap.append((-gain, d))
    heapq.heapify(heap)
    picks = np.empty(budget, np.int64)
    for n in range(budget):
        while True:
            _, d = heap[0]
            gain = 0.0
            for i in range(starts[d], starts[d + 1]):
                k = labels[i]
                gain += (z[k] + values[i]) ** exponent - held[k]
            heapq.heapreplace(heap, (-gain, d))
            if heap[0][1] == d:
                break
        heapq.heappop(heap)
        picks[n] = d
        for i in range(starts[d], starts[d + 1]):
            k = labels[i]
            z[k] += values[i]
            held[k] = z[k] ** exponent
    return picks


def compiled_heap(
    matrix: scipy.sparse.csr_matrix, budget: int, exponent: float, epsilon: float
) -> tuple[np.ndarray, float]:
    """Picks and seconds of a one-thread heap greedy with exact gains, compiled by numba."""
    greedy = _compiled_heap_greedy()
    start = time.perf_counter()
    picks = greedy(
        matrix.indptr,
        matrix.indices,
        matrix.data.astype(np.float64),
        matrix.shape[1],
        budget,
        exponent,
        epsilon,
    )
    return picks, time.perf_counter() - start


_COMPILED: list = []


def _compiled_heap_greedy():  # type: ignore[no-untyped-def]
    """The compiled function, warmed up on a tiny pool so that no timing holds its compilation."""
    if not _COMPILED:
        import numba

        compiled = numba.njit(_heap_greedy)
        tiny = scipy.sparse.identity(3, dtype=np.float32, format="csr")
        compiled(tiny.indptr, tiny.indices, tiny.data.astype(np.float64), 3, 2, 0.8, 1e-6)
        _COMPILED.append(compiled)
    return _COMPILED[0]


def apricot_lazy(matrix: scipy.sparse.csr_matrix, budget: int) -> tuple[np.ndarray, float]:
    """Picks and seconds of apricot's lazy greedy; its concave function is the square root."""
    from apricot import FeatureBasedSelection

    wide = matrix.astype(np.float64)
    selector = FeatureBasedSelection(budget, concave_func="sqrt", optimizer="lazy")
    start = time.perf_counter()
    selector.fit(wide)
    return np.asarray(selector.ranking), time.perf_counter() - start


@partial(jax.jit, static_argnames="budget")
def _dense_greedy(rows: jax.Array, budget: int, exponent: float, epsilon: float) -> jax.Array:
    def pick(carry, _):  # type: ignore[no-untyped-def]
        z, left = carry
        gains = ((z + rows + epsilon) ** exponent - (z + epsilon) ** exponent).sum(axis=1)
        best = jnp.argmax(jnp.where(left, gains, -jnp.inf))
        return (z + rows[best], left.at[best].set(False)), best

    start = (jnp.zeros(rows.shape[1]), jnp.ones(rows.shape[0], bool))
    return lax.scan(pick, start, length=budget)[1]


def dense_full_scan(
    matrix: scipy.sparse.csr_matrix, budget: int, exponent: float, epsilon: float
) -> tuple[np.ndarray, float]:
    """Picks and seconds of a dense full-scan greedy, a straight port of the paper's Algorithm 1."""
    rows = jnp.asarray(matrix.toarray())
    compiled = _dense_greedy.lower(rows, budget, exponent, epsilon).compile()
    start = time.perf_counter()
    picks = np.asarray(compiled(rows, exponent, epsilon))
    return picks, time.perf_counter() - start


def read_once(pages: object) -> float:
    """Seconds to read every array of the laid-out pool once."""
    arrays = [np.asarray(leaf) for leaf in jax.tree_util.tree_leaves(pages)]
    start = time.perf_counter()
    for array in arrays:
        array.max()
    return time.perf_counter() - start
