"""Where every nonzero of the propagated pool goes in pages, decided on the host.

The propagated information ê_d of a record (Eq. 7) reaches few labels, but how
many differs a hundredfold between records. Padding every row to the longest
would waste most of the work, so rows are padded to the next power of two and
rows of one width share pages of a fixed area: a page of area 512 holds 64 rows
of width 8, or 4 rows of width 128. Slot s of row r stands at position
s · rows + r, so that adding the upper half of a page to its lower half, again
and again, ends with one sum a row. The order of additions depends only on the
row itself: gains are the same, bit for bit, in whatever page a row stands.

Slots of a row stand in the order of the similarity that reaches them, its own
labels first. If a graph loses its weakest edges, what is left of a row is
therefore its beginning, and zeros behind it change no sum: with edges gated at
a threshold, gains are those of a layout made for that threshold, bit for bit.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import chex
import numpy as np
from jaxtyping import Float, Int, Integer

from mig_jax.devices import over_threads
from mig_jax.measure import Array, LabelGraph, Pool, as_pytree, check_labels
from mig_jax.selection._propagated_rows import PropagatedRows, propagated_rows

__all__ = [
    "AREA",
    "EMPTY",
    "NARROWEST_LOG2",
    "ExtraSlots",
    "PageLayout",
    "deal_pages",
    "lay_out_pages",
]

# Stands for no record in a page. Larger than any index, so a minimum passes over it.
EMPTY = np.int32(2**31 - 1)

AREA = 1024  # Slots of a page, where nothing else is asked for.

NARROWEST_LOG2 = 2  # Rows of fewer than four slots are not worth a width of their own.
_SLOTS_A_BLOCK = 1 << 17  # Of pages that a thread writes at once, with 20 bytes a slot of its own.
_INDEX_BITS, _PRIORITY_BITS = 31, 26  # So that 6 are left for log2 of a width, and the sign.


#: Page, slot and entry of A, of each slot that needs one more.
ExtraSlots = tuple[Int[Array, " _extra"], Int[Array, " _extra"], Int[Array, " _extra"]]


@as_pytree
class PageLayout:
    """Where every nonzero of the propagated pool goes; depends on the graph's edges only.

    A slot's value is s_d times a sum over entries of the propagation matrix A
    (Eq. 6), named by their place in [diagonal | edges | 0]. Most slots need one
    entry. The few that two or more labels of a record reach need more: round r
    of `more` names each slot's r-th extra entry, and no slot twice, so that
    adding it is deterministic on every device.
    """

    labels: Integer[Array, "pages area"]  #: In 16 bits, if that is enough for all labels.
    entries: Int[Array, "pages area"]  #: First entry of A.
    records: Int[Array, " rows"]  #: As in `Pages`, with `page_rows` EMPTY ones behind the last row.
    starts: Int[Array, " pages"]  #: Where the rows of each page begin.
    width_log2: Int[Array, " pages"]
    more: tuple[ExtraSlots, ...]

    @property
    def num_pages(self) -> int:
        return len(self.labels)

    @property
    def area(self) -> int:
        return int(self.labels.shape[1])

    @property
    def page_rows(self) -> int:
        """How many rows a page has at most."""
        return self.area >> NARROWEST_LOG2


def lay_out_pages(
    pool: Pool,
    graph: LabelGraph,
    *,
    priority: Float[Array, " records"] | None = None,
    area: int = AREA,
) -> PageLayout:
    """Lays out the propagated rows of a pool on the host.

    Args:
      pool: P records.
      graph: K labels; every label id of the pool is below K.
      priority: records with a high one stand together in the first
        pages of their width, which makes lazy evaluation fast. Never changes
        what is selected.
      area: slots a page has; raised to the width of the longest row.

    Raises:
      ValueError: if a label id is not in the graph, or `area` is not a power of two.
      AssertionError: if `priority` has not a number for each record.
    """
    if area < 1 << NARROWEST_LOG2 or area & (area - 1):
        raise ValueError(f"area must be a power of two of at least 4, got {area}")
    check_labels(pool, graph)
    if priority is not None:
        message = "priority: expected a number for each record"
        chex.assert_shape(priority, (pool.num_records,), custom_message=message)
    rows = propagated_rows(pool, graph)
    widths = _widths_log2(rows.lengths)
    area = max(area, 1 << int(widths.max(initial=NARROWEST_LOG2)))
    order = _by_width(widths, priority)
    page_of, row_of = (np.zeros(pool.num_records, np.int32) for _ in range(2))
    blocks, starts, width_of = [], [], []
    pages = done = stored = 0
    counts = np.bincount(widths, minlength=NARROWEST_LOG2 + 1)
    for width_log2 in np.flatnonzero(counts).tolist() or [NARROWEST_LOG2]:
        members = order[done : done + counts[width_log2]]
        done += len(members)
        rows_a_page = area >> width_log2
        page_of[members] = pages + np.arange(len(members)) // rows_a_page
        row_of[members] = np.arange(len(members)) % rows_a_page
        stop = pages + max(-(-len(members) // rows_a_page), 1)  # An empty pool has an empty page.
        starts.append(stored + rows_a_page * np.arange(stop - pages))
        width_of.append(np.full(stop - pages, width_log2, np.int32))
        stored += rows_a_page * (stop - pages)
        pages_a_block = max(_SLOTS_A_BLOCK // area, 1)
        for first in range(pages, stop, pages_a_block):
            start = (first - pages) * rows_a_page
            block = members[start : start + pages_a_block * rows_a_page]
            blocks.append(_Block(first, min(first + pages_a_block, stop), width_log2, block))
        pages = stop
    more = []
    for record, slot, entry in rows.more:
        place = slot * (area >> widths[record].astype(np.int32)) + row_of[record]
        more.append((page_of[record], place, entry))
    kind = np.uint16 if graph.num_labels <= 1 << 16 else np.int32
    layout = PageLayout(
        _empty((pages, area), kind),
        _empty((pages, area), np.int32),
        _empty((stored + (area >> NARROWEST_LOG2),), np.int32),
        np.concatenate(starts, dtype=np.int32),
        np.concatenate(width_of),
        tuple(more),
    )
    layout.records[stored:] = EMPTY
    # The label that each entry of A leads to, and 0 for the entry that stands for 0.
    reached = np.concatenate([np.arange(graph.num_labels), np.asarray(graph.targets), [0]])
    reached = reached.astype(kind)
    over_threads(lambda block: _write(block, rows, layout, reached), blocks)
    return layout


class _Block(NamedTuple):
    """Pages of one width, and the records that fill them, in order."""

    first: int
    stop: int
    width_log2: int
    records: np.ndarray


def _write(
    block: _Block,
    rows: PropagatedRows,
    layout: PageLayout,
    reached: Integer[np.ndarray, " entries"],
) -> None:
    """Writes the rows of a block's records to its pages; `reached` is the label of each entry."""
    here = slice(block.first, block.stop)
    width, rows_a_page = 1 << block.width_log2, layout.area >> block.width_log2
    count = len(block.records)
    start = int(layout.starts[block.first])
    records = layout.records[start : start + (block.stop - block.first) * rows_a_page]
    records[:count], records[count:] = block.records, EMPTY
    # Slot after slot of each page, as they stand there.
    slots = np.arange(width)[None, :, None]
    lengths, starts = np.zeros(len(records), np.int32), np.zeros(len(records), np.int64)
    lengths[:count], starts[:count] = rows.lengths[block.records], rows.starts[block.records]
    is_empty = slots >= lengths.reshape(-1, 1, rows_a_page)
    places = (starts.reshape(-1, 1, rows_a_page) + slots).reshape(-1, layout.area)
    labels, entries = np.asarray(layout.labels)[here], np.asarray(layout.entries)[here]
    if len(rows.entries):  # Behind the last row, any place will do.
        np.take(rows.entries, places, out=entries, mode="clip")
    np.copyto(entries, len(reached) - 1, where=is_empty.reshape(-1, layout.area))
    # Sooner than from the rows: there, every label comes from another place in memory.
    np.take(reached, entries, out=labels, mode="clip")


def _by_width(
    widths: Int[np.ndarray, " records"], priority: Float[Array, " records"] | None
) -> Int[np.ndarray, " records"]:
    """The records by width, and those of one width by their priority, nearly.

    One sort of numbers that say all there is to know: many times an argsort's speed.
    """
    keys = np.arange(len(widths)) | (widths.astype(np.int64) << (_INDEX_BITS + _PRIORITY_BITS))
    if priority is not None:
        priority = np.asarray(priority, np.float64)
        scaled = priority / (np.max(np.abs(priority), initial=0) or 1)
        # The bits of floats above 0 are ordered as these are, and the others the other way.
        bits = scaled.astype(np.float32).view(np.int32)
        bits = np.where(bits < 0, bits ^ np.int32(2**31 - 1), bits).astype(np.int64)
        keys |= ((2**31 - 1 - bits) >> (32 - _PRIORITY_BITS)) << _INDEX_BITS
    keys.sort()
    return keys & ((1 << _INDEX_BITS) - 1)


def _empty(shape: tuple[int, ...], kind: type[np.integer]) -> np.ndarray:
    """An array that JAX need not copy: it takes as they are those aligned to 64 bytes."""
    room = np.empty(math.prod(shape) * np.dtype(kind).itemsize + 64, np.uint8)
    first = -room.ctypes.data % 64
    return room[first : room.size - 64 + first].view(kind).reshape(shape)


def _widths_log2(lengths: np.ndarray) -> np.ndarray:
    """log2 of the slots that rows of these lengths get: int8."""
    possible = np.maximum(np.arange(lengths.max(initial=0) + 1), 1 << NARROWEST_LOG2)
    return np.ceil(np.log2(possible)).astype(np.int8)[lengths]


def deal_pages(layout: PageLayout, shards: int, pages_a_shard: int) -> list[PageLayout]:
    """Deals the pages to shards in turn, and adds empty ones until each has `pages_a_shard`.

    How many rows they have differs from shard to shard.
    """

    def deal(shard: int) -> PageLayout:
        own = slice(shard, None, shards)
        missing = pages_a_shard - len(layout.labels[own])

        def part(array: Array, empty: int) -> np.ndarray:
            added = np.full((missing, *array.shape[1:]), empty, array.dtype)
            return np.concatenate([array[own], added])

        counts = layout.area >> np.asarray(layout.width_log2)[own]
        ends = np.cumsum(counts)
        stored = int(ends[-1]) if len(ends) else 0
        # Of each row its place in the layout.
        places = np.repeat(layout.starts[own] - (ends - counts), counts) + np.arange(stored)
        records = np.append(layout.records[places], np.full(layout.page_rows, EMPTY))

        more = []
        for page, slot, entry in layout.more:
            here = page % shards == shard
            more.append((page[here] // shards, slot[here], entry[here]))
        return PageLayout(
            part(layout.labels, 0),
            part(layout.entries, 0),
            records,
            # Empty pages have the rows behind the last.
            np.append(ends - counts, np.full(missing, stored)).astype(np.int32),
            part(layout.width_log2, NARROWEST_LOG2),
            tuple(more),
        )

    return [deal(shard) for shard in range(shards)]
