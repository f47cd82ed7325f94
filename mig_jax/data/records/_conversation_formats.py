"""Conversation layouts: how the turns of a record stand in its JSON.

Read and written:

* `messages` (OpenAI): `messages`, a list of turns with `role` and `content`.
* `xsample`: the same in `dialogs`.
* `sharegpt`: `conversations`, a list of turns with `from` and `value`.
* `alpaca`: `instruction`, `input` and `output`; `system`; earlier turns in `history`.
* `prompt_completion` (TRL): `prompt` and `completion`, texts or lists of turns.

A system prompt may stand in `system` beside the turns of the first three.

Read only: `preference` (`_preference_pairs`), `turns` and `exchanges` (`_turn_lists`),
`columns`, `text` and, of evaluation files, `questions` (`_columns`).

Whatever else a record or a turn holds stays with the conversation, so that writing it in
the layout that it came in gives an equal record. A layout that cannot hold a
conversation refuses it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from mig_jax.data.records._columns import (
    BESIDE_TEXT,
    COLUMNS,
    QUESTIONS,
    decode_alpaca,
    decode_columns,
    decode_questions,
    decode_text,
    question_and_answer,
    questions_field,
    text_is_beside,
)
from mig_jax.data.records._conversations import Conversation
from mig_jax.data.records._field_names import USUAL, FieldNames
from mig_jax.data.records._json_records import says_nothing
from mig_jax.data.records._preference_pairs import PREFERENCES, decode_preference, has_open_pair
from mig_jax.data.records._prompt_completion import decode_prompt_completion, is_prompt
from mig_jax.data.records._turn_lists import (
    OPENAI,
    SHAREGPT,
    TURN_FIELDS,
    TurnForm,
    are_strings,
    beside_system,
    decode_exchange_list,
    decode_other_turns,
    decode_turns,
    exchanges_field,
    form_of_turns,
    other_turns_field,
)
from mig_jax.data.records._unknown_records import no_conversation

__all__ = [
    "CONVERSATION_FORMATS",
    "READ_LAYOUTS",
    "decode_conversation",
    "telling_fields",
    "told_conversation_format",
]

# How surely the fields of a record tell a layout.
_FILLED: Final = 4  # All that it needs says something.
_HALF_FILLED: Final = 3  # Something of it does.
_LESS: Final = 2  # There is a text, or a question that nobody answers.
_EMPTY: Final = 1  # They are there.
_NOT: Final = 0
_NAMED: Final = 8  # Added for fields that `--field` names.


class _ConversationFormat(NamedTuple):
    telling: tuple[str, ...]  # The fields that a record of this layout has, by usual names.
    form: TurnForm | None  # None: it is no list of turns.


# The layouts that can be written.
CONVERSATION_FORMATS: Final[dict[str, _ConversationFormat]] = {
    "messages": _ConversationFormat(("messages",), OPENAI),
    "xsample": _ConversationFormat(("dialogs",), OPENAI),
    "sharegpt": _ConversationFormat(("conversations",), SHAREGPT),
    "alpaca": _ConversationFormat(("instruction", "output"), None),
    "prompt_completion": _ConversationFormat(("prompt", "completion"), OPENAI),
}


def told_conversation_format(
    record: dict[str, Any], names: FieldNames = USUAL, *, questions: bool = False
) -> str | None:
    """The layout that the fields of a record tell; None if they tell none.

    It is the first of `READ_LAYOUTS` all of whose fields say something; or else, the first of
    which a part does; or else, a text or a question; or else, the first whose fields are
    there. Null, "" and [] say nothing. Fields that `names` names go before all others.
    `questions` are told only if they are wanted.
    """
    best, told = _NOT, None
    for layout, reader in _READERS.items():
        if layout == "questions" and not questions:
            continue
        fullness = reader.fullness(record, names)
        if fullness and names.mapped and any(map(names.is_mapped, reader.telling)):
            fullness += _NAMED
        if fullness > best:
            best, told = fullness, layout
            if fullness == _FILLED and not names.mapped:
                break
    return told


def telling_fields(names: FieldNames = USUAL) -> list[str]:
    """All fields that `told_conversation_format` looks at, under the pool's names."""
    told = [names[field] for reader in _READERS.values() for field in reader.telling]
    return [*told, *(names[field] for field in BESIDE_TEXT)]


def decode_conversation(
    record: dict[str, Any], names: FieldNames = USUAL, *, questions: bool = False
) -> Conversation:
    """The conversation of a record, in the layout that its fields tell.

    Args:
      record: its JSON object, which is not changed.
      names: the pool's names of fields.
      questions: whether a record that only asks, as those of evaluation files do, is one.

    Raises:
      BadRecord: with the field at fault and what was expected.

    >>> found = decode_conversation({"instruction": "Add.", "input": "1, 2", "output": "3"})
    >>> found.layout, found.texts
    ('alpaca', [('user', 'Add.\\n1, 2'), ('assistant', '3')])
    >>> decode_conversation({"question": "1 + 2?"}, questions=True).texts
    [('user', '1 + 2?')]
    """
    layout = told_conversation_format(record, names, questions=questions)
    if layout is None:
        raise no_conversation(record, names)
    return _READERS[layout].decode(record, names)


def _fullness(found: list[Any]) -> int:
    """How much a layout is told by the values of the fields that it cannot do without."""
    if any(value is None for value in found):
        return _NOT
    filled = [not says_nothing(value) for value in found]
    return _FILLED if all(filled) else _HALF_FILLED if any(filled) else _EMPTY


class _Reader(NamedTuple):
    telling: tuple[str, ...]  # The fields that are looked at, by usual names.
    fullness: Callable[[dict[str, Any], FieldNames], int]
    decode: Callable[[dict[str, Any], FieldNames], Conversation]


def _of_turns(layout: str) -> _Reader:
    """Reads one of the layouts that are a list of turns in a field and form of its own."""
    (usual,), form = CONVERSATION_FORMATS[layout]
    assert form is not None

    def fullness(record: dict[str, Any], names: FieldNames) -> int:
        found = record.get(names[usual])
        if form_of_turns(found, form, names) is not form:
            return _NOT
        if form is SHAREGPT and are_strings(found):
            return _NOT
        return min(_fullness([found]), _FILLED if isinstance(found, list) else _EMPTY)

    def decode(record: dict[str, Any], names: FieldNames) -> Conversation:
        field = names[usual]
        turns = decode_turns(record[field], field, form, names)
        return beside_system(layout, turns, record, names, field)

    return _Reader((usual,), fullness, decode)


def _other_turns_fullness(record: dict[str, Any], names: FieldNames) -> int:
    field = other_turns_field(record, names)
    if field is None:
        return _NOT
    # Strings in `data` may be anything, if there is anything else.
    return _EMPTY if field == "data" and are_strings(record[field]) else _FILLED


def _alpaca_fullness(record: dict[str, Any], names: FieldNames) -> int:
    asked, about, said = (record.get(names[name]) for name in ("instruction", "input", "output"))
    if asked == "" and about:
        asked = about  # It may be all that is asked.
    return _fullness([asked, said])


def _prompt_fullness(record: dict[str, Any], names: FieldNames) -> int:
    found = [record.get(names[name]) for name in ("prompt", "completion")]
    return _fullness(found) if all(is_prompt(one, names) for one in found) else _NOT


def _column_fullness(record: dict[str, Any], names: FieldNames) -> int:
    found = question_and_answer(record, names)
    return _NOT if found is None else _fullness([record[names[name]] for name in found])


def _text_fullness(record: dict[str, Any], names: FieldNames) -> int:
    found = record.get(names["text"])
    if not isinstance(found, str) or not found:
        return _NOT
    is_all = names.is_mapped("text") or text_is_beside(record, names) is None
    return _LESS if is_all else _NOT


# In the order in which they are told. A pair of answers comes first, as what is beside it may be
# no more than the question.
_READERS: Final[dict[str, _Reader]] = {
    "preference": _Reader(
        tuple(name for pair in PREFERENCES for name in pair),
        lambda record, names: _FILLED if has_open_pair(record, names) else _NOT,
        decode_preference,
    ),
    "messages": _of_turns("messages"),
    "xsample": _of_turns("xsample"),
    "sharegpt": _of_turns("sharegpt"),
    "alpaca": _Reader(("instruction", "input", "output"), _alpaca_fullness, decode_alpaca),
    "turns": _Reader(
        TURN_FIELDS,
        _other_turns_fullness,
        decode_other_turns,
    ),
    "exchanges": _Reader(
        ("conversation",),
        lambda record, names: _NOT if exchanges_field(record, names) is None else _FILLED,
        decode_exchange_list,
    ),
    "prompt_completion": _Reader(
        ("prompt", "completion"), _prompt_fullness, decode_prompt_completion
    ),
    "columns": _Reader(COLUMNS, _column_fullness, decode_columns),
    "questions": _Reader(
        ("turns", *QUESTIONS),
        lambda record, names: _NOT if questions_field(record, names) is None else _LESS,
        decode_questions,
    ),
    "text": _Reader(("text",), _text_fullness, decode_text),
}
READ_LAYOUTS: Final = tuple(_READERS)
