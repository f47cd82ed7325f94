"""The rival reads what we read, refuses what we refuse, and a row that differs is invalid."""

from __future__ import annotations

import csv
import json
import pathlib
import subprocess
import sys

import pytest

from mig_jax.data import BadRecord, decode_xsample

pydantic = pytest.importorskip("pydantic", reason="extra `bench` is not installed")
pytest.importorskip("jsonlines", reason="extra `bench` is not installed")

from experiments import benchmark_reading, reading_rows  # noqa: E402


def record(labels: object, quality: object, complexity: object) -> bytes:
    deita = {"quality_scores": quality, "complexity_scores": complexity}
    return json.dumps({"annotation": {"instag": {"content": labels}, "deita": deita}}).encode()


@pytest.mark.parametrize(
    "line",
    [
        record(["a", "b", "a"], [1.5, 2], [3, -0.5]),
        record([], [0], [0]),
        record(["a"], [1e38], [3.4]),
        record(["a"], [1e38], [3.5]),
        record(["a", 1], [1.0], [1.0]),
        record("a", [1.0], [1.0]),
        record(["a"], [1.0], [1.0, 2.0]),
        record(["a"], [], []),
        record(["a"], ["1.0"], [1.0]),
        record(["a"], [True], [1.0]),
        record(["a"], [None], [1.0]),
        record(["a"], [-1.0], [1.0]),
        record(["a"], [float("nan")], [1.0]),
        record(["a"], [float("inf")], [1.0]),
        record(None, [1.0], [1.0]),
        b'{"annotation": {"instag": {"content": []}}}',
        b"{}",
        b"[]",
    ],
)
def test_the_rival_does_the_same_checks(line: bytes) -> None:
    model = reading_rows.pydantic_record()
    try:
        expected = decode_xsample(line)
    except BadRecord:
        with pytest.raises(pydantic.ValidationError):
            model.model_validate(json.loads(line))
        return
    found = model.model_validate(json.loads(line))
    assert (found.labels, found.score) == expected


@pytest.mark.slow
def test_all_rows_agree_on_a_generated_file(tmp_path: pathlib.Path) -> None:
    path, cache = tmp_path / "pool.jsonl", tmp_path / "cache"
    lines = [record([f"l{n % 7}", f"m{n % 3}"], [n, 1.5], [0.25, n / 3]) for n in range(50)]
    path.write_bytes(b"\n".join(lines))
    digests = {
        reading_rows.digest(rows(str(path), str(cache)))
        for name, rows in reading_rows.ROWS.items()
        if not name.startswith("reading")
    }
    assert len(digests) == 1
    path.write_bytes(b"\n".join([*lines[1:], lines[0]]))
    assert reading_rows.digest(reading_rows.ROWS[reading_rows.OURS](str(path), "")) not in digests


def test_a_row_that_reads_something_else_is_invalid() -> None:
    round_of = {"seconds": 1.0, "cpu_seconds": 1.0, "before_mb": None, "peak_mb": None}
    table = benchmark_reading.table_of(
        {
            reading_rows.OURS: [round_of | {"digest": "a"}],
            "same": [round_of | {"digest": "a", "seconds": 9.0}],
            "other": [round_of | {"digest": "a"}, round_of | {"digest": "b"}],
            "nothing": [round_of | {"digest": None}],
        },
        size=10**9,
    )
    verdicts = [row["same_labels_and_scores"] for row in table]
    assert verdicts == ["yes", "yes", "NO: the row is invalid", ""]
    assert table[1]["ratio_to_ours"] == 9.0


@pytest.mark.slow
def test_the_program_needs_no_files(tmp_path: pathlib.Path) -> None:
    pytest.importorskip("matplotlib", reason="extra `bench` is not installed")
    command = [sys.executable, "-m", "experiments.benchmark_reading", f"--workdir={tmp_path}"]
    run = subprocess.run(
        [*command, "--size_gb=0.001", "--repeats=1"], capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stderr
    with open(tmp_path / "benchmark_reading.csv") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["row"] for row in rows] == list(reading_rows.ROWS)
    assert [row["same_labels_and_scores"] for row in rows] == ["", *["yes"] * (len(rows) - 1)]
    assert all(float(row["median_s"]) > 0 for row in rows)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".csv", ".png"]
