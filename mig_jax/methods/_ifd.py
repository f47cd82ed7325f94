"""IFD: the responses that an instruction helps to say least, if it helps at all (2308.12032).

The instruction-following difficulty of a record is the mean loss of its response behind the
instruction over the mean loss without it (`mig_jax.annotation.difficulty`, as in the paper's
code; later work takes the ratio of the perplexities, with the same cut at 1 and about the same
order). Records at 1 or above are left out, and the highest of the others come first. The paper
takes 5 or 10 % of a pool, with losses by the model to be trained after an epoch on 1,000 records;
which model it is here, the candidates' losses say.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from mig_jax.annotation import difficulty
from mig_jax.methods._candidates import Candidates, Limits

__all__ = ["heeded", "ifd"]


def ifd(candidates: Candidates, rng: np.random.Generator, limits: Limits) -> Iterator[int]:
    """Records by their difficulty, the highest first; ties to the lowest index."""
    assert candidates.response_losses is not None
    ratios = difficulty(*candidates.response_losses())
    order = np.argsort(-ratios, kind="stable")
    yield from order[ratios[order] > 0].tolist()


def heeded(
    behind: npt.NDArray[np.floating], alone: npt.NDArray[np.floating]
) -> npt.NDArray[np.bool_]:
    """Which responses an instruction helps to say: [N], those of an IFD under 1.

    >>> heeded(np.array([1.0, 2.0, 0.0, np.nan]), np.array([2.0, 2.0, 1.0, np.nan])).tolist()
    [True, False, True, False]

    Args:
      behind: [N], nats a token of each response behind its instruction.
      alone: [N], of the same without it; NaN where a response says nothing.
    """
    return np.asarray(behind < alone)
