"""What a selection must keep to beside a number of records: costs, quotas, a set that is given."""

from __future__ import annotations

import dataclasses
from typing import Any

import chex
import jax.numpy as jnp
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
      ValueError: if something of it is no whole numbers.
    """

    groups: Int[Array, " records"]  #: The group of each record, in [0, G).
    minima: Int[Array, " groups"]  #: At least 0.
    maxima: Int[Array, " groups"]  #: `NO_MAXIMUM` if there is none.
    #: Whether minima and maxima are sums of costs; else they are numbers of records.
    of_costs: bool = dataclasses.field(default=False, metadata={"static": True})

    def __post_init__(self) -> None:
        message = "minima, maxima: expected one of each for each group"
        chex.assert_equal_shape([self.minima, self.maxima], custom_message=message)
        for name in ("groups", "minima", "maxima"):
            _check_kind(name, getattr(self, name), np.integer, "whole numbers")

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
      ValueError: if costs are no whole numbers, or what is given is no truth values.
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
        _check_kind("costs", self.costs, np.integer, "whole numbers")
        _check_kind("most_cost", self.most_cost, np.integer, "a whole number")
        expected = "a truth value for each record, as np.isin(np.arange(P), records) has them"
        _check_kind("given", self.given, np.bool_, expected)

    @property
    def is_empty(self) -> bool:
        """Whether any selection of the budget's size is allowed."""
        parts = (self.most_cost, self.quotas, self.given)
        return all(part is None for part in parts)


def _check_kind(name: str, found: Any, kind: Any, expected: str) -> None:
    """Refuses numbers of another kind, which would be cut, or taken for truth values.

    Only dtypes are looked at, which traced arrays have, too.
    """
    if found is None:
        return
    dtype = found.dtype if hasattr(found, "dtype") else np.asarray(found).dtype
    if not jnp.issubdtype(dtype, kind) and np.shape(found) != (0,):
        raise ValueError(f"{name}: found {dtype}{list(np.shape(found))}, expected {expected}")


UNCONSTRAINED = Constraints()
