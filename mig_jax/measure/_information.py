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
import numpy as np
from jax import lax
from jaxtyping import Float

from mig_jax.measure._arrays import Amounts, Array, Scalar
from mig_jax.measure._families import Power
from mig_jax.measure._label_graph import LabelGraph, back_propagate, propagate
from mig_jax.measure._paper import PAPER
from mig_jax.measure._parameter_checks import check_at_least_0
from mig_jax.measure._pool import Pool
from mig_jax.measure._pytrees import as_pytree
from mig_jax.measure._score_function import ScoreFunction

_BLOCK = 1 << 22  # Entries looked at in one piece.

__all__ = [
    "Measure",
    "check_labels",
    "check_measure",
    "check_pool",
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
      ValueError: if the propagation is below 0.
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
        check_at_least_0(self)


def check_pool(pool: Pool, graph: LabelGraph) -> None:
    """Does nothing if the pool is what `Pool` says, over labels of the graph.

    It looks at every entry, on the host. Of arrays whose values are traced nothing is told.

    Raises:
      ValueError: if a label is not in the graph, entries are not in their order, a score is not a
        finite number of at least 0, or an array has another kind or number of axes.
    """
    entries = {"labels": pool.labels, "records": pool.records}
    arrays = {**entries, "scores": pool.scores}
    if any(isinstance(array, jax.core.Tracer) for array in arrays.values()):
        check_labels(pool, graph)
        return
    for name, array in arrays.items():
        kind, wanted = (np.integer, "whole numbers") if name in entries else (np.floating, "floats")
        if not jnp.issubdtype(array.dtype, kind) or array.ndim != 1:
            raise ValueError(
                f"{name} of the pool: found {array.dtype}{list(array.shape)}, expected {wanted} "
                "along one axis"
            )
    check_labels(pool, graph)
    labels, records, scores = (np.asarray(array) for array in arrays.values())
    if records.size and not 0 <= int(records[0]) <= int(records[-1]) < scores.size:
        raise ValueError(f"records of the pool: expected 0 to {scores.size - 1}, as scores tell")
    for start in range(0, records.size, _BLOCK):  # A part at a time: there may be billions.
        near = slice(start, start + _BLOCK + 1)
        later, at = np.diff(records[near]), labels[near]
        rises = (later > 0) | ((later == 0) & (at[1:] > at[:-1]))
        if not rises.all():
            raise ValueError(
                f"entries of the pool: entry {start + int(np.argmin(rises)) + 1} does not follow "
                "the one before; expected the order of records, and of labels within each, each "
                "label once"
            )
    good = (scores >= 0) & np.isfinite(scores)
    if not good.all():
        record = int(np.argmin(good))
        raise ValueError(
            f"scores of the pool: record {record} has {scores[record]:.6g}, expected a finite "
            "number of at least 0"
        )


def check_measure(measure: Measure, graph: LabelGraph) -> None:
    """Does nothing if it is a measure whose parameters are numbers, or one for each label.

    Raises:
      TypeError: if it is no `Measure`.
      ValueError: if a parameter has values for another number of labels.
    """
    if not isinstance(measure, Measure):
        found = type(measure).__name__
        raise TypeError(f"measure: found {found}, expected a mig_jax.Measure, as Measure(Log())")
    leaves, _ = jax.tree_util.tree_flatten_with_path(measure)
    for path, leaf in leaves:
        shape = np.shape(leaf)
        if shape and shape[0] != graph.num_labels:
            name = jax.tree_util.keystr(path).lstrip(".")
            raise ValueError(
                f"{name}: found shape {shape}, expected a number, or one for each of the "
                f"{graph.num_labels} labels"
            )


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

    Parameters that labels share do not tell how many labels there are: every z is then one.

    Raises:
      ValueError: if the score function has parameters for another number of labels.

    >>> round(float(information(Measure(Power(0.5, 0.0)), jnp.array([4.0, 9.0]))), 5)
    5.0
    """
    chex.assert_rank(z, 1, custom_message="z: expected a number for each label")
    for leaf in jax.tree_util.tree_leaves(measure.score_function):
        # A single number would be taken for that of every label.
        if jnp.shape(leaf) not in ((), z.shape):
            raise ValueError(
                f"z: found shape {z.shape}, and parameters for {jnp.shape(leaf)[0]} labels"
            )
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
