"""`mig-jax select` keeps to budgets and quotas, counted from what it has written."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.running import mig, refused, start_together

Cost = Callable[[dict[str, Any]], int]

NAMES = ["maths", "code", "law=a.b", "chat"]


def in_field(row: dict[str, Any]) -> int:
    tokens: int = row["tokens"]
    return tokens


def in_bytes(row: dict[str, Any]) -> int:
    turns = row.get("messages") or row["dialogs"]
    return -(-sum(len(turn["content"].encode()) for turn in turns) // 4)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 records of four sources, of quite different lengths."""
    rng = np.random.default_rng(7)
    path = tmp_path_factory.mktemp("budgets") / "pool.jsonl"
    with path.open("w") as stream:
        for number in range(120):
            words = "word é " * int(rng.integers(1, 30))
            row = {
                "messages": [
                    {"role": "user", "content": f"ask {number}"},
                    {"role": "assistant", "content": words},
                ],
                "labels": [f"l{int(rng.integers(30))}" for _ in range(3)],
                "score": round(float(rng.gamma(3)), 3),
                "source": [NAMES[min(int(rng.geometric(0.5)) - 1, 3)]],
                "tokens": int(rng.integers(0, 60)),
                "id": number,
            }
            stream.write(json.dumps(row) + "\n")
    return path


def selected(path: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The records and the manifest that were written."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return rows, json.loads(path.with_suffix(".manifest.json").read_text())


def amounts(rows: list[dict[str, Any]], cost: Cost | None) -> Counter[str]:
    """Records, or their costs, of each source."""
    sums: Counter[str] = Counter()
    for row in rows:
        sums[row["source"][0]] += 1 if cost is None else cost(row)
    return sums


FIELD = "--cost_field=tokens"
# Flags, the most records and tokens, what tokens are, and minimum and maximum of groups.
CASES: list[tuple[list[str], int | None, int | None, Cost, bool, dict[str, tuple[int, int]]]] = [
    (["--budget_tokens=200", FIELD], None, 200, in_field, False, {}),
    (["--budget_tokens=500"], None, 500, in_bytes, False, {}),
    (["--budget_tokens=300", "--budget=10%", FIELD], 12, 300, in_field, False, {}),
    (
        ["--budget=20", "--quota=law=a.b=4..5", "--quota=chat=15%..", "--quota=maths=..6"],
        *(20, None, in_field, False),
        {"law=a.b": (4, 5), "chat": (3, 99), "maths": (0, 6)},
    ),
    (
        ["--budget_tokens=600", FIELD, "--quota=law=a.b=20%..40%", "--quota=maths=..100t"],
        *(None, 600, in_field, True),
        {"law=a.b": (120, 240), "maths": (0, 100)},
    ),
    (
        ["--budget=25", "--budget_tokens=400", FIELD, "--quota=chat=5..7", "--quota=maths=..3"],
        *(25, 400, in_field, False),
        {"chat": (5, 7), "maths": (0, 3)},
    ),
    (
        ["--budget=20", FIELD, "--quota=maths=..60t"],
        *(20, None, in_field, True),
        {"maths": (0, 60)},
    ),
]


@pytest.mark.parametrize(
    ("words", "records", "tokens", "cost", "of_tokens", "quotas"),
    CASES,
    ids=[" ".join(case[0]) for case in CASES],
)
def test_what_is_written_keeps_to_all(
    pool: Path,
    tmp_path: Path,
    words: list[str],
    records: int | None,
    tokens: int | None,
    cost: Cost,
    of_tokens: bool,
    quotas: dict[str, tuple[int, int]],
) -> None:
    output = tmp_path / "out.jsonl"
    words = [f"--pool={pool}", "--cache=none", *words]
    words += ["--group_field=source"] * bool(quotas)
    saved = [f"--checkpoint_dir={tmp_path / 'saved'}", "--checkpoint_every_seconds=0"]
    done = mig("select", f"--output={output}", *words, *saved)
    assert done.returncode == 0, done.stderr
    rows, about = selected(output)
    assert len({row["id"] for row in rows}) == len(rows) == about["records_selected"] > 0
    assert about["budget"] == records
    assert 0.5 < about["certified_ratio"] <= 1
    assert about["prices"]["record"] >= 0
    if tokens is None:
        assert len(rows) == records
    else:
        spent = sum(map(cost, rows))
        assert 0.8 * tokens * (records is None) < spent <= tokens
        assert (about["tokens"]["used"], about["tokens"]["budget"]) == (spent, tokens)
    if records is not None:
        assert len(rows) <= records
    of_group = amounts(rows, cost if of_tokens else None)
    for name, (least, most) in quotas.items():
        assert least <= of_group[name] <= most
    if quotas:
        assert about["quotas"]["unit"] == ("tokens" if of_tokens else "records")
        told = {row["name"]: row["selected"] for row in about["quotas"]["groups"]}
        assert told == {name: of_group[name] for name in quotas}
        assert all(np.isfinite(row["price"]) for row in about["quotas"]["groups"])
    # What was saved leads to the same, and is of no other budget.
    again = tmp_path / "again.jsonl"
    done = mig("select", f"--output={again}", *words, *saved)
    assert done.returncode == 0, done.stderr
    assert again.read_bytes() == output.read_bytes()
    assert json.loads((tmp_path / "again.manifest.json").read_text())["resumed_after"] > 0


def test_processes_select_what_one_does(pool: Path, tmp_path: Path) -> None:
    """The second file's groups are numbered as the first's, and minima are those of the whole."""
    lines = pool.read_bytes().splitlines(keepends=True)
    parts = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    parts[0].write_bytes(b"".join(lines[:50]))
    parts[1].write_bytes(b"".join(lines[50:]))
    words = [*(f"--pool={part}" for part in parts), "--cache=none", FIELD, "--budget_tokens=25%"]
    words += ["--group_field=source", "--quota=chat=5..7", "--quota=code=..6", "--nocertificate"]
    one = tmp_path / "one.jsonl"
    done = mig("select", f"--output={one}", *words)
    assert done.returncode == 0, done.stderr
    two = tmp_path / "two.jsonl"
    started = start_together(*[[f"--output={two}", *words]] * 2)
    said = [process.communicate(timeout=300)[1] for process in started]
    assert [process.returncode for process in started] == [0, 0], said
    assert two.read_bytes() == one.read_bytes()
    both = [selected(path)[1] for path in (one, two)]
    assert both[0]["quotas"] == both[1]["quotas"]
    assert both[0]["tokens"] == both[1]["tokens"]


def test_maxima_in_tokens_may_leave_fewer_records_which_is_said(pool: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    words = ["select", f"--pool={pool}", f"--output={output}", "--cache=none", FIELD, "--budget=40"]
    words += ["--group_field=source", "--nocertificate"]
    done = mig(*words, *(f"--quota={name}=..30t" for name in NAMES))
    assert done.returncode == 0, done.stderr
    rows, about = selected(output)
    assert 0 < len(rows) == about["records_selected"] < 40
    assert f"{len(rows)} of 40 records were picked: any other would pass a quota" in done.stderr
    room = {name: 30 - of_group for name, of_group in amounts(rows, in_field).items()}
    left = [json.loads(line) for line in pool.read_text().splitlines()]
    picked = {row["id"] for row in rows}
    assert all(r["tokens"] > room[r["source"][0]] for r in left if r["id"] not in picked)
    # Records that cost nothing are left out of the pool here.
    costly = tmp_path / "costly.jsonl"
    costly.write_text("".join(json.dumps(row) + "\n" for row in left if row["tokens"]))
    words[1:3] = [f"--pool={costly}", f"--output={tmp_path / 'none.jsonl'}"]
    line = refused(*words, *(f"--quota={name}=..0t" for name in NAMES))
    assert line.startswith("mig-jax: nothing was picked: no record keeps to all limits")
    assert not (tmp_path / "none.jsonl").exists()


def test_what_only_the_core_can_tell_is_told_by_name(pool: Path, tmp_path: Path) -> None:
    words = ["select", f"--pool={pool}", f"--output={tmp_path / 'o.jsonl'}", "--cache=none", FIELD]
    words += ["--group_field=source"]
    line = refused(*words, "--budget_tokens=30", "--quota=chat=9..")
    assert line.startswith("mig-jax: --quota: the cheapest records that meet the minima come to ")
    assert "tokens" in line
    line = refused(*words, "--budget_tokens=500", "--quota=law=a.b=100t..101t")
    assert line.startswith("mig-jax: --quota: law=a.b: ")
    assert "tokens" in line
    assert not list(tmp_path.iterdir())


def test_ten_groups_of_a_real_pool(shared_data: Path, tmp_path: Path) -> None:
    output, pool = tmp_path / "out.jsonl", shared_data / "sft_mix.jsonl.gz"
    with gzip.open(pool, "rt") as stream:
        sizes = Counter(json.loads(line)["source"][0] for line in stream)
    names = [name for name, _ in sizes.most_common(10)]
    quotas = {name: "4%..20%" if place < 6 else "1%..5%" for place, name in enumerate(names)}
    (tmp_path / "quotas.json").write_text(json.dumps(quotas))
    done = mig(
        *("select", f"--pool={pool}", f"--output={output}", "--budget_tokens=500,000"),
        f"--label_embeddings={shared_data / 'tag_embeddings.npz'}",
        f"--vocabulary={shared_data / 'vocabulary.json'}",
        *("--group_field=source", f"--quotas={tmp_path / 'quotas.json'}"),
    )
    assert done.returncode == 0, done.stderr
    rows, about = selected(output)
    assert 495_000 < sum(map(in_bytes, rows)) <= 500_000
    of_group = amounts(rows, in_bytes)
    for place, name in enumerate(names):
        least, most = (20_000, 100_000) if place < 6 else (5_000, 25_000)
        assert least <= of_group[name] <= most
    assert about["certified_ratio"] >= 0.99
