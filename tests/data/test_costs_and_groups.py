"""What records cost and which group they are of, against the same counted in plain Python."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mig_jax import data
from mig_jax.errors import InputError
from tests.tokenizer_files import num_tokens, write_tokenizer

WORDS = ["ab", "é 3 ü", "", "x, y!", "日本 語", "one two three four five six", "\U0001f600"]


def rows(count: int = 50) -> list[dict[str, Any]]:
    rng = np.random.default_rng(5)
    made = []
    for number in range(count):
        asked, said = (" ".join(rng.choice(WORDS, 3)) for _ in range(2))
        turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]
        made.append(
            {
                "messages": turns[: 1 + number % 7] if number % 7 else turns * 2,
                "labels": ["l"],
                "score": 1.0,
                "meta": {"cost": int(rng.integers(0, 99)), "from": [f"s{number % 3}"]},
            }
        )
    return made


def written(made: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in made).encode()


def texts_of(row: dict[str, Any]) -> list[str]:
    return [turn["content"] for turn in row["messages"]]


def test_a_field_and_a_group_in_one_pass(store: Callable[..., Path], ending: str) -> None:
    made = rows()
    table = data.read_pool([store(written(made), ending)])
    found = data.costs_and_groups(table, cost_field="meta.cost", group_field="meta.from")
    assert found.costs is not None
    assert found.groups is not None
    assert found.costs.tolist() == [row["meta"]["cost"] for row in made]
    assert [found.names[group] for group in found.groups] == [
        row["meta"]["from"][0] for row in made
    ]
    assert data.costs_and_groups(table, cost_field="meta.cost").groups is None
    assert data.costs_and_groups(table, group_field="meta.from").costs is None


def test_bytes_over_4(store: Callable[..., Path], ending: str) -> None:
    made = rows()
    table = data.read_pool([store(written(made), ending)])
    passed: list[int] = []
    found = data.costs_and_groups(
        table, count=data.bytes_over_4, group_field="meta.from", progress=passed.append
    )
    expected = [-(-len("".join(texts_of(row)).encode()) // 4) for row in made]
    assert found.costs is not None
    assert found.groups is not None
    assert found.costs.tolist() == expected
    assert [found.names[group] for group in found.groups] == [
        row["meta"]["from"][0] for row in made
    ]
    assert passed[-1] == len(made)


def test_all_layouts_have_the_texts_of_their_turns(tmp_path: Path) -> None:
    """Whatever fields the turns stand in, also under names of the pool's own."""
    label = {"mig_jax": {"labels": ["l"], "score": 1}}
    made = [
        {"instruction": "ask", "input": "about", "output": "answer", "system": "be kind"},
        {"conversations": [{"from": "human", "value": "ask"}, {"from": "gpt", "value": "answer"}]},
        {"prompt": "ask", "completion": "answer"},
        {"prompt": "ask", "chosen": "answer", "rejected": "not counted"},
        {"said": [{"role": "user", "content": "ask"}, {"role": "assistant", "content": "answer"}]},
        {"text": "answer"},
    ]
    path = tmp_path / "pool.jsonl"
    path.write_bytes(written([{**row, **label} for row in made]))
    table = data.read_pool([path])
    seen: list[list[str]] = []

    def count(records: Any) -> list[int]:
        seen.extend(records)
        return [0] * len(records)

    data.costs_and_groups(table, count=count, fields={"messages": "said"})
    assert seen == [["be kind", "ask\nabout", "answer"], *[["ask", "answer"]] * 4, ["answer"]]


def test_csv_has_text_for_numbers(tmp_path: Path) -> None:
    path = tmp_path / "pool.csv"
    path.write_text('labels,score,tokens\n"[""a""]",1,12\n"[""b""]",2,007\n"[""c""]",3,20.0\n')
    found = data.costs_and_groups(data.read_pool([path]), cost_field="tokens")
    assert found.costs is not None
    assert found.costs.tolist() == [12, 7, 20]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (-1, "found -1"),
        (1.5, "found 1.5"),
        (True, "found true"),
        (None, "found nothing"),
        ("x" * 99, 'found "xxx'),
        ("-3", 'found "-3"'),
        ("7.5", 'found "7.5"'),
        ({"a": 3}, 'found {"a": 3}'),
        ([3], "found [3]"),
        (2**31 - 1, "found 2147483647"),
        (float("inf"), "found Infinity"),
    ],
)
def test_costs_that_are_none(tmp_path: Path, value: Any, told: str) -> None:
    path = tmp_path / "pool.jsonl"
    made = [{"labels": ["l"], "score": 1, "n": {"t": one}} for one in (3, 4.0, "5", value)]
    path.write_bytes(b"\n" + written(made))
    table = data.read_pool([path])
    with pytest.raises(InputError) as refusal:
        data.costs_and_groups(table, cost_field="n.t")
    assert str(refusal.value).startswith(f"{path}, line 5, field n.t: {told}")
    assert "expected a whole number" in str(refusal.value)
    with pytest.raises(InputError, match=r"line 2, field n\.u: found nothing"):
        data.costs_and_groups(table, cost_field="n.u")


def test_records_without_a_conversation(tmp_path: Path) -> None:
    path = tmp_path / "pool.jsonl"
    path.write_bytes(written([*rows(3), {"labels": ["l"], "score": 1, "other": "x"}]))
    with pytest.raises(InputError, match=r"pool\.jsonl, line 4: .*expected"):
        data.costs_and_groups(data.read_pool([path]), count=data.bytes_over_4)


def test_tokens_of_a_tokenizer(store: Callable[..., Path], tmp_path: Path) -> None:
    """More records than are counted at once; a folder, or the file in it."""
    made = rows(1100)
    write_tokenizer(tmp_path / "tokenizer.json", ["one", "two"])
    table = data.read_pool([store(written(made))])
    expected = [sum(map(num_tokens, texts_of(row))) for row in made]
    for name in (tmp_path, tmp_path / "tokenizer.json"):
        found = data.costs_and_groups(table, count=data.TokenCounter(str(name)))
        assert found.costs is not None
        assert found.costs.tolist() == expected
    # Longer than what the file would truncate to, and shorter than it would fill up to.
    assert max(expected) > 12
    assert min(expected) < 7


def test_tokenizers_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tokenizers", reason="the package tokenizers is not here")
    (tmp_path / "other.json").write_text("{}")
    (tmp_path / "folder").mkdir()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name in ("other.json", "folder", "none.json"):
        with pytest.raises(InputError) as refusal:
            data.TokenCounter(str(tmp_path / name))
        assert str(refusal.value).startswith(f"--tokenizer: {tmp_path / name}")
        assert "expected" in str(refusal.value)
    with pytest.raises(
        InputError, match=r"--tokenizer: nobody/has-this: .*[^.]; expected a tokenizer"
    ):
        data.TokenCounter("nobody/has-this")


def test_counts_are_kept_by_what_they_are_of(store: Callable[..., Path], tmp_path: Path) -> None:
    path = store(written(rows(9)))
    table = data.read_pool([path])
    costs = np.arange(9)

    def kept(choices: list[Any], path: Path = path) -> data.KeptCosts:
        files = data.open_files([path])
        return data.KeptCosts(tmp_path / "cache", files, data.read_pool([path]), choices)

    assert kept(["a"]).load() is None
    kept(["a"]).store(costs)
    # As many records of the same file, but others.
    others = dataclasses.replace(table, position=table.position + 1)
    assert data.KeptCosts(tmp_path / "cache", data.open_files([path]), others, ["a"]).load() is None
    found = kept(["a"]).load()
    assert found is not None
    assert found.tolist() == costs.tolist()
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(path.read_bytes())
    assert kept(["a"], copy).load() is not None
    assert kept(["b"]).load() is None
    copy.write_bytes(copy.read_bytes() + b"\n")
    assert kept(["a"], copy).load() is None
    for damaged in (b"", b"PK\3\4", kept(["a"]).path.read_bytes()[:-30]):
        kept(["a"]).path.write_bytes(damaged)
        assert kept(["a"]).load() is None
    kept(["a"]).store(costs[:-1])  # Not of this table.
    assert kept(["a"]).load() is None
    assert table.num_records == 9
