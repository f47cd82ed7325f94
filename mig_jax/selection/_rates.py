"""What gains are compared by if costs are limited: gain over what a record takes of the limits.

By gain over cost alone, a budget of records fills with cheap ones while costs are left; by the
gain alone, the costs are used up before the records are. What a record takes of all limits is told
by their prices, the dual of the certificate's linear problem: λ a record, ν a unit of cost, and
one more for each group that is at a limit of its own. So a record of cost c in group g is compared
by its gain over λ + ρ_g + ν·c, too.

Rates are whole numbers in the proportions of the prices: what gains are divided by is exact then,
in any program.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from mig_jax.measure import Array

__all__ = ["Rates", "by_cost", "by_gain", "rates_of_prices"]

_LARGEST = 1 << 30  # Of what a gain is divided by.


class Rates(NamedTuple):
    """What a record takes: `records` of its group, and `costs` of it times its cost, at least 1."""

    records: Int[Array, " groups"]  #: int32.
    costs: Int[Array, " groups"]  #: int32.

    @property
    def has_costs(self) -> bool:
        """Whether costs matter; else gains are compared, perhaps with others for each group."""
        return bool(np.any(self.costs))

    def told(self) -> dict[str, list[int]]:
        """As JSON has it; `Rates.of` is the inverse."""
        return {name: np.asarray(rates).tolist() for name, rates in self._asdict().items()}

    @classmethod
    def of(cls, told: dict[str, list[int]]) -> Rates:
        return cls(*(np.array(told[name], np.int32) for name in cls._fields))

    def of_rows(
        self, groups: Int[Array, "*rows"] | None, costs: Int[Array, "*rows"]
    ) -> Int[Array, "*rows"]:
        """What the gain of records of these groups and costs is divided by: int32, at least 1.

        `groups` is None if all are of one.
        """
        records, of_costs = (rates[0 if groups is None else groups] for rates in self)
        return records + of_costs * costs.clip(1)


def by_gain(num_groups: int) -> Rates:
    """Records are compared by their gains."""
    return Rates(np.ones(num_groups, np.int32), np.zeros(num_groups, np.int32))


def by_cost(num_groups: int) -> Rates:
    """Records are compared by gain over cost."""
    return Rates(np.zeros(num_groups, np.int32), np.ones(num_groups, np.int32))


def rates_of_prices(
    records: Float[np.ndarray, " groups"], costs: Float[np.ndarray, " groups"], dearest: int
) -> Rates:
    """Whole numbers in the proportions of prices, to three digits.

    Args:
      records: the price of a record of each group; below 0 counts as 0.
      costs: that of a unit of its cost.
      dearest: no record that may be picked costs more.

    >>> rates = rates_of_prices(np.array([24.32]), np.array([0.033]), 1000)
    >>> round(float(rates.records[0] / rates.costs[0]), 1)
    736.4
    """
    dearest = max(dearest, 1)
    if dearest >= _LARGEST:
        return by_cost(len(records))
    records, costs = (
        np.array([float(f"{price:.3g}") for price in np.maximum(prices, 0)])
        for prices in (records, costs)
    )
    most = max(float(np.max(records + costs * dearest, initial=0.0)), 1e-30)
    scale = _LARGEST / most
    if (costs[costs > 0] * scale < 1).any():  # So dear a record that no whole number is as small.
        costs = np.where(costs > 0, np.maximum(costs, 1 / scale), 0)
    if not costs.any() and np.ptp(records) == 0:
        return by_gain(len(records))
    if not records.any() and np.ptp(costs) == 0:
        return by_cost(len(records))
    whole = [np.floor(prices * scale).astype(np.int32) for prices in (records, costs)]
    nothing = (whole[0] == 0) & (whole[1] == 0)  # What takes nothing of any limit comes first.
    return Rates(np.where(nothing, 1, whole[0]).astype(np.int32), whole[1])
