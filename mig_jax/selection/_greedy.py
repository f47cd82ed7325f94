"""Greedy selection as a `lax.scan` over picks: a full scan, and the same picks lazily.

Both keep z (what each label holds) and choose the record with the largest
marginal gain, the lowest index among equals. Because every φ is concave, a
gain computed earlier bounds today's from above. The lazy selection keeps one
such bound a page and recomputes only pages whose bound reaches the best gain
known to be current.
"""

from __future__ import annotations

import dataclasses
import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh

from mig_jax.devices import POOL_AXIS, REPLICATED, SHARDED, num_parts, over_shards
from mig_jax.measure import EXACT, Array, GainRule, Measure, as_pytree, prepare
from mig_jax.selection._page_gains import page_gains
from mig_jax.selection._page_layout import EMPTY
from mig_jax.selection._pages import Pages, row_of_slot

__all__ = [
    "Picks",
    "SelectionState",
    "full_scan_greedy",
    "initial_state",
    "lazy_greedy",
]

# Rounding can make a recomputed gain a few units in the last place larger than
# an older one. Bounds are raised by this much, so that laziness stays exact.
_SLACK = 1e-5


@as_pytree
class SelectionState:
    """All that selection carries from pick to pick."""

    z: Array  #: float [K]: information held by each label.
    table: Any  #: The `GainTable` of the rule, always that of z.
    records: Array  #: int32 [n, rows]: the pages' records; EMPTY once picked.
    first: Array  #: int32 [n]: lowest record left in each page, EMPTY if none is.
    bounds: Array  #: float [groups, pages a group]: no record left in a page gains more.
    tops: Array  #: float [groups]: largest bound of each group.
    count: Array  #: int32 scalar: picks so far.


class Picks(NamedTuple):
    """What a chunk of the scan chose, in order; −1 and 0 once the budget or the pool is used up."""

    records: Array  #: int32 [length]: index in its part of the pool.
    parts: Array  #: int32 [length]: the part, 0 if one process holds the pool.
    gains: Array  #: float [length], exact or linear, each at the moment of its pick.
    increases: Array  #: float [length]: by how much each pick raised E; the gains if exact.
    pages_read: Array  #: int32 [length]: pages whose gains were computed for the pick.


class _Best(NamedTuple):
    """The best record known to be current, and where it stands."""

    gain: Array
    record: Array
    page: Array
    row: Array
    next: Array  # The lowest record that its page keeps.


class _Journal(NamedTuple):
    """Which pages a pick has read, in order, and their new bounds: only the first entries count."""

    pages: Array  # int32 [n]
    bounds: Array  # float [n]


class _Search(NamedTuple):
    """Where the search for one pick stands; the comment in `_search` has the invariant."""

    bounds: Array
    tops: Array
    journal: _Journal
    best: _Best
    read: Array


# What is sharded over the mesh, and what is the same on all devices.
_STATE = SelectionState(REPLICATED, REPLICATED, SHARDED, SHARDED, SHARDED, SHARDED, REPLICATED)


# Compiled so that parameters are float32 from the start, as in every later step: with Python
# floats, `exponent - 1` would be rounded once, and not twice, and the first pick could differ.
@partial(jax.jit, static_argnames=("rule", "mesh"))
def initial_state(
    rule: GainRule, measure: Measure, pages: Pages, z: Array, mesh: Mesh | None = None
) -> SelectionState:
    """The state before the first pick, for z float [K]: zeros, or what is held already.

    `mesh` is that of the pages, if they are sharded.
    """
    start = over_shards(partial(_start, rule), mesh, (REPLICATED, SHARDED, REPLICATED), _STATE)
    return start(measure, pages, jnp.asarray(z))


def _start(rule: GainRule, measure: Measure, pages: Pages, z: Array) -> SelectionState:
    table = prepare(rule, measure, z)

    def bound(page: Pages) -> Array:
        gains = page_gains(
            rule, measure, table.gains, page.labels, page.values, page.records, page.width_log2
        )
        return jnp.max(gains) * (1 + _SLACK)

    # The largest of n bounds is found among √n groups, then within one: 30 times an argmax's speed.
    side = max(math.isqrt(max(pages.num_pages - 1, 0)) + 1, 1)
    bounds = lax.map(bound, pages)
    bounds = jnp.pad(bounds, (0, side * side - pages.num_pages), constant_values=-1)
    return SelectionState(
        z=z,
        table=table,
        records=jnp.copy(pages.records),  # The pages' own stay, where the state is given away.
        first=jnp.min(jnp.asarray(pages.records), axis=1),
        bounds=bounds.reshape(side, side),
        tops=jnp.max(bounds.reshape(side, side), axis=1),
        count=jnp.int32(0),
    )


@partial(jax.jit, static_argnames=("rule", "length"))
def full_scan_greedy(
    rule: GainRule,
    measure: Measure,
    pages: Pages,
    state: SelectionState,
    budget: Array,
    length: int,
) -> tuple[SelectionState, Picks]:
    """Picks `length` records, each after computing the gain of every record.

    Args:
      rule: exact or linear gains.
      measure: score functions and α; traced.
      pages: the propagated pool.
      state: where to go on.
      budget: int32 scalar, traced: the scan does nothing once `state.count` reaches it.
      length: static, picks of this call.
    """

    def pick(state: SelectionState, _: None) -> tuple[SelectionState, Picks]:
        gains = jax.vmap(partial(page_gains, rule, measure, state.table.gains))(
            pages.labels, pages.values, state.records, pages.width_log2
        )
        gain = jnp.max(gains)
        record = jnp.min(jnp.where(gains == gain, state.records, EMPTY))
        page = jnp.argmax(jnp.any(state.records == record, axis=1)).astype(jnp.int32)
        best = _in_page(gain, record, state.records[page], page)
        return _move_to_selection(
            rule, measure, pages, state, best, budget, jnp.int32(pages.num_pages)
        )

    return lax.scan(pick, state, length=length)


@partial(jax.jit, static_argnames=("rule", "length", "mesh"))
def lazy_greedy(
    rule: GainRule,
    measure: Measure,
    pages: Pages,
    state: SelectionState,
    budget: Array,
    length: int,
    mesh: Mesh | None = None,
) -> tuple[SelectionState, Picks]:
    """Picks the same records as `full_scan_greedy`, computing few gains.

    Arguments as there, and `mesh`, that of the pages, if they are sharded: every
    device then searches its own pages, and a pick exchanges one gain and record a
    device and the row of the record chosen. Picks are those of one device, bit for
    bit: a gain depends on its row and on z only.
    """
    devices_a_part = None if mesh is None else mesh.size // num_parts(mesh)
    scan = over_shards(
        partial(_scan_lazily, rule, length, devices_a_part),
        mesh,
        (REPLICATED, SHARDED, _STATE, REPLICATED),
        (_STATE, REPLICATED),
    )
    return scan(measure, pages, state, budget)


def _scan_lazily(
    rule: GainRule,
    length: int,
    devices_a_part: int | None,  # None if the pool is not sharded.
    measure: Measure,
    pages: Pages,
    state: SelectionState,
    budget: Array,
) -> tuple[SelectionState, Picks]:
    def pick(
        carry: tuple[SelectionState, _Journal], _: None
    ) -> tuple[tuple[SelectionState, _Journal], Picks]:
        state, journal = carry
        search = _search(rule, measure, pages, state, journal, budget)
        # If nothing left gains anything, the tie rule names the lowest record.
        best = lax.cond(search.best.gain > 0, lambda: search.best, lambda: _lowest(state))
        state = dataclasses.replace(state, bounds=search.bounds, tops=search.tops)
        state, picks = _move_to_selection(
            rule, measure, pages, state, best, budget, search.read, devices_a_part
        )
        return (state, search.journal), picks

    # Space for the journal is allocated once; a pick touches the entries that it uses, no more.
    journal = _Journal(
        jnp.zeros(pages.num_pages, jnp.int32), jnp.zeros(pages.num_pages, state.bounds.dtype)
    )
    (state, _), picks = lax.scan(pick, (state, journal), length=length)
    return state, picks


def _search(
    rule: GainRule,
    measure: Measure,
    pages: Pages,
    state: SelectionState,
    journal: _Journal,
    budget: Array,
) -> _Search:
    """Reads pages until no unread one can hold a better record than the best one read."""

    # Invariant: a page is either read, with a bound of −1 and its best gain no better than `best`,
    # or unread, with no gain above its bound. `tops` is the largest bound of each group.
    # Pages bounded by 0 need no reading: their gains are 0 and stay 0.
    def unsettled(carry: _Search) -> Array:
        top = jnp.max(carry.tops)
        return (top >= carry.best.gain) & (top > 0) & (state.count < budget)

    def read_page(carry: _Search) -> _Search:
        group = _first_largest(carry.tops)
        bounds = carry.bounds[group]
        place = _first_largest(bounds)
        page = group * bounds.shape[0] + place
        records = state.records[page]
        gains = page_gains(
            rule,
            measure,
            state.table.gains,
            pages.labels[page],
            pages.values[page],
            records,
            pages.width_log2[page],
        )
        gain = jnp.max(gains)
        record = jnp.min(jnp.where(gains == gain, records, EMPTY))
        best = carry.best
        better = (gain > best.gain) | ((gain == best.gain) & (record < best.record))
        bounds = bounds.at[place].set(-1)
        journal = _Journal(
            carry.journal.pages.at[carry.read].set(page),
            carry.journal.bounds.at[carry.read].set(gain * (1 + _SLACK)),
        )
        return _Search(
            bounds=carry.bounds.at[group].set(bounds),
            tops=carry.tops.at[group].set(jnp.max(bounds)),
            journal=journal,
            best=_choose(better, _in_page(gain, record, records, page), best),
            read=carry.read + 1,
        )

    zero = jnp.int32(0)
    none = _Best(jnp.asarray(-1, state.z.dtype), EMPTY, zero, zero, EMPTY)
    start = _Search(state.bounds, state.tops, journal, none, zero)
    search = lax.while_loop(unsettled, read_page, start)

    def put_back(i: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        bounds, tops = carry
        group, place = jnp.divmod(search.journal.pages[i], bounds.shape[1])
        bound = search.journal.bounds[i]
        return bounds.at[group, place].set(bound), tops.at[group].max(bound)

    bounds, tops = lax.fori_loop(0, search.read, put_back, (search.bounds, search.tops))
    return search._replace(bounds=bounds, tops=tops)


def _lowest(state: SelectionState) -> _Best:
    """The lowest record left, as one that gains nothing."""
    page = jnp.argmin(state.first).astype(jnp.int32)
    return _in_page(jnp.zeros((), state.z.dtype), state.first[page], state.records[page], page)


def _move_to_selection(
    rule: GainRule,
    measure: Measure,
    pages: Pages,
    state: SelectionState,
    best: _Best,
    budget: Array,
    read: Array,
    devices_a_part: int | None = None,
) -> tuple[SelectionState, Picks]:
    """Moves the best record from the pool to the selection."""
    labels, values = pages.labels[best.page], pages.values[best.page]
    width_log2 = pages.width_log2[best.page]
    steps = jnp.where(row_of_slot(labels.shape[0], width_log2) == best.row, values, 0)
    gain, record, part, here = best.gain, best.record, jnp.int32(0), jnp.bool_(True)
    increase = gain
    if not rule.is_exact:
        rows, exact = jnp.zeros(state.records.shape[1], jnp.int32), state.table.increases
        increase = page_gains(EXACT, measure, exact, labels, values, rows, width_log2)[best.row]
    if devices_a_part is not None:
        # All that shards exchange for a pick, in two messages: what each found best, then the
        # row of the winner. A message costs more than what is in it.
        bits = jnp.dtype(f"int{gain.dtype.itemsize * 8}")
        found = jnp.stack([lax.bitcast_convert_type(gain, bits), record.astype(bits)])
        found = lax.all_gather(found, POOL_AXIS)
        gains, records = lax.bitcast_convert_type(found[:, 0], gain.dtype), found[:, 1]
        winner, part = _first_of_best(gains, records, devices_a_part)
        gain, record = gains[winner], records[winner].astype(record.dtype)
        here = lax.axis_index(POOL_AXIS) == winner
        reals = lax.bitcast_convert_type(jnp.append(steps, increase), bits)
        row = jnp.where(here, jnp.concatenate([labels.astype(bits), reals]), 0)
        row = lax.psum(jnp.append(row, read.astype(bits)), POOL_AXIS)
        labels, reals, read = jnp.split(row, [labels.shape[0], row.shape[0] - 1])
        labels, read = labels.astype(jnp.int32), read[0].astype(jnp.int32)
        reals = lax.bitcast_convert_type(reals, gain.dtype)
        steps, increase = reals[:-1], reals[-1]
    wanted = (state.count < budget) & (record != EMPTY)
    steps = jnp.where(wanted, steps, 0)
    z = state.z.at[labels].add(steps)
    renewed = prepare(rule, measure, z, labels)
    table = jax.tree_util.tree_map(lambda old, new: old.at[labels].set(new), state.table, renewed)
    # Whatever is read of these arrays was read before the search began or in it: XLA then
    # updates them in place, where reading them here would make it copy them at every pick.
    row = jnp.where(wanted & here, best.row, state.records.shape[1])
    records = state.records.at[best.page, row].set(EMPTY, mode="drop")
    page = jnp.where(wanted & here, best.page, state.first.shape[0])
    first = state.first.at[page].set(best.next, mode="drop")
    state = SelectionState(
        z=z,
        table=table,
        records=records,
        first=first,
        bounds=state.bounds,
        tops=state.tops,
        count=state.count + wanted,
    )
    return state, Picks(
        jnp.where(wanted, record, -1),
        jnp.where(wanted, part, 0),
        jnp.where(wanted, gain, 0),
        jnp.where(wanted, increase, 0),
        read,
    )


def _first_of_best(gains: Array, records: Array, devices_a_part: int) -> tuple[Array, Array]:
    """The device [int32] with the largest gain, and its part: among equals the first record's."""
    parts = jnp.arange(gains.shape[0], dtype=jnp.int32) // devices_a_part
    # EMPTY is the record of a device that has none left.
    tied = (gains == jnp.max(gains)) & (records != EMPTY)
    part = jnp.min(jnp.where(tied, parts, parts[-1]))
    winner = jnp.argmin(jnp.where(tied & (parts == part), records, EMPTY)).astype(jnp.int32)
    return winner, part


def _first_largest(values: Array) -> Array:
    """`argmax`, as two reductions that vectorise: three times its speed on a CPU."""
    places = jnp.arange(values.shape[0], dtype=jnp.int32)
    return jnp.min(jnp.where(values == jnp.max(values), places, values.shape[0] - 1))


def _in_page(gain: Array, record: Array, records: Array, page: Array) -> _Best:
    """A record as the best one, with its row in its page and the lowest record beside it."""
    row = jnp.argmax(records == record).astype(jnp.int32)
    return _Best(gain, record, page, row, jnp.min(jnp.where(records == record, EMPTY, records)))


def _choose(first: Array, a: _Best, b: _Best) -> _Best:
    return jax.tree_util.tree_map(lambda x, y: jnp.where(first, x, y), a, b)
