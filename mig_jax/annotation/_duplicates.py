"""Records to leave out before they are annotated: duplicates, and what an evaluation holds.

Each filter looks at one record after the other and tells why it is left out. Of records
that are alike the first stays.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import Protocol

import xxhash

from mig_jax.annotation._extras import require

__all__ = ["ExactDuplicates", "Filter", "NearDuplicates", "Overlaps", "words_of"]

Turns = Sequence[tuple[str, str]]  # Role and text of each turn.


class _Spaced(dict[int, str]):
    """What each character becomes, so that spaces part the words; filled as they come."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        spaced = character
        if unicodedata.category(character)[0] in "PSZC":
            spaced = " "
        elif 0x3040 <= code <= 0x30FF or 0x3400 <= code <= 0x9FFF:
            spaced = f" {character} "
        return self.setdefault(code, spaced)


_SPACED = _Spaced()
_SHINGLE = 5  # Words.
_PERMUTATIONS = 128


class Filter(Protocol):
    """Tells which records of a stream to leave out."""

    kind: str  # What they are, for the counts.

    def reason(self, where: str, turns: Turns) -> str | None:
        """Why the record is left out; None if it stays, and is remembered."""


def words_of(text: str) -> list[str]:
    """The words, without case and punctuation; each ideograph is a word.

    >>> words_of("It's 5 o'clock, 时间!")
    ['it', 's', '5', 'o', 'clock', '时', '间']
    """
    return unicodedata.normalize("NFKC", text).casefold().translate(_SPACED).split()


class ExactDuplicates:
    """Records with the same roles and texts as an earlier one, whatever else they hold."""

    kind = "exact duplicates"

    def __init__(self) -> None:
        self._first: dict[bytes, str] = {}  # A hash of 128 bits: where it was seen.

    def reason(self, where: str, turns: Turns) -> str | None:
        found = xxhash.xxh3_128()
        for role, text in turns:
            for part in (role.encode(), text.encode("utf-8", "surrogatepass")):
                found.update(len(part).to_bytes(8, "little") + part)
        first = self._first.setdefault(found.digest(), where)
        return None if first is where else f"exact duplicate of {first}"


class NearDuplicates:
    """Records whose words are nearly those of an earlier one.

    How near is the Jaccard similarity of the sets of five successive words, of all turns
    together, estimated by MinHash with 128 permutations (its standard error is at most
    0.045) and found by locality-sensitive hashing (Leskovec, Rajaraman and Ullman, Mining
    of Massive Datasets, chapter 3). Memory is about 2 KB a record that stays.
    """

    kind = "near duplicates"

    def __init__(self, similarity: float) -> None:
        """`similarity` is in (0, 1]: what is at least that near is left out."""
        self._sketch = require("datasketch", "--deduplicate=near")
        self._least = similarity
        self._index = self._sketch.MinHashLSH(threshold=similarity, num_perm=_PERMUTATIONS)
        self._kept: list[tuple[str, object]] = []

    def reason(self, where: str, turns: Turns) -> str | None:
        words = [word for _, text in turns for word in words_of(text)]
        shingles = {
            " ".join(words[start : start + _SHINGLE])
            for start in range(max(len(words) - _SHINGLE + 1, 1))
        }
        sketch = self._sketch.MinHash(num_perm=_PERMUTATIONS, hashfunc=_hash32)
        sketch.update_batch([shingle.encode() for shingle in shingles])
        # Candidates come in any order; of the nearest ones the first is told.
        near = [(sketch.jaccard(self._kept[i][1]), -i) for i in self._index.query(sketch)]
        if near and max(near)[0] >= self._least:
            similarity, first = max(near)
            return f"near duplicate of {self._kept[-first][0]} (similarity {similarity:.2f})"
        self._index.insert(len(self._kept), sketch)
        self._kept.append((where, sketch))
        return None


class Overlaps:
    """Records that share n successive words with a record of an evaluation.

    As in GPT-3's check for contamination (arXiv 2005.14165, appendix C), with n = 13. Case
    and punctuation do not count, turns are looked at one by one, and system turns are not.
    A turn of an evaluation that is shorter cannot be found.
    """

    kind = "overlaps with an evaluation"

    def __init__(self, evaluation: Iterable[tuple[str, Turns]], n: int = 13) -> None:
        """`evaluation` gives the place and the turns of each of its records."""
        self._n = n
        self._seen: dict[int, str] = {}
        for where, turns in evaluation:
            for role, text in turns:
                for gram in () if role == "system" else self._grams(text):
                    self._seen.setdefault(xxhash.xxh3_64_intdigest(gram.encode()), where)

    def reason(self, where: str, turns: Turns) -> str | None:
        for role, text in turns:
            for gram in () if role == "system" else self._grams(text):
                found = self._seen.get(xxhash.xxh3_64_intdigest(gram.encode()))
                if found is not None:
                    return f"shares {self._n} words with {found}: {gram}"
        return None

    def _grams(self, text: str) -> list[str]:
        words = words_of(text)
        return [
            " ".join(words[start : start + self._n]) for start in range(len(words) - self._n + 1)
        ]


def _hash32(data: bytes) -> int:
    return xxhash.xxh32_intdigest(data)
