"""Picks from the working set, and from pages where a set would give few."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Float

from mig_jax.measure import Count, GainRule, GainTable, Measure
from mig_jax.selection._allowance import Allowance, most_costs
from mig_jax.selection._page_gains import row_gain, row_gains
from mig_jax.selection._page_layout import EMPTY
from mig_jax.selection._page_pick import journal_of, move_to_selection, pick_from_pages
from mig_jax.selection._pages import Pages
from mig_jax.selection._search import SLACK, Best, Journal, first_largest, worths_of_rows
from mig_jax.selection._selection_state import Picks, SelectionState, WorkingSet
from mig_jax.selection._working_set import TAKEN, grouped, put_back, take

__all__ = ["picks_by_set"]

_PICKS_A_ROUND = 64  # Of the full form: a loop of known length needs no word from the host.


class _Under(NamedTuple):
    """Picks of a call under way."""

    state: SelectionState
    journal: Journal  # Of searches in pages.
    picks: Picks
    over: jax.Array  # Nothing is left that may be picked.


def picks_by_set(
    rule: GainRule,
    measure: Measure,
    pages: Pages,
    state: SelectionState,
    budget: Count,
    length: int,
    devices_a_part: int | None,
) -> tuple[SelectionState, Picks]:
    """The next `length` picks, or fewer if the budget ends before; arguments as `lazy_greedy`.

    Predicates of all loops are the same on all devices: messages within them meet each other.
    """
    start = jnp.asarray(state.count)
    stop = jnp.minimum(jnp.asarray(budget, jnp.int32), start + length)
    kind = state.z.dtype
    nothing = Picks(
        jnp.full(length, -1, jnp.int32),
        jnp.zeros(length, jnp.int32),
        jnp.zeros(length, kind),
        jnp.zeros(length, kind),
        jnp.zeros(length, jnp.int32),
    )

    def turn(now: _Under) -> _Under:
        now = lax.while_loop(
            lambda now: (_work(now).by_pages > 0) & ~now.over & (now.state.count < stop),
            partial(_by_pages, rule, measure, pages, stop, start, devices_a_part),
            now,
        )
        state = now.state

        work = _work(now)
        is_due = work.used & (work.by_pages <= 0) & ~now.over & (state.count < stop)
        # No loop that runs once at most: XLA would read the pages ahead of it, due or not.
        work = lax.cond(
            is_due,
            lambda work: take(rule, measure, pages, state, work, devices_a_part),
            lambda work: work,
            work,
        )
        state, work, picks = _all_within(rule, measure, state, work, now.picks, stop, start)

        # As a loop that runs once at most, it leaves the pages' arrays where they stand.
        def gives_no_more(carry: tuple[SelectionState, WorkingSet]) -> jax.Array:
            return ~carry[1].used & (carry[0].count < stop)

        state, work = lax.while_loop(
            gives_no_more,
            lambda carry: put_back(pages, *carry, devices_a_part),
            (dataclasses.replace(state, work=None), work),
        )
        state = dataclasses.replace(state, work=work)
        return _Under(state, now.journal, picks, now.over)

    begin = _Under(state, journal_of(pages, state), nothing, jnp.bool_(False))
    end = lax.while_loop(lambda now: ~now.over & (now.state.count < stop), turn, begin)
    return end.state, end.picks


def _work(now: _Under) -> WorkingSet:
    assert now.state.work is not None
    return now.state.work


def _noted(picks: Picks, one: Picks, place: jax.Array) -> Picks:
    """`picks` with one more, that of rank `place`, if it is one."""
    place = jnp.where(one.records >= 0, place, picks.records.shape[0])
    return jax.tree_util.tree_map(
        lambda all_of, new: all_of.at[place].set(new, mode="drop"), picks, one
    )


def _by_pages(
    rule: GainRule,
    measure: Measure,
    pages: Pages,
    stop: jax.Array,
    start: jax.Array,
    devices_a_part: int | None,
    now: _Under,
) -> _Under:
    """One pick by a search through the pages."""
    work, count = _work(now), jnp.asarray(now.state.count)
    state, journal, one = pick_from_pages(
        rule,
        measure,
        pages,
        dataclasses.replace(now.state, work=None),
        now.journal,
        stop,
        devices_a_part,
    )
    one = one._replace(pages_read=one.pages_read + work.unreported)
    work = dataclasses.replace(work, by_pages=work.by_pages - 1, unreported=jnp.int32(0))
    state = dataclasses.replace(state, work=work)
    return _Under(state, journal, _noted(now.picks, one, count - start), one.records < 0)


class _Within(NamedTuple):
    """What picks from a set change: its bounds, and what does not grow with the pool."""

    z: jax.Array
    table: GainTable
    in_all: jax.Array  # Picks so far.
    left: Allowance | None
    bounds: jax.Array
    rows: jax.Array  # Of each pick of this call its row in the set.
    gains: jax.Array
    increases: jax.Array | None  # None if they are the gains.
    goes_on: jax.Array  # Whether the last pick was made, and was not the last of all.


def _all_within(
    rule: GainRule,
    measure: Measure,
    state: SelectionState,
    work: WorkingSet,
    picks: Picks,
    stop: jax.Array,
    start: jax.Array,
) -> tuple[SelectionState, WorkingSet, Picks]:
    """All picks that the set gives, up to `stop`."""
    best_of = partial(_full if work.size.full else _lazily, rule, measure, work)
    length = picks.records.shape[0]

    def pick(now: _Within) -> _Within:
        inside = dataclasses.replace(
            state,
            z=now.z,
            table=now.table,
            count=now.in_all,
            left=now.left,
            records=work.pages.records,
            first=work.ids,  # Of no use here, and of the right shape.
            work=None,
        )
        best, bounds = best_of(inside, now.bounds)
        # As long as it is worth more than all that is outside.
        is_best = (best.worth > work.limit) & now.goes_on
        best = best._replace(record=jnp.where(is_best, best.page, EMPTY))
        then, one = move_to_selection(rule, measure, work.pages, inside, best, stop, jnp.int32(0))
        made = one.records >= 0
        place = jnp.where(made, now.in_all - start, length)
        more = None
        if now.increases is not None:
            more = now.increases.at[place].set(one.increases, mode="drop")
        return _Within(
            then.z,
            then.table,
            jnp.asarray(then.count),
            then.left,
            bounds.at[jnp.where(made, best.page, bounds.shape[0])].set(TAKEN, mode="drop"),
            now.rows.at[place].set(best.page, mode="drop"),
            now.gains.at[place].set(one.gains, mode="drop"),
            more,
            made & (then.count < stop),
        )

    def some(now: _Within) -> _Within:
        # A loop of known length needs no word from the host of an accelerator.
        if not work.size.full:
            return pick(now)
        return lax.scan(lambda now, _: (pick(now), None), now, length=_PICKS_A_ROUND)[0]

    count = jnp.asarray(state.count)
    begin = _Within(
        state.z,
        state.table,
        count,
        state.left,
        work.bounds,
        jnp.zeros(length, jnp.int32),
        picks.gains,
        None if rule.is_exact else picks.increases,
        ~work.used & (count < stop),
    )
    now = lax.while_loop(lambda now: now.goes_on, some, begin)
    ranks = jnp.arange(length, dtype=jnp.int32) + start
    here = (ranks >= count) & (ranks < now.in_all)
    picks = Picks(
        records=jnp.where(here, work.ids[now.rows], picks.records),
        parts=jnp.where(here, work.parts[now.rows], picks.parts),
        gains=now.gains,
        increases=now.gains if now.increases is None else now.increases,
        pages_read=jnp.where(here & (ranks == count), work.unreported, picks.pages_read),
    )
    state = dataclasses.replace(state, z=now.z, table=now.table, count=now.in_all, left=now.left)
    work = dataclasses.replace(
        work,
        bounds=now.bounds,
        picks=work.picks + (now.in_all - count),
        unreported=jnp.where(now.in_all > count, 0, work.unreported),
    )
    return state, work, picks


class _Search(NamedTuple):
    """Where the search for one pick in the set stands."""

    unread: jax.Array  # Bounds [groups, side] of the rows not read, −1 of the others.
    tops: jax.Array  # The largest of each group.
    bounds: jax.Array  # Of all rows.
    worth: jax.Array  # Of the best row read.
    row: jax.Array  # The lowest of the best.
    gain: jax.Array | None  # None if it is the worth.


def _lazily(
    rule: GainRule,
    measure: Measure,
    work: WorkingSet,
    inside: SelectionState,
    bounds: Float[jax.Array, " rows"],
) -> tuple[Best, Float[jax.Array, " rows"]]:
    """The best row of the set, read row by row as `search` reads page by page; and new bounds."""
    pages, left = work.pages, inside.left
    now, ever = (None, None) if left is None else most_costs(left)

    def read(carry: _Search) -> _Search:
        group = first_largest(carry.tops)
        of_group = carry.unread[group]
        place = first_largest(of_group)
        row = group * of_group.shape[0] + place
        gain = row_gain(rule, measure, inside.table.gains, pages, work.widths_log2, row)
        # None is picked already: these have no bound above 0.
        here = pages.page(row, pages.records)
        worth = worths_of_rows(left, now, here, gain[None])[0]
        bound = worths_of_rows(left, ever, here, gain[None])[0] * (1 + SLACK)
        better = (worth > carry.worth) | ((worth == carry.worth) & (row < carry.row))
        of_group = of_group.at[place].set(-1)
        return _Search(
            unread=carry.unread.at[group].set(of_group),
            tops=carry.tops.at[group].set(jnp.max(of_group)),
            bounds=carry.bounds.at[row].set(bound),
            worth=jnp.where(better, worth, carry.worth),
            row=jnp.where(better, row, carry.row),
            gain=None if carry.gain is None else jnp.where(better, gain, carry.gain),
        )

    def unsettled(carry: _Search) -> jax.Array:
        top = jnp.max(carry.tops)
        return (top >= carry.worth) & (top > 0)

    unread, nothing = grouped(bounds), jnp.asarray(-1, bounds.dtype)
    gain = None if pages.costs is None else nothing
    last = jnp.int32(bounds.shape[0] - 1)
    found = lax.while_loop(
        unsettled,
        read,
        _Search(unread, jnp.max(unread, axis=1), bounds, nothing, last, gain),
    )
    return _best(found.worth, found.row, found.gain), found.bounds


def _best(worth: jax.Array, row: jax.Array, gain: jax.Array | None) -> Best:
    return Best(worth, row, row, jnp.int32(0), EMPTY, gain)


def _full(
    rule: GainRule,
    measure: Measure,
    work: WorkingSet,
    inside: SelectionState,
    bounds: Float[jax.Array, " rows"],
) -> tuple[Best, Float[jax.Array, " rows"]]:
    """The same, after computing the gains of all rows at once, as an accelerator does best."""
    pages, left = work.pages, inside.left
    gains = row_gains(rule, measure, inside.table.gains, pages.labels, pages.values)
    records = jnp.where(bounds == TAKEN, EMPTY, pages.records)
    pages = dataclasses.replace(pages, records=records)
    gains = jnp.where(records == EMPTY, -1, gains)
    now, ever = (None, None) if left is None else most_costs(left)
    worths = worths_of_rows(left, now, pages, gains)
    row = jnp.argmax(worths).astype(jnp.int32)
    gain = None if pages.costs is None else gains[row]
    bounds = jnp.where(
        bounds == TAKEN,
        TAKEN,
        worths_of_rows(left, ever, pages, gains) * (1 + SLACK),
    )
    return _best(worths[row], row, gain), bounds
