"""Labels of a vocabulary by sentence embeddings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mig_jax.annotation.texts import Encode, LabelTable, Sample

__all__ = ["EmbeddingTagger", "nearest_labels"]


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
        embed_labels: Encode | None = None,
    ) -> None:
        """Labels as `nearest_labels` takes them; the vocabulary is embedded now, by `model`.

        That is done by `embed_labels`, or else by `encode`.
        """
        self._vocabulary = list(dict.fromkeys(vocabulary))
        self._encode = encode
        self._labels = (embed_labels or encode)(self._vocabulary)
        self._limits = (most, similarity, margin)
        self._model = model

    def label_table(self) -> LabelTable:
        return LabelTable(self._vocabulary, self._labels, self._model)

    def tag(self, samples: Sequence[Sample]) -> list[list[str]]:
        found = self._encode([sample.instruction for sample in samples])
        nearest = nearest_labels(found @ self._labels.T, *self._limits)
        return [[self._vocabulary[label] for label in of_one] for of_one in nearest]


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
