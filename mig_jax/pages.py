"""Propagated records laid out in pages: equal areas that hold many short rows or few long ones.

The propagated information ê_d of a record (Eq. 7) reaches few labels, but how
many differs a hundredfold between records. Padding every row to the longest
would waste most of the work, so rows are padded to the next power of two and
rows of one width share pages of a fixed area: a page of area 512 holds 64 rows
of width 8, or 4 rows of width 128. Slot s of row r stands at position
s · rows + r, so that adding the upper half of a page to its lower half, again
and again, ends with one sum a row. The order of additions depends only on the
row itself: gains are the same, bit for bit, in whatever page a row stands.

Slots of a row stand in the order of the similarity that reaches them, its own
labels first. Where a graph loses its weakest edges, what is left of a row is
therefore its beginning, and zeros behind it change no sum: with edges gated at
a threshold, gains are those of a layout made for that threshold, bit for bit.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mig_jax.information import Measure
from mig_jax.label_graph import LabelGraph, propagation_weights
from mig_jax.pool import Array, Pool

__all__ = [
    "EMPTY",
    "PageLayout",
    "Pages",
    "deal_pages",
    "fill_pages",
    "lay_out_pages",
    "page_sums",
    "row_of_slot",
]

# Stands where a page has no record. Larger than any index, so a minimum passes over it.
EMPTY = np.int32(2**31 - 1)

_NARROWEST_LOG2 = 2  # Rows of fewer than four slots are not worth a width of their own.


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Pages:
    """The propagated pool: n pages of a fixed area, a power of two."""

    labels: Array  #: int32 [n, area]: label of each slot, 0 where the slot is empty.
    values: Array  #: float32 [n, area]: propagated information ê, 0 where empty.
    records: Array  #: int32 [n, rows]: record of each row, EMPTY where there is none.
    width_log2: Array  #: int32 [n]: log2 of the slots a row of this page has.

    @property
    def num_pages(self) -> int:
        return int(self.labels.shape[0])


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class PageLayout:
    """Where every nonzero of the propagated pool goes; depends on the graph's edges only.

    A slot's value is s_d times a sum over entries of the propagation matrix A
    (Eq. 6), named by their place in [diagonal | edges | 0]. Most slots need one
    entry. The few that two or more labels of a record reach need more: round r
    of `more` names each slot's r-th extra entry, and no slot twice, so that
    adding it is deterministic on every device.
    """

    labels: Array  #: int32 [n, area]
    entries: Array  #: int32 [n, area]: first entry of A.
    records: Array  #: int32 [n, rows]
    width_log2: Array  #: int32 [n]
    more: tuple[tuple[Array, Array, Array], ...]  #: page, slot, entry of A.

    @property
    def num_pages(self) -> int:
        return len(self.labels)

    @property
    def area(self) -> int:
        return int(self.labels.shape[1])


def lay_out_pages(
    pool: Pool, graph: LabelGraph, *, priority: Any = None, area: int = 512
) -> PageLayout:
    """Lays out the propagated rows of a pool on the host.

    Args:
      pool: P records.
      graph: K labels; every label id of the pool is below K.
      priority: float [P]; records with a high one stand together in the first
        pages of their width, which makes lazy evaluation fast. Never changes
        what is selected.
      area: slots a page has; raised to the width of the longest row.

    Raises:
      ValueError: where a label id is not in the graph, or `area` is not a power of two.
    """
    if area < 1 << _NARROWEST_LOG2 or area & (area - 1):
        raise ValueError(f"area must be a power of two of at least 4, got {area}")
    labels = np.asarray(pool.labels)
    if labels.size and labels.max() >= graph.num_labels:
        raise ValueError(f"label id {labels.max()} is not in a graph of {graph.num_labels} labels")
    rows = _propagated_rows(pool, graph)
    lengths = np.diff(rows.starts)
    widths = np.maximum(_ceil_log2(lengths), _NARROWEST_LOG2)
    area = max(area, 1 << int(widths.max(initial=_NARROWEST_LOG2)))
    order = np.arange(pool.num_records)
    if priority is not None:
        order = np.argsort(-np.asarray(priority), kind="stable")
    page_of = np.zeros(pool.num_records, np.int32)
    row_of = np.zeros(pool.num_records, np.int32)
    parts = []
    pages = 0
    for width in np.unique(widths) if len(widths) else [_NARROWEST_LOG2]:
        members = order[widths[order] == width]
        page_of[members] = pages + np.arange(len(members)) // (area >> width)
        row_of[members] = np.arange(len(members)) % (area >> width)
        parts.append(_pages_of_width(rows, members, int(width), area))
        pages += len(parts[-1][0])
    more = []
    for nonzeros, entries in rows.more:
        record = np.searchsorted(rows.starts, nonzeros, side="right") - 1
        slot = (nonzeros - rows.starts[record]) * (area >> widths[record]) + row_of[record]
        more.append((page_of[record], slot.astype(np.int32), entries))
    labels, entries, record_rows, width_log2 = map(np.concatenate, zip(*parts, strict=True))
    return PageLayout(labels, entries, record_rows, width_log2, tuple(more))


def deal_pages(layout: PageLayout, shards: int, pages_a_shard: int) -> list[PageLayout]:
    """Deals the pages to shards in turn, and adds empty ones until each has `pages_a_shard`."""

    def deal(shard: int) -> PageLayout:
        own = slice(shard, None, shards)
        missing = pages_a_shard - len(layout.labels[own])

        def part(array: np.ndarray, empty: int) -> np.ndarray:
            added = np.full((missing, *array.shape[1:]), empty, array.dtype)
            return np.concatenate([array[own], added])

        more = []
        for page, slot, entry in layout.more:
            here = page % shards == shard
            more.append((page[here] // shards, slot[here], entry[here]))
        return PageLayout(
            part(layout.labels, 0),
            part(layout.entries, 0),
            part(layout.records, int(EMPTY)),
            part(layout.width_log2, _NARROWEST_LOG2),
            tuple(more),
        )

    return [deal(shard) for shard in range(shards)]


@jax.jit
def _fill(
    entries: Array, records: Array, width_log2: Array, more: Any, scores: Array, weights: Array
) -> jax.Array:
    values = weights[entries]
    for page, slot, entry in more:
        values = values.at[page, slot].add(weights[entry], unique_indices=True)
    rows = row_of_slot(entries.shape[1], width_log2)
    record = jnp.take_along_axis(records, rows, axis=1)
    return values * jnp.where(record == EMPTY, 0, scores[jnp.where(record == EMPTY, 0, record)])


def fill_pages(layout: PageLayout, pool: Pool, graph: LabelGraph, measure: Measure) -> Pages:
    """Computes ê in every slot: pure and differentiable in the measure's α."""
    kept, carried = propagation_weights(graph, measure.propagation)
    weights = jnp.concatenate([kept, carried, jnp.zeros(1, kept.dtype)])
    scores = jnp.asarray(pool.scores)
    if not scores.size:
        scores = jnp.zeros(1)
    values = _fill(layout.entries, layout.records, layout.width_log2, layout.more, scores, weights)
    return Pages(
        jnp.asarray(layout.labels),
        values,
        jnp.asarray(layout.records),
        jnp.asarray(layout.width_log2),
    )


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def page_sums(slots: jax.Array, width_log2: jax.Array, rows: int) -> jax.Array:
    """Sums the slots of each row of one page; differentiable in reverse mode.

    Args:
      slots: float [area].
      width_log2: int32 scalar, log2 of the slots a row has.
      rows: static, the most rows a page holds: area / 4.

    Returns:
      float [rows]; places past the page's rows hold sums that mean nothing.
    """
    area = slots.shape[0]

    def add_upper_half(level: jax.Array, x: jax.Array) -> jax.Array:
        upper = lax.dynamic_slice(jnp.pad(x, (0, area // 2)), (area >> (level + 1),), (area,))
        return x + upper

    # A loop, though a page of known width could be unrolled: unrolled, XLA fuses the additions
    # with what computes the slots and computes each slot again for every level (8 times slower).
    return lax.fori_loop(0, width_log2, add_upper_half, slots)[:rows]


def row_of_slot(area: int, width_log2: Array) -> jax.Array:
    """The row that each slot of a page belongs to, int32 [area] or, for [n] widths, [n, area]."""
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


@dataclasses.dataclass(frozen=True)
class _Rows:
    """The nonzeros of the propagated pool, record after record, the strongest first."""

    starts: np.ndarray  # int64 [P + 1]
    labels: np.ndarray  # int32 [nonzeros]
    entries: np.ndarray  # int32 [nonzeros]
    zero_entry: int  # The entry that stands for 0, after all of A.
    more: list[tuple[np.ndarray, np.ndarray]]  # (nonzero, entry of A), a pair a round.


def _propagated_rows(pool: Pool, graph: LabelGraph) -> _Rows:
    """Unites the closed neighbourhoods of each record's labels."""
    num_labels, num_records = graph.num_labels, pool.num_records
    sources, targets = np.asarray(graph.sources), np.asarray(graph.targets)
    first_edge = np.searchsorted(sources, np.arange(num_labels + 1)).astype(np.int64)
    records, labels = np.asarray(pool.records, np.int64), np.asarray(pool.labels, np.int64)
    # 0 for a label itself, then the more the weaker: what slots of a row are ordered by.
    similarities = np.asarray(graph.similarities)
    _, weakness = np.unique(-similarities, return_inverse=True)
    weakness = np.concatenate([np.zeros(num_labels, np.int64), 1 + weakness])
    label_bits = max(int(num_labels).bit_length(), 1)
    entry_bits = int(num_labels + len(targets)).bit_length()
    # Record, label and entry of A share one int64, whose sort is many times an argsort's speed.
    chunk = 1 << min(62 - label_bits - entry_bits, 16)
    lengths = np.zeros(num_records, np.int64)
    found_labels: list[np.ndarray] = []
    found_entries: list[np.ndarray] = []
    more: list[list[tuple[np.ndarray, np.ndarray]]] = []
    done = 0
    for start in range(0, num_records, chunk):
        low, high = np.searchsorted(records, [start, start + chunk])
        own = labels[low:high]
        reach = first_edge[own + 1] - first_edge[own] + 1
        local = np.repeat(records[low:high] - start, reach)
        # Contribution 0 of a label is itself; contribution i is its edge number i - 1.
        step = np.arange(len(local)) - np.repeat(np.cumsum(reach) - reach, reach)
        edge = np.repeat(first_edge[own], reach) + step - 1
        label = np.where(step == 0, np.repeat(own, reach), 0)
        entry = np.where(step == 0, label, num_labels + edge)
        away = step > 0
        label[away] = targets[edge[away]]
        keys = np.sort((((local << label_bits) | label) << entry_bits) | entry)
        places, entry = keys >> entry_bits, keys & ((1 << entry_bits) - 1)
        first = np.ones(len(places), bool)
        first[1:] = places[1:] != places[:-1]
        nonzero = np.cumsum(first) - 1
        starts = np.flatnonzero(first)
        round_of = np.arange(len(places)) - starts[nonzero]
        places, strongest = places[first], np.zeros(0, np.int64)
        if starts.size:
            strongest = np.minimum.reduceat(weakness[entry], starts)
        local = places >> label_bits
        order = np.argsort((local << entry_bits) | strongest, kind="stable")
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        for number in range(1, int(round_of.max(initial=0)) + 1):
            if len(more) < number:
                more.append([])
            here = round_of == number
            more[number - 1].append((rank[nonzero[here]] + done, entry[here].astype(np.int32)))
        found_labels.append((places[order] & ((1 << label_bits) - 1)).astype(np.int32))
        found_entries.append(entry[first][order].astype(np.int32))
        stop = min(start + chunk, num_records)
        lengths[start:stop] = np.bincount(local, minlength=stop - start)
        done += len(places)
    return _Rows(
        np.concatenate([[0], np.cumsum(lengths)]),
        np.concatenate([*found_labels, np.zeros(0, np.int32)]),
        np.concatenate([*found_entries, np.zeros(0, np.int32)]),
        num_labels + len(targets),
        [
            (np.concatenate([a for a, _ in parts]), np.concatenate([b for _, b in parts]))
            for parts in more
        ],
    )


def _ceil_log2(lengths: np.ndarray) -> np.ndarray:
    return np.ceil(np.log2(np.maximum(lengths, 1))).astype(np.int64)


def _pages_of_width(
    rows: _Rows, members: np.ndarray, width_log2: int, area: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Labels, entries, records and widths of the pages that hold `members` in this order."""
    width, per_page = 1 << width_log2, area >> width_log2
    pages = max(-(-len(members) // per_page), 1)  # An empty pool has one empty page.
    starts, stops = rows.starts[members], rows.starts[members + 1]
    filled = np.zeros((pages * per_page, width), bool)
    filled[: len(members)] = np.arange(width) < (stops - starts)[:, None]
    source = (starts[:, None] + np.arange(width))[filled[: len(members)]]
    records = np.full((pages, area >> _NARROWEST_LOG2), EMPTY, np.int32)
    padded = np.full(pages * per_page, EMPTY, np.int32)
    padded[: len(members)] = members
    records[:, :per_page] = padded.reshape(pages, per_page)

    def slot_major(nonzeros: np.ndarray, where_empty: int) -> np.ndarray:
        matrix = np.full(filled.shape, where_empty, np.int32)
        matrix[filled] = nonzeros[source]
        return matrix.reshape(pages, per_page, width).transpose(0, 2, 1).reshape(pages, area)

    return (
        slot_major(rows.labels, 0),
        slot_major(rows.entries, rows.zero_entry),
        records,
        np.full(pages, width_log2, np.int32),
    )
