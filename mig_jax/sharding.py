"""Selection from a pool that is sharded over a mesh of devices.

Pages are dealt to the devices in turn, so that each gets its share of those
that are read most; labels (z and the prepared table) are replicated. Every
device searches its own pages lazily; a pick exchanges one gain and record a
device and the row of the record chosen. Picks are those of one device, bit for
bit: a gain depends on its row and on z only.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from mig_jax.gains import GainRule
from mig_jax.greedy import Picks, SelectionState, initial_state, scan_lazily
from mig_jax.information import Measure
from mig_jax.pages import EMPTY, Pages
from mig_jax.pool import Array

__all__ = ["POOL_AXIS", "pool_mesh", "shard_pages", "sharded_initial_state", "sharded_lazy_greedy"]

POOL_AXIS = "pool"

_SHARDED, _REPLICATED = PartitionSpec(POOL_AXIS), PartitionSpec()
_PAGES = Pages(_SHARDED, _SHARDED, _SHARDED, _SHARDED)
_STATE = SelectionState(
    _REPLICATED, _REPLICATED, _SHARDED, _SHARDED, _SHARDED, _SHARDED, _REPLICATED
)
_PICKS = Picks(_REPLICATED, _REPLICATED, _REPLICATED, _REPLICATED)


def pool_mesh(num_devices: int | None = None) -> Mesh:
    """A mesh with one axis over the first `num_devices` devices; all of them by default.

    Raises:
      ValueError: where there are fewer devices than asked for.
    """
    devices = jax.devices()
    if num_devices is not None and not 1 <= num_devices <= len(devices):
        raise ValueError(f"asked for {num_devices} devices, found {len(devices)}")
    return Mesh(np.array(devices[:num_devices]), (POOL_AXIS,))


def shard_pages(pages: Pages, mesh: Mesh) -> Pages:
    """Deals pages to the devices of the mesh, and adds empty ones until all have as many."""
    shards = mesh.shape[POOL_AXIS]
    most = -(-pages.num_pages // shards)
    sharding = NamedSharding(mesh, _SHARDED)

    def deal(array: Array, empty: int) -> jax.Array:
        array = np.asarray(array)
        padding = np.full((most * shards - len(array), *array.shape[1:]), empty, array.dtype)
        dealt = np.concatenate([array, padding]).reshape(most, shards, *array.shape[1:])
        return jax.device_put(dealt.swapaxes(0, 1).reshape(-1, *array.shape[1:]), sharding)

    return Pages(
        deal(pages.labels, 0),
        deal(pages.values, 0),
        deal(pages.records, int(EMPTY)),
        deal(pages.width_log2, int(np.asarray(pages.width_log2).min(initial=2))),
    )


@partial(jax.jit, static_argnames=("rule", "mesh"))
def sharded_initial_state(
    rule: GainRule, measure: Measure, pages: Pages, z: Array, mesh: Mesh
) -> SelectionState:
    """`initial_state` for pages from `shard_pages`; the same arguments, and the mesh."""
    start = jax.shard_map(
        lambda measure, pages, z: initial_state(rule, measure, pages, z),
        mesh=mesh,
        in_specs=(_REPLICATED, _PAGES, _REPLICATED),
        out_specs=_STATE,
        check_vma=False,
    )
    return start(measure, pages, jnp.asarray(z))


@partial(jax.jit, static_argnames=("rule", "length", "mesh"))
def sharded_lazy_greedy(
    rule: GainRule,
    measure: Measure,
    pages: Pages,
    state: SelectionState,
    budget: Array,
    length: int,
    mesh: Mesh,
) -> tuple[SelectionState, Picks]:
    """`lazy_greedy` for pages from `shard_pages`; the same arguments, and the mesh."""
    # Searches differ in length from shard to shard, which replication checks cannot follow.
    scan = jax.shard_map(
        lambda measure, pages, state, budget: scan_lazily(
            rule, measure, pages, state, budget, length, axis=POOL_AXIS
        ),
        mesh=mesh,
        in_specs=(_REPLICATED, _PAGES, _STATE, _REPLICATED),
        out_specs=(_STATE, _PICKS),
        check_vma=False,
    )
    return scan(measure, pages, state, budget)
