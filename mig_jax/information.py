"""Information over the label graph, and what each record would add to it.

All functions are pure and work under jit, vmap and grad; the pool enters
through its (record, label) entries only, never as a dense P×K array.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from mig_jax.label_graph import LabelGraph, back_propagate, propagate
from mig_jax.pool import Array, Pool
from mig_jax.score_functions import Power, ScoreFunction

__all__ = [
    "Measure",
    "information",
    "label_information",
    "linear_gains",
    "raw_information",
    "worth_of_records",
]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Measure:
    """What a selection is measured by: every parameter that may be swept or learned."""

    score_function: ScoreFunction = dataclasses.field(default_factory=Power)
    propagation: Array = 1.0  # α of Eq. 6, at least 0.


def raw_information(pool: Pool, num_labels: int, amounts: Array) -> jax.Array:
    """Σ_d amounts_d · s_d · v_d (Eq. 5): float [K], for amounts float [P] in [0, 1]."""
    per_record = jnp.asarray(amounts) * pool.scores
    return jax.ops.segment_sum(per_record[jnp.asarray(pool.records)], pool.labels, num_labels)


def label_information(pool: Pool, graph: LabelGraph, measure: Measure, amounts: Array) -> jax.Array:
    """z, the information held by each label: A · raw information (Eq. 7), float [K].

    Args:
      pool: P records.
      graph: K labels.
      measure: gives α.
      amounts: float [P], how much of each record is selected: 0 or 1, or between.
    """
    raw = raw_information(pool, graph.num_labels, amounts)
    return propagate(graph, measure.propagation, raw)


def information(measure: Measure, z: Array) -> jax.Array:
    """E = Σ_k φ_k(z_k) (Eq. 8), scalar, for z float [K]."""
    return jnp.sum(measure.score_function.value(jnp.asarray(z)))


def worth_of_records(pool: Pool, graph: LabelGraph, measure: Measure, slopes: Array) -> jax.Array:
    """slopes·ê_d for every record, float [P], for slopes float [K].

    The transpose of `label_information`, which is linear in the amounts.
    """
    worth = back_propagate(graph, measure.propagation, slopes)
    of_entries = worth[jnp.asarray(pool.labels)]
    sums = jax.ops.segment_sum(of_entries, pool.records, pool.num_records, indices_are_sorted=True)
    return pool.scores * sums


def linear_gains(pool: Pool, graph: LabelGraph, measure: Measure, z: Array) -> jax.Array:
    """φ'(z)·ê_d for every record (Eq. 10–11): float [P].

    Never below the exact gain E(D ∪ {d}) − E(D), because φ is concave.
    """
    slopes = measure.score_function.derivative(jnp.asarray(z))
    return worth_of_records(pool, graph, measure, slopes)
