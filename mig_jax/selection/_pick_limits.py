"""In which ranks of a selection that is done a record was allowed to be picked, and at what price.

The limits of a selection come down to the largest cost that a record of each group may have. It
falls from pick to pick, but for what a minimum met at less cost than was kept for it sets free.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Bool, Float, Int

from mig_jax.measure import Pool
from mig_jax.selection._allowance import Allowance, most_costs, spend
from mig_jax.selection._constraints import Constraints
from mig_jax.selection._feasibility import limits_of
from mig_jax.selection._rates import Rates

__all__ = ["PickLimits"]


@dataclasses.dataclass(frozen=True, eq=False)
class PickLimits:
    """What could be picked in each rank, and after the last pick."""

    most: Int[np.ndarray, "_ranks groups"]  #: As `most_costs` gives it.
    costs: Int[np.ndarray, " records"] | None
    groups: Int[np.ndarray, " records"] | None
    taken: Bool[np.ndarray, " records"] | None  #: Records given.
    rates: Rates | None  #: What gains were compared over; None if they were compared as they are.
    #: Over what the gain of each pick was.
    divisors: Float[np.ndarray, " picks"] | None

    @classmethod
    def of(
        cls,
        pool: Pool,
        budget: int | None,
        constraints: Constraints,
        picks: Int[np.ndarray, " picks"],
        rates: Rates | None,
    ) -> PickLimits:
        """Those of picks in order; `rates` is what gains were compared over."""
        if constraints.most_cost is None and constraints.quotas is None:
            most = np.append(np.zeros(len(picks), np.int32), np.int32(-1))[:, None]
            given = constraints.given
            return cls(
                most, None, None, None if given is None else np.asarray(given, bool), None, None
            )
        limits = limits_of(pool, budget, constraints)
        zeros = np.zeros(len(picks), np.int32)
        costs = zeros if limits.costs is None else limits.costs[picks]
        groups = zeros if limits.groups is None else limits.groups[picks]
        last, most = _most_by_rank(limits.start, groups, costs)
        every = np.concatenate([np.asarray(most), np.asarray(last)[None]])
        divisors = None
        if rates is not None:
            divisors = np.asarray(rates.of_rows(groups, costs), np.float64)
        return cls(every, limits.costs, limits.groups, limits.taken, rates, divisors)

    def most_cost(self, record: int) -> Int[np.ndarray, " _ranks"]:
        """What a record like this one could cost at most in each rank; −1 if none was allowed."""
        if self.taken is not None and self.taken[record]:
            return np.full(len(self.most), -1, np.int32)
        return self.most[:, 0 if self.groups is None else self.groups[record]]

    def cost(self, record: int) -> int:
        return 0 if self.costs is None else int(self.costs[record])

    def factors(self, record: int) -> Float[np.ndarray, " picks"] | float:
        """What the gain of each pick is multiplied by for the gain that the record needed."""
        if self.rates is None or self.divisors is None:
            return 1.0
        group = None if self.groups is None else self.groups[[record]]
        own = self.rates.of_rows(group, np.array([self.cost(record)], np.int32))
        return float(own[0]) / self.divisors


@jax.jit
def _most_by_rank(
    start: Allowance, groups: Int[jax.Array, " picks"], costs: Int[jax.Array, " picks"]
) -> tuple[Int[jax.Array, " groups"], Int[jax.Array, "picks groups"]]:
    """What is allowed after all picks, and before each of them."""

    def pick(left: Allowance, picked: tuple[jax.Array, jax.Array]) -> tuple[Allowance, jax.Array]:
        return spend(left, *picked, jnp.bool_(True)), most_costs(left).now

    start = jax.tree_util.tree_map(jnp.asarray, start)
    left, most = lax.scan(pick, start, (groups, costs))
    return most_costs(left).now, most
