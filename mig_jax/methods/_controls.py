"""Controls: choices at random, with one thing kept that a method may change, or nothing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mig_jax.methods._candidates import Candidates, Limits

__all__ = ["random_order"]


def random_order(candidates: Candidates, rng: np.random.Generator, limits: Limits) -> Iterator[int]:
    """All records, every order as likely."""
    yield from rng.permutation(candidates.num_records).tolist()
