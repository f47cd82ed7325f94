"""The definitions of the paper as plain loops in NumPy float64: slow, dense and independent."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np

Phi = Callable[[float], float]


def power(exponent: float, epsilon: float) -> Phi:
    return lambda x: (x + epsilon) ** exponent - epsilon**exponent


def exponential(rate: float) -> Phi:
    return lambda x: 1 - math.exp(-rate * x)


def log(rate: float) -> Phi:
    return lambda x: math.log(1 + rate * x)


def saturating(rate: float) -> Phi:
    return lambda x: x / (x + 1 / rate)


def propagation_matrix(num_labels: int, edges: Sequence, alpha: float) -> np.ndarray:
    """A of Eq. 6, dense."""
    w = np.zeros((num_labels, num_labels))
    for p, q, similarity in edges:
        w[int(p), int(q)] = w[int(q), int(p)] = similarity
    a = np.zeros_like(w)
    for p in range(num_labels):
        total = 1 + alpha * sum(w[p, k] for k in range(num_labels) if k != p)
        for q in range(num_labels):
            a[p, q] = (1.0 if p == q else alpha * w[p, q]) / total
    return a


def propagated(label_lists: Sequence, scores: Sequence, a: np.ndarray) -> np.ndarray:
    """ê_d of every record (Eq. 7): [P, K]."""
    rows = np.zeros((len(label_lists), len(a)))
    for d, labels in enumerate(label_lists):
        v = np.zeros(len(a))
        v[sorted(set(labels))] = 1
        rows[d] = a @ (scores[d] * v)
    return rows


def total_information(phi: Phi, z: np.ndarray) -> float:
    return sum(phi(float(x)) for x in z)


def slope(phi: Phi, x: float) -> float:
    """φ'(x), by a central difference of relative step; φ is smooth where this is used."""
    h = 1e-6 * max(x, 1e-3)
    low = max(x - h, 0.0)
    return (phi(x + h) - phi(low)) / (x + h - low)


def gains(phi: Phi, derivative: Phi, rows: np.ndarray, z: np.ndarray, gain: str) -> np.ndarray:
    """Marginal gains of all records, exact (Eq. 9) or linear (Eq. 10-11)."""
    out = np.zeros(len(rows))
    for d, row in enumerate(rows):
        for k in np.flatnonzero(row):
            if gain == "exact":
                out[d] += phi(float(z[k] + row[k])) - phi(float(z[k]))
            else:
                out[d] += derivative(float(z[k])) * row[k]
    return out


def check_greedy(
    picks: Sequence[int],
    budget: int,
    rows: np.ndarray,
    phi: Phi,
    derivative: Phi,
    gain: str,
    tolerance: float,
) -> None:
    """Asserts that every pick is the greedy's: of largest gain, of lowest index among equals.

    Records whose gains differ by less than `tolerance` count as tied only if rounding may
    order them either way; records with the same row are truly tied, and the lowest must be taken.
    """
    assert len(picks) == min(budget, len(rows))
    left = np.ones(len(rows), bool)
    z = np.zeros(rows.shape[1])
    for pick in picks:
        assert left[pick], "picked twice"
        current = np.where(left, gains(phi, derivative, rows, z, gain), -np.inf)
        best = current.max()
        tied = np.flatnonzero(current >= best - tolerance * max(best, 1e-3))
        assert pick in tied, f"picked {pick} with gain {current[pick]}, best is {best}"
        same = [d for d in tied if np.array_equal(rows[d], rows[pick])]
        assert pick == same[0], f"picked {pick}, tied with {same[0]}"
        if best == 0:
            assert pick == np.flatnonzero(left)[0]
        left[pick] = False
        z = z + rows[pick]


def best_subset(rows: np.ndarray, budget: int, phi: Phi) -> float:
    """The largest E over all subsets of `budget` records."""
    return max(
        total_information(phi, rows[list(subset)].sum(axis=0))
        for subset in itertools.combinations(range(len(rows)), budget)
    )
