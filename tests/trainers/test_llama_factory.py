"""LLaMA-Factory trains on all that select registers with it; what it would skip is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mig_jax import data
from tests.running import mig, refused
from tests.trainers.llama_factory import DEFAULT_TAGS, Reader, by_its_rules, by_itself
from tests.trainers.selections import CONVERSATIONS, POOLS, loaded, selection

READERS = [by_its_rules, by_itself]
FORM = data.WrittenForm(for_llama_factory=True)


def entry_of(records: list[dict[str, Any]]) -> dict[str, Any]:
    readings = [data.read_as_llama_factory(record) for record in records]
    return data.dataset_info_entry(readings, data.FieldNames(), "picked.jsonl")


MESSAGES_TAGS = {
    "role_tag": "role",
    "content_tag": "content",
    "user_tag": "user",
    "assistant_tag": "assistant",
    "observation_tag": "tool",
    "function_tag": "function_call",
    "system_tag": "system",
}
# What would be registered if nothing were refused.
USUAL_ENTRIES: dict[str, dict[str, Any]] = {
    "messages": {
        "formatting": "openai",
        "columns": {"messages": "messages"},
        "tags": MESSAGES_TAGS,
    },
    "sharegpt": {
        "formatting": "sharegpt",
        "columns": {"messages": "conversations"},
        "tags": DEFAULT_TAGS,
    },
}


def turns_of(layout: str, roles: list[str]) -> dict[str, Any]:
    """A record in which turn n says tn. or calls a tool with it."""
    turns: list[dict[str, Any]] = []
    for place, role in enumerate(roles):
        said = f"t{place}."
        if layout == "sharegpt":
            call = json.dumps({"name": "f", "arguments": {"x": said}})
            names = {"user": "human", "assistant": "gpt", "tool": "observation"}
            turns.append(
                {"from": "function_call", "value": call}
                if role == "call"
                else {"from": names.get(role, role), "value": said}
            )
        elif role == "call":
            function = {"name": "f", "arguments": json.dumps({"x": said})}
            calls = [{"id": "c", "type": "function", "function": function}]
            turns.append({"role": "assistant", "content": None, "tool_calls": calls})
        else:
            turns.append({"role": role, "content": said})
    return {"messages" if layout == "messages" else "conversations": turns}


def reads_all(read: Reader, entry: dict[str, Any], record: dict[str, Any], count: int) -> bool:
    """Whether every turn is in what is trained on."""
    found = read(entry, record)
    if found is None:
        return False
    text = "".join([found["system"], *found["prompt"], *found["response"]])
    return all(f"t{place}." in text for place in range(count))


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("layout", USUAL_ENTRIES)
@given(roles=st.lists(st.sampled_from(["system", "user", "assistant", "tool", "call"]), max_size=6))
@settings(max_examples=300)
def test_turns_are_refused_if_and_only_if_it_would_lose_some(
    read: Reader, layout: str, roles: list[str]
) -> None:
    record = turns_of(layout, roles)
    try:
        entry = entry_of([record])
    except data.BadRecord:
        assert not reads_all(read, USUAL_ENTRIES[layout], record, len(roles)) or not roles
    else:
        assert reads_all(read, entry, record, len(roles))


@pytest.mark.slow
@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
@pytest.mark.parametrize("layout", ["as_it_came", "messages", "sharegpt", "alpaca"])
@pytest.mark.parametrize("source", ["messages", "sharegpt", "alpaca"])
def test_all_of_a_selection_is_trained_on(
    tmp_path: Path, source: str, layout: str, ending: str, read: Reader
) -> None:
    pytest.importorskip("datasets")
    info = tmp_path / "dataset_info.json"
    flags = (f"--output_layout={layout}", f"--dataset_info={info}")
    output = selection(tmp_path, POOLS[source], *flags, ending=ending)
    entry = json.loads(info.read_text())["picked"]
    assert entry["file_name"] == output.name
    found = []
    for record in loaded(output):
        taught = read(entry, record)
        assert taught is not None
        (answer,) = taught["response"]
        system = [taught["system"]] if taught["system"] else []
        found.append([*system, *taught["prompt"], answer])
    assert sorted(found) == sorted([turn["content"] for turn in turns] for turns in CONVERSATIONS)


BAD: dict[str, list[str]] = {
    "field messages[1]: the user speaks after the user": ["user", "user", "assistant"],
    "field messages[0]: the assistant speaks first": ["assistant", "user", "assistant"],
    "field messages[2]: the user has the last word": ["user", "assistant", "user"],
    "field messages[2]: the tool has the last word": ["user", "call", "tool"],
    "field messages[2]: the system speaks after the assistant": ["user", "assistant", "system"],
    "field messages[0]: found a system turn only": ["system"],
    "field messages: found no turns": [],
}


@pytest.mark.parametrize("problem", BAD)
def test_what_it_would_skip_is_refused_by_line_before_the_work(
    tmp_path: Path, problem: str
) -> None:
    pool, output = tmp_path / "pool.jsonl", tmp_path / "picked.jsonl"
    good = turns_of("messages", ["system", "user", "call", "tool", "tool", "assistant"])
    records = [good, turns_of("messages", BAD[problem]), good]
    pool.write_text("".join(json.dumps({"labels": ["x"], "score": 1} | r) + "\n" for r in records))
    words = [f"--pool={pool}", f"--output={output}", "--cache=none"]
    words.append(f"--dataset_info={tmp_path / 'dataset_info.json'}")
    told = refused("select", *words, "--budget=2")
    assert f"{pool}, line 2, {problem}; LLaMA-Factory " in told
    assert "--on_bad_record=skip" in told
    assert [path.name for path in tmp_path.iterdir()] == ["pool.jsonl"]
    done = mig("select", *words, "--budget=2", "--on_bad_record=skip", "--drop_field=labels")
    assert done.returncode == 0, done.stderr
    (line,) = (tmp_path / "picked.rejected.jsonl").read_text().splitlines()
    assert json.loads(line)["line"] == 2
    entry = json.loads((tmp_path / "dataset_info.json").read_text())["picked"]
    for written in output.read_text().splitlines():
        assert reads_all(by_its_rules, entry, json.loads(written), 6)


def kto(wanted: bool) -> dict[str, Any]:
    return {**turns_of("messages", ["user", "assistant"]), "label": wanted}


@pytest.mark.parametrize("read", READERS)
def test_answers_that_are_not_wanted_are_registered_as_such(read: Reader) -> None:
    entry = entry_of([kto(True), kto(False)])
    assert entry["columns"] == {"messages": "messages", "kto_tag": "label"}
    assert read(entry, kto(False)) is None  # Nothing to imitate.
    assert read(entry_of([turns_of("messages", ["user", "assistant"])]), kto(False)) is not None


def test_records_for_two_stages_are_refused_before_the_work(tmp_path: Path) -> None:
    pool = tmp_path / "pool.jsonl"
    records = [kto(True), turns_of("messages", ["user", "assistant"])]
    pool.write_text("".join(json.dumps({"labels": ["x"], "score": 1} | r) + "\n" for r in records))
    words = [f"--pool={pool}", f"--output={tmp_path / 'o.jsonl'}", "--cache=none", "--budget=1"]
    told = refused("select", *words, f"--dataset_info={tmp_path / 'dataset_info.json'}")
    assert "the records are for the stages kto and sft; expected one" in told
    assert [path.name for path in tmp_path.iterdir()] == ["pool.jsonl"]
    done = mig("select", *words, f"--dataset_info={tmp_path / 'd.json'}", "--drop_field=label")
    assert done.returncode == 0, done.stderr


def test_what_it_does_to_calls_is_told() -> None:
    def called(arguments: Any) -> dict[str, Any]:
        record = turns_of("messages", ["user", "call", "tool", "assistant"])
        record["messages"][1]["tool_calls"][0]["function"]["arguments"] = arguments
        return record

    def notes(*arguments: Any) -> str:
        readings = [data.read_as_llama_factory(called(given)) for given in arguments]
        return " ".join(data.dataset_info_notes(readings))

    assert "quotes the arguments of calls once more" in notes('{"a": 1}')
    assert "quotes" not in notes({"a": 1}, {"a": 2})
    assert "null" not in notes({"a": 1}, {"a": 2})
    assert "fills in null in arguments for names that others have" in notes({"a": 1}, {"b": 2})
    assert "--output_layout=sharegpt" in notes({"a": 1})


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"tool_calls": [{"name": "f"}]}, "found no call that LLaMA-Factory reads"),
        ({"tool_calls": None, "function_call": {"name": "f"}}, "a call of OpenAI's older form"),
        ({"tool_calls": None, "content": [{"type": "text"}]}, "the text is no string"),
    ],
)
def test_calls_that_it_loses_are_refused(change: dict[str, Any], problem: str) -> None:
    record = turns_of("messages", ["user", "call", "tool", "assistant"])
    record["messages"][1] |= change
    with pytest.raises(data.BadRecord, match=problem):
        FORM.check(record)


@pytest.mark.parametrize("value", ["{", '{"name": "f"}', "[]", "[1]", "6"])
def test_a_call_of_sharegpt_that_is_no_call_is_refused(value: str) -> None:
    record = turns_of("sharegpt", ["user", "call", "tool", "assistant"])
    FORM.check(record)
    record["conversations"][1]["value"] = value
    with pytest.raises(data.BadRecord, match="no JSON object with name and arguments"):
        FORM.check(record)


def test_two_results_in_sharegpts_form_are_told_what_helps() -> None:
    record = turns_of("sharegpt", ["user", "call", "tool", "tool", "assistant"])
    with pytest.raises(data.BadRecord, match="--output_layout=messages writes it"):
        FORM.check(record)
