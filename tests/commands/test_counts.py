"""Picks counted by file and by a field, fields that are left out, and what trainers misread."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.running import ROOT, free_port, mig, refused


def write_pools(folder: Path) -> list[Path]:
    """Three files, one a table; `meta.source` is missing, null, a text or a number."""
    rng = np.random.default_rng(3)
    sources: list[Any] = ["flan", ["gsm"], "é\n", 7, None, ["flan", "gsm"]]
    paths = [folder / name for name in ("a.jsonl", "b.jsonl", "c.parquet")]
    for path, count in zip(paths, (40, 25, 10), strict=True):
        rows: list[dict[str, Any]] = []
        for number in range(count):
            source = sources[int(rng.integers(len(sources)))]
            if path.suffix == ".parquet":
                source = None if source is None else [str(source)]
            row = {
                "labels": [f"l{rng.integers(9)}"],
                "score": round(float(rng.gamma(3)), 2),
                "id": f"{path.stem}{number}",
            }
            rows.append(row if number % 7 == 0 else {**row, "meta": {"source": source, "n": 1}})
        if path.suffix == ".parquet":
            pq.write_table(pa.Table.from_pylist(rows), path)
        else:
            path.write_text("".join(json.dumps(row) + "\n\n" for row in rows))
    return paths


def source_of(record: dict[str, Any]) -> str:
    source = (record.get("meta") or {}).get("source")
    if isinstance(source, list):
        return str(source[0]) if len(source) == 1 else json.dumps(source, separators=(",", ":"))
    return "(none)" if source is None else str(source)


def test_counts_by_file_and_by_field(tmp_path: Path) -> None:
    paths = write_pools(tmp_path)
    output = tmp_path / "out.jsonl"
    words = ["select", *(f"--pool={path}" for path in paths), f"--output={output}", "--budget=20"]
    done = mig(*words, "--cache=none", "--count_by=meta.source")
    assert done.returncode == 0, done.stderr
    about = json.loads(output.with_suffix(".manifest.json").read_text())
    by_file = {}
    every: Counter[str] = Counter()
    for path in paths:
        if path.suffix == ".parquet":
            records = pq.read_table(path).to_pylist()
        else:
            records = [json.loads(line) for line in path.read_text().splitlines() if line]
        by_file[str(path)] = len(records)
        every.update(map(source_of, records))
    picked = [json.loads(line) for line in output.read_text().splitlines()]
    of_file = Counter(pq.read_table(tmp_path / "out.selection.parquet")["file"].to_pylist())
    assert about["sources"] == [
        {"file": file, "records": count, "selected": of_file[file]}
        for file, count in by_file.items()
    ]
    of_value = Counter(map(source_of, picked))
    assert about["counts"]["field"] == "meta.source"
    assert about["counts"]["values"] == [
        {"value": value, "records": count, "selected": of_value[value]}
        for value, count in sorted(every.items(), key=lambda pair: (-pair[1], pair[0]))
    ]
    told = done.stdout.splitlines()
    largest = told[told.index("  by file:") + 1].split()
    assert largest[0].endswith("/a.jsonl")
    assert largest[1:] == [str(of_file[str(paths[0])]), "of", "40"]
    assert told[told.index("  by meta.source:") + 1].split()[-1] == str(max(every.values()))
    # Without the flag there is no second pass, and nothing of it is told.
    done = mig(*words, "--cache=none")
    assert "by meta.source" not in done.stdout
    assert "counts" not in json.loads(output.with_suffix(".manifest.json").read_text())


def test_names_and_values_that_json_escapes(tmp_path: Path) -> None:
    """A quote, a backslash or a control character in a field's name; half of a character."""
    names = ('la"bels', "sc\\ore", "so\x1burce")
    values = ["é", "\ud83d", ["\ud83d", 1], {"a": None}, float("nan")]
    records = [dict(zip(names, (["x"], 1.0, value), strict=True)) for value in values]
    pool = tmp_path / "pool.jsonl"
    pool.write_text("".join(json.dumps(record) + "\n" for record in records))
    words = [f"--pool={pool}", f"--output={tmp_path / 'out.jsonl'}", "--cache=none", "--budget=5"]
    fields = [f"--field=labels={names[0]}", f"--field=score={names[1]}", f"--count_by={names[2]}"]
    done = mig("select", *words, *fields, "--nocertificate")
    assert done.returncode == 0, done.stderr
    about = json.loads((tmp_path / "out.manifest.json").read_text())
    counted = [one["value"] for one in about["counts"]["values"]]
    told = ["é", "\ufffd", '["\ufffd",1]', '{"a":null}', "null"]
    assert sorted(counted) == sorted(told)
    assert (tmp_path / "out.jsonl").read_bytes() == pool.read_bytes()


def test_many_values(tmp_path: Path) -> None:
    pool, output = tmp_path / "pool.jsonl", tmp_path / "out.jsonl"
    rows = [{"labels": ["x"], "score": 1, "id": n % 60} for n in range(90)]
    pool.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = mig("select", f"--pool={pool}", f"--output={output}", "--budget=9", "--count_by=id")
    assert done.returncode == 0, done.stderr
    about = json.loads(output.with_suffix(".manifest.json").read_text())
    assert len(about["counts"]["values"]) == 60
    lines = done.stdout.splitlines()[4:]
    assert lines[0] == "  by id:"
    assert len(lines) == 12  # Ten values, and the others together.
    assert lines[-1].split()[:2] == ["50", "others"]
    assert sum(int(line.split()[-1]) for line in lines[1:]) == 90
    assert sum(int(line.split()[-3]) for line in lines[1:]) == 9


RECORD = (
    b'{"id": 1.50e1, "labels": ["x"], "score":1, "meta": {"a": "\\u00e9", "b": [1, 2]}, "k": null}'
)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ([], RECORD),
        (["labels"], b'{"id":1.50e1,"score":1,"meta":{"a": "\\u00e9", "b": [1, 2]},"k":null}'),
        (
            ["meta.b", "score", "k", "id.x"],
            b'{"id":1.50e1,"labels":["x"],"meta":{"a":"\\u00e9"}}',
        ),
        (["meta.b.c", "none"], RECORD),
    ],
)
def test_fields_that_are_left_out(tmp_path: Path, flags: list[str], expected: bytes) -> None:
    pool, output = tmp_path / "pool.jsonl", tmp_path / "out.jsonl"
    pool.write_bytes(RECORD + b"\n")
    words = [f"--pool={pool}", f"--output={output}", "--budget=1", "--cache=none"]
    done = mig("select", *words, *(f"--drop_field={name}" for name in flags))
    assert done.returncode == 0, done.stderr
    found = output.read_bytes()
    assert json.loads(found) == json.loads(expected)
    # Numbers and texts have the bytes that they came with.
    assert [part for part in (b"1.50e1", b"\\u00e9") if part not in found] == []
    table = tmp_path / "table.parquet"
    words[1] = f"--output={table}"
    done = mig("select", *words, *(f"--drop_field={name}" for name in flags))
    assert done.returncode == 0, done.stderr
    assert pq.read_table(table).schema.names == list(json.loads(expected))


def test_words_that_name_no_field(tmp_path: Path) -> None:
    words = ["select", "--budget=1", f"--output={tmp_path / 'o.jsonl'}"]
    for word in ("", "a..b", "."):
        assert "--drop_field: found" in refused(*words, f"--drop_field={word}")
        assert "--count_by: found" in refused(*words, f"--count_by={word}")


TURNS = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]


@pytest.mark.parametrize(
    ("records", "told"),
    [
        ([{"messages": TURNS}], []),
        ([{"messages": TURNS, "label": True, "text": "t", "tools": None}], []),
        ([{"messages": TURNS, "input_ids": [1]}], ["input_ids"]),
        ([{"messages": TURNS}, {"messages": TURNS, "chosen": None}], ["chosen"]),
        ([{"prompt": "q", "completion": "a"}], []),
        ([{"messages": TURNS, "conversations": [{"from": "human"}]}], ["conversations"]),
        ([{"messages": TURNS, "images": []}], ["images"]),
        ([{"messages": TURNS, "images": []}, {"messages": TURNS, "images": ["a"]}], []),
        ([{"messages": TURNS, "tools": ""}], ["tools"]),
        ([{"text": "t", "id": 1}, {"text": "t", "id": "b"}], ["id"]),
        ([{"text": "t", "id": 1}, {"text": "t", "id": 1.5}, {"text": "t", "id": None}], []),
    ],
)
def test_what_trainers_misread_is_told_once(
    tmp_path: Path, records: list[dict[str, Any]], told: list[str]
) -> None:
    pool, output = tmp_path / "pool.jsonl", tmp_path / "out.jsonl"
    given = [{**record, "tag": {"l": ["x"], "s": 1}} for record in records * 2]
    pool.write_text("".join(json.dumps(record) + "\n" for record in given))
    done = mig(
        *("select", f"--pool={pool}", f"--output={output}", f"--budget={len(given)}"),
        *("--field=labels=tag.l", "--field=score=tag.s", "--cache=none"),
    )
    assert done.returncode == 0, done.stderr
    notes = json.loads(output.with_suffix(".manifest.json").read_text())["notes"]
    assert [note.rpartition("--drop_field=")[2].split()[0] for note in notes] == told
    lines = [line for line in done.stderr.splitlines() if line.startswith("note: ")]
    assert lines == [f"note: {note}" for note in notes]


@pytest.mark.parametrize(
    ("flags", "number"),
    [([], 1), (["--output_layout=messages", "--drop_field=rejected"], 0)],
)
def test_pairs_are_told_as_what_they_are(tmp_path: Path, flags: list[str], number: int) -> None:
    pool, output = tmp_path / "pool.jsonl", tmp_path / "out.jsonl"
    record = {"prompt": "q", "chosen": "a", "rejected": "r"}
    pool.write_text(json.dumps({**record, "mig_jax": {"labels": ["x"], "score": 1}}) + "\n")
    words = [f"--pool={pool}", f"--output={output}", "--budget=1", "--cache=none"]
    done = mig("select", *words, *flags)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("note: ") == number
    assert done.stderr.count("note: TRL's SFTTrainer takes no pairs of answers") == number


@pytest.mark.parametrize(
    ("flags", "number"),
    [([], 1), (["--output_layout=messages"], 0), (["--output_layout=sharegpt"], 0)],
)
def test_roles_that_templates_do_not_know_are_told(
    tmp_path: Path, flags: list[str], number: int
) -> None:
    pool, output = tmp_path / "pool.jsonl", tmp_path / "out.jsonl"
    turns = [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]
    record = {"conversations": turns, "mig_jax": {"labels": ["x"], "score": 1}}
    pool.write_text(json.dumps(record) + "\n")
    words = [f"--pool={pool}", f"--output={output}", "--budget=1", "--cache=none"]
    done = mig("select", *words, *flags)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("note: TRL keeps the roles human and gpt") == number


def test_a_charset_that_trainers_cannot_load_is_told(tmp_path: Path) -> None:
    pool, output = tmp_path / "pool.jsonl", tmp_path / "out.jsonl"
    record = '{"mig_jax": {"labels": ["x"], "score": 1}, "text": "caf\u00e9"}\n'
    for charset, number in (("utf-8", 0), ("latin-1", 1)):
        pool.write_bytes(record.encode(charset))
        words = [f"--pool={pool}", f"--output={output}", "--budget=1", "--cache=none"]
        done = mig("select", *words)
        assert done.returncode == 0, done.stderr
        assert output.read_bytes() == record.encode(charset)
        assert done.stderr.count("note: trainers cannot load the records") == number


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"options": ["nine", "ninety"]}, True),
        ({"choices": {"A": "nine", "B": "ninety"}}, True),
        ({"choices": {"text": ["nine", "ninety"], "label": ["A", "B"]}}, True),
        ({"options": "A) nine B) ninety"}, True),
        ({"options": ["nine", "ninety"], "question": "How deep? A: nine, B: ninety"}, False),
        ({"options": None}, False),
        ({"options": [9, 90]}, False),
    ],
)
@pytest.mark.parametrize("layout", ["as_it_came", "messages"])
def test_choices_that_stand_beside_the_question_are_told(
    tmp_path: Path, more: dict[str, Any], told: bool, layout: str
) -> None:
    pool, output = tmp_path / "pool.jsonl", tmp_path / "out.jsonl"
    record = {"question": "How deep?", "answer": "B", "labels": ["x"], "score": 1, **more}
    pool.write_text(json.dumps(record) + "\n")
    words = [f"--pool={pool}", f"--output={output}", "--budget=1", "--cache=none"]
    done = mig("select", *words, f"--output_layout={layout}", "--drop_field=labels")
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("note: ")]
    assert [line.split(" alone")[0] for line in lines] == [
        f"note: answers to choose from stand in the field {name}" for name in more if told
    ][:1]


PAIRS: list[dict[str, Any]] = [
    {"messages": TURNS[:1], "chosen": TURNS[1], "rejected": {**TURNS[1], "content": "r"}},
    {"instruction": "q", "input": "", "chosen": "a", "rejected": "r"},
    {"prompt": TURNS[:1], "chosen": TURNS[1:], "rejected": [{**TURNS[1], "content": "r"}]},
    {"chosen": "\n\nHuman: q\n\nAssistant: a", "rejected": "\n\nHuman: q\n\nAssistant: r"},
    {"question": "q", "chosen_response": "a", "rejected_response": "r"},
]


@pytest.mark.parametrize("record", PAIRS)
@pytest.mark.parametrize("layout", ["messages", "prompt_completion"])
def test_a_pair_without_its_rejected_answer_has_the_chosen_one(
    tmp_path: Path, record: dict[str, Any], layout: str
) -> None:
    pool, output = tmp_path / "pool.jsonl", tmp_path / "out.jsonl"
    pool.write_text(json.dumps({**record, "mig_jax": {"labels": ["x"], "score": 1}}))
    words = [f"--pool={pool}", f"--output={output}", "--budget=1", "--cache=none"]
    flags = [f"--output_layout={layout}", "--drop_field=mig_jax"]
    flags += [f"--drop_field={name}" for name in record if name.startswith("rejected")]
    if "messages" in record:
        assert mig("select", *words).returncode == 0
        (note,) = json.loads((tmp_path / "out.manifest.json").read_text())["notes"]
        assert {"--output_layout=messages", flags[-1]} <= set(note.split())
    done = mig("select", *words, *flags)
    assert done.returncode == 0, done.stderr
    expected = {"messages": TURNS}
    if layout == "prompt_completion":
        expected = {"prompt": TURNS[:1], "completion": TURNS[1:]}
    assert json.loads(output.read_text()) == expected
    assert "note: " not in done.stderr


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_a_system_prompt_beside_turns_is_told_until_it_is_one(tmp_path: Path, kind: str) -> None:
    pool, output = tmp_path / f"pool.{kind}", tmp_path / "out.jsonl"
    record = {"system": "Be brief.", "messages": TURNS, "tags": ["x"], "score": 1.0}
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist([record]), pool)
    else:
        pool.write_text(json.dumps(record))
    words = [f"--pool={pool}", f"--output={output}", "--budget=1", "--cache=none"]
    words.append("--field=labels=tags")
    about = tmp_path / "out.manifest.json"
    assert mig("select", *words).returncode == 0
    (note,) = json.loads(about.read_text())["notes"]
    assert note.startswith("TRL passes over the field system beside turns; --output_layout=mess")
    assert mig("select", *words, "--output_layout=messages").returncode == 0
    assert json.loads(about.read_text())["notes"] == []
    first, *more = json.loads(output.read_text())["messages"]
    assert (first, more) == ({"role": "system", "content": "Be brief."}, TURNS)


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_a_table_is_looked_at_too(tmp_path: Path, ending: str) -> None:
    pool = tmp_path / "pool.parquet"
    pq.write_table(pa.Table.from_pylist([{"messages": TURNS, "labels": ["x"], "score": 1.0}]), pool)
    output = tmp_path / f"out{ending}"
    words = [f"--pool={pool}", f"--output={output}", "--budget=1", "--cache=none"]
    assert mig("select", *words).returncode == 0
    about = tmp_path / "out.manifest.json"
    (note,) = json.loads(about.read_text())["notes"]
    assert note.endswith("; --drop_field=labels leaves it out")
    assert mig("select", *words, "--drop_field=labels").returncode == 0
    assert json.loads(about.read_text())["notes"] == []


@pytest.mark.slow
def test_several_processes_count_and_check_together(tmp_path: Path) -> None:
    paths = [path for path in write_pools(tmp_path) if path.suffix == ".jsonl"]
    for path in paths:
        rows = [json.loads(line) for line in path.read_text().splitlines() if line]
        path.write_text("".join(json.dumps({**row, "messages": TURNS}) + "\n" for row in rows))

    def run(name: str, count: int, *more: str) -> list[tuple[int, str]]:
        (tmp_path / name).mkdir(exist_ok=True)
        words = [
            *(sys.executable, "-m", "mig_jax", "select", "--budget=30", "--cache=none"),
            *(f"--pool={path}" for path in paths),
            f"--output={tmp_path / name / 'out.jsonl'}",
            f"--dataset_info={tmp_path / name / 'dataset_info.json'}",
            *("--count_by=meta.source", "--drop_field=labels", *more),
        ]
        if count > 1:
            where = f"--coordinator_address=localhost:{free_port()}"
            words += [where, f"--num_processes={count}"]
        started = [
            subprocess.Popen(
                words + ([f"--process_id={number}"] if count > 1 else []),
                cwd=ROOT,
                env={**os.environ, "XLA_FLAGS": ""},
                stderr=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                text=True,
            )
            for number in range(count)
        ]
        told = [process.communicate(timeout=300)[1] for process in started]
        return [(process.returncode, text) for process, text in zip(started, told, strict=True)]

    assert [status for status, _ in run("one", 1)] == [0]
    assert [status for status, _ in run("two", 2)] == [0, 0]
    one, two = (
        json.loads((tmp_path / name / "out.manifest.json").read_text()) for name in ("one", "two")
    )
    for name in ("sources", "counts", "notes", "records_used"):
        assert one[name] == two[name]
    assert sum(row["selected"] for row in two["counts"]["values"]) == 30
    for name in ("out.jsonl", "out.selection.parquet", "dataset_info.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    # The layouts differ between the parts of two processes, and in none of them.
    text = paths[1].read_text()
    paths[1].write_text(text.replace('"messages"', '"dialogs"'))
    for status, told in run("two", 2):
        assert status == 2
        assert "the records have the layouts messages and xsample; expected one" in told
