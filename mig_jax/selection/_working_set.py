"""The working set: the best records of the pages with the largest bounds, taken out together.

Any record outside is in a page that was not read, and so worth no more than the bound of that
page; or it was read and is not among the best C, and so worth no more than the one behind them.
The larger of the two is the limit. Gains never rise: as long as the best record of the set is
worth more than the limit, it is the best of all, and no page is looked at. One set serves some
hundreds of picks.

On several devices each takes the best records of its own pages, and all exchange them once:
every device then makes the same picks from the same set, without a word to the others.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh
from jaxtyping import Float, Int, Integer

from mig_jax.devices import (
    POOL_AXIS,
    all_gather_parts,
    all_reduce_max,
    kind_of_programs,
    num_parts,
)
from mig_jax.measure import GainRule, GainTable, Measure
from mig_jax.selection._allowance import Allowance, most_costs
from mig_jax.selection._page_gains import page_gains
from mig_jax.selection._page_layout import EMPTY
from mig_jax.selection._pages import Pages
from mig_jax.selection._search import SLACK, worths_of_rows
from mig_jax.selection._selection_state import SelectionState, SetSize, WorkingSet

__all__ = [
    "TAKEN",
    "grouped",
    "no_set",
    "over_pages",
    "put_back",
    "set_size",
    "take",
    "worths_of_page",
]

# On a CPU, of 939,343 records, half as many take as long, and twice as many longer.
_PAGES, _ROWS = 512, 1024
TAKEN = -2.0  #: Bound of a row that was picked; of one that may never be picked it is about −1.
_PAGES_AT_ONCE = 4096  # On an accelerator: 4 million slots.
_WIDEST = 256  # Slots: in wider sets, short rows would be computed with mostly empty slots.
# The programs of a set take some 3 s more to compile, which fewer picks do not bring in.
_LEAST_PICKS = 2000
# If a set gives fewer picks than this share of its rows, so many picks are searched page by page
# before the next is taken, and twice as many if that gives few too.
_WORTHWHILE_SHARE, _SHORTEST_PATIENCE, _LONGEST_PATIENCE = 1 / 32, 64, 1 << 14


def set_size(
    pages: Pages | Any, picks: int, mesh: Mesh | None = None, full: bool | None = None
) -> SetSize | None:
    """The working set that suits a selection, None if it is better off without.

    Args:
      pages: the propagated pool, or its layout.
      picks: how many are made at most.
      mesh: that of the pages, if they are sharded.
      full: as in `SetSize`; by default on every platform but a CPU.
    """
    if full is None:
        device = jax.devices()[0] if mesh is None else mesh.devices.flat[0]
        full = device.platform != "cpu"
    if (not full and picks < _LEAST_PICKS) or not _rounds_alike(mesh):
        return None
    widths = pages.width_log2
    if isinstance(widths, jax.core.Tracer):  # How wide the rows are is not known yet.
        return SetSize(_PAGES, _ROWS, min(int(pages.labels.shape[1]), _WIDEST), full)
    shards = [widths] if mesh is None else [shard.data for shard in widths.addressable_shards]
    widest = all_reduce_max(max(int(np.max(shard, initial=2)) for shard in shards), mesh)
    return SetSize(_PAGES, _ROWS, min(1 << widest, _WIDEST), full)


def _rounds_alike(mesh: Mesh | None) -> bool:
    """Whether all processes have processors of one kind: they make the picks of a set each alone.

    On unlike ones the last bits of gains may differ, and with them the picks.
    """
    if num_parts(mesh) == 1:
        return True
    own = np.frombuffer(kind_of_programs().encode(), np.uint8)
    return len({kind.tobytes() for kind in all_gather_parts(own, mesh)}) == 1


def over_pages(
    function: Callable[[jax.Array], Any], pages: Int[jax.Array, " n"], size: SetSize | None
) -> Any:
    """`function` of each page number: of many at once for the full form, else one by one."""
    at_once = _PAGES_AT_ONCE if size is not None and size.full else None
    return lax.map(function, pages, batch_size=at_once)


def worths_of_page(
    rule: GainRule,
    measure: Measure,
    pages: Pages,
    records: Int[jax.Array, " rows"],
    table: GainTable,
    left: Allowance | None,
    page: jax.Array,
) -> Float[jax.Array, " page_rows"]:
    """Bounds of what each record of a page is worth, now and later: raised by the slack."""
    here = pages.page(page, records)
    gains = page_gains(rule, measure, table.gains, here)
    most = None if left is None else most_costs(left).ever
    return worths_of_rows(left, most, here, gains) * (1 + SLACK)


def grouped(bounds: Float[jax.Array, " n"]) -> Float[jax.Array, "groups side"]:
    """n bounds in √n groups of √n or a few more; −1 fills up.

    The largest of n is found among the groups, then within one: 30 times an argmax's speed.
    """
    side = max(math.isqrt(max(bounds.shape[0] - 1, 0)) + 1, 1)
    padded = jnp.pad(bounds, (0, side * side - bounds.shape[0]), constant_values=-1)
    return padded.reshape(side, side)


def no_set(pages: Pages, z: Float[jax.Array, " labels"], size: SetSize) -> WorkingSet:
    """An empty working set of some pages, which is used up."""
    rows, zero, number = size.rows, jnp.int32(0), jnp.zeros(size.rows, jnp.int32)
    return WorkingSet(
        pages=Pages(
            labels=jnp.zeros((rows, size.width), pages.labels.dtype),
            values=jnp.zeros((rows, size.width), pages.values.dtype),
            records=jnp.full(rows, EMPTY),
            starts=jnp.arange(rows, dtype=jnp.int32),
            width_log2=jnp.full(rows, size.width.bit_length() - 1, jnp.int32),
            page_rows=1,
            costs=None if pages.costs is None else number,
            groups=None if pages.groups is None else number,
        ),
        bounds=jnp.full(rows, -1, z.dtype),
        widths_log2=jnp.full(rows, 2, jnp.int32),
        ids=number,
        parts=number,
        owners=number,
        places=number,
        limit=jnp.zeros((), z.dtype),
        read=jnp.zeros(size.pages, jnp.int32),
        worths=jnp.full((size.pages, pages.page_rows), -1, z.dtype),
        used=jnp.bool_(True),
        picks=zero,
        unreported=zero,
        by_pages=zero,
        patience=jnp.int32(_SHORTEST_PATIENCE),
        size=size,
    )


class _Candidates(NamedTuple):
    """Records that may come into a set, and their rows."""

    bounds: Float[jax.Array, " n"]  #: −1 if there is no record.
    records: Int[jax.Array, " n"]
    parts: Int[jax.Array, " n"]
    owners: Int[jax.Array, " n"]
    places: Int[jax.Array, " n"]
    widths_log2: Int[jax.Array, " n"]
    labels: Integer[jax.Array, "n width"]
    values: Float[jax.Array, "n width"]
    costs: Int[jax.Array, " n"] | None
    groups: Int[jax.Array, " n"] | None


def take(
    rule: GainRule,
    measure: Measure,
    pages: Pages,
    state: SelectionState,
    work: WorkingSet,
    devices_a_part: int | None,
) -> WorkingSet:
    """The next working set, `work` being used up and put back.

    Args:
      rule: exact or linear gains.
      measure: score functions and α.
      pages: the propagated pool, or this device's.
      state: what is left, and z.
      work: the one before.
      devices_a_part: how many devices hold a part of the pool; None if it is not sharded.
    """
    size = work.size
    bounds = state.bounds.reshape(-1)[: pages.num_pages]
    fits = (1 << jnp.asarray(pages.width_log2)) <= size.width
    _, read, unread = _largest(jnp.where(fits, bounds, -1), size.pages)
    worths = over_pages(
        partial(worths_of_page, rule, measure, pages, state.records, state.table, state.left),
        read,
        size,
    )
    # If few pages fit, wider ones were read too.
    offered = jnp.where(fits[read][:, None], worths, -1)
    best, places, rest = _largest(offered.reshape(-1), size.rows)
    too_wide = jnp.max(jnp.where(fits, -1, bounds))
    # What gains nothing is not picked from a set.
    limit = jnp.max(jnp.stack([jnp.zeros((), best.dtype), unread, rest, too_wide]))
    found = _rows(pages, state, read, best, places, size.width)
    if devices_a_part is not None:
        found, limit = _exchanged(found, limit, devices_a_part)
        _, which, rest = _largest(found.bounds, size.rows)
        limit = jnp.maximum(limit, rest)
        found = jax.tree_util.tree_map(lambda leaf: leaf[which], found)
    # The first of equals is then the one that the tie rule names.
    order = jnp.lexsort((found.records, found.parts + jnp.where(found.bounds < 0, EMPTY // 2, 0)))
    found = jax.tree_util.tree_map(lambda leaf: leaf[order], found)
    names = jnp.arange(size.rows, dtype=jnp.int32)
    records = jnp.where(found.records == EMPTY, EMPTY, names)
    read_in_all = jnp.int32(size.pages)
    if devices_a_part is not None:
        read_in_all = lax.psum(read_in_all, POOL_AXIS)
    return dataclasses.replace(
        work,
        pages=dataclasses.replace(
            work.pages,
            labels=found.labels,
            values=found.values,
            records=records,
            costs=found.costs,
            groups=found.groups,
        ),
        bounds=found.bounds,
        widths_log2=found.widths_log2,
        ids=found.records,
        parts=found.parts,
        owners=found.owners,
        places=found.places,
        limit=limit,
        read=read,
        worths=worths,
        used=jnp.bool_(False),
        picks=jnp.int32(0),
        unreported=work.unreported + read_in_all,
    )


def _largest(values: jax.Array, count: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The largest, in order, where they stand, and the largest of the others, −1 without any."""
    found, places = lax.top_k(values, count)
    # Not one more by `top_k`: of a result that is cut, XLA makes a sort of all values on a CPU.
    return found, places, jnp.max(values.at[places].set(-1))


def _rows(
    pages: Pages,
    state: SelectionState,
    read: Int[jax.Array, " read"],
    bounds: Float[jax.Array, " rows"],
    places: Int[jax.Array, " rows"],
    width: int,
) -> _Candidates:
    """The rows at some places of the pages read."""
    of, row = jnp.divmod(places.astype(jnp.int32), pages.page_rows)
    page = read[of]
    at = jnp.asarray(pages.starts)[page] + row
    width_log2 = jnp.asarray(pages.width_log2)[page]
    slot = jnp.arange(width, dtype=jnp.int32)
    is_slot = slot < (1 << width_log2)[:, None]
    rows_a_page = (pages.labels.shape[1] >> width_log2)[:, None]
    slot = jnp.where(is_slot, slot * rows_a_page + row[:, None], 0)
    nobody = jnp.zeros(places.shape[0], jnp.int32)
    return _Candidates(
        bounds=bounds,
        records=jnp.where(bounds < 0, EMPTY, state.records[at]),
        parts=nobody,
        owners=nobody,
        places=places.astype(jnp.int32),
        widths_log2=width_log2,
        labels=jnp.where(is_slot, pages.labels[page[:, None], slot], 0),
        values=jnp.where(is_slot, pages.values[page[:, None], slot], 0),
        costs=None if pages.costs is None else jnp.asarray(pages.costs)[at],
        groups=None if pages.groups is None else jnp.asarray(pages.groups)[at],
    )


def _exchanged(
    own: _Candidates, limit: jax.Array, devices_a_part: int
) -> tuple[_Candidates, jax.Array]:
    """The candidates of all devices, and the largest limit of any: in one message."""
    device = lax.axis_index(POOL_AXIS)
    own = own._replace(
        owners=jnp.full_like(own.owners, device),
        parts=jnp.full_like(own.parts, device // devices_a_part),
    )
    # All as whole numbers of the same size, column by column; a message costs more than its bytes.
    bits = jnp.dtype(f"int{limit.dtype.itemsize * 8}")
    leaves, structure = jax.tree_util.tree_flatten((own, jnp.broadcast_to(limit, own.bounds.shape)))
    columns = [
        lax.bitcast_convert_type(leaf, bits) if leaf.dtype == limit.dtype else leaf.astype(bits)
        for leaf in leaves
    ]
    flat = jnp.concatenate([column.reshape(len(column), -1) for column in columns], axis=1)
    flat = lax.all_gather(flat, POOL_AXIS).reshape(-1, flat.shape[1])
    parts, first = [], 0
    for leaf in leaves:
        stop = first + math.prod(leaf.shape[1:])
        part = flat[:, first:stop].reshape(-1, *leaf.shape[1:])
        same = leaf.dtype == limit.dtype
        parts.append(
            lax.bitcast_convert_type(part, leaf.dtype) if same else part.astype(leaf.dtype)
        )
        first = stop
    found, limits = jax.tree_util.tree_unflatten(structure, parts)
    return found, jnp.max(limits)


def put_back(
    pages: Pages, state: SelectionState, work: WorkingSet, devices_a_part: int | None
) -> tuple[SelectionState, WorkingSet]:
    """The state as if its picks had been made from pages, and `work` used up.

    If it gave few picks, the next ones are searched page by page.
    """
    size = work.size
    picked = work.bounds == TAKEN
    here = work.pages.records != EMPTY
    if devices_a_part is not None:
        here &= work.owners == lax.axis_index(POOL_AXIS)
    nowhere = work.worths.size
    places = jnp.where(here, work.places, nowhere)
    worths = work.worths.reshape(-1).at[places].set(work.bounds, mode="drop")
    worths = worths.reshape(work.worths.shape)
    of, row = jnp.divmod(work.places, pages.page_rows)
    gone = jnp.where(
        here & picked, jnp.asarray(pages.starts)[work.read[of]] + row, state.records.shape[0]
    )
    records = state.records.at[gone].set(EMPTY, mode="drop")
    left = jax.vmap(lambda page: pages.rows_of(records, page, EMPTY))(work.read)
    first = state.first.at[work.read].max(jnp.min(left, axis=1))
    side = state.bounds.shape[1]
    group, place = jnp.divmod(work.read, side)
    all_bounds = state.bounds.at[group, place].set(jnp.max(worths, axis=1))
    little = work.picks < max(int(size.rows * _WORTHWHILE_SHARE), 1)
    longer = jnp.minimum(2 * work.patience, _LONGEST_PATIENCE)
    state = dataclasses.replace(
        state, records=records, first=first, bounds=all_bounds, tops=jnp.max(all_bounds, axis=1)
    )
    work = dataclasses.replace(
        work,
        used=jnp.bool_(True),
        by_pages=jnp.where(little, work.patience, 0),
        patience=jnp.where(little, longer, _SHORTEST_PATIENCE),
    )
    return state, work
