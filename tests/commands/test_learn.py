"""The real command: learn, select, compare, report; stop and go on; refuse what cannot be used."""

from __future__ import annotations

import json
import pathlib
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from absl import flags

from mig_jax.commands import learn, main
from mig_jax.commands.command import main_of
from mig_jax.commands.learn_options import define_flags, options_of
from mig_jax.commands.learning_steps import kept_in_words
from mig_jax.errors import InputError
from mig_jax.learning import LearningStates, learning_run
from mig_jax.synthetic import BuiltinPool
from tests.dying import at_calls, dies
from tests.running import mig

PARTS = {"shared alone", "weights alone", "shapes alone"}


def run(workdir: pathlib.Path, *more: str) -> int:
    # One start, where three steps are enough to be better.
    start = 0.9 if "--objective=validation" in more else 0.8
    words = [f"--workdir={workdir}", f"--start_thresholds={start}", *more]
    return main_of(learn.COMMAND, words, called="learn")


def refused(capsys, workdir: pathlib.Path, *more: str) -> str:
    """The one line that the command says when it exits with 2."""
    assert run(workdir, *more) == 2
    *_, line = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("learn: ")
    return line


def select_again(workdir: pathlib.Path, *more: str) -> pathlib.Path:
    """Selects with the parameters of a run, by `mig-jax select`."""
    again = workdir / "again.jsonl"
    words = [f"--params={workdir / 'params'}", f"--output={again}", "--cache=none", *more]
    assert main.main(["select", *words]) == 0
    return again


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
    first = Counter(label for line in lines for label in json.loads(line)["mig_jax"]["labels"])
    liking = np.array(
        [sum(first[x] for x in json.loads(line)["mig_jax"]["labels"]) for line in lines]
    )
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
def test_report_and_parameters(objective, files, picked, tmp_path, capsys):
    words = [*files[:2], *picked[objective], files[-1], "--cache=none"]
    if objective == "validation":
        words.append("--noablation")
    assert run(tmp_path, *words, f"--objective={objective}", "--steps=3") == 0
    told = capsys.readouterr()
    for number in range(1, 6):
        assert f"[{number}/5]" in told.err
    assert f"report, with pictures -> {tmp_path / 'report.md'}" in told.out
    report = json.loads((tmp_path / "report.json").read_text())
    methods = {row["method"]: row for row in report["comparison"]}
    rivals = {"dsir", "rds"} if objective == "validation" else set()
    parts = PARTS if objective == "target" else set()
    assert set(methods) == {"random", "top_score", "paper", "grid", "learned"} | rivals | parts
    assert {name for name, row in methods.items() if row["is_part"]} == parts
    for row in methods.values():
        assert row["low"] <= row["test_loss"] <= row["high"]
        assert row["seconds"] >= 0
    # Of 40 labels no more than 3.9 are joined in the mean: some thresholds are the same.
    thresholds = report["settings"]["grid_thresholds"]
    assert len(report["settings"]["grid"]) == 16 * len(thresholds)
    assert {cell["threshold"] for cell in report["settings"]["grid"]} == set(thresholds)
    assert report["settings"]["paper_threshold"] in thresholds
    for note in report["notes"]:
        assert f"  {note}\n" in told.out
    in_force = [
        report["settings"][name] for name in ("score_function", "prior", "start_thresholds")
    ]
    noisy = objective == "validation"
    assert in_force == (["log", 0.1, [0.9]] if noisy else ["power", 1e-3, [0.8]])
    best = min(report["settings"]["grid"], key=lambda cell: cell["validation_loss"])
    assert methods["grid"]["validation_loss"] == pytest.approx(best["validation_loss"])
    runs = report["past_runs"]
    text = (tmp_path / "report.md").read_text()
    assert all(note[1:] in text for note in report["notes"])
    assert len(report["notes"]) == 2
    assert (runs is not None) == (objective == "subsets")
    if runs is not None:
        assert runs["correlations"][runs["kept"]] > 0.5  # The order of the results is plain.
        assert f"| {runs['kept']} (kept) |" in text
    # What is learned is better on held-out data than what it starts from, the more so if gains
    # are matched before the first step.
    assert report["budgets"] == ([] if objective in ("subsets", "imitation") else [10, 40, 160])
    assert ("gains were matched" in text) == (objective == "target")
    if objective != "target":
        history = [evaluation["held_out"] for evaluation in report["history"]]
        assert history[0] > min(history[1:])
    else:
        assert methods["learned"]["validation_loss"] < methods["paper"]["validation_loss"]
    assert ("What each part brings" in text) == bool(parts)
    kept = min(report["history"], key=lambda evaluation: evaluation["held_out"])
    told = {evaluation["step"]: evaluation["held_out"] for evaluation in report["history"]}
    assert told[report["best_step"]] == pytest.approx(kept["held_out"], rel=1e-4)
    for name in ("loss", "parameters", "score_functions", "selected_by_label"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert f"{name}.png" in text

    again = select_again(tmp_path, *files[:2], "--budget=40")
    manifest = json.loads(again.with_suffix(".manifest.json").read_text())
    for name in ("propagation", "threshold", "score_exponent"):
        after = report["learned"]["shared"]["after"][name]
        assert manifest["learned"][name] == pytest.approx(after, rel=1e-6)
    assert len(again.read_text().splitlines()) == 40
    assert again.read_bytes() == (tmp_path / "selected.jsonl").read_bytes()
    if objective == "validation":
        assert "another run" in refused(capsys, tmp_path, *words, "--objective=target", "--steps=3")


def test_params_stand_alone(tmp_path, capsys):
    words = ["--params=x", "--exponent=0.5", "--budget=3", f"--output={tmp_path / 'o.jsonl'}"]
    assert main.main(["select", *words]) == 2
    assert "--params: takes the place of --exponent" in capsys.readouterr().err


@pytest.mark.slow
def test_a_pool_is_read_as_by_all_commands(files, tmp_path):
    """Other names of fields, records that cannot be used, labels without an embedding."""
    lines = pathlib.Path(files[0].partition("=")[2]).read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    for row in rows:
        row["tags"] = row["mig_jax"].pop("labels")
    rows[7]["tags"].append("unheard of")
    bad = {**rows[3], "mig_jax": {"score": -1}}
    pool, workdir = tmp_path / "other.jsonl", tmp_path / "learned"
    pool.write_text("".join(json.dumps(row) + "\n" for row in [*rows, bad]))
    words = [f"--pool={pool}", files[1], "--field=labels=tags", "--on_bad_record=skip"]
    words += ["--missing_embeddings=isolate", "--budget=40", "--cache=none"]
    learning = ["--steps=2", "--parameters=features", "--score_function=saturating", "--noablation"]
    assert run(workdir, *words, *learning) == 0
    assert len((workdir / "learn.rejected.jsonl").read_text().splitlines()) == 1
    again = select_again(workdir, *words)
    assert again.read_bytes() == (workdir / "selected.jsonl").read_bytes()


@pytest.mark.slow
def test_builtin_pool_of_a_seed(tmp_path):
    """It is what `mig-jax make_pool` writes with that seed."""
    assert run(tmp_path, "--steps=1", "--budget=20", "--seed=3", "--noablation") == 0
    pool, labels = tmp_path / "pool.jsonl", tmp_path / "labels.npz"
    words = ["--records=20000", f"--output={pool}", f"--label_embeddings={labels}", "--seed=3"]
    assert main.main(["make_pool", *words]) == 0
    again = select_again(tmp_path, f"--pool={pool}", f"--label_embeddings={labels}", "--budget=20")
    assert again.read_bytes() == (tmp_path / "selected.jsonl").read_bytes()
    ids = [json.loads(again.read_text().splitlines()[0])["id"]]
    for selection in (tmp_path / "selected.jsonl", again):
        done = mig("explain", f"--selection={selection}", f"--record={ids[0]}", "--cache=none")
        assert ": picked, rank " in done.stdout, done.stderr


@pytest.mark.slow
def test_killed_and_resumed(files, tmp_path, capsys):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    words = ["--start_thresholds=0.8", "--steps=12", *files[:2], files[-1], "--cache=none"]
    assert run(whole, *words) == 0
    kept = at_calls("mig_jax.runs:RunFolder.put", 1)
    dies(kept, f"--workdir={stopped}", *words, module="experiments.learn_params")
    assert not (stopped / "report.md").exists()
    assert run(stopped, *words) == 0
    reports = [json.loads((folder / "report.json").read_text()) for folder in (whole, stopped)]
    for name in ("learned", "history", "best_step", "selection"):
        assert reports[0][name] == reports[1][name], name
    losses = [[row["test_loss"] for row in report["comparison"]] for report in reports]
    assert losses[0] == losses[1]
    for name in ("selected.jsonl", "selected.selection.parquet"):
        assert (whole / name).read_bytes() == (stopped / name).read_bytes()
        assert f"[{name}]({name})" in (whole / "report.md").read_text()
    again = select_again(whole, *files[:2], files[-1])
    for ending in (".jsonl", ".selection.parquet"):
        selected = whole / f"selected{ending}"
        assert again.with_suffix(ending).read_bytes() == selected.read_bytes()
    manifests = [
        json.loads(path.read_text())
        for path in (again.with_suffix(".manifest.json"), whole / "selected.manifest.json")
    ]
    for name in ("information", "certified_ratio", "labels_covered", "edges", "learned"):
        assert manifests[0][name] == manifests[1][name], name
    capsys.readouterr()
    assert "another run" in refused(capsys, whole, *words, "--budget=41")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--budget=20001"], "--budget: found 20001, expected at most"),
        (["--objective=target"], "--objective=target: needs --validation=FILE"),
        (["--objective=validation"], "--objective=validation: needs --pool=FILE"),
        (["--validation=x.jsonl"], "expected no --validation, or --objective=validation (or"),
        (
            ["--objective=target", f"--validation={__file__}", "--budget=20001"],
            "--objective=target: needs --test=FILE",  # Told before the pool is read.
        ),
        (
            ["--objective=target", f"--validation={__file__}", "--test=nowhere.jsonl"],
            "--test: found nowhere.jsonl, expected a file that exists",
        ),
        (
            ["--start_thresholds=0.65,0.5"],
            "--start_thresholds: found 0.5, expected numbers between",
        ),
        (["--label_embeddings=x.npz"], "--label_embeddings: the built-in pool has its own"),
        (["--budgets=100,0"], "--budgets: found 0, expected whole numbers of at least 1"),
        (["--budgets=100,30000"], "--budgets: found 30000, expected at most"),
        (["--workdir="], "--workdir: missing"),
        (["stray"], "stray: there is no such file to read"),
    ],
)
def test_one_line_for_bad_input(words, expected, tmp_path, capsys):
    workdir = tmp_path / "learned"
    assert expected in refused(capsys, workdir, *words)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_embeddings_are_needed_and_results_are_numbers(files, tmp_path, capsys):
    line = refused(capsys, tmp_path, files[0], "--budget=40", "--cache=none")
    assert "--label_embeddings: missing" in line
    table = tmp_path / "results.csv"
    table.write_text("subset,score\na.parquet,nan\n")
    other = tmp_path / "others.csv"
    other.write_text("subset,score\nb.parquet,1\n")
    words = [*files[:2], "--budget=40", "--objective=subsets", "--cache=none"]
    line = refused(capsys, tmp_path, *words, f"--validation={table}", f"--test={other}")
    assert "line 2, score: found nan, expected a finite number" in line
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == {table, other}


def test_what_is_judged_on_is_not_learned_from(files, tmp_path, capsys, monkeypatch):
    dev, test = (pathlib.Path(word.partition("=")[2]) for word in files[2:4])
    mine, copy, both = (tmp_path / name for name in ("mine.jsonl", "copy.jsonl", "both.jsonl"))
    rows, others = dev.read_text().splitlines(), test.read_text().splitlines()
    mine.write_text("\n".join(rows[:20]) + "\n")
    copy.write_text("\n".join(rows[:20]) + "\n")
    words = [*files[:2], f"--validation={mine}", "--objective=target", "--cache=none"]
    words += ["--budget=40"]
    for same in (mine, copy):  # Told before the pool is read.
        line = refused(capsys, tmp_path / "w", "--pool=nowhere.jsonl", *words[1:], f"--test={same}")
        assert f"--test: {same} says the same as --validation={mine}" in line
    other_form = {"id": "another"}  # Of the same records.
    copy.write_text("".join(json.dumps(json.loads(row) | other_form) + "\n" for row in rows[5:9]))
    line = refused(capsys, tmp_path / "w", *words, f"--test={copy}")
    assert "--test: all 4 of its records are among those of --validation; expected others" in line

    both.write_text("\n".join([*rows[:7], *others]) + "\n")

    def stops(*_, **__):
        raise InputError("as far as the test goes")

    monkeypatch.setattr(learn, "Learning", stops)
    for test_file, told in ((test, ""), (both, "7 of the 37 test records are among the")):
        assert run(tmp_path / "w", *words, f"--test={test_file}") == 2
        said = capsys.readouterr().err
        assert "as far as the test goes" in said
        assert told in said
        assert ("learning has seen them" in said) == bool(told)


def test_runs_and_records_named_twice_are_found(files, tmp_path, capsys, monkeypatch):
    rng = np.random.default_rng(0)
    runs = [np.sort(rng.choice(400, 40, replace=False)) for _ in range(7)]
    for number, rows in enumerate(runs):
        # In another order it is the same run.
        table_of_picks(tmp_path / f"{number}.parquet", rng.permutation(rows))
    for name, numbers in (("known", range(5)), ("judged", (3, 5, 6)), ("same", (4, 3))):
        lines = [f"{number}.parquet,{0.5 + number}" for number in numbers]
        (tmp_path / f"{name}.csv").write_text("\n".join(["subset,score", *lines]) + "\n")
    table_of_picks(tmp_path / "part.parquet", runs[0][:30])
    twice = len(set(runs[0]) & set(runs[1]))

    def stops(*_, **__):
        raise InputError("as far as the test goes")

    monkeypatch.setattr(learn, "Learning", stops)
    for objective, seen, judged, told in (
        ("subsets", "known.csv", "judged.csv", "1 of the 3 test runs is among the validation runs"),
        ("subsets", "known.csv", "same.csv", "all 2 of its runs are among those of --validation"),
        ("imitation", "0.parquet", "1.parquet", f"{twice} of the 40 test records are among"),
        ("imitation", "0.parquet", "part.parquet", "all 30 of its records are among those of"),
    ):
        words = [f"--validation={tmp_path / seen}", f"--test={tmp_path / judged}", "--cache=none"]
        words += [*files[:2], "--budget=40", f"--objective={objective}"]
        assert run(tmp_path / "w", *words) == 2
        assert told in capsys.readouterr().err


@pytest.mark.parametrize("similar", [0.0, 0.7, 0.99, "in fives"])
def test_on_ones_own_pool_t_is_learned_around_where_labels_have_usual_neighbours(files, similar):
    rng, told = np.random.default_rng(0), []
    vectors = rng.normal(size=(60, 300)) / 10
    if similar == "in fives":
        vectors = np.repeat(vectors[::5], 5, axis=0) + vectors / 2
    else:
        vectors = similar + (1 - similar) * vectors
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[-1] = 0  # Has none.
    present = np.arange(60) < 59
    near = np.sort((vectors @ vectors.T)[:59, :59][np.triu_indices(59, 1)])[::-1]
    usual, low = near[int(59 * 3.5 / 2)], near[59 * 7 // 2]  # Each pair is a neighbour of two.
    own = _options("--workdir=w", *files[:2])
    found = own.with_thresholds_that_fit(vectors, present, told.append)
    (start,) = found.start_thresholds
    assert start == pytest.approx(min(usual, 0.96), abs=0.01)
    lowest = 0.6 if similar == "in fives" else low
    assert found.lowest_threshold == pytest.approx(min(lowest, start - 0.01), abs=0.01)
    assert found.lowest_threshold <= start - 0.01
    assert f"T starts at {start:g}" in told.pop()
    given = [f"--start_thresholds={start}", f"--lowest_threshold={found.lowest_threshold}"]
    same = _options("--workdir=w", *files[:2], *given)
    assert same.settings() == found.settings()  # A stopped run goes on with either.
    for other in (same, _options("--workdir=w")):
        assert other.with_thresholds_that_fit(vectors, present, told.append) == other
    lower = _options("--workdir=w", *files[:2], "--start_thresholds=0.05")
    assert lower.with_thresholds_that_fit(vectors, present, told.append).lowest_threshold <= 0.04
    high = _options("--workdir=w", *files[:2], "--lowest_threshold=0.6")
    (start,) = high.with_thresholds_that_fit(vectors, present, told.append).start_thresholds
    assert start == pytest.approx(min(max(usual, 0.61), 0.96), abs=0.01)
    assert ("a lower --lowest_threshold" in told.pop()) == (usual < 0.61)
    assert not told


def _options(*words: str) -> learn.Options:
    values = flags.FlagValues()
    define_flags(values)
    values(["learn", *words])
    return options_of(values)


def test_the_example_has_all_that_its_objective_needs():
    *_, example = learn.COMMAND.examples
    assert "--validation=" in example
    assert "--test=" in example


def test_help_tells_all_flags(capsys):
    assert main_of(learn.COMMAND, ["--help_all"], called="mig-jax learn") == 0
    told = capsys.readouterr().out
    for name in ("objective", "on_bad_record", "field", "embedding_model", "start_thresholds"):
        assert f"  --{name}" in told


@pytest.mark.parametrize(
    ("matched", "step", "told"),
    [
        (False, 5, "0.6613 at the start, 0.5000 with what is kept, that of step 5 of 20"),
        (False, 0, "0.6613 at the start; the start was not improved in 20 steps, and is kept"),
        (True, 0, "0.6613 with the weights and shapes by which gains match; 20 steps from there"),
    ],
)
def test_the_log_says_what_is_kept_in_words(matched, step, told):
    history = [SimpleNamespace(held_out=0.66134)]
    state = SimpleNamespace(step=20, best_loss=0.5 if step else 0.66134)
    found = SimpleNamespace(history=history, state=state, best_step=step)
    task = SimpleNamespace(matches_gains=matched)
    line = kept_in_words(SimpleNamespace(found=found), task)
    assert line.startswith(f"loss on held-out data: {told}")
    assert line.endswith("kept") == (step == 0)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ([], None),
        (["--start_thresholds=0.7", "--budgets=10,40,160"], None),
        (["--steps=61"], "belongs to another run: setting steps (60; now 61) differs"),
        (["--noablation"], "setting ablation (True; now False) differs"),
        (["--budgets=10"], "setting budgets ((10, 40, 160); now (10,)) differs"),
        (["--start_thresholds=0.8"], "setting start_thresholds ([0.7]; now [0.8]) differs"),
        (["--lowest_threshold=0.5"], "setting lowest_threshold (0.6; now 0.5) differs"),
    ],
)
def test_other_settings_are_refused_before_the_pool_is_read(
    more, told, files, tmp_path, capsys, monkeypatch
):
    """States as a run leaves them that found where T starts, and what to learn for."""
    words = [f"--workdir={tmp_path}", *files[:2], "--budget=40", "--steps=60"]
    settings = _options(*words, "--start_thresholds=0.7", "--lowest_threshold=0.6").settings()
    run = learning_run(1.0, 2.0, [], 3.0, settings | {"budgets": (10, 40, 160)})
    with LearningStates(tmp_path / "state" / "weights_and_shapes", run):
        pass

    def reads(*_, **__):
        raise InputError("the pool is read")

    monkeypatch.setattr(learn, "read_table", reads)
    assert main_of(learn.COMMAND, [*words, *more], called="learn") == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert (told or "the pool is read") in line
