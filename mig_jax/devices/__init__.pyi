from ._child_processes import answers_of_processes, over_processes, serve
from ._host_threads import ahead_in_threads, cores, over_threads
from ._hosts import ALONE, Hosts
from ._kept_programs import kept_programs, kind_of_programs
from ._processes import joined, told_by_all
from ._sharding import (
    POOL_AXIS,
    REPLICATED,
    SHARDED,
    all_gather_parts,
    all_reduce_max,
    num_parts,
    over_shards,
    own_part,
    own_shards,
    part_of_picks,
    part_sizes,
    place_shards,
    pool_mesh,
    shard_pool,
    shard_records,
    unshard_records,
)

__all__ = [
    "ALONE",
    "POOL_AXIS",
    "REPLICATED",
    "SHARDED",
    "Hosts",
    "ahead_in_threads",
    "all_gather_parts",
    "all_reduce_max",
    "answers_of_processes",
    "cores",
    "joined",
    "kept_programs",
    "kind_of_programs",
    "num_parts",
    "over_processes",
    "over_shards",
    "over_threads",
    "own_part",
    "own_shards",
    "part_of_picks",
    "part_sizes",
    "place_shards",
    "pool_mesh",
    "serve",
    "shard_pool",
    "shard_records",
    "told_by_all",
    "unshard_records",
]
