"""The propagated pool in pages on the device: their contents, and the sums of their rows."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float, Int, Integer

from mig_jax.measure import Array, LabelGraph, Measure, Pool, as_pytree, propagation_weights
from mig_jax.selection._page_layout import EMPTY, NARROWEST_LOG2, ExtraSlots, PageLayout

__all__ = ["Page", "Pages", "fill_pages", "page_sums", "row_of_slot", "row_sums"]


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
