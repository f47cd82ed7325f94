"""A conversation, whatever layout its record has: who said what, and all that came with it."""

from __future__ import annotations

import dataclasses
from typing import Any, Final, Literal, NamedTuple

import msgspec

from mig_jax.data.records._label_formats import BadRecord

__all__ = ["ROLES", "Conversation", "Role", "Turn", "instruction_and_response", "is_absent"]

Role = Literal["system", "user", "assistant", "tool"]
ROLES: Final[tuple[Role, ...]] = ("system", "user", "assistant", "tool")


class Turn(NamedTuple):
    """What one speaker says in one go."""

    role: Role
    content: Any  # A string; or, as OpenAI has it, None, a list of parts, or UNSET (no field).
    name: str | None = None  # The role as its record has it; None for the layout's usual name.
    more: dict[str, Any] = {}  # noqa: RUF012 - never changed; the turn's other fields.

    @property
    def text(self) -> str:
        """The content as text: the text parts of a list of parts, "" if there is none."""
        if isinstance(self.content, str):
            return self.content
        if not isinstance(self.content, list):
            return ""
        parts = [part if isinstance(part, dict) else {"text": part} for part in self.content]
        return "".join(part["text"] for part in parts if isinstance(part.get("text"), str))


@dataclasses.dataclass(frozen=True, slots=True)
class Conversation:
    """The turns of a record, and all else that the record holds."""

    layout: str  # A key of `CONVERSATION_FORMATS`.
    turns: tuple[Turn, ...]
    rest: dict[str, Any]  # The record's fields that are no part of the turns.

    @property
    def texts(self) -> list[tuple[Role, str]]:
        """Role and text of each turn."""
        return [(turn.role, turn.text) for turn in self.turns]


def instruction_and_response(conversation: Conversation) -> tuple[str, str]:
    """What was asked, and the response that training would teach.

    The response is the last turn of the assistant that is not the first turn, or else
    the last turn; the instruction is all turns before it, joined by line breaks.

    Raises:
      BadRecord: if there are fewer than two turns.
    """
    turns = conversation.turns
    last = len(turns) - 1
    spoken = [place for place, turn in enumerate(turns) if turn.role == "assistant"]
    if spoken and spoken[-1]:
        last = spoken[-1]
    if last < 1:
        raise BadRecord(f"found {len(turns)} turns; expected a question and a response")
    return "\n".join(turn.text for turn in turns[:last]), turns[last].text


def is_absent(value: Any) -> bool:
    """Whether a field says nothing: it is not there, or null as tables fill it in."""
    return value is None or value is msgspec.UNSET
