"""DEITA: score first, then whatever is not like what was taken (2312.15685).

Records are looked at in the order of their scores, in the paper quality times complexity summed
over turns. One is taken if its cosine with every record taken before is at most 0.9 (the paper's
setting); what is skipped never comes. The paper embeds with LLaMA 13B: by other embeddings the
same threshold skips more or fewer.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mig_jax.methods._candidates import Candidates, Limits
from mig_jax.methods._cosines import rounded

__all__ = ["deita"]


def deita(
    candidates: Candidates,
    rng: np.random.Generator,
    limits: Limits,
    *,
    threshold: float = 0.9,
    block: int = 512,
) -> Iterator[int]:
    """Records by their scores, ties to the lowest index, without what is near one before.

    Args:
      threshold: the highest cosine that two records taken may have.
      block: how many records are compared at once; any gives the same order.
    """
    order = np.argsort(-candidates.scores, kind="stable")
    rows = rounded(candidates.embeddings())[order]
    taken = np.empty_like(rows)
    count = 0
    for start in range(0, len(rows), block):
        part = rows[start : start + block]
        free = (part @ taken[:count].T).max(axis=1, initial=-1) <= threshold
        near = part @ part.T > threshold
        for place in range(len(part)):
            if free[place]:
                free &= ~near[place]
                taken[count] = part[place]
                count += 1
                yield int(order[start + place])
