"""What language models write, read for what was asked of them: JSON, or nearly."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

__all__ = ["read_score", "read_tags"]

# What reasoning models say to themselves; some templates leave out the beginning.
_THOUGHT = re.compile(r"\A.*</think>", re.S)
_STRING = re.compile(r""""((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'(?!\w)""", re.S)
_OPENS_TAGS = re.compile(r"""["']?\b(?:tags|labels)["']?\s*[:=]\s*\[|\A\s*(?:```\w*\s*)?\[""", re.I)
_NUMBER = r"""["']?\s*(-?\d+(?:\.\d+)?)(?![\d.]*\d)"""
_SCORE = re.compile(rf"""["']?\bscore\b["'*]*\s*(?:[:=]|\bis\b)[\s*]*{_NUMBER}""", re.I)
_ALONE = re.compile(rf"\A\W*?{_NUMBER}\s*(?:/\s*\d+|out of \d+)?[\W_]*\Z", re.I)
_MOST_STARTS = 50
_LONGEST_TAG = 100  # Characters: what is longer is a sentence.


def read_tags(text: str) -> list[str] | None:
    """The tags of an answer that should be `{"tags": [...]}`, each once; None if it is not.

    Fences, prose before and behind, single quotes, a bare list and an end that never came are
    put up with; of a list without an end the last tag counts only if it is whole.

    >>> read_tags('Sure!\\n```json\\n{"tags": ["maths", "proof"]}\\n```')
    ['maths', 'proof']
    >>> read_tags("{'tags': ['chef\\\\'s knife', 'cooking', 'sha")
    ["chef's knife", 'cooking']
    >>> read_tags("I would say it is about maths."), read_tags('{"tags": []}')
    (None, [])
    """
    said = _THOUGHT.sub("", text)
    for value in _values(said):
        tags = _tags_of(value)
        if tags is not None:
            return _cleaned(tags)
    opened = _OPENS_TAGS.search(said)
    if opened is None:
        return None
    rest = said[opened.end() :]
    tags = [_unescaped(double or single) for double, single in _strings(rest)]
    return _cleaned(tags) if tags else None


def read_score(text: str, most: int) -> float | None:
    """The number of an answer that should be `{"score": 7}`; None if it is not, or not 1 to `most`.

    >>> read_score('```\\n{"score": "7"}', 10), read_score("**Score:** 8/10, as ...", 10)
    (7.0, 8.0)
    >>> read_score("6", 10), read_score("11", 10), read_score("It has 3 parts.", 10)
    (6.0, None, None)
    """
    said = _THOUGHT.sub("", text)
    for value in _values(said):
        found = value.get("score") if isinstance(value, dict) else None
        if isinstance(found, (int, float, str)) and not isinstance(found, bool):
            matched = _ALONE.match(str(found))
            if matched is not None:
                return _within(matched[1], most)
    matched = _SCORE.search(said) or _ALONE.match(said)
    return None if matched is None else _within(matched[1], most)


def _within(number: str, most: int) -> float | None:
    value = float(number)
    return value if 1 <= value <= most else None


def _values(text: str) -> Iterator[Any]:
    """The JSON lists and objects of a text that are whole, as they begin."""
    decoder = json.JSONDecoder(strict=False)
    for start in itertools.islice(re.finditer(r"[\[{]", text), _MOST_STARTS):
        try:
            yield decoder.raw_decode(text, start.start())[0]
        except (ValueError, RecursionError):
            continue


def _tags_of(value: Any) -> list[str] | None:
    if isinstance(value, dict):
        for name in ("tags", "labels"):
            if isinstance(value.get(name), list):
                return _tags_of(value[name]) if value[name] else []
            if isinstance(value.get(name), str):
                return value[name].split(",")
        return None
    if isinstance(value, list) and value:
        # InsTag's form, which models that were taught it fall into.
        tags = [item.get("tag") if isinstance(item, dict) else item for item in value]
        return [tag for tag in tags if isinstance(tag, str)] or None
    return None


def _strings(text: str) -> Iterator[tuple[str, str]]:
    """The quoted strings of a list up to its end, or that of the text."""
    place = 0
    while found := _STRING.search(text, place):
        if "]" in text[place : found.start()]:
            return
        yield found[1] or "", found[2] or ""
        place = found.end()


def _unescaped(text: str) -> str:
    try:
        return str(json.loads(f'"{text}"', strict=False))
    except ValueError:
        return text.replace("\\'", "'").replace('\\"', '"')


def _cleaned(tags: list[str]) -> list[str]:
    shown = (" ".join(tag.split()) for tag in tags)
    return list(dict.fromkeys(tag for tag in shown if 0 < len(tag) <= _LONGEST_TAG))
