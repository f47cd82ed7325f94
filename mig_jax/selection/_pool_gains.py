"""Linear gains of all records of a pool, on one device or on many."""

from __future__ import annotations

from functools import partial

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float

from mig_jax.devices import REPLICATED, SHARDED, over_shards, shard_pool, unshard_records
from mig_jax.measure import Array, LabelGraph, Measure, Pool, linear_gains

__all__ = ["gains_of_pool"]


def gains_of_pool(
    pool: Pool,
    graph: LabelGraph,
    measure: Measure,
    z: Float[Array, " labels"],
    mesh: Mesh | None = None,
    sharded: Pool | None = None,
) -> Float[np.ndarray, " records"]:
    """`linear_gains` at z, on the host; if the mesh is of several processes, of this one's part.

    `sharded` is what `shard_pool` gives, where it is at hand already.
    """
    if mesh is None:
        return np.asarray(_linear_gains(pool, graph, measure, z, mesh))
    if sharded is None:
        sharded = shard_pool(pool, mesh)
    gains = _linear_gains(sharded, graph, measure, z, mesh)
    return unshard_records(gains, pool.num_records, mesh)


@partial(jax.jit, static_argnames="mesh")
def _linear_gains(
    pool: Pool,
    graph: LabelGraph,
    measure: Measure,
    z: Float[Array, " labels"],
    mesh: Mesh | None,
) -> Float[jax.Array, " records"]:
    gains = over_shards(linear_gains, mesh, (SHARDED, REPLICATED, REPLICATED, REPLICATED), SHARDED)
    return gains(pool, graph, measure, z)
