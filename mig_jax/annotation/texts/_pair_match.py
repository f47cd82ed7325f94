"""How far a response belongs to its instruction, learned from a sample of texts alone."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from mig_jax.annotation.texts._hashed_terms import commonest, log_counts
from mig_jax.annotation.texts._words import terms_of

__all__ = ["PairMatch", "form_of"]

_DIGIT: Final = re.compile(r"\d")
_Floats = npt.NDArray[np.float64]

_BUCKETS: Final = 1 << 18
_FORM_BUCKETS: Final = 1 << 12
# Of a text; what comes behind is mostly code, tables and quotations.
_CHARACTERS: Final = 4_000
# The commonest terms of a side, of which its topics are made.
_TERMS: Final = 30_000
_PAIRS_A_TOPIC: Final = 16
# How much the form of a response counts beside its words, as lengths of their vectors.
_FORM_WEIGHT: Final = 0.3
# Of the largest variance: what is added to each, so that directions of few records count little.
_RIDGE: Final = 1e-2
# Of the two cosines among re-paired texts, at least: a few records tell nothing of their spread.
_LEAST_SPREAD: Final = 0.05


class _Side(NamedTuple):
    """From weighted terms to canonical variates: `x[:, terms] @ axes - offset`."""

    terms: npt.NDArray[np.int64]
    axes: _Floats
    offset: _Floats

    def __call__(self, weighted: Any) -> _Floats:
        # A row of a sparse matrix is multiplied alone, whatever stands beside it.
        return _unit(np.asarray(weighted[:, self.terms] @ self.axes) - self.offset)


class PairMatch:
    """Two measures of how far a response belongs to its instruction rather than to another.

    Words: the cosine of their TF-IDF vectors, less what each has with the mean of the others
    (both vectors are centred). Topics: the cosine of their canonical variates (regularised
    canonical correlation analysis between the singular vectors of all instructions and those
    of all responses, to which the form of a response belongs, see `form_of`); it learns that a
    question for a colour is answered by one, though they share no word. Each is divided by its
    standard deviation among the sample's pairs put together anew at random.

    Learned from pairs alone: nobody says which are good. A pair's values depend on the sample
    and the pair, to the bit, not on what else is measured.
    """

    def __init__(self, weights: _Floats, means: tuple[_Floats, _Floats]) -> None:
        """What `fit` makes further."""
        self._weights = weights
        self._means = means
        self._sides: tuple[_Side, _Side] | None = None
        self._spread = np.ones(2)

    @classmethod
    def fit(
        cls,
        instructions: Sequence[str],
        responses: Sequence[str],
        *,
        topics: int = 128,
        seed: int = 0,
    ) -> Self:
        """Learns from pairs, the same number of both.

        Args:
          instructions: what was asked.
          responses: what was answered.
          topics: canonical variates at most; fewer in a sample of fewer than 16 pairs for each.
          seed: of the singular vectors and of the new pairs.
        """
        asked, answered = _counts(instructions), _counts(responses)
        having = np.bincount(asked.indices, minlength=_BUCKETS)
        having += np.bincount(answered.indices, minlength=_BUCKETS)
        weights = np.log((1 + 2 * len(instructions)) / (1 + having))
        asked, answered = _weighted(asked, weights), _weighted(answered, weights)
        found = cls(weights, (_column_means(asked), _column_means(answered)))
        shaped = _with_form(answered, responses)
        count = min(topics, len(instructions) // _PAIRS_A_TOPIC)
        # One thread: sums in another order are other sums.
        with threadpool_limits(1):
            found._sides = _canonical(asked, shaped, count, seed) if count > 1 else None
            order = np.random.default_rng(seed).permutation(len(instructions))
            anew = found._cosines(asked, answered[order], shaped[order])
        spread = np.sqrt(np.mean(anew**2, axis=0)) if len(anew) else np.ones(2)
        found._spread = np.maximum(spread, _LEAST_SPREAD)
        return found

    def __call__(self, instructions: Sequence[str], responses: Sequence[str]) -> _Floats:
        """Words and topics of each pair: [n, 2]; 0 is what chance gives, 1 its spread."""
        asked = _weighted(_counts(instructions), self._weights)
        answered = _weighted(_counts(responses), self._weights)
        cosines = self._cosines(asked, answered, _with_form(answered, responses))
        return np.asarray(cosines / self._spread)

    def _cosines(self, asked: Any, answered: Any, shaped: Any) -> _Floats:
        of_asked, of_answered = self._means
        words = _row_sums(asked.multiply(answered)) - asked @ of_answered - answered @ of_asked
        words += of_asked @ of_answered
        if self._sides is None:
            return np.column_stack([words, np.zeros_like(words)])
        left, right = self._sides
        return np.column_stack([words, np.sum(left(asked) * right(shaped), axis=1)])


def form_of(response: str) -> list[str]:
    """What an answer looks like, whatever its language and subject.

    >>> form_of("No.")
    ['length 4', 'lines 0', 'first no', 'end .', 'digits False', 'script LATIN']
    """
    text = response.strip()
    first = terms_of(text[:40])[:1]
    some = text[:200]
    script = "LATIN"
    if not some.isascii():
        scripts = Counter(map(_script, filter(str.isalpha, some[::4])))
        script = "".join(name for name, _ in scripts.most_common(1))
    return [
        f"length {int(2 * np.log2(1 + len(text)))}",
        f"lines {min(text.count(chr(10)), 3)}",
        f"first {''.join(first)}",
        f"end {text[-1:] if not text[-1:].isalpha() else 'letter'}",
        f"digits {_DIGIT.search(some) is not None}",
        f"script {script}",
    ]


def _script(letter: str) -> str:
    """The first word of its name, which is that of its script."""
    return "LATIN" if letter.isascii() else unicodedata.name(letter, "").partition(" ")[0]


def _canonical(asked: Any, answered: Any, count: int, seed: int) -> tuple[_Side, _Side]:
    """Both sides of the canonical correlation analysis of rows that belong together."""
    sides = [_singular(rows, count, seed) for rows in (asked, answered)]
    scores = [
        np.asarray(rows[:, terms] @ axes)
        for rows, (terms, axes) in zip((asked, answered), sides, strict=True)
    ]
    means = [rows.mean(axis=0) for rows in scores]
    left, right = (rows - mean for rows, mean in zip(scores, means, strict=True))
    whiten = [_whitening(rows) for rows in (left, right)]
    between = whiten[0] @ (left.T @ right / len(left)) @ whiten[1]
    from_left, correlations, from_right = np.linalg.svd(between, full_matrices=False)
    made = []
    for (terms, axes), mean, white, turned in zip(
        sides, means, whiten, (from_left, from_right.T), strict=True
    ):
        change = white @ turned * np.sqrt(correlations)
        made.append(_Side(terms, axes @ change, mean @ change))
    return made[0], made[1]


def _singular(rows: Any, count: int, seed: int) -> tuple[npt.NDArray[np.int64], _Floats]:
    """The commonest terms, ascending, and the first right singular vectors over them."""
    from sklearn.decomposition import TruncatedSVD

    having = np.bincount(rows.indices, minlength=rows.shape[1])
    terms = commonest(having, _TERMS)
    count = min(count, len(terms))
    if not count:
        return terms, np.zeros((0, 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        found = TruncatedSVD(count, n_iter=2, random_state=seed).fit(rows[:, terms])
    return terms, found.components_.T


def _whitening(rows: _Floats) -> _Floats:
    values, vectors = np.linalg.eigh(rows.T @ rows / len(rows))
    least = max(_RIDGE * values[-1], 1e-12) if len(values) else 1.0
    return np.asarray(vectors / np.sqrt(np.maximum(values, 0) + least) @ vectors.T)


def _counts(texts: Sequence[str]) -> Any:
    """One plus the logarithm of how often each text has each term: CSR [n, buckets]."""
    counted = (Counter(terms_of(text[:_CHARACTERS])) for text in texts)
    return log_counts(counted, _BUCKETS, np.float64)


def _with_form(answered: Any, responses: Sequence[str]) -> Any:
    """Weighted terms, and behind them the form of each response."""
    from scipy.sparse import hstack

    forms = (Counter(form_of(text[:_CHARACTERS])) for text in responses)
    form = log_counts(forms, _FORM_BUCKETS, np.float64)
    return hstack([answered, _FORM_WEIGHT * _unit_rows(form)], format="csr")


def _weighted(counts: Any, weights: _Floats) -> Any:
    found = counts.copy()
    found.data = found.data * weights[found.indices]
    return _unit_rows(found)


def _unit_rows(rows: Any) -> Any:
    """Rows of unit length, or of zeros."""
    found = rows.copy()
    lengths = np.sqrt(_row_sums(found.multiply(found)))
    found.data = found.data / np.repeat(np.maximum(lengths, 1e-9), np.diff(found.indptr))
    return found


def _unit(rows: _Floats) -> _Floats:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9))


def _row_sums(rows: Any) -> _Floats:
    return np.asarray(rows.sum(axis=1)).ravel()


def _column_means(rows: Any) -> _Floats:
    return np.asarray(rows.sum(axis=0)).ravel() / max(rows.shape[0], 1)
