"""An output holds what its name says."""

from __future__ import annotations

import gzip
import io
import json
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from mig_jax import data
from mig_jax.commands import main as cli
from mig_jax.errors import InputError

RECORDS = [{"labels": [f"l{n % 2}"], "score": n + 0.5, "id": n, "text": "é" * n} for n in range(6)]
LINES = b"".join(json.dumps(record).encode() + b"\n" for record in RECORDS)


def unpacked(path: Path) -> bytes:
    """The lines of a file, as other programs read it by its name."""
    content = path.read_bytes()
    if path.suffix == ".gz":
        return gzip.decompress(content)
    if path.suffix == ".zst":
        return zstandard.ZstdDecompressor().stream_reader(io.BytesIO(content)).read()
    if path.suffix == ".parquet":
        rows = pq.read_table(path).to_pylist()
        return b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    return content


@pytest.mark.parametrize(
    ("name", "form"),
    [
        *[
            (name, "lines")
            for name in ("a.jsonl", "a.json", "a.ndjson", "a", "a.v2", "-", ".jsonl")
        ],
        *[("a.jsonl.gz", "gzip"), ("A.JSONL.GZ", "gzip"), ("a.gz", "gzip"), ("a.json.zst", "zstd")],
        *[("a.parquet", "parquet"), ("a.Parquet", "parquet"), ("x.csv/a.jsonl", "lines")],
    ],
)
def test_forms_by_name(name: str, form: str) -> None:
    assert data.output_form(name) == form


@pytest.mark.parametrize(
    "name",
    [
        "a.csv",
        "a.TSV",
        "a.arrow",
        "a.csv.gz",
        "a.parquet.gz",
        "a.jsonl.bz2",
        "a.npz",
        "a.xlsx",
        "a.zip",
    ],
)
def test_names_of_other_files_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"expected \.jsonl or \.json \(lines\), \.jsonl\.gz"):
        data.output_form(name)


def test_a_table_under_a_name_of_lines_is_refused() -> None:
    assert data.output_form("a", as_table=True) == "parquet"
    for name in ("a.jsonl", "a.json.gz"):
        with pytest.raises(InputError, match=r"a table is asked for; expected \.parquet"):
            data.output_form(name, as_table=True)


@pytest.mark.parametrize("ending", [".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet"])
def test_a_sink_writes_what_is_said(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{ending}"
    with open(path, "wb") as stream, data.RecordSink(stream, data.output_form(str(path))) as sink:
        for line in LINES.splitlines(keepends=True):
            sink.write(line)
    found = [json.loads(line) for line in unpacked(path).splitlines()]
    assert found == RECORDS
    if ending != ".parquet":
        assert unpacked(path) == LINES
    assert data.read_pool([path]).num_records == len(RECORDS)


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    path = tmp_path / "pool.jsonl"
    path.write_bytes(LINES)
    return path


def run(*words: object) -> int:
    return cli.main([str(word) for word in words])


@pytest.mark.parametrize("ending", [".jsonl.gz", ".jsonl.zst", ".parquet"])
def test_select_writes_what_the_name_says(
    ending: str, pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = ("select", f"--pool={pool}", "--budget=3", "--cache=none", "--certificate=false")
    plain, output = tmp_path / "plain.jsonl", tmp_path / f"out{ending}"
    assert run(*flags, f"--output={plain}") == 0
    assert run(*flags, f"--output={output}") == 0
    found = [json.loads(line) for line in unpacked(output).splitlines()]
    assert found == [json.loads(line) for line in plain.read_text().splitlines()]
    names = {f"out{ending}", "out.manifest.json", "out.selection.parquet"}
    assert {path.name for path in tmp_path.glob("out*")} == names
    before = output.read_bytes()
    later = time.time() + 86_400
    monkeypatch.setattr(time, "time", lambda: later)
    assert run(*flags, f"--output={output}") == 0
    assert output.read_bytes() == before


@pytest.mark.parametrize("command", ["select", "annotate", "make_pool"])
def test_other_endings_are_refused_before_the_work(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = {
        "select": ["--budget=1", "--pool=missing.jsonl"],
        "annotate": ["--pool=missing.jsonl", "--tagger=keep", "--scorer=keep"],
        "make_pool": ["--records=3"],
    }[command]
    assert run(command, *flags, f"--output={tmp_path / 'a.csv'}") == 2
    told = capsys.readouterr().err.strip()
    assert told.endswith("or an ending of no other kind of file")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ending", [".jsonl.gz", ".jsonl.zst", ".parquet"])
def test_annotate_writes_what_the_name_says(ending: str, tmp_path: Path) -> None:
    pool, plain, output = tmp_path / "p.jsonl", tmp_path / "plain.jsonl", tmp_path / f"out{ending}"
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    records = [{**record, "messages": turns} for record in RECORDS]
    pool.write_text("".join(json.dumps(record) + "\n" for record in records))
    flags = ("annotate", f"--pool={pool}", "--tagger=keep", "--scorer=length")
    assert run(*flags, f"--output={plain}") == 0
    assert run(*flags, f"--output={output}") == 0
    found = [json.loads(line) for line in unpacked(output).splitlines()]
    assert found == [json.loads(line) for line in plain.read_text().splitlines()]
    assert {path.name for path in tmp_path.glob("out*")} == {f"out{ending}", "out.annotation.json"}


def test_annotated_tables_keep_their_types(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    columns: dict[str, Any] = {
        "messages": [turns] * 4,
        "blob": pa.array([b"\xff", None, b"a", b"b"]),
        "small": pa.array([1, None, 3, 4], pa.int8()),
    }
    pool, output = tmp_path / "pool.parquet", tmp_path / "out.parquet"
    pq.write_table(pa.table(columns).replace_schema_metadata({"k": "v"}), pool)
    labelled = tmp_path / "labelled.parquet"
    pq.write_table(pq.read_table(pool).append_column("labels", [[["a"]] * 4]), labelled)
    flags = ("annotate", f"--pool={labelled}", "--tagger=keep", "--scorer=length")
    assert run(*flags, f"--output={output}") == 0
    assert "warning: column" not in capsys.readouterr().err
    found = pq.read_table(output)
    assert found.select(list(columns)).equals(pq.read_table(pool).select(list(columns)))
    assert found.schema.metadata[b"k"] == b"v"
    assert found["labels"].to_pylist() == [["a"]] * 4
    lines = tmp_path / "lines.jsonl"
    assert run(*flags, f"--output={lines}") == 0
    told = capsys.readouterr().err
    assert told.count("warning: column blob: binary values are written as base64 text") == 1
    assert [json.loads(line)["blob"] for line in lines.read_text().splitlines()][:2] == [
        "/w==",
        None,
    ]
