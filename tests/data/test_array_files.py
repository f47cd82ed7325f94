"""JSON arrays split into records some text at a time: what `json` finds in the whole."""

from __future__ import annotations

import gzip
import io
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mig_jax import data
from mig_jax.errors import InputError

VALUES: Any = st.recursive(
    st.none()
    | st.booleans()
    | st.floats(0, 9)
    | st.text()
    | st.sampled_from(['\\"', "\\\\", '],"']),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)


def elements(path: Path, limits: int = 1 << 20) -> list[Any]:
    (file,) = data.open_files([path], longest_record=limits)
    return [json.loads(line.text) for line in file.scan()]


@given(
    values=st.lists(st.dictionaries(st.text(), VALUES), max_size=5),
    indent=st.sampled_from([None, 0, 2]),
    ascii_only=st.booleans(),
    around=st.tuples(st.text(" \t\r\n"), st.text(" \t\r\n")),
)
def test_elements_are_those_of_json(
    tmp_path_factory: pytest.TempPathFactory,
    values: list[Any],
    indent: int | None,
    ascii_only: bool,
    around: tuple[str, str],
) -> None:
    path = tmp_path_factory.mktemp("array") / "pool.json"
    text = json.dumps(values, indent=indent, ensure_ascii=ascii_only)
    path.write_bytes(f"{around[0]}{text}{around[1]}".encode("utf-8", "surrogatepass"))
    assert elements(path) == values


@pytest.mark.parametrize("ending", [".json", ".json.gz"])
def test_elements_across_all_chunks(tmp_path: Path, ending: str) -> None:
    # Quotes, backslashes and brackets at all places of the borders between pieces of text.
    choose = random.Random(0)
    pieces = ['"', "\\", "[", "]", "{", "}", ",", "é", "x" * 50]
    records = []
    for number in range(4000):
        text = "".join(choose.choices(pieces, k=choose.randrange(250)))
        labels = [text[:9].strip() or "a", str(number % 7)]
        turns = [{"content": text, "x": {text: [text]}}] * choose.randrange(3)
        records.append({"labels": labels, "score": number / 8, "turns": turns})
    text = json.dumps(records, ensure_ascii=False).encode()
    assert len(text) > 3 << 20
    path = tmp_path / f"pool{ending}"
    path.write_bytes(gzip.compress(text) if ending.endswith("gz") else text)
    table = data.read_pool([path])
    assert table.scores.tolist() == [number / 8 for number in range(4000)]
    picks = np.array([3999, 0, 1234, 2500])
    stream = io.BytesIO()
    data.write_records(table, picks, stream)
    assert [json.loads(line) for line in stream.getvalue().splitlines()] == [
        records[pick] for pick in picks
    ]


@given(text=st.text('[]{},:"\\ 1a\n', max_size=12))
def test_what_json_refuses_is_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("array") / "pool.json"
    path.write_text(f'[{{"a": 1}}{text}')
    try:
        expected = json.loads(path.read_text())
    except ValueError:
        expected = None
    try:
        found = elements(path)
    except (InputError, ValueError):
        found = None  # Of the file, or of an element, which whoever reads it tells.
    assert found == expected


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[{"a": 1}', "JSON is truncated"),
        ('[{"a": "', "JSON is truncated"),
        ('[{"a": 1}, ]', "record 2 is empty"),
        ('[{"a": 1},, {}]', "record 2 is empty"),
        ('[{"a": 1}}', "expected ']' at its end"),
        ('[{"a": 1}] x', "more follows the array"),
        ('[{"a": 1}][', "more follows the array"),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "pool.json"
    path.write_text(text)
    with pytest.raises(InputError, match=told):
        elements(path)


def test_a_record_longer_than_allowed(tmp_path: Path) -> None:
    path = tmp_path / "pool.json"
    path.write_text(json.dumps([{"a": 1}, {"a": "x" * 100}]))
    assert len(elements(path, 120)) == 2
    with pytest.raises(InputError, match="the record number 2 is longer than 100 bytes"):
        elements(path, 100)


def test_nan_and_bad_records_in_indented_arrays(tmp_path: Path) -> None:
    path = tmp_path / "pool.json"
    good = {"labels": ["a"], "score": 1, "x": float("nan")}
    text = json.dumps([good, good, good], indent=1)
    path.write_text(text.replace('"score": 1', '"score" 1', 1))
    with pytest.raises(InputError, match="line 1: JSON is malformed: expected ':'"):
        data.read_pool([path])
    table = data.read_pool([path], on_bad_record="skip")
    assert table.line.tolist() == [2, 3]
    (line, _) = table.sources[0].read_records(table.position)
    assert b"\n" not in line
    assert str(json.loads(line)) == str(good)
