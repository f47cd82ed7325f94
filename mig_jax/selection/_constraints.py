"""What a selection must keep to beside a number of records: costs, quotas, a set that is given."""

from __future__ import annotations

import dataclasses

import chex
import numpy as np
from jaxtyping import Bool, Int

from mig_jax.measure import Array, Count, as_pytree

__all__ = ["NO_MAXIMUM", "UNCONSTRAINED", "Constraints", "Quotas"]

#: A maximum that is none, and more than any cost or sum of costs that is allowed.
NO_MAXIMUM = np.int32(2**31 - 1)


@as_pytree
class Quotas:
    """How much of each group of records must and may be picked.

    Raises:
      AssertionError: if `minima` and `maxima` differ in shape.
    """

    groups: Int[Array, " records"]  #: The group of each record, in [0, G).
    minima: Int[Array, " groups"]  #: At least 0.
    maxima: Int[Array, " groups"]  #: `NO_MAXIMUM` if there is none.
    #: Whether minima and maxima are sums of costs; else they are numbers of records.
    of_costs: bool = dataclasses.field(default=False, metadata={"static": True})

    def __post_init__(self) -> None:
        message = "minima, maxima: expected one of each for each group"
        chex.assert_equal_shape([self.minima, self.maxima], custom_message=message)

    @property
    def num_groups(self) -> int:
        return int(self.minima.shape[0])


@as_pytree
class Constraints:
    """Which selections are allowed; without anything, all of the budget's size are.

    If the pool is one process's part, so are `costs`, `quotas.groups` and `given`.

    Raises:
      AssertionError: if one of `costs` and `most_cost` is there without the other and without
        quotas of costs.
    """

    #: What each record costs, such as its tokens: at least 0.
    costs: Int[Array, " records"] | None = None
    #: What the picks may cost together, below 2³¹; None for no limit.
    most_cost: Count | None = None
    quotas: Quotas | None = None
    #: Records that z holds from the start: they are not picked, cost nothing and are of no quota.
    given: Bool[Array, " records"] | None = None

    def __post_init__(self) -> None:
        of_costs = self.quotas is not None and self.quotas.of_costs
        if self.costs is None and (self.most_cost is not None or of_costs):
            raise AssertionError("costs: expected one for each record, as costs are limited")

    @property
    def is_empty(self) -> bool:
        """Whether any selection of the budget's size is allowed."""
        parts = (self.most_cost, self.quotas, self.given)
        return all(part is None for part in parts)


UNCONSTRAINED = Constraints()
