"""The cells of an ablation, by their hyperparameters as a user gives them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from mig_jax.measure import FAMILIES, PAPER, Measure
from mig_jax.selection._grid import Cell

__all__ = ["Point", "grid_points", "paper_point"]


class Point(NamedTuple):
    """One cell of the grid."""

    family: str
    value: float  # The exponent of the power function, the rate of the other families.
    propagation: float
    threshold: float
    gain: str

    @property
    def parameter(self) -> str:
        return "exponent" if self.family == "power" else "rate"

    def cell(self) -> Cell:
        function = FAMILIES[self.family](**{self.parameter: self.value})
        return Cell(Measure(function, self.propagation), self.threshold)


def paper_point(threshold: float) -> Point:
    """The paper's settings at this threshold; `PAPER.threshold` is its own."""
    return Point(PAPER.family, PAPER.exponent, PAPER.propagation, threshold, PAPER.gain)


def grid_points(
    families: Sequence[str],
    exponents: Sequence[float],
    rates: Sequence[float],
    propagations: Sequence[float],
    thresholds: Sequence[float],
    gains: Sequence[str],
) -> list[Point]:
    """Every combination; exponents go with the power function, rates with the other families."""
    return [
        Point(family, *rest)
        for family in families
        for rest in itertools.product(
            exponents if family == "power" else rates, propagations, thresholds, gains
        )
    ]
