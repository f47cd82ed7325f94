"""Information that ranks subsets as the measured results of past runs do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mig_jax.errors import InputError
from mig_jax.learning.objectives._protocol import Objective, Outcome, hold_out
from mig_jax.measure import Array, LabelGraph, Measure, Pool, as_pytree, information, propagate

__all__ = ["Subsets", "spearman", "subset_information", "subsets"]


@as_pytree
class Subsets(Objective):
    """Pairwise logistic loss of E against measured results, as built by `subsets`."""

    records: Array  #: int32 [members]: record of each membership.
    members: Array  #: int32 [members]: the subset that the record is in.
    label_slots: Array  #: int32 [slots]: membership of each (subset, record, label).
    labels: Array  #: int32 [slots]
    results: Array  #: float [S]: measured; the higher the better.
    fitted: Array  #: int32 [pairs, 2]: subsets, the better one first.
    held_out: Array  #: int32 [pairs, 2]: pairs with a subset that is held out.

    needs_selection = False

    def losses(self, outcome: Outcome) -> tuple[jax.Array, jax.Array]:
        values = subset_information(self, outcome.pool, outcome.graph, outcome.measure)
        # In units of their spread: the scale of E means nothing.
        deviations = values - jnp.mean(values)
        spread = jnp.sqrt(jnp.mean(deviations**2) + 1e-12 * jnp.mean(values**2) + 1e-30)
        scaled = deviations / spread

        def loss(pairs: Array) -> jax.Array:
            better, worse = pairs[:, 0], pairs[:, 1]
            return jnp.mean(jax.nn.softplus(scaled[worse] - scaled[better]))

        return loss(self.fitted), loss(self.held_out)


def subset_information(
    objective: Subsets, pool: Pool, graph: LabelGraph, measure: Measure
) -> jax.Array:
    """E of each subset under a measure: float [S]."""
    shape = objective.results.shape[0], graph.num_labels
    slots = jnp.asarray(objective.label_slots)
    values = jnp.asarray(pool.scores)[objective.records][slots]
    raw = jnp.zeros(shape, values.dtype)
    raw = raw.at[jnp.asarray(objective.members)[slots], objective.labels].add(values)
    z = jax.vmap(lambda row: propagate(graph, measure.propagation, row))(raw)
    return jax.vmap(lambda row: information(measure, row))(z)


def subsets(
    picks: Sequence[Any],
    results: Any,
    pool: Pool,
    *,
    held_out: float = 0.3,
    seed: int,
) -> Subsets:
    """The objective to rank subsets of the pool as measured results of training on them do.

    Args:
      picks: for each of S subsets the record indices in it.
      results: float [S], what training on each has given; the higher the better.
      pool: P records.
      held_out: share of the subsets whose pairs are held out.
      seed: says which.

    Raises:
      InputError: if there are fewer than 4 subsets, a result is not finite, all
        results are the same, or a subset is empty or names a record that is not there.
    """
    scores = np.asarray(results, np.float64).reshape(-1)
    if len(scores) != len(picks):
        raise InputError(f"{len(picks)} subsets but {len(scores)} results; expected one each")
    if len(scores) < 4:
        raise InputError(f"{len(scores)} measured subsets; expected at least 4")
    if not np.isfinite(scores).all():
        worst = int(np.flatnonzero(~np.isfinite(scores))[0])
        raise InputError(f"result {worst + 1} is {scores[worst]}; expected finite numbers")
    rows = [np.unique(np.asarray(row, np.int64)) for row in picks]
    for number, row in enumerate(rows, 1):
        if not len(row) or row[0] < 0 or row[-1] >= pool.num_records:
            raise InputError(
                f"subset {number} is empty or names a record outside the pool; expected indices "
                f"from 0 to {pool.num_records - 1}"
            )
    held = hold_out(np.zeros(len(scores)), held_out, seed)
    better, worse = np.nonzero(scores[:, None] > scores[None, :])
    pairs = np.stack([better, worse], axis=1).astype(np.int32)
    touched = held[better] | held[worse]
    if not touched.any() or touched.all():
        raise InputError("the results do not differ enough to be ranked; expected distinct ones")
    records = np.concatenate(rows)
    members = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    first = np.searchsorted(pool.records, np.arange(pool.num_records + 1))
    counts = np.diff(first)[records]
    slots = np.repeat(np.arange(len(records)), counts)
    within = np.arange(len(slots)) - np.repeat(np.cumsum(counts) - counts, counts)
    return Subsets(
        records.astype(np.int32),
        members.astype(np.int32),
        slots.astype(np.int32),
        np.asarray(pool.labels)[first[records][slots] + within],
        scores.astype(np.float32),
        pairs[~touched],
        pairs[touched],
    )


def spearman(first: Any, second: Any) -> float:
    """Rank correlation of two float [n]; equal values share their mean rank. 0 if undefined.

    >>> spearman([1.0, 2.0, 3.0], [10.0, 30.0, 20.0])
    0.5
    """

    def centred_ranks(values: Any) -> np.ndarray:
        _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
        return (np.cumsum(counts) - (counts - 1) / 2)[inverse] - (len(inverse) + 1) / 2

    a, b = centred_ranks(first), centred_ranks(second)
    size = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / size) if size else 0.0
