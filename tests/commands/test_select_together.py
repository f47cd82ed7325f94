"""`mig-jax select` in several real processes writes what it writes in one, byte for byte."""

from __future__ import annotations

import gzip
import json
import pathlib
import signal
import subprocess

import numpy as np
import pytest

from tests.running import start_select, start_together


def write_pool(folder: pathlib.Path) -> list[str]:
    """Three files: plain text that is cut between processes, a compressed one, a short one."""
    rng = np.random.default_rng(4)
    names, label = [], [f"l{i}" for i in range(25)]
    for name, records in (("a.jsonl", 300), ("b.jsonl.gz", 60), ("c.jsonl", 3)):
        # One label only here, one only there: ids must be those of the whole pool.
        rows = [
            {
                "labels": [*rng.choice(label, rng.integers(0, 5)).tolist(), name],
                "score": round(rng.gamma(3), 1),
                "text": "é" * int(rng.integers(0, 90)),
            }
            for _ in range(records)
        ]
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        lines = lines.replace("\n", "\n\n", 5)  # Blank lines count.
        path = folder / name
        data = lines.encode()
        path.write_bytes(gzip.compress(data) if name.endswith("gz") else data)
        names.append(str(path))
    return names


def flags(pool: list[str], output: pathlib.Path, *more: str, budget: int = 25) -> list[str]:
    files = [f"--pool={name}" for name in pool]
    return [*files, f"--output={output}", f"--budget={budget}", "--cache=none", *more]


def finish(started: list[subprocess.Popen]) -> list[tuple[int, str]]:
    told = [process.communicate(timeout=300)[1] for process in started]
    return [(process.returncode, text) for process, text in zip(started, told, strict=True)]


@pytest.mark.parametrize("count", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_outputs_are_those_of_one_process(count, tmp_path):
    pool = write_pool(tmp_path)
    alone, together = tmp_path / "alone.jsonl", tmp_path / "together.jsonl"
    ((status, text),) = finish([start_select(*flags(pool, alone))])
    assert status == 0, text
    started = start_together(*[flags(pool, together)] * count)
    told = [process.communicate(timeout=300) for process in started]
    assert [process.returncode for process in started] == [0] * count, told
    # The first speaks, in words of ours: nothing is there of what carries the bytes.
    assert told[0][0].startswith("selected 25 of 363 records"), told[0]
    assert told[1:] == [("", "")] * (count - 1)
    assert "Gloo" not in told[0][1]
    assert together.read_bytes() == alone.read_bytes()
    ending = ".selection.parquet"
    assert together.with_suffix(ending).read_bytes() == alone.with_suffix(ending).read_bytes()
    one, many = (json.loads(p.with_suffix(".manifest.json").read_text()) for p in (alone, together))
    assert (one["processes"], many["processes"]) == (1, count)
    for name in ("records_read", "records_used", "labels", "labels_covered", "files", "edges"):
        assert many[name] == one[name], name
    for name in ("information", "upper_bound", "certified_ratio"):
        assert many[name] == pytest.approx(one[name], rel=1e-6), name
    assert many["random_choice"] == pytest.approx(one["random_choice"], rel=1e-5)


def test_picks_from_working_sets_are_those_of_one_process(tmp_path):
    rng = np.random.default_rng(5)
    rows = [
        {"labels": rng.choice(40, 4).astype(str).tolist(), "score": float(rng.gamma(3))}
        for _ in range(4000)
    ]
    pool = tmp_path / "pool.jsonl"
    pool.write_text("".join(json.dumps(row) + "\n" for row in rows))
    alone, together = tmp_path / "alone.jsonl", tmp_path / "together.jsonl"
    many = 2100  # Fewer are searched page by page.
    ((status, text),) = finish([start_select(*flags([str(pool)], alone, budget=many))])
    assert status == 0, text
    for status, text in finish(start_together(*[flags([str(pool)], together, budget=many)] * 2)):
        assert status == 0, text
    for ending in (".jsonl", ".selection.parquet"):
        found, expected = (path.with_suffix(ending).read_bytes() for path in (together, alone))
        assert found == expected, ending


def test_a_bad_record_stops_all_with_its_line(tmp_path):
    pool = write_pool(tmp_path)
    lines = pathlib.Path(pool[0]).read_text().split("\n")
    lines[250] = lines[250].replace('"score": ', '"score": -')
    lines[280] = "{"
    pathlib.Path(pool[0]).write_text("\n".join(lines))
    output = tmp_path / "out.jsonl"
    ((status, expected),) = finish([start_select(*flags(pool, output))])
    assert status == 2
    assert "a.jsonl, line 251" in expected
    for status, text in finish(start_together(*[flags(pool, output)] * 2)):
        assert status == 2
        assert text.splitlines()[-1] == expected.splitlines()[-1]
    assert not list(tmp_path.glob("out*"))
    assert not list(tmp_path.glob(".mig_jax*"))


@pytest.mark.slow
def test_killed_and_resumed(tmp_path):
    """All processes are killed after some picks; the same command ends as if it had not been."""
    pool = write_pool(tmp_path)
    alone, together = tmp_path / "alone.jsonl", tmp_path / "together.jsonl"
    finish([start_select(*flags(pool, alone, budget=120))])
    checkpoints = tmp_path / "checkpoints"
    words = flags(pool, together, f"--checkpoint_dir={checkpoints}", budget=60)
    assert [status for status, _ in finish(start_together(words, words))] == [0, 0]
    words = [*words, "--budget=120", "--checkpoint_every_seconds=0"]
    started = start_together(words, words)
    while "records with" not in (line := started[0].stderr.readline()):
        assert line, "process 0 ended before"
    started[0].send_signal(signal.SIGKILL)
    assert finish(started)[1][0] != 0
    found = finish(start_together(words, words))
    assert [status for status, _ in found] == [0, 0], found
    assert "resuming after" in found[0][1]
    assert together.read_bytes() == alone.read_bytes()
