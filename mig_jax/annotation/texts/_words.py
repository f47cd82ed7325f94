"""Texts as words and signs, for comparing them: case, width, forms and marks do not count."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Sequence
from typing import Final

__all__ = [
    "question_words",
    "runs_of_words",
    "terms_of",
    "tokens_of",
    "without_marks",
    "words_of",
]

# Scripts that write words without spaces: the first and last letter of each block.
_IDEOGRAPHS: Final = (
    (0x3005, 0x3007),  # Marks of repetition and zero.
    (0x3040, 0x312F),  # Kana, Bopomofo.
    (0x31A0, 0x31BF),
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xA000, 0xA4CF),  # Yi.
    (0xF900, 0xFAFF),
    (0x16FE0, 0x18DFF),  # Tangut.
    (0x1AFF0, 0x1B2FF),  # Kana and Nüshu.
    (0x20000, 0x3FFFF),  # Rare ideographs.
)
_SYLLABLES: Final = (
    (0x0E00, 0x0EFF),  # Thai, Lao.
    (0x0F00, 0x0FFF),  # Tibetan.
    (0x1000, 0x109F),  # Myanmar.
    (0x1780, 0x17FF),  # Khmer.
    (0x1950, 0x19FF),  # Tai Le, New Tai Lue, signs of Khmer.
    (0x1A20, 0x1AAF),  # Tai Tham.
    (0x1B00, 0x1B7F),  # Balinese.
    (0xA980, 0xA9FF),  # Javanese, Myanmar.
    (0xAA60, 0xAADF),  # Myanmar, Tai Viet.
)
# About so many letters of these scripts are a word.
_LETTERS_A_WORD: Final = 4
_FOLDED: Final = str.maketrans("‘’‚‛“”„‟‐‑‒–—―−", "''''\"\"\"\"-------")
_RAISED: Final = re.compile("[²³¹⁰-⁾₀-₎]+")
# A comma or full stop between two words of prose, or at the end.
_PAUSE: Final = re.compile(r"(?<=\w)[.,](?=\s+[^\W\d_]|\s*$)")
_SENTENCE: Final = frozenset(".,;:!?'\"¿¡。、，．：；！？·…")


class _Spaced(dict[int, str]):
    """What each character becomes, so that spaces part the tokens; filled as they come."""

    def __init__(self, *, signs: bool) -> None:
        self._signs = signs

    def __missing__(self, code: int) -> str:
        return self.setdefault(code, self._spaced(chr(code), code))

    def _spaced(self, character: str, code: int) -> str:
        category = unicodedata.category(character)
        if _is_invisible(code, category):
            return ""
        if category[0] == "Z" or character.isspace():
            return " "
        if category[0] in "PSC":
            return f" {character} " if self._signs else " "
        return f" {character} " if _is_within(code, (*_IDEOGRAPHS, *_SYLLABLES)) else character


_WORDS: Final = _Spaced(signs=False)
_TOKENS: Final = _Spaced(signs=True)


def words_of(text: str) -> list[str]:
    """The words, without case and punctuation; each letter is one in scripts without spaces.

    >>> words_of("It's 5 o'clock, 时间!")
    ['it', 's', '5', 'o', 'clock', '时', '间']
    """
    return _plain(text).translate(_WORDS).split()


def tokens_of(text: str) -> list[str]:
    """The words, and each sign between them: punctuation, symbols, emoji.

    Commas and full stops between two words of prose do not count.

    >>> tokens_of("X += 1;"), tokens_of("Well, no."), tokens_of("f(1,2)")
    (['x', '+', '=', '1', ';'], ['well', 'no'], ['f', '(', '1', ',', '2', ')'])
    """
    return _PAUSE.sub(" ", _plain(text)).translate(_TOKENS).split()


def question_words(text: str) -> list[str]:
    """The tokens but for the punctuation of sentences.

    >>> question_words("What's 2+2?")
    ['what', 's', '2', '+', '2']
    """
    return [token for token in tokens_of(text) if token not in _SENTENCE]


def terms_of(text: str) -> list[str]:
    """The words; in scripts without spaces, which nothing parts, runs of letters instead.

    Two successive ideographs are about a word, as are three letters of scripts such as Thai.

    >>> terms_of("Use C++20"), terms_of("学习机器 well")
    (['use', 'c', '20'], ['学习', '习机', '机器', 'well'])
    """
    words = words_of(text)
    if text.isascii():
        return words
    terms: list[str] = []
    for size, group in itertools.groupby(words, _letters_of_a_term):
        if size:
            run = "".join(group)
            terms += [run[at : at + size] for at in range(max(len(run) - size + 1, 1))]
        else:
            terms += group
    return terms


def runs_of_words(words: Sequence[str], n: int) -> list[str]:
    """All runs of `n` successive words, joined by spaces.

    In scripts such as Thai a letter is a quarter of a word.

    >>> runs_of_words(["a", "b", "c"], 2)
    ['a b', 'b c']
    """
    if not any(map(_is_quarter, words)):
        return [" ".join(words[start : start + n]) for start in range(len(words) - n + 1)]
    quarters = [1 if _is_quarter(word) else _LETTERS_A_WORD for word in words]
    runs, end, size = [], 0, 0
    for start, first in enumerate(quarters):
        while size < n * _LETTERS_A_WORD and end < len(words):
            size += quarters[end]
            end += 1
        if size < n * _LETTERS_A_WORD:
            break
        runs.append(" ".join(words[start:end]))
        size -= first
    return runs


def without_marks(text: str, keep: str = "") -> str:
    """The text without marks that nobody sees, such as spaces of no width, but those of `keep`."""
    if text.isascii():
        return text
    return "".join(
        c for c in text if c in keep or not _is_invisible(ord(c), unicodedata.category(c))
    )


def _plain(text: str) -> str:
    """Without what spellings differ in; what is raised or lowered keeps a sign of it."""
    kept = _RAISED.sub(lambda found: f"^{found[0]}" if found[0] < "₀" else f"_{found[0]}", text)
    folded = unicodedata.normalize("NFKC", kept).casefold()
    return unicodedata.normalize("NFKC", folded).translate(_FOLDED)


def _is_quarter(word: str) -> bool:
    return len(word) == 1 and _is_within(ord(word), _SYLLABLES)


def _letters_of_a_term(word: str) -> int:
    """How many letters of its script make a term; 0 for words that are terms themselves."""
    if len(word) > 1 or word.isascii():
        return 0
    return 3 if _is_quarter(word) else 2 * _is_within(ord(word), _IDEOGRAPHS)


def _is_invisible(code: int, category: str) -> bool:
    """Whether it is a mark without width, or one that chooses among forms of a character."""
    return (
        category == "Cf"
        or code in (0x034F, 0x180B, 0x180C, 0x180D, 0x180F)
        or 0xFE00 <= code <= 0xFE0F
        or 0xE0100 <= code <= 0xE01EF
    )


def _is_within(code: int, blocks: Sequence[tuple[int, int]]) -> bool:
    return code > 0x0DFF and any(first <= code <= last for first, last in blocks)
