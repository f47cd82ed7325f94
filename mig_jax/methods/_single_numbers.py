"""Methods that look at one number of each record: its score, or how long its response is."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from mig_jax.methods._candidates import Candidates, Limits

__all__ = ["longest", "top_score"]


def top_score(candidates: Candidates, rng: np.random.Generator, limits: Limits) -> Iterator[int]:
    """Records by score, the highest first; of equal ones the first in the pool."""
    yield from _largest_first(candidates.scores)


def longest(candidates: Candidates, rng: np.random.Generator, limits: Limits) -> Iterator[int]:
    """Records by the length of the response, the longest first (arXiv 2402.04833).

    "Long Is More for Alignment" takes the 1,000 longest responses. A length is in UTF-8 bytes,
    which needs no tokenizer; of equal ones the first in the pool comes first.
    """
    responses = candidates.texts().responses
    yield from _largest_first(np.array([len(text.encode()) for text in responses], np.int64))


def _largest_first(numbers: npt.NDArray[np.generic]) -> list[int]:
    # Negated in a type that holds all of them.
    return np.argsort(-numbers.astype(np.float64), kind="stable").tolist()
