"""What the field writes is read without flags, and written in every layout that can hold it.

The oracles stand here and in `tests.field_layouts`: what a shape says, and plain readers of
the layouts that are written, after the documents of the projects that read them.
"""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from mig_jax import data
from mig_jax.data import (
    BadRecord,
    decode_conversation,
    encode_conversation,
    instruction_and_response,
    parse_record,
    record_as_json,
    told_conversation_format,
    with_usual_roles,
)
from tests.field_layouts import SHAPES, TARGETS, TRAINABLE, Shape, by_name

SHAREGPT_ROLES = {"human": "user", "gpt": "assistant", "system": "system", "observation": "tool"}
NAMES = [shape.name for shape in SHAPES]
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=NAMES)


def calls_text(calls: list[dict[str, Any]]) -> str:
    """The text of calls, given with their arguments as objects."""
    return "\n".join(json.dumps(call, ensure_ascii=False) for call in calls)


def plain_openai_turn(turn: dict[str, Any]) -> tuple[str, str]:
    assert turn["role"] in ("system", "user", "assistant", "tool")
    if not turn.get("tool_calls"):
        return turn["role"], turn["content"]
    assert all(call["id"] and call["type"] == "function" for call in turn["tool_calls"])
    functions = [call["function"] for call in turn["tool_calls"]]
    calls = [{"name": f["name"], "arguments": json.loads(f["arguments"])} for f in functions]
    return turn["role"], calls_text(calls)


def plain_sharegpt_turn(turn: dict[str, Any]) -> tuple[str, str]:
    if turn["from"] != "function_call":
        return SHAREGPT_ROLES[turn["from"]], turn["value"]
    found = json.loads(turn["value"])
    calls = found if isinstance(found, list) else [found]
    assert all(list(call) == ["name", "arguments"] for call in calls)
    return "assistant", calls_text(calls)


def plain_alpaca(record: dict[str, Any]) -> list[tuple[str, str]]:
    asked = record["instruction"] + ("\n" + record["input"] if record.get("input") else "")
    turns = [("system", record["system"])] if "system" in record else []
    for before, said in record.get("history", []):
        turns += [("user", before), ("assistant", said)]
    return [*turns, ("user", asked), ("assistant", record["output"])]


PLAIN_READERS = {
    "messages": lambda record: [plain_openai_turn(turn) for turn in record["messages"]],
    "xsample": lambda record: [plain_openai_turn(turn) for turn in record["dialogs"]],
    "sharegpt": lambda record: [
        *([("system", record["system"])] if "system" in record else []),
        *(plain_sharegpt_turn(turn) for turn in record["conversations"]),
    ],
    "alpaca": plain_alpaca,
    "prompt_completion": lambda record: [
        plain_openai_turn(turn) for turn in record["prompt"] + record["completion"]
    ],
}
# What they say is in parts or fields that the plain readers do not know.
NOT_PLAIN = {"text_parts", "value_parts", "anthropic_parts", "reasoning_content"}
# Already in OpenAI's form, and left in it as it came.
AS_IT_CAME = {"tool_calls_object", "function_call"}


def read(shape: Shape) -> Any:
    record = parse_record(json.dumps(shape.record).encode())
    return decode_conversation(record, questions=shape.asks)


def test_there_are_shapes_of_all_layouts() -> None:
    assert len(set(NAMES)) == len(SHAPES) >= 48
    assert {shape.layout for shape in SHAPES} == set(data.READ_LAYOUTS)
    assert set(TARGETS) == set(data.CONVERSATION_FORMATS)


@every_shape
def test_a_shape_is_read_as_what_it_says(shape: Shape) -> None:
    before = copy.deepcopy(shape.record)
    found = decode_conversation(shape.record, questions=shape.asks)
    assert shape.record == before
    assert found.layout == shape.layout
    assert found.texts == shape.turns
    if shape.response is not None:
        assert instruction_and_response(found) == (shape.instruction, shape.response)
        return
    with pytest.raises(BadRecord, match="expected a response, too"):
        instruction_and_response(found)


@every_shape
def test_what_only_asks_is_read_in_evaluations_alone(shape: Shape) -> None:
    told = told_conversation_format(shape.record)
    assert told == (None if shape.asks else shape.layout)
    assert told_conversation_format(shape.record, questions=True) == shape.layout
    if shape.asks:
        with pytest.raises(BadRecord, match="found no conversation"):
            decode_conversation(shape.record)


@every_shape
def test_fields_that_are_empty_do_not_tell_a_layout(shape: Shape) -> None:
    others = dict.fromkeys(
        ("messages", "conversations", "dialogs", "instruction", "output", "prompt", "completion"),
    )
    others |= dict.fromkeys(("question", "chosen", "rejected", "text"), "")
    others["answer"] = None if shape.asks else ""  # An empty answer is one.
    found = decode_conversation({**others, **shape.record}, questions=shape.asks)
    assert (found.layout, found.texts) == (shape.layout, shape.turns)


@pytest.mark.parametrize("target", TARGETS)
@every_shape
def test_a_shape_is_written_in_each_layout_or_refused(shape: Shape, target: str) -> None:
    conversation = with_usual_roles(read(shape))
    if target in shape.cannot:
        with pytest.raises(BadRecord):
            encode_conversation(conversation, target)
        return
    written = json.loads(record_as_json(encode_conversation(conversation, target)))
    expected = list(shape.turns)
    again = decode_conversation(written)
    assert (again.layout, again.texts) == (target, expected)
    if shape.name not in NOT_PLAIN and (shape.name, target) not in {
        (name, target) for name in AS_IT_CAME for target in ("messages", "xsample")
    } | {(name, "prompt_completion") for name in AS_IT_CAME}:
        assert PLAIN_READERS[target](written) == expected
    assert not lost(shape.record, written)


def leaves(value: Any) -> list[str]:
    """All texts and numbers in a value, those in JSON in a text included."""
    if isinstance(value, str):
        try:
            inner = json.loads(value)
        except ValueError:
            return [value]
        return leaves(inner) if isinstance(inner, dict | list) else [value]
    if isinstance(value, dict):
        return [text for inner in value.values() for text in leaves(inner)]
    if isinstance(value, list):
        return [text for inner in value for text in leaves(inner)]
    return [] if value is None else [json.dumps(value)]


def lost(record: dict[str, Any], written: dict[str, Any]) -> set[str]:
    """What a record says and the written one does not, names of roles and ids of calls aside."""
    roles = {*SHAREGPT_ROLES, *SHAREGPT_ROLES.values()}
    roles |= {"User", "Assistant", "bot", "developer", "function", "tool_call", "tool_response"}
    roles |= {"function_call", "Chatbot"}
    said = " ".join(leaves(written))
    return {text for text in leaves(record) if text not in said} - roles


def test_rejected_answers_are_never_turns() -> None:
    for shape in SHAPES:
        if shape.layout != "preference":
            continue
        for target in set(TARGETS) - set(shape.cannot):
            written = encode_conversation(read(shape), target)
            turns = decode_conversation(written).texts
            assert "No idea." not in dict(turns).values()
            assert "No idea." in json.dumps(written)


def test_a_prompt_ends_with_the_question_and_a_completion_is_the_answer() -> None:
    for shape in TRAINABLE:
        written = encode_conversation(with_usual_roles(read(shape)), "prompt_completion")
        roles = [turn["role"] for turn in written["prompt"]]
        assert roles[-1] in ("user", "tool")
        assert {turn["role"] for turn in written["completion"]} == {"assistant"}


def test_files_of_all_shapes_are_read(tmp_path: Any) -> None:
    pool, held_out = tmp_path / "pool.jsonl", tmp_path / "evaluation.jsonl"
    for path, asks in ((pool, False), (held_out, True)):
        records = [shape.record for shape in SHAPES if shape.asks == asks]
        path.write_text("\n".join(map(json.dumps, records)))
    expected = [shape.turns for shape in SHAPES if not shape.asks]
    assert [raw.turns for raw in data.read_conversations([pool])] == expected
    expected = [shape.turns for shape in SHAPES if shape.asks]
    found = data.read_conversations([held_out], questions=True)
    assert [raw.turns for raw in found] == expected
    with pytest.raises(ValueError, match=r"evaluation.jsonl, line 1: found no conversation"):
        list(data.read_conversations([held_out]))


def test_fields_tell_what_the_turns_are_made_of() -> None:
    expected = {
        "sharegpt_system": {"turns": "conversations", "system": "system"},
        "query_response": {
            "question": "query",
            "answer": "response",
            "system": "system",
            "history": "history",
        },
        "dolly": {"question": "instruction", "context": "context", "answer": "response"},
        "kto": {"prompt": "prompt", "completion": "completion"},
        "ranking_sharegpt": {"chosen": "chosen", "rejected": "rejected", "turns": "conversations"},
        "explicit_prompt": {"chosen": "chosen", "rejected": "rejected", "question": "prompt"},
        "implicit_prompt": {"chosen": "chosen", "rejected": "rejected"},
        "text": {"text": "text"},
        "mt_bench": {"turns": "turns"},
    }
    for name, fields in expected.items():
        assert read(by_name(name)).fields == fields
