"""Selections written byte for byte, and outputs that appear together or not at all."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mig_jax.data import (
    OutputFiles,
    RecordTable,
    read_pool,
    write_json,
    write_records,
    write_selection_table,
)
from mig_jax.errors import InputError

Store = Callable[..., Path]

LINES = [
    b'{"labels": ["a"], "score": 1, "x": "\xff not UTF-8"}',
    b'{"score":2.50,\t"labels":[ ]}',
    '{"labels": ["é"], "score": 1e0, "x": "\u2028"}'.encode(),
    b' {"labels": ["a", "a"], "score": 1}\r',
    b'{"labels": ["last"], "score": 1}',
]


def written(table: RecordTable, picks: object) -> bytes:
    stream = io.BytesIO()
    write_records(table, picks, stream)  # type: ignore[arg-type]
    return stream.getvalue()


@pytest.mark.parametrize("picks", [[3, 0, 4, 1, 2], [4], [2, 2, 0], []])
def test_lines_come_out_as_they_came_in(store: Store, text_ending: str, picks: list[int]) -> None:
    text = b"\xef\xbb\xbf" + b"\n\n".join(LINES)  # The last has no line break.
    table = read_pool([store(text, text_ending)])
    assert written(table, picks) == b"".join(LINES[pick] + b"\n" for pick in picks)


record_text = st.text(st.characters(exclude_categories=["Cs"]))


@given(
    records=st.lists(
        st.tuples(st.lists(record_text), record_text, st.booleans(), st.sampled_from(["", "\r"])),
        min_size=1,
        max_size=20,
    ),
    data=st.data(),
)
@settings(max_examples=60)
def test_any_selection_of_any_text_is_byte_for_byte(
    records: list[tuple[list[str], str, bool, str]], data: st.DataObject
) -> None:
    lines = [
        (json.dumps({"x": text, "labels": labels, "score": 1}, ensure_ascii=ascii_only) + end)
        for labels, text, ascii_only, end in records
    ]
    picks = data.draw(st.permutations(range(len(lines))))[: data.draw(st.integers(0, 20))]
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, name) for name in ("one.jsonl", "two.jsonl")]
        half = (len(lines) + 1) // 2
        parts = [part for part in (lines[:half], lines[half:]) if part]
        for path, part in zip(paths, parts, strict=False):
            path.write_bytes("\n".join(part).encode())
        table = read_pool(paths[: len(parts)])
        assert written(table, picks) == b"".join(lines[p].encode() + b"\n" for p in picks)


def test_parquet_rows_come_out_as_json(store: Store) -> None:
    rows = [{"id": n, "labels": ["a"], "score": float(n), "x": {"y": [n]}} for n in range(10)]
    text = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    table = read_pool([store(text, ".parquet")])
    for picks in ([7, 0, 9, 8], [5], list(range(10))):
        lines = written(table, picks).splitlines()
        assert [json.loads(line) for line in lines] == [rows[pick] for pick in picks]


def test_parquet_rows_beyond_the_first_batch(store: Store, tmp_path: Path) -> None:
    table = read_pool([store(LINES[1] + b"\n")])
    path = tmp_path / "long.parquet"
    rows = pq.read_table(store(b'{"labels": ["a"], "score": 1}', ".parquet")).slice(0, 1)
    many = [rows.column("labels")[0].as_py()] * 5000
    columns = {"labels": many, "score": np.arange(5000.0)}
    pq.write_table(rows.from_pydict(columns), path, row_group_size=3000)
    table = read_pool([path])
    picks = [4999, 1023, 1024, 2999, 3000, 0]
    scores = [json.loads(line)["score"] for line in written(table, picks).splitlines()]
    assert scores == picks


def test_files_of_all_kinds_mix(store: Store) -> None:
    text = b'{"labels":["a"],"score":1.0}\n{"labels":["b"],"score":2.0}\n'
    endings = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet")
    table = read_pool([store(text, ending) for ending in endings])
    lines = text.splitlines()
    picks = [7, 0, 5, 2, 3, 6, 1, 4]
    assert written(table, picks).splitlines() == [lines[pick % 2] for pick in picks]


@pytest.mark.parametrize("change", ["grown", "touched", "removed"])
def test_changed_file_is_refused(store: Store, ending: str, change: str) -> None:
    path = store(b'{"labels":["a"],"score":1.0}\n{"labels":["b"],"score":2.0}\n', ending)
    table = read_pool([path])
    if change == "grown":
        status = path.stat()
        path.write_bytes(path.read_bytes() + b"\n")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    elif change == "touched":
        os.utime(path, ns=(0, 0))
    else:
        path.unlink()
    expected = "no such file" if change == "removed" else "has changed since it was read"
    with pytest.raises(InputError, match=expected):
        written(table, [1])


def test_line_that_is_not_there_is_refused(store: Store, text_ending: str) -> None:
    table = read_pool([store(b'{"labels":["a"],"score":1.0}\n', text_ending)])
    beyond = dataclasses.replace(table, position=np.array([100]))
    with pytest.raises(InputError, match="no line starts at byte 100; expected the file to be"):
        written(beyond, [0])


def test_picks_are_checked(store: Store) -> None:
    table = read_pool([store(b"\n".join(LINES))])
    for pick in (-1, len(LINES)):
        with pytest.raises(IndexError, match="a pick is outside the 5 records"):
            written(table, [pick])
    with pytest.raises(ValueError, match="expected 1-D integers"):
        written(table, [0.5])


def test_selection_table(store: Store, tmp_path: Path) -> None:
    table = read_pool([store(b"\n\n".join(LINES)), store(LINES[1], ".json")])
    path = tmp_path / "picks.parquet"
    with OutputFiles(table.files) as outputs:
        stream = outputs.open(path)
        write_selection_table(stream, table, [5, 2], [3.0, 1.0], [3.0, 4.0])
    result = pq.read_table(path)
    assert result.to_pydict() == {
        "rank": [1, 2],
        "file": [table.files[1], table.files[0]],
        "line": [1, 5],
        "gain": [3.0, 1.0],
        "information": [3.0, 4.0],
        "labels": [[], ["é"]],
        "score": [2.5, 1.0],
        "increase": [3.0, 1.0],
    }
    kinds = [str(field.type).partition("<")[0] for field in result.schema]
    assert kinds == ["int64", "string", "int64", "double", "double", "list", "float", "double"]
    write_selection_table(path, table, [0, 2], [3.0], [1.0, 2.0], increases=[1.0], given=1)
    rows = pq.read_table(path).to_pydict()
    assert [rows[name] for name in ("rank", "gain", "increase")] == [[0, 1], [None, 3], [None, 1]]
    write_selection_table(path, table, [], [], [])
    assert pq.read_table(path).num_rows == 0
    with pytest.raises(ValueError, match="differ in shape"):
        write_selection_table(path, table, [0, 1], [1.0], [1.0])


def test_json() -> None:
    stream = io.BytesIO()
    write_json(stream, {"b": np.int64(1), "a": [np.float32(0.5), np.arange(2)], "c": Path("é")})
    expected = {"a": [0.5, [0, 1]], "b": 1, "c": "é"}
    assert stream.getvalue() == json.dumps(expected, indent=2).encode() + b"\n"
    for value in (float("nan"), np.float32("inf"), np.array([np.nan])):
        with pytest.raises(ValueError, match="not JSON compliant"):
            write_json(stream, value)
    with pytest.raises(TypeError, match="set has no form in JSON"):
        write_json(stream, {1})


def test_outputs_appear_together(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    with OutputFiles() as outputs:
        for name in "ab":
            outputs.open(tmp_path / name).write(name.encode())
        assert (tmp_path / "a").read_bytes() == b"old"
        assert not (tmp_path / "b").exists()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"a", "b": b"b"}


@pytest.mark.parametrize("error", [InputError("x"), KeyboardInterrupt(), SystemExit(1)])
def test_exception_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    (tmp_path / "a").write_bytes(b"old")

    def fail() -> None:
        with OutputFiles() as outputs:
            for name in "ab":
                outputs.open(tmp_path / name).write(b"new")
            raise error

    with pytest.raises(type(error)):
        fail()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"old"}


def test_failing_rename_leaves_no_temporary_file(tmp_path: Path) -> None:
    outputs = OutputFiles()
    outputs.open(tmp_path / "a").write(b"new")
    (tmp_path / "a").mkdir()
    with pytest.raises(OSError, match="irectory"):
        outputs.__exit__(None, None, None)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_output_has_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    with OutputFiles() as outputs:
        outputs.open(tmp_path / "output")
    assert (tmp_path / "output").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_output_that_is_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "file")
    with OutputFiles() as outputs:
        outputs.open(tmp_path / "link").write(b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_bytes() == b"new"


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    source = tmp_path / "pool.jsonl"
    source.write_bytes(b"x")
    (tmp_path / "link").symlink_to(source)
    outputs = OutputFiles([source, "built-in pool"])
    with outputs:
        outputs.open(tmp_path / "once")
        for name, expected in {
            "none/x": "does not exist; expected an existing one",
            "": "is not a regular file; expected a file name",
            "pool.jsonl": "is an input; expected another file to write to",
            "link": "is an input; expected another file to write to",
            "once": "is an output already; expected another file to write to",
        }.items():
            with pytest.raises(InputError, match=expected):
                outputs.open(tmp_path / name)
    with pytest.raises(InputError, match="is an input"):
        OutputFiles([tmp_path / "link"]).open(source)
    assert source.read_bytes() == b"x"
