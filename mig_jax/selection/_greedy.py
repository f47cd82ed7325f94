"""Greedy selection as a `lax.scan` over picks: a full scan, and the same picks lazily.

Both keep z (what each label holds) and choose the record with the largest
marginal gain, the lowest index among equals. Because every φ is concave, a
gain computed earlier bounds today's from above. The lazy selection keeps one
such bound a page and recomputes only pages whose bound reaches the best gain
known to be current.

Under constraints (`Allowance`) records are compared by their worth: the gain, or
the gain over the cost. What may be picked at any later time only becomes less, so
that a bound on the worth of those records of a page stays one.
"""

from __future__ import annotations

import dataclasses
import math
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh
from jaxtyping import Float

from mig_jax.devices import POOL_AXIS, REPLICATED, SHARDED, num_parts, over_shards
from mig_jax.measure import EXACT, Array, Count, GainRule, Measure, prepare
from mig_jax.selection._allowance import (
    Allowance,
    allowed_rows,
    due_rows,
    most_costs,
    spend,
)
from mig_jax.selection._page_gains import page_gains
from mig_jax.selection._page_layout import EMPTY
from mig_jax.selection._pages import Pages, row_of_slot
from mig_jax.selection._search import (
    SLACK,
    Best,
    Journal,
    choose,
    in_page,
    lowest_allowed,
    lowest_left,
    search,
    worths_of_rows,
)
from mig_jax.selection._selection_state import STATE_SPECS, Picks, SelectionState

__all__ = ["full_scan_greedy", "initial_state", "lazy_greedy"]


# Compiled so that parameters are float32 from the start, as in every later step: with Python
# floats, `exponent - 1` would be rounded once, and not twice, and the first pick could differ.
@partial(jax.jit, static_argnames=("rule", "mesh"))
def initial_state(
    rule: GainRule,
    measure: Measure,
    pages: Pages,
    z: Float[Array, " labels"],
    mesh: Mesh | None = None,
    left: Allowance | None = None,
) -> SelectionState:
    """The state before the first pick, for z: zeros, or what is held already.

    `mesh` is that of the pages, if they are sharded; `left` is what may be picked, if that is
    limited: the pages then tell costs and groups of their rows.
    """
    specs = (REPLICATED, SHARDED, REPLICATED, REPLICATED)
    start = over_shards(partial(_start, rule), mesh, specs, STATE_SPECS)
    return start(measure, pages, jnp.asarray(z), left)


def _start(
    rule: GainRule, measure: Measure, pages: Pages, z: jax.Array, left: Allowance | None
) -> SelectionState:
    table = prepare(rule, measure, z)
    most = None if left is None else most_costs(left).ever

    def bound(page: Pages) -> jax.Array:
        gains = page_gains(
            rule, measure, table.gains, page.labels, page.values, page.records, page.width_log2
        )
        return jnp.max(worths_of_rows(left, most, page, page.records, gains)) * (1 + SLACK)

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
        left=left,
    )


@partial(jax.jit, static_argnames=("rule", "length"))
def full_scan_greedy(
    rule: GainRule,
    measure: Measure,
    pages: Pages,
    state: SelectionState,
    budget: Count,
    length: int,
) -> tuple[SelectionState, Picks]:
    """Picks `length` records, each after computing the gain of every record.

    Args:
      rule: exact or linear gains.
      measure: score functions and α; traced.
      pages: the propagated pool.
      state: where to go on.
      budget: int32, traced: the scan does nothing once `state.count` reaches it.
      length: static, picks of this call.
    """

    def pick(state: SelectionState, _: None) -> tuple[SelectionState, Picks]:
        gains = jax.vmap(partial(page_gains, rule, measure, state.table.gains))(
            pages.labels, pages.values, state.records, pages.width_log2
        )
        most = None if state.left is None else most_costs(state.left).now
        compared = worths_of_rows(state.left, most, pages, state.records, gains)
        worth = jnp.max(compared)
        record = jnp.min(jnp.where(compared == worth, state.records, EMPTY))
        if state.left is not None and most is not None:
            rows = allowed_rows(most, state.records, pages.costs, pages.groups)
            due = rows & due_rows(state.left, pages.groups)
            lowest = jnp.min(jnp.where(due, state.records, EMPTY))
            worth, record = jnp.maximum(worth, 0), jnp.where(worth > 0, record, lowest)
        page = jnp.argmax(jnp.any(state.records == record, axis=1)).astype(jnp.int32)
        best = in_page(worth, record, state.records[page], page)
        if pages.costs is not None:
            best = best._replace(gain=jnp.maximum(gains[page, best.row], 0))
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
    budget: Count,
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
        (REPLICATED, SHARDED, STATE_SPECS, REPLICATED),
        (STATE_SPECS, REPLICATED),
    )
    return scan(measure, pages, state, budget)


def _scan_lazily(
    rule: GainRule,
    length: int,
    devices_a_part: int | None,  # None if the pool is not sharded.
    measure: Measure,
    pages: Pages,
    state: SelectionState,
    budget: Count,
) -> tuple[SelectionState, Picks]:
    def pick(
        carry: tuple[SelectionState, Journal], _: None
    ) -> tuple[tuple[SelectionState, Journal], Picks]:
        state, journal = carry
        most = None if state.left is None else most_costs(state.left)
        found = search(rule, measure, pages, state, journal, budget, most)
        # If nothing left gains anything, the tie rule names the lowest record.
        if state.left is None or most is None:
            best = lax.cond(found.best.worth > 0, lambda: found.best, lambda: lowest_left(state))
        else:
            idle = (found.best.worth <= 0) & (state.count < budget)
            lowest, state = lowest_allowed(pages, state, state.left, most, idle)
            best = choose(found.best.worth > 0, found.best, lowest)
        state = dataclasses.replace(state, bounds=found.bounds, tops=found.tops)
        state, picks = _move_to_selection(
            rule, measure, pages, state, best, budget, found.read, devices_a_part
        )
        return (state, found.journal), picks

    # Space for the journal is allocated once; a pick touches the entries that it uses, no more.
    journal = Journal(
        jnp.zeros(pages.num_pages, jnp.int32), jnp.zeros(pages.num_pages, state.bounds.dtype)
    )
    (state, _), picks = lax.scan(pick, (state, journal), length=length)
    return state, picks


def _move_to_selection(
    rule: GainRule,
    measure: Measure,
    pages: Pages,
    state: SelectionState,
    best: Best,
    budget: Count,
    read: jax.Array,
    devices_a_part: int | None = None,
) -> tuple[SelectionState, Picks]:
    """Moves the best record from the pool to the selection."""
    labels, values = pages.labels[best.page], pages.values[best.page]
    width_log2 = pages.width_log2[best.page]
    steps = jnp.where(row_of_slot(labels.shape[0], width_log2) == best.row, values, 0)
    worth, record, part, here = best.worth, best.record, jnp.int32(0), jnp.bool_(True)
    gain = worth if best.gain is None else best.gain
    increase = gain
    if not rule.is_exact:
        rows, exact = jnp.zeros(state.records.shape[1], jnp.int32), state.table.increases
        increase = page_gains(EXACT, measure, exact, labels, values, rows, width_log2)[best.row]
    cost, group = (
        jnp.int32(0) if of_rows is None else of_rows[best.page, best.row]
        for of_rows in (pages.costs, pages.groups)
    )
    if devices_a_part is not None:
        # All that shards exchange for a pick, in two messages: what each found best, then the
        # row of the winner. A message costs more than what is in it.
        bits = jnp.dtype(f"int{gain.dtype.itemsize * 8}")
        found = jnp.stack([lax.bitcast_convert_type(worth, bits), record.astype(bits)])
        found = lax.all_gather(found, POOL_AXIS)
        worths, records = lax.bitcast_convert_type(found[:, 0], gain.dtype), found[:, 1]
        winner, part = _first_of_best(worths, records, devices_a_part)
        worth, record = worths[winner], records[winner].astype(record.dtype)
        here = lax.axis_index(POOL_AXIS) == winner
        # Whole numbers and others of the winner's row; under constraints what it costs, too.
        costs = [] if state.left is None else [jnp.stack([cost, group])]
        gains = [] if best.gain is None else [gain[None]]
        whole = jnp.concatenate([labels, *costs]).astype(bits)
        reals = jnp.concatenate([steps, increase[None], *gains])
        row = jnp.concatenate([whole, lax.bitcast_convert_type(reals, bits)])
        row = lax.psum(jnp.append(jnp.where(here, row, 0), read.astype(bits)), POOL_AXIS)
        whole, reals, last = jnp.split(row, [whole.shape[0], row.shape[0] - 1])
        labels, read = whole[: labels.shape[0]].astype(jnp.int32), last[0].astype(jnp.int32)
        reals = lax.bitcast_convert_type(reals, gain.dtype)
        steps, increase = reals[: steps.shape[0]], reals[steps.shape[0]]
        gain = worth if best.gain is None else reals[-1]
        if state.left is not None:
            cost, group = whole[-2].astype(jnp.int32), whole[-1].astype(jnp.int32)
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
        left=None if state.left is None else spend(state.left, group, cost, wanted),
    )
    return state, Picks(
        jnp.where(wanted, record, -1),
        jnp.where(wanted, part, 0),
        jnp.where(wanted, gain, 0),
        jnp.where(wanted, increase, 0),
        read,
    )


def _first_of_best(
    worths: jax.Array, records: jax.Array, devices_a_part: int
) -> tuple[jax.Array, jax.Array]:
    """The device [int32] with the largest worth, and its part: among equals the first record's."""
    parts = jnp.arange(worths.shape[0], dtype=jnp.int32) // devices_a_part
    # EMPTY is the record of a device that has none left.
    tied = (worths == jnp.max(worths)) & (records != EMPTY)
    part = jnp.min(jnp.where(tied, parts, parts[-1]))
    winner = jnp.argmin(jnp.where(tied & (parts == part), records, EMPTY)).astype(jnp.int32)
    return winner, part
