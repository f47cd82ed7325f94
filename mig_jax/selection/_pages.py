"""The propagated pool in pages on the device: their contents, and the sums of their rows."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Float, Int

from mig_jax.measure import Array, LabelGraph, Measure, Pool, as_pytree, propagation_weights
from mig_jax.selection._page_layout import EMPTY, NARROWEST_LOG2, ExtraSlots, PageLayout

__all__ = ["Pages", "fill_pages", "page_sums", "row_of_slot", "row_sums"]


@as_pytree
class Pages:
    """The propagated pool: n pages of a fixed area, a power of two."""

    labels: Int[jax.Array, "pages area"]  #: Label of each slot, 0 if the slot is empty.
    values: Float[jax.Array, "pages area"]  #: Propagated information ê, 0 if empty.
    records: Int[jax.Array, "pages rows"]  #: Record of each row, EMPTY if there is none.
    width_log2: Int[jax.Array, " pages"]  #: log2 of the slots a row of this page has.
    costs: Int[Array, "pages rows"] | None = None  #: Of each row's record, if they are limited.
    groups: Int[Array, "pages rows"] | None = None  #: Of each row's record, under quotas.

    @property
    def num_pages(self) -> int:
        return int(self.labels.shape[0])


@jax.jit
def _fill(
    entries: Int[jax.Array, "pages area"],
    records: Int[jax.Array, "pages rows"],
    width_log2: Int[jax.Array, " pages"],
    more: tuple[ExtraSlots, ...],
    scores: Float[jax.Array, " records"],
    weights: Float[jax.Array, " weights"],
) -> Float[jax.Array, "pages area"]:
    values = weights[entries]
    for page, slot, entry in more:
        values = values.at[page, slot].add(weights[entry], unique_indices=True)
    rows = row_of_slot(entries.shape[1], width_log2)
    of_rows = jnp.where(records == EMPTY, 0, scores[jnp.where(records == EMPTY, 0, records)])
    # Bounds unchecked, the multiplication needs no space but its result's.
    return values * jnp.take_along_axis(of_rows, rows, axis=1, mode="promise_in_bounds")


def fill_pages(layout: PageLayout, pool: Pool, graph: LabelGraph, measure: Measure) -> Pages:
    """Computes ê in every slot: pure and differentiable in the measure's α."""
    kept, carried = propagation_weights(graph, measure.propagation)
    weights = jnp.concatenate([kept, carried, jnp.zeros(1, kept.dtype)])
    scores = jnp.asarray(pool.scores)
    if not scores.size:
        scores = jnp.zeros(1)
    values = _fill(layout.entries, layout.records, layout.width_log2, layout.more, scores, weights)
    # If the device is the host, it uses the layout's own arrays, which nobody changes.
    labels, records, width_log2 = jax.device_put(
        (layout.labels, layout.records, layout.width_log2), may_alias=True
    )
    return Pages(labels, values, records, width_log2)


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
