"""A conversation, whatever layout its record has: who said what, and all that came with it."""

from __future__ import annotations

import dataclasses
from typing import Any, Final, Literal, NamedTuple

from mig_jax.data.records._label_formats import BadRecord
from mig_jax.data.records._turn_texts import text_of_turn

__all__ = [
    "BARE",
    "BESIDE",
    "NO_ROLE",
    "ROLES",
    "Conversation",
    "Role",
    "Turn",
    "instruction_and_response",
]

Role = Literal["system", "user", "assistant", "tool"]
ROLES: Final[tuple[Role, ...]] = ("system", "user", "assistant", "tool")
NO_ROLE: Final = ""  # The name of a turn's role if it has none.
BARE: Final = "(text)"  # The same if the turn is no object, but a string.
BESIDE: Final = "(beside)"  # The same of a system prompt that stands beside the list of turns.


class Turn(NamedTuple):
    """What one speaker says in one go."""

    role: Role
    content: Any  # A string; or, as OpenAI has it, None, a list of parts, or UNSET (no field).
    name: str | None = None  # The role as its record has it; None for the layout's usual name.
    more: dict[str, Any] = {}  # noqa: RUF012 - never changed; the turn's other fields.

    @property
    def text(self) -> str:
        """All that the turn says, as text: its reasoning, its content, and its calls of tools.

        The same turn has the same text in every layout. It is "" if there is nothing, and a
        half of a character (a lone surrogate) is the replacement character in it.
        """
        is_plain = isinstance(self.content, str) and not self.more and self.name is None
        if is_plain and self.content.isascii():
            return self.content  # As most are.
        return text_of_turn(self.content, self.name, self.more)


@dataclasses.dataclass(frozen=True, slots=True)
class Conversation:
    """The turns of a record, and all else that the record holds."""

    layout: str  # One of `READ_LAYOUTS`.
    turns: tuple[Turn, ...]
    rest: dict[str, Any]  # The record's fields that are no part of the turns.
    # Which fields the turns are made of, by what they hold: `turns`; `question`, `context`,
    # `answer`, `system`, `history`; `prompt`, `completion`; `chosen`, `rejected`; `text`.
    fields: dict[str, str] = dataclasses.field(default_factory=dict)
    # The turn that the answer begins with, if the record sets it apart.
    answer_at: int | None = None

    @property
    def texts(self) -> list[tuple[Role, str]]:
        """Role and text of each turn."""
        return [(turn.role, turn.text) for turn in self.turns]


def instruction_and_response(conversation: Conversation) -> tuple[str, str]:
    """What was asked, and the response that training would teach.

    The response is the last turn of the assistant that is not the first turn, or else
    the last turn; the instruction is all turns before it, joined by line breaks. Of a text
    alone, or an assistant who is not asked, the instruction is empty.

    Raises:
      BadRecord: if there are fewer than two turns, and none is the assistant's; or if the
        record is known to ask only.
    """
    turns = conversation.turns
    if conversation.layout == "questions":
        raise BadRecord("found questions only; expected a response, too")
    last = len(turns) - 1
    spoken = [place for place, turn in enumerate(turns) if turn.role == "assistant"]
    if spoken and spoken[-1]:
        last = spoken[-1]
    if last < 1 and not spoken:
        raise BadRecord(f"found {len(turns)} turns; expected a question and a response")
    return "\n".join(turn.text for turn in turns[:last]), turns[last].text
