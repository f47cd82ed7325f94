"""Conversation layouts: how the turns of a record stand in its JSON.

* `messages` (OpenAI): `messages`, a list of turns with `role` and `content`.
* `xsample`: the same in `dialogs`.
* `sharegpt`: `conversations`, a list of turns with `from` and `value`.
* `alpaca`: `instruction`, `input` and `output`; `system`; earlier turns in `history`.

Whatever else a record or a turn holds stays with the conversation, so that writing it in
the layout that it came in gives an equal record. A layout that cannot hold a
conversation refuses it.
"""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple

import msgspec

from mig_jax.data.records._conversations import Conversation, Role, Turn, is_absent
from mig_jax.data.records._field_names import USUAL, FieldNames
from mig_jax.data.records._label_formats import BadRecord

__all__ = [
    "CONVERSATION_FORMATS",
    "decode_conversation",
    "encode_conversation",
    "parse_record",
    "told_conversation_format",
    "usual_role_names",
    "with_usual_roles",
]

_ROLES: Final[dict[str, Role]] = {
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
    "model": "assistant",
    "function_call": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
    "function_response": "tool",
}
_TELLING: Final = (
    "messages (turns with role and content), conversations (turns with from and value), "
    "or instruction and output"
)
_NO_ROLE: Final = ""  # The name of a turn's role if it has none.
_CALL: Final = "function_call"  # In ShareGPT's form, the role of a turn that calls a tool.
_CALLS: Final = ("tool_calls", "function_call")  # In OpenAI's, the fields of one.


class _Form(NamedTuple):
    """How a turn stands in a list of turns."""

    role: str
    content: str
    usual: dict[Role, str]  # The name of each role.


_OPENAI: Final = _Form(
    "role",
    "content",
    {"system": "system", "user": "user", "assistant": "assistant", "tool": "tool"},
)
_SHAREGPT: Final = _Form(
    "from",
    "value",
    {"system": "system", "user": "human", "assistant": "gpt", "tool": "observation"},
)


class _ConversationFormat(NamedTuple):
    telling: tuple[str, ...]  # The fields that a record of this layout has, by usual names.
    form: _Form | None  # None: it is no list of turns.


CONVERSATION_FORMATS: Final[dict[str, _ConversationFormat]] = {
    "messages": _ConversationFormat(("messages",), _OPENAI),
    "xsample": _ConversationFormat(("dialogs",), _OPENAI),
    "sharegpt": _ConversationFormat(("conversations",), _SHAREGPT),
    "alpaca": _ConversationFormat(("instruction", "output"), None),
}


def parse_record(text: bytes) -> dict[str, Any]:
    """The JSON object of one record.

    Raises:
      BadRecord: if it is none, or has what UTF-8 or JSON has not: lone surrogates,
        NaN and infinities.
    """
    expected = "expected one JSON object a line"
    try:
        record = msgspec.json.decode(text)
    except RecursionError:
        raise BadRecord(f"JSON is nested too deeply; {expected}") from None
    except UnicodeDecodeError:
        raise BadRecord("found bytes that are not UTF-8; expected text in UTF-8") from None
    except msgspec.DecodeError as error:
        if _has_lone_surrogate(text):
            raise BadRecord(
                "found a lone surrogate (half of a character, as \\ud83d); expected text that "
                "UTF-8 can hold"
            ) from None
        problem = str(error).replace("Input data was truncated", "JSON is truncated")
        raise BadRecord(f"{problem}; {expected}") from None
    if not isinstance(record, dict):
        raise BadRecord(f"found {_kind(record)}; {expected}")
    return record


def told_conversation_format(record: dict[str, Any], names: FieldNames = USUAL) -> str | None:
    """The first layout whose fields the record has, in the order of `CONVERSATION_FORMATS`."""
    for layout, (telling, _) in CONVERSATION_FORMATS.items():
        if all(record.get(names[field]) is not None for field in telling):
            return layout
    return None


def decode_conversation(record: dict[str, Any], names: FieldNames = USUAL) -> Conversation:
    """The conversation of a record, in the layout that its fields tell.

    Raises:
      BadRecord: with the field at fault and what was expected.

    >>> found = decode_conversation({"instruction": "Add.", "input": "1, 2", "output": "3"})
    >>> found.layout, found.texts
    ('alpaca', [('user', 'Add.\\n1, 2'), ('assistant', '3')])
    """
    layout = told_conversation_format(record, names)
    if layout is None:
        raise BadRecord(f"found no conversation; expected {_TELLING}")
    telling, form = CONVERSATION_FORMATS[layout]
    if form is None:
        return _decode_alpaca(record, names)
    field = names[telling[0]]
    rest = {key: value for key, value in record.items() if key != field}
    return Conversation(layout, _decode_turns(record[field], field, form, names), rest)


def encode_conversation(conversation: Conversation, layout: str) -> dict[str, Any]:
    """The record of a conversation in a layout, under the usual names of its fields.

    In the conversation's own layout it is equal to the record that was decoded. In
    another, roles take that layout's names, and other fields of the record and of its
    turns stay.

    Raises:
      BadRecord: for what the layout cannot hold.

    >>> found = decode_conversation({"messages": [{"role": "user", "content": "Hi"}]})
    >>> encode_conversation(found, "sharegpt")
    {'conversations': [{'from': 'human', 'value': 'Hi'}]}
    """
    (field, *_), form = CONVERSATION_FORMATS[layout]
    if form != CONVERSATION_FORMATS[conversation.layout].form:
        conversation = _prepare(conversation, layout)
    if form is None:
        record = _encode_alpaca(conversation.turns)
        if conversation.layout != layout:
            record.setdefault("input", "")  # Trainers look for it.
    else:
        turns = [
            _encode_turn(turn, form, f"{field}[{place}]")
            for place, turn in enumerate(conversation.turns)
        ]
        record = {field: turns}
    for key, value in conversation.rest.items():
        if record.setdefault(key, value) is not value and value is not None:
            raise BadRecord(f"is in the way of layout {layout}, which has one of its own", key)
    if told_conversation_format(record) != layout:
        raise BadRecord(
            f"has the fields of layout {told_conversation_format(record)} besides; expected "
            f"none of them beside those of layout {layout}"
        )
    # What is written must be read as what was meant, whatever fields came along.
    if decode_conversation(record).texts != conversation.texts:
        raise BadRecord(f"other fields change the conversation in layout {layout}")
    return record


def usual_role_names(layout: str) -> dict[Role, str]:
    """The name of each role in a layout; that of the role itself if turns have none."""
    form = CONVERSATION_FORMATS[layout].form
    return (_OPENAI if form is None else form).usual


def with_usual_roles(conversation: Conversation) -> Conversation:
    """The conversation with roles under the names that trainers look for in its layout.

    `chatgpt` in ShareGPT's layout becomes `gpt`, say; a turn without a role gets one.
    """
    turns = tuple(
        turn if turn.name == _CALL else turn._replace(name=None) for turn in conversation.turns
    )
    return Conversation(conversation.layout, turns, conversation.rest)


def _decode_turns(found: Any, field: str, form: _Form, names: FieldNames) -> tuple[Turn, ...]:
    role_field, content_field = names[form.role], names[form.content]
    if not isinstance(found, list):
        raise BadRecord(
            f"found {_kind(found)}, expected a list of turns with {role_field} and {content_field}",
            field,
        )
    someone_is_named = any(isinstance(turn, dict) and role_field in turn for turn in found)
    turns = []
    for place, turn in enumerate(found):
        here = f"{field}[{place}]"
        if not isinstance(turn, dict):
            raise BadRecord(f"found {_kind(turn)}, expected an object", here)
        more = {k: v for k, v in turn.items() if k not in (role_field, content_field)}
        content = turn.get(content_field, msgspec.UNSET)
        if not isinstance(content, str) and not _may_lack_text(content, more, form):
            raise BadRecord(f"{_found(content)}, expected a string", f"{here}.{content_field}")
        name = turn.get(role_field, msgspec.UNSET)
        if isinstance(name, str) and name.lower() in _ROLES:
            role = _ROLES[name.lower()]
            turns.append(Turn(role, content, None if name == form.usual[role] else name, more))
        elif not someone_is_named:  # Then they take turns.
            turns.append(Turn("assistant" if place % 2 else "user", content, _NO_ROLE, more))
        else:
            told = f"found {name!r}" if isinstance(name, str) else _found(name)
            raise BadRecord(f"{told}, expected one of {', '.join(_ROLES)}", f"{here}.{role_field}")
    return tuple(turns)


def _may_lack_text(content: Any, more: dict[str, Any], form: _Form) -> bool:
    """Whether a turn's content, which is no string, is as OpenAI has it."""
    if form is not _OPENAI:
        return False
    if isinstance(content, list):
        return all(isinstance(part, dict | str) for part in content)
    return content is None or (content is msgspec.UNSET and any(more.get(key) for key in _CALLS))


def _encode_turn(turn: Turn, form: _Form, here: str) -> dict[str, Any]:
    encoded: dict[str, Any] = {}
    if turn.name != _NO_ROLE:
        encoded[form.role] = form.usual[turn.role] if turn.name is None else turn.name
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


def _decode_alpaca(record: dict[str, Any], names: FieldNames) -> Conversation:
    rest = dict(record)
    turns = []

    def text(name: str) -> str:
        value = rest.pop(names[name])
        if not isinstance(value, str):
            raise BadRecord(f"{_found(value)}, expected a string", names[name])
        return value

    if rest.get(names["system"]) is not None:
        turns.append(Turn("system", text("system")))
    # An empty history is kept as it is, be it null, [] or no field.
    history = rest.pop(names["history"]) if rest.get(names["history"]) else []
    for place, pair in enumerate(history if isinstance(history, list) else [history]):
        if not (isinstance(pair, list) and [type(said) for said in pair] == [str, str]):
            raise BadRecord(
                f"found {_kind(pair)}, expected a list of two strings, question and answer",
                f"{names['history']}[{place}]",
            )
        turns += [Turn("user", pair[0]), Turn("assistant", pair[1])]
    question, more = text("instruction"), {}
    if names["input"] in rest:
        given = rest.pop(names["input"])
        if given is not None and not isinstance(given, str):
            raise BadRecord(f"{_found(given)}, expected a string", names["input"])
        more["input"] = given
        # As trainers join them.
        question = "\n".join(part for part in (question, given) if part)
    turns += [Turn("user", question, None, more), Turn("assistant", text("output"))]
    return Conversation("alpaca", tuple(turns), rest)


def _encode_alpaca(turns: tuple[Turn, ...]) -> dict[str, Any]:
    system = turns[:1] if turns and turns[0].role == "system" else ()
    spoken = turns[len(system) :]
    for place, turn in enumerate(turns):
        expected = ("user", "assistant")[(place - len(system)) % 2]
        if place >= len(system) and turn.role != expected:
            raise BadRecord(
                f"turn {place + 1} is the {turn.role}'s; layout alpaca expects user and assistant "
                "in turn, after at most one system turn"
            )
    if not spoken or len(spoken) % 2:
        raise BadRecord(
            f"found {len(spoken)} turns of user and assistant; layout alpaca expects pairs of "
            "question and answer, at least one"
        )
    question, answer = spoken[-2:]
    for turn in turns:
        allowed = {"input"} if turn is question else set()
        for key, value in turn.more.items():
            if key not in allowed and value is not None:
                raise BadRecord(f"layout alpaca has no place for the field {key} of a turn")
    record: dict[str, Any] = {"instruction": question.content}
    if "input" in question.more:
        given = question.more["input"]
        if given:
            if not isinstance(given, str) or not f"\n{question.content}".endswith(f"\n{given}"):
                raise BadRecord("layout alpaca expects the field input to end the user's turn")
            record["instruction"] = question.content.removesuffix(given).removesuffix("\n")
        record["input"] = given
    record["output"] = answer.content
    if system:
        record["system"] = system[0].content
    if earlier := [turn.content for turn in spoken[:-2]]:
        pairs = zip(earlier[::2], earlier[1::2], strict=True)
        record["history"] = [[asked, said] for asked, said in pairs]
    return record


def _prepare(conversation: Conversation, layout: str) -> Conversation:
    """The conversation as it goes into another form: plain text by the four roles."""
    turns = list(conversation.turns)
    rest = dict(conversation.rest)
    if conversation.layout == "sharegpt" and isinstance(rest.get("system"), str):
        # Its prompt may stand beside the turns; elsewhere it is one of them.
        if turns and turns[0].role == "system":
            raise BadRecord("found a system prompt beside the system turn; expected one", "system")
        turns.insert(0, Turn("system", rest.pop("system")))
    plain = []
    for place, turn in enumerate(turns, 1):
        calls = [key for key in _CALLS if turn.more.get(key)]
        if calls or turn.name == _CALL:
            raise BadRecord(
                f"turn {place} calls a tool; layout {layout} has no place for the call of layout "
                f"{conversation.layout}"
            )
        if not isinstance(turn.content, str):
            raise BadRecord(
                f"turn {place} has {_kind(turn.content)} for its text; layout {layout} expects a "
                "string"
            )
        more = dict(turn.more)
        if conversation.layout == "alpaca" and not more.get("input"):
            more.pop("input", None)
        plain.append(Turn(turn.role, turn.content, None, more))
    return Conversation(conversation.layout, tuple(plain), rest)


def _has_lone_surrogate(text: bytes) -> bool:
    try:
        json.dumps(json.loads(text), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    except (ValueError, RecursionError):
        pass
    return False


def _found(value: Any) -> str:
    return "missing" if value is msgspec.UNSET else f"found {_kind(value)}"


def _kind(value: Any) -> str:
    if is_absent(value):
        return "null" if value is None else "nothing"
    names = {bool: "true or false", str: "a string", list: "a list", dict: "an object"}
    return names.get(type(value), "a number")
