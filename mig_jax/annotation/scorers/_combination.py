"""Several scores of a record made into one: pure functions of their values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["COMBINATIONS", "combine", "is_nearly_constant", "mean_of_turns", "ranks"]

COMBINATIONS = ("mean_of_turns", "product", "ranks")


def mean_of_turns(of_scorers: Sequence[Sequence[float]]) -> float:
    """The mean over turns of the product over scorers, as DEITA's two scores are used.

    That is the quality of a record in MIG (arXiv 2504.13835, section 4.1). A scorer has
    a value for each turn, or a single one, which counts for each.

    Raises:
      ValueError: if two scorers differ in the number of turns.

    >>> mean_of_turns([[2.0, 4.0], [3.0, 1.0]])
    5.0
    """
    turns = max(len(values) for values in of_scorers)
    if any(len(values) not in (1, turns) for values in of_scorers):
        raise ValueError(f"scorers gave {sorted({len(v) for v in of_scorers})} values, one a turn")
    product = np.ones(turns)
    for values in of_scorers:
        product = product * np.asarray(values, np.float64)
    return float(np.mean(product))


def combine(
    how: str,
    means: Mapping[str, npt.ArrayLike],
    of_turns: npt.ArrayLike,
    weights: Mapping[str, float],
) -> npt.NDArray[np.float64]:
    """The score of each record, float64 [n].

    Args:
      how: "mean_of_turns" takes `of_turns`; "product" multiplies the scorers' means;
        "ranks" is the weighted mean of their normalised ranks, whatever scales they have.
      means: of each scorer the mean over turns of each record, [n].
      of_turns: `mean_of_turns` of each record, [n].
      weights: of each scorer, above 0; they matter to "ranks" only.

    Raises:
      ValueError: for another `how`.

    >>> means = {"a": [1.0, 2.0, 3.0], "b": [30.0, 20.0, 10.0]}
    >>> combine("ranks", means, [], {"a": 3.0, "b": 1.0}).tolist()
    [0.25, 0.5, 0.75]
    """
    if how not in COMBINATIONS:
        raise ValueError(f"how is {how!r}, expected one of {', '.join(COMBINATIONS)}")
    if how == "mean_of_turns":
        return np.asarray(of_turns, np.float64)
    columns = {name: np.asarray(values, np.float64) for name, values in means.items()}
    if how == "product":
        return np.prod(list(columns.values()), axis=0)
    total = sum(weights[name] for name in columns)
    return np.sum([weights[name] / total * ranks(of) for name, of in columns.items()], axis=0)


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
    """Whether nine tenths of the values lie within a range of `spread` times their median.

    Such a scorer tells records hardly apart. False for fewer than two values.

    >>> is_nearly_constant([3.0, 3.0, 3.001, 2.999]), is_nearly_constant([1.0, 2.0, 3.0])
    (True, False)
    """
    numbers = np.asarray(values, np.float64)
    if len(numbers) < 2:
        return False
    low, median, high = np.quantile(numbers, [0.05, 0.5, 0.95])
    return bool(high - low <= spread * abs(median))
