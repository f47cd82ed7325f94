"""The propagated pool (Eq. 7) on the host: which labels each record reaches, and how.

A record reaches its own labels and their neighbours in the label graph. By how
much depends on its score and on α; which labels, and by which entries of the
propagation matrix A (Eq. 6), depends on the graph's edges alone.
"""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
from jaxtyping import Int, Int32, Int64

from mig_jax.devices import over_threads
from mig_jax.measure import LabelGraph, Pool

__all__ = ["ExtraEntries", "Neighbourhoods", "PropagatedRows", "propagated_rows"]

# As many contributions are united at once as the processor's cache holds.
_RECORDS_LOG2, _CONTRIBUTIONS_LOG2 = 16, 16

#: Records, places within their rows, and entries of A.
ExtraEntries = tuple[
    Int32[np.ndarray, " _extra"], Int32[np.ndarray, " _extra"], Int32[np.ndarray, " _extra"]
]


@dataclasses.dataclass(frozen=True)
class PropagatedRows:
    """The nonzeros of each record d, at places `starts[d]` to `starts[d] + lengths[d]`.

    They stand in the order of the similarity that reaches them, a record's own
    labels first. Entries of A are named by their place in [diagonal | edges].
    """

    #: Ascending; between rows may be places that hold nothing.
    starts: Int64[np.ndarray, " records"]
    lengths: Int[np.ndarray, " records"]
    labels: Int32[np.ndarray, " places"]
    entries: Int32[np.ndarray, " places"]  #: The entry of A, the first if there are several.
    more: list[ExtraEntries]  #: Round r holds each nonzero's r-th extra entry, if it has one.


def propagated_rows(
    pool: Pool, graph: LabelGraph, near: Neighbourhoods | None = None
) -> PropagatedRows:
    """Unites the closed neighbourhoods of each record's labels.

    `near`, if given, is `Neighbourhoods.of(graph)`, which takes time that grows with the graph.
    """
    near = Neighbourhoods.of(graph) if near is None else near
    labels = np.asarray(pool.labels)
    held = np.bincount(np.asarray(pool.records), minlength=pool.num_records)
    first_label = _sums_before(held)
    # A record's row is no longer than all that its labels contribute.
    contributions = _sums_before(near.sizes[labels])[first_label]
    starts, lengths = np.zeros(pool.num_records, np.int64), np.zeros(pool.num_records, np.int32)
    reached, entries = (np.empty(contributions[-1], np.int32) for _ in range(2))

    def unite(chunk: tuple[int, int]) -> list[ExtraEntries]:
        start, stop = chunk
        here = slice(contributions[start], contributions[stop])
        records = np.repeat(np.arange(stop - start), held[start:stop])
        own = labels[first_label[start] : first_label[stop]]
        found = _united(near, records, own, stop - start)
        lengths[start:stop] = found.lengths
        starts[start:stop] = here.start + found.starts
        reached[here][: len(found.labels)] = found.labels
        entries[here][: len(found.entries)] = found.entries
        return [(start + records, places, extra) for records, places, extra in found.more]

    chunks = over_threads(unite, itertools.pairwise(_cuts(contributions, near)))
    nothing = (np.zeros(0, np.int32),) * 3
    more = []
    for parts in itertools.zip_longest(*chunks, fillvalue=nothing):
        records, places, extra = map(np.concatenate, zip(*parts, strict=True))
        more.append((records, places, extra))
    return PropagatedRows(starts, lengths, reached, entries, more)


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


def _united(
    near: Neighbourhoods, records: np.ndarray, labels: np.ndarray, count: int
) -> PropagatedRows:
    """The rows of `count` records, whose labels are given, each with its record.

    Sorts twice, and each time numbers that say all there is to know of a nonzero: many
    times an argsort's speed.
    """
    sizes = near.sizes[labels]
    # The contributions of label after label, each from its part of the keys: their places there,
    # with the record above. They rise by one within a part, and sums are quicker than repetition.
    heads = (records << near.entry_bits) | near.firsts[labels]
    ends = np.cumsum(sizes)
    places = np.ones(ends[-1] if len(ends) else 0, np.int64)
    places[:1] = heads[:1]
    places[ends[:-1]] = heads[1:] - heads[:-1] - sizes[:-1] + 1
    np.cumsum(places, out=places)
    keys = np.take(near.keys, places & ((1 << near.entry_bits) - 1))
    places >>= near.entry_bits
    places <<= near.label_bits + near.entry_bits
    keys |= places
    keys.sort()
    entries = (keys & ((1 << near.entry_bits) - 1)).astype(np.int32)
    keys >>= near.entry_bits
    is_first = np.ones(len(keys), bool)
    np.not_equal(keys[1:], keys[:-1], out=is_first[1:])
    firsts, extras = np.flatnonzero(is_first), np.flatnonzero(~is_first)
    keys, first_entries = keys[firsts], entries[firsts]
    strongest = near.weakness[first_entries]
    # Of each extra entry, the nonzero that it belongs to, and how many entries are before it.
    nonzeros = extras - np.arange(1, len(extras) + 1)
    rounds = extras - firsts[nonzeros]
    of_rounds = [np.flatnonzero(rounds == 1 + i) for i in range(int(rounds.max(initial=0)))]
    for here in of_rounds:
        own = nonzeros[here]
        strongest[own] = np.minimum(strongest[own], near.weakness[entries[extras[here]]])
    of_records = keys >> near.label_bits
    place_bits = len(firsts).bit_length()
    order = (of_records << near.weakness_bits) | strongest
    order <<= place_bits
    order |= np.arange(len(firsts))
    order.sort()
    order &= (1 << place_bits) - 1
    lengths = np.bincount(of_records, minlength=count)
    starts = _sums_before(lengths)[:-1]
    more: list[ExtraEntries] = []
    if of_rounds:
        rank = np.empty(len(order), np.int32)
        rank[order] = np.arange(len(order), dtype=np.int32)
        rank -= starts[of_records].astype(np.int32)
        for here in of_rounds:
            own = nonzeros[here]
            found = of_records[own].astype(np.int32), rank[own], entries[extras[here]]
            more.append(found)
    of_labels = (keys & ((1 << near.label_bits) - 1)).astype(np.int32)
    return PropagatedRows(starts, lengths, of_labels[order], first_entries[order], more)


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
