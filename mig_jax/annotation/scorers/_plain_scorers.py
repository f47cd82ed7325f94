"""Scorers that need no model, and the one that keeps the score that is there."""

from __future__ import annotations

from collections.abc import Sequence

from mig_jax.annotation.texts import Sample

__all__ = ["Keep", "Length", "TagCount"]


class Keep:
    """The score that a record has already."""

    in_processes = True

    def score(self, samples: Sequence[Sample]) -> list[list[float]]:
        return [[sample.score or 0.0] for sample in samples]


class Length:
    """Characters of each response: longer ones teach more (arXiv 2402.04833)."""

    in_processes = True

    def score(self, samples: Sequence[Sample]) -> list[list[float]]:
        return [
            [float(len(exchange.response)) for exchange in sample.exchanges] for sample in samples
        ]


class TagCount:
    """The number of labels, InsTag's complexity (arXiv 2308.07074, section 4.1)."""

    in_processes = True

    def score(self, samples: Sequence[Sample]) -> list[list[float]]:
        return [[float(len(sample.labels or []))] for sample in samples]
