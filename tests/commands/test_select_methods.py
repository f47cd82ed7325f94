"""`mig-jax select --method`: every registered method by the real command, and what it refuses."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

import mig_jax
from mig_jax import data
from mig_jax.commands.candidates import candidates_of_table
from mig_jax.methods import METHODS, Limits, choose
from tests.running import mig, refused

ASKED = {
    "response_losses",
    "gradients",
}  # Of language models: tests/commands/test_select_asking.py.
BY_COMMAND = [name for name in METHODS if not ASKED & METHODS[name].needs]


@pytest.fixture(scope="module")
def validation_file(pool_file):
    """Every thirtieth record, of two tasks."""
    path = pool_file.with_name("validation.jsonl")
    with path.open("w") as stream:
        for number, line in enumerate(pool_file.read_text().splitlines()[::30]):
            record = {**json.loads(line), "task": "ab"[number % 2]}
            stream.write(json.dumps(record) + "\n")
    return path


def flags_for(name, pool_file, validation_file):
    needs = METHODS[name].needs
    return [
        f"--pool={pool_file}",
        f"--method={name}",
        *([f"--validation={validation_file}"] if "wanted" in needs else []),
        *(["--group_field=file"] if "groups" in needs else []),
    ]


@pytest.mark.parametrize("name", BY_COMMAND)
def test_every_method_selects_what_the_library_chooses(name, pool_file, validation_file, tmp_path):
    output = tmp_path / "out.jsonl"
    result = mig(
        *("select", *flags_for(name, pool_file, validation_file), "--budget_tokens=900"),
        *("--seed=3", f"--output={output}", "--nocertificate"),
    )
    assert result.returncode == 0, result.stderr
    table = data.read_pool([pool_file])
    costs = data.bytes_over_4([list(pair) for pair in data.read_texts(table)])
    validation = data.read_validation(validation_file)
    candidates = candidates_of_table(table, costs, validation=validation, groups=table.file_index)
    picks = choose(name, candidates, Limits(tokens=900), seed=3)
    assert len(picks)
    lines = pool_file.read_bytes().splitlines(keepends=True)
    assert output.read_bytes() == b"".join(lines[pick] for pick in picks)

    rows = pq.read_table(tmp_path / "out.selection.parquet").to_pydict()
    assert rows["line"] == (picks + 1).tolist()
    assert rows["rank"] == list(range(1, len(picks) + 1))
    assert rows["tokens"] == [costs[pick] for pick in picks]
    manifest = json.loads((tmp_path / "out.manifest.json").read_text())
    assert manifest["method"]["name"] == manifest["parameters"]["method"] == name
    assert manifest["method"]["seed"] == 3
    assert manifest["method"]["needs"] == sorted(METHODS[name].needs)
    assert ("validation" in manifest["method"]) == ("wanted" in METHODS[name].needs)
    assert manifest["tokens"]["used"] == sum(rows["tokens"]) <= 900
    assert manifest["certified_ratio"] is None
    assert f"selected {len(picks)} of 300 records by {name} ->" in result.stdout
    # What the picks hold, and what each adds behind those before it.
    pool, graph = mig_jax.pool_from_table(table), mig_jax.label_graph_from_edges(table.num_labels)
    amounts = np.zeros(300, np.float32)
    amounts[picks] = 1
    z = mig_jax.label_information(pool, graph, mig_jax.Measure(), amounts)
    held = float(mig_jax.information(mig_jax.Measure(), z))
    np.testing.assert_allclose(manifest["information"], held, rtol=1e-5)
    np.testing.assert_allclose(rows["information"][-1], held, rtol=1e-5)
    np.testing.assert_allclose(np.cumsum(rows["gain"]), rows["information"], rtol=1e-6)


def test_what_is_told_beside_the_bound_is_no_certificate(pool_file, tmp_path):
    base = ("select", f"--pool={pool_file}", "--budget=20")
    result = mig(*base, "--method=random", f"--output={tmp_path / 'random.jsonl'}")
    assert result.returncode == 0, result.stderr
    told = json.loads((tmp_path / "random.manifest.json").read_text())
    assert told["information"] < 0.9 * told["upper_bound"]
    assert told["share_of_bound"] == pytest.approx(told["information"] / told["upper_bound"])
    assert told["certified_ratio"] is None
    assert "certified" not in result.stdout
    assert "which the method does not look for" in result.stdout
    assert "prefixes" not in told
    limited = ("select", f"--pool={pool_file}", "--budget_tokens=900", "--method=random")
    result = mig(*limited, f"--output={tmp_path / 'limited.jsonl'}")
    assert "within these limits, which the method does not look for" in result.stdout
    # Whoever goes on from it, or asks why, is told that it is none of MIG's.
    was = f"{tmp_path / 'random.jsonl'}"
    message = refused("explain", f"--selection={was}", "--record=1")
    assert "chosen by --method=random" in message
    message = refused(*base, f"--extend={was}", f"--output={tmp_path / 'o.jsonl'}")
    assert "--method was random and is not given" in message
    result = mig(*base, f"--given={was}", f"--output={tmp_path / 'o.jsonl'}", "--nocertificate")
    assert result.returncode == 0, result.stderr
    told = json.loads((tmp_path / "o.manifest.json").read_text())
    assert told["given"]["records"] == 20
    assert not {"method", "seed", "validation"} & told["parameters"].keys()


def test_random_quotas_take_equal_shares_of_a_field(pool_file, tmp_path):
    lines = pool_file.read_text().splitlines()[:60]
    path, output = tmp_path / "pool.jsonl", tmp_path / "out.jsonl"
    kinds = ["rare"] * 10 + ["common"] * 50
    records = [{**json.loads(line), "kind": kind} for line, kind in zip(lines, kinds, strict=True)]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    result = mig(
        *("select", f"--pool={path}", "--method=random_quotas", "--group_field=kind"),
        *("--budget=12", "--nocertificate", f"--output={output}"),
    )
    assert result.returncode == 0, result.stderr
    found = [json.loads(line)["kind"] for line in output.read_text().splitlines()]
    assert sorted(found) == ["common"] * 6 + ["rare"] * 6


def test_too_few_records_are_told(pool_file, tmp_path):
    """Of 300 records, InsTag never takes those whose tags no other has."""
    result = mig(
        *("select", f"--pool={pool_file}", "--method=instag", "--budget=300", "--nocertificate"),
        f"--output={tmp_path / 'out.jsonl'}",
    )
    assert result.returncode == 0, result.stderr
    count = len((tmp_path / "out.jsonl").read_text().splitlines())
    assert count < 300
    assert f"{count} of 300 records were picked: any other is one that instag" in result.stderr
    base = ("select", f"--pool={pool_file}", f"--output={tmp_path / 'all.jsonl'}")
    result = mig(*base, "--method=instag", "--budget_tokens=100%", "--nocertificate")
    told = f"{count} records were picked: any other that fits the tokens left is one that instag"
    assert told in result.stderr
    result = mig(*base, "--method=random", "--budget_tokens=900", "--nocertificate")
    assert "were picked" not in result.stderr


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--method=dsir"], "--validation: missing, expected --validation=FILE"),
        (["--method=random_quotas"], "--group_field: missing, expected --group_field=FIELD"),
        (
            ["--method=random_quotas", "--group_field=sauce"],
            "no record has a field sauce; expected",
        ),
        (["--method=zip", "--validation=x.jsonl"], "--validation: --method=zip has no use for it"),
        (["--method=dsir", "--validation=none.jsonl"], "none.jsonl"),
        (["--seed=1"], "--seed: goes with --method=NAME"),
        (["--validation=x.jsonl"], "--validation: goes with --method=NAME"),
        (["--method=random", "--gain=exact"], "--gain: does not go with --method=random"),
        (["--method=random", "--preset=paper"], "--preset: does not go with --method=random"),
        (["--method=random", "--given=x.jsonl"], "--given: does not go with --method=random"),
        (["--method=random", "--extend=x.jsonl"], "--extend: does not go with --method=random"),
        (["--method=random", "--devices=all"], "--devices: does not go with --method=random"),
        (["--method=random", "--report=x"], "--report: does not go with --method=random"),
        (["--method=random", "--group_field=file"], "--group_field: goes with --quota"),
        (
            ["--method=random", "--group_field=file", "--quota=a=1.."],
            "--quota: does not go with --method=random",
        ),
        (
            ["--method=random_lengths", "--validation=x.jsonl", "--cost_field=n"],
            "--cost_field: does not go with --method=random_lengths",
        ),
        (["--method=randon"], "--method"),
    ],
)
def test_what_a_method_cannot_keep_or_lacks_is_refused(flags, words, pool_file, tmp_path):
    folder = tmp_path / "empty"
    folder.mkdir()
    output = f"--output={folder / 'o.jsonl'}"
    message = refused("select", f"--pool={pool_file}", "--budget=5", *flags, output)
    assert words in message
    assert list(folder.iterdir()) == []


def test_rds_needs_a_word_that_the_pool_has(pool_file, validation_file, tmp_path):
    """Else the first records of the pool would be nearest to any text."""
    foreign, path = '{"instruction": "qqq", "output": "zzz"}\n', tmp_path / "foreign.jsonl"
    base = ("select", f"--pool={pool_file}", "--budget=6", "--method=rds", "--nocertificate")
    base += (f"--validation={path}", f"--output={tmp_path / 'o.jsonl'}")
    path.write_text(foreign * 2)
    assert "the records wanted have no word that the pool has" in refused(*base)
    path.write_text(validation_file.read_text() + foreign[:-2] + ', "task": "c"}\n')
    assert "the records wanted of task c have no word" in refused(*base)
    picked = []
    known = [line for line in validation_file.read_text().splitlines() if '"task": "a"' in line]
    for number in (0, 1):
        path.write_text(foreign[:-2] * number + ', "task": "a"}\n' * number + "\n".join(known))
        assert mig(*base).returncode == 0
        picked.append((tmp_path / "o.jsonl").read_text())
    assert picked[0] == picked[1]


def test_texts_are_asked_for_only_if_a_method_needs_them(tmp_path):
    path = tmp_path / "pool.jsonl"
    path.write_text('{"labels": ["a"], "score": 1}\n{"labels": ["b"], "score": 2}\n')
    base = ("select", f"--pool={path}", "--budget=1", f"--output={tmp_path / 'o.jsonl'}")
    assert mig(*base, "--method=top_score", "--nocertificate").returncode == 0
    assert '"score": 2' in (tmp_path / "o.jsonl").read_text()
    assert f"{path}, line 1" in refused(*base, "--method=longest")
