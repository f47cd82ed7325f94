"""What selection carries from pick to pick, how it is sharded, and what a scan gives."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
from jaxtyping import Bool, Float, Int

from mig_jax.devices import REPLICATED, SHARDED
from mig_jax.measure import Array, GainTable, as_pytree, unchecked
from mig_jax.selection._allowance import Allowance
from mig_jax.selection._page_layout import NARROWEST_LOG2
from mig_jax.selection._pages import Pages

__all__ = ["Picks", "SelectionState", "SetSize", "WorkingSet", "state_specs"]


@dataclasses.dataclass(frozen=True)
class SetSize:
    """The shape of a working set, and how it is searched; never changes what is picked."""

    pages: int  #: M: so many pages with the largest bounds are read for it, on each device.
    rows: int  #: C: so many of their records are in it.
    #: Slots a row has, a power of two of at least 4; pages of wider rows stay outside.
    width: int
    #: Whether a pick computes the gains of all rows at once, as suits an accelerator; or one
    #: after another, those alone whose bounds ask for it.
    full: bool = False

    def __post_init__(self) -> None:
        """Raises ValueError unless the sizes can be those of a set."""
        if self.pages < 1 or self.rows < 1:
            raise ValueError(f"a set has at least a page and a row, got {self}")
        if self.width < 1 << NARROWEST_LOG2 or self.width & (self.width - 1):
            raise ValueError(f"the width must be a power of two of at least 4, got {self.width}")

    def within(self, pages: Pages, devices: int) -> SetSize:
        """The same, but no more pages or rows than each device has of `pages`."""
        count = min(self.pages, pages.num_pages // devices)
        rows = min(self.rows, count * pages.page_rows)
        return dataclasses.replace(self, pages=count, rows=rows)


@as_pytree
class WorkingSet:
    """The best C records, which are searched alone until one outside may be the best.

    What they are and what is known of them is the same on all devices; each device keeps what
    it knows of its own pages that were read for the set.
    """

    #: The records as C pages of one row, in the order of parts and records, by which they are
    #: numbered here.
    pages: Pages
    bounds: Float[jax.Array, " rows"]  #: No record is worth more; `TAKEN` once it is picked.
    widths_log2: Int[jax.Array, " rows"]  #: log2 of the slots of a record's own.
    ids: Int[jax.Array, " rows"]  #: Index of each record in its part of the pool.
    parts: Int[jax.Array, " rows"]  #: The part.
    owners: Int[jax.Array, " rows"]  #: The device whose pages hold it.
    places: Int[jax.Array, " rows"]  #: Where it stands in the owner's `worths`, flat.
    limit: Float[jax.Array, ""]  #: No record outside is worth more, now or later.
    read: Int[jax.Array, " read"]  #: The pages read for it.
    worths: Float[jax.Array, "read page_rows"]  #: Bounds of their records, as the set was taken.
    used: Bool[jax.Array, ""]  #: Whether it has given all it can: the next pick needs another.
    picks: Int[jax.Array, ""]  #: Picks from it so far.
    unreported: Int[jax.Array, ""]  #: Pages read for it, until a pick has told of them.
    by_pages: Int[jax.Array, ""]  #: Picks to search page by page before the next set is taken.
    patience: Int[jax.Array, ""]  #: How many these will be if the next set gives little.
    size: SetSize = dataclasses.field(metadata={"static": True})


@as_pytree
class SelectionState:
    """All that selection carries from pick to pick.

    While there is a working set that is not used up, records, bounds, tops and first are as they
    were when it was taken, and what has become of its records stands in the set.
    """

    z: Float[jax.Array, " labels"]  #: Information held by each label.
    table: GainTable  #: Of the rule, always that of z.
    records: Int[jax.Array, " rows"]  #: The pages' records; EMPTY once picked.
    #: Lowest record left in each page, EMPTY if none is; under constraints none that may still
    #: be picked is lower.
    first: Int[jax.Array, " pages"]
    bounds: Float[jax.Array, "groups side"]  #: No record left in a page is worth more.
    tops: Float[jax.Array, " groups"]  #: Largest bound of each group.
    count: Int[Array, ""]  #: Picks so far.
    left: Allowance | None = None  #: What may still be picked, under constraints.
    work: WorkingSet | None = None  #: None if pages alone are searched.


class Picks(NamedTuple):
    """What a chunk of the scan chose, in order; −1 and 0 once the budget or the pool is used up."""

    records: Int[jax.Array, " picks"]  #: Index in its part of the pool.
    parts: Int[jax.Array, " picks"]  #: The part, 0 if one process holds the pool.
    gains: Float[jax.Array, " picks"]  #: Exact or linear, each at the moment of its pick.
    increases: Float[jax.Array, " picks"]  #: By how much each pick raised E; gains if exact.
    #: Pages whose gains were computed for the pick; those of a working set count for its first.
    pages_read: Int[jax.Array, " picks"]


def state_specs(size: SetSize | None) -> SelectionState:
    """What is sharded over the mesh, and what is the same on all devices."""
    work = None
    if size is not None:
        names = [field.name for field in dataclasses.fields(WorkingSet) if field.name != "size"]
        specs = dict.fromkeys(names, REPLICATED) | {"read": SHARDED, "worths": SHARDED}
        work = unchecked(WorkingSet, **specs, size=size)
    return unchecked(
        SelectionState,
        z=REPLICATED,
        table=REPLICATED,
        records=SHARDED,
        first=SHARDED,
        bounds=SHARDED,
        tops=SHARDED,
        count=REPLICATED,
        left=REPLICATED,
        work=work,
    )
