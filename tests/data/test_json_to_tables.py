"""JSON lines written as Parquet: nothing is invented, nothing is lost."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mig_jax import data


def as_table(folder: Path, records: list[dict[str, Any]]) -> Path:
    """The records by way of a pool of JSON lines."""
    pool, output = folder / "pool.jsonl", folder / "out.parquet"
    lines = (json.dumps({"labels": ["x"], "score": 1.5, **record}) for record in records)
    pool.write_text("\n".join(lines))
    with open(output, "wb") as stream:
        data.write_records(data.read_pool([pool]), range(len(records)), stream, form="parquet")  # type: ignore[arg-type]
    return output


def decoded(kind: pa.DataType, value: Any) -> Any:
    """A value of a table with its JSON parsed, found without what is tested."""
    if value is None:
        return None
    if isinstance(kind, pa.JsonType):
        return json.loads(value)
    if pa.types.is_struct(kind):
        return {field.name: decoded(field.type, value[field.name]) for field in kind}
    if pa.types.is_list(kind):
        return [decoded(kind.value_type, element) for element in value]
    return value


def rows_of(path: Path) -> list[dict[str, Any]]:
    table = pq.read_table(path)
    return [
        {field.name: decoded(field.type, row[field.name]) for field in table.schema}
        for row in table.to_pylist()
    ]


def same(found: Any, wanted: Any) -> bool:
    """Equal with types: 1, 1.0 and true are three."""
    return json.dumps(found, sort_keys=True) == json.dumps(wanted, sort_keys=True)


CALLS = [
    {"name": "f", "arguments": {"ticker": "A", "days": 3}},
    {"name": "g", "arguments": {}},
    {"name": "h", "arguments": {"days": 2.5, "city": None}},
    {"name": "i", "arguments": {"deep": [{"a": 1}, {"b": [[]]}, "text", None]}},
]


# What stands in the field x of each record, and the type of its column.
COLUMNS: dict[str, tuple[list[Any], str]] = {
    "calls": (CALLS, "struct<name: string, arguments: extension<arrow.json>>"),
    "calls_of_turns": (
        [[{"calls": CALLS[:2]}], [{"calls": CALLS[2:]}], []],
        "list<element: struct<calls: list<element: struct<name: string, arguments: "
        "extension<arrow.json>>>>>",
    ),
    "turns_of_two_kinds": (
        [[{"role": "user", "content": "q"}, {"role": "tool", "content": "r", "name": "f"}]],
        "list<element: extension<arrow.json>>",
    ),
    "turns": (
        [[{"role": "user", "content": None}], [{"content": "q", "role": "user"}]],
        "list<element: struct<role: string, content: string>>",
    ),
    "nothing_in_it": ([{"a": {}}, {"a": {}}], "struct<a: extension<arrow.json>>"),
    "null_or_nothing": ([{"a": None}, {}, None], "extension<arrow.json>"),
    "null_objects": ([{"a": None}, {"a": {"b": 1}}, None], "struct<a: struct<b: int64>>"),
    "number_and_text": ([1, "1", None], "extension<arrow.json>"),
    "list_and_text": ([["a"], "a"], "extension<arrow.json>"),
    "truth_and_number": ([True, 1], "extension<arrow.json>"),
    "elements_of_two_kinds": ([[1, "a"], [None]], "list<element: extension<arrow.json>>"),
    "whole": ([1, -1, 2**63 - 1], "int64"),
    "whole_and_large": ([1, 2**64 - 1], "uint64"),
    "larger": ([1, 10**30, -1], "extension<arrow.json>"),
    "negative_and_large": ([-1, 2**63], "extension<arrow.json>"),
    "not_whole": ([1.0, 2.5], "double"),
    "whole_in_arguments": (
        [[{"n": 3}], [{"n": 3.0}]],
        "list<element: struct<n: extension<arrow.json>>>",
    ),
    "whole_and_beyond_float": ([2.5, 2**53 + 1], "extension<arrow.json>"),
    "empty_lists": ([[], []], "list<element: null>"),
    "lists_of_lists": ([[[]], [[1], None]], "list<element: list<element: int64>>"),
    "no_name": ([{"": 1}], "extension<arrow.json>"),
    "dots": ([{"a.b": "é\u0000😀"}], "struct<a.b: string>"),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_the_smallest_part_that_needs_it_is_json(name: str, tmp_path: Path) -> None:
    values, kind = COLUMNS[name]
    path = as_table(tmp_path, [{"x": value} for value in values])
    field = pq.read_schema(path).field("x")
    assert str(field.type) == kind
    found = [row["x"] for row in rows_of(path)]
    assert same(found, values)


def test_whole_and_other_numbers_of_a_column_are_floating(tmp_path: Path) -> None:
    path = as_table(tmp_path, [{"x": 1}, {"x": 2.5}, {"y": [1, 0.5]}])
    assert pq.read_table(path)["x"].to_pylist() == [1.0, 2.5, None]
    assert pq.read_table(path)["y"].to_pylist() == [None, None, [1.0, 0.5]]


def test_what_json_has_not(tmp_path: Path) -> None:
    path = as_table(tmp_path, [{"x": math.nan, "y": [math.inf]}, {"x": 1.5, "y": []}])
    table = pq.read_table(path)
    assert math.isnan(table["x"].to_pylist()[0])
    assert table["y"].to_pylist() == [[math.inf], []]


def test_half_characters_are_json(tmp_path: Path) -> None:
    from mig_jax.data.files import JsonColumn

    column = JsonColumn()
    values = ["\ud83d", "ok", {"\udc00": 1}]
    for value in values[:2]:
        column.see(value)
    found = column.array(values[:2]).to_pylist()
    assert [json.loads(text) for text in found] == values[:2]
    assert column.is_text


LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=3),
)
NAMES = st.sampled_from(["a", "b", "é", "a.b", ""])
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3)
)
# Few forms, so that records often agree.
FORMS = st.one_of(
    VALUES,
    st.fixed_dictionaries({"a": st.lists(st.integers(0, 3)), "b": st.none() | st.text(max_size=2)}),
    st.lists(st.fixed_dictionaries({"role": st.text(max_size=2), "calls": VALUES})),
)


@pytest.mark.slow
@settings(deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from(["u", "v", "w"]), FORMS, max_size=3), min_size=1))
def test_any_json_comes_back(records: list[dict[str, Any]]) -> None:
    from mig_jax.data.files import JsonColumn

    for name in ("u", "v", "w"):
        values = [record.get(name) for record in records]
        column = JsonColumn()
        for value in values:
            column.see(value)
        stream = io.BytesIO()
        schema = pa.schema([column.field("x")])
        pq.write_table(pa.Table.from_arrays([column.array(values)], schema=schema), stream)
        table = pq.read_table(stream)
        found = [decoded(table.schema.field("x").type, value) for value in table["x"].to_pylist()]
        assert found == values
        if table.schema.field("x").type != pa.float64():
            assert same(_without_mixed(found), _without_mixed(values))


def _without_mixed(value: Any) -> Any:
    """Whole numbers as floating ones outside lists of objects, where they may share a column."""
    if isinstance(value, list):
        return [v if isinstance(v, dict) else _without_mixed(v) for v in value]
    if isinstance(value, dict):
        return {name: _without_mixed(inner) for name, inner in value.items()}
    return float(value) if type(value) is int else value


@pytest.mark.slow
def test_datasets_gives_the_same_objects(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", minversion="4.8", reason="Json() is of 4.8")
    names = sorted(COLUMNS.keys() - {"larger"})  # Its parser has no whole numbers beyond 64 bits.
    records = [
        {name: COLUMNS[name][0][row] for name in names if row < len(COLUMNS[name][0])}
        for row in range(4)
    ]
    path = as_table(tmp_path, records)
    loaded = datasets.load_dataset(
        "parquet", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache")
    )
    for row, record in zip(loaded, records, strict=True):
        found = {name: value for name, value in row.items() if name in record}
        assert same(found, record)
        left = {name: value for name, value in row.items() if name not in record}
        assert left.keys() <= {"labels", "score", *names}
        assert {name for name, value in left.items() if value is not None} == {"labels", "score"}
    pandas = pytest.importorskip("pandas")
    texts = pandas.read_parquet(path)["number_and_text"].tolist()
    assert texts[:2] == ["1", '"1"']


def test_a_table_of_json_is_read_as_the_lines_were(tmp_path: Path) -> None:
    turns = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "function": CALLS[0]}]},
        {"role": "tool", "content": "r", "tool_call_id": "c"},
        {"role": "assistant", "content": "a"},
    ]
    records = [{"messages": turns[:1] + turns[3:]}, {"messages": turns}]
    path = as_table(tmp_path, records)
    table = data.read_pool([path])
    stream = io.BytesIO()
    data.write_records(table, [0, 1], stream)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert same(lines, [{"labels": ["x"], "score": 1.5, **record} for record in records])
    assert [raw.record["messages"] for raw in data.read_conversations([path])] == [
        record["messages"] for record in records
    ]
