"""What is said of a record in which no conversation was found, or no labels and no score."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any, Final

from mig_jax.data.records._columns import ANSWERS, QUESTIONS, question_field, text_is_beside
from mig_jax.data.records._field_names import FieldNames
from mig_jax.data.records._json_records import kind_of
from mig_jax.data.records._label_formats import BadRecord
from mig_jax.data.records._turn_lists import ROLE_NAMES

__all__ = ["found_instead", "no_conversation", "one_side", "perhaps"]

_EXPECTED: Final = (
    "messages (turns with role and content), conversations (turns with from and value), "
    "instruction and output, prompt and completion, question and answer, or text"
)
_MOST: Final = 12  # Fields that are named.
# Fields that are about a record, and no part of its conversation.
_ABOUT: Final = frozenset(
    (
        *("id", "uid", "uuid", "idx", "index", "key", "source", "dataset", "category", "task"),
        *("lang", "language", "type", "domain", "model", "url", "name", "title", "split", "date"),
        *("license", "difficulty", "timestamp", "labels", "score", "mig_jax"),
    )
)


def no_conversation(record: dict[str, Any], names: FieldNames) -> BadRecord:
    """The fault of a record without one: the fields that it has, and the flags that might do.

    >>> fault = no_conversation({"ask": "1 + 1?", "reply": "2"}, FieldNames())
    >>> str(fault).partition("; perhaps ")[2]
    '--field=instruction=ask --field=output=reply do'
    """
    if one := one_side(record, names):
        return BadRecord(one)
    guess = _flags({name: value for name, value in record.items() if _shown(name) == name}, names)
    return BadRecord(f"found no conversation; expected {_EXPECTED}{_told(record, guess)}")


def one_side(record: dict[str, Any], names: FieldNames) -> str:
    """Words on a record whose text is one side of a conversation alone; "" if it is not.

    >>> one_side({"text": "1 + 1?", "role": "user"}, FieldNames()).partition(";")[0]
    'found no conversation, but text beside role, as one side of it'
    """
    text, guess = names["text"], ""
    if not isinstance(record.get(text), str) or not record[text]:
        return ""
    other = text_is_beside(record, names)
    if other is None:
        return ""
    if other == "code" or other in map(names.__getitem__, ANSWERS):
        guess = _joined({"question": text, "answer": other})
    elif other in map(names.__getitem__, QUESTIONS):
        guess = _joined({"question": other, "answer": text})
    return (
        f"found no conversation, but {text} beside {other}, as one side of it; expected both sides "
        f"in one record{_perhaps(guess)}; --field=text={text} if the text alone is to be learned"
    )


def found_instead(record: dict[str, Any], lacking: Sequence[str]) -> str:
    """Words on a record without labels or a score: its fields, and the flags that might do.

    `lacking` tells what it has not: labels, score, or both.

    >>> found_instead({"id": 7, "tags": ["maths"], "quality": 2.5}, ["labels", "score"])[-54:]
    '; perhaps --field=labels=tags --field=score=quality do'
    """
    return _told(record, perhaps(record, lacking))


def perhaps(record: dict[str, Any], lacking: Sequence[str]) -> str:
    """The flags that might tell where a record has what it lacks; "" for no guess.

    >>> perhaps({"id": 7, "tags": ["maths"]}, ["labels", "score"])
    '--field=labels=tags'
    """
    about = _ABOUT - {"labels", "score"}
    usable = {name: value for name, value in record.items() if _shown(name) == name}
    usable = {name: value for name, value in usable.items() if name.lower() not in about}
    flags = {}
    lists = [name for name, value in usable.items() if _kind(value) == "a list of strings"]
    if "labels" in lacking and len(lists) == 1:
        flags["labels"] = lists[0]
    numbers = [
        name
        for name, value in usable.items()  # An answer that is a number is no score.
        if type(value) in (int, float) and value >= 0 and name.lower() not in ANSWERS
    ]
    if "score" in lacking and len(numbers) == 1:
        flags["score"] = numbers[0]
    return _joined(flags)


def _told(record: dict[str, Any], guess: str) -> str:
    """The fields of a record, and flags that might do."""
    if not record:
        return ""
    told = [f"{_shown(name)} ({_kind(value)})" for name, value in list(record.items())[:_MOST]]
    if len(record) > _MOST:
        told.append(f"{len(record) - _MOST} more")
    return f"; found {', '.join(told)}{_perhaps(guess)}"


def _perhaps(guess: str) -> str:
    return f"; perhaps {guess} {'does' if guess.count('--') == 1 else 'do'}" if guess else ""


def _shown(name: str) -> str:
    return name if name.isprintable() else repr(name)[1:-1]


def _kind(value: Any) -> str:
    for kind, name in ((dict, "objects"), (str, "strings"), (list, "lists")):
        if isinstance(value, list) and value and all(isinstance(one, kind) for one in value):
            return f"a list of {name}"
    return kind_of(value)


def _flags(record: dict[str, Any], names: FieldNames) -> str:
    """Flags that say where the conversation may be; "" for no guess."""
    for field, found in record.items():
        if _kind(found) == "a list of objects" and (flags := _turn_flags(field, found)):
            return _joined(flags)
    texts = [name for name, value in record.items() if isinstance(value, str) and value]
    texts = [name for name in texts if name.lower() not in _ABOUT and not name.endswith("_id")]
    usual = question_field(record, names)
    asked = _called(texts, QUESTIONS) if usual is None else names[usual]
    if asked is not None:
        # A question told twice is no answer, nor is anything beside an answer that is a number.
        said = [name for name in texts if name != asked and name.lower() not in QUESTIONS]
        if any(type(record.get(names[name])) in (int, float) for name in ANSWERS):
            said = []
        answer = _called(said, ANSWERS) or next(iter(_longest(record, said)), None)
        return _joined({} if answer is None else {"question": asked, "answer": answer})
    found = _longest(record, texts)
    if len(found) > 1:
        return _joined({"instruction": found[0], "output": found[1]})
    return _joined({"text": found[0]} if found else {})


def _called(fields: list[str], usual: tuple[str, ...]) -> str | None:
    """The first field that is called so, in capitals or not."""
    return next((name for one in usual for name in fields if name.lower() == one), None)


def _turn_flags(field: str, found: list[dict[str, Any]]) -> dict[str, str]:
    """For a list of objects of whom one field names a role, and another says something."""
    keys = [key for key in found[0] if all(isinstance(turn.get(key), str) for turn in found)]
    role = next((key for key in keys if all(turn[key].lower() in ROLE_NAMES for turn in found)), "")
    said = max(
        (key for key in keys if key != role),
        key=lambda key: sum(len(turn[key]) for turn in found),
        default="",
    )
    if not role or not said:
        return {}
    return {"messages": field, "role": role, "content": said}


def _longest(record: dict[str, Any], texts: list[str]) -> list[str]:
    """The two fields with the longest texts, in their order in the record."""
    kept = sorted(texts, key=lambda name: -len(record[name]))[:2]
    return [name for name in texts if name in kept]


def _joined(flags: dict[str, str]) -> str:
    return " ".join(
        shlex.quote(f"--field={usual}={field}") for usual, field in flags.items() if usual != field
    )
