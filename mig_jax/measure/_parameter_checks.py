"""What parameters of the measure may be, told where they are given and not where they fail."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np

__all__ = ["check_at_least_0", "is_known"]


def is_known(leaf: Any) -> bool:
    """Whether the numbers of a leaf can be looked at: not while it is traced or is no number."""
    if isinstance(leaf, jax.core.Tracer):
        return False
    if isinstance(leaf, jax.Array):
        return leaf.is_fully_addressable and not leaf.is_deleted()
    return isinstance(leaf, int | float | np.ndarray | np.number)


def check_at_least_0(tree: Any) -> None:
    """Does nothing if all numbers of a dataclass's own fields are at least 0.

    What is of no kind of numbers is no parameter, and is not looked at.

    Raises:
      TypeError: for a text, a list or a tuple.
      ValueError: for a number below 0, or NaN.
    """
    for field in dataclasses.fields(tree):
        leaf = getattr(tree, field.name)
        if isinstance(leaf, str | list | tuple):
            found = type(leaf).__name__
            raise TypeError(f"{field.name}: found a {found}, expected a number or an array")
        if is_known(leaf) and not np.all(np.asarray(leaf) >= 0):
            least = np.min(np.asarray(leaf))
            raise ValueError(f"{field.name}: found {least:.6g}, expected at least 0")
