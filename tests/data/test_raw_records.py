"""Records of every layout in every kind of file, read for their texts or as a pool."""

from __future__ import annotations

import gzip
import io
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from mig_jax import data
from mig_jax.errors import InputError
from tests.tables import assert_same_table

TURNS = [("user", "q é😀"), ("assistant", "a\n\u2028")]
RECORDS: dict[str, dict[str, Any]] = {
    "messages": {"messages": [{"role": role, "content": said} for role, said in TURNS]},
    "xsample": {"dialogs": [{"role": role, "content": said} for role, said in TURNS]},
    "sharegpt": {
        "conversations": [
            {"from": "human", "value": TURNS[0][1]},
            {"from": "gpt", "value": TURNS[1][1]},
        ]
    },
    "alpaca": {"instruction": TURNS[0][1], "input": "", "output": TURNS[1][1]},
}
ENDINGS = (".jsonl", ".jsonl.gz", ".json", ".json.zst", ".parquet")


def stored(
    folder: Path, records: list[dict[str, Any]], ending: str, indent: int | None = 1
) -> Path:
    """The records as a file: lines, an array over several lines, or a table."""
    path = folder / f"pool{ending}"
    if ending == ".parquet":
        pq.write_table(pa.Table.from_pylist(records), path)
        return path
    text = "".join(json.dumps(record) + "\n" for record in records)
    if ending.startswith(".json") and not ending.startswith(".jsonl"):
        text = f"\ufeff \n{json.dumps(records, indent=indent, ensure_ascii=False)}\n"
    content = text.encode()
    content = gzip.compress(content) if ending.endswith(".gz") else content
    path.write_bytes(zstandard.compress(content) if ending.endswith(".zst") else content)
    return path


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("layout", RECORDS)
def test_every_layout_in_every_kind_of_file(tmp_path: Path, layout: str, ending: str) -> None:
    records = [RECORDS[layout] | {"id": n} for n in range(3)]
    path = stored(tmp_path, records, ending)
    found = list(data.read_conversations([path]))
    assert [raw.record for raw in found] == records
    assert [json.loads(raw.raw) for raw in found] == records
    assert not any(b"\n" in raw.raw for raw in found)
    assert [raw.where for raw in found] == [f"{path}, line {n}" for n in (1, 2, 3)]
    assert {raw.conversation.layout for raw in found} == {layout}
    assert [raw.turns for raw in found] == [TURNS] * 3
    assert [(raw.labels, raw.score) for raw in found] == [(None, None)] * 3


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("layout", RECORDS)
def test_a_raw_conversation_is_told_to_be_annotated(
    tmp_path: Path, layout: str, ending: str
) -> None:
    path = stored(tmp_path, [RECORDS[layout]], ending)
    for skip in ("error", "skip"):
        with pytest.raises(InputError) as caught:
            data.read_pool([path], on_bad_record=skip)  # type: ignore[arg-type]
        told = str(caught.value)
        assert told.startswith(str(path))
        assert f"has no labels and no score, only a conversation (layout {layout})" in told
        assert "`mig-jax annotate` makes labels and scores" in told


def test_later_raw_records_are_told_too(tmp_path: Path) -> None:
    records = [{**RECORDS["messages"], "labels": ["a"], "score": 1}, RECORDS["messages"]]
    path = stored(tmp_path, [*records, {**records[1], "score": 2}], ".jsonl")
    with pytest.raises(InputError, match=r"line 2: the record has no labels and no score, only"):
        data.read_pool([path])
    rejects = io.BytesIO()
    table = data.read_pool([path], on_bad_record="skip", rejects=rejects)
    reasons = [json.loads(line)["reason"] for line in rejects.getvalue().splitlines()]
    assert (table.num_records, len(reasons)) == (1, 2)
    assert "the record has no labels, only a conversation (layout messages)" in reasons[1]


def test_labels_of_one_layout_and_a_score_of_another_are_told(tmp_path: Path) -> None:
    record = {**RECORDS["messages"], "labels": ["a"], "mig_jax": {"score": 2}}
    path = stored(tmp_path, [record], ".jsonl")
    flags = ["labels=labels", "score=mig_jax.score"]
    with pytest.raises(InputError, match=" ".join(f"--field={flag}" for flag in flags)):
        data.read_pool([path])
    table = data.read_pool([path], fields=data.FieldNames.parse(flags))
    assert (table.label_names, table.scores.tolist()) == (["a"], [2.0])


def test_a_field_that_is_named_counts_even_by_its_usual_name(tmp_path: Path) -> None:
    """Before our own field, before an annotation, and before other conversations."""
    deita = {"quality_scores": [2.0], "complexity_scores": [3.0]}
    record = {
        **RECORDS["messages"],
        **{name: value for name, value in RECORDS["alpaca"].items() if name != "labels"},
        "labels": ["own"],
        "score": 9,
        "mig_jax": {"labels": ["old"], "score": 5},
        "annotation": {"instag": {"content": ["a"]}, "deita": deita},
    }
    path = stored(tmp_path, [record, {**record, "labels": None}], ".jsonl")
    names = ("labels", "score", "instruction")
    (one, other) = data.read_conversations([path], fields={name: name for name in names})
    assert (one.labels, one.score, one.conversation.layout) == (["own"], 9.0, "alpaca")
    assert (other.labels, other.score) == (None, 9.0)
    pool = data.read_pool([stored(tmp_path, [record], ".jsonl")], fields={"labels": "labels"})
    assert (pool.label_names, pool.scores.tolist()) == (["own"], [5.0])


def test_labels_and_scores_where_there_are_some(tmp_path: Path) -> None:
    deita = {"quality_scores": [2.0, 4.0], "complexity_scores": [3.0, 1.0]}
    more: list[dict[str, Any]] = [
        {"labels": ["b", "a", "b"], "score": 1},
        {"labels": []},
        {"score": 0.5, "labels": None},
        {"annotation": {"instag": {"content": ["c"]}, "deita": deita}},
        {"annotation": {"instag": {"content": ["c"]}}},
        {"annotation": {"deita": deita}, "labels": ["d"]},
        {"annotation": {"deita": deita}, "labels": ["d"], "mig_jax": {"labels": ["e"]}},
        {"mig_jax": {"labels": [], "score": 2}, "labels": {"quality": 1}, "score": "good"},
        {"mig_jax": None, "labels": ["f"]},
    ]
    path = stored(tmp_path, [RECORDS["messages"] | each for each in more], ".jsonl")
    assert [(raw.labels, raw.score) for raw in data.read_conversations([path])] == [
        (["b", "a"], 1.0),
        ([], None),
        (None, 0.5),
        (["c"], 5.0),
        (["c"], None),
        (["d"], 5.0),
        (["e"], 5.0),
        ([], 2.0),
        (["f"], None),
    ]


def test_labels_that_are_not_wanted_may_be_anything(tmp_path: Path) -> None:
    more = {"labels": {"quality": 0.9}, "score": "good", "annotation": {"deita": 1}, "mig_jax": "x"}
    path = stored(tmp_path, [RECORDS["messages"] | more], ".jsonl")
    [raw] = data.read_conversations([path], wanted=())
    assert (raw.labels, raw.score, raw.record["labels"]) == (None, None, {"quality": 0.9})
    with pytest.raises(InputError, match="field labels: found an object, expected a list"):
        list(data.read_conversations([path], wanted=("labels",)))


@pytest.mark.parametrize("ending", ENDINGS)
def test_labels_and_score_in_the_object_mig_jax(tmp_path: Path, ending: str) -> None:
    records = [
        RECORDS["messages"]
        | {"labels": ["own"], "score": 9.0, "tags": ["t"], "q": 8.0}
        | {"mig_jax": {"labels": [f"l{n}", "l"], "score": float(n)}}
        for n in range(4)
    ]
    path = stored(tmp_path, records, ending)
    table = data.read_pool([path])
    assert table.layouts == ("mig_jax",)
    assert table.label_names == ["l", "l0", "l1", "l2", "l3"]
    assert table.scores.tolist() == [0.0, 1.0, 2.0, 3.0]
    assert written(table, [2]) == [records[2]]
    for fields, labels, score in (
        ({"labels": "tags"}, ["t"], 3.0),
        ({"score": "q"}, ["l", "l0", "l1", "l2", "l3"], 8.0),
        ({"labels": "tags", "score": "q"}, ["t"], 8.0),
    ):
        table = data.read_pool([path], fields=fields)
        assert (table.label_names, table.scores[3]) == (labels, score)
    table = data.read_pool([path], layout="plain")
    assert (table.label_names, table.scores.tolist()) == (["own"], [9.0] * 4)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"tags": "x"}, "line 1, field tags: found a string, expected a list of strings"),
        ({"tags": ["x", 1]}, "line 1, field tags[1]: found a number, expected a string"),
        ({"score": -1}, "line 1, field score: found -1, expected a finite number of at least 0"),
        ({"annotation": {"deita": {}}}, "line 1, field annotation.deita.quality_scores: missing"),
        ({"messages": []}, "line 1, field chat[0].role: found 'x', expected one of system"),
        ({"chat": None}, "line 1: found no conversation; expected messages"),
    ],
)
def test_bad_records_among_raw_ones(tmp_path: Path, more: dict[str, Any], told: str) -> None:
    good = {"chat": RECORDS["messages"]["messages"]}
    bad = good | more
    if "messages" in more:
        bad["chat"] = [{"role": "x", "content": ""}]
    path = stored(tmp_path, [bad, good], ".jsonl")
    fields = {"messages": "chat", "labels": "tags"}
    with pytest.raises(InputError) as caught:
        list(data.read_conversations([path], fields=fields))
    assert told in str(caught.value)
    rejects, passed = io.BytesIO(), []
    found = data.read_conversations(
        [path], fields=fields, on_bad_record="skip", rejects=rejects, progress=passed.append
    )
    assert [raw.line for raw in found] == [2]
    assert json.loads(rejects.getvalue())["line"] == 1
    assert passed[-1] == 2
    with pytest.raises(InputError, match="all of its records"):
        list(data.read_conversations([path], fields={"messages": "x"}, on_bad_record="skip"))


def pool_records(count: int = 40) -> list[dict[str, Any]]:
    return [
        RECORDS["sharegpt"] | {"id": n, "labels": [f"l{n % 7}", f"l{n % 3}"], "score": n / 4}
        for n in range(count)
    ]


# Has even a small pool read in ranges, and by several processes.
CUT = data.ReadingLimits(range_size=500, parallel_from=0)


def written(table: data.RecordTable, picks: list[int]) -> list[Any]:
    stream = io.BytesIO()
    data.write_records(table, picks, stream)
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.mark.parametrize("ending", [".json", ".json.gz", ".json.zst"])
@pytest.mark.parametrize("indent", [None, 2])
def test_an_array_is_the_pool_that_its_lines_are(
    tmp_path: Path, ending: str, indent: int | None
) -> None:
    records = pool_records()
    expected = data.read_pool([stored(tmp_path, records, ".jsonl")], workers=1)
    path = stored(tmp_path, records, ending, indent)
    for workers in (1, 3):
        table = data.read_pool([path, tmp_path / "pool.jsonl"], workers=workers, limits=CUT)
        assert table.num_records == 80
        assert table.label_names == expected.label_names
        for half in (table.scores[:40], table.scores[40:]):
            assert half.tolist() == expected.scores.tolist()
        assert table.line.tolist() == [*range(1, 41), *range(1, 41)]
        assert written(table, [39, 0, 41]) == [records[39], records[0], records[1]]
    shares = [data.share_of_pool([path], index, 3, limits=CUT) for index in range(3)]
    parts = [share.read(share.count_lines() * 0) for share in shares]
    assert [part.num_records for part in parts] == [40, 0, 0]
    cached, said = [], []
    for _ in range(2):
        cached.append(data.read_pool([path], cache=tmp_path / "cache", on_cache=said.append))
    assert_same_table(*cached)
    assert len(said) == 1


def test_a_bad_record_of_an_array_is_told_by_its_place(tmp_path: Path) -> None:
    records = pool_records(4)
    records[2]["score"] = "x"
    path = stored(tmp_path, records, ".json")
    with pytest.raises(InputError, match="line 3, field score: found a string, expected a finite"):
        data.read_pool([path])
    table = data.read_pool([path], on_bad_record="skip")
    assert (table.records_skipped, table.line.tolist()) == (1, [1, 2, 4])


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ('[{"labels": [], "score": 1}', "JSON is truncated; expected one JSON array of records"),
        ('[{"labels": []} {}]', "line 1: JSON is malformed: trailing characters"),
        ("[]", "holds no records; expected at least one"),
        ('[1, {"labels": [], "score": 1}]', "line 1: found a number, expected one JSON object"),
        ("", "holds no records"),
    ],
)
def test_bad_arrays(tmp_path: Path, content: str, told: str) -> None:
    path = tmp_path / "pool.json"
    path.write_text(content)
    with pytest.raises(InputError) as caught:
        data.read_pool([path])
    assert told in str(caught.value)


@pytest.mark.parametrize("ending", [".jsonl", ".json", ".parquet"])
def test_fields_of_other_names(tmp_path: Path, ending: str) -> None:
    records = pool_records()
    renamed = [
        {"chat": r["conversations"], "meta": {"tags": r["labels"], "q": {"all": r["score"]}}}
        for r in records
    ]
    expected = data.read_pool([stored(tmp_path, records, ".jsonl")])
    fields = {"labels": "meta.tags", "score": "meta.q.all", "conversations": "chat"}
    path = stored(tmp_path, renamed, ending)
    tables = [
        data.read_pool([path], fields=fields, workers=workers, limits=CUT) for workers in (1, 2)
    ]
    tables += [
        data.read_pool(
            [path], fields=fields, fits=data.WrittenForm("messages"), cache=tmp_path / "cache"
        )
        for _ in range(2)
    ]
    for table in tables:
        assert table.label_names == expected.label_names
        assert table.labels.tolist() == expected.labels.tolist()
        assert table.scores.tolist() == expected.scores.tolist()
    assert next(data.read_texts(tables[0], fields=fields)) == (TURNS[0][1], TURNS[1][1])
    # The names are part of what the cache knows a pool by.
    with pytest.raises(InputError, match=r"no layout|labels"):
        data.read_pool([path], cache=tmp_path / "cache")
    with pytest.raises(InputError, match=r"meta\.other"):
        data.read_pool([path], fields=fields | {"labels": "meta.other"})


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_named_labels_go_before_an_annotation(tmp_path: Path, ending: str) -> None:
    deita = {"quality_scores": [1.0], "complexity_scores": [1.0]}
    annotation = {"instag": {"content": ["unwanted"]}, "deita": deita}
    path = stored(tmp_path, [{"annotation": annotation, "tags": ["x"], "score": 2.0}], ending)
    table = data.read_pool([path], fields={"labels": "tags"})
    assert (table.label_names, table.scores.tolist()) == (["x"], [2.0])


def test_a_field_of_another_name_that_is_bad(tmp_path: Path) -> None:
    records = [{"tags": ["a"], "q": 1.0}, {"tags": ["a", 3], "q": 1.0}, {"tags": ["a"], "q": -1}]
    records.append({"tags": ["b", "b"], "q": 2, "x": float("nan")})
    path = stored(tmp_path, records, ".jsonl")
    fields = {"labels": "tags", "score": "q"}
    with pytest.raises(InputError, match=r"line 2, field tags\[1\]: found a number, expected"):
        data.read_pool([path], fields=fields)
    rejects = io.BytesIO()
    table = data.read_pool([path], fields=fields, on_bad_record="skip", rejects=rejects)
    assert table.scores.tolist() == [1.0, 2.0]
    assert table.labels.tolist() == [0, 1]
    last = json.loads(rejects.getvalue().splitlines()[-1])
    assert last["reason"] == "field q: found -1, expected a finite number of at least 0"


@pytest.mark.parametrize("ending", [".jsonl", ".json", ".parquet"])
def test_records_that_do_not_fit_the_output_are_bad(tmp_path: Path, ending: str) -> None:
    records = pool_records(6)
    records[3] = {**records[3], "conversations": [{"from": "human", "value": "?"}]}
    path = stored(tmp_path, records, ending)
    assert data.read_pool([path], fits=data.WrittenForm("messages")).num_records == 6
    with pytest.raises(InputError, match="line 4: found 1 turns of user and assistant; layout alp"):
        data.read_pool([path], fits=data.WrittenForm("alpaca"))
    table = data.read_pool(
        [path], fits=data.WrittenForm("alpaca"), on_bad_record="skip", workers=2, limits=CUT
    )
    assert table.line.tolist() == [1, 2, 3, 5, 6]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["labels"], "--field: found labels, expected NAME=FIELD, as in labels=tags"),
        (["tags=labels"], "--field: found tags=labels, expected one of labels, score, messages"),
        (["labels="], "--field: found labels=, expected the name of a field after the ="),
        (["labels=a..b"], "--field: found labels=a..b, expected the name of a field"),
        (["labels=x", "labels=y"], "--field: labels is both x and y; expected one of them"),
        (["labels=x", "score=x"], "--field: labels and score are both x"),
        (["labels=x", "score=x.y"], "--field: labels is x and score is x.y, one within the other"),
        (["role=content"], "--field: role and content are both content; expected a field of"),
    ],
)
def test_names_of_fields_are_checked(words: list[str], told: str) -> None:
    with pytest.raises(InputError) as caught:
        data.FieldNames.parse(words)
    assert told in str(caught.value)


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, ending: str) -> None:
    peaks = []
    for count in (3000, 12000):
        path = tmp_path / f"pool{count}{ending}"
        record = {"instruction": "x" * 1000, "output": "y"}
        if ending == ".parquet":
            pq.write_table(pa.Table.from_pylist([record] * count), path, row_group_size=1000)
        else:
            path.write_text((json.dumps(record) + "\n") * count)
        tracemalloc.start()
        assert sum(1 for _ in data.read_conversations([path])) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0] + 100_000
