"""Texts of records, of pools and of validation files, and what is told of bad ones."""

from __future__ import annotations

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mig_jax import data
from mig_jax.errors import InputError
from mig_jax.synthetic import BuiltinPool


def _turns(*contents, roles=("user", "assistant")):
    return [{"role": roles[n % 2], "content": text} for n, text in enumerate(contents)]


def _plain(question, answer, **more):
    return {"messages": _turns(question, answer), "labels": ["x"], "score": 1.0, **more}


def instruction_and_response(record):
    found = data.decode_conversation(data.parse_record(json.dumps(record).encode()))
    return data.instruction_and_response(found)


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"messages": _turns("q", "a")}, ("q", "a")),
        ({"dialogs": _turns("q", "a", "r", "b")}, ("q\na\nr", "b")),
        ({"messages": _turns("q", "a", "thanks")}, ("q", "a")),
        ({"messages": [{"content": "q"}, {"content": "a"}], "extra": 1}, ("q", "a")),
        ({"messages": [{"role": "system", "content": "s"}, *_turns("q", "a")]}, ("s\nq", "a")),
    ],
)
def test_instruction_and_response(record, expected):
    assert instruction_and_response(record) == expected


@pytest.mark.parametrize(
    ("record", "told"),
    [
        ({"note": 1}, "found no conversation"),
        ({"messages": _turns("q")}, "found 1 turns; expected a question"),
        ({"dialogs": []}, "found 0 turns"),
        ({"messages": "q"}, "messages"),
        ({"messages": [{"role": "user"}]}, "content"),
        ([], "found a list; expected one JSON object a line"),
        (
            [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
            "found a list; expected one JSON object a line: `jq -c '{messages: .}'` makes one",
        ),
        ([{"from": "human", "value": "a"}] * 2, "line: `jq -c '{conversations: .}'` makes one"),
        (["a", "b"], "expected one JSON object a line: `jq -c '{conversations: .}'` makes one"),
    ],
)
def test_records_without_a_conversation_are_told(record, told):
    with pytest.raises(data.BadRecord, match=told):
        instruction_and_response(record)


def test_texts_of_pools_in_every_kind_of_file(tmp_path):
    records = [_plain(f"question {n}", f"answer {n}") for n in range(5)]
    lines = "".join(json.dumps(record) + "\n\n" for record in records).encode()
    (tmp_path / "a.jsonl").write_bytes(lines)
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(lines))
    pq.write_table(pa.Table.from_pylist(records), tmp_path / "c.parquet")
    table = data.read_pool([tmp_path / name for name in ("a.jsonl", "b.jsonl.gz", "c.parquet")])
    expected = [(f"question {n}", f"answer {n}") for n in range(5)]
    assert list(data.read_texts(table)) == expected * 3


def test_texts_of_the_built_in_pool():
    builtin = BuiltinPool(records=30, labels=12, topics=3)
    found = list(data.read_texts(builtin.table()))
    expected = [json.loads(line)["messages"] for line in builtin.lines()]
    assert found == [(turns[0]["content"], turns[1]["content"]) for turns in expected]


def test_a_record_of_a_pool_without_text_is_told_with_its_line(tmp_path):
    records = [_plain("q", "a"), {"labels": ["x"], "score": 1.0}]
    path = tmp_path / "pool.jsonl"
    path.write_text("\n".join(map(json.dumps, records)))
    table = data.read_pool([path])
    with pytest.raises(InputError, match=r"pool.jsonl, line 2: found no conv"):
        list(data.read_texts(table))


def test_validation_sets(tmp_path):
    records = [
        {"messages": _turns("q0", "a0"), "labels": ["b", "a", "b"], "task": "sums"},
        {"messages": _turns("q1", "a1"), "task": "talk"},
        {"messages": _turns("q2", "a2"), "mig_jax": {"labels": ["c"]}, "labels": 3, "task": "sums"},
    ]
    path = tmp_path / "dev.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, records)).encode()))
    found = data.read_validation(path)
    assert found.conversations == [("q0", "a0"), ("q1", "a1"), ("q2", "a2")]
    assert found.label_lists == [["b", "a"], [], ["c"]]
    assert found.label_ids(["a", "b"]) == [[1, 0], [], []]
    sums = found.of_group("sums")
    assert (len(sums), sums.conversations[1], sums.groups.tolist()) == (
        2,
        ("q2", "a2"),
        ["sums"] * 2,
    )
    with pytest.raises(InputError, match="no record of task 'poems'; expected one of sums, talk"):
        found.of_group("poems")
    with pytest.raises(InputError, match="none of its labels is a label of the pool"):
        found.label_ids(["z"])
    with pytest.raises(InputError, match="no record has labels"):
        found.of_group("talk").label_ids(["a"])


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "holds 0 records"),
        (json.dumps(_plain("q", "a")), "holds 1 records; expected at least 2"),
        ('{"messages": 1}', "line 1"),
        (
            json.dumps(_plain("q", "a", labels="x")),
            "line 1, field labels: found a string, expected a list",
        ),
        (json.dumps(_plain("q", "a", task=3)), "line 1, field task: expected a string"),
        ("no JSON", "line 1"),
    ],
)
def test_bad_validation_files_are_told(tmp_path, content, told):
    path = tmp_path / "dev.jsonl"
    path.write_text(content)
    with pytest.raises(InputError, match=told) as refused:
        data.read_validation(path)
    assert "\n" not in str(refused.value)
    with pytest.raises(InputError, match="nowhere"):
        data.read_validation(tmp_path / "nowhere.jsonl")
