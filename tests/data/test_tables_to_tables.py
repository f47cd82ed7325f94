"""Several tables, tables with JSON lines, and tables that are converted, written as one table."""

from __future__ import annotations

import decimal
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mig_jax import data
from mig_jax.errors import InputError

LABELS = {"labels": pa.array([["a"], ["b"]]), "score": pa.array([1.0, 2.0])}


def stored(path: Path, columns: dict[str, Any], metadata: dict[str, str] | None = None) -> Path:
    pq.write_table(pa.table({**LABELS, **columns}).replace_schema_metadata(metadata), path)
    return path


def as_table(paths: list[Path], picks: list[int], **how: Any) -> pa.Table:
    stream = io.BytesIO()
    table = data.read_pool(paths)
    data.write_records(table, picks, stream, form="parquet", **how)
    return pq.read_table(stream)


def features(**columns: Any) -> dict[str, str]:
    return {"huggingface": json.dumps({"info": {"features": columns}}), "pandas": "{}"}


def test_tables_of_one_schema_keep_its_metadata(tmp_path: Path) -> None:
    about = features(x={"dtype": "int8", "_type": "Value"})
    paths = [
        stored(tmp_path / f"{n}.parquet", {"x": pa.array([n, None], pa.int8())}, about)
        for n in range(3)
    ]
    found = as_table(paths, [4, 1, 2, 0])
    assert found.schema.equals(pq.read_schema(paths[0]), check_metadata=True)
    assert found["x"].to_pylist() == [2, None, 1, 0]
    assert found["labels"].to_pylist() == [["a"], ["b"], ["a"], ["a"]]


D = decimal.Decimal
WIDER = [
    (pa.array([1, None], pa.int8()), pa.array([1 << 40, 2]), pa.int64()),
    (pa.array([-1, None], pa.int32()), pa.array([1, 2], pa.uint32()), pa.int64()),
    (pa.array([0.5, None], pa.float32()), pa.array([1e300, 2.0]), pa.float64()),
    (pa.array([1, None]), pa.array([0.5, 2.0]), pa.float64()),
    (pa.array(["é", None]), pa.array(["a", "b"], pa.large_string()), pa.large_string()),
    (pa.array(["é", None]).dictionary_encode(), pa.array(["a", "b"]), pa.string()),
    (pa.nulls(2), pa.array([[1], None], pa.list_(pa.int8())), pa.list_(pa.int8())),
    (
        pa.array([[1], None], pa.list_(pa.int8())),
        pa.array([[300], []], pa.large_list(pa.int16())),
        pa.large_list(pa.int16()),
    ),
    (
        pa.array([{"a": 1}, None], pa.struct([("a", pa.int8())])),
        pa.array([{"a": 300}, {"a": None}], pa.struct([("a", pa.int16())])),
        pa.struct([("a", pa.int16())]),
    ),
    (
        pa.array([1, None], pa.timestamp("ms")),
        pa.array([1, 2], pa.timestamp("ns")),
        pa.timestamp("ns"),
    ),
    (
        pa.array([D("1.25"), None], pa.decimal128(3, 2)),
        pa.array([D("1000.5"), D("1.0")], pa.decimal128(5, 1)),
        pa.decimal128(6, 2),
    ),
]


@pytest.mark.parametrize(("one", "other", "wider"), WIDER, ids=lambda value: str(value)[:30])
def test_types_that_one_type_holds(one: Any, other: Any, wider: Any, tmp_path: Path) -> None:
    for first, second in ((one, other), (other, one)):
        paths = [tmp_path / "first.parquet", tmp_path / "second.parquet"]
        for path, column in zip(paths, (first, second), strict=True):
            stored(path, {"x": column})
        found = as_table(paths, [0, 1, 2, 3])
        assert found.schema.field("x").type == wider
        expected = [*first.to_pylist(), *second.to_pylist()]
        assert list(map(str, found["x"].to_pylist())) == list(map(str, _widened(expected, wider)))


def _widened(values: list[Any], wider: pa.DataType) -> list[Any]:
    """The values as Python's own types have them in the wider one."""
    if pa.types.is_floating(wider):
        return [None if value is None else float(value) for value in values]
    if pa.types.is_decimal(wider):
        return [None if value is None else value.quantize(D("0.01")) for value in values]
    if pa.types.is_timestamp(wider):
        return pa.array(values, wider).to_pylist()
    return values


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pa.array([1, 2]), pa.array(["a", "b"])),
        (pa.array([1, 2]), pa.array([2**64 - 1, 1], pa.uint64())),
        (pa.array([{"a": 1}, None]), pa.array([{"a": 1, "b": 2}, None])),
        (pa.array([[{"a": 1}], None]), pa.array([[{"b": 1}], None])),
        (pa.array([1, 2], pa.timestamp("s")), pa.array([1, 2], pa.timestamp("s", "UTC"))),
        (pa.array(["a", "b"]), pa.array([b"a", b"b"])),
    ],
)
def test_types_that_no_type_holds_are_refused(one: Any, other: Any, tmp_path: Path) -> None:
    paths = [
        stored(tmp_path / "1.parquet", {"x": one}),
        stored(tmp_path / "2.parquet", {"x": other}),
    ]
    table = data.read_pool(paths)
    with pytest.raises(InputError, match=r"2.parquet: the column x is .*, but .* in .*1.parquet"):
        data.check_one_table(table.sources)
    stream = io.BytesIO()
    data.write_records(table, [0, 3], stream)
    assert len(stream.getvalue().splitlines()) == 2


def test_classes_with_other_names_are_refused(tmp_path: Path) -> None:
    paths = []
    for names in (["a", "b"], ["b", "a"]):
        about = features(x=[{"names": names, "_type": "ClassLabel"}])
        path = tmp_path / f"{names[0]}.parquet"
        paths.append(stored(path, {"x": pa.array([[0], [1]])}, about))
    with pytest.raises(
        InputError, match=r"b.parquet: the column x has other classes than in .*a.p"
    ):
        data.check_one_table(data.read_pool(paths).sources)


def test_columns_that_some_tables_have(tmp_path: Path) -> None:
    known = {"dtype": "int8", "_type": "Value"}
    schema = pa.schema([*pa.table(LABELS).schema, pa.field("x", pa.int8(), nullable=False)])
    table = pa.table([*LABELS.values(), pa.array([1, 2], pa.int8())], schema=schema)
    pq.write_table(table.replace_schema_metadata(features(x=known)), tmp_path / "1.parquet")
    blob = pa.array([b"\xff", None])
    stored(tmp_path / "2.parquet", {"y": blob}, features(y={"_type": "Value", "dtype": "binary"}))
    found = as_table([tmp_path / "1.parquet", tmp_path / "2.parquet"], [3, 0, 2])
    assert found.column_names == ["labels", "score", "x", "y"]
    assert found["x"].to_pylist() == [None, 1, None]
    assert found["y"].to_pylist() == [None, None, b"\xff"]
    info = json.loads(found.schema.metadata[b"huggingface"])["info"]["features"]
    assert info == {"x": known, "y": {"_type": "Value", "dtype": "binary"}}


def test_tables_with_json_lines(tmp_path: Path) -> None:
    """Columns that only tables have stay as they are; shared ones are made of JSON."""
    columns = {
        "blob": pa.array([b"\xff", b"a"]),
        "small": pa.array([1, 2], pa.int8()),
        "note": pa.array(["u", None]),
    }
    path = stored(tmp_path / "1.parquet", columns, features(small=1, note=2))
    lines = tmp_path / "2.jsonl"
    records = [
        {"labels": ["c"], "score": 3, "note": {"a": 1}},
        {"labels": [], "score": 4, "z": "z"},
    ]
    lines.write_text("\n".join(map(json.dumps, records)))
    told: list[str] = []
    found = as_table([path, lines], [2, 0, 3, 1], tell=told.append)
    assert not told
    assert found.column_names == ["labels", "score", "blob", "small", "note", "z"]
    assert found.schema.field("blob").type == pa.binary()
    assert found.schema.field("small").type == pa.int8()
    assert found["blob"].to_pylist() == [None, b"\xff", None, b"a"]
    assert found["small"].to_pylist() == [None, 1, None, 2]
    assert found["note"].to_pylist() == ['{"a":1}', '"u"', None, None]
    assert found["score"].to_pylist() == [3.0, 1.0, 4.0, 2.0]
    assert found["z"].to_pylist() == [None, None, "z", None]
    assert json.loads(found.schema.metadata[b"huggingface"])["info"]["features"] == {"small": 1}


def test_what_a_conversion_leaves_alone_keeps_its_type(tmp_path: Path) -> None:
    turns = [
        [{"role": "user", "content": f"q{n}"}, {"role": "assistant", "content": "a"}]
        for n in (0, 1)
    ]
    columns = {
        "messages": turns,
        "image": pa.array([{"bytes": b"\xff", "path": None}, None]),
        "when": pa.array([1, None], pa.timestamp("ns", "UTC")),
        "weight": pa.array([float("nan"), 1.0], pa.float32()),
    }
    path = stored(tmp_path / "1.parquet", columns, {**features(image={"_type": "Image"}), "k": "v"})
    told: list[str] = []
    convert = data.RecordConverter(data.WrittenForm("sharegpt"))
    found = as_table([path], [1, 0], convert=convert, tell=told.append)
    assert not told
    came = pq.read_table(path)
    for name in ("labels", "score", "image", "when", "weight"):
        assert found.schema.field(name).equals(came.schema.field(name)), name
    assert found["image"].to_pylist() == [None, {"bytes": b"\xff", "path": None}]
    assert found["weight"].to_pylist()[0] == 1.0
    assert found["when"].cast(pa.int64()).to_pylist() == [None, 1]
    assert "messages" not in found.column_names
    assert [row[0] for row in found["conversations"].to_pylist()] == [
        {"from": "human", "value": "q1"},
        {"from": "human", "value": "q0"},
    ]
    metadata = found.schema.metadata
    assert metadata[b"k"] == b"v"
    assert json.loads(metadata[b"huggingface"])["info"]["features"] == {"image": {"_type": "Image"}}
    assert b"pandas" not in metadata


def test_large_tables_come_in_the_order_picked(tmp_path: Path) -> None:
    count = 3000
    columns = {
        "labels": [["a"]] * count,
        "score": [1.0] * count,
        "n": list(range(count)),
        "text": pa.array([f"t{n}" * (n % 7) for n in range(count)]).dictionary_encode(),
    }
    pq.write_table(pa.table(columns), tmp_path / "p.parquet", row_group_size=700)
    picks = [(n * 1237) % count for n in range(count)]
    found = as_table([tmp_path / "p.parquet"], picks)
    assert found["n"].to_pylist() == picks
    assert found["text"].to_pylist() == [f"t{n}" * (n % 7) for n in picks]


def test_a_table_that_has_changed_is_refused(tmp_path: Path) -> None:
    path = stored(tmp_path / "1.parquet", {"x": [1, 2]})
    table = data.read_pool([path])
    stored(path, {"x": [1, 2], "y": ["more", "columns"]})
    with pytest.raises(InputError, match="has changed since it was read"):
        data.write_records(table, [0], io.BytesIO(), form="parquet")


def test_two_columns_of_one_name(tmp_path: Path) -> None:
    arrays = [*LABELS.values(), pa.array([1, 2]), pa.array(["a", "b"])]
    table = pa.Table.from_arrays(arrays, names=["labels", "score", "x", "x"])
    pq.write_table(table, tmp_path / "1.parquet")
    pool, stream = data.read_pool([tmp_path / "1.parquet"]), io.BytesIO()
    data.write_records(pool, [1], stream, form="parquet")
    assert pq.ParquetFile(stream).read().equals(table.slice(1))
    stream = io.BytesIO()
    data.write_records(pool, [1], stream)
    assert json.loads(stream.getvalue())["x"] == "b"  # The last, as in JSON.


@pytest.mark.slow
def test_a_saved_dataset_keeps_its_features(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", minversion="4.8", reason="Json() is of 4.8")
    known = datasets.Features(
        {
            "labels": datasets.List(datasets.ClassLabel(names=["a", "b"])),
            "score": datasets.Value("float32"),
            "image": datasets.Image(decode=False),
            "grid": datasets.Array2D((2, 2), "int8"),
            "calls": datasets.List(datasets.Json()),
            "when": datasets.Value("timestamp[ns]"),
        }
    )
    rows = [
        {
            "labels": [n % 2],
            "score": float(n),
            "image": {"bytes": bytes([n, 255]), "path": None},
            "grid": [[n, 1], [2, 3]],
            "calls": [{"a": n}, {"b": None}],
            "when": None,
        }
        for n in range(4)
    ]
    dataset = datasets.Dataset.from_list(rows, features=known)
    dataset.save_to_disk(tmp_path / "saved")
    output = tmp_path / "out.parquet"
    table = data.read_pool([tmp_path / "saved"])
    assert table.label_names == ["a", "b"]
    with open(output, "wb") as stream:
        data.write_records(table, [3, 1], stream, form="parquet")
    found = datasets.Dataset.from_parquet(str(output), cache_dir=str(tmp_path / "cache"))
    assert found.features == known
    assert found.to_list() == dataset.select([3, 1]).to_list()
    lines = io.BytesIO()
    data.write_records(table, [3], lines)
    row = json.loads(lines.getvalue())
    assert (row["labels"], row["grid"]) == (["b"], [[3, 1], [2, 3]])
    assert row["calls"] == [{"a": 3}, {"b": None}]
