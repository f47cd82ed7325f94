"""Rank correlations of many columns with theirs, and how sure they are."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import scipy.stats

__all__ = ["Correlations", "rank_correlations"]

_DRAWS = 2000
_CONFIDENCE = 0.95


@dataclasses.dataclass(frozen=True, eq=False)
class Correlations:
    """Spearman's coefficient of each column, and its interval: NaN where a column is constant."""

    value: npt.NDArray[np.float64]  #: [C].
    low: npt.NDArray[np.float64]  #: [C].
    high: npt.NDArray[np.float64]  #: [C].


def rank_correlations(
    columns: npt.NDArray[np.floating],
    targets: npt.NDArray[np.floating],
    families: Sequence[str],
) -> Correlations:
    """Spearman's coefficient of each column with its target, and a 95 % interval.

    The interval is of the bootstrap over families, always with the same draws: selections of
    one method with several seeds are alike, and are drawn together. Draws in which a column is
    constant are left out.

    Args:
      columns: [C, n], one number for each of n selections.
      targets: [C, n].
      families: [n], the family of each selection.

    >>> rising = np.array([[1.0, 2.0, 3.0, 4.0]])
    >>> rank_correlations(rising, -rising**3, ["a", "b", "c", "d"]).value.tolist()
    [-1.0]
    """
    members = [np.flatnonzero(np.array(families) == f) for f in dict.fromkeys(families)]
    rng = np.random.default_rng(0)
    draws = [
        _spearman(columns[:, own], targets[:, own])
        for own in (
            np.concatenate([members[m] for m in rng.integers(0, len(members), len(members))])
            for _ in range(_DRAWS)
        )
    ]
    tail = (1 - _CONFIDENCE) / 2
    bounds = np.full((2, len(columns)), np.nan)
    for column, found in enumerate(np.array(draws).T):
        if np.isfinite(found).any():
            bounds[:, column] = np.nanquantile(found, [tail, 1 - tail])
    return Correlations(_spearman(columns, targets), bounds[0], bounds[1])


def _spearman(
    columns: npt.NDArray[np.floating], targets: npt.NDArray[np.floating]
) -> npt.NDArray[np.float64]:
    """Pearson's coefficient of ranks, of which equal values share the mean: [C]."""
    ours, theirs = (scipy.stats.rankdata(values, axis=1) for values in (columns, targets))
    ours, theirs = (ranks - ranks.mean(axis=1, keepdims=True) for ranks in (ours, theirs))
    spread = np.sqrt((ours**2).sum(axis=1) * (theirs**2).sum(axis=1))
    found = np.full(len(columns), np.nan)
    return np.divide((ours * theirs).sum(axis=1), spread, where=spread > 0, out=found)
