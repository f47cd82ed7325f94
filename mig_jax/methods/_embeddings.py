"""Embeddings of conversations, by which methods tell what is alike.

What is embedded is the instruction and the response behind it: so do DEITA (2312.15685), CaR
(2402.18191) and RDS+ (2503.01807); QDIT (2311.14736) takes the instruction alone. The papers use
language models and sentence encoders; the default here needs neither.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from mig_jax.methods._candidates import Texts

__all__ = ["text_embeddings"]

_BUCKETS = 1 << 16  # For words.
_WORDS = r"\w+"
_NOTHING = 1e-6  # What rounding leaves of a row of zeros.


def text_embeddings(
    pool: Texts,
    wanted: Texts | None = None,
    *,
    encode: Callable[[Sequence[str]], npt.NDArray[np.float32]] | None = None,
    dimensions: int = 256,
    seed: int = 0,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32] | None]:
    """Embeddings of the pool, and of the wanted records in the same space.

    By default latent semantic analysis: hashed words, the logarithm of their counts weighted
    by inverse document frequency, and the first singular vectors of that matrix, which the
    pool alone determines. The same seed gives the same embeddings on the same machine.

    Args:
      pool: N records.
      wanted: V records, or None.
      encode: texts to rows of unit length, as `mig_jax.annotation.SentenceEncoder`, instead.
        A model reads a text from its beginning, and cuts what is too long for it.
      dimensions: D by default, at least 1; fewer if the pool has fewer records.
      seed: of the decomposition.

    Returns:
      float32 [N, D] and [V, D], or None: rows of unit length, or of zeros for a text without
      a word that the pool has.
    """
    texts = pool.whole
    others = None if wanted is None else wanted.whole
    if encode is None:
        return _latent_semantics(texts, others, min(dimensions, len(texts)), seed)
    return encode(texts), None if others is None else encode(others)


def _latent_semantics(
    texts: list[str], others: list[str] | None, dimensions: int, seed: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32] | None]:
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

    words = HashingVectorizer(
        n_features=_BUCKETS, token_pattern=_WORDS, norm=None, alternate_sign=False, dtype=np.float32
    )
    weights = TfidfTransformer(sublinear_tf=True)
    decomposition = TruncatedSVD(dimensions, n_iter=3, random_state=seed)
    # It divides by the variance of the texts; if none has a word there is none.
    with np.errstate(divide="ignore", invalid="ignore"):
        fitted = decomposition.fit_transform(weights.fit_transform(words.transform(texts)))
    if others is None:
        return _unit(fitted), None
    return _unit(fitted), _unit(decomposition.transform(weights.transform(words.transform(others))))


def _unit(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, lengths, where=lengths > _NOTHING, out=np.zeros_like(rows))
