"""Which selections constraints leave; if none, what is missing, told before the first pick.

On the host. The conditions are those under which a selection that keeps to all limits exists;
for quotas of costs they are sufficient ones, as an exact answer would have to fill knapsacks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import chex
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Bool, Int

from mig_jax.devices import all_gather_parts, all_reduce_max, part_of_picks
from mig_jax.measure import Array, Pool
from mig_jax.selection._allowance import Allowance
from mig_jax.selection._constraints import NO_MAXIMUM, Constraints, Quotas
from mig_jax.selection._rates import Rates, by_gain

__all__ = ["InfeasibleError", "Limits", "limits_of"]

_SHORTEST = 64  # Reserves are padded to powers of two: programs are compiled for their number.


class InfeasibleError(ValueError):
    """No selection keeps to all limits, or none is known to; `told` says which and by how much."""

    def __init__(
        self, text: str, *, group: int | None = None, asked: int, found: int, of_costs: bool
    ) -> None:
        """What is told.

        Args:
          text: has {group}, {asked}, {found} and {unit} in it.
          group: whose quota cannot be kept; None if it is all of them together.
          asked: the amount that is asked for.
          found: the amount that there is.
          of_costs: whether amounts are costs, else they are numbers of records.
        """
        self.text, self.group = text, group
        self.asked, self.found, self.of_costs = asked, found, of_costs
        super().__init__(self.told())

    def told(self, names: Sequence[str] | None = None, cost: str = "cost") -> str:
        """One line; of groups and of the unit of costs by these names."""
        group = "" if self.group is None else f"group {self.group}"
        return self.text.format(
            group=group if names is None or self.group is None else names[self.group],
            asked=f"{self.asked:,}",
            found=f"{self.found:,}",
            unit=cost if self.of_costs else "records",
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Limits:
    """A budget and constraints that can be kept, of the records of this process's part."""

    taken: Bool[np.ndarray, " records"] | None  #: The records given, which are not picked.
    costs: Int[np.ndarray, " records"] | None  #: int32; None if costs are not limited.
    groups: Int[np.ndarray, " records"] | None  #: int32; None if there are no quotas.
    start: Allowance  #: Before the first pick; gains are compared.
    costs_differ: bool  #: Whether costs are limited and not all candidates cost the same.
    most_picks: int  #: No selection has more.

    @property
    def of_costs(self) -> bool:
        """Whether costs are limited: fewer than N may then be picked."""
        return self.costs is not None

    def left(
        self, picks: Int[np.ndarray, " picks"], rates: Rates, mesh: Mesh | None, sizes: np.ndarray
    ) -> Allowance:
        """What may still be picked after these, by what comparison."""
        own = part_of_picks(picks, sizes, mesh)
        ones = np.ones(len(own), np.int64)
        costs = 0 * ones if self.costs is None else self.costs[own].astype(np.int64)
        groups = np.zeros(len(own), np.int64) if self.groups is None else self.groups[own]
        counted = costs if self.start.of_costs else ones
        got = _summed(_by_group(groups, counted, len(self.start.due)), mesh)
        cost = _summed(costs.sum(keepdims=True), mesh)[0]

        def less(available: Array, amount: np.ndarray | np.integer | int) -> np.ndarray:
            available = np.asarray(available)
            rest = np.where(available == NO_MAXIMUM, available, available - amount)
            return rest.astype(np.int32)

        return dataclasses.replace(
            self.start,
            rates=rates,
            records=less(self.start.records, len(picks)),
            cost=less(self.start.cost, cost),
            due=np.maximum(np.asarray(self.start.due) - got, 0).astype(np.int32),
            room=less(self.start.room, got),
        )


def limits_of(
    pool: Pool, budget: int | None, constraints: Constraints, mesh: Mesh | None = None
) -> Limits:
    """The limits, once it is sure that a selection keeps to them.

    Args:
      pool: P records; if the mesh is of several processes, this one's part.
      budget: N; None if only costs are limited.
      constraints: of the same records.
      mesh: devices of all processes, which decide alike.

    Raises:
      InfeasibleError: if no selection keeps to all limits.
      ValueError: if a number is out of its range, or neither records nor costs are limited, or
        minima of costs stand beside a budget of records.
    """
    most_cost = None if constraints.most_cost is None else int(constraints.most_cost)
    quotas = constraints.quotas
    if budget is None and most_cost is None:
        raise ValueError("expected a budget of records, or of costs, or both")
    quotas_of_costs = quotas is not None and quotas.of_costs
    records = pool.num_records
    free = np.ones(records, bool)
    if constraints.given is not None:
        free = ~_one_a_record(constraints.given, records, "given").astype(bool)
    candidates = int(_summed(np.array([free.sum()]), mesh)[0])
    if budget is not None and not 0 <= budget <= candidates:
        raise ValueError(f"the budget must be in 0 to {candidates}, got {budget}")
    costs = None
    if most_cost is not None or quotas_of_costs:
        costs = _checked(constraints.costs, records, "costs", int(NO_MAXIMUM) - 1, mesh)
    if most_cost is not None and not 0 <= most_cost < NO_MAXIMUM:
        raise ValueError(f"most_cost must be in 0 to {NO_MAXIMUM - 1}, got {most_cost}")
    groups, minima, maxima = None, np.zeros(1, np.int64), np.full(1, NO_MAXIMUM, np.int64)
    if quotas is not None:
        groups = _checked(quotas.groups, records, "groups", quotas.num_groups - 1, mesh)
        minima, maxima = _amounts(quotas)
    if quotas_of_costs and budget is not None and minima.any():
        raise ValueError(
            "minima of costs beside a budget of records: no rule is known that always meets both; "
            "expected minima of records, or a budget of costs alone"
        )
    reserves, starts = _reserves(
        _Problem(budget, most_cost, costs, groups, free, minima, maxima, quotas_of_costs), mesh
    )
    differ = costs is not None and _differ(np.maximum(costs[free], 1), mesh)
    start = Allowance(
        by_gain(len(minima)),
        np.asarray(NO_MAXIMUM if budget is None else budget, np.int32),
        np.asarray(NO_MAXIMUM if most_cost is None else most_cost, np.int32),
        minima.astype(np.int32),
        maxima.astype(np.int32),
        reserves,
        starts,
        minima.astype(np.int32),
        quotas_of_costs,
    )
    most = candidates if budget is None else budget
    if most_cost is not None and costs is not None:
        fitting = np.cumsum(np.sort(costs[free]), dtype=np.int64)
        own = np.searchsorted(fitting, most_cost, "right")
        most = min(most, int(_summed(np.array([own]), mesh)[0]))
    return Limits(None if free.all() else ~free, costs, groups, start, differ, most)


@dataclasses.dataclass(frozen=True, eq=False)
class _Problem:
    budget: int | None
    most_cost: int | None
    costs: np.ndarray | None
    groups: np.ndarray | None
    free: np.ndarray
    minima: np.ndarray
    maxima: np.ndarray
    of_costs: bool


def _reserves(problem: _Problem, mesh: Mesh | None) -> tuple[np.ndarray, np.ndarray]:
    """`reserves` and `starts` of an `Allowance`.

    Raises:
      InfeasibleError: if a minimum, or all limits together, cannot be kept.
    """
    minima, maxima, of_costs = problem.minima, problem.maxima, problem.of_costs
    own = np.flatnonzero(problem.free)
    groups = np.zeros(len(own), np.int64) if problem.groups is None else problem.groups[own]
    costs = np.zeros(len(own), np.int64) if problem.costs is None else problem.costs[own]
    counted = costs if of_costs else np.ones_like(costs)
    there = _summed(_by_group(groups, counted, len(minima)), mesh)

    def refuse(where: np.ndarray, text: str, asked: np.ndarray, found: np.ndarray) -> None:
        for group in np.flatnonzero(where)[:1]:
            raise InfeasibleError(
                text,
                group=int(group),
                asked=int(asked[group]),
                found=int(found[group]),
                of_costs=of_costs,
            )

    refuse(
        minima > maxima,
        "{group}: the minimum of {asked} {unit} is more than the maximum of {found}",
        minima,
        maxima,
    )
    refuse(
        minima > there,
        "{group}: the minimum is {asked} {unit}, but the pool has only {found} to pick from",
        minima,
        there,
    )
    if problem.budget is not None and not of_costs:
        _refuse_sum(
            minima.sum(),
            problem.budget,
            "the minima are {asked} {unit} together, more than the budget of {found}",
            False,
        )
        if problem.most_cost is None:
            _refuse_sum(
                problem.budget,
                np.minimum(maxima, there).sum(),
                "the budget is {asked} {unit}, but the maxima leave only {found}",
                False,
            )
    cheapest, of_group = _cheapest(groups, costs, counted, minima, mesh)
    if of_costs:
        # The last of the cheapest that meet the minimum together is the dearest of them.
        largest = np.zeros(len(minima), np.int64)
        np.maximum.at(largest, of_group, cheapest)
        spare = np.maximum(largest - 1, 0)
        refuse(
            (minima > 0) & (minima + spare > maxima),
            "{group}: a minimum and a maximum so near each other may not both be kept by whole "
            "records; expected a maximum of at least {asked} {unit}, found {found}",
            minima + spare,
            maxima,
        )
        reserved = np.where(minima > 0, minima + spare, 0).sum()
        reserves, starts = spare, np.zeros(len(minima), np.int64)
    else:
        # Of each group from the dearest down: R_g(0) = 0, then the sum to each record.
        ends = np.cumsum(np.bincount(of_group, minlength=len(minima)))
        firsts = np.append(0, ends[:-1])
        starts = firsts + np.arange(len(minima))
        sums = np.append(0, np.cumsum(cheapest[np.lexsort((-cheapest, of_group))]))
        reserves = np.zeros(len(cheapest) + len(minima), np.int64)
        places = np.arange(len(cheapest)) + of_group + 1
        reserves[places] = sums[1:] - sums[firsts[of_group]]
        reserved = sums[-1]
    if problem.most_cost is not None:
        _refuse_sum(
            reserved,
            problem.most_cost,
            "meeting the minima takes up to {asked} {unit}, more than the budget of {found}"
            if of_costs
            else "the cheapest records that meet the minima come to {asked} {unit} together, more "
            "than the budget of {found}",
            True,
        )
    length = max(_SHORTEST, 1 << max(len(reserves) - 1, 1).bit_length())
    padded = reserves if of_costs else np.pad(reserves, (0, length - len(reserves)))
    return padded.astype(np.int32), starts.astype(np.int32)


def _refuse_sum(
    asked: int | np.integer, found: int | np.integer, text: str, of_costs: bool
) -> None:
    """Raises InfeasibleError if more is asked for than there is."""
    if asked > found:
        raise InfeasibleError(text, asked=int(asked), found=int(found), of_costs=of_costs)


def _cheapest(
    groups: np.ndarray,
    costs: np.ndarray,
    counted: np.ndarray,
    minima: np.ndarray,
    mesh: Mesh | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Costs and groups, by group and then ascending, of the cheapest that meet each minimum.

    Each process tells only its own of them.
    """
    for gather in (False, True):
        if gather:
            columns = (groups.astype(np.int64), costs.astype(np.int64), counted.astype(np.int64))
            groups, costs, counted = (
                np.concatenate(all_gather_parts(column, mesh)) for column in columns
            )
        due = minima[groups] > 0
        groups, costs, counted = groups[due], costs[due], counted[due].astype(np.int64)
        order = np.lexsort((costs, groups))
        groups, costs, counted = groups[order], costs[order], counted[order]
        before = np.cumsum(counted) - counted
        first = np.searchsorted(groups, groups)
        needed = before - (before[first] if len(before) else 0) < minima[groups]
        groups, costs, counted = groups[needed], costs[needed], counted[needed]
    return costs, groups


def _by_group(groups: np.ndarray, amounts: np.ndarray, num_groups: int) -> np.ndarray:
    sums = np.zeros(num_groups, np.int64)
    np.add.at(sums, groups, amounts)
    return sums


def _summed(amounts: np.ndarray, mesh: Mesh | None) -> np.ndarray:
    """Sums over the processes, int64."""
    return np.sum(all_gather_parts(amounts.astype(np.int64), mesh), axis=0)


def _differ(values: np.ndarray, mesh: Mesh | None) -> bool:
    """Whether there are two values, in all processes together."""
    own = np.unique(values)[:2].astype(np.int64)
    return len(np.unique(np.concatenate(all_gather_parts(own, mesh)))) > 1


def _one_a_record(values: Array | None, records: int, name: str) -> np.ndarray:
    values = np.asarray(values)
    chex.assert_shape(
        values, (records,), custom_message=f"{name}: expected one for each record of the pool"
    )
    return values


def _checked(
    values: Array | None, records: int, name: str, most: int, mesh: Mesh | None
) -> np.ndarray:
    """int32; refused in all processes if one value is out of range."""
    own = _one_a_record(values, records, name).astype(np.int64)
    low, high = -int(own.min(initial=0)), int(own.max(initial=0))
    low, high = -all_reduce_max(low, mesh), all_reduce_max(high, mesh)
    if low < 0 or high > most:
        raise ValueError(f"{name} must be in 0 to {most}, got {low if low < 0 else high}")
    return own.astype(np.int32)


def _amounts(quotas: Quotas) -> tuple[np.ndarray, np.ndarray]:
    amounts = [np.asarray(part, np.int64) for part in (quotas.minima, quotas.maxima)]
    for name, part in zip(("minima", "maxima"), amounts, strict=True):
        if part.size and not 0 <= part.min() <= part.max() <= NO_MAXIMUM:
            wrong = part.min() if part.min() < 0 else part.max()
            raise ValueError(f"{name} must be in 0 to {NO_MAXIMUM}, got {wrong}")
    return amounts[0], amounts[1]
