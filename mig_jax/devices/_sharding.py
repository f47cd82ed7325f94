"""A pool sharded over a mesh of devices, of one process or of several.

Each process holds a part of the pool: the records that it has read. Parts
follow each other in the order of the processes, so that a record is named by
its part and its index there, and no index grows with the number of hosts.
Within a part, pages are dealt to the devices in turn, so that each gets its
share of those that are read most. Labels are replicated.

Processes are started by `jax.distributed`; one process alone is one part.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from mig_jax.measure import Array, Pool

__all__ = [
    "POOL_AXIS",
    "REPLICATED",
    "SHARDED",
    "all_gather_parts",
    "all_reduce_max",
    "num_parts",
    "over_shards",
    "own_part",
    "own_shards",
    "part_of_picks",
    "part_sizes",
    "place_shards",
    "pool_mesh",
    "shard_pool",
    "shard_records",
    "unshard_records",
]

POOL_AXIS = "pool"

SHARDED, REPLICATED = PartitionSpec(POOL_AXIS), PartitionSpec()


def pool_mesh(num_devices: int | None = None) -> Mesh:
    """A mesh with one axis over the first `num_devices` devices; all of them by default.

    If `jax.distributed` runs several processes, over all devices of all of them.

    Raises:
      ValueError: if there are fewer devices than asked for, or several processes
        that have not the same number of devices or would be left out.

    >>> pool_mesh(1).size
    1
    """
    devices = jax.devices()
    if num_devices is not None and not 1 <= num_devices <= len(devices):
        raise ValueError(f"asked for {num_devices} devices, found {len(devices)}")
    chosen = sorted(devices, key=lambda d: (d.process_index, d.id))[:num_devices]
    counts = np.bincount([device.process_index for device in chosen])
    if len(counts) != jax.process_count() or counts.min() != counts.max():
        raise ValueError(
            f"asked for {len(chosen)} devices of {jax.process_count()} processes, "
            "expected as many of each process"
        )
    return Mesh(np.array(chosen), (POOL_AXIS,))


def over_shards(
    function: Callable[..., Any], mesh: Mesh | None, in_specs: Any, out_specs: Any
) -> Callable[..., Any]:
    """`function` run on every shard of the mesh; `function` itself if there is no mesh."""
    if mesh is None:
        return function
    # Searches differ in length from shard to shard, which replication checks cannot follow.
    return jax.shard_map(
        function, mesh=mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False
    )


def num_parts(mesh: Mesh | None) -> int:
    """How many processes hold a part of the pool."""
    return 1 if mesh is None else len({device.process_index for device in mesh.devices.flat})


def own_part(mesh: Mesh | None) -> int:
    """Which part of the pool this process holds."""
    return jax.process_index() if num_parts(mesh) > 1 else 0


def all_gather_parts(array: Array, mesh: Mesh | None) -> list[np.ndarray]:
    """What each process gives, in their order: arrays of one dtype and of any length (1-D)."""
    array = np.ascontiguousarray(array).reshape(-1)
    if num_parts(mesh) == 1:
        return [array]
    # As bytes: JAX would make 32 bits of 64.
    lengths = multihost_utils.process_allgather(np.array([array.nbytes]).view(np.uint8))
    lengths = np.asarray(lengths).reshape(-1).view(np.int64)
    padded = np.zeros(max(int(lengths.max()), 1), np.uint8)
    padded[: array.nbytes] = array.view(np.uint8)
    rows = np.asarray(multihost_utils.process_allgather(padded))
    rows = rows.reshape(len(lengths), -1)
    return [
        row[:length].copy().view(array.dtype) for row, length in zip(rows, lengths, strict=True)
    ]


def all_reduce_max(value: int, mesh: Mesh | None) -> int:
    """The largest of the integers that the processes give."""
    return int(max(part[0] for part in all_gather_parts(np.array([value]), mesh)))


def own_shards(mesh: Mesh) -> list[jax.Device]:
    """The devices of this process, in the order of the mesh."""
    return [d for d in mesh.devices.flat if d.process_index == jax.process_index()]


def place_shards(blocks: list[Any], mesh: Mesh) -> jax.Array:
    """The array whose shards on this process's devices are `blocks`, equal in shape."""
    devices = own_shards(mesh)
    shards = [jax.device_put(b, d) for b, d in zip(blocks, devices, strict=True)]
    rows, *rest = shards[0].shape
    shape = (rows * mesh.size, *rest)
    return jax.make_array_from_single_device_arrays(shape, NamedSharding(mesh, SHARDED), shards)


def part_sizes(pool: Pool, mesh: Mesh | None) -> np.ndarray:
    """How many records each part of the pool has, int64 [parts]."""
    return np.concatenate(all_gather_parts(np.array([pool.num_records], np.int64), mesh))


def part_of_picks(picks: Array, sizes: np.ndarray, mesh: Mesh | None) -> np.ndarray:
    """Of records named in the whole pool, those of this process's part, as indices there."""
    before = sizes[: own_part(mesh)].sum()
    picks = np.asarray(picks, np.int64) - before
    return picks[(picks >= 0) & (picks < sizes[own_part(mesh)])]


def shard_records(values: Array, mesh: Mesh) -> jax.Array:
    """One number a record of this process's part, as `shard_pool` places the records."""
    cuts = _cuts(len(values), mesh)
    most = all_reduce_max(int(np.diff(cuts).max()), mesh) + 1
    return place_shards(_blocks(values, cuts, most, 0), mesh)


def unshard_records(values: jax.Array, num_records: int, mesh: Mesh) -> np.ndarray:
    """The inverse of `shard_records`, for a part of `num_records`."""
    shards = {shard.device: np.asarray(shard.data) for shard in values.addressable_shards}
    counts = np.diff(_cuts(num_records, mesh)).tolist()
    own = [shards[d][:n] for d, n in zip(own_shards(mesh), counts, strict=True)]
    return np.concatenate(own)


def shard_pool(pool: Pool, mesh: Mesh) -> Pool:
    """This process's part of the pool on its devices, as one pool over all devices.

    Each device gets consecutive records, with indices of their own from 0, and
    then records without score until all have as many.
    """
    cuts = _cuts(pool.num_records, mesh)
    records = np.asarray(pool.records)
    ends = np.searchsorted(records, cuts)
    most = all_reduce_max(int(np.diff(ends).max()), mesh)
    scores = shard_records(np.asarray(pool.scores), mesh)
    # Entries that only fill up belong to the last record, which has no score on any device.
    filler = scores.shape[0] // mesh.size - 1
    own = (records - np.repeat(cuts[:-1], np.diff(ends))).astype(np.int32)
    return Pool(
        place_shards(_blocks(pool.labels, ends, most, 0), mesh),
        place_shards(_blocks(own, ends, most, filler), mesh),
        scores,
    )


def _cuts(num_records: int, mesh: Mesh) -> np.ndarray:
    """Where the records of each device of this process begin, and the last one's end."""
    return np.linspace(0, num_records, len(own_shards(mesh)) + 1).astype(np.int64)


def _blocks(array: Array, cuts: np.ndarray, length: int, fill: int) -> list[np.ndarray]:
    parts = [np.asarray(array)[a:b] for a, b in itertools.pairwise(cuts)]
    return [np.pad(part, (0, length - len(part)), constant_values=fill) for part in parts]
