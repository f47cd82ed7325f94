"""The propagated pool in pages on the device: their contents, and the sums of their rows."""

from __future__ import annotations

import dataclasses
import itertools
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float, Int, Integer

from mig_jax.devices import ahead_in_threads
from mig_jax.measure import Array, LabelGraph, Measure, Pool, as_pytree, propagation_weights
from mig_jax.selection._page_layout import (
    EMPTY,
    NARROWEST_LOG2,
    ExtraSlots,
    PageLayout,
    PagePlan,
    empty_aligned,
)

__all__ = ["Page", "Pages", "fill_pages", "page_sums", "pages_of", "row_of_slot", "row_sums"]

_SLOTS_AT_ONCE = 1 << 19  # As `pages_of` fills pages.
_EXTRAS_AT_ONCE = 1 << 14


class Page(NamedTuple):
    """One page, or several of them with a leading axis."""

    labels: Integer[jax.Array, "*pages area"]
    values: Float[jax.Array, "*pages area"]
    records: Int[jax.Array, "*pages page_rows"]  #: EMPTY behind the rows that the page has.
    width_log2: Int[jax.Array, "*pages"]
    costs: Int[jax.Array, "*pages page_rows"] | None
    groups: Int[jax.Array, "*pages page_rows"] | None


@as_pytree
class Pages:
    """The propagated pool: n pages of a fixed area, a power of two.

    Rows stand one after the other, page after page, as many of a page as there are in it: pages
    of wide rows have few. Behind the last are so many EMPTY ones that a page's rows can be read
    as an array of `page_rows`, whichever page it is.
    """

    labels: Integer[jax.Array, "pages area"]  #: Label of each slot, 0 if the slot is empty.
    values: Float[jax.Array, "pages area"]  #: Propagated information ê, 0 if empty.
    records: Int[jax.Array, " rows"]  #: Record of each row, EMPTY if there is none.
    starts: Int[jax.Array, " pages"]  #: Where the rows of each page begin.
    width_log2: Int[jax.Array, " pages"]  #: log2 of the slots a row of this page has.
    page_rows: int = dataclasses.field(metadata={"static": True})  #: No page has more.
    costs: Int[Array, " rows"] | None = None  #: Of each row's record, if they are limited.
    groups: Int[Array, " rows"] | None = None  #: Of each row's record, under quotas.

    @property
    def num_pages(self) -> int:
        return int(self.labels.shape[0])

    def rows_of(
        self, rows: Int[Array, " rows"], page: Int[Array, ""], empty: int | np.int32 = 0
    ) -> Int[jax.Array, " page_rows"]:
        """What `rows` says of the rows of one page, and `empty` behind them."""
        found = lax.dynamic_slice_in_dim(
            jnp.asarray(rows), jnp.asarray(self.starts)[page], self.page_rows
        )
        count = self.labels.shape[1] >> jnp.asarray(self.width_log2)[page]
        return jnp.where(jnp.arange(self.page_rows) < count, found, empty)

    def page(self, page: Int[Array, ""], records: Int[Array, " rows"]) -> Page:
        """One page, with what is left of its records according to `records`."""
        labels, values, width_log2 = (
            lax.dynamic_index_in_dim(leaf, page, keepdims=False)
            for leaf in (self.labels, self.values, self.width_log2)
        )
        return Page(
            labels,
            values,
            self.rows_of(records, page, EMPTY),
            width_log2,
            None if self.costs is None else self.rows_of(self.costs, page),
            None if self.groups is None else self.rows_of(self.groups, page),
        )

    def together(self, records: Int[Array, " rows"]) -> Page:
        """All pages, with a leading axis: their rows need several times the space they have."""

        def padded(rows: Array, empty: int | np.int32) -> jax.Array:
            pages = jnp.arange(self.num_pages, dtype=jnp.int32)
            return jax.vmap(lambda page: self.rows_of(rows, page, empty))(pages)

        return Page(
            self.labels,
            self.values,
            padded(records, EMPTY),
            self.width_log2,
            None if self.costs is None else padded(self.costs, 0),
            None if self.groups is None else padded(self.groups, 0),
        )


@jax.jit
def _fill(
    entries: Int[jax.Array, "pages area"],
    records: Int[jax.Array, " rows"],
    starts: Int[jax.Array, " pages"],
    width_log2: Int[jax.Array, " pages"],
    more: tuple[ExtraSlots, ...],
    scores: Float[jax.Array, " records"],
    weights: Float[jax.Array, " weights"],
) -> Float[jax.Array, "pages area"]:
    values = weights[entries]
    for page, slot, entry in more:
        values = values.at[page, slot].add(weights[entry], unique_indices=True)
    rows = starts[:, None] + row_of_slot(entries.shape[1], width_log2)
    of_rows = jnp.where(records == EMPTY, 0, scores[jnp.where(records == EMPTY, 0, records)])
    # Bounds unchecked, the multiplication needs no space but its result's.
    return values * of_rows.at[rows].get(mode="promise_in_bounds")


def fill_pages(layout: PageLayout, pool: Pool, graph: LabelGraph, measure: Measure) -> Pages:
    """Computes ê in every slot: pure and differentiable in the measure's α."""
    kept, carried = propagation_weights(graph, measure.propagation)
    weights = jnp.concatenate([kept, carried, jnp.zeros(1, kept.dtype)])
    scores = jnp.asarray(pool.scores)
    if not scores.size:
        scores = jnp.zeros(1)
    # If the device is the host, it uses the layout's own arrays, which nobody changes.
    labels, records, starts, width_log2 = jax.device_put(
        (layout.labels, layout.records, layout.starts, layout.width_log2), may_alias=True
    )
    values = _fill(layout.entries, records, starts, width_log2, layout.more, scores, weights)
    return Pages(labels, values, records, starts, width_log2, layout.page_rows)


def pages_of(plan: PagePlan, pool: Pool, graph: LabelGraph, measure: Measure) -> Pages:
    """What `fill_pages` makes of the layout of a plan, without the layout, which takes much space.

    Pages are written and filled some at a time: beside what it gives, host and device hold the
    entries of some thousand pages. Every value is computed in the same steps, to the same bits.
    """
    kept, carried = propagation_weights(graph, measure.propagation)
    weights = jnp.concatenate([kept, carried, jnp.zeros(1, kept.dtype)])
    scores = np.asarray(pool.scores)
    scores = scores.astype(jax.dtypes.canonicalize_dtype(scores.dtype), copy=False)
    labels = empty_aligned((plan.num_pages, plan.area), plan.label_kind)
    values = jnp.zeros(labels.shape, jnp.result_type(weights, scores))
    at_once = min(max(_SLOTS_AT_ONCE // plan.area, 1), plan.num_pages)
    # All parts have one shape: the last may begin with pages of the one before.
    firsts = [*range(0, plan.num_pages - at_once, at_once), plan.num_pages - at_once]
    for part in ahead_in_threads(partial(_part, plan, scores, labels, at_once), firsts):
        found = _weights_of(weights, part.entries)
        for slots, entries in part.more:
            found = _with_extras(found, weights, slots, entries)
        values = _with_part(values, found, part.scores, part.width_log2, part.first)
        values.block_until_ready()  # Else many parts would wait to be taken in.
    # If the device is the host, it uses these arrays, which nobody changes.
    whole = labels, plan.records, plan.starts, plan.width_log2
    labels, records, starts, width_log2 = jax.device_put(whole, may_alias=True)
    return Pages(labels, values, records, starts, width_log2, plan.page_rows)


class _Part(NamedTuple):
    """Some pages as the device is given them: of all parts the arrays have the same shapes."""

    first: np.ndarray  # Number of the first page.
    entries: Int[np.ndarray, "pages area"]
    scores: Float[np.ndarray, "pages page_rows"]  # 0 behind the rows that a page has.
    width_log2: Int[np.ndarray, " pages"]
    # Slots, by their place in all of these pages, and entries to add; none twice in one of these.
    more: list[tuple[Int[np.ndarray, " extras"], Int[np.ndarray, " extras"]]]


def _part(
    plan: PagePlan,
    scores: Float[np.ndarray, " records"],
    labels: Integer[np.ndarray, "pages area"],
    count: int,
    first: int,
) -> _Part:
    """`count` pages from the first; writes their labels to those of all pages."""
    entries = np.empty((count, plan.area), np.int32)
    found = []
    for start, stop in plan.blocks(first, first + count):
        here = slice(start - first, stop - first)
        found.append(plan.write(start, stop, labels[start:stop], entries[here]))
    more: list[tuple[np.ndarray, np.ndarray]] = []
    for parts in itertools.zip_longest(*found, fillvalue=(np.zeros(0, np.int32),) * 3):
        pages, slots, extra = map(np.concatenate, zip(*parts, strict=True))
        places = (pages - first) * plan.area + slots
        missing = -len(places) % _EXTRAS_AT_ONCE
        # What fills up has no place among the slots, and is dropped.
        places = np.append(places, entries.size + np.arange(missing)).astype(np.int32)
        extra = np.append(extra, np.zeros(missing, np.int32))
        batches = len(places) // _EXTRAS_AT_ONCE
        more += zip(np.split(places, batches), np.split(extra, batches), strict=True)
    records, page, row = plan.records_of(first, first + count)
    of_rows = np.zeros((count, plan.page_rows), scores.dtype)
    is_record = records != EMPTY
    of_rows[page[is_record], row[is_record]] = scores[records[is_record]]
    widths = plan.width_log2[first : first + count]
    return _Part(np.array(first, np.int32), entries, of_rows, widths, more)


@jax.jit
def _weights_of(
    weights: Float[jax.Array, " weights"], entries: Int[jax.Array, "pages area"]
) -> Float[jax.Array, "pages area"]:
    return weights[entries]


@partial(jax.jit, donate_argnums=0)
def _with_extras(
    values: Float[jax.Array, "pages area"],
    weights: Float[jax.Array, " weights"],
    places: Int[jax.Array, " extras"],
    entries: Int[jax.Array, " extras"],
) -> Float[jax.Array, "pages area"]:
    flat = values.reshape(-1)
    flat = flat.at[places].add(weights[entries], unique_indices=True, mode="drop")
    return flat.reshape(values.shape)


@partial(jax.jit, donate_argnums=0)
def _with_part(
    values: Float[jax.Array, "all_pages area"],
    part: Float[jax.Array, "pages area"],
    scores: Float[jax.Array, "pages page_rows"],
    width_log2: Int[jax.Array, " pages"],
    first: Int[jax.Array, ""],
) -> Float[jax.Array, "all_pages area"]:
    rows = row_of_slot(part.shape[1], width_log2)
    of_slots = jnp.take_along_axis(scores, rows, axis=1, mode="promise_in_bounds")
    return lax.dynamic_update_slice_in_dim(values, part * of_slots, first, axis=0)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def page_sums(
    slots: Float[jax.Array, " area"], width_log2: Int[jax.Array, ""], rows: int
) -> Float[jax.Array, " rows"]:
    """Sums the slots of each row of one page; differentiable in reverse mode.

    Args:
      slots: of one page.
      width_log2: log2 of the slots a row has.
      rows: static, the most rows a page holds: area / 4.

    Returns:
      A sum for each row; places past the page's rows hold sums that mean nothing.
    """
    # A program for each width on a CPU: outside of it, XLA would fuse the additions with what
    # computes the slots, and compute each slot again for every level (8 times slower).
    return lax.platform_dependent(
        slots, width_log2, cpu=partial(_sums_by_branch, rows), default=partial(_sums, rows)
    )


def _sums_by_branch(rows: int, slots: jax.Array, width_log2: jax.Array) -> jax.Array:
    def of_width(width_log2: int, slots: jax.Array) -> jax.Array:
        for _ in range(width_log2):
            half = slots.shape[0] // 2
            slots = slots[:half] + slots[half:]
        return jnp.pad(slots[:rows], (0, max(rows - slots.shape[0], 0)))

    widest = slots.shape[0].bit_length() - 1
    branches = [partial(of_width, width) for width in range(NARROWEST_LOG2, widest + 1)]
    return lax.switch(width_log2 - NARROWEST_LOG2, branches, slots)


def _sums(rows: int, slots: jax.Array, width_log2: jax.Array) -> jax.Array:
    """The sums of all widths, each from those before it, and of these the ones asked for."""
    found = slots[:rows]
    for width in range(1, slots.shape[0].bit_length()):
        half = slots.shape[0] // 2
        slots = slots[:half] + slots[half:]
        sums = jnp.pad(slots[:rows], (0, max(rows - half, 0)))
        found = jnp.where(width_log2 == width, sums, found)
    return found


def row_sums(slots: Float[jax.Array, "*n width"]) -> Float[jax.Array, "*n"]:
    """Sums the slots of each row, the upper half onto the lower one, as `page_sums` does."""
    while slots.shape[-1] > 1:
        half = slots.shape[-1] // 2
        slots = slots[..., :half] + slots[..., half:]
    return slots[..., 0]


def row_of_slot(area: int, width_log2: Int[Array, "*pages"]) -> Int[jax.Array, "*pages area"]:
    """The row that each slot of a page belongs to, or of each of several pages."""
    rows = area >> jnp.asarray(width_log2)
    return jnp.arange(area) & (rows[..., None] - 1)


def _page_sums_forward(
    slots: jax.Array, width_log2: jax.Array, rows: int
) -> tuple[jax.Array, tuple[jax.Array, int]]:
    return page_sums(slots, width_log2, rows), (width_log2, slots.shape[0])


def _page_sums_backward(
    rows: int, kept: tuple[jax.Array, int], cotangent: jax.Array
) -> tuple[jax.Array, None]:
    width_log2, area = kept
    return cotangent[row_of_slot(area, width_log2)], None


page_sums.defvjp(_page_sums_forward, _page_sums_backward)
