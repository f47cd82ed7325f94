"""Greedy choice in which what a record would add can only fall."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

__all__ = ["lazily"]


def lazily(
    number: int,
    values: Callable[[npt.NDArray[np.integer]], npt.NDArray[np.float64]],
    *,
    block: int = 64,
) -> Iterator[int]:
    """Yields 0 … number − 1, next always the one of the largest value, ties to the lowest.

    A value is computed again only if what it was might still win: the picks are those of a
    search through all.

    Args:
      values: of some of them, given all that the caller did with those yielded so far; none may
        grow, and none be −inf.
      block: how many values are computed at once; any gives the same picks.
    """
    everything = np.arange(number)
    blocks = [everything[start : start + block] for start in range(0, number, block)]
    bounds = np.concatenate([values(some) for some in blocks] or [np.empty(0)])
    known_in = np.zeros(number, np.int64)
    for round_ in range(number):
        while known_in[best := int(bounds.argmax())] < round_:
            least = bounds.max(where=known_in == round_, initial=-np.inf)
            old = np.flatnonzero((known_in < round_) & (bounds >= least))
            if len(old) > block:
                old = old[np.argpartition(-bounds[old], block - 1)[:block]]
            bounds[old] = values(old)
            known_in[old] = round_
        bounds[best], known_in[best] = -np.inf, number
        yield best
