"""Records that say again what an earlier record says, or one of a set that is known.

Each filter looks at one record after the other and tells why it is left out. Of records
that are alike the first stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import xxhash

from mig_jax.annotation._extras import require
from mig_jax.annotation._on_all_cores import with_found
from mig_jax.annotation.texts import tokens_of

__all__ = ["ExactDuplicates", "Filter", "NearDuplicates", "PreparedFilter", "Turns", "jaccard"]

Turns = Sequence[tuple[str, str]]  # Role and text of each turn.

_SHINGLE: Final = 5  # Tokens.
_PERMUTATIONS: Final = 128
_FOUND: Final = 0.995  # Probability that a pair just as near as asked is compared.
_EDGE: Final = ""  # Stands before and behind the tokens; none is empty.


class Filter(Protocol):
    """Tells which records of a stream to leave out."""

    kind: str  # What they are, for the counts.

    def reason(self, where: str, turns: Turns) -> str | None:
        """Why the record is left out; None if it stays."""


class PreparedFilter(Filter, Protocol):
    """A filter most of whose work is about a record alone, which other processes may do.

    `reason(where, turns)` is `decide(where, turns, prepare(turns))`.
    """

    @property
    def prepare(self) -> Callable[[Turns], Any]:
        """What is found in a record alone; can be pickled, before the first is decided."""

    def decide(self, where: str, turns: Turns, found: Any) -> str | None:
        """Why the record is left out; records are decided in their order."""


class ExactDuplicates:
    """Records with the same roles and texts as an earlier one, whatever else they hold."""

    kind = "exact duplicates"

    def __init__(self, known: Iterable[tuple[str, Turns]] = (), *, remember: bool = True) -> None:
        """`known` are places and turns of records of another set, none of which is to come again.

        Without `remember` records are compared with these only, and not with earlier ones.
        """
        self._remembers = remember
        self._first: dict[bytes, str] = {}  # A hash of 128 bits: where it was seen.
        for where, turns in known:
            self.know(where, turns)

    def know(self, where: str, turns: Turns) -> None:
        """Has this record count as one that came before."""
        self._first.setdefault(_digest(turns), where)

    def reason(self, where: str, turns: Turns) -> str | None:
        digest = _digest(turns)
        first = self._first.get(digest)
        if first is not None:
            return f"exact duplicate of {first}"
        if self._remembers:
            self._first[digest] = where
        return None


class NearDuplicates:
    """Records whose words and signs are nearly those of an earlier one.

    How near is `jaccard` of the tokens of all turns together: it is computed for the records
    that MinHash with 128 permutations and locality-sensitive hashing find (Leskovec, Rajaraman
    and Ullman, Mining of Massive Datasets, chapter 3), which are 99.5 % of those as near as
    asked. A record without a letter or digit is compared exactly. Memory is about 2 KB, and 8
    bytes a token, a record that stays.
    """

    kind = "near duplicates"

    def __init__(
        self,
        similarity: float,
        known: Iterable[tuple[str, Turns]] = (),
        *,
        remember: bool = True,
    ) -> None:
        """`similarity` is in (0, 1]: what is at least that near is left out.

        `known` and `remember` are as for `ExactDuplicates`.
        """
        self._least = similarity
        self._rows = _bands(similarity)[1]
        self._index: list[dict[bytes, list[int]]] = [{} for _ in range(_bands(similarity)[0])]
        self._kept: list[tuple[str, npt.NDArray[np.uint64]]] = []
        self._wordless = ExactDuplicates(remember=remember)
        self._remembers = remember
        self.prepare = _Sketch()
        for (where, turns), sketch in with_found(
            self.prepare, known, of=lambda one: one[1], size=lambda one: _characters(one[1])
        ):
            if sketch is None:
                self._wordless.know(where, turns)
            else:
                self._add(where, sketch)

    def reason(self, where: str, turns: Turns) -> str | None:
        return self.decide(where, turns, self.prepare(turns))

    def decide(self, where: str, turns: Turns, found: Sketch | None) -> str | None:
        """As `reason`, given what `prepare` finds."""
        if found is None:
            told = self._wordless.reason(where, turns)
            return told and told.replace("exact", "near", 1)
        # Candidates come in any order; of the nearest ones the first is told.
        shingles = found.shingles
        near = [(_jaccard(shingles, self._kept[i][1]), -i) for i in self._candidates(found)]
        if near and max(near)[0] >= self._least:
            similarity, first = max(near)
            return f"near duplicate of {self._kept[-first][0]} (similarity {similarity:.2f})"
        if self._remembers:
            self._add(where, found)
        return None

    def _add(self, where: str, sketch: Sketch) -> None:
        number = len(self._kept)
        for bucket, key in zip(self._index, self._keys(sketch), strict=True):
            bucket.setdefault(key, []).append(number)
        self._kept.append((where, sketch.shingles))

    def _candidates(self, sketch: Sketch) -> set[int]:
        """Those that have a band in common with it."""
        keys = zip(self._index, self._keys(sketch), strict=True)
        return {number for bucket, key in keys for number in bucket.get(key, ())}

    def _keys(self, sketch: Sketch) -> Iterator[bytes]:
        """The bytes of each band."""
        values = sketch.minhash.tobytes()
        size = self._rows * sketch.minhash.itemsize
        return (values[start * size : (start + 1) * size] for start in range(len(self._index)))


class Sketch(NamedTuple):
    """What near duplicates are told by."""

    shingles: npt.NDArray[np.uint64]  # Ascending.
    minhash: npt.NDArray[np.uint32]  # Their least value under each permutation.


class _Sketch:
    """Makes the sketch of a record; None without a letter or digit."""

    def __init__(self) -> None:
        sketch = require("datasketch", "--deduplicate=near")
        self._empty = sketch.MinHash(num_perm=_PERMUTATIONS, hashfunc=_itself)

    def __call__(self, turns: Turns) -> Sketch | None:
        if not _has_words(turns):
            return None
        shingles = _shingles(_tokens(turns))
        found = self._empty.copy()  # A new one would draw its permutations again.
        found.update_batch((shingles & np.uint64(0xFFFFFFFF)).tolist())
        return Sketch(shingles, found.hashvalues.astype(np.uint32))


def jaccard(one: Turns, other: Turns) -> float:
    """How near two conversations are, from 0 to 1, by their words and signs.

    The Jaccard similarity of the bags of five successive tokens: how many are in both, over how
    many are in either. Four ends stand before and behind the tokens, so that each is in five.

    >>> round(jaccard([("user", "a b c d")], [("user", "A B c D")]), 2)
    1.0
    """
    return _jaccard(_shingles(_tokens(one)), _shingles(_tokens(other)))


def _tokens(turns: Turns) -> list[str]:
    return [token for _, text in turns for token in tokens_of(text)]


def _characters(turns: Turns) -> int:
    return sum(len(text) for _, text in turns)


def _has_words(turns: Turns) -> bool:
    """Whether there is a letter or a digit."""
    return any(character.isalnum() for _, text in turns for character in text)


def _shingles(tokens: Sequence[str]) -> npt.NDArray[np.uint64]:
    """Hashes of all runs of five tokens, ascending; one that comes again has another."""
    ends = [_EDGE] * (_SHINGLE - 1)
    padded = [*ends, *tokens, *ends]
    times: dict[str, int] = {}
    hashes = []
    for run in map(" ".join, zip(*(padded[start:] for start in range(_SHINGLE)), strict=False)):
        times[run] = seed = times.get(run, 0) + 1
        hashes.append(xxhash.xxh3_64_intdigest(run.encode("utf-8", "surrogatepass"), seed))
    return np.unique(np.array(hashes, np.uint64))


def _jaccard(one: npt.NDArray[np.uint64], other: npt.NDArray[np.uint64]) -> float:
    common = len(np.intersect1d(one, other, assume_unique=True))
    return common / (len(one) + len(other) - common)


def _bands(similarity: float) -> tuple[int, int]:
    """How many bands of how many rows find nearly all pairs that are as near as this.

    >>> _bands(0.8)
    (21, 6)
    """
    for rows in range(_PERMUTATIONS // 2, 0, -1):
        bands = _PERMUTATIONS // rows
        if 1 - (1 - similarity**rows) ** bands >= _FOUND:
            return bands, rows
    return _PERMUTATIONS, 1


def _digest(turns: Turns) -> bytes:
    found = xxhash.xxh3_128()
    for role, text in turns:
        for part in (role.encode(), text.encode("utf-8", "surrogatepass")):
            found.update(len(part).to_bytes(8, "little") + part)
    return found.digest()


def _itself(value: int) -> int:
    return value
