"""Records that hold what an evaluation asks."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence

import xxhash

from mig_jax.annotation.filters._duplicates import Turns
from mig_jax.annotation.texts import question_words, runs_of_words, words_of

__all__ = ["Overlaps"]

_WITHIN = 8  # Words from which on a question is looked for within a turn.
_COMMON = 2  # Words up to which a question is what anybody may say in between, such as "yes".


class Overlaps:
    """Records that share n successive words with a record of an evaluation, or a question of it.

    As in GPT-3's check for contamination (arXiv 2005.14165, appendix C), with n = 13. Case
    and punctuation do not count, turns are looked at one by one, and system turns are not.

    A question of fewer words, the first of a record of the evaluation, is compared as a whole,
    signs such as `+` included: with each question of a record, or with its first one if it has
    no more than two words; one of eight words or more is also looked for within the questions.
    Short answers are not compared, as `yes` and `42` stand everywhere.
    """

    kind = "overlaps with an evaluation"

    def __init__(self, evaluation: Iterable[tuple[str, Turns]], n: int = 13) -> None:
        """`evaluation` gives the place and the turns of each of its records."""
        self._n = n
        self._seen: dict[int, str] = {}
        self._ends: set[tuple[str, ...]] = set()  # Three words of each run, as `_ends_of` has them.
        self._questions: dict[int, str] = {}
        # Of questions that are looked for within others: first and last word, by their length.
        self._within: dict[int, set[tuple[str, str]]] = {}
        self.records = 0  # Of the evaluation.
        self.as_a_whole = 0  # Those of them whose question is compared as a whole.
        for where, turns in evaluation:
            self.records += 1
            for role, text in turns:
                words = [] if role == "system" else words_of(text)
                for gram in runs_of_words(words, n):
                    self._seen.setdefault(_hash(gram), where)
                self._ends.update(tuple(map(sys.intern, ends)) for ends in self._ends_of(words))
            self._add_question(where, turns)

    def reason(self, where: str, turns: Turns) -> str | None:
        return self.prepare(turns) or None

    def decide(self, where: str, turns: Turns, found: str) -> str | None:
        """As `reason`, given what `prepare` finds."""
        return found or None

    def prepare(self, turns: Turns) -> str:
        """The reason; "" for none."""
        for role, text in turns:
            words = [] if role == "system" else words_of(text)
            # Most texts have no run whose ends are those of another: no run is put together.
            if self._ends.isdisjoint(self._ends_of(words)) and not _may_be_shorter(words):
                continue
            for gram in runs_of_words(words, self._n):
                found = self._seen.get(_hash(gram))
                if found is not None:
                    return f"shares {self._n} words with {found}: {gram}"
        if self._questions:
            for place, text in enumerate(_questions(turns)):
                words = question_words(text)
                for run in self._candidates(words, is_first=not place):
                    found = self._questions.get(_hash(run))
                    if found is not None:
                        return f"asks what {found} asks: {run}"
        return ""

    def _add_question(self, where: str, turns: Turns) -> None:
        text = next(_questions(turns), "")
        words = question_words(text)
        if words and not self._grams(text):
            self.as_a_whole += 1
            self._questions.setdefault(_hash(" ".join(words)), where)
            if len(words) >= _WITHIN:
                self._within.setdefault(len(words), set()).add((words[0], words[-1]))

    def _candidates(self, words: Sequence[str], *, is_first: bool) -> Iterator[str]:
        """What of a question is compared with those of the evaluation."""
        if is_first or len(words) > _COMMON:
            yield " ".join(words)
        for length, ends in sorted(self._within.items()):
            for start, pair in enumerate(zip(words, words[length - 1 :], strict=False)):
                if pair in ends:
                    yield " ".join(words[start : start + length])

    def _ends_of(self, words: Sequence[str]) -> Iterator[tuple[str, ...]]:
        """First, middle and last word of each run of n words."""
        n = self._n
        return zip(words, words[n // 2 :], words[n - 1 :], strict=False)

    def _grams(self, text: str) -> list[str]:
        return runs_of_words(words_of(text), self._n)


def _questions(turns: Turns) -> Iterator[str]:
    """What the user says; or the text itself, if it is all that is said."""
    asked = [text for role, text in turns if role == "user"]
    spoken = [text for role, text in turns if role != "system"]
    yield from asked or (spoken if len(spoken) == 1 else [])


def _may_be_shorter(words: Sequence[str]) -> bool:
    """Whether runs may have other words at their ends: letters of some scripts are parts of one."""
    return any(len(word) == 1 and word > "\u0dff" for word in words)


def _hash(text: str) -> int:
    return xxhash.xxh3_64_intdigest(text.encode("utf-8", "surrogatepass"))
