"""The limits of a selection as those of a linear problem, where amounts lie between 0 and 1."""

from __future__ import annotations

import dataclasses
from typing import Any

import chex
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float, Int, Real

from mig_jax.devices import (
    REPLICATED,
    SHARDED,
    all_gather_parts,
    part_of_picks,
    part_sizes,
    shard_records,
)
from mig_jax.measure import Array, Count, Pool, Scalar, as_pytree, unchecked
from mig_jax.selection._constraints import NO_MAXIMUM, Constraints, Quotas

__all__ = ["LinearLimits", "check_allowed", "linear_limits", "specs_of_limits"]

_OF_RECORDS = ("candidates", "masses", "groups", "other", "given")


@as_pytree
class LinearLimits:
    """What amounts x in [0, 1] must keep to, in one unit and perhaps in the other one too.

    A unit is costs or records. With masses m in the one, that of the quotas, and q in the other:

        Σ_d m_d x_d ≤ most,   minima_g ≤ Σ_{d in g} m_d x_d ≤ maxima_g,   Σ_d q_d x_d ≤ most_other.

    A limit that nothing can reach is infinite, and so without a price. Only candidates weigh
    anything: not what is given, what costs more than is allowed, or what fills up a shard.
    """

    candidates: Float[Array, " records"]  #: 1 for what may be picked, else 0.
    masses: Float[Array, " records"]
    most: Scalar
    groups: Int[Array, " records"] | None = None  #: None if there are no quotas.
    minima: Float[Array, " groups"] | None = None
    maxima: Float[Array, " groups"] | None = None
    other: Float[Array, " records"] | None = None  #: None if the other unit is not limited.
    most_other: Scalar | None = None
    given: Float[Array, " records"] | None = None  #: 1 for what is given, else 0.
    #: Whether the unit is costs; else it is records.
    of_costs: bool = dataclasses.field(default=False, metadata={"static": True})

    @property
    def num_groups(self) -> int:
        return 0 if self.minima is None else int(self.minima.shape[0])


def linear_limits(
    pool: Pool, budget: int | None, constraints: Constraints, *, mesh: Mesh | None = None
) -> Count | LinearLimits:
    """What `upper_bound` takes for a budget: the limits, or without constraints the number itself.

    Args:
      pool: P records, not sharded; if the mesh is of several processes, this one's part.
      budget: at most so many records may be picked; None if only costs are limited.
      constraints: what else limits the picks.
      mesh: where the pool is going to be sharded, and the limits with it.

    Raises:
      ValueError: if there is neither a budget nor a largest cost, or nothing keeps to the limits.
      AssertionError: if costs, groups or what is given are not one for each record.

    >>> from mig_jax import pool_from_label_lists
    >>> pool = pool_from_label_lists([[0], [0], [1]], [1.0, 0.9, 0.8])
    >>> linear_limits(pool, None, Constraints(costs=np.array([3, 1, 2]), most_cost=4)).masses
    array([3., 1., 2.], dtype=float32)
    """
    if budget is None and constraints.most_cost is None:
        raise ValueError("expected a budget of records or a largest cost")
    if constraints.is_empty:
        return np.array(budget, np.int32)
    _check_shapes(pool, constraints)
    kind = np.result_type(pool.scores, np.float32)
    quotas, most_cost, given = constraints.quotas, constraints.most_cost, constraints.given
    free = np.ones(pool.num_records, bool) if given is None else ~np.asarray(given)
    costs = free
    if constraints.costs is not None:
        costs = np.asarray(constraints.costs)
        if most_cost is not None:
            free = free & (costs <= most_cost)
        if quotas is not None and quotas.of_costs:
            free = free & (costs <= np.asarray(quotas.maxima)[np.asarray(quotas.groups)])
        costs = np.where(free, costs, 0)
    of_costs = most_cost is not None if quotas is None else quotas.of_costs
    units = [(free, budget), (costs, most_cost)]
    (masses, most), (other, most_other) = units[::-1] if of_costs else units
    limits: dict[str, Any] = {"candidates": free, "masses": masses}
    if quotas is None:
        reached = _sum_over_parts([masses.sum(dtype=np.float64)], mesh)
    else:
        groups, count = np.asarray(quotas.groups), quotas.num_groups
        totals = _sum_over_parts(np.bincount(groups, masses, count), mesh)
        minima, maxima = _ends(quotas)
        _check_quotas(totals, minima, maxima, most)
        maxima = np.where(maxima < totals, maxima, np.inf)
        reached = np.minimum(maxima, totals)
        limits |= {"groups": groups.astype(np.int32), "minima": minima, "maxima": maxima}
    limits["most"] = np.inf if most is None or most >= reached.sum() else most
    if most_other is not None:
        limits |= {"other": other, "most_other": most_other}
    if given is not None:
        limits["given"] = given

    def placed(name: str, numbers: Any) -> Any:
        numbers = np.asarray(numbers, np.int32 if name == "groups" else kind)
        if mesh is None or name not in _OF_RECORDS:
            return numbers
        return shard_records(numbers, mesh)

    placed_limits = {name: placed(name, numbers) for name, numbers in limits.items()}
    return LinearLimits(**placed_limits, of_costs=of_costs)


def specs_of_limits(limits: Count | LinearLimits) -> Any:
    """How `limits` is sharded with a pool, as `over_shards` takes it."""
    if not isinstance(limits, LinearLimits):
        return REPLICATED

    def spec(name: str) -> Any:
        if getattr(limits, name) is None:
            return None
        return SHARDED if name in _OF_RECORDS else REPLICATED

    names = [field.name for field in dataclasses.fields(limits) if not field.metadata]
    specs = {name: spec(name) for name in names}
    return unchecked(LinearLimits, **specs, of_costs=limits.of_costs)


def check_allowed(
    pool: Pool,
    picks: Int[np.ndarray, " picks"],
    budget: int | None,
    constraints: Constraints,
    mesh: Mesh | None = None,
) -> None:
    """Does nothing if the picks keep to the budget and the constraints.

    Raises:
      ValueError: if they do not.
    """
    if budget is not None and len(picks) > budget:
        raise ValueError(f"picks: expected at most {budget}, found {len(picks)}")
    own = part_of_picks(picks, part_sizes(pool, mesh), mesh)
    if constraints.given is not None:
        here = np.count_nonzero(np.asarray(constraints.given)[own])
        if again := int(_sum_over_parts([here], mesh)[0]):
            raise ValueError(f"picks: {again} of them are given already")
    ones = np.ones(len(own))
    costs = ones if constraints.costs is None else np.asarray(constraints.costs)[own]
    if constraints.most_cost is not None:
        cost = _sum_over_parts([costs.sum(dtype=np.float64)], mesh)[0]
        if cost > constraints.most_cost:
            raise ValueError(
                f"picks: expected costs of {constraints.most_cost} at most, found {cost:.0f}"
            )
    quotas = constraints.quotas
    if quotas is None:
        return
    masses = costs if quotas.of_costs else ones
    held = np.bincount(np.asarray(quotas.groups)[own], masses, quotas.num_groups)
    held = _sum_over_parts(held, mesh)
    minima, maxima = _ends(quotas)
    if (wrong := np.flatnonzero((held < minima) | (held > maxima))).size:
        group = wrong[0]
        most = "" if np.isinf(maxima[group]) else f" and at most {maxima[group]:.0f}"
        raise ValueError(
            f"picks: expected at least {minima[group]:.0f}{most} of group {group}, "
            f"found {held[group]:.0f}"
        )


def _ends(quotas: Quotas) -> tuple[np.ndarray, np.ndarray]:
    """The minima and the maxima in float64, where no maximum is infinite.

    Costs of a group may come to more than `NO_MAXIMUM` together.
    """
    minima, maxima = np.asarray(quotas.minima, np.float64), np.asarray(quotas.maxima, np.float64)
    return minima, np.where(maxima == NO_MAXIMUM, np.inf, maxima)


def _check_shapes(pool: Pool, constraints: Constraints) -> None:
    quotas = constraints.quotas
    of_records = {
        "costs": constraints.costs,
        "quotas.groups": None if quotas is None else quotas.groups,
        "given": constraints.given,
    }
    for name, numbers in of_records.items():
        if numbers is not None:
            message = f"{name}: expected one for each record"
            chex.assert_shape(numbers, (pool.num_records,), custom_message=message)


def _check_quotas(
    totals: np.ndarray, minima: np.ndarray, maxima: np.ndarray, most: Count | None
) -> None:
    """Raises ValueError if nothing meets the minima."""
    if (short := np.flatnonzero(np.minimum(totals, maxima) < minima)).size:
        group = short[0]
        raise ValueError(
            f"group {group}: the minimum is {minima[group]:.0f}, but no more than "
            f"{min(totals[group], maxima[group]):.0f} can be picked"
        )
    if most is not None and minima.sum() > most:
        raise ValueError(f"the minima are {minima.sum():.0f} together, but the budget is {most}")


def _sum_over_parts(numbers: Real[Array, " n"] | list[Any], mesh: Mesh | None) -> np.ndarray:
    """The sums over processes, in float64."""
    return np.sum(all_gather_parts(np.asarray(numbers, np.float64), mesh), axis=0)
