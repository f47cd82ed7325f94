"""QDIT: quality and coverage, record by record (2311.14736, algorithm 1).

The next record a is the one of the largest (1 − α)·d(a | A) + α·q(a). Coverage d of a selection A
is a facility location: the sum over the pool of each record's cosine with what is nearest to it
in A, negative ones as 0. α is 0.7 by default; 0.5, 0.7 and 0.9 did best in the paper, 1 is
quality alone and 0 coverage alone.

Quality is the candidates' scores, scaled so that the best has 5: the paper's come from raters who
gave 0 to 5, and it does not say how the two sums were brought to one scale. The paper embeds
instructions; here the candidates' embeddings are taken as they are.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from mig_jax.methods._candidates import Candidates, Limits
from mig_jax.methods._cosines import rounded
from mig_jax.methods._lazy import lazily

__all__ = ["qdit"]

_BEST = 5.0


def qdit(
    candidates: Candidates,
    rng: np.random.Generator,
    limits: Limits,
    *,
    alpha: float = 0.7,
    ground: int = 8192,
    block: int = 64,
) -> Iterator[int]:
    """Greedy picks, ties to the lowest index.

    A gain is recomputed only if what it was might still win, as it can only fall: the picks
    are those of a search through all records.

    Args:
      alpha: the weight of quality, from 0 to 1.
      ground: how many records coverage is summed over at most; of a larger pool a sample that
        `rng` draws stands for all, weighted accordingly.
      block: how many gains are computed at once; any gives the same picks.
    """
    rows = rounded(candidates.embeddings())
    points = rows
    if len(rows) > ground:
        points = rows[np.sort(rng.choice(len(rows), ground, replace=False))]
    covered = np.zeros(len(points), np.float32)
    weight = (1 - alpha) * len(rows) / max(len(points), 1)
    quality = alpha * _BEST * _shares_of_best(candidates.scores)

    def values(records: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
        # Exact: cosines are multiples of 2⁻²², and so are their differences and sums.
        more = np.maximum(rows[records] @ points.T - covered, 0).sum(axis=1, dtype=np.float64)
        return weight * more + quality[records]

    for best in lazily(len(rows), values, block=block):
        np.maximum(covered, rows[best] @ points.T, out=covered)
        yield best


def _shares_of_best(scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Scores over the largest; zeros if all are."""
    best = float(scores.max(initial=0)) or 1.0
    return scores.astype(np.float64) / best
