"""The command on files, and as a person uses it: in a process of its own."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow.parquet as pq
import pytest

import mig_jax
from mig_jax import data
from mig_jax.commands import choosing, terminal
from mig_jax.synthetic import BuiltinPool
from tests.running import mig, mig_as_a_person_runs_it, refused


def test_one_is_told_as_one(tmp_path):
    rows = [{"labels": ["a"], "score": 1.0}, {"labels": [], "score": 2.0}, {"labels": []}]
    (tmp_path / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = [f"--pool={tmp_path / 'pool.jsonl'}", f"--output={tmp_path / 'out.jsonl'}"]
    words += ["--budget=1", "--on_bad_record=skip", "--cache=none"]
    told = "2 records with 1 label; 1 bad record skipped; 1 record has no label\n"
    assert told in mig("select", *words).stderr
    assert (
        "labels          1, 0.5 a record; 1 record has none"
        in mig("select", *words, "--dry_run").stdout
    )


def test_selects_what_the_library_selects(pool_file, tmp_path):
    embeddings = pool_file.with_name("labels.npz")
    output = tmp_path / "out.jsonl"
    result = mig_as_a_person_runs_it(
        "select",
        f"--pool={pool_file}",
        f"--label_embeddings={embeddings}",
        "--budget=40",
        f"--output={output}",
    )
    assert result.returncode == 0, result.stderr
    table = data.read_pool([pool_file])
    pool = mig_jax.pool_from_table(table)
    vectors, present = data.read_label_embeddings(embeddings, table.label_names)
    threshold = mig_jax.threshold_of_neighbours(vectors, 3.5, present=present)
    graph = mig_jax.label_graph_from_embeddings(vectors, threshold, present=present)
    expected = mig_jax.select(pool, graph, 40)
    lines = pool_file.read_bytes().splitlines(keepends=True)
    assert output.read_bytes() == b"".join(lines[d] for d in expected.picks)

    rows = pq.read_table(tmp_path / "out.selection.parquet").to_pydict()
    assert rows["rank"] == list(range(1, 41))
    assert rows["line"] == (expected.picks + 1).tolist()
    assert set(rows["file"]) == {str(pool_file)}
    np.testing.assert_allclose(rows["gain"], expected.gains, rtol=1e-6)
    np.testing.assert_allclose(rows["information"], np.cumsum(expected.gains), rtol=1e-5)

    manifest = json.loads((tmp_path / "out.manifest.json").read_text())
    assert manifest["records_read"] == manifest["records_used"] == 300
    assert manifest["records_skipped"] == 0
    assert manifest["labels"] == table.num_labels
    assert manifest["edges"] == graph.num_edges > 0
    assert (manifest["budget"], manifest["gain"]) == (40, "exact")
    np.testing.assert_allclose(manifest["information"], expected.information, rtol=1e-5)
    assert manifest["information"] <= manifest["upper_bound"]
    ratio = manifest["information"] / manifest["upper_bound"]
    np.testing.assert_allclose(manifest["certified_ratio"], ratio)
    stages = {"reading", "graph", "selection", "certificate", "prefixes", "writing"}
    assert set(manifest["seconds"]) == stages
    assert manifest["parameters"]["similarity_threshold"] == threshold
    assert f"edges at similarity {threshold:g} or more" in result.stderr
    assert "jax" in manifest["versions"]
    assert manifest["random_choice"]["information"] < manifest["information"]

    assert "selected 40 of 300 records" in result.stdout
    assert "certified" in result.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "out.jsonl",
        "out.manifest.json",
        "out.selection.parquet",
    ]


def test_preset_and_flags_that_win_over_it(pool_file, tmp_path):
    base = ("select", f"--pool={pool_file}", "--budget=5", "--certificate=false")
    for extra, gain, exponent in (
        ((), "exact", 0.8),
        (("--preset=paper",), "linear", 0.8),
        (("--preset=paper", "--gain=exact", "--exponent=0.5"), "exact", 0.5),
    ):
        result = mig(*base, *extra, f"--output={tmp_path / 'o.jsonl'}")
        assert result.returncode == 0, result.stderr
        manifest = json.loads((tmp_path / "o.manifest.json").read_text())
        assert manifest["gain"] == gain
        assert manifest["parameters"]["exponent"] == exponent
        assert manifest["certified_ratio"] is None
        assert "certified" not in result.stdout
        assert "no edges" in result.stderr


def test_a_preset_tells_what_holds(pool_file, tmp_path):
    """Not the values that flags given take the place of, nor those that the family lacks."""
    base = ("select", f"--pool={pool_file}", "--budget=5", f"--output={tmp_path / 'o.jsonl'}")

    def told(*flags):
        lines = mig(*base, "--preset=paper", *flags, "--dry_run").stderr.splitlines()
        return next(line for line in lines if line.startswith("--preset=paper stands for "))

    shared = "--epsilon=1e-06 --propagation=1.0 --similarity_threshold=0.9"
    paper = "--preset=paper stands for --gain=linear"
    assert told() == f"{paper} --score_function=power --exponent=0.8 {shared}"
    assert told("--exponent=0.3") == (
        f"{paper} --score_function=power {shared} with your --exponent=0.3"
    )
    own = "--score_function=saturating"
    assert told(own) == f"{paper} {shared.partition(' ')[2]} with your {own}"


def test_a_second_run_starts_from_the_cache(pool_file, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    output = tmp_path / "o.jsonl"
    base = ("select", f"--pool={pool_file}", "--budget=5", "--certificate=false")
    outputs, said = [], []
    for extra in ((), (f"--cache={tmp_path / 'home' / 'mig_jax'}",), ("--cache=none",)):
        result = mig(*base, *extra, f"--output={output}")
        assert result.returncode == 0, result.stderr
        outputs.append([output.read_bytes(), result.stdout])
        said.append("the pool is unchanged: read from" in result.stderr)
    assert said == [False, True, False]
    assert outputs[0] == outputs[1] == outputs[2]
    assert len(list((tmp_path / "home" / "mig_jax").iterdir())) == 1
    told = refused(*base, f"--output={output}", "--cache=")
    assert told == "mig-jax: --cache: found nothing, expected a value"


def test_built_in_pool_needs_no_files(tmp_path):
    words = ("select", "--budget=20", f"--output={tmp_path / 'o.jsonl'}")
    result = mig(*words, "--pool=builtin")
    assert result.returncode == 0, result.stderr
    assert len((tmp_path / "o.jsonl").read_text().splitlines()) == 20
    assert result.stderr.startswith("the built-in pool, ")
    explained = mig("explain", f"--selection={tmp_path / 'o.jsonl'}", "--record=7")
    assert explained.stderr.startswith("the built-in pool, ")
    assert explained.returncode == 0


@pytest.mark.parametrize("more", [[], ["--dry_run"], ["--params=learned/params"]])
def test_no_pool_is_taken_that_was_not_asked_for(more, tmp_path):
    told = refused("select", "--budget=20", f"--output={tmp_path / 'o.jsonl'}", *more)
    assert told.startswith("mig-jax: --pool: missing, expected FILE ... behind the command, or")
    assert "- is standard input" in told
    assert "--pool=builtin" in told
    assert not list(tmp_path.iterdir())


def test_a_file_may_be_named_as_the_built_in_pool(pool_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ("select", "--budget=2", "--output=o.jsonl", "--nocertificate")
    assert "--pool=builtin is the built-in pool" in refused(*words, "builtin")
    (tmp_path / "builtin").write_bytes(b"".join(pool_file.read_bytes().splitlines(True)[:3]))
    # A word is a file, as `*` finds them; the flag means the built-in pool wherever it is given.
    for word in ("builtin", "./builtin", "--pool=./builtin"):
        assert "selected 2 of 3 records" in mig(*words, word).stdout
    assert "goes with no files" in refused(*words, "--pool=builtin", "./builtin")
    assert "in no file" in refused("annotate", "--pool=builtin", "--output=a.jsonl")


def test_skipped_records_are_kept_and_counted(pool_file, tmp_path):
    pool = tmp_path / "bad.jsonl"
    bad = '{"mig_jax": {"labels": ["a"], "score": -1}}'
    lines = pool_file.read_bytes().splitlines(keepends=True)
    pool.write_bytes(lines[0] + bad.encode() + b"\n" + lines[1])
    common = ("select", f"--pool={pool}", "--budget=2", f"--output={tmp_path / 'o.jsonl'}")
    message = refused(*common)
    assert f"{pool}, line 2, field mig_jax.score" in message
    assert "-1" in message
    assert [path.name for path in tmp_path.iterdir()] == ["bad.jsonl"]
    result = mig(*common, "--on_bad_record=skip")
    assert result.returncode == 0, result.stderr
    (rejected,) = map(json.loads, (tmp_path / "o.rejected.jsonl").read_text().splitlines())
    assert (rejected["line"], rejected["text"]) == (2, bad)
    assert json.loads((tmp_path / "o.manifest.json").read_text())["records_skipped"] == 1


def test_malformed_third_line_of_the_published_example(shared_data, tmp_path):
    example = shared_data / "xsample_example.jsonl"
    message = refused("select", f"--pool={example}", "--budget=3", f"--output={tmp_path / 'o'}")
    assert f"{example}, line 3" in message
    assert "malformed" in message


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--budget=301"], ["--budget", "301", "300"]),
        (["--budget=0"], ["budget", "at least 1"]),
        (["--budget=many"], ["budget", "many"]),
        (["--bugdet=5"], ["bugdet", "budget"]),
        ([], ["--budget", "missing"]),
        (["--budget=5", "--exponent=0"], ["--exponent", "at least 0.001"]),
        (["--budget=5", "--exponent=1.5"], ["exponent", "1.5"]),
        (["--budget=5", "--similarity_threshold=2"], ["similarity_threshold", "auto, or"]),
        (["--budget=5", "--similarity_threshold=0"], ["similarity_threshold", "above 0"]),
        (["--budget=5", "--neighbours=0"], ["--neighbours", "above 0"]),
        (["--budget=5", "--neighbours=2", "--preset=paper"], ["--neighbours", "--preset"]),
        (["--budget=5", "--neighbours=2", "--similarity_threshold=0.8"], ["--similarity_thr"]),
        (["--budget=5", "--propagation=nan"], ["propagation"]),
        (["--budget=5", "--rate=inf"], ["--rate", "finite"]),
        (["--budget=5", "--gain=cubic"], ["gain", "exact"]),
        (["--budget=5", "--missing_embeddings=isolate"], ["--label_embeddings"]),
        (["--budget=5", "--label_embeddings=/nowhere.npz"], ["/nowhere.npz"]),
        (["--budget=5", "--vocabulary=/nowhere.json"], ["/nowhere.json"]),
        (["--budget=5", "--devices=0"], ["--devices", "above 0"]),
        (["--budget=5", "--devices=99"], ["--devices", "99"]),
        (["--budget=5", "more.jsonl"], ["more.jsonl", "--flag=value"]),
    ],
)
def test_bad_flags_are_one_line(pool_file, tmp_path, arguments, words):
    line = refused("select", f"--pool={pool_file}", f"--output={tmp_path / 'o.jsonl'}", *arguments)
    assert line.startswith("mig-jax: ")
    for word in words:
        assert word in line
    assert not list(tmp_path.iterdir())


def test_outputs_never_overwrite_inputs(pool_file):
    before = pool_file.read_bytes()
    line = refused("select", f"--pool={pool_file}", "--budget=5", f"--output={pool_file}")
    assert "is an input" in line
    assert pool_file.read_bytes() == before


def test_devices_do_not_change_the_outputs(pool_file, tmp_path):
    outputs = []
    for devices in ("1", "3", "all"):
        output = tmp_path / f"{devices}.jsonl"
        result = mig(
            "select",
            f"--pool={pool_file}",
            "--budget=60",
            f"--devices={devices}",
            "--certificate=false",
            f"--output={output}",
        )
        assert result.returncode == 0, result.stderr
        table = output.with_suffix(".selection.parquet").read_bytes()
        outputs.append((output.read_bytes(), table))
    assert outputs[0] == outputs[1] == outputs[2]


def test_unknown_command_and_help():
    assert "no such command" in refused("selct")
    overview = mig("--help")
    assert overview.returncode == 0
    assert "make_pool" in overview.stdout
    flags = mig("select", "--help_all").stdout
    for flag in ("--pool", "--budget", "--similarity_threshold", "--on_bad_record"):
        assert flag in flags


def test_killed_while_working_leaves_no_output(tmp_path):
    pool = tmp_path / "pool.jsonl.gz"
    with gzip.open(pool, "wb", compresslevel=1) as stream:
        for line in BuiltinPool(records=30_000).lines():
            stream.write(line)
    command = [sys.executable, "-m", "mig_jax", "select", f"--pool={pool}", "--budget=20000"]
    process = subprocess.Popen(
        [*command, f"--output={tmp_path / 'o.jsonl'}"], stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".mig_jax*")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    errors = process.communicate(timeout=120)[1]
    assert process.returncode == -signal.SIGINT
    assert errors.splitlines()[-1] == "mig-jax: interrupted; no output was written"
    assert os.listdir(tmp_path) == ["pool.jsonl.gz"]


@pytest.mark.parametrize(
    ("number", "word"), [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated")]
)
def test_who_is_stopped_is_told_what_the_same_command_goes_on_from(
    pool_file, tmp_path, monkeypatch, number, word
):
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)  # As in a session, which goes on.
    monkeypatch.setattr(terminal, "die_by", lambda number: None)
    embeddings = pool_file.with_name("labels.npz")
    words = [f"--pool={pool_file}", f"--label_embeddings={embeddings}", "--budget=100"]
    words += [f"--output={tmp_path / 'o.jsonl'}", "--cache=none"]
    saved = [f"--checkpoint_dir={tmp_path / 'saved'}", "--checkpoint_every_seconds=0"]
    before = "no output was written"

    def stopped(name, *more):
        with monkeypatch.context() as patched:
            patched.setattr(choosing, name, lambda *_, **__: signal.raise_signal(number))
            done = mig("select", *words, *more)
        assert done.returncode == 128 + number
        assert not (tmp_path / "o.jsonl").exists()
        return done.stderr.splitlines()[-1]

    assert stopped("certify_with_bar") == f"mig-jax: {word}; {before}"
    assert stopped("select_with_bar", *saved) == f"mig-jax: {word}; {before}"
    goes_on = f"mig-jax: {word}; {before}, and the same command goes on from 100 picks"
    assert stopped("certify_with_bar", *saved) == goes_on
    assert stopped("select_with_bar", *saved) == goes_on
    # Of a run that goes on from nothing, nothing of the one before is told.
    assert stopped("certify_with_bar") == f"mig-jax: {word}; {before}"
    assert "resuming after 100 of 100 picks" in mig("select", *words, *saved).stderr


@pytest.mark.slow
def test_a_million_records_stay_under_2_gb(tmp_path):
    pool = tmp_path / "pool.jsonl"
    assert mig("make_pool", "--records=1000000", f"--output={pool}").returncode == 0
    script = (
        "import sys; from mig_jax.commands.main import main; status = main(sys.argv[1:]);"
        # Of this process only: getrusage would report the test's own peak if that is higher.
        "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0]); sys.exit(status)"
    )
    result = subprocess.run(
        [
            sys.executable,
            "-c",
            script,
            "select",
            f"--pool={pool}",
            "--budget=2000",
            f"--output={tmp_path / 'o.jsonl'}",
        ],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    kilobytes = int(result.stdout.split()[-1])
    assert kilobytes < 2e6
