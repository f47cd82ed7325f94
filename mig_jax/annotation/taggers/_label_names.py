"""Names for groups of texts: the words that set each apart."""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mig_jax.annotation.texts import terms_of

__all__ = ["NamingWords"]

_WORDS: Final = 3  # In a name.
_CHARACTERS: Final = 2_000  # Of a text: what it is about is told early.
# So many texts of the background stand beside those of a group, which may be few.
_PRIOR: Final = 2.0
_NEIGHBOURS: Final = 4
# What a word is worth that sets no group apart from its neighbours; and how much commoner, in
# logarithms, one of full worth is in the groups that have it.
_LEAST_WORTH: Final = 0.1
_FULL_WORTH: Final = 0.7
# A word of a name stands in so many texts of its group, if any does.
_LEAST_SHARE: Final = 0.05
_LONGEST: Final = 25  # Letters of a word of a name; longer ones are keys and addresses.
_CANDIDATES: Final = 200  # Words of a group that are tried for a name.


class NamingWords:
    """The words of texts, for the names of groups of these texts.

    No list of stop words is needed, and so no language is preferred: a word is worth how much
    commoner it is in a small group than in all texts and in the groups most similar to it, and
    how rare it is at all. Words such as "the" are as common in similar groups, even where a part
    of the texts is in another language, in which they are rare.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        from sklearn.feature_extraction.text import CountVectorizer

        counter = CountVectorizer(
            analyzer=lambda text: set(_shown_terms(text[:_CHARACTERS])), dtype=np.float32
        )
        try:
            self._has = counter.fit_transform(texts).tocsr()
        except ValueError:  # No text has a word.
            self._has = None
            return
        self._words = counter.get_feature_names_out().tolist()
        self._rate = np.asarray(self._has.mean(axis=0), np.float64).ravel()
        # From 0, for a word that all texts have, to 1 for one of a single text.
        count = self._has.shape[0]
        rarest = max(np.log((1 + count) / 2), 1e-9)
        self._rarity = np.log((1 + count) / (1 + count * self._rate)) / rarest
        self._worth = self._rarity

    def learn_worth(self, group: npt.NDArray[np.int64], centres: npt.NDArray[np.float32]) -> None:
        """Finds how much words are worth, by small groups; see `names` for what these are."""
        if self._has is None:
            return
        total = np.zeros(len(self._words))
        for _, words, share, ratio in self._groups(group, centres):
            total[words] += share * np.maximum(ratio, 0.0)
        texts = np.asarray(self._has.sum(axis=0), np.float64).ravel()
        mean = total / np.maximum(texts, 1.0)
        self._worth = np.minimum(_LEAST_WORTH + mean / _FULL_WORTH, 1.0) * self._rarity

    def names(
        self,
        group: npt.NDArray[np.int64],
        centres: npt.NDArray[np.float32],
        taken: Collection[str],
    ) -> list[str]:
        """A name for each group, of one to three words, or more if these are another's.

        Args:
          group: [texts], the number of the group of each text.
          centres: [groups, width], where the groups are: those with the largest products are
            similar.
          taken: names of others.
        """
        given = set(taken)
        found = [""] * len(centres)
        if self._has is not None:
            size = np.bincount(group, minlength=len(centres))
            for number, words, share, ratio in self._groups(group, centres):
                value = share * ratio * self._worth[words]
                # Common ones first, and rare ones if these are used up.
                value[share < max(2, _LEAST_SHARE * size[number])] *= 1e-3
                order = np.lexsort((words, -np.round(value, 9)))[:_CANDIDATES]
                ranked = [self._words[words[at]] for at in order if value[at] > 0]
                found[number] = _name(ranked or self._commonest(words, share), given)
        for number, name in enumerate(found):
            if not name:
                found[number] = _numbered("other", given)
        return found

    def _commonest(self, words: npt.NDArray[np.int64], share: npt.NDArray[np.float64]) -> list[str]:
        """If nothing sets a group apart, as if it is the only one."""
        order = np.lexsort((words, -share * self._worth[words]))[:_CANDIDATES]
        return [self._words[words[at]] for at in order]

    def _groups(
        self, group: npt.NDArray[np.int64], centres: npt.NDArray[np.float32]
    ) -> Iterator[tuple[int, Any, Any, Any]]:
        """Each group with its words, in how many of its texts they are, and the log of how much
        commoner that is than in all texts and in similar groups."""
        from scipy.sparse import csr_matrix

        size = np.bincount(group, minlength=len(centres)).astype(np.float64)
        places = (group, np.arange(len(group)))
        within = csr_matrix((np.ones(len(group), np.float32), places), (len(centres), len(group)))
        counts = (within @ self._has).tocsr()
        similar = centres @ centres.T
        np.fill_diagonal(similar, -np.inf)
        near = np.argsort(-similar, axis=1, kind="stable")[:, : min(_NEIGHBOURS, len(centres) - 1)]
        for number in range(len(centres)):
            row = counts[number]
            words = row.indices.astype(np.int64)
            others = np.asarray(counts[near[number]].sum(axis=0), np.float64).ravel()[words]
            beside = others / max(size[near[number]].sum(), 1.0)
            background = np.maximum(self._rate[words], beside)
            share = (row.data + _PRIOR * background) / (size[number] + _PRIOR)
            yield number, words, row.data.astype(np.float64), np.log(share / background)


def _shown_terms(text: str) -> list[str]:
    """The terms that a name may have: those with two letters, or a letter of a rich script."""
    terms = terms_of(text)
    shown = [
        term
        for term in terms
        if (1 < len(term) <= _LONGEST and not term.isdigit())
        or (len(term) == 1 and unicodedata.category(term) == "Lo")
    ]
    return shown or terms


def _name(ranked: list[str], taken: set[str]) -> str:
    """The first words, without two that are much the same; more of them if the name is taken."""
    chosen: list[str] = []
    for word in ranked:
        if any(_alike(word, other) for other in chosen):
            continue
        chosen.append(word)
        name = " ".join(chosen)
        if len(chosen) >= _WORDS and name not in taken:
            taken.add(name)
            return name
        if len(chosen) == 2 * _WORDS:
            break
    return _numbered(" ".join(chosen[:_WORDS]), taken)


def _numbered(name: str, taken: set[str]) -> str:
    number, given = 1, name
    while given in taken:
        number += 1
        given = f"{name} {number}"
    taken.add(given)
    return given


def _alike(one: str, other: str) -> bool:
    """Whether words are forms of one, or runs of letters that overlap.

    >>> _alike("label", "labels"), _alike("学习", "习机"), _alike("cat", "car")
    (True, True, False)
    """
    if one[1:] == other[:-1] or other[1:] == one[:-1]:
        return True
    letters = zip(one, other, strict=False)
    same = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], letters))
    return same >= max(3, max(len(one), len(other)) - 3)
