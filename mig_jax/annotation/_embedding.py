"""Labels and scores by sentence embeddings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mig_jax.annotation._samples import LabelTable, Sample
from mig_jax.annotation._tag_normalisation import Encode

__all__ = ["EmbeddingTagger", "Relevance", "nearest_labels"]


class EmbeddingTagger:
    """The labels of a vocabulary that are nearest to what was asked."""

    def __init__(
        self,
        vocabulary: Sequence[str],
        encode: Encode,
        *,
        most: int = 5,
        similarity: float = 0.28,
        margin: float = 0.12,
        model: str | None = None,
    ) -> None:
        """Labels as `nearest_labels` takes them; the vocabulary is embedded now, by `model`."""
        self._vocabulary = list(dict.fromkeys(vocabulary))
        self._encode = encode
        self._labels = encode(self._vocabulary)
        self._limits = (most, similarity, margin)
        self._model = model

    def label_table(self) -> LabelTable:
        return LabelTable(self._vocabulary, self._labels, self._model)

    def tag(self, samples: Sequence[Sample]) -> list[list[str]]:
        found = self._encode([sample.instruction for sample in samples])
        nearest = nearest_labels(found @ self._labels.T, *self._limits)
        return [[self._vocabulary[label] for label in of_one] for of_one in nearest]


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


def nearest_labels(
    similarity: npt.ArrayLike, most: int, least: float, margin: float
) -> list[list[int]]:
    """Of each row the places of its largest values, the largest first.

    Taken are those of at least `least` and within `margin` of the row's largest, `most`
    of them at most; of equal ones the first.

    >>> nearest_labels([[0.5, 0.9, 0.85, 0.1], [0.1, 0.2, 0.1, 0.0]], 2, 0.3, 0.4)
    [[1, 2], []]
    """
    rows = np.asarray(similarity)
    if not rows.size:
        return [[] for _ in range(len(rows))]
    floor = np.maximum(rows.max(axis=1) - margin, least)
    found = []
    for row, lowest in zip(rows, floor, strict=True):
        near = np.flatnonzero(row >= lowest)
        found.append(near[np.argsort(-row[near], kind="stable")[:most]].tolist())
    return found
