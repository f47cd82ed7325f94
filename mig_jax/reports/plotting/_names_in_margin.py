"""Where names stand in a column beside a panel, each joined to its point by a line."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

__all__ = ["spread_apart", "uncrossed"]


def spread_apart(heights: Any, gap: float) -> np.ndarray:
    """Ascending heights in 0 to 1 moved apart to `gap` at least; to what room there is."""
    places = np.clip(np.asarray(heights, float), gap / 2, 1 - gap / 2)
    gap = min(gap, (1 - gap) / max(len(places) - 1, 1))
    steps = gap * np.arange(len(places))
    # Up from the lowest, then back down from the highest: no pair ends nearer than the gap.
    places = np.maximum.accumulate(places - steps) + steps
    highest = 1 - gap / 2 - steps[::-1]
    return np.minimum(places, highest)


def uncrossed(places: np.ndarray, heights: np.ndarray, margin: float) -> list[int]:
    """Which point is named at each height, so that no two lines from points to names cross.

    Args:
      places: float [n, 2]: the points, in fractions of the panel.
      heights: float [n], ascending: of the names.
      margin: where the names stand, right of all points.
    """

    def length(point: int, name: int) -> float:
        return float(np.hypot(margin - places[point, 0], heights[name] - places[point, 1]))

    order = [int(point) for point in np.lexsort((places[:, 0], places[:, 1]))]
    swapped = True
    while swapped:  # Two lines that cross are longer together than the two that do not.
        swapped = False
        for a, b in itertools.combinations(range(len(order)), 2):
            now = length(order[a], a) + length(order[b], b)
            if length(order[a], b) + length(order[b], a) < now - 1e-9:
                order[a], order[b] = order[b], order[a]
                swapped = True
    return order
