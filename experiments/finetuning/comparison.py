"""Cells compared with a random choice: differences of losses with their intervals."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import scipy.stats

__all__ = ["Difference", "Result", "difference", "mean_over_tasks"]

_CONFIDENCE = 0.95


@dataclasses.dataclass(frozen=True, eq=False)
class Result:
    """What one fine-tuned model lost on n test records, and what it was trained on."""

    content: npt.NDArray[np.float64]  #: [n], nats a token of what answers say.
    end: npt.NDArray[np.float64]  #: [n], nats of the token that ends an answer.
    #: [n], 1 where the right one of few answers is the likeliest, 0 where it is not, NaN where
    #: answers are not one of few.
    right: npt.NDArray[np.float64]
    records: int
    tokens: int
    response_tokens: int


@dataclasses.dataclass(frozen=True)
class Difference:
    """A mean, and the 95 % interval for it over seeds and test records."""

    mean: float
    low: float
    high: float

    @property
    def is_clear(self) -> bool:
        """Whether zero is outside."""
        return self.low > 0 or self.high < 0


def mean_over_tasks(losses: npt.NDArray[np.floating], groups: npt.NDArray[np.str_]) -> float:
    """The mean over tasks of the mean over their records."""
    return float(np.mean([losses[groups == group].mean() for group in np.unique(groups)]))


def difference(
    by_seed: Sequence[npt.NDArray[np.floating]], groups: npt.NDArray[np.str_]
) -> Difference:
    """The mean over tasks of differences by seed and record, with its interval.

    Two things vary: seeds (which records are seen, selected, and in which order they are trained
    on) and test records. Both variances add. Few seeds, or few records, tell their variance
    badly: the interval is Student's, with degrees of freedom by Welch and Satterthwaite. With
    one seed it speaks of test records alone. A task with one record has the variance of the
    others; if all have one, nothing is known and the interval is without ends.

    Args:
      by_seed: [n] for each seed: the loss of the one less that of the other, paired.
      groups: [n], the task of each test record.

    >>> groups = np.array(["a", "a", "b", "b"])
    >>> found = difference([np.array([1.0, 1.0, 3.0, 3.0]), np.array([1.5, 1.5, 3.5, 3.5])], groups)
    >>> found.mean, round(found.low, 2), round(found.high, 2)
    (2.25, -0.93, 5.43)
    """
    seeds = len(by_seed)
    means = [mean_over_tasks(one, groups) for one in by_seed]
    of_record = np.mean(by_seed, axis=0)
    tasks = [of_record[groups == group] for group in np.unique(groups)]
    mean = float(np.mean(means))
    known = [one for one in tasks if len(one) > 1]
    if not known:
        return Difference(mean, -np.inf, np.inf)
    # Each part of the variance of the mean, with its degrees of freedom.
    for_others = (len(tasks) - len(known)) / len(known)
    parts = [
        (one.var(ddof=1) * (1 / len(one) + for_others) / len(tasks) ** 2, len(one) - 1)
        for one in known
    ]
    if seeds > 1:
        parts.append((float(np.var(means, ddof=1)) / seeds, seeds - 1))
    variance = float(sum(part for part, _ in parts))
    if not variance:
        return Difference(mean, mean, mean)
    freedom = variance**2 / sum(part**2 / free for part, free in parts)
    width = scipy.stats.t.ppf((1 + _CONFIDENCE) / 2, freedom) * variance**0.5
    return Difference(mean, float(mean - width), float(mean + width))
