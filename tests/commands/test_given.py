"""`select --given` and `--at_most_changes`: records that are there already, and those that stay."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests import oracles
from tests.running import mig, refused, start_together

LABELS = [chr(ord("a") + k) for k in range(6)]
PHI = oracles.power(0.8, 1e-6)


def write(path, seed, records):
    """Records with few labels; scores are halves, so that sums in any order are the same."""
    rng = np.random.default_rng(seed)
    rows = [
        {
            "labels": sorted(set(rng.choice(LABELS, rng.integers(1, 4)).tolist())),
            "score": float(rng.integers(1, 20)) / 2,
            "id": f"{path.stem}{i}",
            "cost": int(rng.integers(5, 15)),
        }
        for i in range(records)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return rows


def row_of(record):
    return np.array([record["score"] * (label in record["labels"]) for label in LABELS])


def information(records):
    return oracles.total_information(PHI, sum(map(row_of, records), np.zeros(len(LABELS))))


def greedy(given, candidates, budget):
    """Plain greedy from what is given, the first of equals."""
    picked: list[int] = []
    for _ in range(budget):
        held = [*given, *(candidates[i] for i in picked)]
        gains = [
            -1.0 if i in picked else information([*held, record]) - information(held)
            for i, record in enumerate(candidates)
        ]
        best = max(gains)
        picked.append(next(i for i, gain in enumerate(gains) if gain > best - 1e-9 * best))
    return [candidates[i] for i in picked]


def ids(path):
    return [json.loads(line)["id"] for line in path.read_text().splitlines()]


def named(records):
    return [record["id"] for record in records]


def words(folder, output, *flags, budget=5, pool=("pool",), proven=False):
    files = (f"--pool={folder / name}.jsonl" for name in pool)
    flags = (f"--certificate={proven}", *flags)
    return ("select", *files, f"--budget={budget}", f"--output={folder / output}.jsonl", *flags)


def selected(folder, output, *flags, **how):
    result = mig(*words(folder, output, *flags, **how))
    assert result.returncode == 0, result.stderr
    return json.loads((folder / f"{output}.manifest.json").read_text())


@pytest.fixture
def folder(tmp_path):
    for seed, (name, records) in enumerate((("pool", 20), ("more", 12), ("apart", 7))):
        write(tmp_path / f"{name}.jsonl", seed, records)
    return tmp_path


def records_of(folder, name):
    return [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]


def test_given_records_count_and_are_not_picked(folder):
    """A selection of the pool, a file of the pool and a file beside it, in every way."""
    pool, more, apart = (records_of(folder, name) for name in ("pool", "more", "apart"))
    selected(folder, "first", budget=4)
    first = [next(r for r in pool if r["id"] == name) for name in ids(folder / "first.jsonl")]
    rest = [record for record in pool if record not in first]
    cases = [
        (["first.jsonl"], ("pool", "more"), first, rest + more, True),
        (["first.selection.parquet", "first.manifest.json"], ("pool",), first, rest, False),
        (["more.jsonl"], ("pool", "more"), more, pool, False),
        (["apart.jsonl", "first.jsonl"], ("pool",), [*apart, *first], rest, True),
    ]
    for names, files, given, candidates, include in cases:
        flags = [f"--given={folder / name}" for name in names]
        expected = greedy(given, candidates, 5)
        about = selected(folder, "out", *flags, f"--include_given={include}", pool=files)
        shown = [*named(given), *named(expected)] if include else named(expected)
        assert ids(folder / "out.jsonl") == shown
        held, whole = information(given), information([*given, *expected])
        told = about["given"]
        assert (told["records"], told["included"]) == (len(given), include)
        assert told["files"] == [str(folder / name) for name in names]
        assert told["information"] == pytest.approx(held, rel=1e-5)
        assert about["information"] == pytest.approx(whole, rel=1e-5)
        assert about["records_used"] == len(candidates)
        labels = {label for record in [*given, *expected] for label in record["labels"]}
        assert about["labels_covered"] == len(labels)
        assert sum(row["records"] for row in about["sources"]) == len(candidates)
        assert sum(row["selected"] for row in about["sources"]) == 5
        rows = pq.read_table(folder / "out.selection.parquet").to_pydict()
        before = len(given) if include else 0
        assert rows["rank"] == [0] * before + [1, 2, 3, 4, 5]
        assert rows["gain"][:before] == [None] * before
        assert rows["information"][:before] == pytest.approx([held] * before, rel=1e-5)
        assert rows["information"][-1] == pytest.approx(whole, rel=1e-5)


def test_the_bound_holds_for_every_choice_beside_what_is_given(folder):
    pool, apart = records_of(folder, "pool"), records_of(folder, "apart")
    given = f"--given={folder / 'apart.jsonl'}"
    about = selected(folder, "out", given, budget=2, proven=True)
    best = max(information([*apart, *some]) for some in itertools.combinations(pool, 2))
    assert about["information"] <= best * (1 + 1e-6) <= about["upper_bound"] * (1 + 2e-6)


def test_what_cannot_be_given_is_told(folder):
    selected(folder, "first", budget=4, pool=("more",))
    other = folder / "first.selection.parquet"
    told = refused(*words(folder, "out", f"--given={other}"))
    assert "4 of its 4 records are not in --pool; expected a selection of files of" in told
    told = refused(*words(folder, "out", f"--given={folder / 'pool.jsonl'}"))
    assert "--given: all records of --pool are given" in told
    flags = (f"--given={folder / 'more.jsonl'}",)
    told = refused(*words(folder, "out", *flags, budget=21, pool=("pool", "more")))
    assert "expected at most the pool's 20 records that are not given" in told
    told = refused(*words(folder, "out", f"--given={folder / 'none.jsonl'}"))
    assert "none.jsonl" in told
    told = refused(*words(folder, "out", f"--given={folder / 'none.manifest.json'}"))
    assert "has no manifest of a selection" in told
    assert "is an input" in refused(*words(folder, "more", f"--given={folder / 'more.jsonl'}"))
    assert "give --pool too" in refused(*words(folder, "out", f"--given={other}", pool=()))
    assert not (folder / "out.jsonl").exists()
    # The output of another pool is a file of records as any other.
    flag = f"--given={folder / 'first.jsonl'}"
    assert "was selected from other files" in mig(*words(folder, "out", flag)).stderr
    about = selected(folder, "out", flag)
    assert about["given"]["records"] == 4
    assert about["files"][1] == str(folder / "first.jsonl")


def test_what_is_told_beside_the_selection_counts_the_same_records(folder):
    """A random choice has what is given too; a value that only given records have is no row."""
    apart = records_of(folder, "apart")
    given = f"--given={folder / 'apart.jsonl'}"
    about = selected(folder, "out", given, "--count_by=id", budget=1)
    labels = {label for record in apart for label in record["labels"]}
    assert len(labels) <= about["random_choice"]["labels_covered"] <= about["labels_covered"]
    assert len(about["counts"]["values"]) == 20


def test_several_processes_know_what_is_given(folder):
    selected(folder, "first", budget=4)
    given = (f"--given={folder / 'first.jsonl'}", f"--given={folder / 'apart.jsonl'}")
    flags = (*given, "--include_given", "--cache=none")
    alone = selected(folder, "alone", *flags)
    one = words(folder, "both", *flags)[1:]
    for process in start_together(one, one):
        _, text = process.communicate(timeout=300)
        assert process.returncode == 0, text
    for ending in (".jsonl", ".selection.parquet"):
        both = folder / f"both{ending}"
        assert both.read_bytes() == (folder / f"alone{ending}").read_bytes()
    both = json.loads((folder / "both.manifest.json").read_text())
    assert both["given"]["information"] == pytest.approx(alone["given"]["information"])
    assert both["sources"] == alone["sources"]


@pytest.mark.parametrize("most", [0, 1, 2, 5])
def test_no_more_changes_than_are_allowed(folder, most):
    pool, more = records_of(folder, "pool")[:8], records_of(folder, "more")[:6]
    (folder / "pool.jsonl").write_text("".join(json.dumps(one) + "\n" for one in pool))
    (folder / "more.jsonl").write_text("".join(json.dumps(one) + "\n" for one in more))
    selected(folder, "first", budget=3)
    first = ids(folder / "first.jsonl")
    extend = f"--extend={folder / 'first.jsonl'}"
    for budget in (3, 4, 2):
        flags = (extend, f"--at_most_changes={most}")
        if budget - most > 3:
            told = refused(*words(folder, "out", *flags, budget=budget, pool=("more", "pool")))
            assert "4 must be of" in told
            assert "expected at least 1" in told
            continue
        how = {"budget": budget, "pool": ("more", "pool"), "proven": True}
        about = selected(folder, "out", *flags, **how)
        found = ids(folder / "out.jsonl")
        new = len(set(found) - set(first))
        assert len(found) == budget
        assert new <= most
        changes = {"previous": str(folder / "first.jsonl"), "most": most}
        assert about["changes"] == {**changes, "kept": budget - new, "new": new}
        best = max(
            information(some)
            for some in itertools.combinations([*more, *pool], budget)
            if len(set(named(some)) - set(first)) <= most
        )
        assert about["information"] <= best * (1 + 1e-6) <= about["upper_bound"] * (1 + 2e-6)
        if not most and budget == 3:
            assert sorted(found) == sorted(first)


def test_records_that_are_given_cannot_stay(folder):
    selected(folder, "first", budget=3)
    first = folder / "first.jsonl"
    flags = (f"--extend={first}", f"--given={first}", "--at_most_changes=2")
    told = refused(*words(folder, "out", *flags, budget=3))
    assert "which has 0 that are not given; expected at least 3" in told


def test_changes_within_a_budget_of_tokens(folder):
    selected(folder, "first")
    first = ids(folder / "first.jsonl")
    extend = (f"--extend={folder / 'first.jsonl'}", "--at_most_changes=2")
    flags = (*extend, "--cost_field=cost", "--budget_tokens=50")
    about = selected(folder, "out", *flags, pool=("more", "pool"))
    found = ids(folder / "out.jsonl")
    assert len(set(found) & set(first)) >= 3
    costs = {r["id"]: r["cost"] for name in ("pool", "more") for r in records_of(folder, name)}
    assert sum(costs[name] for name in found) == about["tokens"]["used"] <= 50
    told = refused(*words(folder, "out", *flags[:-1], "--budget_tokens=10", pool=("more", "pool")))
    assert "where they cost at least" in told
    quota = ("--group_field=id", "--quota=pool1=1..2", *extend)
    assert "does not go with --quota" in refused(*words(folder, "out", *quota))
