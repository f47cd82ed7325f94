"""What an earlier selection is read as, from wherever its files are named."""

from __future__ import annotations

import json
import os
import pathlib

import numpy as np
import pytest

from mig_jax import data
from mig_jax.errors import InputError

LINES = [b'{"labels":["a"],"score":1.0}', b'{"labels":["b"],"score":2.0}', b"", b"{}"]


@pytest.fixture
def written(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> data.RecordTable:
    """A selection of two files, written as `picked.jsonl.gz` in a folder `out`."""
    for name in ("one.jsonl", "two.jsonl"):
        (tmp_path / name).write_bytes(b"\n\n".join(LINES[:2]) + b"\n")
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path)
    table = data.read_pool(["one.jsonl", "two.jsonl"])
    output = "out/picked.jsonl.gz"
    with data.OutputFiles() as files:
        files.open(output).write(b"records")
        rows = files.open("out/picked.selection.parquet")
        gains = np.array([0.1, 3.5], np.float32)
        data.write_selection_table(
            rows, table, [2, 3, 0], gains, [0.0, 0.2, 2.0], increases=gains / 3, given=1
        )
        about = {"files": list(table.files), "parameters": {"output": output}}
        manifest = files.open_manifest("out/picked.manifest.json", output)
        files.write_manifest(manifest, about, output)
    return table


NAMES = ["picked.jsonl.gz", "picked.manifest.json", "picked.selection.parquet"]


@pytest.mark.parametrize("name", NAMES)
def test_what_was_written_is_read(written, name):
    found = data.read_selection(f"out/{name}")
    assert found.files() == ["one.jsonl", "two.jsonl"]
    assert found.ranks.tolist() == [0, 1, 2]
    assert found.line.tolist() == [1, 3, 1]
    gains = np.array([0.1, 3.5], np.float32)
    assert found.gains[1:].astype(np.float32).tobytes() == gains.tobytes()
    assert found.increases[1:].astype(np.float32).tobytes() == (gains / 3).tobytes()
    assert np.isnan([found.gains[0], found.increases[0]]).all()
    assert found.rows_in(written).tolist() == [2, 3, 0]


def test_files_are_found_from_other_folders(written, tmp_path, monkeypatch):
    """The manifest's names are relative to where its command ran, wherever that was."""
    whole = [str(tmp_path / "one.jsonl"), str(tmp_path / "two.jsonl")]
    for folder in (tmp_path / "out", pathlib.Path("/")):
        monkeypatch.chdir(folder)
        found = data.read_selection(tmp_path / "out" / "picked.jsonl.gz")
        for paths in (whole, [os.path.relpath(path) for path in whole]):
            assert found.rows_in(data.read_pool(paths)).tolist() == [2, 3, 0]
            assert found.places_of(found.files(), paths) == [0, 1]
        assert found.rows_in(data.read_pool(whole[::-1])).tolist() == [0, 1, 2]
        assert found.rows_in(data.read_pool(whole[1:])).tolist() == [0, 1, -1]
        assert found.places_of(["three.jsonl"], whole) == [-1]


def test_lines_that_are_not_there_are_told_apart(written):
    found = data.read_selection("out/picked.jsonl.gz")
    pathlib.Path("two.jsonl").write_bytes(b"\n" + LINES[0] + b"\n\n" + LINES[1] + b"\n")
    assert found.rows_in(data.read_pool(["one.jsonl", "two.jsonl"])).tolist() == [-1, -1, 0]


def test_what_is_no_selection_is_told(written, tmp_path):
    assert data.find_manifest("one.jsonl") is None
    assert data.find_manifest("out/picked.jsonl.gz") == "out/picked.manifest.json"
    pathlib.Path("out/picked.jsonl").write_bytes(b"")  # Beside the manifest, and of no run.
    assert data.find_manifest("out/picked.jsonl") is None
    with pytest.raises(InputError, match="has no manifest of a selection; expected the --output"):
        data.read_selection("out/picked.jsonl")
    place = pathlib.Path("out/picked.manifest.json")
    manifest = json.loads(place.read_text())
    for name, value in (("files", 3), ("parameters", [])):
        place.write_text(json.dumps(manifest | {name: value}))
        with pytest.raises(InputError, match=f"its {name} are not as a selection has them"):
            data.read_selection(place)
    place.write_text(json.dumps(manifest))
    table = pathlib.Path("out/picked.selection.parquet")
    table.write_bytes(table.read_bytes() + b" ")
    with pytest.raises(InputError, match=r"is not what .* tells of"):
        data.read_selection("out/picked.manifest.json")
    with pytest.raises(InputError, match="has no manifest of a selection"):
        data.read_selection("out/other.selection.parquet")


def test_tables_of_older_versions_have_no_increases(written):
    import pyarrow.parquet as pq

    older = pq.read_table("out/picked.selection.parquet").drop_columns("increase")
    with data.OutputFiles() as files:
        files.open("older.jsonl")
        pq.write_table(older, files.open("older.selection.parquet"))
        manifest = files.open_manifest("older.manifest.json", "older.jsonl")
        files.write_manifest(manifest, {}, "older.jsonl")
    found = data.read_selection("older.jsonl")
    assert found.increases is None
    assert found.rows_in(written).tolist() == [2, 3, 0]
    assert json.loads(pathlib.Path("older.manifest.json").read_text())["output"] == "older.jsonl"
