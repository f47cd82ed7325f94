"""TRL's layout, also MLX's and OpenAI's older one: a prompt, and what completes it.

Each is a text or a list of turns. Written are lists, to which a trainer applies the chat
template of its model; a text that was read stays one in `encode_prompt_completion` alone.
"""

from __future__ import annotations

from typing import Any

from mig_jax.data.records._conversations import BARE, Conversation, Role, Turn
from mig_jax.data.records._field_names import FieldNames
from mig_jax.data.records._label_formats import BadRecord
from mig_jax.data.records._turn_lists import OPENAI, decode_turns, encode_turn

__all__ = ["decode_prompt_completion", "encode_prompt_completion", "is_prompt"]


def is_prompt(found: Any, names: FieldNames) -> bool:
    """Whether it may be a prompt or a completion: a text, or a list of turns with roles."""
    if isinstance(found, list):
        return all(isinstance(turn, dict) and names[OPENAI.role] in turn for turn in found)
    return isinstance(found, str)


def decode_prompt_completion(record: dict[str, Any], names: FieldNames) -> Conversation:
    """The conversation of a record with a prompt and its completion.

    Raises:
      BadRecord: with the field at fault and what was expected.
    """
    fields = {name: names[name] for name in ("prompt", "completion")}
    prompt = _turns(record[fields["prompt"]], "user", fields["prompt"], names)
    completion = _turns(record[fields["completion"]], "assistant", fields["completion"], names)
    rest = {key: value for key, value in record.items() if key not in fields.values()}
    layout = "prompt_completion"
    return Conversation(layout, (*prompt, *completion), rest, fields, len(prompt))


def encode_prompt_completion(conversation: Conversation) -> dict[str, Any]:
    """Both fields. If nothing sets the answer apart, it is the assistant's turns at the end.

    Raises:
      BadRecord: if there is no answer, or nobody whom it answers.
    """
    turns, start = conversation.turns, conversation.answer_at
    if start is None:
        start = len(turns)
        while start and turns[start - 1].role == "assistant":
            start -= 1
    if conversation.layout != "prompt_completion":
        if start == len(turns):
            raise BadRecord(
                "the conversation does not end with the assistant's turn; layout "
                "prompt_completion expects an answer"
            )
        if not start or turns[start - 1].role not in ("user", "tool"):
            raise BadRecord(
                "nobody asks before the assistant's turn; layout prompt_completion expects a "
                "question"
            )
    parts = {"prompt": turns[:start], "completion": turns[start:]}
    return {name: _encode(said, name) for name, said in parts.items()}


def _turns(found: Any, role: Role, field: str, names: FieldNames) -> tuple[Turn, ...]:
    if isinstance(found, str):
        return (Turn(role, found, BARE),)
    return decode_turns(found, field, OPENAI, names)


def _encode(turns: tuple[Turn, ...], field: str) -> Any:
    if len(turns) == 1 and turns[0].name == BARE:
        return turns[0].content
    return [encode_turn(turn, OPENAI, f"{field}[{place}]") for place, turn in enumerate(turns)]
