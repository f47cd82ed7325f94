"""`mig-jax annotate --engine=ray`: the same bytes as one process gives, whatever fails."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from tests.running import ROOT, free_port, refused

_LINES = 400  # In batches of 8.


@pytest.fixture
def folder(tmp_path):
    """A folder with a pool in four files, two of them compressed, and what one process makes."""
    records = [
        {
            "messages": [
                {"role": "user", "content": f"what is q{number}?"},
                {"role": "assistant", "content": "a" * (number % 50 + 1)},
            ],
            "labels": [f"l{number % 7}"],
        }
        for number in range(_LINES)
    ]
    lines = [json.dumps(record) for record in records]
    lines[30] = "{}"  # Cannot be used.
    lines[300] = lines[17]  # A duplicate.
    for name, part in {
        "a.jsonl": lines[:101],
        "b.jsonl.gz": lines[101:106],
        "c.jsonl": lines[106:107],
        "d.jsonl.gz": lines[107:],
    }.items():
        with (gzip.open if name.endswith("gz") else open)(tmp_path / name, "wt") as stream:
            stream.write("\n".join(part) + "\n")
    (tmp_path / "seen").mkdir()
    done = _run(tmp_path, *_engine(tmp_path, "local"))
    assert done.returncode == 0, done.stderr
    assert _bytes(tmp_path, "local").count(b"\n") == _LINES - 2
    return tmp_path


@pytest.fixture
def needs_ray():
    pytest.importorskip("ray.data", reason="the extra ray is not installed")


@pytest.fixture
def cluster(needs_ray, monkeypatch):
    """Starts a cluster of a machine with one processor; more may be added."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    # Machines that are told nothing find mig_jax where the tests do.
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    started = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": 1,
            "object_store_memory": 100 << 20,
            "include_dashboard": False,
        },
    )
    try:
        yield started
    finally:
        started.shutdown()


def _engine(folder, name, *more, seconds=0.0):
    output = folder / f"{name}.jsonl"
    words = [sys.executable, str(ROOT / "tests/annotation/slow_annotate.py")]
    words += [str(folder / "seen"), str(seconds), "annotate", f"--output={output}"]
    words += [f"--pool={folder / file}" for file in ("a.jsonl", "b.jsonl.gz", "c.jsonl")]
    words += [f"--pool={folder / 'd.jsonl.gz'}", "--tagger=keep", "--scorer=length"]
    words += ["--batch_size=8", "--on_bad_record=skip", "--deduplicate=exact", *map(str, more)]
    return words


def _start(folder, words):
    return subprocess.Popen(
        words,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _run(folder, *words):
    started = _start(folder, words)
    try:
        out, err = started.communicate(timeout=240)
    finally:
        started.kill()
    return subprocess.CompletedProcess(words, started.returncode, out, err)


def _bytes(folder, name):
    return (folder / f"{name}.jsonl").read_bytes()


def _last_line(done):
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr.replace("\r", "\n").strip().splitlines()[-1]


def _wait(process, until):
    deadline = time.monotonic() + 120
    while not until():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _batches_of(folder, machine):
    return sum(path.name.startswith(machine) for path in (folder / "seen").iterdir())


def _journal_lines(folder, name):
    with contextlib.suppress(FileNotFoundError):
        return (folder / f"{name}.journal.jsonl").read_bytes().count(b"\n") - 1
    return 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--ray_address=auto"], "--ray_address: goes with --engine=ray"),
        (["--engine=ray", "--device=cuda:1"], "--device: found cuda:1, expected auto, cpu or cuda"),
        (["--engine=spark"], "engine"),
    ],
)
def test_flags_that_cannot_be_are_told(tmp_path, words, told):
    pool = tmp_path / "pool.jsonl"
    pool.write_text("{}\n")
    base = [f"--pool={pool}", f"--output={tmp_path / 'o.jsonl'}", "--tagger=keep"]
    assert told in refused("annotate", *base, "--scorer=length", *words)
    assert os.listdir(tmp_path) == ["pool.jsonl"]


def test_without_the_extra_it_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    told = _refused_on_ray(tmp_path)
    assert told == (
        "mig-jax: --engine=ray: ray is not installed; expected the extra ray (pip install "
        "'mig-jax[ray]')"
    )


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("localhost:{port}", "connection refused; expected HOST:PORT of a cluster that `ray start"),
        ("ray://localhost:{port}", "is no address; expected HOST:PORT"),
        ("localhost", "is no address; expected HOST:PORT"),
    ],
)
def test_where_there_is_no_cluster_it_is_told(tmp_path, needs_ray, address, told):
    given = address.format(port=free_port())
    line = _refused_on_ray(tmp_path, f"--ray_address={given}")
    assert line.startswith(f"mig-jax: --ray_address={given}: {told}")


def _refused_on_ray(folder, *more):
    pool = folder / "pool.jsonl"
    pool.write_text("{}\n")
    base = [f"--pool={pool}", f"--output={folder / 'o.jsonl'}", "--tagger=keep", "--scorer=length"]
    line = refused("annotate", *base, "--engine=ray", *more)
    assert os.listdir(folder) == ["pool.jsonl"]
    return line


@pytest.mark.slow
def test_a_machine_dies_and_the_bytes_are_the_same(folder, cluster):
    dying = cluster.add_node(num_cpus=1, object_store_memory=100 << 20)
    ray = ["--engine=ray", f"--ray_address={cluster.address}"]
    process = _start(folder, _engine(folder, "ray", *ray, seconds=0.2))
    _wait(process, lambda: _batches_of(folder, dying.node_id) >= 3)
    cluster.remove_node(dying, allow_graceful=False)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert _bytes(folder, "ray") == _bytes(folder, "local")
    assert _bytes(folder, "ray.rejected") == _bytes(folder, "local.rejected")
    # Both worked, and the other did the rest.
    assert _batches_of(folder, cluster.head_node.node_id) > 3
    assert _batches_of(folder, dying.node_id) < 30
    # It says nothing but what the command says.
    assert out.replace("ray.", "local.").startswith("annotated 398 records with 7 labels")
    assert "(raylet)" not in out + err
    assert "Warning" not in err

    # A machine with other packages is refused, before anything is read.
    (folder / "fake/numpy-0.0.1.dist-info").mkdir(parents=True)
    (folder / "fake/numpy-0.0.1.dist-info/METADATA").write_text("Name: numpy\nVersion: 0.0.1\n")
    fake = {"PYTHONPATH": f"{folder / 'fake'}:{ROOT}"}
    cluster.add_node(num_cpus=1, object_store_memory=100 << 20, env_vars=fake)
    told = _last_line(_run(folder, *_engine(folder, "other", *ray)))
    assert "numpy is 0.0.1, here it is" in told
    assert told.endswith("expected the same packages on all machines")
    assert not list(folder.glob("other*"))


@pytest.mark.slow
def test_a_killed_run_goes_on_under_either_engine(folder, needs_ray):
    before = 0
    for engine in ("ray", "local"):
        process = _start(folder, _engine(folder, "x", f"--engine={engine}", seconds=0.2))
        _wait(process, lambda: _journal_lines(folder, "x") > before + 16)  # noqa: B023
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        assert not (folder / "x.jsonl").exists()
        before = _journal_lines(folder, "x")
        assert before < _LINES - 2
    done = _run(folder, *_engine(folder, "x", "--engine=ray"))
    assert done.returncode == 0, done.stderr
    assert f"resuming after {before // 8 * 8} of 398 records" in done.stderr
    assert _bytes(folder, "x") == _bytes(folder, "local")
    # Nothing is left of any, though nobody could end those that were killed.
    deadline = time.monotonic() + 60
    while left := _left_over(folder):
        assert time.monotonic() < deadline, left
        time.sleep(0.2)


@pytest.mark.slow
def test_errors_of_actors_are_one_line(folder, cluster):
    ray = ["--engine=ray", f"--ray_address={cluster.address}"]
    words = _engine(folder, "x", *ray)
    (folder / "seen/fails").write_text("q204?")
    # What comes before is kept, and no more: as if one process had worked.
    assert _last_line(_run(folder, *words)) == "mig-jax: --tagger: refuses q204?"
    assert _journal_lines(folder, "x") == 200
    (folder / "seen/fails").unlink()

    # A batch that no process survives ends the run, at last.
    (folder / "seen/ends").write_text("q250?")
    told = _last_line(_run(folder, *words))
    assert "5 processes ended while they annotated" in told
    assert f"{folder / 'd.jsonl.gz'}, line 143 to" in told
    (folder / "seen/ends").unlink()

    # A model that cannot be loaded is told by the machine that needs it.
    more = ["--tagger=instag", f"--instag_model={folder / 'none'}"]
    told = _last_line(_run(folder, *_engine(folder, "y", *ray, *more)))
    assert f"--instag_model: {folder / 'none'} cannot be loaded" in told

    done = _run(folder, *words)
    assert done.returncode == 0, done.stderr
    assert _bytes(folder, "x") == _bytes(folder, "local")


def _left_over(folder):
    """Processes that work in the folder still."""
    found = []
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if os.readlink(process / "cwd") == str(folder):
                found.append((process / "cmdline").read_text())
    return found
