"""What labels hold of records that are given, before the first pick."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Bool, Float

from mig_jax.devices import all_gather_parts
from mig_jax.measure import Array, LabelGraph, Measure, Pool, Scalar

__all__ = ["given_information", "raw_of_given", "spread"]


def given_information(
    pool: Pool,
    graph: LabelGraph,
    measure: Measure,
    given: Bool[Array, " records"],
    mesh: Mesh | None = None,
) -> Float[np.ndarray, " labels"]:
    """z_G of given records, float64; [0.] without labels.

    On the host and in one order, so that it is the same, bit for bit, for any number of devices
    and processes and in any program that starts from it.

    Args:
      pool: P records; if the mesh is of several processes, this one's part.
      graph: K labels.
      measure: gives α.
      given: of the same records.
      mesh: devices of all processes.

    >>> from mig_jax import label_graph_from_edges, pool_from_label_lists
    >>> pool = pool_from_label_lists([[0], [1]], [1.0, 3.0])
    >>> graph = label_graph_from_edges(2, [(0, 1, 1.0)])
    >>> given_information(pool, graph, Measure(), np.array([True, False])).tolist()
    [0.5, 0.5]
    """
    return spread(graph, measure.propagation, raw_of_given(pool, graph, given, mesh))


def raw_of_given(
    pool: Pool, graph: LabelGraph, given: Bool[Array, " records"], mesh: Mesh | None = None
) -> Float[np.ndarray, " labels"]:
    """Σ s_d·v_d of the records given (Eq. 5), float64, as in `given_information`."""
    records = np.asarray(pool.records)
    chosen = np.asarray(given, bool)[records]
    labels = np.asarray(pool.labels)[chosen]
    scores = np.asarray(pool.scores, np.float64)[records[chosen]]
    # The entries themselves: sums of sums would depend on how the pool is cut into parts.
    labels, scores = (np.concatenate(all_gather_parts(part, mesh)) for part in (labels, scores))
    return _sums(labels, scores, max(graph.num_labels, 1))


def spread(
    graph: LabelGraph, propagation: Scalar, raw: Float[np.ndarray, " labels"]
) -> Float[np.ndarray, " labels"]:
    """A·raw (Eq. 7), float64; edges of similarity 0 change no bit."""
    sources, targets = np.asarray(graph.sources), np.asarray(graph.targets)
    alpha = np.asarray(propagation, jnp.result_type(float))  # As all else is computed with.
    shared = alpha.astype(np.float64) * np.asarray(graph.similarities, np.float64)
    total = 1 + _sums(targets, shared, len(raw))
    arriving = _sums(targets, shared / total[targets] * raw[sources], len(raw))
    return raw / total + arriving


def _sums(places: np.ndarray, values: np.ndarray, length: int) -> Float[np.ndarray, " labels"]:
    """In order; of nothing NumPy would make whole numbers."""
    return np.bincount(places, values, length).astype(np.float64)
