"""What a selection holds: information, labels covered, and what a random choice would."""

from __future__ import annotations

import dataclasses
from functools import partial

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float, Int

from mig_jax.devices import (
    POOL_AXIS,
    REPLICATED,
    SHARDED,
    all_gather_parts,
    over_shards,
    own_part,
    part_of_picks,
    part_sizes,
    shard_pool,
    shard_records,
)
from mig_jax.measure import (
    Amounts,
    Array,
    Indices,
    LabelGraph,
    Measure,
    Pool,
    amounts_of_picks,
    check_labels,
    information,
    label_information,
    propagate,
    whole_picks,
)
from mig_jax.selection._constraints import UNCONSTRAINED, Constraints
from mig_jax.selection._number_range import check_finite, in_range
from mig_jax.selection._random_picks import random_choices

__all__ = ["labels_covered", "random_choice", "selected_information", "with_given"]


def selected_information(
    pool: Pool,
    graph: LabelGraph,
    measure: Measure,
    picks: Indices,
    *,
    mesh: Mesh | None = None,
) -> Float[jax.Array, " labels"]:
    """z of a selection; works under jit and vmap.

    Args:
      pool: P records; if the mesh is of several processes, this one's part.
      graph: K labels.
      measure: gives α.
      picks: records as in `Selection`, each at most once. Traced ones cannot be
        refused: of those a pick named twice counts once, and one outside the pool as none.
      mesh: devices to shard the pool over, for picks that are not traced; one by default.

    Raises:
      ValueError: if `picks` names a record twice or one that the pool does not have, or
        the pool has a label that the graph has not.
    """
    check_labels(pool, graph)
    if isinstance(picks, jax.core.Tracer):
        if mesh is not None:
            raise ValueError("traced picks cannot be divided among devices; expected no mesh")
        return label_information(pool, graph, measure, amounts_of_picks(pool, picks))
    sizes = part_sizes(pool, mesh)
    chosen = whole_picks(picks, int(sizes.sum()))
    ordered = np.sort(chosen)
    if np.any(ordered[1:] == ordered[:-1]):
        raise ValueError("picks name a record twice")
    is_traced = any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree_util.tree_leaves(pool))
    if mesh is None and not is_traced:
        # The entries of the picks alone, added in the order that the whole pool's would be.
        entries = _entries_of(pool, chosen)
        scores = np.asarray(pool.scores)
        raw = np.zeros(graph.num_labels, jax.dtypes.canonicalize_dtype(scores.dtype))
        added = scores[np.asarray(pool.records)[entries]].astype(raw.dtype, copy=False)
        np.add.at(raw, np.asarray(pool.labels)[entries], added)
        return _propagated(graph, measure, raw)
    amounts = amounts_of_picks(pool, part_of_picks(chosen, sizes, mesh))
    if mesh is not None:
        pool, amounts = shard_pool(pool, mesh), shard_records(amounts, mesh)
    return _label_information(pool, graph, measure, amounts, mesh)


def _entries_of(pool: Pool, records: Int[np.ndarray, " some"]) -> Int[np.ndarray, " _entries"]:
    """The entries of these records, in the order of the pool's."""
    is_chosen = np.zeros(pool.num_records, bool)
    is_chosen[records] = True
    return np.flatnonzero(is_chosen[np.asarray(pool.records)])


def with_given(
    pool: Pool, picks: Int[np.ndarray, " picks"], constraints: Constraints, mesh: Mesh | None = None
) -> Int[np.ndarray, " held"]:
    """The picks, and what is given of this process's part of the pool, named as they are."""
    if constraints.given is None:
        return picks
    before = part_sizes(pool, mesh)[: own_part(mesh)].sum()
    return np.concatenate([picks, before + np.flatnonzero(np.asarray(constraints.given))])


@jax.jit
def _propagated(
    graph: LabelGraph, measure: Measure, raw: Float[Array, " labels"]
) -> Float[jax.Array, " labels"]:
    return propagate(graph, measure.propagation, raw)


@partial(jax.jit, static_argnames="mesh")
def _label_information(
    pool: Pool,
    graph: LabelGraph,
    measure: Measure,
    amounts: Amounts,
    mesh: Mesh | None,
) -> Float[jax.Array, " labels"]:
    over_pool = over_shards(
        partial(label_information, axis=None if mesh is None else POOL_AXIS),
        mesh,
        (SHARDED, REPLICATED, REPLICATED, SHARDED),
        REPLICATED,
    )
    return over_pool(pool, graph, measure, amounts)


def random_choice(
    pool: Pool,
    graph: LabelGraph,
    measure: Measure,
    budget: int | None,
    mesh: Mesh | None = None,
    *,
    constraints: Constraints = UNCONSTRAINED,
) -> dict[str, float]:
    """E and labels covered of random choices within the same limits, on average.

    Both are of the choice and what is given together.
    """
    num_records = int(part_sizes(pool, mesh).sum())
    whole = _of_all_parts(constraints, mesh)
    values, covered = [], []
    with in_range(pool, graph, measure, mesh) as (pool, graph, measure):
        for chosen in random_choices(num_records, budget, whole):
            held = with_given(pool, chosen, constraints, mesh)
            z = np.asarray(selected_information(pool, graph, measure, held, mesh=mesh))
            values.append(float(information(measure, z)))
            covered.append(labels_covered(pool, graph, held, mesh))
    check_finite(values)
    return {"information": float(np.mean(values)), "labels_covered": float(np.mean(covered))}


def _of_all_parts(constraints: Constraints, mesh: Mesh | None) -> Constraints:
    """The constraints with a number for each record of the whole pool."""

    def whole(numbers: Array | None) -> np.ndarray | None:
        if numbers is None:
            return None
        return np.concatenate(all_gather_parts(np.asarray(numbers), mesh))

    quotas = constraints.quotas
    if quotas is not None:
        groups = whole(quotas.groups)
        assert groups is not None
        quotas = dataclasses.replace(quotas, groups=groups)
    costs, given = whole(constraints.costs), whole(constraints.given)
    return dataclasses.replace(constraints, costs=costs, quotas=quotas, given=given)


def labels_covered(
    pool: Pool, graph: LabelGraph, picks: Int[Array, " picks"], mesh: Mesh | None = None
) -> int:
    """How many labels the picks have.

    Raises:
      ValueError: if the pool has a label that the graph has not, or `picks` names a record that
        the pool does not have, or is no list of whole numbers.
    """
    check_labels(pool, graph)
    sizes = part_sizes(pool, mesh)
    own = part_of_picks(whole_picks(picks, int(sizes.sum())), sizes, mesh)
    covered = np.zeros(graph.num_labels, bool)
    covered[np.asarray(pool.labels)[_entries_of(pool, own)]] = True
    return int(np.any(all_gather_parts(covered, mesh), axis=0).sum())
