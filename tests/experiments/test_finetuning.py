"""Studies by use: selections judged by a model from scratch, and what would have told it."""

from __future__ import annotations

import csv
import json
import pathlib
import shutil

import numpy as np
import pytest

from experiments import finetune, proxies
from experiments.finetuning.base_models import read_base_model, read_encoder
from experiments.finetuning.cells import KeptLines, read_kept
from experiments.finetuning.influences import read_influences
from experiments.finetuning.study import Study, chosen_per_task
from mig_jax import data
from mig_jax.commands.command import main_of
from mig_jax.language_models import EncodedRecords, Tuning
from mig_jax.learning import Judges, conversation_bags
from mig_jax.synthetic import BuiltinPool
from tests.dying import at_calls, dies
from tests.oracles import power, propagated, propagation_matrix, total_information

pytest.importorskip("tokenizers")
pytest.importorskip("jinja2")

_SMALL = ("--model=scratch:32x1", "--row=128", "--rows=2", "--test_records=8", "--tokens=900")
_METHODS = (
    "random,random#1,top_score,longest,influence,mig_exact,mig_asked,mig_asked@900,mig_asked@200"
)
_CELLS = 2 + _METHODS.count(",") + 1  # The first line, the untrained model, each method.


def run(program, *words: str) -> int:
    return main_of(program.COMMAND, words, called=program.__name__.rpartition(".")[2])


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    """A pool of two sources, and validation and test records of two tasks."""
    folder = tmp_path_factory.mktemp("pool")
    pool = BuiltinPool(records=120, labels=20, topics=4)
    rows = [json.loads(line) for line in pool.lines()]
    for number, row in enumerate(rows):
        row |= {"source": f"source {number % 2}", "task": f"task {number % 2}"}
    names, vectors = pool.label_embeddings()
    np.savez(folder / "emb.npz", labels=np.array(names), embeddings=vectors)
    for name, part in (("pool", rows[:80]), ("dev", rows[80:100]), ("test", rows[100:])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    return folder


@pytest.fixture(scope="module")
def files(folder) -> list[str]:
    return [
        f"--pool={folder / 'pool.jsonl'}",
        f"--label_embeddings={folder / 'emb.npz'}",
        f"--validation={folder / 'dev.jsonl'}",
        f"--test={folder / 'test.jsonl'}",
    ]


@pytest.fixture(scope="module")
def words(files) -> list[str]:
    return [*files, *_SMALL, f"--methods={_METHODS}", "--seeds=1", "--step_sizes=1e-2"]


@pytest.fixture(scope="module")
def study(words, tmp_path_factory) -> pathlib.Path:
    """A study that ran through."""
    workdir = tmp_path_factory.mktemp("study")
    assert run(finetune, f"--workdir={workdir}", *words, "--epochs=2") == 0
    return workdir


@pytest.mark.slow
def test_a_study_judges_what_it_trained(study, words, folder):
    _, cells = read_kept(study / "cells.jsonl", "cells")
    assert list(cells) == [
        "untrained",
        *(f"{method} | 900 tokens | 0" for method in _METHODS.split(",")),
    ]
    _, chosen = read_kept(study / "selections.jsonl", "selections")
    by_learning_for = [chosen[f"mig_asked{end} | 900 tokens | 0"] for end in ("", "@900", "@200")]
    assert by_learning_for[0] == by_learning_for[1] != by_learning_for[2]
    untrained = np.mean(cells["untrained"]["content"])
    for key, picks in chosen.items():
        cell = cells[key]
        assert np.mean(cell["content"]) < untrained - 0.5
        assert len(cell["content"]) == len(cell["end"]) == 16
        assert cell["records"] == len(set(picks)) == len(picks)
        assert 800 < cell["tokens"] <= 900
        assert 0 < cell["response_tokens"] < cell["tokens"]
    with (study / "results.csv").open(newline="") as stream:
        rows = {row["method"]: row for row in csv.DictReader(stream)}
    all_fit = np.ones(20, bool)
    of_file = data.read_validation(str(folder / "test.jsonl")).groups
    groups = of_file[chosen_per_task(all_fit, of_file, 8)]
    for method, row in rows.items():
        lost = np.array(cells[f"{method} | 900 tokens | 0"]["content"])
        means = [lost[groups == task].mean() for task in ("task 0", "task 1")]
        assert float(row["content"]) == pytest.approx(np.mean(means), abs=1e-4)
    before = (study / "cells.jsonl").read_bytes()
    assert run(finetune, f"--workdir={study}", *words, "--epochs=2") == 0
    assert (study / "cells.jsonl").read_bytes() == before


@pytest.mark.slow
def test_cells_side_by_side_are_the_cells_of_one_by_one(study, words, tmp_path):
    """Three at once, so that the last group is not full."""
    words = [f"--workdir={tmp_path}", *words, "--epochs=2", "--cells_at_once=3"]
    assert run(finetune, *words) == 0
    expected, found = (
        read_kept(folder / "cells.jsonl", "cells")[1] for folder in (study, tmp_path)
    )
    assert list(found) == list(expected)
    for key, cell in found.items():
        for name in ("content", "end"):
            np.testing.assert_allclose(cell[name], expected[key][name], atol=0.01, err_msg=key)
        assert cell["records"] == expected[key]["records"]


@pytest.mark.slow
def test_a_study_keeps_what_records_teach_of_tasks_once(study, words, folder, tmp_path):
    blocks = [dict(np.load(study / "gradients" / f"0000{n}.npz")) for n in (0, 1)]
    place = {record: row for row, record in enumerate(blocks[1]["records"].tolist())}
    run_of_study, _ = read_kept(study / "cells.jsonl", "cells")
    found = read_influences(study, run_of_study)
    assert found is not None
    rows = [place[record] for record in found.records.tolist()]
    assert sorted(rows) == list(range(len(place)))
    assert found.losses.tolist() == blocks[1]["losses"][rows].tolist()
    table = data.read_pool([str(folder / "pool.jsonl")])
    texts = list(data.read_texts(table))
    encoder = read_encoder("scratch:32x1", "model", lambda: (t for pair in texts for t in pair))
    costs = encoder(texts).lengths[found.records]
    gradients = blocks[1]["gradients"][rows].astype(np.float64)
    fisher = np.zeros((gradients.shape[1],) * 2)
    for own, tokens in zip(gradients, costs, strict=True):
        fisher += np.outer(own, own) / tokens / len(gradients)
    fisher += np.eye(len(fisher)) * np.trace(fisher) / len(fisher)
    groups = data.read_validation(str(folder / "dev.jsonl")).groups
    assert found.tasks == ["task 0", "task 1"]
    for column, task in enumerate(found.tasks):
        of_task = blocks[0]["wanted"][groups == task].astype(np.float64)
        wanted = of_task[of_task.any(axis=1)].mean(axis=0)  # Of those that fit.
        expected = gradients @ np.linalg.inv(fisher) @ wanted
        np.testing.assert_allclose(
            found.taught[:, column], expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max()
        )
    before = (study / "influences.npz").stat()
    more = [*words, "--epochs=2", "--methods=less"]
    copy = tmp_path / "copy"
    shutil.copytree(study, copy)
    assert run(finetune, f"--workdir={copy}", *more) == 0
    assert (copy / "influences.npz").stat().st_mtime_ns == before.st_mtime_ns
    # Gradients of before it was kept are not asked for again.
    (copy / "influences.npz").unlink()
    assert run(finetune, f"--workdir={copy}", *more, "--seeds=2") == 0
    assert (copy / "influences.npz").read_bytes() == (study / "influences.npz").read_bytes()


@pytest.mark.slow
def test_a_killed_study_goes_on_and_ends_as_if_it_had_not_been(study, words, tmp_path):
    words = [f"--workdir={tmp_path}", *words, "--epochs=2"]
    cells = tmp_path / "cells.jsonl"
    kept = "experiments.finetuning.cells:KeptLines.put"
    dies(at_calls(kept, 4), *words, module="experiments.finetune")
    done = cells.read_bytes()
    assert 2 <= done.count(b"\n") < _CELLS
    whole = done[: done.rindex(b"\n") + 1]
    with cells.open("ab") as stream:
        stream.write(b'["longest | 900')  # As if it had died in the middle of a line.
    assert run(finetune, *words) == 0
    assert cells.read_bytes().startswith(whole)
    for name in ("cells.jsonl", "selections.jsonl", "results.csv", "results.md"):
        assert (tmp_path / name).read_bytes() == (study / name).read_bytes()


@pytest.mark.slow
def test_another_recipe_is_another_study(study, words, capsys):
    before = (study / "cells.jsonl").read_bytes()
    assert run(finetune, f"--workdir={study}", *words, "--epochs=3") == 2
    assert "belongs to another run: epochs (2; now 3) differs" in capsys.readouterr().err
    assert (study / "cells.jsonl").read_bytes() == before


@pytest.mark.slow
def test_a_specialist_is_judged_on_its_task_and_studies_share_activations(files, tmp_path):
    kept = tmp_path / "activations"
    words = [*files, *_SMALL, "--model=scratch:32x2", "--layers=1", f"--activations={kept}"]
    words += ["--seeds=1", "--step_sizes=1e-2", "--methods=random,influence"]
    alone = [f"--workdir={tmp_path / 'a'}", "--task=task 1"]
    assert run(finetune, *words, *alone) == 0
    before = {path: path.stat().st_mtime_ns for path in kept.glob("pool-*/activations")}
    assert len(before) == 1
    assert run(finetune, *words, f"--workdir={tmp_path / 'b'}") == 0
    assert len(list(kept.glob("pool-*"))) == 1
    assert len(list(kept.glob("test-*"))) == len(list(kept.glob("validation-*"))) == 2
    one, both = (read_kept(tmp_path / name / "cells.jsonl", "cells")[1] for name in "ab")
    assert len(one["untrained"]["content"]) == 8
    assert len(both["untrained"]["content"]) == 16
    # A random choice does not look at the task, so the models are the same.
    key = "random | 900 tokens | 0"
    assert set(one[key]["content"]) <= set(both[key]["content"])
    assert run(finetune, *words, f"--workdir={tmp_path / 'c'}", "--task=task 9") == 2


def test_another_models_tokens_decide_what_fits_and_what_it_costs(folder, tmp_path):
    """Here words are what counts: half of them are the limit, and all studies have the same."""
    table = data.read_pool([str(folder / "pool.jsonl")])
    texts = list(data.read_texts(table))
    validation, test = (data.read_validation(str(folder / f"{n}.jsonl")) for n in ("dev", "test"))

    def words_of(conversations):
        counts = np.array([[len(text.split()) for text in pair] for pair in conversations])
        offsets = np.concatenate([[0], np.cumsum(counts.sum(axis=1))])
        asked = counts[:, 0].astype(np.int32)
        return EncodedRecords(np.zeros(offsets[-1], np.int32), offsets, asked)

    counts = words_of(texts)
    limit = int(np.median(counts.lengths))
    found = []
    for name in ("scratch:32x1", "scratch:64x1"):
        model = read_base_model(name, "model", lambda: (t for pair in texts for t in pair))
        found.append(
            Study(
                tmp_path,
                model,
                Tuning(0),
                row=limit,
                rows=2,
                table=table,
                validation=validation,
                test=test,
                test_records=4,
                counted=words_of,
            )
        )
    of_test = words_of(test.conversations).lengths
    for one in found:
        assert one.costs.tolist() == [len(f"{a} {b}".split()) for a, b in texts]
        assert one.response_costs.tolist() == [len(said.split()) for _, said in texts]
        assert one.fits.tolist() == np.flatnonzero(counts.lengths <= limit).tolist()
        assert one.row >= one.encoded.lengths[one.fits].max() > limit
        assert (of_test[one.judged.records] <= limit).all()
        assert one.judged.records.tolist() == found[0].judged.records.tolist()
    assert found[0].identity()["costs"] == found[1].identity()["costs"]


def _write_cells(study: pathlib.Path, run_of_study: dict, selections: list[list[int]], content):
    """Cells as a study keeps them, of methods named by letters."""
    study.mkdir(exist_ok=True)
    keys = [f"{chr(97 + n // 2)} | 900 tokens | {n % 2}" for n in range(len(selections))]
    with (
        KeptLines(study / "selections.jsonl", "selections", {}) as chosen,
        KeptLines(study / "cells.jsonl", "cells", run_of_study) as cells,
    ):
        for key, picks in zip(keys, selections, strict=True):
            if key not in cells:
                chosen.put(key, picks)
                lost = content(picks)
                cell = {"content": lost, "end": lost, "records": len(picks), "tokens": 900}
                cells.put(key, cell | {"response_tokens": 500})


@pytest.mark.slow
def test_proxies_are_what_they_say_and_go_on(study, folder, files, tmp_path, capsys):
    run_of_study, _ = read_kept(study / "cells.jsonl", "cells")
    table = data.read_pool([str(folder / "pool.jsonl")])
    rng = np.random.default_rng(0)
    selections = [rng.permutation(80)[:20].tolist() for _ in range(10)]

    def content(picks):  # The mean score alone decides what is lost, and twice in one task.
        score = float(table.scores[picks].mean())
        return [score, 2 * score] * 8

    words = [f"--workdir={tmp_path / 'w'}", f"--study={tmp_path / 's'}", *files, "--tokens=900"]
    words += ["--model=scratch:32x1", f"--judges={tmp_path / 'j'}"]
    _write_cells(tmp_path / "s", run_of_study, selections[:7], content)
    assert run(proxies, *words) == 2
    assert "7 selections of 900 tokens are judged; expected at least 8" in capsys.readouterr().err

    _write_cells(tmp_path / "s", run_of_study, selections[:9], content)
    _write_cells(tmp_path / "j", run_of_study, selections[:8], lambda p: [-x for x in content(p)])
    assert run(proxies, *words) == 0
    kept = (tmp_path / "w" / "values.jsonl").read_bytes()
    assert kept.count(b"\n") == 1 + 9 * 11
    assert "influence, loss left out: " in capsys.readouterr().err
    _write_cells(tmp_path / "s", run_of_study, selections, content)
    shutil.copy(study / "influences.npz", tmp_path / "s")
    assert run(proxies, *words, "--proxies=score,loss,records") == 0
    some = (tmp_path / "w" / "values.jsonl").read_bytes()
    assert some.startswith(kept)
    assert some.count(b"\n") == 1 + 9 * 11 + 2 + 10
    assert run(proxies, *words) == 0
    assert (tmp_path / "w" / "values.jsonl").read_bytes().startswith(some)
    assert (tmp_path / "w" / "values.jsonl").read_bytes().count(b"\n") == 1 + 10 * 13

    assert "10 selections of 5 methods" in (tmp_path / "w" / "correlations.md").read_text()
    with (tmp_path / "w" / "correlations.csv").open(newline="") as stream:
        rows = {row["proxy"]: row for row in csv.DictReader(stream)}
    for name, count, sign in (("score", "10", 1), (str(tmp_path / "j"), "8", -1)):
        assert rows[name]["selections"] == count
        for column in ("all tasks", "all tasks, low", "all tasks, high", "task 0", "task 1"):
            assert float(rows[name][column]) == pytest.approx(sign)
    assert rows["records"]["all tasks"] == ""  # All have as many.

    _, values = read_kept(tmp_path / "w" / "values.jsonl", "proxies")
    of_name: dict[str, list[dict]] = {}
    for key, value in values.items():
        of_name.setdefault(key.split(" | ")[0], []).append(value)
    _check_values(of_name, selections, table, folder)


def _check_values(of_name, selections, table, folder) -> None:
    """Against plain forms of them: E of Eq. 8 over a dense graph, and cosines one by one."""
    with np.load(folder / "emb.npz") as stored:
        vectors = dict(zip(stored["labels"].tolist(), stored["embeddings"], strict=True))
    rows = np.array([vectors[name] for name in table.label_names])
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    cosines = rows @ rows.T
    number = len(rows)
    edges = [(a, b, cosines[a, b]) for a in range(number) for b in range(a) if cosines[a, b] >= 0.9]
    matrix = propagation_matrix(number, edges, 1.0)
    labels = [
        table.labels[a:b].tolist()
        for a, b in zip(table.offsets[:-1], table.offsets[1:], strict=True)
    ]
    spread = propagated(labels, table.scores / table.scores.mean(), matrix)
    test = data.read_validation(str(folder / "test.jsonl"))
    bags = conversation_bags(data.read_texts(table))
    judges = Judges(bags, conversation_bags(test.conversations))
    for n, picks in enumerate(selections):
        z = spread[picks].sum(axis=0)
        expected = total_information(power(0.8, 1e-6), z)
        assert of_name["information"][n]["all tasks"] == pytest.approx(expected, rel=1e-3)
        assert of_name["score"][n]["all tasks"] == pytest.approx(table.scores[picks].mean())
        assert of_name["length"][n] == {"all tasks": 45.0}
    losses = judges.losses(np.array(selections[0]))
    means = {task: float(losses[test.groups == task].mean()) for task in ("task 0", "task 1")}
    assert of_name["test networks"][0] == pytest.approx(
        means | {"all tasks": sum(means.values()) / 2}, rel=1e-5
    )
    dev = data.read_validation(str(folder / "dev.jsonl"))
    losses = Judges(bags, conversation_bags(dev.conversations)).losses(np.array(selections[0]))
    means = {task: float(losses[dev.groups == task].mean()) for task in ("task 0", "task 1")}
    assert of_name["validation networks"][0] == pytest.approx(
        means | {"all tasks": sum(means.values()) / 2}, rel=1e-5
    )


@pytest.mark.slow
def test_proxies_refuse_a_study_of_other_test_records(study, files, folder, tmp_path, capsys):
    run_of_study, _ = read_kept(study / "cells.jsonl", "cells")
    selections = [list(range(n, n + 5)) for n in range(8)]
    _write_cells(tmp_path / "s", run_of_study, selections, lambda picks: [1.0] * 14)
    words = [f"--study={tmp_path / 's'}", *files, "--tokens=900", "--model=scratch:32x1"]
    assert run(proxies, f"--workdir={tmp_path / 'w'}", *words) == 2
    assert "was judged on other records; expected the --test" in capsys.readouterr().err
    assert not (tmp_path / "w" / "correlations.csv").exists()
    words[0] = f"--study={folder}"
    assert run(proxies, f"--workdir={tmp_path / 'w'}", *words) == 2
    assert "cells.jsonl: No such file or directory; expected the cells" in capsys.readouterr().err
