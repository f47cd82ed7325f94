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

import dataclasses
import itertools
import math

import chex
import numpy as np
import numpy.typing as npt
from jaxtyping import Float, Int, Int32, Integer

from mig_jax.devices import over_threads
from mig_jax.measure import Array, LabelGraph, Pool, as_pytree, check_labels
from mig_jax.selection._propagated_rows import Rows, labels_reached, rows_of

__all__ = [
    "AREA",
    "EMPTY",
    "NARROWEST_LOG2",
    "ExtraSlots",
    "PageLayout",
    "PagePlan",
    "deal_pages",
    "empty_aligned",
    "lay_out_pages",
    "plan_pages",
]

# Stands for no record in a page. Larger than any index, so a minimum passes over it.
EMPTY = np.int32(2**31 - 1)

AREA = 1024  # Slots of a page, where nothing else is asked for.

NARROWEST_LOG2 = 2  # Rows of fewer than four slots are not worth a width of their own.
_SLOTS_A_BLOCK = 1 << 17  # Of pages that a thread writes at once, with 50 bytes a slot of its own.
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
    plan = plan_pages(pool, graph, priority=priority, area=area)
    labels = empty_aligned((plan.num_pages, plan.area), plan.label_kind)
    entries = empty_aligned((plan.num_pages, plan.area), np.int32)

    def write(block: tuple[int, int]) -> list[ExtraSlots]:
        here = slice(*block)
        return plan.write(*block, labels[here], entries[here])

    found = over_threads(write, plan.blocks(0, plan.num_pages))
    nothing = (np.zeros(0, np.int32),) * 3
    more = []
    for parts in itertools.zip_longest(*found, fillvalue=nothing):
        pages, slots, extra = map(np.concatenate, zip(*parts, strict=True))
        more.append((pages, slots, extra))
    return PageLayout(labels, entries, plan.records, plan.starts, plan.width_log2, tuple(more))


@dataclasses.dataclass(frozen=True)
class PagePlan:
    """What `PageLayout` says, in a third of its space: pages are written when they are needed."""

    rows: Rows  #: Of all records, whichever of them stand here.
    reached: Integer[np.ndarray, " nonzeros"]  #: Label of each entry of A; 0 of one that is 0.
    area: int
    records: Int32[np.ndarray, " rows"]  #: These three as in `PageLayout`.
    starts: Int32[np.ndarray, " pages"]
    width_log2: Int32[np.ndarray, " pages"]

    @property
    def num_pages(self) -> int:
        return len(self.starts)

    @property
    def page_rows(self) -> int:
        """How many rows a page has at most."""
        return self.area >> NARROWEST_LOG2

    @property
    def label_kind(self) -> np.dtype:
        """Of the labels of slots."""
        return self.reached.dtype

    def blocks(self, first: int, stop: int) -> list[tuple[int, int]]:
        """Pages `first` to `stop` in parts that are best written at once: the ends of each."""
        step = max(_SLOTS_A_BLOCK // self.area, 1)
        return list(itertools.pairwise([*range(first, stop, step), stop]))

    def records_of(
        self, first: int, stop: int
    ) -> tuple[Int32[np.ndarray, " _rows"], Int[np.ndarray, " _rows"], Int[np.ndarray, " _rows"]]:
        """Of each row of pages `first` to `stop`: its record, its page from `first`, its place."""
        counts = (self.area >> self.width_log2[first:stop]).astype(np.int64)
        pages = np.repeat(np.arange(stop - first), counts)
        rows = np.arange(len(pages)) - (np.cumsum(counts) - counts)[pages]
        return self.records[self.starts[first:stop][pages] + rows], pages, rows

    def write(
        self,
        first: int,
        stop: int,
        labels: Integer[np.ndarray, "pages area"],
        entries: Int32[np.ndarray, "pages area"],
    ) -> list[ExtraSlots]:
        """Writes labels and entries of pages `first` to `stop`; returns their part of `more`."""
        records, pages, rows = self.records_of(first, stop)
        # Rows without a record, or whose record has no label, stay empty.
        here = np.flatnonzero(records != EMPTY)
        offsets, lengths = self.rows.offsets, self.rows.lengths
        starts, sizes = offsets[records[here]], offsets[records[here] + 1]
        sizes -= starts
        if not sizes.all():
            here, starts, sizes = (part[sizes > 0] for part in (here, starts, sizes))
        entries.fill(len(self.reached) - 1)
        more: list[ExtraSlots] = []
        if len(here):
            pages, rows = pages[here], rows[here]
            ends = np.cumsum(sizes)
            places = np.ones(ends[-1], np.int64)
            places[0] = starts[0]
            places[ends[:-1]] = starts[1:] - starts[:-1] - sizes[:-1] + 1
            codes = np.take(self.rows.codes, np.cumsum(places, out=places))
            is_first = (codes & 1).astype(bool)
            codes >>= 1
            # Where each stands: slots of a row are a step apart, and the rest of a slot is in it.
            step = (self.area >> self.width_log2[first:stop]).astype(np.int64)[pages]
            slots = pages * self.area + rows
            np.multiply(is_first, np.repeat(step, sizes), out=places)
            places[0] = slots[0]
            last = slots + (lengths[records[here]] - 1) * step
            places[ends[:-1]] = slots[1:] - last[:-1]
            np.cumsum(places, out=places)
            entries.reshape(-1)[places[is_first]] = codes[is_first]
            more = self._more(first, places, codes, is_first)
        # Sooner than from the rows: there, every label comes from another place in memory.
        np.take(self.reached, entries, out=labels, mode="clip")
        return more

    def _more(
        self, first: int, places: np.ndarray, codes: np.ndarray, is_first: np.ndarray
    ) -> list[ExtraSlots]:
        extras = np.flatnonzero(~is_first)
        # So many entries of the slot are before each.
        rounds = extras - np.flatnonzero(is_first)[extras - np.arange(1, len(extras) + 1)]
        slots, entries = places[extras], codes[extras].astype(np.int32)
        pages, slots = (part.astype(np.int32) for part in np.divmod(slots, self.area))
        pages += first
        of_rounds = [np.flatnonzero(rounds == 1 + i) for i in range(int(rounds.max(initial=0)))]
        return [(pages[here], slots[here], entries[here]) for here in of_rounds]


def plan_pages(
    pool: Pool,
    graph: LabelGraph,
    *,
    priority: Float[Array, " records"] | None = None,
    area: int = AREA,
) -> PagePlan:
    """Decides which records stand in which page; arguments and errors as of `lay_out_pages`."""
    if area < 1 << NARROWEST_LOG2 or area & (area - 1):
        raise ValueError(f"area must be a power of two of at least 4, got {area}")
    check_labels(pool, graph)
    if priority is not None:
        message = "priority: expected a number for each record"
        chex.assert_shape(priority, (pool.num_records,), custom_message=message)
    rows = rows_of(pool, graph)
    widths = _widths_log2(rows.lengths)
    area = max(area, 1 << int(widths.max(initial=NARROWEST_LOG2)))
    counts = np.bincount(widths, minlength=NARROWEST_LOG2 + 1)
    # An empty pool has an empty page.
    used = np.flatnonzero(counts) if len(widths) else np.array([NARROWEST_LOG2])
    rows_a_page = area >> used
    pages = np.maximum(-(-counts[used] // rows_a_page), 1)
    stored = rows_a_page * pages
    records = empty_aligned((int(stored.sum()) + (area >> NARROWEST_LOG2),), np.int32)
    order = _by_width(widths, priority)
    done = place = 0
    for count, room in zip(counts[used].tolist(), stored.tolist(), strict=True):
        records[place : place + count] = order[done : done + count]
        records[place + count : place + room] = EMPTY
        done, place = done + count, place + room
    records[place:] = EMPTY
    # Of each page, the rows of those before it.
    sizes = np.repeat(rows_a_page, pages)
    starts = (np.cumsum(sizes) - sizes).astype(np.int32)
    kind = np.uint16 if graph.num_labels <= 1 << 16 else np.int32
    reached = np.append(labels_reached(graph), 0).astype(kind)
    return PagePlan(rows, reached, area, records, starts, np.repeat(used, pages).astype(np.int32))


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
    keys &= (1 << _INDEX_BITS) - 1
    return keys


def empty_aligned(shape: tuple[int, ...], kind: npt.DTypeLike) -> np.ndarray:
    """An array that JAX need not copy: it takes as they are those aligned to 64 bytes."""
    room = np.empty(math.prod(shape) * np.dtype(kind).itemsize + 64, np.uint8)
    first = -room.ctypes.data % 64
    return room[first : room.size - 64 + first].view(kind).reshape(shape)


def _widths_log2(lengths: np.ndarray) -> np.ndarray:
    """log2 of the slots that rows of these lengths get: int8."""
    possible = np.maximum(np.arange(lengths.max(initial=0) + 1), 1 << NARROWEST_LOG2)
    return np.ceil(np.log2(possible)).astype(np.int8)[lengths]


def deal_pages(plan: PagePlan, shards: int, pages_a_shard: int) -> list[PagePlan]:
    """Deals the pages to shards in turn, and adds empty ones until each has `pages_a_shard`.

    How many rows they have differs from shard to shard.
    """

    def deal(shard: int) -> PagePlan:
        own = slice(shard, None, shards)
        missing = pages_a_shard - len(plan.starts[own])
        counts = plan.area >> plan.width_log2[own]
        ends = np.cumsum(counts)
        stored = int(ends[-1]) if len(ends) else 0
        # Of each row its place in the plan.
        places = np.repeat(plan.starts[own] - (ends - counts), counts) + np.arange(stored)
        records = np.append(plan.records[places], np.full(plan.page_rows, EMPTY))
        # Empty pages have the rows behind the last.
        starts = np.append(ends - counts, np.full(missing, stored)).astype(np.int32)
        widths = np.append(plan.width_log2[own], np.full(missing, NARROWEST_LOG2, np.int32))
        return dataclasses.replace(plan, records=records, starts=starts, width_log2=widths)

    return [deal(shard) for shard in range(shards)]
