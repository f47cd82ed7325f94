"""`mig-jax select` from and to the layouts of other tools, as a person uses it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from mig_jax import data
from mig_jax.commands import main as cli

RECORDS: list[dict[str, Any]] = [
    {
        "conversations": [
            {"from": "human", "value": f"question {n} é😀"},
            {"from": "gpt", "value": f"answer {n}"},
        ],
        "tags": [f"tag {n % 5}", f"tag {n % 3}"],
        "quality": 1 + n % 4,
        "id": n,
    }
    for n in range(24)
]
FIELDS = ("--field=labels=tags", "--field=score=quality")


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    """An annotated ShareGPT pool as one JSON array, its annotation under names of its own."""
    path = tmp_path / "pool.json"
    path.write_text(json.dumps(RECORDS, indent=2))
    return path


def select(*arguments: object) -> int:
    """The command in this process, which is quicker; its exit status."""
    words = ("select", "--budget=6", "--certificate=false", "--cache=none", *arguments)
    return cli.main([str(word) for word in words])


def ids(path: Path) -> list[int]:
    return [json.loads(line)["id"] for line in path.read_text().splitlines()]


def refusal(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The last line that the command says when it exits with 2."""
    assert select(*arguments) == 2
    return capsys.readouterr().err.replace("\r", "\n").strip().splitlines()[-1]


def test_the_same_records_in_every_layout(pool: Path, tmp_path: Path) -> None:
    came = tmp_path / "came.jsonl"
    assert select(f"--pool={pool}", *FIELDS, f"--output={came}") == 0
    picked = [RECORDS[n] for n in ids(came)]
    assert [json.loads(line) for line in came.read_text().splitlines()] == picked
    for layout in ("messages", "sharegpt", "alpaca"):
        output = tmp_path / f"{layout}.jsonl"
        flags = (f"--output={output}", f"--output_layout={layout}")
        assert select(f"--pool={pool}", *FIELDS, *flags) == 0
        found = list(
            data.read_conversations([output], fields={"labels": "tags", "score": "quality"})
        )
        assert {raw.conversation.layout for raw in found} == {layout}
        assert [raw.record["id"] for raw in found] == [record["id"] for record in picked]
        for raw in found:
            n = raw.record["id"]
            assert raw.turns == [("user", f"question {n} é😀"), ("assistant", f"answer {n}")]
            assert (raw.labels, raw.score) == (list(dict.fromkeys(RECORDS[n]["tags"])), 1 + n % 4)
    table = tmp_path / "table.parquet"
    assert select(f"--pool={pool}", *FIELDS, f"--output={table}") == 0
    assert pq.read_table(table).to_pylist() == picked
    named = tmp_path / "named"
    assert select(f"--pool={pool}", *FIELDS, f"--output={named}", "--output_layout=parquet") == 0
    assert pq.read_table(named).to_pylist() == picked


def test_an_entry_for_llama_factory(pool: Path, tmp_path: Path) -> None:
    folder = tmp_path / "factory"
    folder.mkdir()
    info = folder / "dataset_info.json"
    info.write_text('{"identity": {"file_name": "identity.json"}}')
    flags = (f"--output={tmp_path / 'mine.jsonl'}", f"--dataset_info={info}")
    for layout, formatting in (("as_it_came", "sharegpt"), ("alpaca", "alpaca")):
        assert select(f"--pool={pool}", *FIELDS, *flags, f"--output_layout={layout}") == 0
        found = json.loads(info.read_text())
        assert found["identity"] == {"file_name": "identity.json"}
        assert found["mine"]["formatting"] == formatting
        assert (folder / found["mine"]["file_name"]).samefile(tmp_path / "mine.jsonl")
    assert sorted(path.name for path in folder.iterdir()) == ["dataset_info.json"]


@pytest.mark.slow
def test_a_trainer_loads_what_the_command_wrote(pool: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="the extra hub is not installed")
    for layout in ("as_it_came", "messages", "sharegpt", "alpaca"):
        output = tmp_path / f"{layout}.jsonl"
        flags = (f"--pool={pool}", *FIELDS, f"--output={output}", f"--output_layout={layout}")
        if layout == "messages":  # As a person runs it, once.
            command = [sys.executable, "-m", "mig_jax", "select", "--budget=6", *flags]
            done = subprocess.run(command, capture_output=True, text=True, timeout=300)
            assert done.returncode == 0, done.stderr
        else:
            assert select(*flags) == 0
        loaded = datasets.load_dataset(
            "json", data_files=str(output), split="train", cache_dir=str(tmp_path / "cache")
        )
        expected = [json.loads(line) for line in output.read_text().splitlines()]
        assert loaded.to_list() == expected


def test_raw_records_of_a_layout_that_is_named_are_told_to_be_annotated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = tmp_path / "raw.jsonl"
    raw.write_text('{"instruction": "q", "output": "a"}\n')
    output = tmp_path / "out.jsonl"
    told = refusal(capsys, f"--pool={raw}", f"--output={output}", "--format=plain")
    assert told == (
        f"mig-jax: {raw}, line 1: the record has no labels and no score, only a conversation "
        "(layout alpaca); `mig-jax annotate` makes labels and scores, and --field=labels=NAME and "
        "--field=score=NAME tell where there are some; found instruction (a string), output "
        "(a string)"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["raw.jsonl"]


def test_records_that_the_layout_cannot_hold(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "pool.jsonl"
    records = [*RECORDS[:7], {**RECORDS[7], "conversations": RECORDS[7]["conversations"][:1]}]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    output = tmp_path / "out.jsonl"
    flags = (f"--pool={path}", *FIELDS, f"--output={output}", "--output_layout=alpaca")
    told = refusal(capsys, *flags)
    assert "pool.jsonl, line 8: found 1 turns of user and assistant; layout alpaca expects" in told
    assert [path.name for path in tmp_path.iterdir()] == ["pool.jsonl"]
    assert select(*flags, "--on_bad_record=skip") == 0
    assert json.loads((tmp_path / "out.rejected.jsonl").read_text())["line"] == 8
    assert len(ids(output)) == 6


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--field=tags"], "--field: found tags, expected NAME=FIELD"),
        (["--format=xsample"], "--field: labels and score are fields of --format=plain"),
        (["--dataset_info="], "--dataset_info: found nothing, expected a value"),
        (
            ["--dataset_info=x.json", "--output=o.txt"],
            "expected an ending that LLaMA-Factory knows",
        ),
        (["--output_layout=chat"], "--output_layout: found chat, expected one of as_it_came, "),
        (["--dataset_info={pool}"], "is an input; expected another file to write to"),
        # Told before the pool is read.
        (["--dataset_info={broken}", "--budget=1000"], "broken.json: "),
    ],
)
def test_flags_that_cannot_be_used(
    pool: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    flags: list[str],
    told: str,
) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text("[")
    given = [flag.format(pool=pool, broken=broken) for flag in flags]
    output = f"--output={tmp_path / 'o.jsonl'}"
    assert told in refusal(capsys, f"--pool={pool}", *FIELDS, output, *given)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.json", "pool.json"]
    assert broken.read_text() == "["


def test_fields_of_the_built_in_pool_have_their_names(capsys: pytest.CaptureFixture[str]) -> None:
    told = refusal(capsys, "--field=labels=tags", "--output=o.jsonl")
    assert "--field: the built-in pool has its own; give --pool too" in told
