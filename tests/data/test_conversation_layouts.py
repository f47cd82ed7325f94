"""Each layout of a conversation comes out as it came in; what another cannot hold is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mig_jax.data import (
    CONVERSATION_FORMATS,
    ROLES,
    BadRecord,
    FieldNames,
    decode_conversation,
    encode_conversation,
    parse_record,
    told_conversation_format,
    with_usual_roles,
)
from tests.conversations import (
    LAYOUTS,
    alpaca,
    messages,
    prompt_completion,
    sharegpt,
    simple_turns,
)

OTHER_NAMES = {"human": "user", "gpt": "assistant", "observation": "tool"}


def same(record: dict[str, Any]) -> str:
    """A record as text that tells 1 from 1.0 and True, whatever the order of its fields."""
    return json.dumps(record, sort_keys=True)


def through(record: dict[str, Any], *layouts: str) -> dict[str, Any]:
    """The record written and read again in one layout after the other."""
    for layout in layouts:
        record = encode_conversation(decode_conversation(record), layout)
    return record


def attempt(encode: Callable[[], dict[str, Any]]) -> tuple[dict[str, Any], str]:
    """What it gives, or why it is refused."""
    try:
        return encode(), ""
    except BadRecord as bad:
        return {}, str(bad)


@pytest.mark.parametrize("layout", LAYOUTS)
@given(data=st.data())
@settings(max_examples=150)
def test_every_layout_comes_out_as_it_came_in(layout: str, data: st.DataObject) -> None:
    record = data.draw(LAYOUTS[layout])
    text = json.dumps(record, ensure_ascii=data.draw(st.booleans())).encode()
    parsed = parse_record(text)
    assert same(parsed) == same(record)
    conversation = decode_conversation(parsed)
    assert conversation.layout == layout == told_conversation_format(record)
    assert same(encode_conversation(conversation, layout)) == same(record)
    assert {role for role, _ in conversation.texts} <= set(ROLES)


@given(
    record=messages | sharegpt | alpaca | prompt_completion,
    layout=st.sampled_from(list(CONVERSATION_FORMATS)),
)
@settings(max_examples=300)
def test_another_layout_says_the_same_or_refuses(record: dict[str, Any], layout: str) -> None:
    conversation = decode_conversation(record)
    written, refused = attempt(lambda: encode_conversation(conversation, layout))
    assert "\n" not in refused
    if refused:
        return
    assert told_conversation_format(written) == layout
    again, empty = decode_conversation(written), ("system", "")
    spoken = [[turn for turn in found.texts if turn != empty] for found in (again, conversation)]
    assert spoken[0] == spoken[1]


@given(turns=simple_turns)
def test_what_all_layouts_hold_goes_around(turns: list[tuple[str, str]]) -> None:
    record = {"messages": [{"role": role, "content": said} for role, said in turns], "id": 7}
    for way in (
        ["sharegpt"],
        ["alpaca"],
        ["xsample"],
        ["alpaca", "sharegpt"],
        ["sharegpt", "alpaca"],
        ["prompt_completion"],
        ["prompt_completion", "sharegpt", "prompt_completion", "alpaca"],
    ):
        there = through(record, *way)
        assert decode_conversation(there).texts == turns
        assert {**through(there, "messages"), "input": 0} == {**record, "input": 0}


@given(record=alpaca)
def test_alpaca_comes_back_from_messages_with_its_input(record: dict[str, Any]) -> None:
    back = through(record, "messages", "sharegpt", "alpaca")
    assert same({"input": "", **back}) == same({**record, "input": record.get("input") or ""})


@pytest.mark.parametrize("layout", ["messages", "sharegpt", "alpaca"])
def test_a_megabyte_in_a_turn(layout: str) -> None:
    said = "é😀\x00 " * (1 << 17)
    assert len(said.encode()) >= 1 << 20
    record = {
        "messages": [{"role": "user", "content": said}, {"role": "assistant", "content": said}]
    }
    there = through(record, layout)
    assert through(parse_record(json.dumps(there).encode()), layout) == there
    assert decode_conversation(there).texts == [("user", said), ("assistant", said)]


def test_roles_take_the_names_of_the_layout() -> None:
    turns = [("system", "s"), ("user", "q"), ("assistant", "a"), ("tool", "t")]
    names = ["system", "human", "gpt", "observation"]
    record = {
        "conversations": [{"from": n, "value": v} for n, (_, v) in zip(names, turns, strict=True)]
    }
    assert decode_conversation(record).texts == turns
    expected = {"messages": [{"role": role, "content": said} for role, said in turns]}
    assert through(record, "messages") == expected
    assert through(expected, "sharegpt") == record
    odd = {"conversations": [{"from": "User", "value": "q"}, {"from": "chatgpt", "value": "a"}]}
    usual = {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}
    assert encode_conversation(with_usual_roles(decode_conversation(odd)), "sharegpt") == usual


def test_alpaca_is_what_trainers_take_it_for() -> None:
    record = {"instruction": "Add.", "input": "1, 2", "output": "3", "system": "Be brief."}
    record["history"] = [["Hi", "Hello"]]  # type: ignore[assignment]
    assert decode_conversation(record).texts == [
        ("system", "Be brief."),
        ("user", "Hi"),
        ("assistant", "Hello"),
        ("user", "Add.\n1, 2"),
        ("assistant", "3"),
    ]
    plain = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}
    assert through(plain, "alpaca") == {"instruction": "q", "input": "", "output": "a"}


@pytest.mark.parametrize("name", ["system", "before"])
@pytest.mark.parametrize("layout", ["messages", "sharegpt"])
def test_the_system_prompt_beside_the_turns_is_one_of_them(layout: str, name: str) -> None:
    system, *said = [("system", "s"), ("user", "q"), ("assistant", "a")]
    names = FieldNames.of({"system": name})
    turns = {
        "messages": [{"role": role, "content": text} for role, text in said],
        "sharegpt": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}],
    }
    field = CONVERSATION_FORMATS[layout].telling[0]
    record = {"id": 1, name: "s", field: turns[layout]}
    found = decode_conversation(record, names)
    assert found.texts == [system, *said]
    # In its own layout it stays where it is; trainers on `messages` look into the list only.
    assert encode_conversation(found, layout) == {"id": 1, "system": "s", field: turns[layout]}
    written = {to: encode_conversation(with_usual_roles(found), to) for to in CONVERSATION_FORMATS}
    assert all(decode_conversation(one).texts == [system, *said] for one in written.values())
    first = {"role": "system", "content": "s"}
    assert written["messages"] == {"id": 1, "messages": [first, *turns["messages"]]}
    assert written["prompt_completion"]["prompt"][0] == first
    assert written["alpaca"]["system"] == "s"


@pytest.mark.parametrize("layout", ["messages", "sharegpt", "alpaca"])
def test_an_empty_system_prompt_is_none(layout: str) -> None:
    plain = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}
    record = {**through(plain, layout), "system": ""}
    for to in CONVERSATION_FORMATS:
        written = encode_conversation(with_usual_roles(decode_conversation(record)), to)
        assert decode_conversation(written).texts == [("user", "q"), ("assistant", "a")]
        assert written["system"] == ""


def test_texts_of_parts_and_calls() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "image_url"}, {"type": "text", "text": "b"}]
    turns = [{"role": "user", "content": parts}, {"role": "assistant", "content": None}]
    assert decode_conversation({"messages": turns}).texts == [("user", "ab"), ("assistant", "")]


def test_fields_of_other_names() -> None:
    names = FieldNames.of({"messages": "chat", "role": "by", "content": "said", "input": "about"})
    record = {"chat": [{"by": "user", "said": "q"}], "messages": None, "id": 1}
    found = decode_conversation(record, names)
    assert found.texts == [("user", "q")]
    expected = {"messages": [{"role": "user", "content": "q"}], "id": 1}
    assert encode_conversation(found, "messages") == expected
    task = {"instruction": "x", "about": "y", "output": "z"}
    assert decode_conversation(task, names).texts == [("user", "x\ny"), ("assistant", "z")]


def turn(role: Any = "user", content: Any = "q", **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


REFUSED_AT_READING: list[tuple[Any, str]] = [
    ({}, "found no conversation; expected messages (turns with role and content), conversations"),
    ({"instruction": "x"}, "found no conversation"),
    ({"messages": "q"}, "field messages: found a string, expected a list of turns with role and"),
    ({"messages": ["q"]}, "field messages[0]: found a string, expected an object"),
    ({"messages": [{"role": "user"}]}, "field messages[0].content: missing, expected a string"),
    ({"messages": [turn(content=1)]}, "field messages[0].content: found a number, expected"),
    ({"messages": [turn("narrator")]}, "field messages[0].role: found 'narrator', expected one of"),
    ({"messages": [turn(), {"content": "a"}]}, "field messages[1].role: missing, expected one"),
    ({"messages": [turn(None)]}, "field messages[0].role: found null, expected one of system"),
    ({"conversations": [{"from": "human"}]}, "field conversations[0].value: missing"),
    ({"conversations": [{"from": "gpt", "value": None}]}, "value: found null, expected a string"),
    ({"instruction": 1, "output": "a"}, "field instruction: found a number, expected a string"),
    ({"instruction": "", "output": ["a"]}, "field output: found a list, expected a string"),
    ({"instruction": "", "output": "", "input": {}}, "field input: found an object, expected"),
    ({"instruction": "", "output": "", "history": [["a"]]}, "field history[0]: found a list, exp"),
    ({"instruction": "", "output": "", "history": True}, "field history[0]: found true or false"),
]


@pytest.mark.parametrize(("record", "told"), REFUSED_AT_READING)
def test_records_that_are_no_conversation(record: dict[str, Any], told: str) -> None:
    with pytest.raises(BadRecord) as caught:
        decode_conversation(record)
    assert told in str(caught.value)


_CODE = "def add(a, b):\n    return a + b"
ONE_SIDE: list[tuple[dict[str, Any], str, list[tuple[str, str]] | None]] = [
    # Open Assistant's messages, Vicuna's answers, MBPP, HumanEval-X, Cosmopedia, and an answer.
    ({"message_id": "m", "parent_id": None, "text": "Add.", "role": "prompter"}, "role", None),
    ({"question_id": 1, "answer_id": "a", "text": "Add."}, "question_id", None),
    ({"text": "Add.", "code": _CODE}, "code", [("user", "Add."), ("assistant", _CODE)]),
    (
        {"prompt": "def add", "text": "Adds."},
        "prompt",
        [("user", "def add"), ("assistant", "Adds.")],
    ),
    ({"text": "Add.", "response": "3"}, "response", [("user", "Add."), ("assistant", "3")]),
]


@pytest.mark.parametrize(("record", "beside", "meant"), ONE_SIDE)
def test_a_text_that_is_one_side_of_a_conversation_is_not_taken_for_all_of_it(
    record: dict[str, Any], beside: str, meant: list[tuple[str, str]] | None
) -> None:
    with pytest.raises(BadRecord) as caught:
        decode_conversation(record)
    told = str(caught.value)
    assert told.startswith(f"found no conversation, but text beside {beside}, as one side of it")
    *perhaps, alone = [
        FieldNames.parse(flag.removeprefix("--field=") for flag in part.split() if "--" in flag)
        for part in told.split("; ")
        if "--field=" in part
    ]
    assert decode_conversation(record, alone).texts == [("assistant", record["text"])]
    assert [decode_conversation(record, names).texts for names in perhaps] == [meant] * bool(meant)


@pytest.mark.parametrize(
    "more",
    [
        {"code": "eng"},
        {"role": "nurse"},
        {"prompt": "Add."},
        {"response": " 3\n"},
        {"answer": "", "question": None},
        {"title": "Sums", "id": 7, "input": 5},
    ],
)
def test_a_text_beside_what_is_no_other_side_is_all_that_is_learned(more: dict[str, Any]) -> None:
    text = "### Add. ### 3"
    assert decode_conversation({"text": text, **more}).texts == [("assistant", text)]


REFUSED_AT_WRITING: list[tuple[dict[str, Any], str, str]] = [
    ({"messages": [turn(), turn("tool")]}, "alpaca", "turn 2 is the tool's; layout alpaca expects"),
    ({"messages": [turn(), turn()]}, "alpaca", "turn 2 is the user's"),
    ({"messages": [turn(), turn("system")]}, "alpaca", "turn 2 is the system's"),
    ({"messages": [turn()]}, "alpaca", "found 1 turns of user and assistant; layout alpaca"),
    ({"messages": []}, "alpaca", "found 0 turns"),
    ({"messages": [turn("assistant", None, tool_calls=[{}])]}, "sharegpt", "turn 1 calls a tool"),
    ({"messages": [turn(content=None)]}, "sharegpt", "turn 1 has null for its text; layout share"),
    ({"messages": [turn(content=["a"])]}, "alpaca", "turn 1 has a list for its text"),
    ({"messages": [turn(value=1)]}, "sharegpt", "field conversations[0].value: found a field of"),
    ({"messages": [], "conversations": 1}, "sharegpt", "field conversations: is in the way"),
    (
        {"messages": [turn(), turn("assistant")], "dialogs": [turn()]},
        "alpaca",
        "fields of layout xsample",
    ),
    (
        {"messages": [turn(), turn("assistant")], "system": 5},
        "alpaca",
        "field system: found a numb",
    ),
    ({"messages": [turn(), turn("assistant")], "history": [["q", "a"]]}, "alpaca", "other fields"),
    ({"messages": [turn(weight=0), turn("assistant")]}, "alpaca", "no place for the field weight"),
    ({"conversations": [{"from": "function_call", "value": "{}"}]}, "messages", "turn 1 calls a"),
    ({"messages": [turn()]}, "prompt_completion", "does not end with the assistant's turn"),
    ({"messages": [turn("assistant")]}, "prompt_completion", "nobody asks before the assistant's"),
    (
        {"messages": [turn("system"), turn("assistant")]},
        "prompt_completion",
        "nobody asks before the assistant's turn",
    ),
    ({"messages": [turn(), turn("assistant")], "prompt": "p"}, "prompt_completion", "in the way"),
    (
        {"conversations": [{"from": "system", "value": "a"}], "system": "b"},
        "messages",
        "field system: found a system prompt beside the system turn",
    ),
]


@pytest.mark.parametrize(("record", "layout", "told"), REFUSED_AT_WRITING)
def test_what_a_layout_cannot_hold(record: dict[str, Any], layout: str, told: str) -> None:
    with pytest.raises(BadRecord) as caught:
        through(record, layout)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b'{"a": "\\ud800", "b": NaN}', "found NaN, which JSON has not, expected null or a finite"),
        (b'{"a": "\\ud800", "b": 1e999}', "found 1e999, which JSON has not"),
        (b'{"a": [0, -Infinity], "b": NaN}', "found -Infinity, which JSON has not"),
        (b'{"a": NaN, "b": 1', "JSON is malformed: invalid character"),
        (b'"\\ud800"', "found a string; expected one JSON object a line"),
        (b'{"a": "\xed\xa0\x80"}', "found bytes that are not UTF-8"),
        (b'{"a": NaN}', "found NaN, which JSON has not"),
        (b'{"a": 1', "JSON is truncated; expected one JSON object a line"),
        (b"[1]", "found a list; expected one JSON object a line"),
        (b'{"a": 1} {"a": 2}', "JSON is malformed: trailing characters"),
        (b"[" * 100_000, "JSON is nested too deeply"),
    ],
)
def test_text_that_is_no_record(text: bytes, told: str) -> None:
    with pytest.raises(BadRecord) as caught:
        parse_record(text)
    assert told in str(caught.value)
