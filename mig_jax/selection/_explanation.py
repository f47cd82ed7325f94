"""Why a record was picked, or why it was not, and what score it would have taken."""

from __future__ import annotations

import dataclasses
import operator

import numpy as np
from jaxtyping import Float, Int

from mig_jax.measure import GainRule, LabelGraph, Measure, Pool
from mig_jax.selection._constraints import UNCONSTRAINED, Constraints
from mig_jax.selection._given import given_information
from mig_jax.selection._number_range import in_range
from mig_jax.selection._pick_limits import PickLimits
from mig_jax.selection._rates import Rates
from mig_jax.selection._trajectories import GainsByLabel, Trajectories, Walk

__all__ = ["Explainer", "Explanation", "LabelGain", "LeastScore", "Loss"]

_MOST_STEPS = 200  # Of Newton; a dozen are usual.
_CLOSE = 1e-12  # A step this small beside the score ends them.
_LOSSES = 5
# What a gain must exceed where the pick gains nothing: the smallest that float32 tells from 0.
_SMALLEST_GAIN = float(np.finfo(np.float32).tiny)
_LARGEST_SCORE = float(np.finfo(np.float32).max)


@dataclasses.dataclass(frozen=True)
class LabelGain:
    """What a label gives of a record's gain."""

    label: int
    #: The record's own labels through which it reaches this one, the strongest first; the label
    #: itself if it is one of them.
    through: tuple[int, ...]
    at_first: float  #: In the first rank.
    gain: float  #: In the rank that is told of.


@dataclasses.dataclass(frozen=True)
class Loss:
    """What a pick took of a record's gain."""

    rank: int  #: Of the pick, from 1.
    pick: int  #: The record picked.
    amount: float  #: By how much the record's gain fell through it.
    labels: tuple[tuple[int, float], ...]  #: The same by label, the most first.


@dataclasses.dataclass(frozen=True)
class LeastScore:
    """The least score by which a record would have been picked; all else as it was."""

    score: float
    rank: int  #: Where it would have been picked, from 1.


@dataclasses.dataclass(frozen=True)
class Explanation:
    """Why a record was picked in a rank, or what came in between."""

    record: int
    score: float
    picked: bool
    #: From 1: its own; of a record that was not picked, where it came nearest. None if there
    #: was no pick that it was allowed for.
    rank: int | None
    at_first: float  #: Its gain in the first rank.
    gain: float  #: Its gain in `rank`.
    needed: float  #: The least gain by which it would have been picked there.
    #: The last rank in which the limits of the selection allowed for it; 0 if none did.
    allowed: int
    #: What it could have cost at most in the rank after that; −1 if its group was closed.
    most_cost: int
    labels: tuple[LabelGain, ...]  #: The most first. Their gains add up to the record's.
    losses: tuple[Loss, ...]  #: The picks before `rank` that took most of its gain, the most first.
    least: LeastScore | None  #: None of a pick, and of a record that no score would have helped.

    @property
    def ratio(self) -> float:
        """How near its gain came to what was needed: from 0 to 1."""
        if self.picked or self.gain >= self.needed:
            return 1.0
        return self.gain / self.needed


class Explainer:
    """A selection that is done, laid out to be asked about any record of its pool.

    To lay out takes time that grows with the picks and not with the pool; an answer takes
    milliseconds.

    >>> from mig_jax import EXACT, label_graph_from_edges, pool_from_label_lists, select
    >>> pool = pool_from_label_lists([[0], [0], [1]], [1.0, 0.9, 0.8])
    >>> graph = label_graph_from_edges(2)
    >>> selection = select(pool, graph, 2)
    >>> explainer = Explainer(pool, graph, Measure(), EXACT, selection.picks, selection.gains)
    >>> found = explainer.explain(1)
    >>> found.picked, found.rank, round(found.ratio, 3), [loss.rank for loss in found.losses]
    (False, 1, 0.919, [])
    >>> found.least.rank, round(found.least.score, 4)
    (1, 1.0)
    """

    def __init__(
        self,
        pool: Pool,
        graph: LabelGraph,
        measure: Measure,
        gain: GainRule,
        picks: Int[np.ndarray, " picks"],
        gains: Float[np.ndarray, " picks"],
        *,
        budget: int | None = None,
        constraints: Constraints = UNCONSTRAINED,
        rates: Rates | None = None,
    ) -> None:
        """Lays out the picks.

        Args:
          pool: P records.
          graph: K labels.
          measure: score functions and α.
          gain: the rule by which the picks were made; its shares must be concave in ê, as those of
            `EXACT` and `LINEAR` are.
          picks: in order.
          gains: each pick's gain at its moment, as in `Selection`.
          budget: as `select` was given it; it matters only beside constraints.
          constraints: as `select` was given them.
          rates: as in `Selection`.

        Raises:
          ValueError: as `select` does, of constraints that cannot be kept.
        """
        self._picks = np.asarray(picks, np.int64)
        self._gains = np.asarray(gains, np.float64)
        self._rank_of = {record: rank for rank, record in enumerate(self._picks.tolist())}
        self._scores = np.asarray(pool.scores)
        self._limits = PickLimits.of(pool, budget, constraints, self._picks, rates)
        held = None
        if constraints.given is not None and np.any(constraints.given):
            with in_range(pool, graph, measure) as problem:
                held = given_information(*problem, constraints.given)[: graph.num_labels]
        self._paths = Trajectories.of(pool, graph, measure, gain, self._picks, held)

    @property
    def gains_found(self) -> Float[np.ndarray, " picks"]:
        """Each pick's gain computed again, in float64: another pool or measure has others."""
        return self._paths.gains

    @property
    def gains_by_label(self) -> GainsByLabel:
        """Each pick's gain by label, of all picks at once."""
        return self._paths.of_picks

    def gains_of(self, record: int) -> Float[np.ndarray, " picks"]:
        """What a record would have gained in each rank, were it still there.

        Raises:
          ValueError: if the pool has no record of this index.
        """
        self._check(record)
        walk = self._paths.walk(record)
        return walk.by_rank(walk.shares(float(self._scores[record]))[0])[:-1]

    def explain(self, record: int) -> Explanation:
        """Why a record of this index was picked, or why not.

        Raises:
          ValueError: if the pool has no record of this index.
        """
        self._check(record)
        score, walk = float(self._scores[record]), self._paths.walk(record)
        shares, slopes = walk.shares(score)
        gains = walk.by_rank(shares)
        most = self._limits.most_cost(record)
        allowed = most >= self._limits.cost(record)
        needed = np.append(self._gains * self._limits.factors(record), 0)
        rank, least = self._rank_of.get(record), None
        if rank is None:
            # If a pick gains nothing, or none is left, records that gain nothing were passed over
            # or taken in their order: a gain above 0 is needed. One that only float64 tells from
            # 0 was none to the selection, and says nothing there.
            no_gain = np.where(gains > 0, np.inf, _SMALLEST_GAIN)
            needed = np.where(needed == 0, no_gain, needed)
            needed = np.where(allowed, needed, np.inf)
            rank = _nearest(gains, needed)
            least = _least_score(walk, score, needed, gains, walk.by_rank(slopes))
        place = 0 if rank is None else rank
        ranks = int(np.flatnonzero(allowed[:-1]).max(initial=-1)) + 1
        return Explanation(
            record=record,
            score=score,
            picked=record in self._rank_of,
            rank=None if rank is None else rank + 1,
            at_first=float(gains[0]),
            gain=float(gains[place]),
            needed=np.inf if rank is None else float(needed[rank]),
            allowed=ranks,
            most_cost=int(most[ranks]),
            labels=_label_gains(walk, shares, place),
            losses=self._losses(walk, shares, place),
            least=least,
        )

    def _check(self, record: int) -> None:
        if not 0 <= operator.index(record) < len(self._scores):
            raise ValueError(f"record must be in 0 to {len(self._scores) - 1}, got {record}")

    def _losses(self, walk: Walk, shares: np.ndarray, rank: int) -> tuple[Loss, ...]:
        """The picks before a rank (from 0) that took most of a gain."""
        taken = np.flatnonzero((walk.ranks > 0) & (walk.ranks <= rank))
        falls, by = shares[taken - 1] - shares[taken], walk.ranks[taken] - 1
        total = np.bincount(by, falls, len(self._picks))
        losses = []
        for pick in np.argsort(-total, kind="stable")[:_LOSSES].tolist():
            if total[pick] <= 0:
                break
            here = np.flatnonzero(by == pick)
            here = here[np.argsort(-falls[here], kind="stable")]
            labels = walk.labels[walk.slots[taken[here]]].tolist()
            by_label = tuple(zip(labels, falls[here].tolist(), strict=True))
            losses.append(Loss(pick + 1, int(self._picks[pick]), float(total[pick]), by_label))
        return tuple(losses)


def _label_gains(walk: Walk, shares: np.ndarray, rank: int) -> tuple[LabelGain, ...]:
    """The gain in a rank (from 0) by label, the most first."""
    labels = [
        LabelGain(label, through, at_first, gain)
        for label, through, at_first, gain in zip(
            walk.labels.tolist(),
            walk.through,
            shares[walk.at(0)].tolist(),
            shares[walk.at(rank)].tolist(),
            strict=True,
        )
    ]
    return tuple(sorted(labels, key=lambda each: (-each.gain, -each.at_first, each.label)))


def _nearest(gains: np.ndarray, needed: np.ndarray) -> int | None:
    """The rank, from 0, in which a gain came nearest to what was needed."""
    if not np.isfinite(needed).any():
        return None
    return int(np.argmax(gains / needed))


def _least_score(
    walk: Walk, score: float, needed: np.ndarray, gains: np.ndarray, slopes: np.ndarray
) -> LeastScore | None:
    """The least s at which the gain is what is needed in some rank; None if there is none.

    `gains` and `slopes` are those of each rank at the record's own score. A gain rises with s, so
    that a rank whose s is too much is passed in another rank already: that rank's s is less.
    """
    most, _ = walk.shares(_LARGEST_SCORE)
    reached = walk.by_rank(most) >= needed
    if not reached.any():
        return None
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        steps = np.where(reached, (needed - gains) / slopes, np.inf)  # Of Newton: a likely rank.
    rank = int(np.argmin(np.where(np.isnan(steps), np.inf, steps)))
    best = LeastScore(_score_in_rank(walk, score, needed[rank], rank), rank + 1)
    while True:
        shares, _ = walk.shares(best.score)
        over = walk.by_rank(shares) / needed
        rank = int(np.argmax(over))
        if over[rank] <= 1 + _CLOSE or rank + 1 == best.rank:
            return best
        found = _score_in_rank(walk, score, needed[rank], rank)
        if found >= best.score:
            return best
        best = LeastScore(found, rank + 1)


def _score_in_rank(walk: Walk, score: float, needed: float, rank: int) -> float:
    """The least s of at least `score` at which the gain in a rank (from 0) is what is needed.

    By Newton's steps: a gain is concave in s and lies below its tangents, so that s rises to the
    solution and never passes it. There is one.
    """
    here, s = walk.at(rank), score
    for _ in range(_MOST_STEPS):
        gain, slope = (float(each.sum()) for each in walk.shares(s, here))
        if gain >= needed or not slope > 0:
            break
        step = (needed - gain) / slope
        s = float(min(s + step, _LARGEST_SCORE))
        if step <= s * _CLOSE:
            break
    return s
