"""The cells of an ablation, by their hyperparameters as a user gives them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from mig_jax.errors import InputError
from mig_jax.measure import FAMILIES, PAPER, Measure
from mig_jax.selection._grid import Cell

__all__ = ["Point", "grid_points", "paper_point"]


class Point(NamedTuple):
    """One cell of the grid."""

    family: str
    value: float  # Of the family's shape parameter, such as the exponent of the power function.
    propagation: float
    threshold: float
    gain: str

    @property
    def parameter(self) -> str:
        """The name of the family's shape parameter."""
        return _parameter(self.family)

    def cell(self) -> Cell:
        function = FAMILIES[self.family](**{self.parameter: self.value})
        return Cell(Measure(function, self.propagation), self.threshold)


def paper_point(threshold: float) -> Point:
    """The paper's settings at this threshold; `PAPER.threshold` is its own."""
    return Point(PAPER.family, PAPER.exponent, PAPER.propagation, threshold, PAPER.gain)


def grid_points(
    families: Sequence[str],
    values: Mapping[str, Sequence[float]],
    propagations: Sequence[float],
    thresholds: Sequence[float],
    gains: Sequence[str],
) -> list[Point]:
    """Every combination; of `values`, a family takes those that its shape parameter names.

    Raises:
      InputError: if a family has no shape parameter, or `values` has none for it.

    >>> values = {"exponent": [0.5, 0.8], "rate": [0.1]}
    >>> points = grid_points(["power", "log"], values, [1.0], [0.9], ["exact"])
    >>> [(point.family, point.value) for point in points]
    [('power', 0.5), ('power', 0.8), ('log', 0.1)]
    """
    for family in families:
        if _parameter(family) not in values:
            raise InputError(
                f"{family}: found no values for its {_parameter(family)}, expected a family with "
                f"{' or '.join(values)}"
            )
    return [
        Point(family, *rest)
        for family in families
        for rest in itertools.product(values[_parameter(family)], propagations, thresholds, gains)
    ]


def _parameter(family: str) -> str:
    name = FAMILIES[family].shape_name
    if name is None:
        raise InputError(f"{family}: has no shape parameter, expected a family that names one")
    return name
