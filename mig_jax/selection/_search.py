"""The search for the next pick among the pages of one device: which are read, and what is best.

A page is read only if its bound says that it may hold a better record than the best one read.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float, Int

from mig_jax.measure import Count, GainRule, Measure
from mig_jax.selection._allowance import (
    Allowance,
    MostCosts,
    allowed_rows,
    due_rows,
    fills_up,
    worths,
)
from mig_jax.selection._page_gains import page_gains
from mig_jax.selection._page_layout import EMPTY
from mig_jax.selection._pages import Page, Pages
from mig_jax.selection._selection_state import SelectionState

__all__ = [
    "SLACK",
    "Best",
    "Journal",
    "choose",
    "first_largest",
    "in_page",
    "lowest_allowed",
    "lowest_left",
    "search",
    "worths_of_rows",
]

# Rounding can make a recomputed gain a few units in the last place larger than
# an older one. Bounds are raised by this much, so that laziness stays exact.
SLACK = 1e-5


class Best(NamedTuple):
    """The best record known to be current, and where it stands."""

    worth: jax.Array
    record: jax.Array | np.int32
    page: jax.Array
    row: jax.Array
    next: jax.Array | np.int32  # The lowest record that its page keeps.
    gain: jax.Array | None = None  # None if it is the worth.


class Journal(NamedTuple):
    """Which pages a pick has read, in order, and their new bounds: only the first entries count."""

    pages: Int[jax.Array, " pages"]
    bounds: Float[jax.Array, " pages"]


class _Search(NamedTuple):
    """Where the search for one pick stands; the comment in `search` has the invariant."""

    bounds: jax.Array
    tops: jax.Array
    journal: Journal
    best: Best
    read: jax.Array


def worths_of_rows(
    left: Allowance | None,
    most: jax.Array | None,
    rows: Page | Pages,
    gains: jax.Array,
) -> jax.Array:
    """What the records of rows are compared by; −1 if none may be picked."""
    if left is None or most is None:
        return gains
    allowed = allowed_rows(most, rows.records, rows.costs, rows.groups)
    return worths(left, gains, allowed, rows.costs, rows.groups)


def search(
    rule: GainRule,
    measure: Measure,
    pages: Pages,
    state: SelectionState,
    journal: Journal,
    budget: Count,
    most: MostCosts | None,
) -> _Search:
    """Reads pages until no unread one can hold a better record than the best one read."""

    # Invariant: a page is either read, with a bound of −1 and its best gain no better than `best`,
    # or unread, with no gain above its bound. `tops` is the largest bound of each group.
    # Pages bounded by 0 need no reading: their gains are 0 and stay 0.
    def unsettled(carry: _Search) -> jax.Array:
        top = jnp.max(carry.tops)
        return (top >= carry.best.worth) & (top > 0) & (state.count < budget)

    def read_page(carry: _Search) -> _Search:
        group = first_largest(carry.tops)
        bounds = carry.bounds[group]
        place = first_largest(bounds)
        page = group * bounds.shape[0] + place
        here = pages.page(page, state.records)
        gains = page_gains(rule, measure, state.table.gains, here)
        now, ever = (None, None) if most is None else most
        compared = worths_of_rows(state.left, now, here, gains)
        worth = jnp.max(compared)
        bound = jnp.max(worths_of_rows(state.left, ever, here, gains))
        record = jnp.min(jnp.where(compared == worth, here.records, EMPTY))
        best = carry.best
        better = (worth > best.worth) | ((worth == best.worth) & (record < best.record))
        found = in_page(worth, record, here.records, page)
        if pages.costs is not None:
            found = found._replace(gain=gains[found.row])
        bounds = bounds.at[place].set(-1)
        journal = Journal(
            carry.journal.pages.at[carry.read].set(page),
            carry.journal.bounds.at[carry.read].set(bound * (1 + SLACK)),
        )
        return _Search(
            bounds=carry.bounds.at[group].set(bounds),
            tops=carry.tops.at[group].set(jnp.max(bounds)),
            journal=journal,
            best=choose(better, found, best),
            read=carry.read + 1,
        )

    zero = jnp.int32(0)
    worthless = jnp.asarray(-1, state.z.dtype)
    none = Best(worthless, EMPTY, zero, zero, EMPTY, None if pages.costs is None else worthless)
    start = _Search(state.bounds, state.tops, journal, none, zero)
    found = lax.while_loop(unsettled, read_page, start)

    def put_back(i: jax.Array, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        bounds, tops = carry
        group, place = jnp.divmod(found.journal.pages[i], bounds.shape[1])
        bound = found.journal.bounds[i]
        return bounds.at[group, place].set(bound), tops.at[group].max(bound)

    bounds, tops = lax.fori_loop(0, found.read, put_back, (found.bounds, found.tops))
    return found._replace(bounds=bounds, tops=tops)


def lowest_left(pages: Pages, state: SelectionState) -> Best:
    """The lowest record left, as one that gains nothing."""
    page = jnp.argmin(state.first).astype(jnp.int32)
    records = pages.rows_of(state.records, page, EMPTY)
    return in_page(jnp.zeros((), state.z.dtype), state.first[page], records, page)


def lowest_allowed(
    pages: Pages, state: SelectionState, left: Allowance, most: MostCosts, idle: jax.Array
) -> tuple[Best, SelectionState]:
    """The lowest record to pick though it gains nothing, if `idle` and if there is one.

    Pages are looked at by `first`, which bounds their lowest record from below, until none that
    is left can have a lower one than the best.
    """
    nothing, zero = jnp.zeros((), state.z.dtype), jnp.int32(0)
    gain = None if pages.costs is None else nothing

    class Look(NamedTuple):
        first: jax.Array
        last: jax.Array  # The page looked at last had this bound.
        best: Best
        settled: jax.Array

    def look(carry: Look) -> Look:
        bounds = jnp.where(carry.first > carry.last, carry.first, EMPTY)
        page = jnp.argmin(bounds).astype(jnp.int32)
        here = pages.page(page, state.records)
        due = due_rows(left, here.groups)
        lowest, bound = (
            jnp.min(
                jnp.where(
                    allowed_rows(limit, here.records, here.costs, here.groups) & due,
                    here.records,
                    EMPTY,
                )
            )
            for limit in most
        )
        found = in_page(nothing, lowest, here.records, page)._replace(gain=gain)
        return Look(
            carry.first.at[page].set(bound),
            bounds[page],
            choose(lowest < carry.best.record, found, carry.best),
            bounds[page] >= carry.best.record,
        )

    wanted = idle & (fills_up(left) | jnp.any(left.due > 0))
    none = Best(nothing, EMPTY, zero, zero, EMPTY, gain)
    start = Look(state.first, jnp.int32(-1), none, ~wanted)
    end = lax.while_loop(lambda carry: ~carry.settled, look, start)
    return end.best, dataclasses.replace(state, first=end.first)


def first_largest(values: jax.Array) -> jax.Array:
    """`argmax`, as two reductions that vectorise: three times its speed on a CPU."""
    places = jnp.arange(values.shape[0], dtype=jnp.int32)
    return jnp.min(jnp.where(values == jnp.max(values), places, values.shape[0] - 1))


def in_page(worth: jax.Array, record: jax.Array, records: jax.Array, page: jax.Array) -> Best:
    """A record as the best one, with its row in its page and the lowest record beside it."""
    row = jnp.argmax(records == record).astype(jnp.int32)
    return Best(worth, record, page, row, jnp.min(jnp.where(records == record, EMPTY, records)))


def choose(first: jax.Array, a: Best, b: Best) -> Best:
    return jax.tree_util.tree_map(lambda x, y: jnp.where(first, x, y), a, b)
