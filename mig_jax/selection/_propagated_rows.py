"""The propagated pool (Eq. 7) on the host: which labels each record reaches, and how.

A record reaches its own labels and their neighbours in the label graph. By how
much depends on its score and on α; which labels, and by which entries of the
propagation matrix A (Eq. 6), depends on the graph's edges alone.
"""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
from jaxtyping import Float, Int, Int32, Int64, UInt

from mig_jax.devices import over_threads
from mig_jax.measure import LabelGraph, Pool

__all__ = [
    "ExtraEntries",
    "Neighbourhoods",
    "PropagatedRows",
    "Rows",
    "labels_reached",
    "propagated_rows",
    "rows_of",
]

# As many contributions are united at once as the processor's cache holds.
_RECORDS_LOG2, _CONTRIBUTIONS_LOG2 = 16, 16

#: Records, places within their rows, and entries of A.
ExtraEntries = tuple[
    Int32[np.ndarray, " _extra"], Int32[np.ndarray, " _extra"], Int32[np.ndarray, " _extra"]
]


@dataclasses.dataclass(frozen=True)
class Rows:
    """The nonzeros of each record, in the order of the similarity that reaches them.

    A record's own labels stand first. Nothing is stored but what its labels contribute: the
    entries of A that each nonzero is a sum of, one nonzero after the other. An entry e, named by
    its place in [diagonal | edges], is 2·e + 1 if it is the first of a nonzero, else 2·e; in 16
    bits, if that is enough for all.
    """

    offsets: Int64[np.ndarray, " ends"]  #: Each record's first code, and the end.
    lengths: Int32[np.ndarray, " records"]  #: How many nonzeros each has.
    codes: UInt[np.ndarray, " contributions"]


@dataclasses.dataclass(frozen=True)
class PropagatedRows:
    """The nonzeros of each record d, at places `starts[d]` to `starts[d] + lengths[d]`.

    They stand in the order of the similarity that reaches them, a record's own
    labels first. Entries of A are named by their place in [diagonal | edges].
    """

    starts: Int64[np.ndarray, " records"]  #: Ascending.
    lengths: Int[np.ndarray, " records"]
    labels: Int32[np.ndarray, " places"]
    entries: Int32[np.ndarray, " places"]  #: The entry of A, the first if there are several.
    more: list[ExtraEntries]  #: Round r holds each nonzero's r-th extra entry, if it has one.

    def nonzeros(
        self, weights: Float[np.ndarray, " weights"]
    ) -> tuple[
        Int[np.ndarray, " nonzeros"], Int[np.ndarray, " nonzeros"], Float[np.ndarray, " nonzeros"]
    ]:
        """The record of each nonzero, record by record, its label, and ê for a score of 1.

        `weights` are A's entries, the diagonal and then the edges.
        """
        before = np.cumsum(self.lengths, dtype=np.int64) - self.lengths
        owners = np.repeat(np.arange(len(self.lengths)), self.lengths)
        places = np.arange(len(owners)) + np.repeat(self.starts - before, self.lengths)
        units = weights[self.entries[places]]
        for records, slots, extra in self.more:
            units[before[records] + slots] += weights[extra]
        return owners, self.labels[places], units


def propagated_rows(
    pool: Pool, graph: LabelGraph, near: Neighbourhoods | None = None
) -> PropagatedRows:
    """Unites the closed neighbourhoods of each record's labels.

    `near`, if given, is `Neighbourhoods.of(graph)`, which takes time that grows with the graph.
    """
    rows = rows_of(pool, graph, near)
    is_first = (rows.codes & 1).astype(bool)
    entries = (rows.codes >> 1).astype(np.int32)
    firsts, extras = np.flatnonzero(is_first), np.flatnonzero(~is_first)
    starts = _sums_before(rows.lengths)[:-1]
    # Of each extra entry, the nonzero that it belongs to, and how many entries are before it.
    nonzeros = extras - np.arange(1, len(extras) + 1)
    rounds = extras - firsts[nonzeros]
    records = np.repeat(np.arange(len(starts), dtype=np.int32), np.diff(rows.offsets))[extras]
    places = (nonzeros - starts[records]).astype(np.int32)
    of_rounds = [np.flatnonzero(rounds == 1 + i) for i in range(int(rounds.max(initial=0)))]
    more = [(records[here], places[here], entries[extras[here]]) for here in of_rounds]
    first_entries = entries[firsts]
    return PropagatedRows(
        starts, rows.lengths, labels_reached(graph)[first_entries], first_entries, more
    )


def labels_reached(graph: LabelGraph) -> Int32[np.ndarray, " nonzeros"]:
    """The label that each entry of A leads to."""
    own = np.arange(graph.num_labels, dtype=np.int32)
    return np.concatenate([own, np.asarray(graph.targets, np.int32)])


def rows_of(pool: Pool, graph: LabelGraph, near: Neighbourhoods | None = None) -> Rows:
    """As `propagated_rows`, in a quarter of its space."""
    near = Neighbourhoods.of(graph) if near is None else near
    labels = np.asarray(pool.labels)
    held = np.bincount(np.asarray(pool.records), minlength=pool.num_records)
    first_label = _sums_before(held)
    offsets = _sums_before(near.sizes[labels])[first_label]
    lengths = np.zeros(pool.num_records, np.int32)
    codes = np.empty(offsets[-1], np.uint16 if near.entry_bits < 16 else np.uint32)

    def unite(chunk: tuple[int, int]) -> None:
        start, stop = chunk
        records = np.repeat(np.arange(stop - start), held[start:stop])
        own = labels[first_label[start] : first_label[stop]]
        here = slice(offsets[start], offsets[stop])
        lengths[start:stop] = _unite(near, records, own, stop - start, codes[here])

    over_threads(unite, itertools.pairwise(_cuts(offsets, near)))
    return Rows(offsets, lengths, codes)


@dataclasses.dataclass(frozen=True)
class Neighbourhoods:
    """What each label contributes to a record: itself, then its edges."""

    firsts: Int64[np.ndarray, " labels"]  # Where the label's part of `keys` begins.
    sizes: Int64[np.ndarray, " labels"]
    keys: Int64[np.ndarray, " nonzeros"]  # Of A: label reached, then entry of A, as one number.
    weakness: Int64[np.ndarray, " nonzeros"]  # Of each entry, 0 for a label itself.
    label_bits: int
    entry_bits: int
    weakness_bits: int

    @classmethod
    def of(cls, graph: LabelGraph) -> Neighbourhoods:
        count = graph.num_labels
        sources, targets = np.asarray(graph.sources), np.asarray(graph.targets)
        degrees = np.bincount(sources, minlength=count)
        firsts = _sums_before(degrees + 1)[:-1]
        entry_bits = (count + len(targets)).bit_length()
        keys = np.zeros(count + len(targets), np.int64)
        keys[firsts] = (np.arange(count) << entry_bits) | np.arange(count)
        # An edge stands behind the labels up to its source, and the edges before it.
        edges = np.arange(len(targets))
        keys[edges + sources + 1] = (targets.astype(np.int64) << entry_bits) | (count + edges)
        _, weakness = np.unique(-np.asarray(graph.similarities), return_inverse=True)
        weakness = np.concatenate([np.zeros(count, np.int64), 1 + weakness])
        return cls(
            firsts,
            degrees + 1,
            keys,
            weakness,
            max(count.bit_length(), 1),
            entry_bits,
            int(weakness.max(initial=0)).bit_length(),
        )


def _unite(
    near: Neighbourhoods,
    records: np.ndarray,
    labels: np.ndarray,
    count: int,
    codes: UInt[np.ndarray, " contributions"],
) -> Int[np.ndarray, " records"]:
    """Writes the codes of `count` records, whose labels are given, each with its record.

    Returns how many nonzeros each has. Sorts twice, and each time numbers that say all there is
    to know: many times an argsort's speed.
    """
    sizes = near.sizes[labels]
    # The contributions of label after label, each from its part of the keys: their places there,
    # with the record above. They rise by one within a part, and sums are quicker than repetition.
    heads = (records << near.entry_bits) | near.firsts[labels]
    ends = np.cumsum(sizes)
    places = np.ones(len(codes), np.int64)
    places[:1] = heads[:1]
    places[ends[:-1]] = heads[1:] - heads[:-1] - sizes[:-1] + 1
    np.cumsum(places, out=places)
    keys = np.take(near.keys, places & ((1 << near.entry_bits) - 1))
    places >>= near.entry_bits
    places <<= near.label_bits + near.entry_bits
    keys |= places
    keys.sort()
    entries = keys & ((1 << near.entry_bits) - 1)
    keys >>= near.entry_bits
    is_first = np.ones(len(keys), bool)
    np.not_equal(keys[1:], keys[:-1], out=is_first[1:])
    firsts, extras = np.flatnonzero(is_first), np.flatnonzero(~is_first)
    strongest = near.weakness[entries[firsts]]
    nonzeros = extras - np.arange(1, len(extras) + 1)  # That each extra entry belongs to.
    np.minimum.at(strongest, nonzeros, near.weakness[entries[extras]])
    of_records = keys[firsts] >> near.label_bits
    place_bits = len(firsts).bit_length()
    order = (of_records << near.weakness_bits) | strongest
    order <<= place_bits
    order |= np.arange(len(firsts))
    order.sort()
    order &= (1 << place_bits) - 1
    # The entries of nonzero after nonzero: again places that rise by one within each.
    heads, sizes = firsts[order], np.diff(firsts, append=len(keys))[order]
    ends = np.cumsum(sizes)
    places[:] = 1
    places[:1] = heads[:1]
    places[ends[:-1]] = heads[1:] - heads[:-1] - sizes[:-1] + 1
    np.cumsum(places, out=places)
    entries <<= 1
    entries |= is_first
    codes[:] = entries[places]
    return np.bincount(of_records, minlength=count)


def _cuts(contributions: np.ndarray, near: Neighbourhoods) -> list[int]:
    """Where to cut the records into chunks of few contributions each."""
    widest = max(near.label_bits + near.entry_bits, near.weakness_bits + _CONTRIBUTIONS_LOG2 + 1)
    most = 1 << min(62 - widest, _RECORDS_LOG2)  # All of a chunk's numbers fit 63 bits.
    num_records = len(contributions) - 1
    cuts = [0]
    while cuts[-1] < num_records:
        start = cuts[-1]
        limit = contributions[start] + (1 << _CONTRIBUTIONS_LOG2)
        fitting = int(np.searchsorted(contributions, limit, side="right")) - 1
        cuts.append(min(max(fitting, start + 1), start + most, num_records))
    return cuts


def _sums_before(counts: np.ndarray) -> np.ndarray:
    """Of each place, and of the end, the sum of what stands before it: int64 [n + 1]."""
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
