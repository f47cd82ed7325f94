"""`mig-jax select` tells if fewer records would do, and is silent otherwise."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest

from tests.running import mig


def told(output, *flags):
    """The line of the summary, if there is one, and what the manifest has."""
    result = mig("select", *flags, f"--output={output}", "--nocertificate")
    assert result.returncode == 0, result.stderr
    lines = [line.strip() for line in result.stdout.splitlines() if line.startswith("  enough")]
    about = json.loads(output.with_name("o.manifest.json").read_text())
    return " ".join(lines).removeprefix("enough").strip(), about.get("enough")


@pytest.fixture
def small(tmp_path):
    """Twenty records, of which five have no score, in two files."""
    records = [
        {"labels": [f"l{number % 7}"], "score": float(number % 4 > 0), "half": "a"}
        for number in range(20)
    ]
    path = tmp_path / "small.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_an_ordinary_run_says_nothing(pool_file, tmp_path):
    assert told(tmp_path / "o.jsonl", f"--pool={pool_file}", "--budget=40") == ("", None)


def test_picks_that_add_nothing(small, tmp_path):
    output = tmp_path / "o.jsonl"
    line, about = told(output, f"--pool={small}", "--budget=18")
    assert line == (
        "3 of 18 picks add nothing: 15 records hold all the information that this measure sees in "
        "the pool; --budget=15 would do"
    )
    assert (about["picks"], about["idle"], about["records"]) == (18, 3, 15)
    # What it says is so, and then nothing is said.
    information = json.loads((tmp_path / "o.manifest.json").read_text())["information"]
    assert told(output, f"--pool={small}", "--budget=15") == ("", None)
    again = json.loads((tmp_path / "o.manifest.json").read_text())["information"]
    assert again == pytest.approx(information, rel=1e-6)


def test_beside_what_is_given(small, tmp_path):
    given = tmp_path / "given.jsonl"
    given.write_text("".join(small.read_text().splitlines(keepends=True)[:19]))
    rest = tmp_path / "rest.jsonl"
    rest.write_text(json.dumps({"labels": ["l0"], "score": 0.0}) + "\n")
    flags = (f"--pool={given}", f"--pool={rest}", f"--given={given}", "--budget=1")
    line, about = told(tmp_path / "o.jsonl", *flags)
    assert line == (
        "the picks add nothing: what is given holds all the information that this measure sees in "
        "the pool"
    )
    assert about["records"] == 0


def test_a_measure_that_is_soon_full(pool_file, tmp_path):
    flags = (f"--pool={pool_file}", "--score_function=exponential", "--rate=1")
    line, about = told(tmp_path / "o.jsonl", *flags, "--budget_tokens=90%")
    records, tokens = about["records"], about["tokens"]
    assert records < 0.9 * about["picks"]
    assert line == (
        f"the first {records} picks hold 99.9 % of the information that this measure sees in the "
        f"pool; --budget_tokens={tokens} would nearly do"
    )
    rows = pq.read_table(tmp_path / "o.selection.parquet").to_pydict()
    assert tokens == sum(rows["tokens"][:records])


def test_under_quotas_no_other_budget_is_named(small, tmp_path):
    flags = (f"--pool={small}", "--group_field=half", "--quota=a=..18", "--budget=18")
    line, about = told(tmp_path / "o.jsonl", *flags)
    assert line == "3 of 18 picks add nothing: no record that the limits allow does"
    assert "records" not in about
