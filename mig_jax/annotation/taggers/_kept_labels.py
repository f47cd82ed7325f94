"""The tagger that keeps the labels that are there."""

from __future__ import annotations

from collections.abc import Sequence

from mig_jax.annotation.texts import Sample

__all__ = ["KeepLabels"]


class KeepLabels:
    """The labels that a record has already."""

    in_processes = True

    def tag(self, samples: Sequence[Sample]) -> list[list[str]]:
        return [sample.labels or [] for sample in samples]
