"""The steps for an accelerator run in little on a CPU, and one that fails costs no other."""

from __future__ import annotations

import csv
import pathlib
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

import mig_jax
from experiments import benchmark_accelerator
from experiments.benchmarks.device_runs import SMALL, leading
from experiments.benchmarks.device_scale import random_pages
from experiments.benchmarks.device_selection import OF_A_RUN
from experiments.benchmarks.pools import generate
from mig_jax.commands.main import main_of
from mig_jax.selection import EMPTY

NAME = "benchmark_accelerator"


def lines_of(workdir: pathlib.Path) -> list[dict[str, str]]:
    with open(workdir / f"{NAME}.csv", newline="") as stream:
        return list(csv.DictReader(stream))


def test_picks_count_up_to_the_first_that_differs() -> None:
    assert leading([1, 2, 3, 4], np.array([1, 2, 9])) == "2 of 3"
    assert leading([1, 2], np.array([1, 2, 9])) == "2 of 2"
    assert leading([1, 2], None) == ""


def test_pages_made_on_the_device_are_pages() -> None:
    pages = random_pages(1_000, 30)
    records, widths = np.asarray(pages.records), np.asarray(pages.width_log2)
    held = records[records != EMPTY]
    # Every record stands in one row, and a page has as many as its width leaves.
    assert held.tolist() == list(range(len(held)))
    assert 1_000 <= len(held) < 1_100
    starts = np.asarray(pages.starts)
    assert np.diff([*starts, len(held)]).tolist() == (1024 >> widths).tolist()
    assert (records[len(held) :] == EMPTY).all()
    assert len(records) == len(held) + pages.page_rows
    labels, values = np.asarray(pages.labels), np.asarray(pages.values)
    assert (labels.min(), labels.max()) == (0, 29)
    assert values.min() >= 0
    gains = mig_jax.marginal_gains(
        mig_jax.EXACT, mig_jax.Measure(), pages, jnp.zeros(30), len(held)
    )
    page, row, width = 5, 3, 1 << int(widths[5])
    slots = np.arange(width) * (1024 // width) + row
    expected = ((values[page, slots].astype(float) + 1e-6) ** 0.8 - 1e-6**0.8).sum()
    np.testing.assert_allclose(gains[records[starts[page] + row]], expected, rtol=1e-4)


@pytest.mark.slow
def test_a_step_that_runs_out_of_time_costs_no_other(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    soon = benchmark_accelerator.Planned(("default",), 0.01)
    monkeypatch.setitem(benchmark_accelerator.PLAN, "device", soon)
    once = benchmark_accelerator.Planned(("loops too",), 60)
    monkeypatch.setitem(benchmark_accelerator.PLAN, "units", once)
    words = [f"--workdir={tmp_path}", "--scale=small"]
    command = benchmark_accelerator.COMMAND
    assert main_of(command, [*words, "--steps=device,units"], called=NAME) == 2
    first, *others = lines_of(tmp_path)
    assert (first["step"], first["note"]) == ("device", "ended after 0 s")
    assert {(line["step"], line["command_buffers"]) for line in others} == {("units", "loops too")}
    assert all(float(line["us_each"]) > 0 for line in others)
    assert "device (default)" in capsys.readouterr().err
    # A later run adds to what is there.
    assert main_of(command, [*words, "--steps=units"], called=NAME) == 0
    assert len(lines_of(tmp_path)) == 1 + 2 * len(others)


def test_steps_and_pools_that_are_none_are_refused(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [f"--workdir={tmp_path / 'new'}", "--scale=small"]
    command = benchmark_accelerator.COMMAND
    assert main_of(command, [*words, "--steps=units,tens"], called=NAME) == 2
    assert "tens" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
    assert main_of(command, [*words, "--label_embeddings=none.npz"], called=NAME) == 2
    assert "--label_embeddings" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_all_steps_run_in_little_on_a_cpu(tmp_path: pathlib.Path) -> None:
    command = [sys.executable, "-m", f"experiments.{NAME}", f"--workdir={tmp_path}"]
    run = subprocess.run([*command, "--scale=small"], capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stderr
    lines = lines_of(tmp_path)
    run_in = {(line["step"], line["command_buffers"]) for line in lines}
    assert run_in == {
        (name, buffers)
        for name, planned in benchmark_accelerator.PLAN.items()
        for buffers in planned.command_buffers
    }
    assert all(line["date"] and line["device"] and line["jax"] for line in lines)
    compared = {line["step"]: line["same_picks"] for line in lines if line["same_picks"]}
    assert compared.pop("by_pages") == "40 of 40"
    expected = {"working_set": SMALL.budget, "lazy_set": SMALL.reference, "ties": SMALL.tie_picks}
    assert compared == {step: f"{picks} of {picks}" for step, picks in expected.items()}
    generated = generate(SMALL.records, SMALL.labels, 0.65)
    chosen = mig_jax.select(generated.pool, generated.graph, SMALL.reference).picks
    assert np.load(tmp_path / OF_A_RUN[0]).tolist() == chosen.tolist()
    assert list((tmp_path / "trace").rglob("*.xplane.pb"))
