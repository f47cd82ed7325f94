"""`mig-jax select --dry_run` tells what a run would do, refuses the same, and writes nothing."""

from __future__ import annotations

import json
import pathlib
import re

import pytest

from mig_jax.commands.expected_cost import Work, expected_cost
from tests.running import mig, refused


def told_by(*flags):
    """What is told, by name; of files each with what is said of it."""
    result = mig("select", *flags, "--dry_run")
    assert result.returncode == 0, result.stderr
    first, *lines = result.stdout.splitlines()
    assert first == "dry run: nothing is selected, no output is written"
    pairs = [(line[2:18].strip(), line[18:]) for line in lines]
    files = [text for name, text in pairs if name == "would write"]
    return {name: text for name, text in pairs if name != "would write"}, files


def in_folder(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_on_standard_output(pool_file, tmp_path, monkeypatch):
    """Only the records are written there; what is left out is listed nowhere."""
    monkeypatch.chdir(tmp_path)
    bad = tmp_path / "bad.jsonl"
    bad.write_bytes(pool_file.read_bytes() + b'{"mig_jax": 1}\n')
    flags = ["--budget=9", "--output=-", "--compare=random", "--on_bad_record=skip"]
    result = mig("select", bad, *flags, "--dry_run")
    assert result.returncode == 0, result.stderr
    assert re.findall("would write +(.*)", result.stdout) == ["the records to standard output"]
    assert "left out most often (1 time): " in result.stderr
    assert "rejected.jsonl" not in result.stderr
    assert in_folder(tmp_path) == ["bad.jsonl"]


def test_it_tells_what_the_run_then_does(pool_file, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    flags = [
        f"--pool={pool_file}",
        f"--label_embeddings={pool_file.with_name('labels.npz')}",
        *("--budget=10%", f"--output={out / 'o.jsonl'}", "--compare=random"),
        *("--on_bad_record=skip", f"--report={out / 'page'}"),
        f"--dataset_info={out / 'dataset_info.json'}",
    ]
    told, files = told_by(*flags)
    assert in_folder(out) == []
    assert mig("select", *flags, "--nocertificate").returncode == 0
    made = [str(path) for path in out.rglob("*") if path.is_file()]
    assert sorted(text.split(",")[0] for text in files) == sorted(made)
    about = json.loads((out / "o.manifest.json").read_text())
    assert told["records"] == "300"
    assert told["budget"] == "30 of 300 records"
    assert told["labels"].startswith(f"{about['labels']:,}, ")
    threshold = about["parameters"]["similarity_threshold"]
    mean = 2 * about["edges"] / about["labels"]
    assert told["label graph"] == (
        f"{about['edges']:,} edges at similarity {threshold:g} or more, {mean:.1f} neighbours a "
        "label"
    )
    assert told["device"] == about["device"]
    assert told["time"].startswith("about ")
    assert told["memory"].startswith("about ")

    # Now all are there, and stay as they are.
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    _, files = told_by(*flags)
    assert all("(is there, and would be " in text for text in files)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_tokens_quotas_and_given_records(pool_file, tmp_path):
    output = tmp_path / "o.jsonl"
    records = [json.loads(line) for line in pool_file.read_text().splitlines()]
    for number, record in enumerate(records):
        record |= {"kind": "ab"[number % 2], "cost": 3}
    pool, given = tmp_path / "pool.jsonl", tmp_path / "given.jsonl"
    lines = [json.dumps(record) + "\n" for record in records]
    pool.write_text("".join(lines[10:]))
    given.write_text("".join(lines[:10]))
    flags = [
        *(f"--pool={pool}", f"--given={given}", f"--output={output}", "--group_field=kind"),
        *("--budget_tokens=60", "--cost_field=cost"),
    ]
    told, _ = told_by(*flags, "--quota=a=5..6")
    assert told["given"] == "10 records"
    assert told["budget"] == "60 of 870 tokens (field cost)"
    assert told["quotas"] == "of 1 groups, and can all be kept"
    assert "no edges" in told["label graph"]
    for extra in (["--dry_run"], []):
        line = refused("select", *flags, "--quota=a=30..", *extra)
        assert "--quota: " in line
    assert not output.exists()


def test_labels_without_embeddings_are_counted(pool_file, tmp_path):
    pool = tmp_path / "pool.jsonl"
    extra = json.dumps({"mig_jax": {"labels": ["nobody knows", "nor this"], "score": 1.0}})
    pool.write_text(pool_file.read_text() + extra + "\n")
    told, _ = told_by(
        *(f"--pool={pool}", f"--label_embeddings={pool_file.with_name('labels.npz')}"),
        *("--missing_embeddings=isolate", "--budget=3", f"--output={tmp_path / 'o.jsonl'}"),
    )
    assert told["label graph"].endswith("; 2 labels have no embedding and stand alone")


def bad_flags(pool_file, tmp_path):
    bad = tmp_path / "bad.jsonl"
    output, pool = f"--output={tmp_path / 'o.jsonl'}", f"--pool={pool_file}"
    return {
        "a bad record": [f"--pool={bad}", "--budget=1", output],
        "more than there is": [pool, "--budget=301", output],
        "no folder": [pool, "--budget=3", f"--output={tmp_path / 'none' / 'o.jsonl'}"],
        "an input": [pool, "--budget=3", f"--output={pool_file}"],
        "a folder": [pool, "--budget=3", f"--output={tmp_path}"],
        "no embeddings": [pool, "--budget=3", output, f"--label_embeddings={tmp_path / 'no.npz'}"],
        "one output twice": [pool, "--budget=3", output, f"--dataset_info={tmp_path / 'o.jsonl'}"],
        "foreign checkpoints": [pool, "--budget=3", output, f"--checkpoint_dir={tmp_path}"],
    }


@pytest.mark.parametrize("kind", sorted(bad_flags(pathlib.Path(), pathlib.Path())))
def test_what_the_run_refuses_is_refused_with_the_same_words(kind, pool_file, tmp_path):
    bad = '{"mig_jax": {"labels": ["a"], "score": -1}}'
    (tmp_path / "bad.jsonl").write_text(bad + "\n")
    flags = bad_flags(pool_file, tmp_path)[kind]
    before = in_folder(tmp_path)
    assert refused("select", *flags, "--dry_run") == refused("select", *flags)
    assert in_folder(tmp_path) == before


def test_several_processes_are_refused(pool_file, tmp_path):
    line = refused(
        *("select", f"--pool={pool_file}", "--budget=3", f"--output={tmp_path / 'o.jsonl'}"),
        *("--dry_run", "--coordinator_address=localhost:1", "--num_processes=2"),
    )
    assert line.startswith("mig-jax: --dry_run: does not go with --coordinator_address")


def test_a_raw_pool_is_not_annotated(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    pool = tmp_path / "raw.jsonl"
    words = ["jib", "keel", "rudder", "oven", "yeast", "dough", "court", "clause", "appeal"]
    with pool.open("w") as stream:
        for number in range(60):
            asked = " ".join(words[(number + k * k) % 9] for k in range(4))
            turns = [
                {"role": "user", "content": f"What of {asked} number {number}?"},
                {"role": "assistant", "content": f"{asked} is {number}. That is all."},
            ]
            stream.write(json.dumps({"messages": turns}) + "\n")
    flags = [f"--pool={pool}", "--budget=20%", f"--output={tmp_path / 'o.jsonl'}"]
    flags.append("--nocertificate")
    told, files = told_by(*flags)
    assert told["records"] == "60, without labels and scores"
    assert told["annotation"].startswith("of all 60 records first")
    assert ", and kept in the cache" in told["annotation"]
    assert "kept" not in told_by(*flags, "--cache=none")[0]["annotation"]
    assert told["labels"].startswith("a sample of 60 records gets ")
    assert told["budget"] == "12 of 60 records"
    assert told["time"].endswith("to annotate, by that sample")
    assert files[0] == str(tmp_path / "o.jsonl")
    assert in_folder(tmp_path) == ["raw.jsonl"]
    with pool.open("a") as stream:
        stream.write('{"messages": 3}\n')
    assert told_by(*flags)[0]["labels"].endswith(
        "; 1 of them cannot be used, which stops the run (--on_bad_record=skip goes on)"
    )
    flags.append("--on_bad_record=skip")
    # What was annotated before is known.
    assert mig("select", *flags).returncode == 0
    told, _ = told_by(*flags)
    assert told["records"] == "60, labels or scores made before; 1 bad record left out"
    assert "edges at similarity" in told["label graph"]


def test_what_is_expected_grows_with_the_work():
    small = Work(20_000, 70_000, 300_000, 200, of_costs=False, certified=True, prefixes=True)
    large = Work(939_343, 3_300_000, 14_800_000, 50_000, False, True, True)
    expected = [expected_cost(one, read_and_joined=0.4, slower=1.0) for one in (small, large)]
    # docs/background/benchmarks.md: 6.2 s, 10.5 s the first time, 0.65 GB.
    assert 4.5 < expected[1].seconds < 8
    assert 8 < expected[1].first_seconds < 15
    assert 0.5e9 < expected[1].bytes < 0.9e9
    assert expected[0].seconds < expected[1].seconds / 2
    slower = expected_cost(large, read_and_joined=0.4, slower=3.0)
    assert slower.seconds == pytest.approx(3 * (expected[1].seconds - 0.4) + 0.4)
