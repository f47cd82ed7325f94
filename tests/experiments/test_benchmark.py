"""Measurements are kept as they are made, and rows that select choose the same records."""

from __future__ import annotations

import csv
import pathlib
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import mig_jax
from experiments.benchmarks.csv_lines import CsvLines
from experiments.benchmarks.pools import generate, page_bytes_a_record
from experiments.benchmarks.rows import Measured, Row, medians, run_rounds
from experiments.benchmarks.stages import first_state, pick_all, stage_rows
from experiments.benchmarks.watched import run_watched


def read(path: pathlib.Path) -> list[dict[str, str]]:
    with open(path, newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_line_is_in_the_file_as_soon_as_it_is_added(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "folder" / "lines.csv"
    lines = CsvLines(path, ["row", "seconds"])
    assert read(path) == []
    lines.add({"row": "a, b", "seconds": 1.5})
    assert read(path) == [{"row": "a, b", "seconds": "1.5"}]
    CsvLines(path, ["row", "seconds"], go_on=True).add({"row": "c"})
    assert [line["row"] for line in read(path)] == ["a, b", "c"]
    with pytest.raises(ValueError, match="minutes"):
        lines.add({"row": "d", "minutes": 1})
    CsvLines(path, ["row"])
    assert read(path) == []


def rows_of(log: list[str], fails_in_round: int = 9) -> dict[str, Row]:
    """Rows that note when they run; `third` fails in one round."""
    seconds = {"first": iter((9.0, 1.0, 2.0, 6.0)), "second": iter((3.0, 4.0, 5.0))}

    def measure(name: str, **given: Any) -> Measured:
        log.append(name)
        return Measured(next(seconds[name]), **given)

    def third() -> Measured:
        log.append("third")
        if log.count("third") > fails_in_round:
            raise RuntimeError("out of memory")
        return Measured(peak_mb=log.count("third"), more={"third: a part": Measured(0.5)})

    return {
        "first": Row(lambda: measure("first", picks=np.array([1, 2, 3, 4]))),
        "second": Row(lambda: measure("second", picks=np.array([4, 3, 2, 9])), "first", False),
        "third": Row(third, None, False),
    }


def test_rows_take_turns_and_medians_are_of_rounds_alone() -> None:
    log, told = list[str](), list[tuple[int, str, str]]()
    found = run_rounds(rows_of(log), 3, lambda turn, row, _, share: told.append((turn, row, share)))
    # The first row alone has a round that does not count.
    assert log == ["first", *["first", "second", "third"] * 3]
    assert told[:4] == [
        (1, "first", ""),
        (1, "second", "75.0000%"),
        (1, "third", ""),
        (1, "third: a part", ""),
    ]
    lines = {line["row"]: line for line in medians(found, {"second": "75.0000%"}, "first")}
    assert lines["first"]["median_s"] == 2
    assert (lines["first"]["min_s"], lines["first"]["max_s"]) == (1, 6)
    assert lines["second"]["ratio_to_ours"] == 4 / 2
    assert lines["second"]["common_picks"] == "75.0000%"
    assert lines["third"]["peak_mb"] == 3
    assert "median_s" not in lines["third"]
    assert lines["third: a part"]["median_s"] == 0.5
    (alone, _) = medians({"x": [Measured(1.0)], "y": [Measured(2.0)]}, {}, "first")
    assert alone["ratio_to_ours"] == ""


def test_a_run_that_breaks_off_has_told_what_it_had() -> None:
    told = list[tuple[int, str]]()
    with pytest.raises(RuntimeError, match="out of memory"):
        run_rounds(rows_of([], 1), 3, lambda turn, row, *_: told.append((turn, row)))
    assert told[-2:] == [(2, "first"), (2, "second")]


def test_stages_choose_what_select_does() -> None:
    generated = generate(2_000, 60, 0.65)
    measure = mig_jax.Measure()
    budget = 1_100  # More than a chunk.
    pages = mig_jax.lay_out(generated.pool, generated.graph, measure, budget)
    expected = mig_jax.select(generated.pool, generated.graph, budget, measure=measure).picks
    z = np.zeros(generated.graph.num_labels, np.float32)
    state = first_state(measure, pages, z, budget)
    slots = sum(array.size * array.itemsize for array in (pages.labels, pages.values))
    rows = pages.records.size * 4
    others = page_bytes_a_record((pages, state), 2_000) * 2_000 - (slots + 2 * rows)
    assert 0 < others < 0.1 * slots
    assert pick_all(measure, pages, state, budget).tolist() == expected.tolist()
    found = run_rounds(
        stage_rows(generated.pool, generated.graph, measure, budget, lambda: pages, None),
        1,
        lambda *_: None,
    )
    assert [name for name, (m,) in found.items() if m.seconds is None] == [
        "pages and state on the device"
    ]
    assert found["stage: picks"][0].picks.tolist() == expected.tolist()


def test_memory_of_a_process_and_of_its_children() -> None:
    held = "held = bytearray(150 << 20); import time; time.sleep(0.3)"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {held!r}]); print('x')"
    alone, parent = (run_watched([sys.executable, "-c", code]) for code in (held, child))
    if alone.peak_mb is None:
        pytest.skip("there is no /proc")
    assert 150 < alone.peak_mb < 250
    assert alone.children_mb == 0
    assert parent.peak_mb < 100
    assert 150 < parent.children_mb < 250
    assert parent.said == "x\n"
    with pytest.raises(RuntimeError, match="status 3: why"):
        run_watched([sys.executable, "-c", "import sys; sys.stderr.write('why'); sys.exit(3)"])


@pytest.mark.slow
def test_the_program_measures_selection_its_stages_and_the_command(tmp_path: pathlib.Path) -> None:
    limits = ["--heap_limit=0", "--apricot_limit=0", "--dense_limit=0"]
    command = [sys.executable, "-m", "experiments.benchmark", f"--workdir={tmp_path}"]
    run = subprocess.run(
        [*command, "--sizes=2000/20", "--labels=100", "--repeats=1", *limits],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    rounds = {line["row"]: line for line in read(tmp_path / "benchmark_rounds.csv")}
    lines = {line["row"]: line for line in read(tmp_path / "benchmark.csv")}
    assert set(rounds) == set(lines)
    same = ["stage: picks", *(f"mig-jax select, {each} run" for each in ("first", "second"))]
    assert {lines[name]["common_picks"] for name in same} == {"100.0000%"}
    for name, line in lines.items():
        assert (line["median_s"] == "") == (name == "pages and state on the device")
    for name in same[1:]:
        assert float(lines[name]["peak_mb"]) > 100
        stage = float(lines[f"{name}: its selection"]["median_s"])
        assert 0 < stage < float(lines[name]["median_s"])
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "benchmark.csv",
        "benchmark.png",
        "benchmark_rounds.csv",
    ]


def test_sizes_that_are_none_are_refused(tmp_path: pathlib.Path) -> None:
    command = [sys.executable, "-m", "experiments.benchmark", f"--workdir={tmp_path}/new"]
    for flag in ("--sizes=2000", "--parts=everything"):
        run = subprocess.run([*command, flag], capture_output=True, text=True, timeout=300)
        assert run.returncode != 0
        assert flag.partition("=")[0] in run.stderr
        assert "Traceback" not in run.stderr
    assert not (tmp_path / "new").exists()
