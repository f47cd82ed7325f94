"""What a selection holds: information, labels covered, and what a random choice would."""

from __future__ import annotations

from functools import partial

import jax
import numpy as np
from jax.sharding import Mesh

from mig_jax.devices import (
    POOL_AXIS,
    REPLICATED,
    SHARDED,
    all_gather_parts,
    over_shards,
    part_of_picks,
    part_sizes,
    shard_pool,
    shard_records,
)
from mig_jax.measure import Array, LabelGraph, Measure, Pool, information, label_information

__all__ = ["labels_covered", "random_choice", "selected_information"]

_RANDOM_CHOICES = 5


def selected_information(
    pool: Pool, graph: LabelGraph, measure: Measure, picks: Array, *, mesh: Mesh | None = None
) -> jax.Array:
    """z of a selection, float [K].

    Args:
      pool: P records; where the mesh is of several processes, this one's part.
      graph: K labels.
      measure: gives α.
      picks: int [N], records as in `Selection`, each at most once.
      mesh: devices to shard the pool over; one device by default.

    Raises:
      ValueError: where `picks` names a record twice or one that the pool does not have.
    """
    chosen = np.asarray(picks, np.int64)
    sizes = part_sizes(pool, mesh)
    if chosen.size and (chosen.min() < 0 or chosen.max() >= sizes.sum()):
        raise ValueError(f"picks must be in 0 to {sizes.sum() - 1}")
    if np.unique(chosen).size != chosen.size:
        raise ValueError("picks name a record twice")
    amounts = np.zeros(pool.num_records, pool.scores.dtype)
    amounts[part_of_picks(chosen, sizes, mesh)] = 1
    if mesh is None:
        return _held(pool, graph, measure, amounts, mesh)
    return _held(shard_pool(pool, mesh), graph, measure, shard_records(amounts, mesh), mesh)


@partial(jax.jit, static_argnames="mesh")
def _held(
    pool: Pool, graph: LabelGraph, measure: Measure, amounts: Array, mesh: Mesh | None
) -> jax.Array:
    held = over_shards(
        partial(label_information, axis=None if mesh is None else POOL_AXIS),
        mesh,
        (SHARDED, REPLICATED, REPLICATED, SHARDED),
        REPLICATED,
    )
    return held(pool, graph, measure, amounts)


def random_choice(
    pool: Pool,
    graph: LabelGraph,
    measure: Measure,
    budget: int,
    mesh: Mesh | None,
) -> dict[str, float]:
    """E and labels covered of a random choice of the same size, on average."""
    rng = np.random.default_rng(0)
    num_records = int(part_sizes(pool, mesh).sum())
    values, covered = [], []
    for _ in range(_RANDOM_CHOICES):
        chosen = rng.choice(num_records, budget, replace=False)
        z = np.asarray(selected_information(pool, graph, measure, chosen, mesh=mesh))
        values.append(float(information(measure, z)))
        covered.append(labels_covered(pool, graph, chosen, mesh))
    return {"information": float(np.mean(values)), "labels_covered": float(np.mean(covered))}


def labels_covered(pool: Pool, graph: LabelGraph, picks: np.ndarray, mesh: Mesh | None) -> int:
    """How many labels the picks have."""
    chosen = np.zeros(pool.num_records, bool)
    chosen[part_of_picks(picks, part_sizes(pool, mesh), mesh)] = True
    covered = np.zeros(graph.num_labels, bool)
    covered[np.asarray(pool.labels)[chosen[np.asarray(pool.records)]]] = True
    return int(np.any(all_gather_parts(covered, mesh), axis=0).sum())
