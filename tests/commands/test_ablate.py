"""The command `mig-jax ablate`, on a small generated pool."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys

import jax
import numpy as np
import pyarrow.parquet as pq
import pytest

import mig_jax
from mig_jax import data
from mig_jax.commands import ablate
from mig_jax.commands.command import main_of
from mig_jax.synthetic import BuiltinPool
from tests.dying import at_file, dies
from tests.running import ROOT
from tests.strategies import to_float64

BUDGET = 30
GRID = (
    f"--budget={BUDGET}",
    "--families=power,log",
    "--exponents=0.3,0.8",
    "--rates=0.1",
    "--propagations=0.5,1",
    "--thresholds=0.7,0.8",
    "--paper_threshold=0.9",
)
# The paper's setting has another threshold than the grid's, and so is one more.
CELLS = (2 + 1) * 2 * 2 * 2 + 1


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    """Flags that name 300 generated records and the embeddings of their labels."""
    folder = tmp_path_factory.mktemp("pool")
    generated = BuiltinPool(records=300, labels=60, topics=6)
    (folder / "pool.jsonl").write_bytes(b"".join(generated.lines()))
    data.write_label_embeddings(folder / "labels.npz", *generated.label_embeddings())
    return (
        f"--pool={folder / 'pool.jsonl'}",
        f"--label_embeddings={folder / 'labels.npz'}",
        "--cache=none",
    )


@pytest.fixture(scope="module")
def finished(pool, tmp_path_factory):
    """The directory of a grid that ran without a stop, in this process."""
    workdir = tmp_path_factory.mktemp("grid")
    compiled = []

    def on_duration(event: str, _: float, *, fun_name: str = "", **details: object) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(fun_name)

    jax.clear_caches()
    jax.monitoring.register_event_duration_secs_listener(on_duration)
    assert run(*pool, *GRID, f"--workdir={workdir}") == 0
    jax.monitoring.unregister_event_duration_listener(on_duration)
    assert sum("select_grid" in name for name in compiled) == 2  # One program a family.
    return workdir


def outputs(workdir):
    """Bytes of all outputs but the manifest, which has times in it."""
    files = {path.name: path.read_bytes() for path in workdir.glob("ablation.*")}
    del files["ablation.manifest.json"]
    return files


def run(*arguments):
    return main_of(ablate.COMMAND, arguments, called="ablate")


def command(*arguments):
    return [sys.executable, "-m", "experiments.ablate", *map(str, arguments)]


def refused(capsys, *arguments):
    """The one line that the command says when it exits with 2."""
    assert run(*arguments) == 2
    *_, line = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("ablate: ")
    return line


def test_rows_tell_what_settings_select(pool, finished):
    rows = pq.read_table(finished / "ablation.parquet").to_pylist()
    with open(finished / "ablation.csv", newline="") as stream:
        for text, row in zip(csv.DictReader(stream), rows, strict=True):
            assert [type(value)(text[name]) for name, value in row.items()] == list(row.values())
    assert len(rows) == CELLS
    cells = {(r["family"], r["value"], r["propagation"], r["threshold"], r["gain"]) for r in rows}
    assert len(cells) == CELLS
    picks = np.load(finished / "ablation.picks.npz")["picks"]
    table = data.read_pool([pool[0].removeprefix("--pool=")])
    ours = mig_jax.pool_from_table(table)
    embeddings, present = data.read_label_embeddings(
        pool[1].removeprefix("--label_embeddings="), table.label_names
    )

    def graph_at(threshold):
        return mig_jax.label_graph_from_embeddings(embeddings, threshold, present=present)

    def held(measure, threshold, chosen):
        amounts = np.zeros(ours.num_records)
        amounts[chosen] = 1
        with jax.enable_x64(True):
            wide, graph, measure = to_float64((ours, graph_at(threshold), measure))
            z = mig_jax.label_information(wide, graph, measure, amounts)
            return float(mig_jax.information(measure, z))

    paper = mig_jax.Measure(mig_jax.Power(0.8, 1e-6), 1.0)
    (own,) = [r for r in rows if r["threshold"] == 0.9]
    assert (own["setting"], own["family"], own["value"], own["gain"]) == (0, "power", 0.8, "linear")
    assert own["overlap_with_paper"] == 1
    for row in [*rows[:6], *rows[-3:]]:
        function = mig_jax.FAMILIES[row["family"]](**{row["parameter"]: row["value"]})
        measure, chosen = mig_jax.Measure(function, row["propagation"]), picks[row["setting"]]
        np.testing.assert_allclose(
            [row["information"], row["information_paper"]],
            [held(measure, row["threshold"], chosen), held(paper, 0.9, chosen)],
            rtol=1e-5,
        )
        labels = {label for d in chosen for label in ours.labels[ours.records == d].tolist()}
        assert row["labels_covered"] == len(labels)
        np.testing.assert_allclose(row["mean_score"], ours.scores[chosen].mean(), rtol=1e-5)
        both, either = (
            len(operation(set(chosen.tolist()), set(picks[0].tolist())))
            for operation in (set.intersection, set.union)
        )
        np.testing.assert_allclose(row["overlap_with_paper"], both / either)
    for row in (rows[2], rows[-1]):
        function = mig_jax.FAMILIES[row["family"]](**{row["parameter"]: row["value"]})
        alone = mig_jax.select(
            ours,
            graph_at(row["threshold"]),
            BUDGET,
            measure=mig_jax.Measure(function, row["propagation"]),
            gain=mig_jax.GAIN_RULES[row["gain"]],
        )
        np.testing.assert_array_equal(picks[row["setting"]], alone.picks)


def test_heat_maps_and_manifest(finished):
    names = {path.name for path in finished.glob("*.png")}
    assert names == {
        f"ablation.{family}_{gain}.png"
        for family in ("power", "log")
        for gain in mig_jax.GAIN_RULES
    }
    for name in names:
        assert (finished / name).read_bytes().startswith(b"\x89PNG")
    manifest = json.loads((finished / "ablation.manifest.json").read_text())
    assert (manifest["settings"], manifest["resumed_settings"]) == (CELLS, 0)
    assert len(manifest["seconds_of_settings"]) == CELLS


def test_one_threshold_and_no_heat_maps(pool, tmp_path):
    flags = [*pool, "--budget=5", "--families=saturating", "--rates=1", "--gains=exact"]
    one = [*flags, "--thresholds=0.8", "--paper_threshold=0.8", "--propagations=0,1"]
    assert run(*one, f"--workdir={tmp_path / 'a'}") == 0
    assert (tmp_path / "a" / "ablation.saturating_exact.png").exists()
    assert run(*one, f"--workdir={tmp_path / 'b'}", "--noheat_maps") == 0
    assert not list((tmp_path / "b").glob("*.png"))
    tables = [(tmp_path / name / "ablation.csv").read_bytes() for name in "ab"]
    assert tables[0] == tables[1]


def test_on_ones_own_pool_all_thresholds_are_those_of_usual_neighbours(pool, tmp_path, capsys):
    """And the number, given in their place, goes on with the same settings."""
    grid = [*pool, "--budget=5", "--families=power", "--exponents=0.8", "--propagations=1"]
    grid += ["--noheat_maps", f"--workdir={tmp_path}"]
    table = data.read_pool([pool[0].removeprefix("--pool=")])
    path = pool[1].removeprefix("--label_embeddings=")
    vectors, _ = data.read_label_embeddings(path, table.label_names)
    usual = mig_jax.threshold_of_neighbours(vectors)
    for more in ([], [f"--thresholds={usual}"], [f"--thresholds=auto,{usual}"]):
        assert run(*grid, *more) == 0
        told = capsys.readouterr()
        assert f"at similarity {usual:g}: auto" in told.err
        assert "a threshold that the grid has not" not in told.out
        assert ("2 of 2 settings are finished" in told.err) == bool(more)
        parameters = json.loads((tmp_path / "ablation.manifest.json").read_text())["parameters"]
        assert (parameters["thresholds"], parameters["paper_threshold"]) == ([usual], usual)
    assert run(*grid, "--paper_threshold=0.9", f"--workdir={tmp_path / 'other'}") == 0
    assert "setting, 0, has a threshold that the grid has not: 0.9" in capsys.readouterr().out


def test_the_summary_names_the_best_setting_in_the_words_of_the_table(pool, tmp_path, capsys):
    assert run(*pool, *GRID, f"--workdir={tmp_path}") == 0
    told = capsys.readouterr()
    rows = pq.read_table(tmp_path / "ablation.parquet").to_pylist()
    count = {family: sum(row["family"] == family for row in rows) for family in ("power", "log")}
    of = f"{count['power']} of power and {count['log']} of log; --families sets which"
    assert f"{CELLS} settings compared ({of})" in told.err
    best = max(rows, key=lambda row: row["information_paper"])
    assert f"most by the paper's measure: setting {best['setting']}, {best['family']}" in told.out
    assert "E by each one's own (column information) cannot be compared" in told.out
    assert "does not tell which trains the better model" in told.out
    assert run("--help_all") == 0
    for text in (told.out, told.err, capsys.readouterr().out):
        assert not re.search(r"\bcells?\b", text, re.IGNORECASE)


@pytest.mark.slow
def test_killed_again_and_again_writes_what_an_uninterrupted_run_writes(
    pool, finished, tmp_path, capsys
):
    workdir = tmp_path / "killed"
    arguments = (*pool, *GRID, f"--workdir={workdir}")
    for when in (at_file("os.rename", ".npz", 2), at_file("os.rename", ".npz", 1, 0.02)):
        dies(when, *arguments, module="experiments.ablate")
        assert not list(workdir.glob("ablation.*"))
    done = len(list(workdir.glob("cells/*.npz")))
    assert 2 <= done < CELLS
    (workdir / "cells" / ".mig_jax.00001.npz.0123456789abcdef.tmp").write_bytes(b"half of a ce")
    resumed = subprocess.run(command(*arguments), cwd=ROOT, capture_output=True, text=True)
    assert resumed.returncode == 0, resumed.stderr
    assert f"{done} of {CELLS} settings are finished already" in resumed.stderr
    assert outputs(workdir) == outputs(finished)
    assert not list(workdir.rglob(".mig_jax*"))

    # A cell that the disk has damaged is selected again.
    damaged = workdir / "cells" / "00003.npz"
    content = bytearray(damaged.read_bytes())
    content[content.index(np.load(damaged)["picks"].tobytes()) + 5] ^= 255
    damaged.write_bytes(content)
    assert run(*arguments) == 0
    assert f"{CELLS - 1} of {CELLS} settings are finished already" in capsys.readouterr().err
    assert outputs(workdir) == outputs(finished)


def test_another_grid_in_the_same_directory_is_refused(pool, finished, capsys):
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    arguments = (*pool, *GRID, f"--workdir={finished}")
    line = refused(capsys, *arguments, "--budget=29")
    assert "cells: belongs to another run: budget (30; now 29) differs" in line
    line = refused(capsys, *arguments, "--rates=0.1,0.2", "--gains=exact")
    assert "rates ([0.1]; now [0.1, 0.2]), gains (['exact', 'linear']; now ['exact'])" in line
    assert "choose another place, or delete this folder" in line
    line = refused(capsys, *arguments, "--thresholds=0.75,0.8")
    assert "graph, thresholds" in line
    assert {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--budget=301"], ["--budget", "301", "300"]),
        (["--budget=0"], ["budget", "at least 1"]),
        (["--families=power,cubic"], ["--families", "cubic", "saturating"]),
        (["--gains=best"], ["--gains", "best", "exact, linear"]),
        (["--gains="], ["--gains", "nothing"]),
        (["--exponents=0.5,1.5"], ["--exponents", "1.5", "at most 1"]),
        (["--exponents=half"], ["--exponents", "half"]),
        (["--rates=0"], ["--rates", "0", "at least 1e-30"]),
        (["--rates=nan"], ["--rates", "nan"]),
        (["--rates=1,1.0"], ["--rates", "twice"]),
        (["--propagations=-1"], ["--propagations", "-1", "at least 0"]),
        (["--thresholds=0.5,2"], ["--thresholds", "2"]),
        (["--paper_threshold=0"], ["--paper_threshold", "above 0"]),
        (["--batch_size=0"], ["batch_size", "at least 1"]),
        (["--wrokdir=x"], ["wrokdir"]),
        (["more"], ["more", "--flag=value"]),
        (["--label_embeddings=/nowhere.npz"], ["/nowhere.npz"]),
    ],
)
def test_bad_flags_are_one_line(pool, tmp_path, capsys, arguments, words):
    workdir = tmp_path / "grid"
    line = refused(capsys, *pool, *GRID, f"--workdir={workdir}", *arguments)
    for word in words:
        assert word in line
    assert not [path for path in workdir.rglob("*") if path.is_file()]


def test_a_workdir_is_needed_and_may_be_no_file(pool, tmp_path, capsys):
    assert "--workdir: missing" in refused(capsys, *pool)
    (tmp_path / "file").write_text("")
    line = refused(capsys, *pool, *GRID, f"--workdir={tmp_path / 'file'}")
    assert "expected a directory" in line
    assert run("--help") == 0
    assert "--thresholds" in capsys.readouterr().out


@pytest.mark.slow
def test_needs_no_flag_but_the_directory(tmp_path):
    result = subprocess.run(
        command(f"--workdir={tmp_path}"), cwd=ROOT, capture_output=True, text=True, timeout=600
    )
    assert result.returncode == 0, result.stderr
    assert "64 settings, 500 picks each" in result.stdout
    assert pq.read_table(tmp_path / "ablation.parquet").num_rows == 64
