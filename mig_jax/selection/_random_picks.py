"""Random selections that keep to the budget and the constraints, on the host."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
from jaxtyping import Int

from mig_jax.selection._constraints import Constraints, Quotas

__all__ = ["picks_in_order", "random_choices", "random_picks"]

_CHOICES = 5


def random_choices(
    num_records: int, budget: int | None, constraints: Constraints
) -> Iterator[Int[np.ndarray, " picks"]]:
    """The random choices that selections are held against, the same ones each time.

    The arguments are those of `random_picks`.
    """
    rng = np.random.default_rng(0)
    for _ in range(_CHOICES):
        yield random_picks(rng, num_records, budget, constraints)


def random_picks(
    rng: np.random.Generator, num_records: int, budget: int | None, constraints: Constraints
) -> Int[np.ndarray, " picks"]:
    """Records in random order, each taken if it is allowed, those that minima ask for first.

    Args:
      rng: where the order comes from.
      num_records: P.
      budget: at most so many; None for no limit.
      constraints: of the whole pool; something keeps to them.
    """
    if constraints.is_empty and budget is not None:
        return rng.choice(num_records, budget, replace=False)
    given = constraints.given
    free = np.arange(num_records) if given is None else np.flatnonzero(~np.asarray(given))
    return _in_order(rng.permutation(free), num_records, budget, constraints)


def picks_in_order(
    order: Int[np.ndarray, " picks"], budget: int | None, constraints: Constraints
) -> Int[np.ndarray, " _picks"]:
    """Records in this order, each taken if it is allowed, those that minima ask for first.

    Args:
      order: all records of the pool that are not given.
      budget: at most so many; None for no limit.
      constraints: of the whole pool.

    Raises:
      ValueError: if the minima are not met so.

    >>> limits = Constraints(costs=np.array([3, 9, 4]), most_cost=np.int32(8))
    >>> picks_in_order(np.array([1, 2, 0]), None, limits).tolist()
    [2, 0]
    """
    taken = 0 if constraints.given is None else int(np.count_nonzero(constraints.given))
    return _in_order(order, len(order) + taken, budget, constraints)


def _in_order(
    order: np.ndarray, num_records: int, budget: int | None, constraints: Constraints
) -> np.ndarray:
    room = _Room.of(num_records, budget, constraints)
    wanted = _for_minima(order, room, constraints)
    return np.concatenate([wanted, _while_allowed(order[~np.isin(order, wanted)], room)])


@dataclasses.dataclass
class _Room:
    """What may still be picked, and what each record takes of it."""

    records: float
    cost: float
    of_groups: np.ndarray  # In the unit of the quotas.
    groups: np.ndarray
    costs: np.ndarray
    masses: np.ndarray  # In the unit of the quotas.

    @classmethod
    def of(cls, num_records: int, budget: int | None, constraints: Constraints) -> _Room:
        quotas, most_cost = constraints.quotas, constraints.most_cost
        costs = np.zeros(num_records, np.int64)
        if constraints.costs is not None:
            costs += np.asarray(constraints.costs)
        one = np.zeros(num_records, np.int32)
        return cls(
            np.inf if budget is None else budget,
            np.inf if most_cost is None else float(most_cost),
            np.full(1, np.inf) if quotas is None else np.asarray(quotas.maxima, np.float64),
            one if quotas is None else np.asarray(quotas.groups),
            costs,
            costs if quotas is not None and quotas.of_costs else np.ones_like(costs),
        )

    def take(self, picks: np.ndarray) -> None:
        self.records -= len(picks)
        self.cost -= self.costs[picks].sum()
        masses = np.bincount(self.groups[picks], self.masses[picks], len(self.of_groups))
        self.of_groups = self.of_groups - masses


def _for_minima(order: np.ndarray, room: _Room, constraints: Constraints) -> np.ndarray:
    """The first of each group until its minimum is met, but none that would leave too little."""
    quotas = constraints.quotas
    if quotas is None:
        return np.zeros(0, np.int64)
    due: list[int] = np.asarray(quotas.minima).tolist()
    reserves = {
        group: _Reserve.of(group, order, room, quotas) for group, least in enumerate(due) if least
    }
    kept = {group: reserve(due[group]) for group, reserve in reserves.items()}
    together, taken = sum(kept.values()), list[int]()
    while any(due):
        before = len(taken)
        rest = order[(np.array(due)[room.groups[order]] > 0) & ~np.isin(order, taken)]
        for record in rest.tolist():
            group, mass = int(room.groups[record]), int(room.masses[record])
            if not due[group]:
                continue
            left = max(due[group] - mass, 0)
            after = reserves[group](left)
            reserved = together - kept[group] + after
            if room.cost - room.costs[record] < reserved or mass > room.of_groups[group]:
                continue
            due[group], kept[group], together = left, after, reserved
            taken.append(record)
            room.take(np.array([record]))
        if len(taken) == before:
            raise ValueError("no choice in this order was found that meets the minima")
    return np.array(taken, np.int64)


@dataclasses.dataclass(frozen=True)
class _Reserve:
    """What a group's minimum may still cost, so much being due."""

    dearest: np.ndarray  # Sums of the 0, 1, 2, … dearest of the cheapest that meet the minimum.
    of_costs: bool
    largest: float  # The dearest of the cheapest.

    @classmethod
    def of(cls, group: int, order: np.ndarray, room: _Room, quotas: Quotas) -> _Reserve:
        cheapest = np.sort(room.costs[order[room.groups[order] == group]])
        minimum = int(np.asarray(quotas.minima)[group])
        needed = np.searchsorted(np.cumsum(cheapest), minimum) + 1 if quotas.of_costs else minimum
        cheapest = cheapest[:needed]
        sums = np.concatenate([[0], np.cumsum(cheapest[::-1])])
        return cls(sums, quotas.of_costs, float(cheapest[-1]) if len(cheapest) else 0.0)

    def __call__(self, due: int) -> float:
        if not self.of_costs:
            return float(self.dearest[due])
        return due + self.largest - 1 if due else 0.0


def _while_allowed(order: np.ndarray, room: _Room) -> np.ndarray:
    """Those that fit one after the other; what a group has no room for is passed over."""
    taken = []
    while order.size and room.records > 0:
        groups = room.groups[order]
        fits = (room.costs[order] <= room.cost) & (room.masses[order] <= room.of_groups[groups])
        order, groups = order[fits], groups[fits]
        within = _sums_within(groups, room.masses[order]) <= room.of_groups[groups]
        chosen = order[within]
        number = int(np.searchsorted(np.cumsum(room.costs[chosen]), room.cost, side="right"))
        chosen = chosen[: int(min(number, room.records))]
        room.take(chosen)
        taken.append(chosen)
        order = order[~np.isin(order, chosen)]
    return np.concatenate(taken) if taken else np.zeros(0, np.int64)


def _sums_within(groups: np.ndarray, masses: np.ndarray) -> np.ndarray:
    """Of each, the masses of its group up to itself."""
    order = np.argsort(groups, kind="stable")
    sums = np.cumsum(masses[order])
    starts = np.searchsorted(groups[order], groups[order])
    found = np.empty_like(sums)
    found[order] = sums - (sums - masses[order])[starts]
    return found
