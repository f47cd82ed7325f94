"""The real command: learn, compare, report; stop and go on; refuse what cannot be used."""

from __future__ import annotations

import json
import pathlib
import signal
import subprocess
import sys
import time
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mig_jax.synthetic import BuiltinPool
from tests.running import ROOT


def command(workdir: pathlib.Path, *more: str) -> list[str]:
    words = [sys.executable, "-m", "experiments.learn_params", f"--workdir={workdir}"]
    return [*words, "--start_thresholds=0.8", *more]


@pytest.fixture(autouse=True, scope="module")
def compiled_once(tmp_path_factory):
    """Most runs compile the same programs: the later ones find them on disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XLA_FLAGS", "")
        patch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path_factory.mktemp("compiled")))
        patch.setenv("JAX_PERSISTENT_COMPILATION_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
        yield


def run(workdir: pathlib.Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(workdir, *more),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> list[str]:
    """A small pool whose records are conversations, and its embeddings."""
    folder = tmp_path_factory.mktemp("pool")
    pool = BuiltinPool(records=400, labels=40, topics=5)
    (folder / "pool.jsonl").write_bytes(b"".join(pool.lines()))
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


def table_of_picks(path: pathlib.Path, rows: np.ndarray) -> None:
    """Rows of the pool as `mig-jax select` writes them."""
    columns = {"file": ["pool.jsonl"] * len(rows), "line": [int(row) + 1 for row in rows]}
    pq.write_table(pa.table(columns), path)


@pytest.fixture(scope="module")
def picked(files, tmp_path_factory) -> dict[str, list[str]]:
    """Flags with data for each objective: conversations, curated sets, measured past runs."""
    folder = tmp_path_factory.mktemp("picked")
    rng = np.random.default_rng(0)
    lines = pathlib.Path(files[0].partition("=")[2]).read_bytes().splitlines()
    # Records of frequent labels are liked, by the curator and by the measurements alike.
    first = Counter(label for line in lines for label in json.loads(line)["labels"])
    liking = np.array([sum(first[x] for x in json.loads(line)["labels"]) for line in lines])
    best = np.argsort(-liking, kind="stable")
    flags: dict[str, list[str]] = {"imitation": [], "subsets": []}
    for number, flag in enumerate(("validation", "test")):
        table_of_picks(folder / f"{flag}.parquet", best[number:60:2])
        flags["imitation"].append(f"--{flag}={folder / flag}.parquet")
        runs = ["subset,score"]
        for run_number in range(6):
            chosen = rng.choice(len(lines), 40, replace=False)
            chosen[: 6 * run_number] = best[: 6 * run_number]
            chosen = np.unique(chosen)
            table_of_picks(folder / f"{flag}_{run_number}.parquet", chosen)
            runs.append(f"{flag}_{run_number}.parquet,{liking[chosen].sum()}")
        (folder / f"{flag}.csv").write_text("\n".join(runs) + "\n")
        flags["subsets"].append(f"--{flag}={folder / flag}.csv")
    return {**flags, "target": files[2:4], "validation": files[2:4]}


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["target", "validation", "subsets", "imitation"])
def test_report_and_parameters(objective, files, picked, tmp_path):
    words = [*files[:2], *picked[objective], files[-1]]
    done = run(tmp_path, *words, f"--objective={objective}", "--steps=3")
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
    left_out = report["leave_one_out_spearman"]
    assert (left_out is not None) == (objective == "subsets")
    if left_out is not None:
        assert left_out > 0.5  # The order of the results is plain to see.
        assert "Each past run was left out once" in (tmp_path / "report.md").read_text()
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
    process = subprocess.Popen(command(stopped, *words), cwd=ROOT)
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
