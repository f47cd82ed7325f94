"""What a response says about itself: how much it holds, and whether it is broken."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from mig_jax.annotation.texts._samples import is_blank
from mig_jax.annotation.texts._words import terms_of

__all__ = [
    "Substance",
    "damage",
    "is_cut",
    "is_echo",
    "is_refusal",
    "repetition",
    "soundness",
    "substance_of",
]

# Of a text: what comes behind changes little, and a book must not take a minute.
_CHARACTERS: Final = 20_000
# Characters of which damage is a share, at least.
_MEASURED: Final = 200
# Keeps a share of few from being all or nothing.
_FEW: Final = 5

_ITEM: Final = re.compile(
    r"^\s*(?:[-*+•·–]|\(?\d{1,3}[.)、．:]|[①-⑳]|[a-z][.)])\s*\S", re.MULTILINE
)
_LINE: Final = re.compile(r"^.*\S.*$", re.MULTILINE)
_BLANK_LINES: Final = re.compile(r"\n[^\S\n]*\n\s*(?=\S)")
_ASKS: Final = re.compile("[?？؟;](?=\\s|$)|[？؟]")
_SAYS: Final = re.compile("[.!](?=\\s|$)|[。！।۔]")
# A letter that none could be decoded to, and UTF-8 read as Latin-1 or Windows-1252: of text in
# Latin script (first), of punctuation (second), of other scripts (third: three such in a row).
_UNDECODED: Final = re.compile("[\ufffd\x00-\x08\x0e-\x1f]")
_WRONGLY_DECODED: Final = re.compile(
    "[ÃÂ][\x80-\xbf€‚ƒ„…†‡ˆ‰Š‹Œ‘’“”•–—˜™š›œ]"
    "|â(?:€|\x80)[\x80-\xbf€‚ƒ„…†‡ˆ‰Š‹Œ‘’“”•–—˜™š›œ]"
    "|(?:[Î-Ûà-ï][\x80-\xbf€‚ƒ„…†‡ˆ‰Š‹Œ‘’“”•–—˜™š›œž]{1,2}){3}"
)
_MARKUP: Final = re.compile(
    r"&(?:nbsp|amp|quot|lt|gt|apos|#\d{2,5}|#x[0-9a-fA-F]{2,4});"
    r"|</?(?:div|span|p|br|td|tr|font|strong|em|ul|li)\b[^>\n]{0,80}>"
)
_CODE: Final = re.compile(r"```.*?(?:```|\Z)|`[^`\n]+`", re.DOTALL)
_REFUSALS: Final = re.compile(
    "|".join(
        (
            r"\bas an? (?:ai|artificial intelligence|(?:large )?language model)"
            r"(?: (?:language )?(?:model|assistant|chatbot))?"
            r"(?:,| i\b| (?:developed|created|trained))",
            r"\bi(?:['’]m| am) (?:just |only )?an? (?:ai|(?:ai |large )?language model)\b",
            r"^\W*(?:i(?:['’]m| am) )?(?:very )?sorry,? (?:but )?(?:i|as)\b.{0,40}"
            r"\b(?:can['’]?t|cannot|unable|not able|don['’]?t)\b",
            r"^\W*i (?:can['’]?t|cannot|am unable to|am not able to|won['’]?t) "
            r"(?:assist|help|provide|fulfil|comply|answer|complete)",
            "作为(?:一个|一名|一款)?(?:ai|人工智能|大型|语言)+(?:模型|助手)",
            r"^\W*(?:很)?抱歉.{0,12}(?:无法|不能)",
            r"^\W*(?:申し訳|すみません|ごめん).{0,40}(?:できません|できかねます)",
            "(?:ai|人工知能|言語モデル)として、",
            r"\bкак (?:ии|искусственный интеллект|языковая модель),",
            r"^\W*(?:извините|к сожалению).{0,20}я не могу",
            r"\b(?:como|en tant que|als|come) (?:un |una |uma |eine? )?"
            r"(?:modelo de (?:lenguaje|linguagem)|modèle de langage|(?:ki-)?sprachmodell"
            r"|modello linguistico|i[ae],)",
            r"^\W*(?:lo siento|je suis désolée?|es tut mir leid|mi dispiace|desculpe).{0,40}"
            r"\b(?:no puedo|ne (?:peux|puis)|kann ich|kann nicht|non posso|não posso)\b",
            r"(?:كنموذج لغ|بصفتي (?:نموذج|ذكاء))",
            r"^\W*(?:عذر|آسف).{0,30}لا (?:أستطيع|يمكنني)",
        )
    ),
    re.IGNORECASE,
)
# What nobody ends a text with: it goes on. Not brackets of ASCII, which are parts of faces.
_GOES_ON: Final = frozenset(",，、،（「『《")
# So short a text is no sentence.
_SHORT: Final = 20


class Substance(NamedTuple):
    """How much an exchange holds. Counted are terms: words, or two ideographs, or three letters."""

    #: Base-2 logarithm of one plus the number of distinct terms.
    terms: float
    #: Share of them that the instruction does not have: x of n is x / (n + 5).
    new: float
    #: Share of its lines that are items of a list, likewise.
    listed: float
    #: Base-2 logarithm of the number of paragraphs.
    paragraphs: float
    #: Share of its sentences that ask, likewise.
    asking: float
    #: Base-2 logarithm of two plus the number of distinct terms of the instruction.
    asked: float


def substance_of(instruction: str, response: str) -> Substance:
    """What the response holds, of it what the instruction does not, and how much that holds.

    >>> substance_of("Say hello", "Hello world, hello!").terms
    1.584962500721156
    """
    text = response[:_CHARACTERS]
    distinct = set(_terms_of(text))
    asked = set(_terms_of(instruction[:_CHARACTERS]))
    new = distinct - asked
    asks, says = len(_ASKS.findall(text)), len(_SAYS.findall(text))
    lines = len(_LINE.findall(text))
    return Substance(
        math.log2(1 + len(distinct)),
        len(new) / (len(distinct) + _FEW),
        len(_ITEM.findall(text)) / (lines + _FEW),
        math.log2(1 + len(_BLANK_LINES.findall(text.strip()))),
        asks / (asks + says + _FEW),
        math.log2(2 + len(asked)),
    )


def soundness(instruction: str, response: str) -> float:
    """From 1 for a response with nothing wrong down to 0 for one that says nothing.

    The product of a factor for each thing that is wrong: 0.05 for a repetition of the
    instruction; down to 0.05 for text that repeats itself or is damaged; 0.2 for a refusal,
    and for text about being a language model; 0.6 for an end in the middle.
    """
    if is_blank(response):
        return 0.0
    text = response[:_CHARACTERS]
    terms = _terms_of(text)
    value = 0.05 if is_echo(_terms_of(instruction[:_CHARACTERS]), terms) else 1.0
    # Half of all runs of three terms may be repeated, as they are in code and tables.
    value *= _falling(repetition(terms), 0.5, 0.9)
    value *= _falling(damage(text), 0.002, 0.05)
    value *= 0.2 if is_refusal(text) else 1.0
    return value * (0.6 if is_cut(response) else 1.0)


def repetition(terms: Sequence[str]) -> float:
    """The share of runs of three terms that stood there before.

    >>> repetition("a b c a b c a b c".split())
    0.5714285714285714
    """
    runs = list(zip(terms, terms[1:], terms[2:], strict=False))
    return 1 - len(set(runs)) / len(runs) if runs else 0.0


def damage(text: str) -> float:
    """Wrongly decoded letters and remains of HTML outside code, for each character.

    Of a short text it is as if it had 200: one wrong letter is a slip.

    >>> damage("plain"), damage("donâ€™t"), damage("`&amp;`")
    (0.0, 0.015, 0.0)
    """
    wrong = 0
    if not text.isascii():
        wrong += len(_UNDECODED.findall(text)) + 3 * len(_WRONGLY_DECODED.findall(text))
    if "&" in text or "<" in text:
        wrong += len(_MARKUP.findall(_CODE.sub("", text)))
    return wrong / max(len(text), _MEASURED)


def is_refusal(text: str) -> bool:
    """Whether its beginning refuses, or speaks of being a model, in any of ten languages.

    >>> is_refusal("I'm sorry, but I can't help with that."), is_refusal("Sorry means regret.")
    (True, False)
    """
    return _REFUSALS.search(text[:300]) is not None


def is_echo(instruction: Sequence[str], response: Sequence[str]) -> bool:
    """Whether a response of terms is the instruction again; a word or two may be right.

    >>> is_echo("say it in one word".split(), "say it in one word".split())
    True
    """
    return len(response) > _FEW - 2 and tuple(instruction) == tuple(response)


def is_cut(text: str) -> bool:
    """Whether it ends within a sentence or a block of code, as far as its last sign tells.

    >>> is_cut("First, second,"), is_cut("No"), is_cut("```python\\nx = 1")
    (False, False, True)
    >>> is_cut("First of all you beat the eggs,")
    True
    """
    end = text.rstrip()
    return (len(end) > _SHORT and end[-1] in _GOES_ON) or end.count("```") % 2 == 1


@functools.lru_cache(maxsize=4)
def _terms_of(text: str) -> tuple[str, ...]:
    """The terms, found once for all that looks at one pair of texts."""
    return tuple(terms_of(text))


def _falling(value: float, start: float, end: float) -> float:
    """From 1 at `start` to 0.05 at `end`."""
    return 1 - 0.95 * min(max((value - start) / (end - start), 0.0), 1.0)
