"""What turns say, whatever form it has; and records without a conversation."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest

from mig_jax.data import (
    BadRecord,
    FieldNames,
    decode_conversation,
    encode_conversation,
    told_conversation_format,
)
from mig_jax.errors import InputError

CALL = {"name": "f", "arguments": {"x": 1}}
CALL_TEXT = '{"name": "f", "arguments": {"x": 1}}'


def text_of(turn: dict[str, Any], role: str = "assistant") -> str:
    (found,) = decode_conversation({"messages": [{"role": role, **turn}]}).texts
    assert found[0] == role
    return found[1]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([{"type": "text", "value": "a"}], "a"),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "ab"),
        ([{"type": "input_text", "text": "a"}, {"type": "output_text", "text": "b"}], "ab"),
        (["a", {"text": "b"}], "ab"),
        ([{"type": "reasoning", "value": "r"}, {"type": "text", "value": "a"}], "r\na"),
        ([{"type": "reasoning", "reasoning": "r"}], "r"),
        ([{"type": "reasoning", "content": [{"type": "reasoning_text", "text": "r"}]}], "r"),
        ([{"type": "thinking", "thinking": "r", "signature": "s"}], "r"),
        ([{"type": "refusal", "refusal": "no"}], "no"),
        ([{"type": "tool_call", "value": json.dumps(CALL)}], CALL_TEXT),
        ([{"type": "tool_call", "value": "f(1)"}], "f(1)"),
        ([{"type": "tool_call", "function": CALL}], CALL_TEXT),
        ([{"type": "tool_use", "id": "t", "name": "f", "input": {"x": 1}}], CALL_TEXT),
        (
            [{"type": "function_call", "name": "f", "arguments": '{"x": 1}'}] * 2,
            f"{CALL_TEXT}\n{CALL_TEXT}",
        ),
        ([{"type": "tool_result", "content": "r"}], "r"),
        ([{"type": "tool_result", "content": [{"type": "text", "text": "r"}]}], "r"),
        ([{"type": "function_call_output", "output": "r"}], "r"),
        ([{"type": "image_url", "value": "lake.png"}], ""),
        ([{"type": "image", "image": "lake.png"}, {"type": "text", "text": "a"}], "a"),
        ([{"type": "image_url", "image_url": {"url": "text"}}], ""),
        ([{"type": "caption", "text": "a"}], "a"),
        ([{"type": ["text"], "text": "a"}], "a"),
        ([], ""),
        ("", ""),
        (None, ""),
    ],
)
def test_texts_of_parts(content: Any, expected: str) -> None:
    assert text_of({"content": content}) == expected


@pytest.mark.parametrize(
    "turn",
    [
        {"content": None, "tool_calls": [{"id": "1", "type": "function", "function": CALL}]},
        {"content": "", "tool_calls": [{"function": {"name": "f", "arguments": '{ "x":1}'}}]},
        {"tool_calls": [CALL]},
        {"content": None, "function_call": {"name": "f", "arguments": '{"x": 1}'}},
        {"content": None, "tool_calls": [], "function_call": CALL},
        {"content": [{"type": "tool_call", "value": json.dumps(CALL, indent=1)}]},
    ],
)
def test_a_call_has_one_text(turn: dict[str, Any]) -> None:
    assert text_of(turn) == CALL_TEXT
    for name in ("function_call", "Function_Call", "tool_call"):
        said = {"from": name, "value": json.dumps(CALL, indent=2)}
        assert decode_conversation({"conversations": [said]}).texts == [("assistant", CALL_TEXT)]


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning", "thinking"])
def test_reasoning_beside_the_content_is_said_before_it(field: str) -> None:
    assert text_of({"content": "a", field: "r"}) == "r\na"
    assert text_of({"content": None, field: "r"}) == "r"
    assert text_of({"content": "a", field: None}) == "a"
    assert text_of({"content": "a", field: {"effort": "high"}}) == "a"
    calling = {"content": "", field: "r", "tool_calls": [{"function": CALL}]}
    assert text_of(calling) == f"r\n{CALL_TEXT}"


def test_calls_that_cannot_be_read_are_text_all_the_same() -> None:
    assert text_of({"tool_calls": [{"function": {}}]}) == '[{"function": {}}]'
    assert text_of({"content": None, "function_call": "f()"}) == '"f()"'
    said = {"from": "function_call", "value": "f()"}
    assert decode_conversation({"conversations": [said]}).texts == [("assistant", "f()")]


def test_half_a_character_is_replaced_in_texts_alone() -> None:
    found = decode_conversation({"text": "a\ud83d", "id": "\udc00"})
    assert found.texts == [("assistant", "a\N{REPLACEMENT CHARACTER}")]
    assert (found.turns[0].content, found.rest) == ("a\ud83d", {"id": "\udc00"})


TOLD = [
    ({"messages": [], "prompt": "q", "completion": "a"}, "prompt_completion"),
    ({"messages": "q", "prompt": "q", "completion": "a"}, "prompt_completion"),
    ({"messages": [], "text": "a"}, "text"),
    ({"messages": []}, "messages"),
    ({"messages": None, "dialogs": [], "conversations": []}, "xsample"),
    ({"instruction": "", "input": "q", "output": "a"}, "alpaca"),
    ({"instruction": "q", "output": ""}, "alpaca"),
    ({"instruction": "q", "output": "", "prompt": "p", "completion": "c"}, "prompt_completion"),
    ({"instruction": "q", "output": "a", "prompt": "p", "completion": "c"}, "alpaca"),
    ({"prompt": "p", "completion": "c", "question": "q", "answer": "a"}, "prompt_completion"),
    ({"question": "q", "answer": ""}, "columns"),
    ({"question": "q", "answer": "", "text": "t"}, "columns"),
    ({"question": "q", "answer": 4}, None),
    ({"question": "q", "answers": {"text": ["a"]}}, None),
    ({"question": "q", "problem": "p", "generation": "g"}, None),  # Which is it?
    ({"prompt": 5, "completion": "c"}, None),
    ({"prompt": "p", "completion": [{"content": "c"}]}, None),
    ({"text": ["t"]}, None),
    ({"text": ""}, None),
    ({"chosen": "a", "rejected": None}, None),
    ({"chosen": 1, "rejected": 0, "text": "t"}, "text"),
    ({"chosen": "c", "rejected": "r", "instruction": "q", "output": "a"}, "alpaca"),
    ({"chosen": "c", "rejected": "r", "instruction": "q", "output": ""}, "preference"),
]


@pytest.mark.parametrize(("record", "layout"), TOLD)
def test_which_layout_is_told(record: dict[str, Any], layout: str | None) -> None:
    assert told_conversation_format(record) == layout
    assert told_conversation_format(dict(reversed(record.items()))) == layout


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("question answer solution", "question solution"),
        ("question answer response", "question answer"),
        ("problem answer solution", "problem solution"),
        ("query answer response question", "question answer"),
        ("instruction input response", "instruction+input response"),
        ("instruction context response", "instruction+context response"),
        ("input target", "input target"),
        ("prompt answer", "prompt answer"),
        ("instruction input completion", "instruction+input completion"),
    ],
)
def test_which_columns_are_question_and_answer(fields: str, expected: str) -> None:
    record = {name: f"the {name}" for name in fields.split()}
    asked, answered = expected.split()
    question = "\n".join(f"the {name}" for name in asked.split("+"))
    texts = [("user", question), ("assistant", f"the {answered}")]
    for order in (record, dict(reversed(record.items()))):
        assert decode_conversation(order).texts == texts


def said(role: str, text: str) -> dict[str, str]:
    return {"role": role, "content": text}


ASKED, ANSWERED = said("user", "q"), said("assistant", "a")
SAME = [("user", "q"), ("assistant", "a")]
PREFERRED: list[tuple[dict[str, Any], list[tuple[str, str]]]] = [
    # The answers repeat what leads up to them, in whole or but for the system prompt.
    ({"messages": [ASKED], "chosen": [ASKED, ANSWERED]}, SAME),
    (
        {"prompt": [said("system", "s"), ASKED], "chosen": [ASKED, ANSWERED]},
        [("system", "s"), *SAME],
    ),
    (
        {"prompt": [ASKED], "chosen": [said("system", "s"), ASKED, ANSWERED]},
        [("system", "s"), *SAME],
    ),
    ({"prompt": [said("system", "s")], "chosen": [ASKED, ANSWERED]}, [("system", "s"), *SAME]),
    # The prompt says it in other words, and stays in the record.
    ({"prompt": "User: q", "chosen": [ASKED, ANSWERED]}, SAME),
    # Strings.
    ({"messages": [ASKED], "chosen": "a"}, SAME),
    ({"instruction": "q", "input": "i", "chosen": "a"}, [("user", "q\ni"), ("assistant", "a")]),
    (
        {"query": "q", "history": [["p", "o"]], "chosen": "a"},
        [("user", "p"), ("assistant", "o"), *SAME],
    ),
    ({"chosen": "A text."}, [("assistant", "A text.")]),
    ({"chosen": "\n\nHuman: q\n\nAssistant: a"}, SAME),
    ({"chosen": "\n\nHuman: q\n\nAssistant: a\n\nHuman: q\n\nAssistant: a"}, SAME * 2),
    ({"chosen": "So\n\nHuman: q"}, [("assistant", "So\n\nHuman: q")]),
]


@pytest.mark.parametrize(("record", "expected"), PREFERRED)
def test_chosen_answers_follow_what_leads_up_to_them(
    record: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    chosen = record["chosen"]
    rejected = "worse" if isinstance(chosen, str) else [said("assistant", "worse")]
    found = decode_conversation({**record, "rejected": rejected})
    assert (found.layout, found.texts) == ("preference", expected)
    if ("user", "q") in expected and record.get("prompt") != "User: q":
        written = encode_conversation(found, "prompt_completion")
        assert written["completion"] == [said("assistant", "a")]
    assert found.rest.pop("rejected") == rejected
    assert found.rest == ({"prompt": "User: q"} if record.get("prompt") == "User: q" else {})


def test_fields_that_are_named_go_before_all_others() -> None:
    record = {"messages": [ASKED, ANSWERED], "question": "x", "answer": "y", "ask": "q", "say": "a"}
    assert decode_conversation(record).layout == "messages"
    for names in (
        {"question": "ask", "answer": "say"},
        {"prompt": "ask", "completion": "say"},
        {"instruction": "ask", "output": "say"},
        {"query": "ask", "response": "say"},
    ):
        assert decode_conversation(record, FieldNames.of(names)).texts == SAME
    assert decode_conversation(record, FieldNames.of({"answer": "say"})).texts == [
        ("user", "x"),
        ("assistant", "a"),
    ]
    text = FieldNames.of({"text": "ask"})
    assert decode_conversation(record, text).texts == [("assistant", "q")]
    better = {"ask": "q", "good": "a", "bad": "b"}
    names = {"prompt": "ask", "chosen": "good", "rejected": "bad"}
    assert decode_conversation(better, FieldNames.of(names)).texts == SAME
    with pytest.raises(InputError, match="prompt and completion are both ask"):
        FieldNames.of({"prompt": "ask", "completion": "ask"})


UNKNOWN = [
    (
        {"ask": "1?", "reply": "2", "id": "7"},
        "; perhaps --field=instruction=ask --field=output=reply do",
    ),
    ({"question": "1?", "reply": "2"}, "; perhaps --field=answer=reply does"),
    (
        {"post_id": "17", "Question": "1?", "A": "A long one.", "Answer": "2"},
        "; perhaps --field=question=Question --field=answer=Answer do",
    ),
    ({"body": "A text.", "n": 1}, "; perhaps --field=text=body does"),
    # The other question is no answer to the first, nor is what stands beside one in figures.
    ({"question": "1?", "prompt": "1?", "gold": "2"}, "; perhaps --field=answer=gold does"),
    ({"problem": "1?", "answer": 27.0, "url": "u", "note": "n"}, "url (a string), note (a string)"),
    (
        {"my chat": [{"speaker": "user", "says": "q"}, {"speaker": "bot", "says": "a"}]},
        "my chat (a list of objects); perhaps '--field=messages=my chat' --field=role=speaker "
        "--field=content=says do",
    ),
    ({"n": 1, "xs": ["a"], "o": {}}, "found n (a number), xs (a list of strings), o (an object)"),
    ({f"f{n}": n for n in range(20)}, "f11 (a number), 8 more"),
    ({"a\x1b[31m\nb": "x"}, "found a\\x1b[31m\\nb (a string)"),
]


@pytest.mark.parametrize(("record", "told"), UNKNOWN)
def test_a_record_without_a_conversation_is_told_with_its_fields(
    record: dict[str, Any], told: str
) -> None:
    with pytest.raises(BadRecord) as refused:
        decode_conversation(record)
    assert str(refused.value).startswith("found no conversation; expected messages (turns with")
    assert str(refused.value).endswith(told)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(("record", "told"), UNKNOWN[:4])
def test_the_flags_that_are_named_do(record: dict[str, Any], told: str) -> None:
    words = [word for word in shlex.split(told) if word.startswith("--field=")]
    names = FieldNames.parse(word.removeprefix("--field=") for word in words)
    assert decode_conversation(record, names).texts
