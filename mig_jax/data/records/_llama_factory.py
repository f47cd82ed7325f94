"""What LLaMA-Factory makes of a record; one that it would skip without a word is refused.

Its rules are those of version 0.9.5 (data/converter.py and data/formatter.py): after at most
one system turn, user (or tool) and assistant take turns, and the assistant has the last word.
A pair of answers stands beside what leads up to it.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any, Final, Literal, NamedTuple

from mig_jax.data.records._conversation_formats import CONVERSATION_FORMATS, decode_conversation
from mig_jax.data.records._conversations import BESIDE, NO_ROLE, Conversation, Role, Turn
from mig_jax.data.records._field_names import USUAL, FieldNames
from mig_jax.data.records._label_formats import BadRecord
from mig_jax.data.records._turn_texts import REASONING, is_calling
from mig_jax.data.records._written_conversations import usual_role_names

__all__ = ["FACTORY_CALL", "FactoryReading", "read_as_llama_factory"]

#: The role of a turn that calls a tool.
FACTORY_CALL: Final = "function_call"
_KTO_FIELDS: Final = ("kto_tag", "label")  # True or false: whether the answer is wanted.
_COLUMNS: Final = {
    "turns": "messages",
    "question": "prompt",
    "context": "query",
    "answer": "response",
    "prompt": "prompt",
    "completion": "response",
    "text": "prompt",
    "system": "system",
    "history": "history",
    "chosen": "chosen",
    "rejected": "rejected",
}
_MORE_COLUMNS: Final = ("tools", "images", "videos", "audios")
_ORDER: Final = "user (or tool) and assistant in turn, after at most one system turn"
_OUT: Final = "--on_bad_record=skip leaves the record out of the pool"
_SKIPS: Final = (
    "and would skip the record without a word; --on_bad_record=skip leaves it out of the pool"
)
_AS_MESSAGES: Final = "--output_layout=messages writes one that it reads"


class FactoryReading(NamedTuple):
    """How one record is to be registered in dataset_info.json."""

    layout: str
    stage: Literal["sft", "kto", "rm", "pt"]  #: The stage of training that it is for.
    formatting: Literal["alpaca", "sharegpt", "openai"]
    columns: frozenset[tuple[str, str]]  #: LLaMA-Factory's name of a column, and its field here.
    role_names: frozenset[tuple[str, str]] = frozenset()  #: Role, or FACTORY_CALL, and its name.
    has_quoted_arguments: bool = False  #: Arguments of calls are text, which it quotes again.
    unread: frozenset[str] = frozenset()  #: Fields of turns that say something it passes over.
    #: Of calls and of tools, the names in each object: where some have others, null fills in.
    objects: frozenset[tuple[str, ...]] = frozenset()


def read_as_llama_factory(record: dict[str, Any], names: FieldNames = USUAL) -> FactoryReading:
    """How LLaMA-Factory is to be told of a record.

    Raises:
      BadRecord: if it would skip the record, or break on it.
    """
    conversation = decode_conversation(record, names)
    fields = conversation.fields
    columns = {_COLUMNS[what]: field for what, field in fields.items()}
    columns |= {name: name for name in _MORE_COLUMNS if record.get(name) is not None}
    stage: Literal["sft", "kto", "rm", "pt"] = "sft"
    kto_field = next((f for f in _KTO_FIELDS if isinstance(record.get(f), bool)), None)
    if conversation.layout == "preference":
        stage = "rm"
    elif conversation.layout == "text":
        stage = "pt"
    elif kto_field is not None:
        stage = "kto"
        columns["kto_tag"] = kto_field
    if "turns" in fields:
        reading = _read_turns(record, conversation, fields["turns"], names, stage)
        return reading._replace(columns=frozenset(columns.items()))
    for what, field in fields.items():
        if what != "history" and not isinstance(record[field], str):
            raise BadRecord(
                f"is no string, and LLaMA-Factory reads no such {what}; {_AS_MESSAGES}", field
            )
    if not set(columns) & {"prompt", "query"}:
        raise BadRecord(f"LLaMA-Factory reads a pair without a question not; {_AS_MESSAGES}")
    if record.get("tools"):
        _check_json_list(record["tools"])
    return FactoryReading(conversation.layout, stage, "alpaca", frozenset(columns.items()))


def _read_turns(
    record: dict[str, Any], conversation: Conversation, field: str, names: FieldNames, stage: Any
) -> FactoryReading:
    layout, turns = conversation.layout, conversation.turns
    if stage == "rm":
        layout = _layout_of_pair(record, field, names)
        turns = turns[: conversation.answer_at]  # The chosen answer stands beside them.
    if turns and turns[0].name == BESIDE:
        turns = turns[1:]
    if layout not in CONVERSATION_FORMATS or CONVERSATION_FORMATS[layout].form is None:
        raise BadRecord(f"LLaMA-Factory reads no turns of layout {layout}; {_AS_MESSAGES}", field)
    _check_system(record, turns, conversation.fields.get("system"))
    _check_order(turns, field, ranking=stage == "rm")
    for place, turn in enumerate(turns):
        _check_turn(turn, f"{field}[{place}]")
    calls = list(_calls(turns, field))
    tools = record.get("tools")
    results = any(a.role == b.role == "tool" for a, b in itertools.pairwise(turns))
    needs_openai = bool(calls or results or isinstance(tools, list))
    if needs_openai and layout not in ("messages", "xsample"):
        what = "two results of tools in a row" if results else "a list of tools, or of calls"
        raise BadRecord(
            f"found {what}; LLaMA-Factory reads that in OpenAI's form only; "
            "--output_layout=messages writes it",
            field,
        )
    if tools and not isinstance(tools, list):
        _check_json_list(tools)
    arguments = [call["function"]["arguments"] for call in calls]
    found = [("arguments", given) for given in arguments if isinstance(given, dict)]
    found += [("tools", _parameters(tool)) for tool in (tools if isinstance(tools, list) else [])]
    usual = usual_role_names(layout)
    return FactoryReading(
        layout=layout,
        stage=stage,
        formatting="openai" if needs_openai else "sharegpt",
        columns=frozenset(),
        role_names=frozenset(_role_name(turn, usual) for turn in turns),
        has_quoted_arguments=any(isinstance(given, str) for given in arguments),
        unread=frozenset(
            name for turn in turns for name in REASONING if isinstance(turn.more.get(name), str)
        ),
        objects=frozenset((where, *sorted(keys)) for where, keys in found),
    )


def _role_name(turn: Turn, usual: dict[Role, str]) -> tuple[str, str]:
    name = usual[turn.role] if turn.name is None else turn.name
    return FACTORY_CALL if is_calling(name) else turn.role, name


def _check_system(record: dict[str, Any], turns: tuple[Turn, ...], field: str | None) -> None:
    if field is None or not turns or turns[0].role != "system":
        return
    if record.get(field) and record[field] != turns[0].text:
        raise BadRecord(
            "found a system prompt beside the system turn, which LLaMA-Factory drops without a "
            f"word; expected one of them; {_OUT}",
            field,
        )


def _check_order(turns: tuple[Turn, ...], field: str, *, ranking: bool) -> None:
    if not turns:
        raise BadRecord(f"found no turns; LLaMA-Factory takes {_ORDER}, {_SKIPS}", field)
    begin = int(turns[0].role == "system")
    if len(turns) == begin:
        raise BadRecord(
            f"found a system turn only; LLaMA-Factory takes {_ORDER}, {_SKIPS}", f"{field}[0]"
        )
    before, asks = "", True
    for place, turn in enumerate(turns[begin:], begin):
        if turn.role == before == "tool":
            continue  # Its formatting `openai` joins them.
        if turn.role not in (("user", "tool") if asks else ("assistant",)):
            after = f"after the {before}" if before else "first"
            raise BadRecord(
                f"the {turn.role} speaks {after}; LLaMA-Factory takes {_ORDER}, {_SKIPS}",
                f"{field}[{place}]",
            )
        before, asks = turn.role, not asks
    if asks == ranking:
        expected = "the user, before chosen and rejected" if ranking else "the assistant"
        raise BadRecord(
            f"the {before} has the last word; LLaMA-Factory expects {expected}, {_SKIPS}",
            f"{field}[{len(turns) - 1}]",
        )


def _check_turn(turn: Turn, here: str) -> None:
    if turn.name == NO_ROLE:
        raise BadRecord(
            "the turn names no role, which LLaMA-Factory looks for; --output_layout=messages "
            "writes one",
            here,
        )
    if turn.more.get("function_call"):
        raise BadRecord(
            "found a call of OpenAI's older form, of which LLaMA-Factory reads nothing; expected "
            f"tool_calls; {_OUT}",
            f"{here}.function_call",
        )
    if is_calling(turn.name):
        _check_call_text(turn.content, here)
    elif not isinstance(turn.content, str) and not turn.more.get("tool_calls"):
        raise BadRecord(
            f"the text is no string, on which LLaMA-Factory breaks; expected one; {_OUT}", here
        )


def _calls(turns: tuple[Turn, ...], field: str) -> Iterator[dict[str, Any]]:
    """The calls in OpenAI's form."""
    for place, turn in enumerate(turns):
        calls = turn.more.get("tool_calls") or []
        for call in calls if isinstance(calls, list) else [calls]:
            function = call.get("function") if isinstance(call, dict) else None
            if not (isinstance(function, dict) and {"name", "arguments"} <= function.keys()):
                raise BadRecord(
                    "found no call that LLaMA-Factory reads; expected function, with name and "
                    f"arguments; {_OUT}",
                    f"{field}[{place}].tool_calls",
                )
            yield call


def _check_call_text(content: Any, here: str) -> None:
    found = _parsed(content)
    calls = found if isinstance(found, list) else [found]
    if not calls or not all(
        isinstance(call, dict) and {"name", "arguments"} <= call.keys() for call in calls
    ):
        raise BadRecord(
            "the call of a tool is no JSON object with name and arguments, on which LLaMA-Factory "
            f"breaks; {_OUT}",
            here,
        )


def _check_json_list(tools: Any) -> None:
    if not isinstance(_parsed(tools), list):
        raise BadRecord(
            f"expected a JSON list as text, which is what LLaMA-Factory reads; {_OUT}", "tools"
        )


def _layout_of_pair(record: dict[str, Any], field: str, names: FieldNames) -> str:
    """The layout of a pair's turns, in which its answers must be, too.

    Raises:
      BadRecord: if they are not, or have no layout.
    """
    for answer in ("chosen", "rejected"):
        if not isinstance(record.get(answer), dict):
            raise BadRecord(
                "LLaMA-Factory reads one turn there, beside a conversation; "
                "--output_layout=messages writes the chosen answer as a part of it",
                answer,
            )
    for layout in ("messages", "sharegpt"):
        place = names[CONVERSATION_FORMATS[layout].telling[0]]
        turns = [*record[field], record["chosen"], record["rejected"]]
        try:
            found = decode_conversation({place: turns}, names)
        except BadRecord:
            continue
        answers = found.turns[-2:]
        if found.layout == layout and all(turn.role == "assistant" for turn in answers):
            return layout
    raise BadRecord(
        f"LLaMA-Factory expects turns of one form in {field}, chosen and rejected; {_AS_MESSAGES}"
    )


def _parameters(tool: Any) -> dict[str, Any]:
    """The parameters of a tool by their names, as far as they are told."""
    for name in ("function", "parameters", "properties"):
        tool = tool.get(name) if isinstance(tool, dict) else None
    return tool if isinstance(tool, dict) else {}


def _parsed(text: Any) -> Any:
    """What JSON text holds; None if it is none."""
    try:
        return json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return None
