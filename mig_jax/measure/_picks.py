"""Picks as users give them: what is no number of a record is refused, and not rounded to one."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from mig_jax.measure._arrays import Indices

__all__ = ["whole_picks"]


def whole_picks(picks: Indices, num_records: int) -> Int[np.ndarray, " picks"]:
    """The picks, which are not traced, as int64. That one is named twice is not looked for.

    Raises:
      ValueError: if they are not whole numbers along one axis, or one is not in the pool.

    >>> whole_picks([2, 0], 3)
    array([2, 0])
    """
    found = np.asarray(picks)
    if found.ndim != 1 or (found.size and not np.issubdtype(found.dtype, np.integer)):
        raise ValueError(
            f"picks: found {found.dtype}{list(found.shape)}, expected whole numbers along one axis"
        )
    if found.size and (found.min() < 0 or found.max() >= num_records):
        raise ValueError(f"picks must be in 0 to {num_records - 1}")
    return found.astype(np.int64)
