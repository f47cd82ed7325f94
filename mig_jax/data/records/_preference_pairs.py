"""Pairs of a chosen and a rejected answer: the conversation is the one with the chosen.

What leads up to the answers may stand

* beside them, as a list of turns (LLaMA-Factory, axolotl, TRL) or as a question in a column;
* in the answers themselves, which are whole conversations then (TRL's implicit prompts);
* nowhere, if they are texts; those of Anthropic's hh-rlhf are conversations in one string.

The rejected answer is never read. It stays in the record.
"""

from __future__ import annotations

import re
from typing import Any, Final

from mig_jax.data.records._columns import question_field, question_turns
from mig_jax.data.records._conversations import Conversation, Turn
from mig_jax.data.records._field_names import FieldNames
from mig_jax.data.records._json_records import says_nothing
from mig_jax.data.records._turn_lists import (
    decode_any_turns,
    ends_with_answer,
    is_turn_list,
    with_system_beside,
)

__all__ = ["PREFERENCES", "decode_preference", "has_open_pair"]

# The names of both: of most; of Argilla and NeMo; of LLaMA-Factory's v1; of OpenAI.
PREFERENCES: Final = (
    ("chosen", "rejected"),
    ("chosen_response", "rejected_response"),
    ("chosen_messages", "rejected_messages"),
    ("preferred_output", "non_preferred_output"),
)
_TURN_LISTS: Final = ("messages", "dialogs", "conversations", "conversation", "prompt")
_HH_SPEAKER: Final = re.compile(r"\n\n(Human|Assistant):")


def has_open_pair(record: dict[str, Any], names: FieldNames) -> bool:
    """Whether a record has a pair of answers, and nothing else in it is answered already."""
    if _pair(record, names) is None:
        return False
    if any(ends_with_answer(record.get(names[name]), names) for name in _TURN_LISTS):
        return False
    return all(
        any(says_nothing(record.get(names[name])) for name in answered)
        for answered in (("instruction", "output"), ("prompt", "completion"))
    )


def decode_preference(record: dict[str, Any], names: FieldNames) -> Conversation:
    """The conversation of a record in which `has_open_pair` found something.

    Raises:
      BadRecord: with the field at fault and what was expected.
    """
    pair = _pair(record, names)
    assert pair is not None
    rest, fields = dict(record), dict(zip(("chosen", "rejected"), pair, strict=True))
    answer = _take_answer(rest, pair[0], names)
    context = _take_context(rest, names, fields)
    if not context and isinstance(record[pair[0]], str):
        answer = _speakers(record[pair[0]])
    whole = _joined_if_repeated(context, answer)
    if whole is None and "question" in fields and any(turn.role == "user" for turn in answer):
        # A conversation whose question is told in other words: those stay in the record.
        field = fields.pop("question")
        rest[field] = record[field]
        whole = (*(turn for turn in context if turn.role == "system"), *answer)
    if whole is None:
        at = len(context) if context and answer[0].role == "assistant" else None
        return Conversation("preference", (*context, *answer), rest, fields, at)
    return Conversation("preference", whole, rest, fields)


def _pair(record: dict[str, Any], names: FieldNames) -> tuple[str, str] | None:
    """The record's names of chosen and rejected; None if it has not both."""
    for usual in PREFERENCES:
        chosen, rejected = names[usual[0]], names[usual[1]]
        if chosen not in record or rejected not in record:
            continue  # As most have none.
        if _is_answer(record[chosen], names) and _is_answer(record[rejected], names):
            return chosen, rejected
    return None


def _is_answer(found: Any, names: FieldNames) -> bool:
    if isinstance(found, str):
        return bool(found)
    return is_turn_list([found] if isinstance(found, dict) else found, names)


def _take_answer(rest: dict[str, Any], field: str, names: FieldNames) -> tuple[Turn, ...]:
    found = rest.pop(field)
    if isinstance(found, str):
        return (Turn("assistant", found),)
    return decode_any_turns([found] if isinstance(found, dict) else found, field, names)


def _take_context(
    rest: dict[str, Any], names: FieldNames, fields: dict[str, str]
) -> tuple[Turn, ...]:
    """The turns before the answers, taken from the other fields; these get their names."""
    for name in _TURN_LISTS:
        if is_turn_list(rest.get(names[name]), names):
            fields["turns"] = names[name]
            turns = decode_any_turns(rest.pop(names[name]), names[name], names)
            return with_system_beside(turns, rest, names["system"])
    given = rest.get(names["input"])
    if isinstance(given, dict) and is_turn_list(given.get("messages"), names):  # OpenAI's.
        turns = decode_any_turns(given["messages"], f"{names['input']}.messages", names)
        given = {key: value for key, value in given.items() if key != "messages" and value != []}
        if "tools" in given:
            rest.setdefault("tools", given.pop("tools"))
        rest[names["input"]] = given
        if not given:
            del rest[names["input"]]
        return turns
    if (question := question_field(rest, names)) is not None:
        return tuple(question_turns(rest, question, names, fields))
    return with_system_beside((), rest, names["system"])


def _joined_if_repeated(
    context: tuple[Turn, ...], answer: tuple[Turn, ...]
) -> tuple[Turn, ...] | None:
    """The answer as the whole conversation, if it begins with all that leads up to it."""
    systems = [turn for turns in (context, answer) for turn in turns[:1] if turn.role == "system"]
    if len({turn.text for turn in systems}) > 1:
        return None
    before, after = (
        turns[1:] if turns and turns[0].role == "system" else turns for turns in (context, answer)
    )
    repeated = [(turn.role, turn.text) for turn in after[: len(before)]]
    if not before or repeated != [(turn.role, turn.text) for turn in before]:
        return None
    return (*systems[:1], *after)


def _speakers(text: str) -> tuple[Turn, ...]:
    """The turns of a text: one, or those of hh-rlhf, which name their speakers."""
    opening, *said = _HH_SPEAKER.split(text)
    if opening.strip() or not said:
        return (Turn("assistant", text),)
    return tuple(
        Turn("user" if speaker == "Human" else "assistant", words.removeprefix(" "))
        for speaker, words in zip(said[::2], said[1::2], strict=True)
    )
