"""A score by sentence embeddings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mig_jax.annotation.texts import Encode, Sample

__all__ = ["Relevance"]


class Relevance:
    """Cosine similarity of instruction and response, from 0 (negative ones, too) to 1.

    It is 0 if one of them says nothing.
    """

    def __init__(self, encode: Encode) -> None:
        self._encode = encode

    def score(self, samples: Sequence[Sample]) -> list[list[float]]:
        exchanges = [exchange for sample in samples for exchange in sample.exchanges]
        found = self._encode([text for exchange in exchanges for text in exchange])
        is_whole = np.array([exchange.is_whole for exchange in exchanges])
        cosine = np.sum(found[::2] * found[1::2], axis=1)
        similarity = np.where(is_whole, np.maximum(cosine, 0.0), 0.0).tolist()
        ends = np.cumsum([len(sample.exchanges) for sample in samples])
        return [
            similarity[end - len(sample.exchanges) : end]
            for sample, end in zip(samples, ends.tolist(), strict=True)
        ]
