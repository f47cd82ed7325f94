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


METHODS = ["random", "top_score", "grid", "rds", "learned", "half"]


@pytest.mark.slow
def test_selections_are_judged_kept_and_compared(files, tmp_path, capsys):
    words = [f"--workdir={tmp_path}", *files, "--budgets=20,30", "--learned_for=10,30", "--steps=2"]
    words += ["--seeds=0,1", "--settings=all", f"--methods={','.join(METHODS)}"]
    assert run(compare_learned, *words) == 0
    # What is learned otherwise is another measure, and leaves what was judged alone.
    otherwise = [*words, "--methods=matched,powers", "--seeds=0"]
    before = np.load(tmp_path / "all_learned_0_30.npz")["picks"].tolist()
    assert run(compare_learned, *otherwise) == 0
    for method in ("matched", "powers"):
        assert np.load(tmp_path / f"all_{method}_0_30.npz")["picks"].tolist() != before
    assert run(compare_learned, *words) == 0
    with (tmp_path / "rows.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["budget"], row["method"]) for row in rows] == [
        (budget, method) for budget in ("20", "30") for method in METHODS
    ]
    for row in rows:
        seeds = 2 if row["method"] in ("random", "learned", "half") else 1
        assert int(row["seeds"]) == seeds
        kept = [
            np.load(tmp_path / f"all_{row['method']}_{seed}_{row['budget']}.npz")
            for seed in range(seeds)
        ]
        assert all(len(set(one["picks"].tolist())) == int(row["budget"]) for one in kept)
        losses = np.mean([one["losses"] for one in kept], axis=0)
        # Each of the two tasks counts the same; records are of one and the other in turn.
        middle = np.mean([losses[0::2].mean(), losses[1::2].mean()])
        assert float(row["test_loss"]) == pytest.approx(middle, abs=1e-5)
        assert float(row["low"]) <= middle <= float(row["high"])
        own = next(r for r in rows if (r["budget"], r["method"]) == (row["budget"], "learned"))
        gap = float(row["test_loss"]) - float(own["test_loss"])
        assert float(row["over_learned"]) == pytest.approx(gap, abs=1e-5)
    # One measure serves both budgets: the smaller selection is the first part of the larger.
    fewer, more = (np.load(tmp_path / f"all_learned_1_{n}.npz")["picks"] for n in (20, 30))
    assert fewer.tolist() == more[:20].tolist()
    times = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.npz")}
    assert run(compare_learned, *words) == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.npz")} == times
    capsys.readouterr()
    assert run(compare_learned, *words, "--steps=3") == 2
    assert "has selections of another steps; expected the same" in capsys.readouterr().err


@pytest.mark.slow
def test_all_tasks_count_the_same(files, tmp_path):
    words = [f"--workdir={tmp_path}", *files, "--budgets=30", "--learned_for=30", "--seeds=0"]
    assert run(compare_learned, *words, "--methods=random,paper") == 0
    with (tmp_path / "rows.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(dict.fromkeys(row["setting"] for row in rows)) == ["all", "task 0", "task 1"]
    for method in ("random", "paper"):
        means = [float(row["test_loss"]) for row in rows if row["method"] == method]
        assert means[0] == pytest.approx(np.mean(means[1:]), abs=1e-5)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("--methods=random,lerned", "--methods: lerned: expected of random, top_score"),
        ("--budgets=0", "--budgets: found 0, expected whole numbers of at least 1"),
        ("--seeds=-1", "--seeds: found -1, expected whole numbers of at least 0"),
    ],
)
def test_comparisons_refuse_what_they_do_not_know(word, expected, files, tmp_path, capsys):
    assert run(compare_learned, f"--workdir={tmp_path / 'w'}", *files, word) == 2
    assert expected in capsys.readouterr().err
    assert not (tmp_path / "w").exists()


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
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith("learn: stray: there is no such file to read; ")
