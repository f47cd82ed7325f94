"""Columns of every Arrow type: kept from table to table, and what they are in JSON lines."""

from __future__ import annotations

import datetime
import decimal
import io
import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mig_jax import data
from mig_jax.errors import InputError

NOT_FINITE = ": NaN and infinities are written as null"
BASE64 = ": binary values are written as base64 text"
HUGE = 1 << 62


class Kind(NamedTuple):
    """Three rows of a type, the JSON text of each, and what is told of the column."""

    values: Callable[[], pa.Array]
    lines: tuple[str, str, str]
    told: tuple[str, ...] = ()


def stored(kind: pa.DataType, values: list[Any]) -> pa.Array:
    return pa.ExtensionArray.from_storage(kind, pa.array(values, kind.storage_type))


def integers(kind: pa.DataType, values: list[int | None]) -> Callable[[], pa.Array]:
    width = pa.int64() if kind.bit_width == 64 else pa.int32()
    return lambda: pa.array(values, width).view(kind)


NUMBERS = ("4.80", "-0.10", "9.99")
TENSOR = pa.fixed_shape_tensor(pa.int8(), [2, 3])
STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
KINDS = {
    "int8": Kind(lambda: pa.array([-128, None, 127], pa.int8()), ("-128", "null", "127")),
    "uint64": Kind(
        lambda: pa.array([2**64 - 1, 0, None], pa.uint64()), ("18446744073709551615", "0", "null")
    ),
    "bool": Kind(lambda: pa.array([True, None, False]), ("true", "null", "false")),
    "float16": Kind(
        lambda: pa.array(np.array([0.5, np.nan, np.inf], np.float16)),
        ("0.5", "null", "null"),
        (NOT_FINITE,),
    ),
    "float32": Kind(
        lambda: pa.array([0.5, None, float("-inf")], pa.float32()),
        ("0.5", "null", "null"),
        (NOT_FINITE,),
    ),
    "float64": Kind(
        lambda: pa.array([0.1, float("nan"), 1e300]),
        ("0.1", "null", "1e300"),
        (NOT_FINITE,),
    ),
    "decimal128": Kind(
        lambda: pa.array([decimal.Decimal(text) for text in NUMBERS], pa.decimal128(3, 2)),
        NUMBERS,
    ),
    "decimal256": Kind(
        lambda: pa.array([decimal.Decimal(f"{'7' * 40}.25"), None, None], pa.decimal256(60, 2)),
        (f"{'7' * 40}.25", "null", "null"),
    ),
    "large_string": Kind(
        lambda: pa.array(["é😀", "", None], pa.large_string()), ('"é😀"', '""', "null")
    ),
    "string_view": Kind(
        lambda: pa.array(["a", "long " * 9, None], pa.string_view()),
        ('"a"', f'"{"long " * 9}"', "null"),
    ),
    "strings": Kind(
        lambda: pa.array([["a", None], [], None], pa.large_list(pa.string_view())),
        ('["a",null]', "[]", "null"),
    ),
    "binary": Kind(lambda: pa.array([b"\xff\xfe", b"", None]), ('"//4="', '""', "null"), (BASE64,)),
    "binary_view": Kind(
        lambda: pa.array([b"\xff\xfe", b"a" * 20, None], pa.binary_view()),
        ('"//4="', f'"{"YWFh" * 6}YWE="', "null"),
        (BASE64,),
    ),
    "fixed_binary": Kind(
        lambda: pa.array([b"ab", None, b"cd"], pa.binary(2)),
        ('"YWI="', "null", '"Y2Q="'),
        (BASE64,),
    ),
    "no_binary": Kind(lambda: pa.nulls(3, pa.binary()), ("null", "null", "null")),
    "image": Kind(
        lambda: pa.array([(b"\x89", "a"), None, (None, "b")], STRUCT),
        ('{"bytes":"iQ==","path":"a"}', "null", '{"bytes":null,"path":"b"}'),
        (".bytes" + BASE64,),
    ),
    "null": Kind(lambda: pa.nulls(3), ("null", "null", "null")),
    "dictionary": Kind(
        lambda: pa.array(["b", None, "a"]).dictionary_encode(), ('"b"', "null", '"a"')
    ),
    "dictionaries": Kind(
        lambda: pa.array([["b"], [None, "a"], []], pa.list_(pa.dictionary(pa.int8(), pa.string()))),
        ('["b"]', '[null,"a"]', "[]"),
    ),
    "list_view": Kind(
        lambda: pa.array([[1], None, [2, None]], pa.list_view(pa.int16())),
        ("[1]", "null", "[2,null]"),
    ),
    "fixed_list": Kind(
        lambda: pa.array([[1, 2], None, [3, None]], pa.list_(pa.int16(), 2)),
        ("[1,2]", "null", "[3,null]"),
    ),
    "map": Kind(
        lambda: pa.array([[("a", 1), ("b", None)], [], None], pa.map_(pa.string(), pa.int8())),
        ('{"a":1,"b":null}', "{}", "null"),
    ),
    "map_of_numbers": Kind(
        lambda: pa.array([[(1, "a"), (2, None)], [], None], pa.map_(pa.int8(), pa.string())),
        ('[[1,"a"],[2,null]]', "[]", "null"),
    ),
    "repeated_key": Kind(
        lambda: pa.array([[("a", 1), ("a", 2)], [], None], pa.map_(pa.string(), pa.int8())),
        ('{"a":2}', "{}", "null"),
        (": of a key given twice in a map the last is written",),
    ),
    "date32": Kind(
        integers(pa.date32(), [0, None, 2**31 - 1]), ('"1970-01-01"', "null", '"5881580-07-11"')
    ),
    "time32": Kind(
        integers(pa.time32("ms"), [1, None, 86_399_000]),
        ('"00:00:00.001000"', "null", '"23:59:59"'),
    ),
    "time64": Kind(
        integers(pa.time64("ns"), [1, None, 1000]),
        ('"00:00:00.000000001"', "null", '"00:00:00.000001"'),
    ),
    "timestamp_ms": Kind(
        integers(pa.timestamp("ms"), [-1, None, 1 << 50]),
        ('"1969-12-31T23:59:59.999000"', "null", '"37648-05-06T22:07:22.624000"'),
    ),
    "timestamp_us": Kind(
        integers(pa.timestamp("us", "+05:30"), [0, None, 1]),
        ('"1970-01-01T05:30:00+05:30"', "null", '"1970-01-01T05:30:00.000001+05:30"'),
    ),
    "timestamp_ns": Kind(
        integers(pa.timestamp("ns", "UTC"), [1, None, HUGE]),
        ('"1970-01-01T00:00:00.000000001Z"', "null", '"2116-02-20T23:53:38.427387904Z"'),
    ),
    "timestamp_of_no_known_zone": Kind(
        integers(pa.timestamp("us", "No/Where"), [0, None, 1]),
        ('"1970-01-01T00:00:00Z"', "null", '"1970-01-01T00:00:00.000001Z"'),
    ),
    "duration": Kind(
        integers(pa.duration("s"), [90_000, -1, HUGE]),
        ('"P1DT3600S"', '"-PT1S"', '"P53375995583650DT27904S"'),
    ),
    "json": Kind(
        lambda: stored(pa.json_(), ['{"a": 1.0, "b": [null, {}]}', None, '"text"']),
        ('{"a":1.0,"b":[null,{}]}', "null", '"text"'),
    ),
    "json_beyond_utf8": Kind(
        lambda: stored(pa.json_(), ['"\\ud83d"', "[NaN]", str(10**30)]),
        ('"\\ud83d"', "[null]", str(10**30)),
        (NOT_FINITE,),
    ),
    "jsons": Kind(
        lambda: pa.LargeListArray.from_arrays(
            [0, 2, 2, 3], stored(pa.json_(), ["{}", "null", "1"])
        ),
        ("[{},null]", "[]", "[1]"),
    ),
    "uuid": Kind(
        lambda: stored(pa.uuid(), [uuid.UUID(int=7).bytes, None, bytes(16)]),
        (f'"{uuid.UUID(int=7)}"', "null", f'"{uuid.UUID(int=0)}"'),
    ),
    "bool8": Kind(lambda: stored(pa.bool8(), [0, None, 2]), ("false", "null", "true")),
    "tensor": Kind(
        lambda: stored(TENSOR, [[1, 2, 3, 4, 5, 6], None, [0] * 6]),
        ("[[1,2,3],[4,5,6]]", "null", "[[0,0,0],[0,0,0]]"),
    ),
    "opaque": Kind(
        lambda: stored(pa.opaque(pa.int8(), "t", "v"), [1, None, 2]),
        ("1", "null", "2"),
        (": values of the extension type arrow.opaque are written as they are stored",),
    ),
}


def pool_of(
    path: Path, column: pa.Array, metadata: dict[str, str] | None = None
) -> data.RecordTable:
    columns = {"labels": pa.array([["a"], ["b"], ["a", "b"]]), "score": [1.0, 2.0, 3.0]}
    table = pa.table({**columns, "x": column})
    pq.write_table(table.replace_schema_metadata(metadata), path, row_group_size=2)
    return data.read_pool([path])


def written(table: data.RecordTable, picks: list[int], **how: Any) -> bytes:
    stream = io.BytesIO()
    data.write_records(table, picks, stream, **how)
    return stream.getvalue()


@pytest.mark.parametrize("name", KINDS)
def test_a_table_from_a_table_is_the_same(name: str, tmp_path: Path) -> None:
    about = {"huggingface": '{"info": {"features": {}}}', "mine": "é"}
    table = pool_of(tmp_path / "pool.parquet", KINDS[name].values(), about)
    came = pq.read_table(tmp_path / "pool.parquet")
    told: list[str] = []
    content = written(table, [2, 0, 1, 0], form="parquet", tell=told.append)
    found = pq.read_table(io.BytesIO(content))
    assert found.schema.equals(came.schema, check_metadata=True)
    found.validate(full=True)
    assert not told
    rows = pa.concat_tables([came.slice(row, 1) for row in (2, 0, 1, 0)])
    for column in found.schema.names:
        # As bytes: NaN is not equal to itself.
        kept, wanted = (
            [pa.RecordBatch.from_pydict({"x": table.slice(row, 1)[column].combine_chunks()})
             for row in range(4)] for table in (found, rows)
        )  # fmt: skip
        for one, other in zip(kept, wanted, strict=True):
            same = one.equals(other) or one.serialize().equals(other.serialize())
            assert same, (column, one, other)


@pytest.mark.parametrize("name", KINDS)
def test_lines_from_a_table(name: str, tmp_path: Path) -> None:
    kind = KINDS[name]
    table = pool_of(tmp_path / "pool.parquet", kind.values())
    said: list[str] = []
    lines = written(table, [0, 1, 2], tell=said.append).decode().splitlines()
    head = (
        '"labels":["a"],"score":1.0',
        '"labels":["b"],"score":2.0',
        '"labels":["a","b"],"score":3.0',
    )
    assert lines == [f'{{{a},"x":{b}}}' for a, b in zip(head, kind.lines, strict=True)]
    assert said == [f"column x{loss}" for loss in kind.told]


def test_class_labels_are_their_names(tmp_path: Path) -> None:
    names = {"names": ["maths", "code"], "_type": "ClassLabel"}
    features = {
        "labels": {"feature": names, "_type": "List"},
        "x": names,
        "old": [names],
        "deep": {"y": names},
        "pairs": {"feature": {"z": names}, "_type": "Sequence"},
    }
    table = pa.table(
        {
            "labels": [[1, 0], [], [0]],
            "score": [1.0, 2.0, 3.0],
            "x": pa.array([0, -1, 5], pa.int64()),
            "old": [[1], None, [0]],
            "deep": [{"y": 1}, {"y": None}, None],
            "pairs": [{"z": [1, 0]}, None, {"z": []}],
        },
    )
    about = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(table.replace_schema_metadata(about), tmp_path / "pool.parquet")
    pool = data.read_pool([tmp_path / "pool.parquet"])
    assert pool.label_names == ["code", "maths"]
    told: list[str] = []
    found = [json.loads(line) for line in written(pool, [0, 1, 2], tell=told.append).splitlines()]
    assert [row["labels"] for row in found] == [["code", "maths"], [], ["maths"]]
    assert [row["x"] for row in found] == ["maths", None, 5]
    assert [row["old"] for row in found] == [["code"], None, ["maths"]]
    assert [row["deep"] for row in found] == [{"y": "code"}, {"y": None}, None]
    assert [row["pairs"] for row in found] == [{"z": ["code", "maths"]}, None, {"z": []}]
    assert told == ["column x: numbers without a class name are written as numbers"]


@pytest.mark.parametrize("of_type", ["decimal", "json", "dictionary", "view"])
def test_labels_and_scores_of_all_types_are_read(of_type: str, tmp_path: Path) -> None:
    scores: Any = [1.25, 2.5]
    labels: Any = [["a"], ["b", "a"]]
    if of_type == "decimal":
        scores = pa.array([decimal.Decimal("1.25"), decimal.Decimal("2.50")], pa.decimal128(5, 2))
    if of_type == "json":
        labels = stored(pa.json_(), ['["a"]', '["b","a"]'])
        scores = stored(pa.json_(), ["1.25", "2.5"])
    if of_type == "dictionary":
        labels = pa.array(labels, pa.list_(pa.dictionary(pa.int32(), pa.string())))
    if of_type == "view":
        labels = pa.array(labels, pa.large_list(pa.string_view()))
    path = tmp_path / "pool.parquet"
    pq.write_table(pa.table({"labels": labels, "score": scores}), path)
    pool = data.read_pool([path])
    assert (pool.label_names, pool.scores.tolist()) == (["a", "b"], [1.25, 2.5])
    assert pool.labels.tolist() == [0, 0, 1]


def test_binary_labels_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "pool.parquet"
    pq.write_table(pa.table({"labels": [[b"a"], [b"b"]], "score": [1.0, 2.0]}), path)
    with pytest.raises(InputError, match="the column labels has binary values; expected text"):
        data.read_pool([path], on_bad_record="skip")


def test_fields_within_json_are_found(tmp_path: Path) -> None:
    notes = [
        {"instag": {"content": ["a"]}, "deita": {"quality_scores": [2], "complexity_scores": [3]}},
        {"other": 1},
    ]
    texts = stored(pa.json_(), [json.dumps(note) for note in notes])
    meta = pa.StructArray.from_arrays([stored(pa.json_(), ['{"tags": ["t"]}', "{}"])], ["deep"])
    table = pa.table({"annotation": texts, "meta": meta, "q": [1.0, 2.0]})
    path = tmp_path / "pool.parquet"
    pq.write_table(table, path)
    found = data.read_pool([path], on_bad_record="skip")
    assert (found.layouts, found.label_names, found.scores.tolist()) == (("xsample",), ["a"], [6.0])
    fields = {"labels": "meta.deep.tags", "score": "q"}
    found = data.read_pool([path], fields=fields, on_bad_record="skip")
    assert (found.label_names, found.scores.tolist()) == (["t"], [1.0])
    with pytest.raises(InputError, match="has the columns annotation, meta, q"):
        data.read_pool([path], fields={"labels": "meta.deep.nothing", "score": "q"})


def test_turns_in_json_are_a_conversation(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    texts = stored(pa.json_(), [json.dumps(turn) for turn in turns])
    table = pa.table({"messages": pa.ListArray.from_arrays([0, 2], texts), "n": [1]})
    pq.write_table(table, tmp_path / "pool.parquet")
    (found,) = data.read_conversations([tmp_path / "pool.parquet"])
    assert found.record == {"messages": turns, "n": 1}
    assert found.turns == [("user", "q"), ("assistant", "a")]


def test_text_that_is_no_json_is_told(tmp_path: Path) -> None:
    pool = pool_of(tmp_path / "pool.parquet", stored(pa.json_(), ["{}", "{a", "1"]))
    with pytest.raises(InputError, match=r"pool.parquet: column x: found text that is not JSON"):
        written(pool, [0, 1, 2])


@pytest.mark.slow
def test_a_damaged_footer_is_told_or_harmless(tmp_path: Path) -> None:
    """Also one that tells of other numbers of rows: no record takes the place of another."""
    path = tmp_path / "pool.parquet"
    columns = {"labels": [["a"], ["b"], ["c"], ["d"]], "score": [1.0, 2.0, 3.0, 4.0]}
    pq.write_table(pa.table(columns), path, row_group_size=2, compression="none")
    whole = path.read_bytes()
    start = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    outcomes = set()
    for place in range(start, len(whole)):
        for change in (2, 0x80):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ change]) + whole[place + 1 :])
            try:
                pool = data.read_pool([path], on_bad_record="skip")
                told = [str(label) for label in pool.label_names]
                for picks in (range(pool.num_records), [pool.num_records - 1]):
                    lines = written(pool, list(picks)).splitlines()
                    rows = pq.read_table(io.BytesIO(written(pool, list(picks), form="parquet")))
                    assert len(lines) == rows.num_rows == len(picks)
                    outcomes.add((len(picks), lines[-1][:15]))
            except InputError:
                continue
            assert set(told) <= {"a", "b", "c", "d"}
    assert outcomes >= {(4, b'{"labels":["d"]'), (1, b'{"labels":["d"]')}


def test_extension_types_that_pyarrow_does_not_know(tmp_path: Path) -> None:
    marked = {"ARROW:extension:name": "acme.money", "ARROW:extension:metadata": "EUR"}
    field = pa.field("x", pa.int64(), metadata=marked)
    labels = pa.field("labels", pa.list_(pa.string()))
    schema = pa.schema([labels, ("score", pa.float64()), field])
    table = pa.table([[["a"]] * 3, [1.0] * 3, [1, 2, None]], schema=schema)
    path = tmp_path / "pool.parquet"
    pq.write_table(table, path)
    pool = data.read_pool([path])
    told: list[str] = []
    assert json.loads(written(pool, [1], tell=told.append))["x"] == 2
    assert told == [
        "column x: values of the extension type acme.money are written as they are stored"
    ]
    again = pq.read_schema(io.BytesIO(written(pool, [1], form="parquet")))
    assert again.equals(pq.read_schema(path), check_metadata=True)


LAST = datetime.datetime(9999, 12, 30)


@given(
    st.lists(st.datetimes(max_value=LAST), min_size=1),
    st.sampled_from(["UTC", "Europe/Oslo", "Asia/Kolkata", None]),
)
def test_times_are_those_of_another_writer(
    moments: list[datetime.datetime], zone: str | None
) -> None:
    """In the range of Python's own times, and with whole minutes, as msgspec writes them."""
    from mig_jax.data.files import JsonRows, Losses

    moments = [moment.replace(year=max(moment.year, 1975)) for moment in moments]
    kind = pa.timestamp("us", zone)
    spans = [moment - datetime.datetime(1970, 1, 1) for moment in moments]
    columns = {
        "when": pa.array(moments, pa.timestamp("us")).cast(kind) if zone is None
        else pa.array([span // datetime.timedelta(microseconds=1) for span in spans]).cast(kind),
        "day": pa.array([moment.date() for moment in moments]),
        "time": pa.array([moment.time() for moment in moments]),
        "span": pa.array(spans, pa.duration("us")),
    }  # fmt: skip
    batch = pa.RecordBatch.from_pydict(columns)
    found = JsonRows(batch.schema, {}, Losses())(batch)
    rows = zip(*(column.to_pylist() for column in columns.values()), strict=True)
    for row, texts in zip(rows, found, strict=True):
        assert list(texts.values()) == json.loads(msgspec.json.encode(row))


def test_types_that_only_arrow_has() -> None:
    """No Parquet file holds them; a later reader of other files may bring them."""
    from mig_jax.data.files import JsonRows, Losses

    numbers, texts = pa.array([1, 2, 3]), pa.array([b"\xff", None, b"b"])
    kinds = pa.array([0, 1, 1], pa.int8())
    columns = {
        "runs": pa.RunEndEncodedArray.from_arrays([2, 3], pa.array(["a", None])),
        "sparse": pa.UnionArray.from_sparse(kinds, [numbers, texts]),
        "dense": pa.UnionArray.from_dense(kinds, pa.array([2, 0, 2], pa.int32()), [numbers, texts]),
        "interval": pa.array(
            [pa.MonthDayNano([1, -2, 3_500_000_000]), None, pa.MonthDayNano([0, 0, -1])]
        ),
    }
    batch = pa.RecordBatch.from_pydict(columns)
    losses = Losses()
    assert JsonRows(batch.schema, {}, losses)(batch) == [
        {"runs": "a", "sparse": 1, "dense": 3, "interval": "P1M-2DT3.5S"},
        {"runs": "a", "sparse": None, "dense": "/w==", "interval": None},
        {"runs": None, "sparse": "Yg==", "dense": "Yg==", "interval": "P0M0DT-0.000000001S"},
    ]
    assert list(losses.told({"sparse"})) == [f"column sparse{BASE64}"]
