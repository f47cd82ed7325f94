"""What flags and a pool make of a budget; contradictions are one line that names the group."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from absl import flags
from hypothesis import given, settings
from hypothesis import strategies as st

from mig_jax import data
from mig_jax.commands.budgets import Budget, read_budget
from mig_jax.commands.select_options import define_select_flags, select_options
from mig_jax.devices import ALONE
from mig_jax.errors import InputError
from mig_jax.selection import NO_MAXIMUM
from tests.running import refused
from tests.tokenizer_files import num_tokens, write_tokenizer

SOURCES = ["maths", "code", "law=a.b", "chat"]


def made(count: int = 40, seed: int = 1) -> list[dict[str, Any]]:
    """Records of four sources, most of the first; `tokens` is a field of them."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        words = " ".join(["word"] * int(rng.integers(1, 30)))
        rows.append(
            {
                "messages": [
                    {"role": "user", "content": f"é{number}"},
                    {"role": "assistant", "content": words},
                ],
                "labels": [f"l{int(rng.integers(12))}" for _ in range(3)],
                "score": round(float(rng.gamma(3)), 3),
                "source": [
                    SOURCES[min(int(rng.geometric(0.5)) - 1, 3)] if number > 3 else SOURCES[number]
                ],
                "tokens": int(rng.integers(0, 50)),
                "id": number,
            }
        )
    return rows


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("budgets") / "pool.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in made()))
    return path


ROWS = made()
SIZES = {name: sum(row["source"] == [name] for row in ROWS) for name in SOURCES}
TOKENS = sum(row["tokens"] for row in ROWS)


def budget_of(pool: Path, *words: str, given: Any = None) -> Budget:
    values = flags.FlagValues()
    define_select_flags(values)
    values(["select", f"--pool={pool}", "--output=out.jsonl", "--cache=none", *words])
    return read_budget(select_options(values), data.read_pool([pool]), ALONE, given)


def test_records_alone_are_not_constrained(pool: Path) -> None:
    budget = budget_of(pool, "--budget=7")
    assert (budget.records, budget.told_of(np.arange(7), None, ALONE)) == (7, {"budget": 7})
    assert budget.constraints.is_empty
    assert budget.constraints.costs is None
    assert budget_of(pool, "--budget=12.4%").records == 4
    assert budget_of(pool, "--budget=0.1%").records == 1


@pytest.mark.parametrize("counted_by", ["bytes", "field", "tokenizer"])
def test_tokens(pool: Path, tmp_path: Path, counted_by: str, capsys: Any) -> None:
    texts = [[turn["content"] for turn in row["messages"]] for row in ROWS]
    costs = [-(-len("".join(of).encode()) // 4) for of in texts]
    words, told = [], "UTF-8 bytes over 4"
    if counted_by == "field":
        words, told = ["--cost_field=tokens"], "field tokens"
        costs = [row["tokens"] for row in ROWS]
    elif counted_by == "tokenizer":
        write_tokenizer(tmp_path / "tokenizer.json", ["word"])
        words, told = [f"--tokenizer={tmp_path}"], f"tokenizer {tmp_path}"
        costs = [sum(map(num_tokens, of)) for of in texts]
    budget = budget_of(pool, "--budget_tokens=101", *words)
    constraints = budget.constraints
    assert (budget.records, constraints.most_cost, constraints.quotas) == (None, 101, None)
    assert np.asarray(constraints.costs).tolist() == costs
    picks = np.array([3, 1, 8])
    about = budget.told_of(picks, None, ALONE)
    assert about["budget"] is None
    assert about["tokens"] == {
        "budget": 101,
        "used": sum(costs[pick] for pick in picks),
        "pool": sum(costs),
        "counted_by": told,
    }
    assert "prices" not in about
    said = capsys.readouterr().err
    assert f"budget: 101 of {sum(costs):,} tokens ({told})" in said
    assert ("--tokenizer counts them" in said) == (counted_by == "bytes")
    budget = budget_of(pool, "--budget_tokens=10%", "--budget=25%", *words)
    assert (budget.records, budget.constraints.most_cost) == (10, sum(costs) // 10)


def test_kept_counts_are_those_that_were_counted(pool: Path, tmp_path: Path, capsys: Any) -> None:
    write_tokenizer(tmp_path / "tokenizer.json", ["word"])
    words = ["--budget_tokens=101", f"--tokenizer={tmp_path}", f"--cache={tmp_path / 'cache'}"]
    words += ["--group_field=source", "--quota=code=1.."]
    one = budget_of(pool, *words)
    assert "counted before" not in capsys.readouterr().err
    two = budget_of(pool, *words)
    assert "the tokens were counted before" in capsys.readouterr().err
    assert np.array_equal(one.constraints.costs, two.constraints.costs)
    assert np.array_equal(one.constraints.quotas.groups, two.constraints.quotas.groups)
    # Another tokenizer, and another name of a field, are counted anew.
    write_tokenizer(tmp_path / "tokenizer.json", ["word", "other"])
    budget_of(pool, *words)
    assert "counted before" not in capsys.readouterr().err


def test_quotas_of_records(pool: Path, tmp_path: Path) -> None:
    path = tmp_path / "quotas.json"
    path.write_text(json.dumps({"code": "..25%"}))
    words = ["--group_field=source", "--quota=law=a.b=1..", f"--quotas={path}"]
    budget = budget_of(pool, "--budget=10", *words)
    quotas = budget.constraints.quotas
    assert budget.constraints.costs is None
    assert not quotas.of_costs
    assert quotas.minima.tolist() == [1, 0, 0]
    assert quotas.maxima.tolist() == [NO_MAXIMUM, 2, NO_MAXIMUM]
    numbers = {"law=a.b": 0, "code": 1}
    assert quotas.groups.tolist() == [numbers.get(row["source"][0], 2) for row in ROWS]
    picks = np.array([1, 2, 0])
    assert budget.told_of(picks, None, ALONE)["quotas"] == {
        "unit": "records",
        "by": "source",
        "groups": [
            {
                "name": "law=a.b",
                "pool": SIZES["law=a.b"],
                "minimum": 1,
                "maximum": None,
                "selected": 1,
            },
            {"name": "code", "pool": SIZES["code"], "minimum": None, "maximum": 2, "selected": 1},
        ],
    }


def test_quotas_of_tokens(pool: Path) -> None:
    words = ["--cost_field=tokens", "--group_field=source", "--quota=maths=10%..50%"]
    budget = budget_of(pool, "--budget_tokens=205", *words, "--quota=code=..30t")
    quotas = budget.constraints.quotas
    assert quotas.of_costs
    assert (quotas.minima.tolist(), quotas.maxima.tolist()) == ([21, 0, 0], [102, 30, NO_MAXIMUM])
    rows = budget.told_of(np.arange(4), None, ALONE)["quotas"]["groups"]
    for row in rows:
        of_group = [one["tokens"] for one in ROWS if one["source"] == [row["name"]]]
        assert row["pool"] == sum(of_group)
        assert row["selected"] == sum(r["tokens"] for r in ROWS[:4] if r["source"] == [row["name"]])
    # Maxima in tokens go with a budget of records, too; then costs have no limit of their own.
    budget = budget_of(pool, "--budget=5", *words[:2], "--quota=code=..30t")
    assert (budget.records, budget.constraints.most_cost) == (5, None)
    assert np.asarray(budget.constraints.costs).tolist() == [row["tokens"] for row in ROWS]


def test_groups_by_file(pool: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.jsonl"
    other.write_text("".join(json.dumps({**row, "file": "f"}) + "\n" for row in made(9, 2)))
    values = flags.FlagValues()
    define_select_flags(values)
    words = [f"--pool={pool}", f"--pool={other}", "--output=out.jsonl", "--budget=5"]
    values(["select", *words, "--group_field=file", f"--quota={other}=2.."])
    table = data.read_pool([pool, other])
    quotas = read_budget(select_options(values), table, ALONE).constraints.quotas
    assert quotas is not None
    assert quotas.groups.tolist() == [1] * len(ROWS) + [0] * 9
    # A field of that name has a dot in front.
    values["group_field"].value, values["quota"].value = ".file", ["f=2.."]
    quotas = read_budget(select_options(values), table, ALONE).constraints.quotas
    assert quotas is not None
    assert quotas.groups.tolist() == [1] * len(ROWS) + [0] * 9


def test_given_records_cost_nothing_and_are_of_no_group(pool: Path) -> None:
    is_given = np.zeros(len(ROWS), bool)
    is_given[[0, 5, 17]] = True
    others = [row for row, out in zip(ROWS, is_given, strict=True) if not out]
    words = ["--cost_field=tokens", "--group_field=source", "--quota=maths=1.."]
    words += ["--budget=50%", "--budget_tokens=50%"]
    budget = budget_of(pool, *words, given=is_given)
    assert budget.records == len(others) // 2
    assert budget.constraints.most_cost == sum(row["tokens"] for row in others) // 2
    costs = np.asarray(budget.constraints.costs)
    assert costs.tolist() == [
        0 if out else row["tokens"] for row, out in zip(ROWS, is_given, strict=True)
    ]
    groups = np.asarray(budget.constraints.quotas.groups)
    assert np.all(groups[is_given] == 1)
    assert groups[~is_given].tolist() == [int(row["source"] != ["maths"]) for row in others]
    assert budget.told_of(np.array([], int), None, ALONE)["quotas"]["groups"][0]["pool"] == sum(
        row["source"] == ["maths"] for row in others
    )


BY_SOURCE = ["--group_field=source"]
BY_TOKENS = ["--cost_field=tokens", *BY_SOURCE]
REFUSALS = [
    ([], "--budget: missing, expected --budget=RECORDS, --budget_tokens=TOKENS, or both"),
    (["--budget=41"], "--budget: found 41, expected at most the pool's 40 records"),
    (
        ["--budget_tokens=9e8", "--cost_field=tokens"],
        f"--budget_tokens: found 900,000,000, expected at most the pool's {TOKENS:,} tokens",
    ),
    (["--budget_tokens=1"], "--budget_tokens: found 1, expected at least the 4 tokens of the"),
    (
        ["--budget=5", "--cost_field=tokens"],
        "--cost_field: goes with --budget_tokens, or quotas in tokens",
    ),
    (["--budget=5", "--tokenizer=x"], "--tokenizer: goes with --budget_tokens, or quotas in"),
    (
        ["--budget_tokens=50", "--tokenizer=x", "--cost_field=y"],
        "--cost_field: does not go with --tokenizer",
    ),
    (["--budget_tokens=50", "--cost_field=a..b"], "--cost_field: found a..b, expected a field"),
    (["--budget=5", "--group_field=.", "--quota=a=1"], "--group_field: found ., expected a field"),
    (["--budget=5", "--quota=maths=1.."], "--quota: goes with --group_field=FIELD"),
    (["--budget=5", *BY_SOURCE], "--group_field: goes with --quota=NAME=MIN..MAX or --quotas"),
    (
        ["--budget=5", *BY_SOURCE, "--quota=maths=1", "--quota=maths=..2"],
        "--quota: maths has 2 quotas; expected one a group",
    ),
    (
        ["--budget=5", *BY_SOURCE, "--quota=mahts=1.."],
        "--quota: mahts: no record is with that value of source; expected one such as maths",
    ),
    (
        ["--budget=5", *BY_SOURCE, "--quota=LAW=1.."],
        "--quota: LAW: no record is with that value of source; expected one such as law=a.b",
    ),
    (
        ["--budget=5", "--group_field=sourc", "--quota=maths=1.."],
        "--group_field: no record has the field sourc; expected one that they have, such as "
        "--group_field=source",
    ),
    (
        ["--budget=5", "--group_field=zzz", "--quota=maths=1.."],
        "--group_field: no record has the field zzz; expected one that they have, such as ",
    ),
    (["--budget=5", *BY_SOURCE, "--quotas=maths=1.."], "--quotas: maths=1..: no such file or"),
    (["--budget=5", *BY_SOURCE, "--quotas=maths=1.."], ", or --quota=maths=1.."),
    (
        ["--budget=5", "--group_field=file", "--quota=poool=1.."],
        "--quota: poool: no record is from a file of that name; expected one such as /",
    ),
    (
        ["--budget=5", *BY_SOURCE, "--quota=maths=3..2"],
        "--quota: maths: the minimum 3 is above the maximum 2; expected MIN..MAX",
    ),
    (
        ["--budget=10", *BY_SOURCE, "--quota=maths=3..20%"],
        "--quota: maths: the minimum 3 is above the maximum 2 (20%); expected records between",
    ),
    (
        ["--budget=10", *BY_SOURCE, "--quota=maths=11%..19%"],
        "--quota: maths: 11% to 19% of 10 records is 1.1 to 1.9, with no whole number between; "
        "expected a wider span, or one share (maths=11%), which is rounded down or up",
    ),
    (
        ["--budget=10", *BY_SOURCE, "--quota=maths=60%..", "--quota=code=5.."],
        "--quota: the minima are 11 records together, and --budget is 10; expected minima up to",
    ),
    (
        ["--budget_tokens=100", *BY_TOKENS, "--quota=maths=60%..", "--quota=code=50t.."],
        "--quota: the minima are 110 tokens together, and --budget_tokens is 100; expected minima",
    ),
    (
        ["--budget=40", *BY_SOURCE, "--quota=chat=39.."],
        f"--quota: chat: the pool has {SIZES['chat']} records of it, and at least 39 are asked for",
    ),
    (
        ["--budget=40", *BY_SOURCE, "--quota=maths=..1"],
        f"--quota: the maxima allow {41 - SIZES['maths']} records of the pool together, and "
        "--budget is 40; expected larger maxima, or a budget up to",
    ),
    (
        ["--budget=5", *BY_TOKENS, "--quota=maths=10t.."],
        "--quota: maths: a minimum in tokens does not go with --budget; expected it in records",
    ),
    (
        ["--budget=5", *BY_TOKENS, "--quota=maths=..10t", "--quota=code=..5%"],
        "--quota: code has a bound in records and maths one in tokens",
    ),
    (["--budget=5", *BY_SOURCE, "--quotas=/nowhere"], "/nowhere: no such file or directory"),
    (
        ["--budget_tokens=50", "--cost_field=id.x"],
        "field id.x: found nothing; expected a whole number of at least 0",
    ),
]


@pytest.mark.parametrize(
    ("words", "told"), REFUSALS, ids=[" ".join(words) for words, _ in REFUSALS]
)
def test_contradictions_are_one_line(
    pool: Path, tmp_path: Path, words: list[str], told: str
) -> None:
    output = tmp_path / "out.jsonl"
    line = refused("select", f"--pool={pool}", f"--output={output}", "--cache=none", *words)
    assert told in line
    assert not list(tmp_path.iterdir())


def test_a_tokenizer_that_is_not_there_is_known_before_the_pool_is_read(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers", reason="the package tokenizers is not here")
    path = tmp_path / "pool.jsonl"
    path.write_text("no records")
    words = ["select", f"--pool={path}", f"--output={tmp_path / 'o.jsonl'}", "--cache=none"]
    line = refused(*words, "--budget_tokens=9", "--tokenizer=./nowhere.json")
    assert line.startswith("mig-jax: --tokenizer: ./nowhere.json: no such file")


def test_a_pool_without_tokens(tmp_path: Path) -> None:
    path = tmp_path / "pool.jsonl"
    path.write_text('{"labels": ["l"], "score": 1, "tokens": 0}\n' * 3)
    words = ["select", f"--pool={path}", f"--output={tmp_path / 'o.jsonl'}", "--cache=none"]
    line = refused(*words, "--budget_tokens=10%", "--cost_field=tokens")
    assert line.endswith("found 10%, expected a pool that has any tokens (field tokens)")


def test_names_that_are_offered_are_few_and_short(tmp_path: Path) -> None:
    path = tmp_path / "pool.jsonl"
    values = ["a" * 100, "b", "c", "d", "e", "f"]
    rows = [{"labels": ["l"], "score": 1, "from": value} for value in values]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ["select", f"--pool={path}", f"--output={tmp_path / 'o.jsonl'}", "--cache=none"]
    line = refused(*words, "--budget=2", "--group_field=from", "--quota=zz=1..")
    assert line.endswith(f"expected one such as {'a' * 60}…, b, c, d, e or 1 other")


@settings(max_examples=60)
@given(
    st.integers(1, len(ROWS)),
    st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100)), min_size=4, max_size=4),
    st.integers(0, 2),
)
def test_what_is_refused_has_no_selection(
    pool: Path, budget: int, shares: list[tuple[int, int]], exact: int
) -> None:
    """Quotas in per cent: taken if and only if numbers of records exist that keep to them all."""
    words, least, most = [], 0, 0
    is_possible = True
    for name, (one, two) in zip(SOURCES, shares, strict=True):
        low, high = min(one, two), max(one, two)
        if exact == 0:
            low = high
        words.append(f"--quota={name}={low}%..{high}%")
        whole = (math.floor, math.ceil) if low == high else (math.ceil, math.floor)
        minimum, maximum = whole[0](low * budget / 100), whole[1](high * budget / 100)
        is_possible &= minimum <= min(maximum, SIZES[name])
        least, most = least + minimum, most + min(maximum, SIZES[name])
    is_possible &= least <= budget <= most
    try:
        found = budget_of(pool, f"--budget={budget}", *BY_SOURCE, *words)
    except InputError:
        assert not is_possible
    else:
        assert is_possible
        assert found.records == budget
