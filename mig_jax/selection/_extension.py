"""A selection whose pool has grown: how far its picks hold, and the state to go on from there.

The pool is what it was, and then records that came later. What an earlier pick gained is still
known, and a new record can take its place only if it gains more. Every φ is concave, so what a
record gains at z bounds all that it gains later: if no new record gains as much as rank j's pick
did, at the z before rank i ≤ j, the picks of ranks i to j are those of the whole pool. So ranks
are passed in leaps, each for one look at the new records only, up to the first at which one of
them may win. From there `select` goes on over the whole pool, and what it gives is what it would
have given from the start, bit for bit.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from functools import partial
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Bool, Float, Int

from mig_jax.measure import (
    EXACT,
    Array,
    GainRule,
    LabelGraph,
    Measure,
    Pool,
    check_labels,
    prepare,
    propagation_weights,
)
from mig_jax.selection._greedy import initial_state, lazy_greedy
from mig_jax.selection._number_range import in_range, needs_float64
from mig_jax.selection._page_layout import AREA, lay_out_pages
from mig_jax.selection._pages import fill_pages
from mig_jax.selection._passes import Progress
from mig_jax.selection._propagated_rows import propagated_rows
from mig_jax.selection._select import Selection

__all__ = ["extended", "first_part", "why_not_extended"]

# A gain computed later may be larger by rounding, a few units in the last place.
_SLACK = 1e-4
# Gains below this may have lost digits, or be 0, where the scan has others.
_TINY = 1e-30
# A look at the new records costs about as much as so many slots a pick are searched for.
_SLOTS_A_PICK, _FEWEST_LOOKS = 256, 8
# If fewer of the picks hold, going on from them saves no time.
_WORTHWHILE_SHARE = 0.02


def first_part(
    pool: Pool, graph: LabelGraph, measure: Measure, count: int
) -> tuple[Pool, LabelGraph, Measure]:
    """The problem that the first records are alone, with their labels only, numbered from 0.

    Args:
      pool: P records, on the host.
      graph: K labels.
      measure: score functions and α; a parameter for each label stays with its label.
      count: the records, from 0 to P.

    >>> from mig_jax import label_graph_from_edges, pool_from_label_lists
    >>> pool = pool_from_label_lists([[0, 2], [1]], [1.0, 2.0])
    >>> pool, graph, _ = first_part(pool, label_graph_from_edges(3, [(0, 1, 1.0)]), Measure(), 1)
    >>> pool.labels.tolist(), graph.num_labels, graph.num_edges
    ([0, 1], 2, 0)
    """
    ours = _is_of_first(pool, graph, count)
    place = (np.cumsum(ours) - 1).astype(np.int32)
    entries = np.searchsorted(np.asarray(pool.records), count)
    labels = place[np.asarray(pool.labels)[:entries]]
    part = Pool(labels, np.asarray(pool.records)[:entries], np.asarray(pool.scores)[:count])
    return part, *_of_labels(graph, measure, ours)


def _of_labels(
    graph: LabelGraph, measure: Measure, ours: Bool[np.ndarray, " labels"]
) -> tuple[LabelGraph, Measure]:
    """Graph and measure of some of the labels, numbered from 0."""
    place = (np.cumsum(ours) - 1).astype(np.int32)
    sources, targets = np.asarray(graph.sources), np.asarray(graph.targets)
    kept = ours[sources] & ours[targets]

    def of_ours(leaf: Any) -> Any:
        return leaf if np.ndim(leaf) == 0 else np.asarray(leaf)[ours]

    similarities = np.asarray(graph.similarities)[kept]
    part = LabelGraph(place[sources[kept]], place[targets[kept]], similarities, int(ours.sum()))
    return part, jax.tree_util.tree_map(of_ours, measure)


def why_not_extended(pool: Pool, graph: LabelGraph, measure: Measure, count: int) -> str | None:
    """Why picks from the first records alone tell nothing of those from all; None if they do.

    Args as for `first_part`.
    """
    ours = _is_of_first(pool, graph, count)
    if np.any(ours[np.asarray(graph.sources)] != ours[np.asarray(graph.targets)]):
        return (
            "labels that only the new records have are joined to labels of the earlier ones, "
            "whose information changes with that"
        )
    # Labels play no part in the range of numbers.
    nothing = np.zeros(0, np.int32)
    scores = Pool(nothing, nothing, np.asarray(pool.scores)[:count])
    part = _of_labels(graph, measure, ours)
    if needs_float64(scores, *part) != needs_float64(pool, graph, measure):
        return "the new records need float64, in which the earlier gains are others"
    return None


def _is_of_first(pool: Pool, graph: LabelGraph, count: int) -> Bool[np.ndarray, " labels"]:
    """Which labels the first records have."""
    check_labels(pool, graph)
    entries = np.searchsorted(np.asarray(pool.records), count)
    ours = np.zeros(graph.num_labels, bool)
    ours[np.asarray(pool.labels)[:entries]] = True
    return ours


def extended(
    pool: Pool,
    graph: LabelGraph,
    budget: int,
    earlier: Progress | Selection,
    count: int,
    *,
    measure: Measure | None = None,
    gain: GainRule = EXACT,
    mesh: Mesh | None = None,
) -> Progress:
    """How far an earlier selection holds in a pool that has grown; `select` resumes from it.

    Its picks are those that `select` makes of the whole pool, to the last bit, up to the first
    rank at which a new record may win, or all that there are. So

        select(pool, graph, budget, resume=extended(pool, graph, budget, earlier, count))

    is `select(pool, graph, budget)`. If hardly any picks hold, they are left out, as going on
    from them would save nothing.

    Args:
      pool: P records, of one process.
      graph: K labels.
      budget: N, more or fewer than `earlier` has picks.
      earlier: what was picked of the first records, with the gains as they were. Of a
        `Progress` too only picks, gains and increases matter.
      count: how many records there were.
      measure: as it was: score functions and α; the default is the paper's φ and α = 1.
      gain: as it was.
      mesh: as for `select`, which is given the result.

    Raises:
      ValueError: if `earlier` picks what is not among the first records, or
        `why_not_extended` tells of something.

    >>> from mig_jax import label_graph_from_edges, pool_from_label_lists, select
    >>> graph = label_graph_from_edges(2)
    >>> earlier = select(pool_from_label_lists([[0], [0], [1]], [3.0, 2.0, 1.0]), graph, 3)
    >>> pool = pool_from_label_lists([[0], [0], [1], [1]], [3.0, 2.0, 1.0, 1.5])
    >>> progress = extended(pool, graph, 3, earlier, 3)
    >>> progress.picks.tolist(), select(pool, graph, 3, resume=progress).picks.tolist()
    ([0], [0, 3, 1])
    """
    measure = Measure() if measure is None else measure
    picks = np.asarray(earlier.picks, np.int64)[:budget]
    if picks.size and not 0 <= picks.min() <= picks.max() < count:
        raise ValueError(f"the earlier picks must be in 0 to {count - 1}")
    if reason := why_not_extended(pool, graph, measure, count):
        raise ValueError(reason)
    with in_range(pool, graph, measure, mesh) as (pool, graph, measure):
        kind = np.result_type(np.asarray(pool.scores), np.float32)
        gains = np.asarray(earlier.gains)[: len(picks)].astype(kind)
        # Not before they are needed: where a new record wins first, they never are.
        rows = functools.cache(lambda: _Rows.of(_only(pool, picks), graph, measure))
        new = _only(pool, np.arange(count, pool.num_records))
        nothing = np.zeros(max(graph.num_labels, 1), kind)
        held, z = _hold(new, graph, measure, gain, rows, gains, nothing, budget)
        if held < _WORTHWHILE_SHARE * budget:
            return Progress.none(graph.num_labels)
        table = () if held == budget else _table(graph, measure, gain, z, rows().touched(held, z))
        increases = np.asarray(earlier.increases)[:held].astype(kind)
        return Progress(picks[:held], gains[:held], increases, z, table)


def _only(pool: Pool, picks: Int[np.ndarray, " picks"]) -> Pool:
    """The pool of these records, in this order."""
    records, labels = np.asarray(pool.records), np.asarray(pool.labels)
    # In their order, and of their type: both are looked up several times as fast so.
    order = np.argsort(picks)
    ascending = picks[order].astype(records.dtype)
    starts, counts = np.zeros(len(picks), np.int64), np.zeros(len(picks), np.int64)
    starts[order] = np.searchsorted(records, ascending)
    counts[order] = np.searchsorted(records, ascending, side="right")
    counts -= starts
    entries = _ranges(starts, counts)
    of = np.repeat(np.arange(len(picks), dtype=np.int32), counts)
    return Pool(labels[entries], of, np.asarray(pool.scores)[picks])


def _ranges(starts: np.ndarray, counts: np.ndarray) -> Int[np.ndarray, " entries"]:
    """All of `starts[i]` to `starts[i] + counts[i]`, one after the other."""
    before = np.cumsum(counts) - counts
    return np.repeat(starts - before, counts) + np.arange(counts.sum())


@dataclasses.dataclass(frozen=True)
class _Rows:
    """ê of records, as pages hold it: entry e of record d stands at `firsts[d] + e`."""

    firsts: Int[np.ndarray, " ends"]
    labels: Int[np.ndarray, " entries"]
    values: Float[np.ndarray, " entries"]

    @classmethod
    def of(cls, pool: Pool, graph: LabelGraph, measure: Measure) -> _Rows:
        """The rows of all records: `fill_pages` rounds alike, step by step."""
        rows = propagated_rows(pool, graph)
        weights = np.concatenate(
            [np.asarray(part) for part in propagation_weights(graph, measure.propagation)]
        )
        places = _ranges(rows.starts, rows.lengths)
        firsts = np.concatenate([[0], np.cumsum(rows.lengths, dtype=np.int64)])
        values = weights[rows.entries[places]]
        for records, within, entries in rows.more:
            values[firsts[records] + within] += weights[entries]
        values *= np.repeat(np.asarray(pool.scores), rows.lengths)
        return cls(firsts, rows.labels[places], values)

    def added(self, z: np.ndarray, start: int, stop: int) -> Float[np.ndarray, " labels"]:
        """z after records `start` to `stop`, one after the other, as a scan adds them."""
        here = slice(self.firsts[start], self.firsts[stop])
        z = z.copy()
        np.add.at(z, self.labels[here], self.values[here])
        return z

    def touched(self, stop: int, z: np.ndarray) -> Bool[np.ndarray, " labels"]:
        """The labels of the records before `stop`."""
        found = np.zeros(len(z), bool)
        found[self.labels[: self.firsts[stop]]] = True
        return found


def _hold(
    new: Pool,
    graph: LabelGraph,
    measure: Measure,
    gain: GainRule,
    rows: Callable[[], _Rows],
    gains: Float[np.ndarray, " picks"],
    z: Float[np.ndarray, " labels"],
    budget: int,
) -> tuple[int, Float[np.ndarray, " labels"]]:
    """How many of the earlier picks hold, as far as it is worth while to know, and z after them.

    Args:
      new: the new records.
      graph: K labels.
      measure: score functions and α.
      gain: the gain rule.
      rows: gives ê of the earlier picks.
      gains: theirs.
      z: before the first pick.
      budget: N.
    """
    # Nothing that gains nothing is picked before all earlier records.
    if not new.num_records or not np.asarray(new.scores)[np.asarray(new.records)].any():
        return len(gains), rows().added(z, 0, len(gains))
    arriving = _Rows.of(new, graph, measure)
    of = np.repeat(np.arange(new.num_records), np.diff(arriving.firsts))
    # Gains fall from pick to pick; if rounding lifts one, it counts as the one before.
    least = np.minimum.accumulate(gains)
    looks = max(_FEWEST_LOOKS, budget * _SLOTS_A_PICK // arriving.labels.size)
    held = 0
    for _ in range(looks):
        shares = np.asarray(_shares(gain, measure, arriving.labels, arriving.values, z))
        most = np.bincount(of, shares).max()
        most = np.inf if np.isnan(most) else most  # What is no number is no bound.
        limit = max(most * (1 + _SLACK), _TINY)
        further = int(np.searchsorted(-least, -limit, side="left"))  # The first that is no larger.
        if further <= held:
            break
        z = rows().added(z, held, further)
        held = further
        if held == len(gains):
            break
    return held, z


@partial(jax.jit, static_argnames="gain")
def _shares(
    gain: GainRule,
    measure: Measure,
    labels: Int[Array, " entries"],
    values: Float[Array, " entries"],
    z: Float[Array, " labels"],
) -> Float[jax.Array, " entries"]:
    """What each entry of records' ê adds to their gains at z."""
    prepared = prepare(gain, measure, z).gains
    prepared = jax.tree_util.tree_map(lambda leaf: leaf[labels], prepared)
    return jnp.asarray(gain.of_slot(measure.score_function, prepared, values))


def _table(
    graph: LabelGraph,
    measure: Measure,
    gain: GainRule,
    z: Float[np.ndarray, " labels"],
    touched: Bool[np.ndarray, " labels"],
) -> tuple[Float[np.ndarray, " labels"], ...]:
    """The gain rule's table for z as a scan leaves it, which rounds it in its own way.

    A scan over records that hold nothing of any label renews every label's row; rows of labels
    that no pick has touched are those of the beginning.
    """
    names = np.arange(graph.num_labels, dtype=np.int32)
    empty = np.zeros(-(-len(names) // AREA), z.dtype)
    pool = Pool(names, names // AREA, empty)
    nothing = np.zeros(0, np.int32)
    apart = LabelGraph(nothing, nothing, nothing.astype(z.dtype), graph.num_labels)
    pages = fill_pages(lay_out_pages(pool, apart), pool, apart, measure)
    state = initial_state(gain, measure, pages, z)
    state, _ = lazy_greedy(gain, measure, pages, state, np.int32(len(empty)), len(empty))
    start = initial_state(gain, measure, pages, np.zeros_like(z))
    chex.assert_trees_all_equal_shapes(state.table, start.table)
    return tuple(
        np.where(touched, np.asarray(renewed), np.asarray(first))
        for renewed, first in zip(
            *map(jax.tree_util.tree_leaves, (state.table, start.table)), strict=True
        )
    )
