"""`mig-jax select` from tables to tables and lines, as a person uses it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mig_jax.commands import main as cli

TURNS = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]


def pool_of(path: Path, **columns: Any) -> Path:
    rows = {
        "labels": [[f"l{n % 3}"] for n in range(8)],
        "score": [float(n) for n in range(8)],
        "messages": [TURNS] * 8,
    }
    pq.write_table(pa.table({**rows, **columns}).replace_schema_metadata({"k": "v"}), path)
    return path


def select(*arguments: object) -> int:
    words = ("select", "--budget=4", "--certificate=false", "--cache=none", *arguments)
    return cli.main([str(word) for word in words])


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    numbers = pa.array([float("nan"), 1, 2, 3, 4, 5, 6, float("nan")], pa.float32())
    blobs = pa.array([bytes([n, 255]) for n in range(8)])
    return pool_of(tmp_path / "pool.parquet", blob=blobs, x=numbers, id=list(range(8)))


def test_a_table_stays_a_table(
    pool: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines, table = tmp_path / "lines.jsonl", tmp_path / "table.parquet"
    assert select(f"--pool={pool}", f"--output={lines}") == 0
    told = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert [line.partition("warning: ")[2] for line in told] == [
        "column blob: binary values are written as base64 text",
        "column x: NaN and infinities are written as null",
    ]
    picked = [json.loads(line)["id"] for line in lines.read_text().splitlines()]
    assert select(f"--pool={pool}", f"--output={table}") == 0
    assert "warning" not in capsys.readouterr().err
    found, came = pq.read_table(table), pq.read_table(pool)
    assert found.schema.equals(came.schema, check_metadata=True)
    rows = pa.concat_tables([came.slice(n, 1) for n in picked])
    assert str(found.to_pylist()) == str(rows.to_pylist())
    assert select(f"--pool={pool}", f"--output={table}", "--output_layout=sharegpt") == 0
    assert "warning" not in capsys.readouterr().err
    found = pq.read_table(table)
    assert str(found["x"].to_pylist()) == str(rows["x"].to_pylist())
    assert found["blob"].to_pylist() == rows["blob"].to_pylist()
    assert found["conversations"].to_pylist()[0][0] == {"from": "human", "value": "q"}


def test_tables_that_cannot_be_one_are_refused_before_the_work(
    pool: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = pool_of(tmp_path / "other.parquet", id=[str(n) for n in range(8)])
    flags = (f"--pool={pool}", f"--pool={other}")
    output = tmp_path / "out.parquet"
    assert select(*flags, f"--output={output}") == 2
    told = capsys.readouterr().err
    assert "other.parquet: the column id is string, but int64 in" in told
    assert "selecting" not in told
    assert not list(tmp_path.glob("out*"))
    assert select(*flags, f"--output={tmp_path / 'out.jsonl'}") == 0
