"""Lists of turns: how a turn stands in OpenAI's form, in ShareGPT's, and between the two."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec

from mig_jax.data.records._conversations import BARE, BESIDE, NO_ROLE, Conversation, Role, Turn
from mig_jax.data.records._field_names import FieldNames
from mig_jax.data.records._json_records import found_kind, kind_of
from mig_jax.data.records._label_formats import BadRecord
from mig_jax.data.records._tool_calls import CALL_FIELDS

__all__ = [
    "OPENAI",
    "ROLE_NAMES",
    "SHAREGPT",
    "TURN_FIELDS",
    "TurnForm",
    "are_strings",
    "beside_system",
    "decode_any_turns",
    "decode_exchange_list",
    "decode_other_turns",
    "decode_turns",
    "encode_turn",
    "ends_with_answer",
    "exchanges_field",
    "form_of_turns",
    "is_turn_list",
    "other_turns_field",
    "with_system_beside",
]

ROLE_NAMES: Final[dict[str, Role]] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "bot": "assistant",
    "chatbot": "assistant",
    "ai": "assistant",
    "model": "assistant",
    "function_call": "assistant",
    "tool_call": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
    "function_response": "tool",
    "tool_response": "tool",
    "ipython": "tool",
}


class TurnForm(NamedTuple):
    """How a turn stands in a list of turns."""

    role: str
    content: str
    usual: dict[Role, str]  # The name of each role.


OPENAI: Final = TurnForm(
    "role",
    "content",
    {"system": "system", "user": "user", "assistant": "assistant", "tool": "tool"},
)
SHAREGPT: Final = TurnForm(
    "from",
    "value",
    {"system": "system", "user": "human", "assistant": "gpt", "tool": "observation"},
)
_EXCHANGE_FIELDS: Final = ("conversation", "conversations")
_OTHER_FIELDS: Final = ("dialog", "dialogue", "data")
#: Fields in which turns are looked for, whatever form they have.
TURN_FIELDS: Final = (*_EXCHANGE_FIELDS, "messages", "dialogs", "turns", *_OTHER_FIELDS)
# Question and answer in an exchange: of Firefly and ms-swift, of xtuner, and of others.
_EXCHANGES: Final = (
    ("human", "assistant"),
    ("input", "output"),
    ("user", "assistant"),
    ("question", "answer"),
    ("query", "response"),
)


def decode_turns(found: Any, field: str, form: TurnForm, names: FieldNames) -> tuple[Turn, ...]:
    """The turns of a list in this form; they take turns if none of them has a role.

    Raises:
      BadRecord: with the field at fault, `field` being that of the list.
    """
    role_field, content_field = names[form.role], names[form.content]
    if not isinstance(found, list):
        raise BadRecord(
            f"found {kind_of(found)}, expected a list of turns with {role_field} and "
            f"{content_field}",
            field,
        )
    someone_is_named = any(isinstance(turn, dict) and role_field in turn for turn in found)
    turns = []
    for place, turn in enumerate(found):
        here = f"{field}[{place}]"
        if not isinstance(turn, dict):
            raise BadRecord(f"found {kind_of(turn)}, expected an object", here)
        more = {k: v for k, v in turn.items() if k not in (role_field, content_field)}
        content = turn.get(content_field, msgspec.UNSET)
        if not isinstance(content, str) and not _may_lack_text(content, more, form):
            raise BadRecord(f"{found_kind(content)}, expected a string", f"{here}.{content_field}")
        name = turn.get(role_field, msgspec.UNSET)
        if isinstance(name, str) and name.lower() in ROLE_NAMES:
            role = ROLE_NAMES[name.lower()]
            turns.append(Turn(role, content, None if name == form.usual[role] else name, more))
        elif not someone_is_named:
            turns.append(Turn("assistant" if place % 2 else "user", content, NO_ROLE, more))
        else:
            told = f"found {name!r}" if isinstance(name, str) else found_kind(name)
            expected = ", ".join(ROLE_NAMES)
            raise BadRecord(f"{told}, expected one of {expected}", f"{here}.{role_field}")
    return tuple(turns)


def encode_turn(turn: Turn, form: TurnForm, here: str) -> dict[str, Any]:
    """The turn as it stands in a list, at the place that `here` names.

    Raises:
      BadRecord: if another field of the turn has the name of one of the form's.
    """
    encoded: dict[str, Any] = {}
    if turn.name != NO_ROLE:
        is_usual = turn.name in (None, BARE, BESIDE)
        encoded[form.role] = form.usual[turn.role] if is_usual else turn.name
    if turn.content is not msgspec.UNSET:
        encoded[form.content] = turn.content
    for key, value in turn.more.items():
        if encoded.setdefault(key, value) is not value:
            raise BadRecord(
                f"found a field of that name besides {form.role} and {form.content}; expected "
                "another name",
                f"{here}.{key}",
            )
    return encoded


def form_of_turns(found: Any, own: TurnForm, names: FieldNames) -> TurnForm:
    """The form that turns have, by the names of their fields: `own` unless others tell.

    Role and content are looked at each for itself: there are turns with `role` and `value`.
    """
    if not isinstance(found, list):
        return own
    first = found[0] if found else None
    if isinstance(first, dict) and names[own.role] in first and names[own.content] in first:
        return own  # As most are.
    other = SHAREGPT if own.role == OPENAI.role else OPENAI
    keys = {key for turn in found if isinstance(turn, dict) for key in turn}
    role, content = (
        theirs if names[theirs] in keys and names[ours] not in keys else ours
        for ours, theirs in ((own.role, other.role), (own.content, other.content))
    )
    if (role, content) == (own.role, own.content):
        return own
    return TurnForm(role, content, (own if role == own.role else other).usual)


def is_turn_list(found: Any, names: FieldNames) -> bool:
    """Whether it is a list of objects of whom some have a role."""
    roles = (names[OPENAI.role], names[SHAREGPT.role])
    return (
        isinstance(found, list)
        and bool(found)
        and all(isinstance(turn, dict) for turn in found)
        and any(role in turn for turn in found for role in roles)
    )


def are_strings(found: Any) -> bool:
    """Whether it is a list of strings, with one at least."""
    return isinstance(found, list) and bool(found) and all(isinstance(one, str) for one in found)


def ends_with_answer(found: Any, names: FieldNames) -> bool:
    """Whether it is a list of turns with the assistant's at its end."""
    if not is_turn_list(found, names):
        return False
    said = [found[-1].get(names[role]) for role in (OPENAI.role, SHAREGPT.role)]
    return any(ROLE_NAMES.get(str(name).lower()) == "assistant" for name in said)


def decode_any_turns(found: Any, field: str, names: FieldNames) -> tuple[Turn, ...]:
    """The turns of a list in whichever form it has; strings take turns.

    Raises:
      BadRecord: as `decode_turns` does.
    """
    if are_strings(found):
        return tuple(
            Turn("assistant" if place % 2 else "user", said, BARE)
            for place, said in enumerate(found)
        )
    return decode_turns(found, field, form_of_turns(found, OPENAI, names), names)


def other_turns_field(record: dict[str, Any], names: FieldNames) -> str | None:
    """The field that holds turns, in another form than its own, or strings in turn."""
    for usual in TURN_FIELDS:
        found = record.get(names[usual])
        if is_turn_list(found, names):
            return names[usual]
        if usual in (*_EXCHANGE_FIELDS, *_OTHER_FIELDS) and are_strings(found):
            return names[usual]
    return None


def exchanges_field(record: dict[str, Any], names: FieldNames) -> str | None:
    """The field that holds a list of objects with a question and an answer each."""
    for usual in _EXCHANGE_FIELDS:
        found = record.get(names[usual])
        are_objects = isinstance(found, list) and all(isinstance(one, dict) for one in found)
        if found and are_objects and not is_turn_list(found, names) and _exchange_keys(found):
            return names[usual]
    return None


def decode_other_turns(record: dict[str, Any], names: FieldNames) -> Conversation:
    """The conversation of a record in which `other_turns_field` found something.

    Raises:
      BadRecord: with the field at fault and what was expected.
    """
    field = other_turns_field(record, names)
    assert field is not None
    return beside_system(
        "turns", decode_any_turns(record[field], field, names), record, names, field
    )


def decode_exchange_list(record: dict[str, Any], names: FieldNames) -> Conversation:
    """The same, if `exchanges_field` found something."""
    field = exchanges_field(record, names)
    assert field is not None
    return beside_system("exchanges", _exchange_turns(record[field], field), record, names, field)


def beside_system(
    layout: str, turns: tuple[Turn, ...], record: dict[str, Any], names: FieldNames, field: str
) -> Conversation:
    """The conversation of a record whose turns are those of one field, and its system prompt."""
    rest = {key: value for key, value in record.items() if key != field}
    fields = {"turns": field}
    if isinstance(rest.get(names["system"]), str):
        fields["system"] = names["system"]
    return Conversation(layout, with_system_beside(turns, rest, names["system"]), rest, fields)


def _exchange_keys(found: list[dict[str, Any]]) -> tuple[str, str] | None:
    for pair in _EXCHANGES:
        if all(set(pair) & one.keys() for one in found) and set(pair) <= found[0].keys():
            return pair
    return None


def _exchange_turns(found: list[dict[str, Any]], field: str) -> tuple[Turn, ...]:
    """The turns of exchanges. What is not asked, or not said, is no turn."""
    keys = _exchange_keys(found)
    assert keys is not None
    asked, said = keys
    turns = []
    for place, exchange in enumerate(found):
        own = {"system": "system", asked: "user", said: "assistant"}
        more = {key: value for key, value in exchange.items() if key not in own}
        for key, role in own.items():
            text = exchange.get(key)
            if text is not None and not isinstance(text, str):
                raise BadRecord(f"{found_kind(text)}, expected a string", f"{field}[{place}].{key}")
            if text or (text is not None and role == "assistant"):
                kept = more if role == "assistant" else {}
                turns.append(Turn(role, text, None, kept))  # type: ignore[arg-type]
    return tuple(turns)


def with_system_beside(
    turns: tuple[Turn, ...], rest: dict[str, Any], field: str
) -> tuple[Turn, ...]:
    """The turns with the system prompt before that is taken from a record's other fields.

    It stays there if it is none, or the turns begin with one.
    """
    system = rest.get(field)
    if not isinstance(system, str) or not system or (turns and turns[0].role == "system"):
        return turns
    del rest[field]
    return (Turn("system", system, BESIDE), *turns)


def _may_lack_text(content: Any, more: dict[str, Any], form: TurnForm) -> bool:
    """Whether a turn's content, which is no string, is as OpenAI has it."""
    if form.content != OPENAI.content:
        return False
    if isinstance(content, list):
        return all(isinstance(part, dict | str) for part in content)
    return content is None or (
        content is msgspec.UNSET and any(more.get(key) for key in CALL_FIELDS)
    )
