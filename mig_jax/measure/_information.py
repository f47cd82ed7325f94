"""Information over the label graph, and what each record would add to it.

All functions are pure and work under jit, vmap and grad; the pool enters
through its (record, label) entries only, never as a dense P×K array. Arrays
of a wrong shape are an AssertionError, which costs nothing in compiled code.
"""

from __future__ import annotations

import dataclasses

import chex
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Float

from mig_jax.measure._arrays import Amounts, Array, Scalar
from mig_jax.measure._families import Power
from mig_jax.measure._label_graph import LabelGraph, back_propagate, propagate
from mig_jax.measure._paper import PAPER
from mig_jax.measure._pool import Pool
from mig_jax.measure._pytrees import as_pytree
from mig_jax.measure._score_function import ScoreFunction

__all__ = [
    "Measure",
    "check_labels",
    "information",
    "label_information",
    "linear_gains",
    "raw_information",
    "worth_of_records",
]


@as_pytree
class Measure:
    """What a selection is measured by: every parameter that may be swept or learned.

    Raises:
      TypeError: if the score function is no instance of a family of them.
    """

    score_function: ScoreFunction = dataclasses.field(default_factory=Power)
    propagation: Scalar = PAPER.propagation  #: α of Eq. 6, at least 0.

    def __post_init__(self) -> None:
        given = self.score_function
        expected = "expected an instance of a family of score functions, such as Power(0.8)"
        if isinstance(given, type):
            raise TypeError(f"score_function: found the class {given.__name__}; {expected}")
        if not isinstance(given, ScoreFunction):
            raise TypeError(f"score_function: found {type(given).__name__}; {expected}")
        if jax.tree_util.all_leaves([given]):
            name = type(given).__name__
            raise TypeError(f"score_function: {name} is no pytree; expected @as_pytree above it")


def check_labels(pool: Pool, graph: LabelGraph) -> None:
    """Does nothing if every label of the pool is in the graph, or labels are traced.

    Raises:
      ValueError: if one is not.
    """
    labels = pool.labels
    if isinstance(labels, jax.core.Tracer) or not labels.size:
        return
    for label in (int(labels.max()), int(labels.min())):
        if not 0 <= label < graph.num_labels:
            raise ValueError(f"label id {label} is not in a graph of {graph.num_labels} labels")


def raw_information(
    pool: Pool,
    num_labels: int,
    amounts: Amounts,
    *,
    axis: str | None = None,
) -> Float[jax.Array, " labels"]:
    """Σ_d amounts_d · s_d · v_d (Eq. 5), for amounts in [0, 1].

    `axis` is the name of the mesh axis that the pool is sharded over, inside `shard_map`.
    """
    message = "amounts: expected one for each record"
    chex.assert_shape(amounts, (pool.num_records,), custom_message=message)
    per_record = jnp.asarray(amounts) * pool.scores
    raw = jax.ops.segment_sum(per_record[jnp.asarray(pool.records)], pool.labels, num_labels)
    return raw if axis is None else lax.psum(raw, axis)


def label_information(
    pool: Pool,
    graph: LabelGraph,
    measure: Measure,
    amounts: Amounts,
    *,
    axis: str | None = None,
) -> Float[jax.Array, " labels"]:
    """z, the information held by each label: A · raw information (Eq. 7).

    Args:
      pool: P records.
      graph: K labels.
      measure: gives α.
      amounts: how much of each record is selected: 0 or 1, or between.
      axis: as in `raw_information`.

    >>> import numpy as np
    >>> from mig_jax import label_graph_from_edges, pool_from_label_lists
    >>> pool = pool_from_label_lists([[0], [1]], [1.0, 3.0])
    >>> graph = label_graph_from_edges(2, [(0, 1, 1.0)])
    >>> label_information(pool, graph, Measure(), np.array([1.0, 0.0])).tolist()
    [0.5, 0.5]

    Raises:
      ValueError: if the pool has a label that the graph has not; told of arrays, not of tracers.
    """
    check_labels(pool, graph)
    raw = raw_information(pool, graph.num_labels, amounts, axis=axis)
    return propagate(graph, measure.propagation, raw)


@jax.jit
def information(measure: Measure, z: Float[Array, " labels"]) -> Float[jax.Array, ""]:
    """E = Σ_k φ_k(z_k) (Eq. 8).

    >>> round(float(information(Measure(Power(0.5, 0.0)), jnp.array([4.0, 9.0]))), 5)
    5.0
    """
    chex.assert_rank(z, 1, custom_message="z: expected a number for each label")
    return jnp.sum(measure.score_function.value(jnp.asarray(z)))


def worth_of_records(
    pool: Pool, graph: LabelGraph, measure: Measure, slopes: Float[Array, " labels"]
) -> Float[jax.Array, " records"]:
    """slopes·ê_d for every record.

    The transpose of `label_information`, which is linear in the amounts.
    """
    worth = back_propagate(graph, measure.propagation, slopes)
    of_entries = worth[jnp.asarray(pool.labels)]
    sums = jax.ops.segment_sum(of_entries, pool.records, pool.num_records, indices_are_sorted=True)
    return jnp.asarray(pool.scores) * sums


def linear_gains(
    pool: Pool, graph: LabelGraph, measure: Measure, z: Float[Array, " labels"]
) -> Float[jax.Array, " records"]:
    """φ'(z)·ê_d for every record (Eq. 10–11).

    Never below the exact gain E(D ∪ {d}) − E(D), because φ is concave.

    Raises:
      ValueError: if the pool has a label that the graph has not; told of arrays, not of tracers.

    >>> import numpy as np
    >>> from mig_jax import Log, label_graph_from_edges, pool_from_label_lists
    >>> pool = pool_from_label_lists([[0], [1]], [1.0, 3.0])
    >>> graph = label_graph_from_edges(2)
    >>> linear_gains(pool, graph, Measure(Log()), np.array([0.0, 1.0])).tolist()
    [1.0, 1.5]
    """
    check_labels(pool, graph)
    message = "z: expected a number for each label"
    chex.assert_shape(z, (graph.num_labels,), custom_message=message)
    slopes = measure.score_function.derivative(jnp.asarray(z))
    return worth_of_records(pool, graph, measure, slopes)
