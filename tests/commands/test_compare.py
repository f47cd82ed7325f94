"""`mig-jax select --compare`: other ways beside the selection, by the same measure and limits."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from mig_jax.commands.compare_flags import COMPARED, check_compare_flags
from mig_jax.errors import InputError
from mig_jax.methods import METHODS
from mig_jax.reports import summary
from tests.running import mig, refused


@pytest.fixture(scope="module")
def compared(pool_file, tmp_path_factory):
    """A run with several ways beside it: its summary and what its manifest has."""
    output = tmp_path_factory.mktemp("compared") / "o.jsonl"
    result = mig(
        *("select", f"--pool={pool_file}", "--budget=40", f"--output={output}"),
        "--compare=random,top_score,paper,instag",
    )
    assert result.returncode == 0, result.stderr
    about = json.loads(output.with_name("o.manifest.json").read_text())
    return output, result.stdout, about


def rows_of(about):
    return {row["method"]: row for row in about["compare"]["ways"]}


@pytest.mark.parametrize("way", ["top_score", "instag", "paper"])
def test_a_way_is_what_a_run_of_its_own_selects(way, compared, pool_file, tmp_path):
    output = tmp_path / "o.jsonl"
    flags = "--gain=linear" if way == "paper" else f"--method={way}"
    common = ("select", f"--pool={pool_file}", "--budget=40", f"--output={output}")
    assert mig(*common, flags, "--nocertificate").returncode == 0
    alone = json.loads((tmp_path / "o.manifest.json").read_text())
    row = rows_of(compared[2])[way]
    assert row["information"] == pytest.approx(alone["information"], rel=1e-5)
    assert row["labels_covered"] == alone["labels_covered"]
    scores = pq.read_table(tmp_path / "o.selection.parquet")["score"].to_numpy()
    assert row["mean_score"] == pytest.approx(scores.mean(), rel=1e-5)
    assert (row["records"], row["tokens"], row["choices"]) == (40, None, 1)
    gains = pq.read_table(tmp_path / "o.selection.parquet")["information"].to_numpy()
    places = np.array(row["curve"]["records"], int) - 1
    np.testing.assert_allclose(row["curve"]["information"], gains[places], rtol=1e-5)


def test_what_is_told_beside_the_selection(compared):
    output, told, about = compared
    rows, bound = rows_of(about), about["upper_bound"]
    assert [*rows] == ["mig", "random", "top_score", "paper", "instag"]
    assert rows["mig"]["information"] == pytest.approx(about["information"], rel=1e-5)
    random = about["random_choice"]
    assert rows["random"]["information"] == pytest.approx(random["information"], rel=1e-5)
    assert rows["random"]["labels_covered"] == pytest.approx(random["labels_covered"])
    for row in rows.values():
        assert row["share_of_bound"] == pytest.approx(row["information"] / bound)
        assert row["share_of_this"] == pytest.approx(
            row["information"] / rows["mig"]["information"]
        )
        assert len(row["curve"]["records"]) <= 60
        assert row["curve"]["records"][-1] == 40
        assert row["curve"]["information"][-1] == pytest.approx(row["information"], rel=1e-6)
    assert "compared with other ways, each of 40 records:" in told
    lines = {line.split()[0]: line.split() for line in told.splitlines() if "≥" in line}
    assert lines["mig"][1:3] == ["(this)", f"{rows['mig']['information']:,.1f}"]
    assert lines["random"][1] == f"{random['information']:,.1f}"
    assert "random is the mean of 5 choices" in told
    picture = output.with_name("o.compare.svg").read_text()
    assert picture.lstrip().startswith("<?xml")
    assert all(f">{name}<" in picture for name in rows)
    assert "o.compare.svg" in about["outputs"]


def test_tokens_and_given_records(pool_file, tmp_path):
    first = tmp_path / "first.jsonl"
    assert mig("select", f"--pool={pool_file}", "--budget=9", f"--output={first}").returncode == 0
    output = tmp_path / "o.jsonl"
    result = mig(
        *("select", f"--pool={pool_file}", "--budget_tokens=900", f"--output={output}"),
        *(f"--given={first}", "--nocertificate", "--compare=random,longest"),
    )
    assert result.returncode == 0, result.stderr
    about = json.loads((tmp_path / "o.manifest.json").read_text())
    told = about["compare"]
    assert (told["unit"], told["upper_bound"]) == ("tokens", None)
    assert told["start"] == pytest.approx(about["given"]["information"], rel=1e-5)
    for row in told["ways"]:
        assert 800 < row["tokens"] <= 900
        assert row["information"] > told["start"]
        assert row["share_of_bound"] is None
        assert row["curve"]["tokens"][-1] == pytest.approx(row["tokens"])
    assert rows_of(about)["mig"]["tokens"] == about["tokens"]["used"]
    assert "≥" not in result.stdout
    assert "together with the 9 records given:" in result.stdout


def test_under_quotas_all_keep_to_them(pool_file, tmp_path):
    records = [json.loads(line) for line in pool_file.read_text().splitlines()]
    half = np.median([record["mig_jax"]["score"] for record in records])
    for record in records:
        record["half"] = "best" if record["mig_jax"]["score"] > half else "rest"
    pool = tmp_path / "pool.jsonl"
    pool.write_text("".join(json.dumps(record) + "\n" for record in records))
    flags = ("select", f"--pool={pool}", "--budget=20", "--group_field=half", "--quota=best=..2")
    output = f"--output={tmp_path / 'o.jsonl'}"
    result = mig(*flags, output, "--nocertificate", "--compare=top_score")
    assert result.returncode == 0, result.stderr
    row = rows_of(json.loads((tmp_path / "o.manifest.json").read_text()))["top_score"]
    scores = sorted(np.float32(record["mig_jax"]["score"]) for record in records)
    few = [score for score in scores if score <= half][-18:]
    assert row["mean_score"] == pytest.approx(np.mean([*scores[-2:], *few]), rel=1e-5)
    assert "that keeps to the quotas" in result.stdout
    assert refused(*flags, output, "--compare=instag").startswith(
        "mig-jax: --compare: instag cannot keep to quotas"
    )


@pytest.fixture(scope="module")
def half_unread(pool_file, tmp_path_factory):
    """A pool whose later records have labels and no conversation."""
    lines = pool_file.read_text().splitlines()
    records = [json.loads(line) for line in lines]
    without = [{"mig_jax": record["mig_jax"]} for record in records[-5:]]
    pool = tmp_path_factory.mktemp("half") / "pool.jsonl"
    pool.write_text("".join(json.dumps(record) + "\n" for record in [*records[:-5], *without]))
    return pool, len(records) - 4


def test_a_way_that_cannot_be_tried_is_told_and_the_selection_written(half_unread, tmp_path):
    pool, line = half_unread
    common = ("select", f"--pool={pool}", "--budget=20")
    assert mig(*common, f"--output={tmp_path / 'alone.jsonl'}").returncode == 0
    result = mig(
        *(*common, f"--output={tmp_path / 'o.jsonl'}", f"--report={tmp_path / 'page'}"),
        "--compare=longest,top_score,zip",
    )
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "o.jsonl").read_bytes() == (tmp_path / "alone.jsonl").read_bytes()
    about = json.loads((tmp_path / "o.manifest.json").read_text())
    assert [*rows_of(about)] == ["mig", "top_score"]
    reason = f"{pool}, line {line}: found no conversation"
    for way in about["compare"]["untried"]:
        assert way["reason"].startswith(reason)
        told = f"{way['method']} could not be tried: {reason}"
        assert told in result.stdout
        assert f"--compare: {told}" in result.stderr
        assert told in (tmp_path / "page" / "index.html").read_text()
    assert [way["method"] for way in about["compare"]["untried"]] == ["longest", "zip"]
    rows = [row.split() for row in result.stdout.splitlines()]
    assert [row[0] for row in rows if row[1:] == ["–"] * 6] == ["longest", "zip"]
    assert ">top_score<" in (tmp_path / "o.compare.svg").read_text()


def test_a_way_that_picks_nothing_is_told_and_the_selection_written(tmp_path):
    labelled = [{"text": "a", "labels": ["a"], "score": 1.0}]
    rest = [{"text": f"b{number}", "labels": [], "score": 1.0} for number in range(4)]
    for name, records in (("given", labelled), ("pool", labelled + rest)):
        text = "".join(json.dumps(record) + "\n" for record in records)
        (tmp_path / f"{name}.jsonl").write_text(text)
    result = mig(
        *("select", f"--pool={tmp_path / 'pool.jsonl'}", f"--given={tmp_path / 'given.jsonl'}"),
        *("--budget=2", f"--output={tmp_path / 'o.jsonl'}", "--compare=instag"),
    )
    assert result.returncode == 0, result.stderr
    assert len((tmp_path / "o.jsonl").read_text().splitlines()) == 2
    assert "instag could not be tried: it picks nothing" in result.stdout


def test_what_the_table_says_is_told_after_it(compared):
    _, told, about = compared
    assert "no way holds more than this selection" in told
    assert "E by another measure cannot be compared" in told
    changed = json.loads(json.dumps(about))
    rows = rows_of(changed)
    rows["paper"]["information"] = 1.01 * rows["mig"]["information"]
    assert "paper holds the most" in summary(changed)
    # What the table shows as equal is no more.
    rows["paper"]["information"] = (1 + 1e-9) * rows["mig"]["information"]
    assert "no way holds more than this selection" in summary(changed)


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--compare=rnadom"], "--compare: found rnadom, expected random (the nearest), or some"),
        (["--compare=less"], "--compare: less needs more than the pool (--model and --validation)"),
        (["--compare=random,random"], "expected each name once"),
        (["--compare=random", "--method=longest"], "does not go with --method=longest"),
        (
            ["--compare=random", "--coordinator_address=localhost:1", "--num_processes=2"],
            "--compare: does not go with --coordinator_address",
        ),
    ],
)
def test_what_cannot_be_compared_is_told(flags, line, pool_file, tmp_path):
    output = tmp_path / "o.jsonl"
    told = refused("select", f"--pool={pool_file}", "--budget=9", f"--output={output}", *flags)
    assert line in told
    assert not any(tmp_path.iterdir())


def test_what_a_way_needs_is_told_by_its_flag():
    for name in set(METHODS) - set(COMPARED):
        with pytest.raises(InputError, match=f"{name} needs more than the pool .(--|,| and )+"):
            check_compare_flags([name], quotas=False, together=False)
