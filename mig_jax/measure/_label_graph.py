"""The label graph: labels as nodes, similarities as weighted edges, no K×K array."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Iterable, Sequence
from typing import Literal

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike

from mig_jax.measure._arrays import Array, Scalar
from mig_jax.measure._paper import USUAL_NEIGHBOURS
from mig_jax.measure._pytrees import as_pytree, fields_told

__all__ = [
    "LabelGraph",
    "back_propagate",
    "cut_edges",
    "gate_edges",
    "label_graph_from_edges",
    "label_graph_from_embeddings",
    "propagate",
    "propagation_weights",
    "threshold_of_neighbours",
]

_LENGTH_TOLERANCE = 1e-2  # Rows of float16 are of unit length to a thousandth.
_ROUNDING = 1e-2  # Their products may be so much above 1.


@as_pytree
class LabelGraph:
    """Undirected weighted graph over K labels, each edge stored in both directions.

    Directed edges are sorted by source, then by target. Self-similarities are
    1 and not stored.

    Raises:
      AssertionError: if the three arrays differ in shape.
    """

    sources: Int[Array, " edges"]
    targets: Int[Array, " edges"]
    #: Above 0; 0 if `cut_edges` cut or `gate_edges` closed an edge.
    similarities: Float[Array, " edges"]
    num_labels: int = dataclasses.field(metadata={"static": True})

    def __post_init__(self) -> None:
        edges = [self.sources, self.targets, self.similarities]
        message = "sources, targets, similarities: expected one of each for each edge"
        chex.assert_equal_shape(edges, custom_message=message)

    @property
    def num_edges(self) -> int:
        """How many undirected edges there are."""
        return int(self.sources.shape[0]) // 2

    def __repr__(self) -> str:
        if getattr(self.sources, "ndim", 0) != 1:  # Stacked, or built by JAX of anything.
            return fields_told(self)
        edges = f"{self.num_edges:,} edge{'s' * (self.num_edges != 1)}"
        return f"LabelGraph({self.num_labels:,} labels, {edges})"


def label_graph_from_edges(
    num_labels: int | np.integer, edges: Iterable[Sequence[float | np.number]] | np.ndarray = ()
) -> LabelGraph:
    """Builds the graph from undirected edges (p, q, similarity), each given once.

    Raises:
      ValueError: for an edge that is not three numbers, an id that is not a whole number in
        [0, num_labels), a loop, an edge given twice (in either direction), or a similarity that
        is not finite, above 0 and at most 1 (but for rounding), or for fewer than 0 labels.

    >>> graph = label_graph_from_edges(3, [(2, 0, 0.5)])
    >>> graph, graph.sources.tolist()
    (LabelGraph(3 labels, 1 edge), [0, 2])
    """
    # A number of NumPy, as `labels.max() + 1` is, becomes one of Python.
    num_labels = operator.index(num_labels)
    if num_labels < 0:
        raise ValueError(f"num_labels must be at least 0, got {num_labels}")
    table = np.asarray(edges if isinstance(edges, np.ndarray) else list(edges), np.float64)
    if table.size and (table.ndim != 2 or table.shape[1] != 3):
        raise ValueError(f"expected three numbers for each edge, got shape {table.shape}")
    table = table.reshape(-1, 3)
    if np.any(table[:, :2] % 1):
        raise ValueError("an edge names a label by a number that is not whole")
    p, q = table[:, 0].astype(np.int64), table[:, 1].astype(np.int64)
    if table.size and (min(p.min(), q.min()) < 0 or max(p.max(), q.max()) >= num_labels):
        raise ValueError(f"an edge names a label outside 0 to {num_labels - 1}")
    if np.any(p == q):
        raise ValueError("an edge joins a label with itself; self-similarity is 1 and implied")
    if not np.all(np.isfinite(table[:, 2]) & (table[:, 2] > 0)):
        raise ValueError("every similarity must be a finite number above 0")
    if np.any(table[:, 2] > 1 + _ROUNDING):
        raise ValueError(
            f"every similarity must be at most 1, as a cosine is, got {table[:, 2].max():.6g}"
        )
    keys = np.minimum(p, q) * num_labels + np.maximum(p, q)
    if np.unique(keys).size != keys.size:
        raise ValueError("an edge is given twice")
    return _both_directions(num_labels, p, q, table[:, 2])


def label_graph_from_embeddings(
    embeddings: ArrayLike,
    threshold: float | Literal["auto"] = "auto",
    *,
    present: ArrayLike | None = None,
    block: int = 2048,
) -> LabelGraph:
    """Joins the labels whose embeddings have a cosine similarity of `threshold` or more.

    Works in blocks of `block` rows, so that memory is block · K and not K².

    Args:
      embeddings: float [K, width], rows of unit length, as `mig_jax.data.unit_rows` makes them;
        a row of zeros is similar to none.
      threshold: smallest similarity kept, T of the paper's section 3.1, above 0; "auto" takes the
        one at which labels have 3.5 neighbours in the mean (`threshold_of_neighbours`).
      present: bool [K]; labels for which it is False stay isolated.
      block: rows compared with all others at a time.

    Raises:
      ValueError: if `threshold` is not above 0, `embeddings` is not a matrix, a row that is
        present has another length, `present` has not a value for each row, or `block` is below 1.

    >>> vectors = np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
    >>> label_graph_from_embeddings(vectors, 0.7).targets.tolist()
    [1, 0]
    """
    vectors, keep = _directions(embeddings, present, block)
    if isinstance(threshold, str):
        if threshold != "auto":
            raise ValueError(f"the similarity threshold must be a number or auto, got {threshold}")
        threshold = threshold_of_neighbours(vectors, present=present, block=block)
    if not threshold > 0:
        raise ValueError(f"the similarity threshold must be above 0, got {threshold}")
    num_labels = vectors.shape[0]
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for start in range(0, num_labels, block):
        # Only pairs p < q: each edge is found once.
        similarity = vectors[start : start + block] @ vectors[start:].T
        rows, columns = np.nonzero(similarity >= np.float32(threshold))
        upper = (columns > rows) & keep[start + rows] & keep[start + columns]
        rows, columns = rows[upper], columns[upper]
        found.append((start + rows, start + columns, similarity[rows, columns]))
    if not found:
        return label_graph_from_edges(num_labels)
    p, q, similarities = (np.concatenate(parts) for parts in zip(*found, strict=True))
    # Rounding can put the cosine of two equal vectors a little over 1.
    return _both_directions(num_labels, p, q, np.minimum(similarities, 1))


def threshold_of_neighbours(
    embeddings: ArrayLike,
    neighbours: float = USUAL_NEIGHBOURS,
    *,
    present: ArrayLike | None = None,
    block: int = 2048,
) -> float:
    """The similarity threshold at which labels have so many neighbours in the mean.

    A label has a tenth of the others for neighbours at most, so that few labels do not all
    share their information. The threshold is rounded down to a thousandth, and is so the
    same where products round otherwise; labels that are not more similar than 0 are never
    joined. Works in blocks, as `label_graph_from_embeddings` does.

    Args:
      embeddings: float [K, width], rows of unit length or of zeros.
      neighbours: above 0.
      present: bool [K]; labels for which it is False have none, and do not count.
      block: rows compared with all others at a time.

    Returns:
      From 0.001 to 1; 1 if no pair is to be joined.

    Raises:
      ValueError: if `embeddings` is not a matrix, a row that is present has another length, or
        `present` has not a value for each row.

    >>> angles = np.arange(40) * np.pi / 80
    >>> vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    >>> threshold_of_neighbours(vectors), label_graph_from_embeddings(vectors).num_edges
    (0.996, 77)
    """
    vectors, keep = _directions(embeddings, present, block)
    vectors = vectors[keep]
    count = len(vectors)
    pairs = int(min(neighbours, (count - 1) / 10) * count / 2)
    if pairs < 1:
        return 1.0
    largest = np.zeros(0, np.float32)
    least = np.float32(0)  # Of the pairs that can be among the largest; below the last of them.
    for start in range(0, count, block):
        similarity = vectors[start : start + block] @ vectors[start:].T
        similarity[np.tril_indices(len(similarity))] = -1  # Each pair is found once.
        largest = np.concatenate([largest, similarity[similarity > least]])
        if len(largest) > pairs:
            largest = np.partition(largest, len(largest) - pairs)[-pairs:]
            least = np.nextafter(largest[0], np.float32(-1))
    if not len(largest):
        return 1.0
    return float(np.clip(np.floor(np.float64(largest.min()) * 1000) / 1000, 0.001, 1.0))


def _directions(
    embeddings: ArrayLike, present: ArrayLike | None, block: int
) -> tuple[Float[np.ndarray, "labels width"], Bool[np.ndarray, " labels"]]:
    """The vectors, whose products are cosines, and which of them count; refuses what is none."""
    if operator.index(block) < 1:
        raise ValueError(f"block must be at least 1, got {block}")
    vectors = np.asarray(embeddings, np.float32)
    if vectors.ndim != 2:
        raise ValueError(f"embeddings must be a matrix, got shape {vectors.shape}")
    keep = np.ones(len(vectors), bool) if present is None else np.asarray(present, bool)
    if keep.shape != vectors.shape[:1]:
        raise ValueError(f"present must have shape {vectors.shape[:1]}, got {keep.shape}")
    with np.errstate(over="ignore"):
        lengths = np.linalg.norm(vectors, axis=1)
    # Not a number is close to nothing.
    other = np.flatnonzero(keep & (lengths != 0) & ~(np.abs(lengths - 1) <= _LENGTH_TOLERANCE))
    if other.size:
        raise ValueError(
            f"embeddings must be rows of unit length (`mig_jax.data.unit_rows`), row {other[0]} "
            f"has length {lengths[other[0]]:.6g}"
        )
    return vectors, keep


def cut_edges(graph: LabelGraph, threshold: Scalar) -> LabelGraph:
    """The graph with every similarity below `threshold` set to 0, which shares nothing.

    The shapes stay, so that the threshold can be traced: one graph, built at the lowest
    threshold of interest, serves all others.

    >>> cut_edges(label_graph_from_edges(3, [(0, 1, 0.5), (1, 2, 0.9)]), 0.8).similarities.tolist()
    [0.0, 0.0, 0.8999999761581421, 0.8999999761581421]
    """
    chex.assert_rank(threshold, 0, custom_message="threshold: expected a scalar")
    similarities = jnp.asarray(graph.similarities)
    kept = similarities >= jnp.asarray(threshold, similarities.dtype)
    return dataclasses.replace(graph, similarities=jnp.where(kept, similarities, 0))


def drop_edges(graph: LabelGraph, threshold: Scalar) -> LabelGraph:
    """The graph without the edges whose similarity is below `threshold`.

    On the host, as the number of edges depends on the threshold; `cut_edges` is the same under jit.

    >>> drop_edges(label_graph_from_edges(3, [(0, 1, 0.5), (1, 2, 0.9)]), 0.8).sources.tolist()
    [1, 2]
    """
    similarities = np.asarray(graph.similarities)
    kept = similarities >= np.asarray(threshold, similarities.dtype)
    sources, targets = np.asarray(graph.sources)[kept], np.asarray(graph.targets)[kept]
    return LabelGraph(sources, targets, similarities[kept], graph.num_labels)


def gate_edges(graph: LabelGraph, threshold: Scalar, width: Scalar) -> LabelGraph:
    """Lets edges fade out below a similarity threshold: T of section 3.1, made differentiable.

    Each similarity is multiplied by sigmoid((similarity − threshold)/width). As the
    width goes to 0 this becomes the hard threshold. No edge is added: build the
    graph at a threshold some widths below those that the gate shall reach.

    Args:
      graph: K labels.
      threshold: the similarity at which half of it is left.
      width: above 0, how far from the threshold the gate is still soft.

    >>> graph = label_graph_from_edges(3, [(0, 1, 0.9), (1, 2, 0.6)])
    >>> [round(float(x), 2) for x in gate_edges(graph, 0.7, 0.02).similarities]
    [0.9, 0.9, 0.0, 0.0]
    """
    chex.assert_rank([threshold, width], 0, custom_message="threshold, width: expected scalars")
    similarities = jnp.asarray(graph.similarities)
    gate = jax.nn.sigmoid((similarities - threshold) / width)
    return dataclasses.replace(graph, similarities=similarities * gate)


@jax.jit
def propagation_weights(
    graph: LabelGraph, propagation: Scalar
) -> tuple[Float[jax.Array, " labels"], Float[Array, " edges"]]:
    """The nonzero entries of the propagation matrix A (Eq. 6).

    A[p, q] = α·w_pq / (1 + α·Σ_{k≠p} w_pk) and A[p, p] = 1 / (the same sum):
    each row sums to 1, normalised at the label that receives.

    Args:
      graph: the label graph.
      propagation: α, at least 0.

    Returns:
      The diagonal, and the others in the order of the graph's edges: the entry of an edge
      carries from its source to its target.
    """
    chex.assert_rank(propagation, 0, custom_message="propagation: expected a scalar")
    similarities = jnp.asarray(graph.similarities)
    received = jax.ops.segment_sum(similarities, graph.targets, graph.num_labels)
    # The product is never below −1. Saying so keeps compilers from fusing it into the sum, which
    # would round differently from program to program; gradients are those without it.
    total = 1 + jnp.maximum(propagation * received, -1)
    return 1 / total, propagation * similarities / total[jnp.asarray(graph.targets)]


def propagate(
    graph: LabelGraph, propagation: Scalar, raw: Float[Array, " labels"]
) -> Float[jax.Array, " labels"]:
    """A·raw (Eq. 7) for raw information."""
    message = "raw: expected a number for each label"
    chex.assert_shape(raw, (graph.num_labels,), custom_message=message)
    kept, carried = propagation_weights(graph, propagation)
    arriving = carried * jnp.asarray(raw)[jnp.asarray(graph.sources)]
    return kept * raw + jax.ops.segment_sum(arriving, graph.targets, graph.num_labels)


def back_propagate(
    graph: LabelGraph, propagation: Scalar, slopes: Float[Array, " labels"]
) -> Float[jax.Array, " labels"]:
    """Aᵀ·slopes: what a unit of raw information on each label is worth."""
    message = "slopes: expected a number for each label"
    chex.assert_shape(slopes, (graph.num_labels,), custom_message=message)
    kept, carried = propagation_weights(graph, propagation)
    returning = carried * jnp.asarray(slopes)[jnp.asarray(graph.targets)]
    return kept * slopes + jax.ops.segment_sum(returning, graph.sources, graph.num_labels)


def _both_directions(
    num_labels: int, p: np.ndarray, q: np.ndarray, similarities: np.ndarray
) -> LabelGraph:
    sources, targets = np.concatenate([p, q]), np.concatenate([q, p])
    order = np.lexsort((targets, sources))
    return LabelGraph(
        sources[order].astype(np.int32),
        targets[order].astype(np.int32),
        np.concatenate([similarities, similarities])[order].astype(np.float32),
        num_labels,
    )
