"""The real command: learn, compare, report; stop and go on; refuse what cannot be used."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from mig_jax.data import BuiltinPool

ROOT = pathlib.Path(__file__).parents[1]


def command(workdir: pathlib.Path, *more: str) -> list[str]:
    words = [sys.executable, "-m", "experiments.learn_params", f"--workdir={workdir}"]
    return [*words, "--start_thresholds=0.8", *more]


def run(workdir: pathlib.Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(workdir, *more),
        cwd=ROOT,
        env={**os.environ, "XLA_FLAGS": ""},
        capture_output=True,
        text=True,
        timeout=600,
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> list[str]:
    """A small pool whose records are conversations, and its embeddings."""
    folder = tmp_path_factory.mktemp("pool")
    pool = BuiltinPool(records=400, labels=40, topics=5)
    (folder / "pool.jsonl").write_bytes(b"".join(line + b"\n" for line in pool.lines()))
    names, vectors = pool.label_embeddings()
    np.savez(folder / "emb.npz", labels=np.array(names), embeddings=vectors)
    rows = [json.loads(line) for line in pool.lines(0, 60)]
    for name, part in (("dev", rows[:30]), ("test", rows[30:])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    return [
        f"--pool={folder / 'pool.jsonl'}",
        f"--label_embeddings={folder / 'emb.npz'}",
        f"--validation={folder / 'dev.jsonl'}",
        f"--test={folder / 'test.jsonl'}",
        "--budget=40",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["target", "validation"])
def test_report_and_parameters(objective, files, tmp_path):
    done = run(tmp_path, *files, f"--objective={objective}", "--steps=3")
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    methods = {row["method"]: row for row in report["comparison"]}
    assert set(methods) == {"random", "top_score", "paper", "grid", "learned"}
    for row in methods.values():
        assert row["low"] <= row["test_loss"] <= row["high"]
        assert row["seconds"] >= 0
    assert len(report["settings"]["grid"]) == 64
    best = min(report["settings"]["grid"], key=lambda cell: cell["validation_loss"])
    assert methods["grid"]["validation_loss"] == pytest.approx(best["validation_loss"])
    assert report["history"][0]["held_out"] > min(e["held_out"] for e in report["history"][1:])
    for name in ("loss", "parameters", "score_functions", "selected_by_label"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert f"{name}.png" in (tmp_path / "report.md").read_text()

    selected = tmp_path / "selected.jsonl"
    words = ["select", *files[:2], f"--params={tmp_path / 'params'}", f"--output={selected}"]
    done = subprocess.run(
        [sys.executable, "-m", "mig_jax", *words, "--budget=40", "--cache=none"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    manifest = json.loads(selected.with_suffix(".manifest.json").read_text())
    for name in ("propagation", "threshold", "score_exponent"):
        told = report["learned"]["shared"]["after"][name]
        assert manifest["learned"][name] == pytest.approx(told, rel=1e-6)
    assert len(selected.read_text().splitlines()) == 40


def test_params_stand_alone(tmp_path):
    words = ["--params=x", "--exponent=0.5", "--budget=3", f"--output={tmp_path / 'o.jsonl'}"]
    done = subprocess.run(
        [sys.executable, "-m", "mig_jax", "select", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "--params: takes the place of --exponent" in done.stderr


@pytest.mark.slow
def test_killed_and_resumed(tmp_path):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    words = ["--steps=12", "--budget=300"]
    assert run(whole, *words).returncode == 0
    process = subprocess.Popen(
        command(stopped, *words), cwd=ROOT, env={**os.environ, "XLA_FLAGS": ""}
    )
    deadline = time.monotonic() + 300
    while not list((stopped / "state").glob("*/[0-9]*")) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert run(stopped, *words).returncode == 0
    reports = [json.loads((folder / "report.json").read_text()) for folder in (whole, stopped)]
    for name in ("learned", "history", "best_step"):
        assert reports[0][name] == reports[1][name], name
    losses = [[row["test_loss"] for row in report["comparison"]] for report in reports]
    assert losses[0] == losses[1]
    other = run(whole, "--steps=12", "--budget=301")
    assert other.returncode == 2
    assert "another run" in other.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--budget=20001"], "--budget: found 20001, expected at most"),
        (["--objective=target"], "--objective=target: needs --validation=FILE"),
        (["--objective=validation"], "--objective=validation: needs --pool=FILE"),
        (["--validation=x.jsonl"], "--objective=planted: brings its own data"),
        (
            ["--start_thresholds=0.65,0.5"],
            "--start_thresholds: found 0.5, expected numbers between",
        ),
        (["--label_embeddings=x.npz"], "--label_embeddings: the built-in pool has its own"),
        (["stray"], "stray: expected flags only"),
    ],
)
def test_one_line_for_bad_input(words, expected, tmp_path):
    done = run(tmp_path, *words)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"learn_params: {expected}")


def test_nan_in_a_table_of_results(files, tmp_path):
    table = tmp_path / "results.csv"
    table.write_text("subset,score\na.parquet,nan\n")
    done = run(
        tmp_path,
        *files[:2],
        "--budget=40",
        "--objective=subsets",
        f"--validation={table}",
        f"--test={table}",
    )
    assert done.returncode == 2
    assert "line 2, score: found nan, expected a finite number" in done.stderr
