"""Embeddings of texts that need no model: latent semantic analysis of the texts themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from mig_jax.annotation.texts._hashed_terms import commonest, log_counts
from mig_jax.annotation.texts._words import terms_of

__all__ = ["TextVectors"]

_BUCKETS: Final = 1 << 16
# Terms beyond the commonest are left out, so that what is kept of them is some megabytes.
_TERMS: Final = 30_000
# Of a text; what comes behind is mostly code, tables and quotations.
_CHARACTERS: Final = 4_000
# Of a term that all texts have: if there is nothing else, it is what they are about.
_LEAST_WEIGHT: Final = 1e-3
_NOTHING: Final = 1e-6  # What rounding leaves of a row of zeros.
_AT_ONCE: Final = 4_096


class TextVectors:
    """Texts to embeddings, learned from a sample of texts alone (latent semantic analysis).

    Terms are words, or runs of letters in scripts without spaces, hashed; the logarithm of
    their count is weighted by inverse document frequency, and the first right singular
    vectors of the sample's matrix are the space. A text's embedding depends on the sample,
    the seed and the text, to the bit: not on what else is embedded, nor on threads.
    """

    def __init__(self, terms: npt.ArrayLike, weights: npt.ArrayLike, axes: npt.ArrayLike) -> None:
        """From what `arrays` gave.

        Args:
          terms: int [T], the buckets that count, ascending.
          weights: float [T], their inverse document frequency.
          axes: float [T, width], the space.

        Raises:
          ValueError: if these are no such arrays.
        """
        self._terms = np.asarray(terms, np.int32)
        self._weights = np.asarray(weights, np.float32)
        self._axes = np.asarray(axes, np.float16)
        count = len(self._terms) if self._terms.ndim == 1 else -1
        if self._weights.shape != (count,) or self._axes.ndim != 2 or len(self._axes) != count:
            raise ValueError(
                f"terms {self._terms.shape}, weights {self._weights.shape} and axes "
                f"{self._axes.shape} do not go together"
            )
        if count and not (self._terms.min() >= 0 and self._terms.max() < _BUCKETS):
            raise ValueError(f"terms are not within 0 and {_BUCKETS - 1}")
        if not (np.isfinite(self._weights).all() and np.isfinite(self._axes).all()):
            raise ValueError("weights or axes are not finite")
        self._projection = np.zeros((_BUCKETS, self._axes.shape[1]), np.float32)
        self._projection[self._terms] = self._axes * self._weights[:, None]

    @property
    def dimensions(self) -> int:
        """How long an embedding is."""
        return self._axes.shape[1]

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """What the vectors can be made of again, by the names of the constructor's arguments."""
        return {"terms": self._terms, "weights": self._weights, "axes": self._axes}

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, npt.ArrayLike]) -> Self:
        """Those that gave these `arrays`; raises ValueError as the constructor, or KeyError."""
        return cls(arrays["terms"], arrays["weights"], arrays["axes"])

    @classmethod
    def fit(cls, texts: Sequence[str], *, width: int = 128, seed: int = 0) -> Self:
        """Those that a sample of texts determines; narrower than `width` if it is smaller."""
        from sklearn.decomposition import TruncatedSVD

        counts = _counts(texts)
        having = np.bincount(counts.indices, minlength=_BUCKETS)
        terms = commonest(having, _TERMS)
        weights = np.log((1 + len(texts)) / (1 + having[terms]))
        weights = np.maximum(weights, _LEAST_WEIGHT).astype(np.float32)
        if len(terms) < 2:  # Nothing to decompose.
            return cls(terms, weights, np.ones((len(terms), 1)))
        weighted = counts[:, terms]
        weighted.data *= weights[weighted.indices]
        lengths = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1)).ravel())
        weighted.data /= np.repeat(np.maximum(lengths, _NOTHING), np.diff(weighted.indptr))
        components = min(width, *weighted.shape)
        # One thread: sums in another order are other sums. By the axes' sizes it divides them.
        with threadpool_limits(1), np.errstate(divide="ignore", invalid="ignore"):
            found = TruncatedSVD(components, n_iter=3, random_state=seed).fit(weighted)
        return cls(terms, weights, found.components_.T)

    def __call__(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """The embedding of each text: float32 [n, width], rows of unit length.

        A text without a term of the sample has a row of zeros.
        """
        found = np.empty((len(texts), self.dimensions), np.float32)
        for start in range(0, len(texts), _AT_ONCE):
            some = _counts(texts[start : start + _AT_ONCE])
            # A row of a sparse matrix is multiplied alone, whatever stands beside it.
            found[start : start + _AT_ONCE] = some @ self._projection
        lengths = np.linalg.norm(found, axis=1, keepdims=True)
        return np.divide(found, lengths, where=lengths > _NOTHING, out=np.zeros_like(found))


def _counts(texts: Sequence[str]) -> Any:
    """One plus the logarithm of how often each text has each term: float32 CSR [n, buckets]."""
    counted = (Counter(terms_of(text[:_CHARACTERS])) for text in texts)
    return log_counts(counted, _BUCKETS, np.float32)
