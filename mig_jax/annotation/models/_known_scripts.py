"""Whether a model knows the scripts that texts are written in, by how its tokenizer splits them.

A tokenizer that was made without a language has no pieces for its words: they become single
letters, bytes, or the token for what is unknown. Of a few sentences in each, all-MiniLM-L6-v2
makes pieces of 0.8 to 1.0 letters in Russian, Greek, Arabic, Hebrew and Hindi, of 0.4 in Korean,
of 2.6 in German and 4.1 in English; most of Chinese and Thai is unknown to it.
"""

from __future__ import annotations

import functools
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

__all__ = ["Pieces", "Spread", "hardly_known_scripts", "script_of"]

_LOOKED_AT: Final = 500  # Characters of a text.
_MOST_WORDS: Final = 500  # Of a script.
_KANA: Final = ("HIRAGANA", "KATAKANA")
_MARK: Final = ""  # The script of marks, which is that of the letters before.
_UNKNOWN: Final = 0.2  # Share of letters in unknown pieces from which on a script is not known.
# Letters a known piece, below which a script is hardly known. An ideograph is a piece of its own
# for many tokenizers that know it.
_FEWEST: Final = {"CJK": 0.8, "HANGUL": 0.8, "KANA": 1.1}
_FEWEST_OF_ALPHABETS: Final = 1.25


class Pieces(NamedTuple):
    """What a tokenizer makes of a word."""

    known: int
    unknown: int


@functools.lru_cache(maxsize=1 << 14)
def script_of(character: str) -> str | None:
    """The script of a letter: the first word of its name in Unicode; "" of a mark, None of others.

    >>> script_of("a"), script_of("я"), script_of("語"), script_of("1")
    ('LATIN', 'CYRILLIC', 'CJK', None)
    """
    if not character.isalpha():
        return _MARK if unicodedata.category(character)[0] == "M" else None
    name = unicodedata.name(character, "OTHER").partition(" ")[0].partition("-")[0]
    return "KANA" if name in _KANA else name


def _words(text: str) -> Iterator[tuple[str, str]]:
    """Runs of letters of a script, with their marks, and the script."""
    script: str | None = None
    start = 0
    for place, character in enumerate(text):
        here = script_of(character)
        if here in (script, _MARK):
            continue
        if script:
            yield script, text[start:place]
        script, start = here, place
    if script:
        yield script, text[start:]


def hardly_known_scripts(
    texts: Iterable[str], pieces_of: Callable[[Sequence[str]], list[Pieces]]
) -> dict[str, float]:
    """The scripts that a tokenizer hardly knows, and the share of texts mostly in each.

    Texts without letters do not count.

    Args:
      texts: a sample.
      pieces_of: what the tokenizer makes of each of some words.
    """
    of_texts: Counter[str] = Counter()
    words: dict[str, list[str]] = {}
    for text in texts:
        found = list(_words(text[:_LOOKED_AT]))
        scripts: Counter[str] = Counter()
        for script, word in found:
            scripts[script] += len(word)
        if not scripts:
            continue
        most = max(scripts, key=lambda script: (scripts[script], script))
        of_texts[most] += 1
        of_script = words.setdefault(most, [])
        room = _MOST_WORDS - len(of_script)
        of_script += [word for script, word in found if script == most][:room]
    return {
        script: count / of_texts.total()
        for script, count in of_texts.most_common()
        if script != "LATIN" and not _is_known(script, words[script], pieces_of)
    }


def _is_known(
    script: str, words: Sequence[str], pieces_of: Callable[[Sequence[str]], list[Pieces]]
) -> bool:
    letters = lost = 0.0
    known = 0
    for word, pieces in zip(words, pieces_of(words), strict=True):
        letters_here = sum(map(str.isalpha, word))
        letters += letters_here
        lost += letters_here * pieces.unknown / max(sum(pieces), 1)
        known += pieces.known
    if lost > _UNKNOWN * letters:
        return False
    return letters - lost >= _FEWEST.get(script, _FEWEST_OF_ALPHABETS) * known


class Spread:
    """Some of many texts, spread evenly over all of them; the same ones for the same texts.

    >>> spread = Spread(most=4)
    >>> for number in range(9):
    ...     spread.add(str(number))
    >>> spread.texts
    ['0', '4', '8']
    """

    def __init__(self, most: int = 1000) -> None:
        """Holds at most `most` texts, the beginning of each."""
        self.texts: list[str] = []
        self._most = most
        self._step = 1
        self._passed = 0

    def add(self, text: str) -> None:
        """The next one."""
        if not self._passed % self._step:
            if len(self.texts) == self._most:
                self.texts = self.texts[::2]
                self._step *= 2
            if not self._passed % self._step:
                self.texts.append(text[:_LOOKED_AT])
        self._passed += 1
