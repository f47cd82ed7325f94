"""The comparisons over tasks and over sources: the real commands on a small pool."""

from __future__ import annotations

import csv
import json
import pathlib

import numpy as np
import pytest

from experiments import compare_learned, transfer
from mig_jax.commands import learn
from mig_jax.commands.command import main_of
from mig_jax.synthetic import BuiltinPool
from tests.running import ROOT

PRESETS = sorted((ROOT / "experiments" / "presets").glob("*.flags"))


def run(program, *words: str) -> int:
    return main_of(program.COMMAND, words, called=program.__name__.rpartition(".")[2])


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> list[str]:
    """A pool of four sources and validation records of two tasks.

    The sources have the same labels and other scores: so all parts of the pool are of one shape,
    for which programs are compiled once.
    """
    folder = tmp_path_factory.mktemp("pool")
    pool = BuiltinPool(records=60, labels=20, topics=4)
    rng = np.random.default_rng(0)
    rows = []
    for number, line in enumerate([*pool.lines()] * 4):
        row = json.loads(line)
        row |= {"source": f"source {number // 60}", "task": f"task {number % 2}"}
        row["mig_jax"]["score"] = float(rng.uniform(1, 30))
        rows.append(row)
    names, vectors = pool.label_embeddings()
    np.savez(folder / "emb.npz", labels=np.array(names), embeddings=vectors)
    for name, part in (("pool", rows), ("dev", rows[:40]), ("test", rows[40:80])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    return [
        f"--pool={folder / 'pool.jsonl'}",
        f"--label_embeddings={folder / 'emb.npz'}",
        f"--validation={folder / 'dev.jsonl'}",
        f"--test={folder / 'test.jsonl'}",
    ]


@pytest.mark.slow
def test_each_task_and_all_are_compared_and_kept(files, tmp_path):
    words = [f"--workdir={tmp_path}", *files, "--budgets=30", "--seeds=1", "--steps=2"]
    assert run(compare_learned, *words) == 0
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert [row["setting"] for row in rows] == ["all", "task 0", "task 1"]
    for row in rows:
        losses = [row[name] for name in ("random", "top_score", "paper", "grid", "learned")]
        assert np.isfinite(losses).all()
        assert row["over_grid"] == pytest.approx(row["learned"] - row["grid"], abs=1e-5)
        assert row["over_grid_low"] <= row["over_grid"] <= row["over_grid_high"]
    for method in ("random", "paper", "grid"):  # All tasks count the same.
        means = [row[method] for row in rows]
        if method != "grid":  # Whose cell is another for each setting.
            assert means[0] == pytest.approx(np.mean(means[1:]), abs=1e-5)
    kept = (tmp_path / "rows.jsonl").read_bytes()
    assert run(compare_learned, *words) == 0
    assert (tmp_path / "rows.jsonl").read_bytes() == kept
    with (tmp_path / "rows.csv").open(newline="") as stream:
        assert [row["setting"] for row in csv.DictReader(stream)] == [r["setting"] for r in rows]


@pytest.mark.slow
def test_transfer_judges_both_halves(files, tmp_path):
    words = [f"--workdir={tmp_path}", *files, "--budget=30", "--seeds=1", "--steps=2"]
    assert run(transfer, *words) == 0
    with (tmp_path / "transfer.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["used_on"] for row in rows] == ["first", "second"]
    for row in rows:
        gap = float(row["transferred"]) - float(row["paper"])
        assert float(row["over_paper"]) == pytest.approx(gap, abs=1e-5)
        assert 0 <= float(row["part_of_the_way"]) <= 1


def test_one_source_cannot_be_halved(files, tmp_path, capsys):
    pool = tmp_path / "pool.jsonl"
    rows = [json.loads(line) for line in pathlib.Path(files[0][7:]).read_text().splitlines()]
    pool.write_text("".join(json.dumps(row | {"source": "one"}) + "\n" for row in rows[:20]))
    assert run(transfer, f"--workdir={tmp_path / 'w'}", f"--pool={pool}", *files[1:]) == 2
    assert "all records have one source; expected at least" in capsys.readouterr().err


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_presets_are_flags_of_the_program(preset, capsys):
    assert run(learn, f"--flagfile={preset}", "--workdir=unused", "stray") == 2
    assert capsys.readouterr().err.splitlines() == [
        "learn: stray: expected flags only, as --flag=value"
    ]
