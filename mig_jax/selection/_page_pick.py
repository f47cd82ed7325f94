"""One pick: the best record of all pages, found page by page, moves to the selection."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from jax import lax

from mig_jax.devices import POOL_AXIS
from mig_jax.measure import EXACT, Count, GainRule, Measure, prepare
from mig_jax.selection._allowance import most_costs, spend
from mig_jax.selection._page_gains import page_gains
from mig_jax.selection._page_layout import EMPTY
from mig_jax.selection._pages import Pages, row_of_slot
from mig_jax.selection._search import (
    Best,
    Journal,
    choose,
    lowest_allowed,
    lowest_left,
    search,
)
from mig_jax.selection._selection_state import Picks, SelectionState

__all__ = ["journal_of", "move_to_selection", "pick_from_pages"]


def journal_of(pages: Pages, state: SelectionState) -> Journal:
    """Space for the journal of searches, allocated once; a pick touches what it uses, no more."""
    return Journal(
        jnp.zeros(pages.num_pages, jnp.int32), jnp.zeros(pages.num_pages, state.bounds.dtype)
    )


def pick_from_pages(
    rule: GainRule,
    measure: Measure,
    pages: Pages,
    state: SelectionState,
    journal: Journal,
    budget: Count,
    devices_a_part: int | None = None,
) -> tuple[SelectionState, Journal, Picks]:
    """Picks the best record of all pages, if the budget is not used up and one may be picked.

    Args:
      rule: exact or linear gains.
      measure: score functions and α.
      pages: the propagated pool.
      state: where to go on.
      journal: what `journal_of` gives, or the pick before.
      budget: int32, picks in all.
      devices_a_part: how many devices hold a part of the pool; None if it is not sharded.
    """
    most = None if state.left is None else most_costs(state.left)
    found = search(rule, measure, pages, state, journal, budget, most)
    # If nothing left gains anything, the tie rule names the lowest record.
    if state.left is None or most is None:
        best = lax.cond(found.best.worth > 0, lambda: found.best, lambda: lowest_left(pages, state))
    else:
        idle = (found.best.worth <= 0) & (state.count < budget)
        lowest, state = lowest_allowed(pages, state, state.left, most, idle)
        best = choose(found.best.worth > 0, found.best, lowest)
    state = dataclasses.replace(state, bounds=found.bounds, tops=found.tops)
    state, picks = move_to_selection(
        rule, measure, pages, state, best, budget, found.read, devices_a_part
    )
    return state, found.journal, picks


def move_to_selection(
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
    page = pages.page(best.page, pages.records)
    labels = page.labels.astype(jnp.int32)
    steps = jnp.where(row_of_slot(labels.shape[0], page.width_log2) == best.row, page.values, 0)
    worth, record, part, here = best.worth, best.record, jnp.int32(0), jnp.bool_(True)
    gain = worth if best.gain is None else best.gain
    increase = gain
    if not rule.is_exact:
        increase = page_gains(EXACT, measure, state.table.increases, page)[best.row]
    cost, group = (
        jnp.int32(0) if of_rows is None else of_rows[best.row]
        for of_rows in (page.costs, page.groups)
    )
    place = jnp.asarray(pages.starts)[best.page] + best.row
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
    gone = jnp.where(wanted & here, place, state.records.shape[0])
    records = state.records.at[gone].set(EMPTY, mode="drop")
    changed = jnp.where(wanted & here, best.page, state.first.shape[0])
    first = state.first.at[changed].set(best.next, mode="drop")
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
