"""What a turn says, as text, whatever form its content has.

A content may be a list of parts, as OpenAI, Anthropic and LLaMA-Factory's v1 have it. The
text of a part stands in a field of many names; pictures, sounds and films have none.
"""

from __future__ import annotations

from typing import Any, Final

from mig_jax.data.records._tool_calls import (
    CALLING_NAMES,
    calls_in_fields,
    calls_in_text,
    text_of_call_fields,
    text_of_calls,
)

__all__ = ["is_calling", "text_of_turn"]

# Fields of a turn for what its speaker thinks: of DeepSeek and ms-swift, of OpenRouter and
# vLLM, of gpt-oss. A turn has one of them.
_REASONING: Final = ("reasoning_content", "reasoning", "thinking")
# Types of parts that are text, and the fields in which they have it.
_REASONING_TYPES: Final = ("reasoning", "reasoning_text", "summary_text", "thinking")
_TEXT_TYPES: Final = (
    *(None, "text", "input_text", "output_text", "refusal", "tool_result", "function_call_output"),
    *_REASONING_TYPES,
)
_TEXT_FIELDS: Final = ("text", "value", "content", "thinking", "reasoning", "refusal", "output")
_CALL_TYPES: Final = ("tool_call", "tool_use", "function_call", "function")


def is_calling(name: str | None) -> bool:
    """Whether a turn whose role has this name is a call: what it says is JSON."""
    return name is not None and name.lower() in CALLING_NAMES


def text_of_turn(content: Any, name: str | None, more: dict[str, Any]) -> str:
    """Reasoning, content and calls, a line break between any two of them that are there.

    Args:
      content: a string, a list of parts, or anything else, which has no text.
      name: that of the turn's role.
      more: the turn's other fields.
    """
    pieces = [_reasoning(more)]
    if is_calling(name) and (calls := calls_in_text(content)):
        pieces.append(text_of_calls(calls))
    else:
        pieces += _pieces(content)
    pieces.append(text_of_call_fields(more))
    text = "\n".join(piece for piece in pieces if piece)
    try:
        text.encode()
    except UnicodeEncodeError:
        # Models and hashes take whole characters only.
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _reasoning(more: dict[str, Any]) -> str:
    for field in _REASONING:
        if found := more.get(field):
            return "\n".join(_pieces(found))
    return ""


def _pieces(content: Any) -> list[str]:
    """The texts of a content: successive parts of a kind are one, without a break between."""
    if isinstance(content, str):
        return [content]
    pieces: list[str] = []
    kind_before = ""
    for part in content if isinstance(content, list) else []:
        kind, said = ("text", part) if isinstance(part, str) else _kind_and_text(part)
        if not said:
            continue
        if kind == kind_before != "call":
            pieces[-1] += said
        else:
            pieces.append(said)
        kind_before = kind
    return pieces


def _kind_and_text(part: Any) -> tuple[str, str]:
    """Of a part: text, reasoning or call, and what it says."""
    if not isinstance(part, dict):
        return "text", ""
    kind = part.get("type")
    if kind in _CALL_TYPES:
        calls = calls_in_text(part.get("value")) or calls_in_fields({"tool_calls": [part]})
        if calls:
            return "call", text_of_calls(calls)
    # In parts of other types, such as pictures, `text` alone is sure to be text.
    for field in _TEXT_FIELDS if kind in _TEXT_TYPES or kind in _CALL_TYPES else ("text",):
        found = part.get(field)
        if isinstance(found, str):
            break
        if isinstance(found, list):
            found = "\n".join(_pieces(found))
            break
    else:
        found = ""
    return "reasoning" if kind in _REASONING_TYPES else "text", found
