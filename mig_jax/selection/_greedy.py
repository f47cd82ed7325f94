"""Greedy selection as a `lax.scan` over picks: a full scan, and the same picks lazily.

Both keep z (what each label holds) and choose the record with the largest
marginal gain, the lowest index among equals. Because every φ is concave, a
gain computed earlier bounds today's from above. The lazy selection keeps one
such bound a page and recomputes only pages whose bound reaches the best gain
known to be current, or takes the records of many pages out together
(`_working_set`).

Under constraints (`Allowance`) records are compared by their worth: the gain, or
the gain over the cost. What may be picked at any later time only becomes less, so
that a bound on the worth of those records of a page stays one.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh
from jaxtyping import Float

from mig_jax.devices import REPLICATED, SHARDED, num_parts, over_shards
from mig_jax.measure import Array, Count, GainRule, Measure, prepare
from mig_jax.selection._allowance import Allowance, allowed_rows, due_rows, most_costs
from mig_jax.selection._page_gains import page_gains
from mig_jax.selection._page_layout import EMPTY
from mig_jax.selection._page_pick import journal_of, move_to_selection, pick_from_pages
from mig_jax.selection._pages import Pages
from mig_jax.selection._search import Journal, in_page, worths_of_rows
from mig_jax.selection._selection_state import Picks, SelectionState, SetSize, state_specs
from mig_jax.selection._set_picks import picks_by_set
from mig_jax.selection._working_set import grouped, no_set, over_pages, worths_of_page

__all__ = ["full_scan_greedy", "initial_state", "lazy_greedy"]


# Compiled so that parameters are float32 from the start, as in every later step: with Python
# floats, `exponent - 1` would be rounded once, and not twice, and the first pick could differ.
@partial(jax.jit, static_argnames=("rule", "mesh", "size"))
def initial_state(
    rule: GainRule,
    measure: Measure,
    pages: Pages,
    z: Float[Array, " labels"],
    mesh: Mesh | None = None,
    left: Allowance | None = None,
    size: SetSize | None = None,
) -> SelectionState:
    """The state before the first pick, for z: zeros, or what is held already.

    `mesh` is that of the pages, if they are sharded; `left` is what may be picked, if that is
    limited: the pages then tell costs and groups of their rows. `size` is that of the working
    set that `lazy_greedy` is to use, from `set_size`; None for none.
    """
    if size is not None:
        size = size.within(pages, 1 if mesh is None else mesh.size)
    specs = (REPLICATED, SHARDED, REPLICATED, REPLICATED)
    start = over_shards(partial(_start, rule, size), mesh, specs, state_specs(size))
    return start(measure, pages, jnp.asarray(z), left)


def _start(
    rule: GainRule,
    size: SetSize | None,
    measure: Measure,
    pages: Pages,
    z: jax.Array,
    left: Allowance | None,
) -> SelectionState:
    table = prepare(rule, measure, z)
    records = jnp.copy(pages.records)  # The pages' own stay, where the state is given away.

    def of_page(page: jax.Array) -> tuple[jax.Array, jax.Array]:
        worths = worths_of_page(rule, measure, pages, records, table, left, page)
        return jnp.max(worths), jnp.min(pages.rows_of(records, page, EMPTY))

    numbers = jnp.arange(pages.num_pages, dtype=jnp.int32)
    found, first = over_pages(of_page, numbers, size)
    bounds = grouped(found)
    return SelectionState(
        z=z,
        table=table,
        records=records,
        first=first,
        bounds=bounds,
        tops=jnp.max(bounds, axis=1),
        count=jnp.int32(0),
        left=left,
        work=None if size is None else no_set(pages, z, size),
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

    Raises:
      ValueError: if the state has a working set, which a full scan knows nothing of.
    """
    if state.work is not None:
        raise ValueError("a full scan takes a state without a working set")

    def pick(state: SelectionState, _: None) -> tuple[SelectionState, Picks]:
        here = pages.together(state.records)
        gains = jax.vmap(partial(page_gains, rule, measure, state.table.gains))(here)
        most = None if state.left is None else most_costs(state.left).now
        compared = worths_of_rows(state.left, most, here, gains)
        worth = jnp.max(compared)
        record = jnp.min(jnp.where(compared == worth, here.records, EMPTY))
        if state.left is not None and most is not None:
            rows = allowed_rows(most, here.records, here.costs, here.groups)
            due = rows & due_rows(state.left, here.groups)
            lowest = jnp.min(jnp.where(due, here.records, EMPTY))
            worth, record = jnp.maximum(worth, 0), jnp.where(worth > 0, record, lowest)
        page = jnp.argmax(jnp.any(here.records == record, axis=1)).astype(jnp.int32)
        best = in_page(worth, record, here.records[page], page)
        if pages.costs is not None:
            best = best._replace(gain=jnp.maximum(gains[page, best.row], 0))
        return move_to_selection(
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
    device and the row of the record chosen; or nothing, if the state has a working
    set, of which the devices exchange the records once. Picks are those of one
    device, bit for bit: a gain depends on its row and on z only.
    """
    devices_a_part = None if mesh is None else mesh.size // num_parts(mesh)
    specs = state_specs(None if state.work is None else state.work.size)
    scan = over_shards(
        partial(_scan_lazily, rule, length, devices_a_part),
        mesh,
        (REPLICATED, SHARDED, specs, REPLICATED),
        (specs, REPLICATED),
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
    if state.work is not None:
        return picks_by_set(rule, measure, pages, state, budget, length, devices_a_part)

    def pick(
        carry: tuple[SelectionState, Journal], _: None
    ) -> tuple[tuple[SelectionState, Journal], Picks]:
        state, journal, picks = pick_from_pages(
            rule, measure, pages, *carry, budget, devices_a_part
        )
        return (state, journal), picks

    (state, _), picks = lax.scan(pick, (state, journal_of(pages, state)), length=length)
    return state, picks
