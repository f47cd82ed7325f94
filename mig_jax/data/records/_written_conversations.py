"""Conversations on their way out: put into the form of a layout, or refused.

Whatever else a record or a turn holds stays with the conversation. Calls of tools, tools and
system prompts take the form of the new layout, and what it cannot hold is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mig_jax.data.records._call_turns import calls_tools, with_openai_calls, with_sharegpt_calls
from mig_jax.data.records._columns import encode_alpaca
from mig_jax.data.records._conversation_formats import (
    CONVERSATION_FORMATS,
    decode_conversation,
    told_conversation_format,
)
from mig_jax.data.records._conversations import BESIDE, Conversation, Role, Turn
from mig_jax.data.records._json_records import kind_of, says_nothing
from mig_jax.data.records._label_formats import BadRecord
from mig_jax.data.records._prompt_completion import encode_prompt_completion
from mig_jax.data.records._tool_calls import tools_as_list, tools_as_text
from mig_jax.data.records._turn_lists import OPENAI, SHAREGPT, encode_turn
from mig_jax.data.records._turn_texts import is_calling

__all__ = ["encode_conversation", "usual_role_names", "with_usual_roles"]


def encode_conversation(conversation: Conversation, layout: str) -> dict[str, Any]:
    """The record of a conversation in a layout, under the usual names of its fields.

    In the conversation's own layout it is equal to the record that was decoded. In
    another, roles and calls of tools take that layout's form, and other fields of the record
    and of its turns stay.

    Args:
      conversation: as `decode_conversation` gives it.
      layout: a key of `CONVERSATION_FORMATS`.

    Raises:
      BadRecord: for what the layout cannot hold.

    >>> found = decode_conversation({"messages": [{"role": "user", "content": "Hi"}]})
    >>> encode_conversation(found, "sharegpt")
    {'conversations': [{'from': 'human', 'value': 'Hi'}]}
    """
    (field, *_), form = CONVERSATION_FORMATS[layout]
    own = CONVERSATION_FORMATS.get(conversation.layout)
    if own is None or form != own.form:
        conversation = _prepare(conversation, layout)
    if layout == "prompt_completion":
        record = encode_prompt_completion(conversation)
    elif form is None:
        record = encode_alpaca(conversation.turns)
        if conversation.layout != layout:
            record.setdefault("input", "")  # Trainers look for it.
    else:
        turns = conversation.turns
        stays_beside = conversation.layout == layout and turns and turns[0].name == BESIDE
        listed = turns[1:] if stays_beside else turns
        record = {
            field: [
                encode_turn(turn, form, f"{field}[{place}]") for place, turn in enumerate(listed)
            ]
        }
        if stays_beside:
            record["system"] = turns[0].content
    said = [turn.content for turn in conversation.turns if isinstance(turn.content, str)]
    for key, value in conversation.rest.items():
        if record.setdefault(key, value) is value or says_nothing(value) or value in said:
            continue  # One that repeats a turn, as `prompt` beside `messages`, is not lost.
        raise BadRecord(f"is in the way of layout {layout}, which has one of its own", key)
    if (told := told_conversation_format(record)) != layout:
        raise BadRecord(
            f"has the fields of layout {told} besides; expected none of them beside those of "
            f"layout {layout}"
        )
    # What is written must be read as what was meant, whatever fields came along.
    if _said(decode_conversation(record)) != _said(conversation):
        raise BadRecord(f"other fields change the conversation in layout {layout}")
    return record


def _said(conversation: Conversation) -> list[tuple[Role, str]]:
    """Role and text of each turn; a system prompt that is empty is none."""
    return [turn for turn in conversation.texts if turn != ("system", "")]


def usual_role_names(layout: str) -> dict[Role, str]:
    """The name of each role in a layout; that of the role itself if turns have none."""
    form = CONVERSATION_FORMATS[layout].form if layout in CONVERSATION_FORMATS else None
    return (OPENAI if form is None else form).usual


def with_usual_roles(conversation: Conversation) -> Conversation:
    """The conversation in the form that trainers look for in its layout.

    Roles have its usual names: `chatgpt` in ShareGPT's layout becomes `gpt`, say; a turn
    without a role gets one, and so do a text that is a prompt and, but for ShareGPT's layout,
    a system prompt beside the turns. Calls in turns of their own
    become OpenAI's in a layout of OpenAI's turns, and tools that are described in a string
    become a list.
    """
    turns = tuple(
        turn if is_calling(turn.name) else turn._replace(name=None) for turn in conversation.turns
    )
    rest = conversation.rest
    layout = conversation.layout
    if layout == "sharegpt":
        turns = tuple(
            turn._replace(name="function_call") if is_calling(turn.name) else turn for turn in turns
        )
        if turns and conversation.turns[0].name == BESIDE:
            turns = (conversation.turns[0], *turns[1:])
    elif layout in CONVERSATION_FORMATS and CONVERSATION_FORMATS[layout].form is OPENAI:
        turns = with_openai_calls(turns, strict=False)
        rest = _with_tools(rest, tools_as_list)
    return _with_turns(conversation, turns, rest)


def _prepare(conversation: Conversation, layout: str) -> Conversation:
    """The conversation as it goes into another form: by the four roles, with its calls."""
    form = CONVERSATION_FORMATS[layout].form
    turns, rest = conversation.turns, dict(conversation.rest)
    beside = conversation.fields.get("system")
    if "turns" in conversation.fields and beside is not None and rest.get(beside):
        if rest[beside] != turns[0].text:
            raise BadRecord("found a system prompt beside the system turn; expected one", beside)
        del rest[beside]
    if form is None:
        for place, turn in enumerate(turns, 1):
            if calls_tools(turn):
                raise BadRecord(
                    f"turn {place} calls a tool; layout {layout} has no place for the call of "
                    f"layout {conversation.layout}"
                )
    elif form is SHAREGPT:
        turns, rest = with_sharegpt_calls(turns), _with_tools(rest, tools_as_text)
    else:
        turns, rest = with_openai_calls(turns, strict=True), _with_tools(rest, tools_as_list)
    plain = []
    for place, turn in enumerate(turns, 1):
        if form is not OPENAI and not isinstance(turn.content, str):
            raise BadRecord(
                f"turn {place} has {kind_of(turn.content)} for its text; layout {layout} expects a "
                "string"
            )
        more = dict(turn.more)
        if conversation.layout == "alpaca" and not more.get("input"):
            more.pop("input", None)
        plain.append(
            Turn(turn.role, turn.content, turn.name if is_calling(turn.name) else None, more)
        )
    return _with_turns(conversation, tuple(plain), rest)


def _with_turns(
    conversation: Conversation, turns: tuple[Turn, ...], rest: dict[str, Any]
) -> Conversation:
    """The conversation with other turns; the answer begins as far from their end."""
    at, fields = conversation.answer_at, conversation.fields
    if at is not None:
        at += len(turns) - len(conversation.turns)
    return Conversation(conversation.layout, turns, rest, fields, at)


def _with_tools(rest: dict[str, Any], convert: Callable[[Any], Any]) -> dict[str, Any]:
    return {**rest, "tools": convert(rest["tools"])} if rest.get("tools") else rest
