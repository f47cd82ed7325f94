"""Methods that ask a language model what each record would teach: by its gradients.

`Candidates.gradients` are sums over a record's response tokens, projected to few dimensions, at
one model. To first order, a training step on record n lowers the loss of wanted record v by their
inner product (TracIn, arXiv 2002.08484).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from mig_jax.methods._candidates import Candidates, Limits
from mig_jax.methods._turns import take_turns

__all__ = ["influence", "influences", "less"]

_DAMPING = 1.0


def influences(
    gradients: npt.NDArray[np.float32],
    wanted: npt.NDArray[np.float32],
    tokens: npt.NDArray[np.int64],
    *,
    damping: float = _DAMPING,
) -> npt.NDArray[np.float64]:
    """How much each record would lower each wanted loss, curvature accounted for: [N, T].

    g (C + λ·c̄·I)⁻¹ v for a record's gradient g and a wanted one v, with C the mean of g gᵀ a
    token (the Fisher matrix of the projected gradients, as influence functions have it:
    Koh and Liang, arXiv 1703.04730; TRAK, arXiv 2303.14186) and c̄ its mean diagonal. What most
    records would teach alike counts for less than what tells records apart.

    Args:
      gradients: [N, F]; rows of zeros are records that nobody asked the model about.
      wanted: [T, F].
      tokens: [N], at least 1: of each record.
      damping: λ, above 0.
    """
    known = gradients[gradients.any(axis=1)].astype(np.float64)
    scale = np.sqrt(tokens[gradients.any(axis=1)].astype(np.float64))
    scaled = known / scale[:, None]
    fisher = scaled.T @ scaled / max(len(scaled), 1)
    mean = np.trace(fisher) / len(fisher)
    fisher[np.diag_indices_from(fisher)] += damping * (mean or 1.0)
    return gradients.astype(np.float64) @ np.linalg.solve(fisher, wanted.T.astype(np.float64))


def influence(candidates: Candidates, rng: np.random.Generator, limits: Limits) -> Iterator[int]:
    """Records by their influence on each task's wanted records; the tasks take turns.

    Influence is for each token if tokens are limited: a budget buys tokens. Next is always the
    task that has had the least so far. Records without gradients come last.
    """
    tasks, tokens = _mean_of_tasks(candidates), np.maximum(candidates.costs, 1)
    assert candidates.gradients is not None
    gradients, _ = candidates.gradients()
    found = influences(gradients, tasks, tokens)
    if limits.tokens is not None:
        found = found / tokens[:, None]
    found[~gradients.any(axis=1)] = -np.inf
    orders = [np.argsort(-one, kind="stable").tolist() for one in found.T]
    yield from take_turns(orders, None if limits.tokens is None else candidates.costs)


def less(candidates: Candidates, rng: np.random.Generator, limits: Limits) -> Iterator[int]:
    """LESS (arXiv 2402.04333): the largest cosine with the mean gradient of any task first.

    The paper takes gradients of adapters at several checkpoints, by Adam's rule; here it is one
    model and the gradient itself. Records without gradients come last; ties go to the lowest index.
    """
    assert candidates.gradients is not None
    gradients, _ = candidates.gradients()
    cosines = _unit(gradients) @ _unit(_mean_of_tasks(candidates)).T
    best = np.where(gradients.any(axis=1), cosines.max(axis=1), -np.inf)
    yield from np.argsort(-best, kind="stable").tolist()


def _mean_of_tasks(candidates: Candidates) -> npt.NDArray[np.float32]:
    """The mean gradient of the wanted records of each task, tasks by name: [T, F]."""
    assert candidates.gradients is not None
    assert candidates.wanted is not None
    _, wanted = candidates.gradients()
    groups = candidates.wanted.groups
    return np.stack([wanted[groups == task].mean(axis=0) for task in np.unique(groups)])


def _unit(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, lengths, where=lengths > 0, out=np.zeros_like(rows))
