"""One conversation built in every layout by hand: each is read as it, and made from each other."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mig_jax.data import (
    BadRecord,
    decode_conversation,
    encode_conversation,
    parse_record,
    record_as_json,
    with_usual_roles,
)
from tests.conversations import simple_turns, text

Turns = list[tuple[str, str]]
Record = dict[str, Any]
FROM = {"system": "system", "user": "human", "assistant": "gpt", "tool": "observation"}


def openai_turns(turns: Turns) -> list[Record]:
    return [{"role": role, "content": said} for role, said in turns]


def sharegpt_turns(turns: Turns) -> list[Record]:
    return [{"from": FROM[role], "value": said} for role, said in turns]


def apart(turns: Turns) -> tuple[str | None, list[list[str]], str, str]:
    """System prompt, earlier exchanges, the last question and its answer."""
    system = turns[0][1] if turns[0][0] == "system" else None
    said = [said for role, said in turns if role != "system"]
    pairs = [said[place : place + 2] for place in range(0, len(said), 2)]
    return system, pairs[:-1], *pairs[-1]


def columns(question: str, answer: str) -> Callable[[Turns], Record]:
    def build(turns: Turns) -> Record:
        system, history, asked, said = apart(turns)
        record: Record = {question: asked, answer: said}
        if system is not None:
            record["system"] = system
        if history:
            record["history"] = history
        return record

    return build


def exchanges(question: str, answer: str) -> Callable[[Turns], Record]:
    def build(turns: Turns) -> Record:
        system, history, *last = apart(turns)
        found = [{question: asked, answer: said} for asked, said in [*history, last]]
        return {"conversation": found} | ({} if system is None else {"system": system})

    return build


def ranked(turns: Turns) -> Record:
    return {
        "conversations": sharegpt_turns(turns[:-1]),
        "chosen": sharegpt_turns(turns[-1:])[0],
        "rejected": {"from": "gpt", "value": "worse"},
    }


def whole_answers(turns: Turns) -> Record:
    worse = openai_turns([*turns[:-1], ("assistant", "worse")])
    return {"chosen": openai_turns(turns), "rejected": worse}


def explicit(turns: Turns) -> Record:
    return {
        "prompt": openai_turns(turns[:-1]),
        "chosen": openai_turns(turns[-1:]),
        "rejected": openai_turns([("assistant", "worse")]),
    }


WRITTEN: dict[str, Callable[[Turns], Record]] = {
    "messages": lambda turns: {"messages": openai_turns(turns)},
    "xsample": lambda turns: {"dialogs": openai_turns(turns)},
    "sharegpt": lambda turns: {"conversations": sharegpt_turns(turns)},
    "alpaca": lambda turns: {"input": "", **columns("instruction", "output")(turns)},
    "prompt_completion": lambda turns: {
        "prompt": openai_turns(turns[:-1]),
        "completion": openai_turns(turns[-1:]),
    },
}
READ: dict[str, Callable[[Turns], Record]] = WRITTEN | {
    "openai in conversations": lambda turns: {"conversations": openai_turns(turns)},
    "sharegpt in messages": lambda turns: {"messages": sharegpt_turns(turns)},
    "conversation": lambda turns: {"conversation": openai_turns(turns)},
    "firefly": exchanges("human", "assistant"),
    "xtuner": exchanges("input", "output"),
    "user and assistant": exchanges("user", "assistant"),
    "swift": columns("query", "response"),
    "gsm8k": columns("question", "answer"),
    "problem": columns("problem", "solution"),
    "any names": columns("problem", "generation"),
    "ranked": ranked,
    "whole answers": whole_answers,
    "explicit": explicit,
}


def spoken(turns: Turns) -> bool:
    """Whether every turn says something: in exchanges, and beside them, an empty one is none."""
    return all(said for _, said in turns)


@pytest.mark.parametrize("source", READ)
@given(data=st.data())
@settings(max_examples=60)
def test_every_layout_is_made_from_every_other(source: str, data: st.DataObject) -> None:
    turns = data.draw(simple_turns.filter(spoken))
    record = json.loads(json.dumps({"id": 7, **READ[source](turns)}))
    found = decode_conversation(record)
    assert found.texts == turns
    kept = {"id": 7} | ({"rejected": record["rejected"]} if "rejected" in record else {})
    for target, build in WRITTEN.items():
        assert encode_conversation(found, target) == {**build(turns), **kept}


names = st.text(st.characters(categories=["L", "Nd"]), min_size=1, max_size=8)
arguments = st.dictionaries(
    text, st.none() | st.booleans() | st.integers() | text | st.lists(text, max_size=2), max_size=3
)
calls = st.lists(st.tuples(names, arguments), min_size=1, max_size=3)
# What happens after a question: rounds of calls at once, each with its results.
rounds = st.lists(calls, min_size=1, max_size=3)


def call_text(call: tuple[str, Any]) -> str:
    name, given_arguments = call
    return json.dumps({"name": name, "arguments": given_arguments}, ensure_ascii=False)


def calling_texts(given_rounds: list[Any]) -> Turns:
    turns: Turns = [("user", "q")]
    for given_calls in given_rounds:
        turns.append(("assistant", "\n".join(map(call_text, given_calls))))
        turns += [("tool", f"result of {name}") for name, _ in given_calls]
    return [*turns, ("assistant", "a")]


def openai_record(given_rounds: list[Any], ids: str, style: str) -> Record:
    """In OpenAI's form: the arguments as text or objects, or the older `function_call`."""
    turns: list[Record] = [{"role": "user", "content": "q"}]
    number = 0
    for given_calls in given_rounds:
        made, results = [], []
        for name, given_arguments in given_calls:
            own = given_arguments
            if style != "object":
                own = json.dumps(given_arguments, ensure_ascii=False)
            call: Record = {"type": "function", "function": {"name": name, "arguments": own}}
            result: Record = {"role": "tool", "content": f"result of {name}"}
            if ids:
                call = {"id": f"{ids}{number}", **call}
                result["tool_call_id"] = f"{ids}{number}"
            number += 1
            made.append(call)
            results.append(result)
        turn = {"role": "assistant", "content": None, "tool_calls": made}
        if style == "older" and len(made) == 1:
            turn = {"role": "assistant", "content": None, "function_call": made[0]["function"]}
        turns += [turn, *results]
    return {"messages": [*turns, {"role": "assistant", "content": "a"}]}


def sharegpt_record(given_rounds: list[Any]) -> Record:
    turns = [("human", "q")]
    for given_calls in given_rounds:
        found = [{"name": name, "arguments": own} for name, own in given_calls]
        value = json.dumps(found if len(found) > 1 else found[0], ensure_ascii=False)
        turns.append(("function_call", value))
        turns += [("observation", f"result of {name}") for name, _ in given_calls]
    turns.append(("gpt", "a"))
    return {"conversations": [{"from": name, "value": said} for name, said in turns]}


def swift_record(given_rounds: list[Any]) -> Record:
    turns = [("user", "q")]
    for given_calls in given_rounds:
        turns += [("tool_call", call_text(call)) for call in given_calls]
        turns += [("tool_response", f"result of {name}") for name, _ in given_calls]
    turns.append(("assistant", "a"))
    return {"messages": [{"role": role, "content": said} for role, said in turns]}


@given(given_rounds=rounds)
@settings(max_examples=100)
def test_calls_of_tools_convert_and_say_the_same(given_rounds: list[Any]) -> None:
    texts = calling_texts(given_rounds)
    ours, theirs = openai_record(given_rounds, "call_", "text"), sharegpt_record(given_rounds)
    others = [
        openai_record(given_rounds, "", "text"),
        openai_record(given_rounds, "call_", "object"),
        openai_record(given_rounds, "", "object"),
        openai_record(given_rounds, "", "older"),
    ]
    for record in (ours, theirs, *others):
        assert decode_conversation(record).texts == texts
        assert encode_conversation(decode_conversation(record), "sharegpt") == theirs
    for record in (ours, theirs):
        assert encode_conversation(decode_conversation(record), "messages") == ours
    swift = decode_conversation(swift_record(given_rounds))
    assert encode_conversation(with_usual_roles(swift), "messages") == ours
    assert encode_conversation(swift, "sharegpt")["conversations"][-1]["value"] == "a"


@given(given_rounds=rounds, ids=st.sampled_from(["", "call_", "c", "call_1"]))
def test_ids_of_calls_come_back(given_rounds: list[Any], ids: str) -> None:
    record = openai_record(given_rounds, ids, "text")
    there = encode_conversation(decode_conversation(record), "sharegpt")
    back = encode_conversation(decode_conversation(there), "messages")
    assert back == openai_record(given_rounds, ids or "call_", "text")


def call(**more: Any) -> Record:
    return {"function": {"name": "f", "arguments": "{}"}, **more}


@pytest.mark.parametrize(
    ("turn", "told"),
    [
        ({"content": "So:", "tool_calls": [call()]}, "a string for its text besides"),
        ({"tool_calls": [call(index=0)]}, "with the field index; layout sharegpt has no place"),
        ({"tool_calls": [call(type="custom")]}, "with the field type"),
        ({"tool_calls": [call(function={"name": "f", "arguments": "x"})]}, "are no JSON object"),
        ({"tool_calls": [{"function": {}}]}, "turn 2 calls a tool, but not with name and"),
        ({"tool_calls": "f()"}, "turn 2 calls a tool, but not with name and arguments"),
    ],
)
def test_calls_that_would_lose_something_are_refused(turn: Record, told: str) -> None:
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", **turn}]
    found = decode_conversation({"messages": turns})
    with pytest.raises(BadRecord, match=told):
        encode_conversation(found, "sharegpt")
    with pytest.raises(BadRecord, match="turn 2 calls a tool; layout alpaca has no place"):
        encode_conversation(found, "alpaca")
    assert encode_conversation(found, "xsample") == {"dialogs": turns}


@pytest.mark.parametrize("value", ["f(x)", "{}", "[]", '"f"', '{"name": "f", "deadline": 3}'])
def test_calls_that_are_no_json_are_refused(value: str) -> None:
    turns = [{"from": "human", "value": "q"}, {"from": "function_call", "value": value}]
    found = decode_conversation({"conversations": turns})
    with pytest.raises(BadRecord, match="turn 2 calls a tool, but not as JSON with name and"):
        encode_conversation(found, "messages")
    assert encode_conversation(with_usual_roles(found), "sharegpt") == {"conversations": turns}


def test_results_out_of_order_keep_the_ids_of_their_calls() -> None:
    turns: list[Record] = [
        {"role": "assistant", "content": None, "tool_calls": [call(id="a"), call(id="b")]},
        {"role": "tool", "content": "of b", "tool_call_id": "b"},
        {"role": "tool", "content": "of a", "tool_call_id": "a"},
    ]
    there = encode_conversation(decode_conversation({"messages": turns}), "sharegpt")
    assert there["conversations"][1]["tool_call_id"] == "b"
    back = encode_conversation(decode_conversation(there), "messages")["messages"]
    assert [turn["tool_call_id"] for turn in back[1:]] == ["b", "a"]
    assert [one["id"] for one in back[0]["tool_calls"]] == ["a", "b"]


def test_descriptions_of_tools_convert() -> None:
    tool = {"name": "f", "description": "d", "parameters": {}}
    wrapped = {"type": "function", "function": tool}
    turns = [("user", "q"), ("assistant", "a")]
    listed = {**WRITTEN["messages"](turns), "tools": [wrapped]}
    there = encode_conversation(decode_conversation(listed), "sharegpt")
    assert json.loads(there["tools"]) == [wrapped]
    assert encode_conversation(decode_conversation(there), "messages") == listed
    bare = {**WRITTEN["sharegpt"](turns), "tools": json.dumps([tool])}
    assert encode_conversation(decode_conversation(bare), "messages") == listed
    swift = {**WRITTEN["messages"](turns), "tools": json.dumps([wrapped])}
    assert encode_conversation(with_usual_roles(decode_conversation(swift)), "messages") == listed
    for other in ("a hammer", ["a hammer"], "", [], None, "[]", 5):
        kept = {**WRITTEN["messages"](turns), "tools": other}
        assert encode_conversation(decode_conversation(kept), "sharegpt")["tools"] == other


halves = st.text(st.characters(categories=["Cs", "Lu"]), min_size=1, max_size=4)


@given(asked=halves, said=halves, key=halves)
def test_halves_of_characters_stay(asked: str, said: str, key: str) -> None:
    # JSON joins two halves that belong together.
    asked, said, key = json.loads(json.dumps([asked, said, key]))
    turns = [("user", asked), ("assistant", said)]
    record = parse_record(json.dumps({**WRITTEN["messages"](turns), key: 1}).encode())
    found = decode_conversation(record)
    assert all(text.encode().decode() == text for _, text in found.texts)
    for target, build in WRITTEN.items():
        line = record_as_json(encode_conversation(found, target))
        assert json.loads(line.decode()) == {**build(turns), key: 1}
        assert parse_record(line) == {**build(turns), key: 1}
