"""`mig-jax select` tells if fewer records would do, and is silent otherwise."""

from __future__ import annotations

import json

import numpy as np
import pytest

import mig_jax
from mig_jax.commands.budgets import Budget
from mig_jax.commands.enough import told_if_enough
from mig_jax.reports import told_enough
from mig_jax.selection import Constraints, Quotas, Selection, information_curve
from tests.running import mig
from tests.strategies import random_case


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
        {"labels": [f"l{number % 7}"], "score": float(number % 4 > 0)} for number in range(20)
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


def line_of(case, increases, budget, held=0.0, **about):
    """What is told of a selection whose picks raise E by so much."""
    increases = np.asarray(increases, np.float32)
    picks, z = np.arange(len(increases)), np.zeros(case.num_labels)
    selection = Selection(picks, increases, increases, z, held + float(increases.sum()), held)
    told = told_if_enough(case.pool, case.graph, mig_jax.Measure(), selection, budget)
    return told_enough({**about, **told})


CASE = random_case(3, 40)
EVERYTHING = information_curve(CASE.pool, CASE.graph, mig_jax.Measure(), np.arange(40))[-1]


def test_beside_what_is_given():
    given = {"given": {"records": 4}}
    assert line_of(CASE, [0, 0], Budget(2), EVERYTHING, **given) == (
        "the picks add nothing: what is given holds all the information that this measure sees in "
        "the pool"
    )
    assert line_of(CASE, [1, 0], Budget(2), EVERYTHING - 1, **given) == (
        "1 of 2 picks add nothing: 1 record holds, with those given, all the information that this "
        "measure sees in the pool; --budget=1 would do"
    )


def test_a_pool_that_is_held_nearly_whole():
    """The pool's E is known without being told: another one would lead to other words."""
    increases = [*np.full(10, EVERYTHING * 0.09991), *np.full(10, EVERYTHING * 4e-5)]
    assert line_of(CASE, increases, Budget(20)) == (
        "the first 10 picks hold 99.9 % of the information that this measure sees in the pool; "
        "--budget=10 would nearly do"
    )
    costs = np.arange(1, 41)
    budget = Budget(None, Constraints(costs=costs, most_cost=np.int32(500)))
    assert line_of(CASE, increases, budget).endswith("; --budget_tokens=55 would nearly do")
    assert line_of(CASE, np.array(increases) / 2, Budget(20)) == (
        "the first 10 picks hold 99.9 % of what all 20 add; --budget=10 would nearly do"
    )


def test_under_quotas_no_other_budget_is_named():
    quotas = Quotas(np.zeros(40, np.int32), np.zeros(1, np.int32), np.array([18], np.int32))
    budget = Budget(18, Constraints(quotas=quotas))
    line = line_of(CASE, [*np.full(15, 2.0), 0, 0, 0], budget)
    assert line == "3 of 18 picks add nothing: no record that the limits allow does"
    assert line_of(CASE, np.full(18, 2.0), budget) is None
