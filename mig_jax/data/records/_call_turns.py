"""Turns that call tools, put from one form into another.

ShareGPT's turns have no ids of calls. Ids that are `call_0`, `call_1` and so on in order are
made on the way to OpenAI's form and left out on the way back; others stay with the turn as
`tool_call_ids`. A result that follows its call in order needs no id of it.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from mig_jax.data.records._conversations import Turn
from mig_jax.data.records._json_records import kind_of
from mig_jax.data.records._label_formats import BadRecord
from mig_jax.data.records._tool_calls import (
    CALL_FIELDS,
    Call,
    calls_in_fields,
    calls_in_text,
    value_of_calls,
)
from mig_jax.data.records._turn_texts import is_calling

__all__ = ["calls_tools", "with_openai_calls", "with_sharegpt_calls"]

_IDS: Final = "tool_call_ids"
_RESULT_ID: Final = "tool_call_id"


def calls_tools(turn: Turn) -> bool:
    """Whether the turn is a call, or has some."""
    return is_calling(turn.name) or any(turn.more.get(field) for field in CALL_FIELDS)


def with_openai_calls(turns: tuple[Turn, ...], *, strict: bool) -> tuple[Turn, ...]:
    """The turns with those that are calls in OpenAI's form; calls one after the other in one.

    Raises:
      BadRecord: if `strict`, for a call that cannot be read; else it stays as it is.
    """
    found: list[Turn] = []
    ids = _Ids()
    was_call = False
    for place, turn in enumerate(turns, 1):
        calls = calls_in_text(turn.content) if is_calling(turn.name) else None
        if is_calling(turn.name) and (calls is None or any(call.more for call in calls)):
            if strict:
                raise BadRecord(
                    f"turn {place} calls a tool, but not as JSON with name and arguments alone; "
                    "the layout expects these"
                )
            calls = None
        if calls is None:
            found.append(ids.given(turn) if turn.role == "tool" else turn)
            was_call = False
            continue
        more = dict(turn.more)
        own = more.pop(_IDS, None)
        if not (isinstance(own, list) and len(own) == len(calls)):
            more = dict(turn.more)
            own = [call.id for call in calls]
        made = [
            call._replace(id=number if isinstance(number, str) else None).as_openai()
            for call, number in zip(calls, own, strict=True)
        ]
        if was_call and not more:
            before = found.pop()
            made = [*before.more["tool_calls"], *made]
            more = {key: value for key, value in before.more.items() if key != "tool_calls"}
        else:
            ids.waiting.clear()
        ids.number(made, len(made) - len(calls))
        found.append(Turn("assistant", None, None, {**more, "tool_calls": made}))
        was_call = True
    return tuple(found)


def with_sharegpt_calls(turns: tuple[Turn, ...]) -> tuple[Turn, ...]:
    """The turns with those that are calls in ShareGPT's form.

    Raises:
      BadRecord: for a call that cannot be read, that says something besides, or has fields
        that ShareGPT's form has no place for.
    """
    found = []
    ids = _Ids()
    for place, turn in enumerate(turns, 1):
        if not any(turn.more.get(field) for field in CALL_FIELDS):
            named = turn._replace(name="function_call") if is_calling(turn.name) else turn
            found.append(ids.taken(named) if turn.role == "tool" else named)
            continue
        calls = calls_in_fields(turn.more)
        if is_calling(turn.name) or calls is None:
            raise BadRecord(
                f"turn {place} calls a tool, but not with name and arguments; layout sharegpt "
                "expects these"
            )
        if turn.content not in (None, msgspec.UNSET, "", []):
            raise BadRecord(
                f"turn {place} calls a tool and has {kind_of(turn.content)} for its text besides; "
                "layout sharegpt has no place for both"
            )
        _check(calls, place)
        more = {key: value for key, value in turn.more.items() if key not in CALL_FIELDS}
        if (own := ids.unusual(calls)) and more.setdefault(_IDS, own) is not own:
            raise BadRecord(f"turn {place} has a field {_IDS} besides the ids of its calls")
        found.append(Turn("assistant", value_of_calls(calls), "function_call", more))
    return tuple(found)


class _Ids:
    """Ids of calls, made or looked through in order, and the calls that wait for a result."""

    def __init__(self) -> None:
        self._next = 0
        self.waiting: list[str] = []

    def number(self, calls: list[dict[str, Any]], start: int) -> None:
        """Gives ids to those calls from `start` on that have none."""
        for call in calls[start:]:
            usual = f"call_{self._next}"
            self._next += 1
            call["id"] = call["id"] or usual
            self.waiting.append(call["id"])

    def unusual(self, calls: list[Call]) -> list[str | None]:
        """The ids of calls, if they are not those that would be made."""
        usual = [f"call_{self._next + place}" for place in range(len(calls))]
        self._next += len(calls)
        own = [call.id for call in calls]
        self.waiting = [call or made for call, made in zip(own, usual, strict=True)]
        return own if any(own) and own != usual else []

    def given(self, turn: Turn) -> Turn:
        """A result with the id of its call, if one waits for it."""
        own = turn.more.get(_RESULT_ID)
        if own is None and self.waiting:
            return turn._replace(more={**turn.more, _RESULT_ID: self.waiting.pop(0)})
        if own in self.waiting:
            self.waiting.remove(own)
        return turn

    def taken(self, turn: Turn) -> Turn:
        """A result without the id of its call, if its place tells the same."""
        own = turn.more.get(_RESULT_ID)
        if own is None or own not in self.waiting:
            return turn
        in_order = own == self.waiting[0]
        self.waiting.remove(own)
        if not in_order:
            return turn
        return turn._replace(more={k: v for k, v in turn.more.items() if k != _RESULT_ID})


def _check(calls: list[Call], place: int) -> None:
    for call in calls:
        if call.more:
            raise BadRecord(
                f"turn {place} calls a tool with the field {call.more[0]}; layout sharegpt has no "
                "place for it"
            )
        if not isinstance(call.arguments, dict):
            raise BadRecord(
                f"turn {place} calls a tool with arguments that are no JSON object; layout "
                "sharegpt expects one"
            )
