"""Records written in another layout or as a table, and what a trainer is told of them."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from mig_jax import data
from mig_jax.errors import InputError

USUAL = data.FieldNames()

SAID = [("system", "s é😀"), ("user", "q"), ("assistant", "a"), ("user", "r"), ("assistant", "b")]
MESSAGES = {"messages": [{"role": role, "content": said} for role, said in SAID]}
NAMES = {"system": "system", "user": "human", "assistant": "gpt"}
SHAREGPT = {"conversations": [{"from": NAMES[role], "value": said} for role, said in SAID]}
ALPACA = {
    "instruction": "r",
    "input": "",
    "output": "b",
    "system": "s é😀",
    "history": [["q", "a"]],
}
LAYOUTS = {"messages": MESSAGES, "sharegpt": SHAREGPT, "alpaca": ALPACA}


def pool(folder: Path, records: list[dict[str, Any]]) -> data.RecordTable:
    path = folder / "pool.jsonl"
    lines = [json.dumps({"labels": ["x"], "score": 1, **record}) + "\n" for record in records]
    path.write_text("".join(lines))
    return data.read_pool([path])


def written(table: data.RecordTable, picks: list[int], **options: Any) -> bytes:
    stream = io.BytesIO()
    data.write_records(table, picks, stream, **options)
    return stream.getvalue()


@pytest.mark.parametrize("source", LAYOUTS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout_from_each(tmp_path: Path, source: str, layout: str) -> None:
    table = pool(tmp_path, [LAYOUTS[source] | {"id": n} for n in range(4)])
    convert = data.RecordConverter(data.WrittenForm(layout))
    lines = written(table, [3, 0, 2], convert=convert).splitlines()
    expected = [LAYOUTS[layout] | {"labels": ["x"], "score": 1, "id": n} for n in (3, 0, 2)]
    assert [json.loads(line) for line in lines] == expected


def test_as_they_came_is_byte_for_byte(tmp_path: Path) -> None:
    table = pool(tmp_path, [MESSAGES, SHAREGPT])
    convert = data.RecordConverter()
    lines = Path(table.files[0]).read_bytes().splitlines(keepends=True)
    assert written(table, [1, 0], convert=convert) == lines[1] + lines[0]


def test_a_record_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    odd = {"messages": [{"role": "user", "content": "q"}]}
    table = pool(tmp_path, [MESSAGES, odd])
    with pytest.raises(InputError) as caught:
        written(table, [1, 0], convert=data.RecordConverter(data.WrittenForm("alpaca")))
    assert str(caught.value).startswith(f"{table.files[0]}, line 2: found 1 turns")


@pytest.mark.parametrize("count", [1, 3000])
def test_rows_of_a_table(tmp_path: Path, count: int) -> None:
    # Fields that come and go, and a number that is whole in the first records only.
    records: list[dict[str, Any]] = [
        {
            "n": n if n < 2000 else n / 3,
            "labels": ["x"],
            "score": 1.0,
            "text": "é😀",
            "deep": {"a": [n]},
        }
        for n in range(count)
    ]
    if count > 1:
        records[count // 2] = {**records[count // 2], "late": True, "deep": {"b": "only here"}}
    table = pool(tmp_path, records)
    picks = list(range(count))[::-1]
    content = written(table, picks, form="parquet")
    (tmp_path / "out.parquet").write_bytes(content)
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    for row, record in zip(rows, records[::-1], strict=True):
        if count > 1:  # Objects with different names: JSON.
            row["deep"] = json.loads(row["deep"])
        assert {k: v for k, v in row.items() if v is not None} == record
    again = data.read_pool([tmp_path / "out.parquet"])
    assert again.num_records == count


def test_no_records_are_an_empty_table(tmp_path: Path) -> None:
    table = pool(tmp_path, [{"x": 1}, {"x": "text"}])
    assert pq.read_table(io.BytesIO(written(table, [], form="parquet"))).num_rows == 0


def entry(
    table: data.RecordTable, layout: str | None, names: data.FieldNames = USUAL
) -> dict[str, Any]:
    form = data.WrittenForm(layout, for_llama_factory=True)
    convert = data.RecordConverter(form, names)
    written(table, list(range(table.num_records)), convert=convert)
    return data.dataset_info_entry(convert.readings, form.names_written(names), "out.jsonl")


# As the README in the folder `data` of LLaMA-Factory has them.
TAGS = {"observation_tag": "tool", "function_tag": "function_call", "system_tag": "system"}
ENTRIES: dict[str, dict[str, Any]] = {
    "messages": {
        "file_name": "out.jsonl",
        "formatting": "sharegpt",
        "columns": {"messages": "messages"},
        "tags": {
            "role_tag": "role",
            "content_tag": "content",
            "user_tag": "user",
            "assistant_tag": "assistant",
            **TAGS,
        },
    },
    "sharegpt": {
        "file_name": "out.jsonl",
        "formatting": "sharegpt",
        "columns": {"messages": "conversations"},
        "tags": {
            "role_tag": "from",
            "content_tag": "value",
            "user_tag": "human",
            "assistant_tag": "gpt",
            **TAGS,
            "observation_tag": "observation",
        },
    },
    "alpaca": {
        "file_name": "out.jsonl",
        "formatting": "alpaca",
        "columns": {
            "prompt": "instruction",
            "query": "input",
            "response": "output",
            "system": "system",
            "history": "history",
        },
    },
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_entries_of_layouts(tmp_path: Path, layout: str) -> None:
    assert entry(pool(tmp_path, [MESSAGES]), layout) == ENTRIES[layout]
    assert entry(pool(tmp_path, [LAYOUTS[layout]]), None) == ENTRIES[layout]


def test_an_entry_names_the_columns_that_there_are(tmp_path: Path) -> None:
    brief = [
        {"instruction": "q", "output": "a"},
        {"instruction": "q", "output": "a", "tools": "[]"},
    ]
    columns = {"prompt": "instruction", "response": "output", "tools": "tools"}
    assert entry(pool(tmp_path, brief), None)["columns"] == columns
    with_system = [{**SHAREGPT, "conversations": SHAREGPT["conversations"][1:], "system": "s"}]
    expected = {"messages": "conversations", "system": "system"}
    assert entry(pool(tmp_path, with_system), None)["columns"] == expected
    with_system = [{"messages": MESSAGES["messages"][1:], "system": "s"}]
    expected = {"messages": "messages", "system": "system"}
    assert entry(pool(tmp_path, with_system), None)["columns"] == expected


def test_an_entry_takes_the_names_that_the_records_have(tmp_path: Path) -> None:
    names = data.FieldNames.of({"messages": "chat", "role": "by", "content": "said"})
    chat = [{"by": "human", "said": "q"}, {"by": "model", "said": "a"}]
    found = entry(pool(tmp_path, [{"chat": chat}]), None, names=names)
    assert found["columns"] == {"messages": "chat"}
    assert (found["tags"]["role_tag"], found["tags"]["content_tag"]) == ("by", "said")
    assert (found["tags"]["user_tag"], found["tags"]["assistant_tag"]) == ("human", "model")
    assert entry(pool(tmp_path, [{"chat": chat}]), "messages", names=names) == ENTRIES["messages"]


def test_what_no_entry_can_tell(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match="--dataset_info: the records have the layouts messages and sh"
    ):
        entry(pool(tmp_path, [MESSAGES, SHAREGPT]), None)
    answer = {"role": "assistant", "content": "a"}
    mixed = {
        "messages": [
            *({"role": "user", "content": "q"}, answer),
            *({"role": "human", "content": "q"}, answer),
        ]
    }
    with pytest.raises(
        InputError, match="the turns of the user are named human and user; expected"
    ):
        entry(pool(tmp_path, [mixed]), None)
    with pytest.raises(InputError, match=r"messages\[0\]: the turn names no role"):
        entry(pool(tmp_path, [{"messages": [{"content": "q"}, {"content": "a"}]}]), None)
    with pytest.raises(InputError, match="line 1: found no conversation"):
        entry(pool(tmp_path, [{}]), None)


def test_dataset_info_keeps_its_other_entries(tmp_path: Path) -> None:
    path = tmp_path / "dataset_info.json"
    assert json.loads(data.updated_dataset_info(str(path), "mine", {"a": 1})) == {"mine": {"a": 1}}
    path.write_text('\ufeff{"z": {"file_name": "é\\ud800"}, "mine": {"old": 1}, "b": {}}')
    found = data.updated_dataset_info(str(path), "mine", {"a": 1})
    assert json.loads(found) == {"z": {"file_name": "é\ud800"}, "mine": {"a": 1}, "b": {}}
    assert list(json.loads(found)) == ["z", "mine", "b"]
    for content in ("[]", "{", "\udcff"):
        path.write_bytes(content.encode("utf-8", "surrogateescape"))
        with pytest.raises(InputError, match=r"dataset_info.json: .*; expected a JSON object"):
            data.updated_dataset_info(str(path), "mine", {})
