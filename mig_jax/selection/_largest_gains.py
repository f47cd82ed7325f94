"""The records with the largest linear gains, from a pass over few records instead of all.

Linear gains are s_d·Σ_{l of d} w_l for the worth w of a unit of raw information on each label. If
the worth becomes w', no gain becomes more than max_l w'_l / w_l times what it was. So once all
gains are known at one w, those of the records that were far below the largest need not be computed
again until w has moved by enough that one of them might be among the largest. What is found is
what a pass over all records finds.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from mig_jax.devices import over_threads
from mig_jax.measure import Pool

__all__ = ["RECORDS_A_BLOCK", "Largest", "LargestGains", "offsets_of", "sums_of_records"]

RECORDS_A_BLOCK = 1 << 16  # Whose entries the processor's cache holds.
# Gains are kept apart that are no less than this share of the smallest that was asked for.
_SHARE_KEPT = 0.6
_ROUNDING = 1 + 1e-9


class Largest(NamedTuple):
    """The records with the N largest gains, the lowest index among equals."""

    total: float  #: Sum of their gains.
    further: float  #: The largest gain of all others; 0 if there are none.
    raw: Float[np.ndarray, " labels"]  #: Their raw information (Eq. 5) together.


def offsets_of(pool: Pool) -> Int[np.ndarray, " ends"]:
    """The first entry of each record, and the end: int64 [P + 1]."""
    return _sums_before(np.bincount(np.asarray(pool.records), minlength=pool.num_records))


def sums_of_records(
    values: Float[np.ndarray, " entries"], offsets: Int[np.ndarray, " ends"]
) -> Float[np.ndarray, " records"]:
    """The sum of each record's values, 0 without any; `offsets` may begin with any number."""
    sums = np.zeros(len(offsets) - 1)
    if values.size:
        # What `reduceat` makes of nothing is not 0.
        has_entries = offsets[1:] > offsets[:-1]
        sums[has_entries] = np.add.reduceat(values, offsets[:-1][has_entries] - offsets[0])
    return sums


class LargestGains:
    """Finds `Largest` for one worth of the labels after another."""

    def __init__(self, pool: Pool, num_labels: int) -> None:
        """Takes a pool of P records, on the host, with scores in float64."""
        self._all = _Rows(np.asarray(pool.scores), np.asarray(pool.labels), offsets_of(pool))
        self._num_labels = num_labels
        self._kept: _Kept | None = None

    def gains(self, worth: Float[np.ndarray, " labels"]) -> Float[np.ndarray, " records"]:
        """The linear gains of all records."""
        return self._all.gains(worth)

    def at(self, worth: Float[np.ndarray, " labels"], count: int) -> Largest:
        """Of the `count` records with the largest gains at this worth, which is at least 0."""
        rows, gains = self._all, None
        if self._kept is not None and len(self._kept.rows.scores) > count:
            rows = self._kept.rows
            gains = rows.gains(worth)
            if not _further(gains, count) > self._kept.most_of_others(worth):
                gains = None
        if gains is None:
            rows = self._all
            gains = rows.gains(worth)
            self._keep(worth, gains, count)
        is_chosen = _are_largest(gains, count)
        chosen = rows.part(np.flatnonzero(is_chosen))
        further = _further(gains, count)
        return Largest(float(gains[is_chosen].sum()), further, chosen.raw(self._num_labels))

    def _keep(self, worth: np.ndarray, gains: np.ndarray, count: int) -> None:
        """Remembers who may be among the largest at a worth near this one."""
        self._kept = None
        limit = _SHARE_KEPT * _further(gains, count)
        kept = np.flatnonzero(gains >= limit)
        if limit > 0 and len(kept) <= len(gains) // 2:
            self._kept = _Kept(self._all.part(kept), worth, limit)


@dataclasses.dataclass(frozen=True)
class _Rows:
    """Records with their labels."""

    scores: Float[np.ndarray, " records"]
    labels: Int[np.ndarray, " entries"]
    offsets: Int[np.ndarray, " records+1"]  # Each record's first entry, and the end.

    def gains(self, worth: Float[np.ndarray, " labels"]) -> Float[np.ndarray, " records"]:
        gains = np.zeros(len(self.scores))

        def write(first: int) -> None:
            offsets = self.offsets[first : first + RECORDS_A_BLOCK + 1]
            of_entries = np.take(worth, self.labels[offsets[0] : offsets[-1]])
            gains[first : first + RECORDS_A_BLOCK] = sums_of_records(of_entries, offsets)

        over_threads(write, range(0, len(gains), RECORDS_A_BLOCK))
        gains *= self.scores
        return gains

    def part(self, records: Int[np.ndarray, " some"]) -> _Rows:
        firsts = self.offsets[records]
        offsets = _sums_before(self.offsets[records + 1] - firsts)
        entries = np.repeat(firsts - offsets[:-1], np.diff(offsets)) + np.arange(offsets[-1])
        return _Rows(self.scores[records], self.labels[entries], offsets)

    def raw(self, num_labels: int) -> Float[np.ndarray, " labels"]:
        return np.bincount(
            self.labels, np.repeat(self.scores, np.diff(self.offsets)), num_labels
        ).astype(np.float64)  # Of nothing NumPy would make whole numbers.


class _Kept(NamedTuple):
    """Records whose gains were no less than `limit` at `worth`."""

    rows: _Rows
    worth: Float[np.ndarray, " labels"]
    limit: float

    def most_of_others(self, worth: Float[np.ndarray, " labels"]) -> float:
        """What no other record gains more than at another worth."""
        with np.errstate(divide="ignore", invalid="ignore"):
            times = np.where(worth > 0, worth / self.worth, 0)
        return self.limit * float(times.max(initial=0)) * _ROUNDING


def _further(gains: np.ndarray, count: int) -> float:
    """The largest gain but for `count` larger ones; 0 if there are no more."""
    place = len(gains) - count - 1
    return float(np.partition(gains, place)[place]) if place >= 0 else 0.0


def _are_largest(gains: np.ndarray, count: int) -> np.ndarray:
    """Whether each is among the `count` largest, the first among equals."""
    if count >= len(gains):
        return np.ones(len(gains), bool)
    if not count:
        return np.zeros(len(gains), bool)
    smallest = np.partition(gains, len(gains) - count)[len(gains) - count]
    chosen = gains > smallest
    chosen[np.flatnonzero(gains == smallest)[: count - np.count_nonzero(chosen)]] = True
    return chosen


def _sums_before(counts: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
