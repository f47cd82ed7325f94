"""Calls of tools: read from every form that they have, and put into that of another layout.

* OpenAI: an assistant's turn with `tool_calls`, a list of `{id, type, function: {name,
  arguments}}`, arguments being JSON in a string or (Hugging Face's templates) an object; the
  results name the call that they are of in `tool_call_id`. Older: `function_call: {name,
  arguments}`.
* ShareGPT (LLaMA-Factory): a turn from `function_call` whose value is JSON, `{name, arguments}`
  or a list of these; ms-swift has the same in turns of the role `tool_call`, one after the
  other for calls at once.
* LLaMA-Factory's v1 and Anthropic's: parts of a content.

The same call has the same text in all of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from mig_jax.data.records._label_formats import BadRecord

__all__ = [
    "CALLING_NAMES",
    "CALL_FIELDS",
    "Call",
    "calls_in_fields",
    "calls_in_text",
    "text_of_call_fields",
    "text_of_calls",
    "tools_as_list",
    "tools_as_text",
    "value_of_calls",
]

# Roles of turns that are calls: what they say is JSON.
CALLING_NAMES: Final = ("function_call", "tool_call")
# The fields of a turn of OpenAI's that hold its calls.
CALL_FIELDS: Final = ("tool_calls", "function_call")

_CALL_TYPES: Final = ("function", "function_call", "tool_call", "tool_use")


class Call(NamedTuple):
    """One call of a tool."""

    name: str
    arguments: Any  # An object, as a rule; text that is no JSON object stays text.
    id: str | None = None
    more: tuple[str, ...] = ()  # Other fields that it has.

    def as_openai(self) -> dict[str, Any]:
        arguments = self.arguments
        if not isinstance(arguments, str):
            arguments = _as_json(arguments)
        return {
            "id": self.id,
            "type": "function",
            "function": {"name": self.name, "arguments": arguments},
        }


def calls_in_fields(fields: dict[str, Any]) -> list[Call] | None:
    """The calls of a turn of OpenAI's, given its fields; None if they cannot be read."""
    found = fields.get("tool_calls") or []
    if older := fields.get("function_call"):
        found = [*found, older] if isinstance(found, list) else [found, older]
    return _calls(found)


def calls_in_text(text: Any) -> list[Call] | None:
    """The calls that a turn of ShareGPT's or ms-swift's is; None if it is none."""
    found = _parsed(text)
    return _calls(found if isinstance(found, list) else [found])


def text_of_calls(calls: Iterable[Call]) -> str:
    """The one text that calls have, whatever form they came in: a line of JSON for each.

    >>> text_of_calls(calls_in_fields({"function_call": {"name": "f", "arguments": "{}"}}))
    '{"name": "f", "arguments": {}}'
    """
    return "\n".join(_as_json(_plain(call)) for call in calls)


def text_of_call_fields(fields: dict[str, Any]) -> str:
    """The text of the calls in the fields of a turn; as they stand if they cannot be read."""
    found = [fields[name] for name in CALL_FIELDS if fields.get(name)]
    if not found:
        return ""
    calls = calls_in_fields(fields)
    return text_of_calls(calls) if calls else "\n".join(_as_json(value) for value in found)


def value_of_calls(calls: list[Call]) -> str:
    """What a turn of ShareGPT's says that makes these calls."""
    plain = [_plain(call) for call in calls]
    return _as_json(plain[0] if len(plain) == 1 else plain)


def tools_as_list(tools: Any) -> Any:
    """Descriptions of tools as OpenAI has them, if they are such in a string; else as they are.

    >>> tools_as_list('[{"name": "f"}]')
    [{'type': 'function', 'function': {'name': 'f'}}]
    """
    found: Any = _parsed(tools)
    if not _are_tools(found):
        return tools
    return [
        tool if "function" in tool or "type" in tool else {"type": "function", "function": tool}
        for tool in found
    ]


def tools_as_text(tools: Any) -> Any:
    """Descriptions of tools as ShareGPT has them, JSON in a string, if they are a list."""
    return _as_json(tools) if _are_tools(tools) else tools


def _are_tools(found: Any) -> bool:
    return (
        isinstance(found, list)
        and bool(found)
        and all(isinstance(tool, dict) and ("function" in tool or "name" in tool) for tool in found)
    )


def _calls(found: Any) -> list[Call] | None:
    if not isinstance(found, list) or not found:
        return None
    calls = []
    for one in found:
        call = _call(one)
        if call is None:
            return None
        calls.append(call)
    return calls


def _call(found: Any) -> Call | None:
    """A call in any form: its name and arguments may stand in `function`, or in itself."""
    if not isinstance(found, dict):
        return None
    function = found.get("function")
    own = function if isinstance(function, dict) else found
    name = own.get("name")
    if not isinstance(name, str):
        return None
    # Anthropic has the arguments in `input`.
    field = "input" if "input" in own and "arguments" not in own else "arguments"
    arguments = own.get(field)
    read = _parsed(arguments) if isinstance(arguments, str) else arguments
    number = found.get("id")
    # What is not known is told where it would be lost.
    known = {"id", "type", "function"} if own is not found else {"id", "type", "name", field}
    more = [key for key, value in found.items() if key not in known and value is not None]
    if own is not found:
        more += [key for key, value in own.items() if key not in {"name", field} and value]
    if found.get("type", "function") not in (None, *_CALL_TYPES):
        more.append("type")
    if number is not None and not isinstance(number, str):
        more.append("id")
        number = None
    arguments = read if isinstance(read, dict) else {} if arguments in (None, "") else arguments
    return Call(name, arguments, number, tuple(more))


def _plain(call: Call) -> dict[str, Any]:
    return {"name": call.name, "arguments": call.arguments}


def _parsed(text: Any) -> Any:
    """The JSON in a text; None if there is none."""
    try:
        return json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return None


def _as_json(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except RecursionError:
        raise BadRecord("JSON is nested too deeply in the arguments of a call") from None
