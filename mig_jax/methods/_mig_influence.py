"""MIG's measure, with what the wanted records lack for labels.

The measure of arXiv 2504.13835, E = Σ_k φ(z_k) with z_k the sum of the records' amounts on label k
and φ(z) = z^α. A label is a group of one task's wanted records whose losses fall along like
gradients; the amount of a record is what it would lower the group's mean loss by, to first order.
As φ is concave, the second record that teaches the same counts for less than the first.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from mig_jax.methods._candidates import Candidates, Limits
from mig_jax.methods._curvature import along, whitened
from mig_jax.methods._influence import asked_about
from mig_jax.methods._lazy import lazily

__all__ = ["groups_of_wanted", "mig_influence"]

_RECORDS, _MOST = 4, 12  # √(V/4) groups of a task's V wanted records, and at most 12.


def mig_influence(
    candidates: Candidates,
    rng: np.random.Generator,
    limits: Limits,
    *,
    alpha: float = 0.5,
) -> Iterator[int]:
    """Greedy picks by the measure, ties to the lowest index, of what fits the tokens left.

    Group k of V_k wanted records of task t weighs V_k / V_t / T: tasks count equally. Amounts are
    scaled for each group such that an even share of the pool, as large as the limits allow, has
    z_k = 1. What a record would raise a group's loss by is no amount but a price: it lowers the
    record's gain by as much as φ'(1) = α says, so that at z = 1 one that helps a group and harms
    others alike is worth nothing. If tokens are limited, gains are for each token. Records without
    gradients come last.

    Args:
      alpha: α, above 0 and at most 1; 1 is the sum.

    Raises:
      ValueError: if α is another number.
    """
    if not 0 < alpha <= 1:
        raise ValueError(f"alpha: expected a number above 0 and at most 1, got {alpha}")
    asked = asked_about(candidates)
    known, tokens = asked.known, asked.tokens
    directions = whitened(asked.wanted, asked.root)
    groups, weights = groups_of_wanted(directions, asked.tasks)
    found = along(asked.gradients[known], asked.fisher, asked.means(groups))
    helps, harms = np.maximum(found, 0), np.maximum(-found, 0)
    even = helps.sum(axis=0) * _share(tokens[known], limits)
    # Nothing helps a group of zeros: no choice has to do with it.
    scale = np.divide(1, even, where=even > 0, out=np.zeros_like(even))
    helps *= scale
    price = (harms * (scale * weights * alpha)).sum(axis=1)
    for_each = tokens[known] if limits.tokens is not None else np.ones(known.sum())
    had = np.zeros(len(weights))

    def gains(some: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
        more = (had + helps[some]) ** alpha - had**alpha
        return ((more * weights).sum(axis=1) - price[some]) / for_each[some]

    left = math.inf if limits.tokens is None else limits.tokens
    costs, first = asked.costs[known], np.flatnonzero(known)
    for place in lazily(len(first), gains):
        if left < costs.min():
            break
        if costs[place] <= left:  # What no longer fits never will, and counts for nothing.
            had += helps[place]
            left -= costs[place]
            yield int(first[place])
    yield from np.flatnonzero(~known).tolist()


def groups_of_wanted(
    directions: npt.NDArray[np.float32], tasks: npt.NDArray[np.str_]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Wanted records of a task grouped by k-means of their directions: [V] from 0, weights [K].

    Args:
      directions: [V, F], none of zeros: brought to unit length here.
      tasks: [V].
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    unit = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    groups = np.zeros(len(tasks), np.int64)
    names, counts = np.unique(tasks, return_counts=True)
    weights: list[npt.NDArray[np.float64]] = []
    start = 0
    for task, count in zip(names, counts.tolist(), strict=True):
        number = min(max(round(math.sqrt(count / _RECORDS)), 1), _MOST)
        with warnings.catch_warnings():
            # Of fewer directions than groups, as copies are one, some groups stay empty.
            warnings.simplefilter("ignore", ConvergenceWarning)
            found = KMeans(number, random_state=0).fit(unit[tasks == task]).labels_
        sizes = np.unique(found, return_inverse=True, return_counts=True)
        groups[tasks == task] = start + sizes[1]
        weights.append(sizes[2] / count / len(names))
        start += len(sizes[2])
    return groups, np.concatenate(weights)


def _share(tokens: npt.NDArray[np.int64], limits: Limits) -> float:
    """Which part of the pool the limits allow, of records like the mean: above 0, at most 1."""
    parts = [1.0]
    if limits.tokens is not None:
        parts.append(max(limits.tokens, 1) / max(int(tokens.sum()), 1))
    if limits.records is not None:
        parts.append(max(limits.records, 1) / max(len(tokens), 1))
    return min(parts)
