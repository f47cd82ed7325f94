"""Several scores of a record made into one: pure functions of their values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["COMBINATIONS", "combine", "is_nearly_constant", "mean_of_turns", "ranks"]

COMBINATIONS = ("mean_of_turns", "product", "ranks")


def combine(
    values: Sequence[Mapping[str, Sequence[float]]], how: str, weights: Mapping[str, float]
) -> npt.NDArray[np.float64]:
    """The score of each record, float64 [n].

    Args:
      values: of each record, by scorer, a value for each turn or a single one.
      how: "mean_of_turns" multiplies the scorers' values turn by turn and takes the mean
        over turns, as DEITA's quality x complexity are used (arXiv 2504.13835, section
        4.1). "product" multiplies the scorers' means. "ranks" adds the normalised ranks of
        the scorers' means over all records, by weight.
      weights: of each scorer that counts; what they are matters to "ranks" only.

    Raises:
      ValueError: for another `how`.

    >>> both = [{"q": [2.0, 4.0], "c": [3.0, 1.0]}]
    >>> combine(both, "mean_of_turns", {"q": 1, "c": 1}).item()  # (2 x 3 + 4 x 1) / 2
    5.0
    >>> combine(both, "product", {"q": 1, "c": 1}).item()  # 3 x 2
    6.0
    """
    if how not in COMBINATIONS:
        raise ValueError(f"how is {how!r}, expected one of {', '.join(COMBINATIONS)}")
    if how == "mean_of_turns":
        found = [mean_of_turns([of_one[name] for name in weights]) for of_one in values]
        return np.array(found, np.float64)
    means = {
        name: np.array([np.mean(of_one[name]) for of_one in values], np.float64) for name in weights
    }
    if how == "product":
        return np.multiply.reduce(list(means.values()))
    total = sum(weights.values())
    return sum(
        (weight / total * ranks(means[name]) for name, weight in weights.items()),
        np.zeros(len(values)),
    )


def mean_of_turns(of_scorers: Sequence[Sequence[float]]) -> float:
    """The mean over turns of the product over scorers; a single value counts for each turn.

    Raises:
      ValueError: where two scorers differ in the number of turns.
    """
    turns = max(len(values) for values in of_scorers)
    if any(len(values) not in (1, turns) for values in of_scorers):
        raise ValueError(f"scorers gave {sorted({len(v) for v in of_scorers})} values, one a turn")
    product = np.ones(turns)
    for values in of_scorers:
        product = product * np.asarray(values, np.float64)
    return float(np.mean(product))


def ranks(values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """The rank of each value from 0 to 1, equal ones sharing the mean of theirs, float64 [n].

    >>> ranks([10.0, 30.0, 20.0, 20.0]).tolist()
    [0.0, 1.0, 0.5, 0.5]
    """
    numbers = np.asarray(values, np.float64)
    if len(numbers) < 2:
        return np.full(len(numbers), 0.5)
    _, group, count = np.unique(numbers, return_inverse=True, return_counts=True)
    last = np.cumsum(count) - 1
    return ((last - (count - 1) / 2) / (len(numbers) - 1))[group]


def is_nearly_constant(values: npt.ArrayLike, *, spread: float = 0.01) -> bool:
    """Whether nine tenths of the values are within `spread` of their median, relatively.

    Such a scorer tells records hardly apart. False for fewer than two values.

    >>> is_nearly_constant([3.0, 3.0, 3.001, 2.999]), is_nearly_constant([1.0, 2.0, 3.0])
    (True, False)
    """
    numbers = np.asarray(values, np.float64)
    if len(numbers) < 2:
        return False
    low, median, high = np.quantile(numbers, [0.05, 0.5, 0.95])
    return bool(high - low <= spread * abs(median))
