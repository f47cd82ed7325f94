"""What selection carries from pick to pick, how it is sharded, and what a scan gives."""

from __future__ import annotations

from typing import NamedTuple

import jax
from jaxtyping import Float, Int

from mig_jax.devices import REPLICATED, SHARDED
from mig_jax.measure import Array, GainTable, as_pytree, unchecked
from mig_jax.selection._allowance import Allowance

__all__ = ["STATE_SPECS", "Picks", "SelectionState"]


@as_pytree
class SelectionState:
    """All that selection carries from pick to pick."""

    z: Float[jax.Array, " labels"]  #: Information held by each label.
    table: GainTable  #: Of the rule, always that of z.
    records: Int[jax.Array, "pages rows"]  #: The pages' records; EMPTY once picked.
    #: Lowest record left in each page, EMPTY if none is; under constraints none that may still
    #: be picked is lower.
    first: Int[jax.Array, " pages"]
    bounds: Float[jax.Array, "groups side"]  #: No record left in a page is worth more.
    tops: Float[jax.Array, " groups"]  #: Largest bound of each group.
    count: Int[Array, ""]  #: Picks so far.
    left: Allowance | None = None  #: What may still be picked, under constraints.


class Picks(NamedTuple):
    """What a chunk of the scan chose, in order; −1 and 0 once the budget or the pool is used up."""

    records: Int[jax.Array, " picks"]  #: Index in its part of the pool.
    parts: Int[jax.Array, " picks"]  #: The part, 0 if one process holds the pool.
    gains: Float[jax.Array, " picks"]  #: Exact or linear, each at the moment of its pick.
    increases: Float[jax.Array, " picks"]  #: By how much each pick raised E; gains if exact.
    pages_read: Int[jax.Array, " picks"]  #: Pages whose gains were computed for the pick.


# What is sharded over the mesh, and what is the same on all devices.
STATE_SPECS = unchecked(
    SelectionState,
    z=REPLICATED,
    table=REPLICATED,
    records=SHARDED,
    first=SHARDED,
    bounds=SHARDED,
    tops=SHARDED,
    count=REPLICATED,
    left=REPLICATED,
)
