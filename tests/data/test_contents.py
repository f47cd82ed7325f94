"""Files are what their first bytes say: read, or refused with a line that says what would do."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from mig_jax.data import read_conversations, read_pool
from mig_jax.errors import InputError

RECORDS = [
    {
        "labels": [f"l{number}"],
        "score": number / 2,
        "messages": [
            {"role": "user", "content": f"q{number}"},
            {"role": "assistant", "content": "é"},
        ],
    }
    for number in range(5)
]
LINES = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in RECORDS).encode()
ARRAY = json.dumps(RECORDS).encode()


def in_archive(kind: str) -> bytes:
    stream = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr("pool.jsonl", LINES)
    else:
        with tarfile.open(fileobj=stream, mode="w") as tar:
            about = tarfile.TarInfo("pool.jsonl")
            about.size = len(LINES)
            tar.addfile(about, io.BytesIO(LINES))
    return stream.getvalue()


def as_parquet() -> bytes:
    stream = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(RECORDS), stream)
    return stream.getvalue()


def as_arrow(new: Callable[..., Any]) -> bytes:
    stream = io.BytesIO()
    table = pa.Table.from_pylist(RECORDS)
    with new(stream, table.schema) as writer:
        writer.write_table(table)
    return stream.getvalue()


def as_numpy() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.ones(3))
    return stream.getvalue()


def told(path: Path, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        read_pool([path], **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("gzip.jsonl", gzip.compress(LINES)),
        ("zstd.jsonl", zstandard.compress(LINES)),
        ("gzip.zst", gzip.compress(LINES)),
        ("gzip.json", gzip.compress(ARRAY)),
        ("array.jsonl", ARRAY),
        ("array.jsonl.gz", gzip.compress(json.dumps(RECORDS, indent=1).encode())),
        ("lines.json", LINES),
        ("parquet.jsonl", as_parquet()),
        ("without_ending", as_parquet()),
        ("marks.jsonl", b"\xef\xbb\xbf" + LINES),
        ("blank.jsonl", b"\n" * 70_000 + LINES),
        ("blank.json", b" \n" * 70_000 + ARRAY),
    ],
)
def test_content_that_is_read_whatever_the_name(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert read_pool([path]).scores.tolist() == [record["score"] for record in RECORDS]
    assert [record.record for record in read_conversations([path])] == RECORDS


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("p.jsonl", bz2.compress(LINES), "holds bzip2 data; expected .* `bunzip2` unpacks it"),
        ("p.jsonl.bz2", bz2.compress(LINES), "holds bzip2 data"),
        ("p.jsonl", lzma.compress(LINES), "holds xz data; expected .* `unxz` unpacks it"),
        ("p.jsonl", in_archive("zip"), "holds a zip archive"),
        ("p.tar.gz", gzip.compress(in_archive("tar")), "holds a tar archive"),
        ("p.jsonl.gz", gzip.compress(gzip.compress(LINES)), "holds gzip data within compressed"),
        ("p.jsonl.zst", zstandard.compress(as_parquet()), "holds Parquet within compressed data"),
        ("p.arrow", as_arrow(pa.ipc.new_file), "holds an Arrow file"),
        ("p.arrow", as_arrow(pa.ipc.new_stream), "holds an Arrow stream"),
        ("p.npy", as_numpy(), "holds a NumPy array"),
        ("p.pkl", pickle.dumps(RECORDS, 4), "holds a Python pickle"),
        ("p.parquet", LINES, "holds text under the name of a Parquet file; expected Parquet, or"),
        ("p.parquet", gzip.compress(LINES), "holds text under the name of a Parquet file"),
        ("p.jsonl", LINES.decode().encode("utf-16"), "holds text in UTF-16; .* `iconv -f UTF-16 "),
        ("p.json", ARRAY.decode().encode("utf-16-be"), "holds text in UTF-16BE"),
        ("p.jsonl", LINES.decode().encode("utf-16-le"), "holds text in UTF-16LE"),
        ("p.jsonl", LINES.decode().encode("utf-32"), "holds text in UTF-32;"),
        ("p.jsonl", LINES.decode().encode("utf-32-be"), "holds text in UTF-32BE"),
        ("p.csv", "labels,score\n".encode("utf-16"), "holds text in UTF-16"),
        ("p.jsonl.gz", gzip.compress(LINES.decode().encode("utf-16")), "holds text in UTF-16"),
        ("p.jsonl", b"<!DOCTYPE html>\n<html></html>\n", "holds a web page or XML"),
        (
            "p.jsonl",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
            "is a pointer of Git LFS; .* `git lfs pull` fetches it",
        ),
        (
            "p.json",
            json.dumps(RECORDS[0], indent=2).encode(),
            r"go over several lines; .* `jq -c \.` writes them one a line",
        ),
        (
            "p.jsonl",
            "\n".join(json.dumps(record, indent=2) for record in RECORDS).encode(),
            "holds JSON objects that go over several lines",
        ),
        (
            "p.json",
            json.dumps({"version": "1", "data": RECORDS}).encode(),
            r"one JSON object, whose field data is a list; .* `jq -c '\.data\[\]'` writes them",
        ),
        ("p.jsonl", json.dumps({"rows": RECORDS}, indent=1).encode(), "whose field rows is a list"),
        ("p.json", json.dumps({"n": 1, "train": RECORDS * 500}).encode(), "field train is a list"),
    ],
)
@pytest.mark.parametrize("how", ["error", "skip"])
def test_content_that_is_no_pool(
    tmp_path: Path, name: str, content: bytes, expected: str, how: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    found = told(path, on_bad_record=how)
    assert found.startswith(f"{path}: ")
    with pytest.raises(InputError, match=expected):
        read_pool([path], on_bad_record=how)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            b'id,labels,score\n1,"[]",2\n',
            "looks like a row of a table, whose file is named .csv",
        ),
        (b"id\tlabels\tscore\n1\t[]\t2\n", "whose file is named .tsv"),
        (b"id;labels;score\n1;[];2\n", "whose file is named .csv, with , for ;"),
        (repr(RECORDS[0]).encode() + b"\n", "it looks like Python, where json.dumps writes JSON"),
    ],
)
def test_lines_that_look_like_something_else(tmp_path: Path, text: bytes, expected: str) -> None:
    path = tmp_path / "pool.jsonl"
    path.write_bytes(text)
    assert told(path).startswith(f"{path}, line 1: JSON is malformed")
    assert told(path).endswith(expected)
    assert told(path, on_bad_record="skip").endswith(expected)


@pytest.mark.parametrize(
    "record",
    [
        RECORDS[0],
        {**RECORDS[0], "sources": [{"a": 1}]},
        {"sources": [{"a": 1}], **RECORDS[0]},
        {"parts": [{"a": 1}], "tags": ["a"], "quality": 1.0},
    ],
)
@pytest.mark.parametrize("ending", [".json", ".jsonl"])
def test_one_record_is_no_list_of_records(
    tmp_path: Path, record: dict[str, Any], ending: str
) -> None:
    path = tmp_path / f"pool{ending}"
    path.write_text(json.dumps(record))
    fields = {"labels": "tags", "score": "quality"} if "tags" in record else {}
    assert read_pool([path], fields=fields).num_records == 1


def test_a_line_that_is_cut_is_a_bad_record_and_no_long_one(tmp_path: Path) -> None:
    path = tmp_path / "pool.jsonl"
    path.write_bytes(LINES[:20] + b"\n" + LINES)
    assert told(path).startswith(f"{path}, line 1: JSON is truncated")
    assert read_pool([path], on_bad_record="skip").num_records == 5


@pytest.mark.parametrize(("name", "field"), [("role", "messages"), ("from", "conversations")])
def test_lines_that_are_lists_of_turns_are_told_what_makes_records(
    tmp_path: Path, name: str, field: str
) -> None:
    path = tmp_path / "pool.jsonl"
    path.write_text(f'[{{"{name}": "user"}}, {{"{name}": "assistant"}}]\n' * 2)
    assert told(path).endswith(f"a line: `jq -c '{{{field}: .}}'` makes one of each list of turns")


@pytest.mark.parametrize("text", [b"[1, 2]\n[3]\n", b'[{"role": "user"}]\n[{"role": "user"}]\n'])
def test_lines_that_are_lists_are_bad_records(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "pool.jsonl"
    path.write_bytes(text)
    assert told(path) == f"{path}, line 1: found a list, expected one JSON object a line"
    path.write_bytes(text + LINES)
    assert read_pool([path], on_bad_record="skip").records_skipped == 2


@pytest.mark.parametrize("ending", [".jsonl", ".jsonl.gz", ".jsonl.zst"])
def test_a_mark_at_the_start_of_any_line_is_passed_over(tmp_path: Path, ending: str) -> None:
    mark = b"\xef\xbb\xbf"
    text = mark + LINES + mark + LINES + mark + b"\n" + mark + b"  \n" + mark + LINES
    pack = {".jsonl.gz": gzip.compress, ".jsonl.zst": zstandard.compress}.get(ending, bytes)
    path = tmp_path / f"pool{ending}"
    path.write_bytes(pack(text))
    table = read_pool([path])
    assert table.line.tolist() == [*range(1, 11), *range(13, 18)]
    found = list(table.sources[0].read_records(table.position))
    assert found == LINES.splitlines() * 3
    assert [record.line for record in read_conversations([path])] == table.line.tolist()
    path.write_bytes(pack(LINES[:-1] + mark + LINES))
    assert told(path).startswith(f"{path}, line 5: JSON is malformed: trailing characters")
