"""Influence to second order: what is left to learn after the records taken so far.

With whitened gradients g̃ the Fisher matrix, which stands for the curvature, is the identity. A
step of size η along the sum G̃ of the chosen records' gradients lowers the loss of a task with
wanted gradient ṽ by η ṽ·G̃ − η²/2·‖G̃‖². What one record more adds is its product with the
residual ṽ − η G̃: less where others have taught the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from mig_jax.methods._candidates import Candidates, Limits, take
from mig_jax.methods._curvature import along, damped_fisher, main_directions, whitened
from mig_jax.methods._influence import asked_about, in_turns

__all__ = ["influence_residual"]


def influence_residual(
    candidates: Candidates,
    rng: np.random.Generator,
    limits: Limits,
    *,
    directions: int = 512,
) -> Iterator[int]:
    """Records by what they add to each task, given all those taken; the tasks take turns.

    Next is the task that has had the least tokens (records, if tokens are not limited), and of
    what still fits its record of the largest η ṽ·g̃ − η² G̃·g̃ − η²/2·‖g̃‖², for each token if
    tokens are limited; ties go to the lowest index. The ṽ of a task has unit length: short answers
    have gradients many times as long as others, and tasks count equally. η is such that the
    selection of `influence` within the same limits is as long as is best for the mean over tasks:
    v̄·G̃ / ‖G̃‖² of its G̃. Records without gradients come last.

    Args:
      directions: products between records are taken along so many main directions of their
        gradients; in all others any two records count as unlike.
    """
    asked = asked_about(candidates)
    known, means = asked.known, asked.means(asked.tasks)
    fisher = damped_fisher(asked.gradients, asked.tokens)
    root = np.linalg.cholesky(fisher)
    lengths = np.linalg.norm(whitened(means, root), axis=1)
    found = along(asked.gradients, fisher, means) / np.where(lengths > 0, lengths, 1)
    start = take(in_turns(found, asked, limits), asked.costs, limits)
    lowered = float(found[start].mean(axis=1).sum())
    rows = whitened(asked.gradients[known], root)
    step = _best_step(lowered, rows[(np.cumsum(known) - 1)[start[known[start]]]])

    # Gains over η, which orders alike, also where η is 0.
    met = np.einsum("nf,nf->n", rows, rows, dtype=np.float64) / 2
    rows = rows @ main_directions(root, directions)
    first = np.ascontiguousarray(found[known].T)
    costs, place = asked.costs[known], np.flatnonzero(known)
    for_each = asked.tokens[known] if limits.tokens is not None else np.ones(len(rows), np.int64)
    counted = costs if limits.tokens is not None else for_each
    left = math.inf if limits.tokens is None else limits.tokens
    free = costs <= left
    had = np.zeros(len(means), np.int64)
    while free.any():
        task = int(had.argmin())
        best = int(np.where(free, (first[task] - step * met) / for_each, -np.inf).argmax())
        met += rows @ rows[best]
        had[task] += counted[best]
        left -= costs[best]
        free[best] = False
        free &= costs <= left
        yield int(place[best])
    yield from np.flatnonzero(~known).tolist()


def _best_step(lowered: float, rows: npt.NDArray[np.float32]) -> float:
    """η at which η·`lowered` − η²/2·‖Σ rows‖² is largest, at least 0."""
    total = rows.sum(axis=0, dtype=np.float64)
    return max(lowered, 0.0) / (float(total @ total) or 1.0)
