"""Pools read from files: the same from any storage, and every trouble named."""

from __future__ import annotations

import gzip
import io
import json
import os
import tempfile
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from mig_jax.data import RecordTable, read_pool, read_vocabulary
from mig_jax.errors import InputError

Store = Callable[..., Path]

PLAIN = [
    {"id": "r1", "labels": ["pear", "apple", "pear"], "score": 2.5, "x": None},
    {"id": "r2", "labels": [], "score": 0.0, "x": "é"},
    {"id": "r3", "labels": ["fig"], "score": 1.0, "x": "z"},
    {"id": "r4", "labels": ["apple", "fig", "kiwi"], "score": 7.0, "x": "z"},
]
XSAMPLE = [
    {
        "dialogs": [{"role": "user", "content": "x"}],
        "annotation": {
            "instag": {"content": record["labels"]},
            "deita": {
                "quality_scores": [record["score"], 0.0],
                "complexity_scores": [2.0, 1.0],
                "other": 1,
            },
        },
    }
    for record in PLAIN
]


ARRAYS = {
    "labels": "int32",
    "offsets": "int64",
    "scores": "float32",
    "file_index": "int32",
    "line": "int64",
    "position": "int64",
}


def as_lines(records: list[Any]) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def label_lists(table: RecordTable) -> list[list[str]]:
    ids = np.split(table.labels, table.offsets[1:-1])
    return [[table.label_names[label] for label in record] for record in ids]


def message(*args: Any, **kwargs: Any) -> str:
    with pytest.raises(InputError) as caught:
        read_pool(*args, **kwargs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("records", [PLAIN, XSAMPLE], ids=["plain", "xsample"])
def test_any_storage_gives_the_same_table(store: Store, ending: str, records: list[Any]) -> None:
    path = store(as_lines(records), ending)
    table = read_pool([path])
    assert label_lists(table) == [["apple", "pear"], [], ["fig"], ["apple", "fig", "kiwi"]]
    assert table.label_names == ["apple", "fig", "kiwi", "pear"]
    assert table.scores.tolist() == [2.5, 0.0, 1.0, 7.0]
    assert table.line.tolist() == [1, 2, 3, 4]
    assert table.file_index.tolist() == [0, 0, 0, 0]
    assert table.files == (str(path),)
    assert table.layouts == ("plain" if records is PLAIN else "xsample",)
    assert (table.num_records, table.num_labels) == (4, 4)
    assert (table.records_read, table.records_skipped, table.labels_dropped) == (4, 0, 0)
    kinds: list[np.ndarray[Any, Any]] = [
        table.labels,
        table.offsets,
        table.scores,
        table.file_index,
        table.line,
    ]
    assert [str(array.dtype) for array in kinds] == [
        "int32",
        "int64",
        "float32",
        "int32",
        "int64",
    ]
    starts = np.cumsum([0] + [len(as_lines([record])) for record in records[:-1]])
    expected = np.arange(4) if ending == ".parquet" else starts
    assert table.position.tolist() == expected.tolist()


@given(
    records=st.lists(
        st.tuples(st.lists(st.text(st.characters(exclude_categories=["Cs"]))), st.floats(0, 1e30)),
        min_size=1,
    )
)
@settings(max_examples=50)
def test_a_table_is_its_records(records: list[tuple[list[str], float]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "pool.jsonl")
        path.write_bytes(as_lines([{"labels": ls, "score": score} for ls, score in records]))
        table = read_pool([path])
    # What nobody sees names nothing.
    blank = {"Cc", "Cf", "Zs", "Zl", "Zp"}
    seen = [
        {label for label in labels if set(map(unicodedata.category, label)) - blank}
        for labels, _ in records
    ]
    assert label_lists(table) == [sorted(labels) for labels in seen]
    assert table.scores.tolist() == [float(np.float32(score)) for _, score in records]
    assert table.label_names == sorted(set().union(*seen))


def test_several_files_follow_each_other(store: Store, tmp_path: Path) -> None:
    first = store(as_lines(PLAIN[:3]), ".jsonl.gz")
    second = store(as_lines(PLAIN[3:]), ".parquet")
    table = read_pool([first, second])
    assert table.file_index.tolist() == [0, 0, 0, 1]
    assert table.line.tolist() == [1, 2, 3, 1]
    assert label_lists(table)[3] == ["apple", "fig", "kiwi"]


def test_blank_lines_byte_order_mark_crlf_and_no_last_line_break(
    store: Store, text_ending: str
) -> None:
    text = b'\xef\xbb\xbf{"labels": ["a"], "score": 1}\r\n\r\n  \n\n{"labels": [], "score": 2}'
    table = read_pool([store(text, text_ending)])
    assert table.line.tolist() == [1, 5]
    assert table.position.tolist() == [0, text.rindex(b"{")]


def test_lines_end_at_line_feeds_only(store: Store) -> None:
    text = '{"labels": ["a\u2028b\x85c"], "score": 1}\n'.encode()
    assert read_pool([store(text)]).label_names == ["a\u2028b\x85c"]


def test_vocabulary_drops_other_labels(store: Store) -> None:
    table = read_pool([store(as_lines(PLAIN))], vocabulary=["apple", "pear", "unseen"])
    assert label_lists(table) == [["apple", "pear"], [], [], ["apple"]]
    assert table.label_names == ["apple", "pear"]
    assert table.labels_dropped == 3


def test_progress_ends_at_the_bytes_stored(store: Store, ending: str) -> None:
    first = store(as_lines(PLAIN * 1000), ending)
    second = store(as_lines(PLAIN), ".json")
    seen: list[int] = []
    read_pool([first, second], progress=seen.append)
    assert seen == sorted(seen)
    assert len(seen) > 3
    assert seen[-1] == os.path.getsize(first) + os.path.getsize(second)


def test_progress_of_parquet_is_the_share_of_its_rows(store: Store) -> None:
    path = store(as_lines(PLAIN * 512), ".parquet")  # Two batches of 1024 rows.
    seen: list[int] = []
    read_pool([path], progress=seen.append)
    size = os.path.getsize(path)
    assert seen == [size // 2, size, size]


GOOD = b'{"labels": ["a"], "score": 1}\n'


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (GOOD[:-1] + GOOD, "{}, line 3: JSON is malformed: trailing characters (byte 30); "
         "expected one JSON object a line"),
        (b'{"labels": [], "score": NaN}', "{}, line 3, field score: found NaN, "
         "expected a finite number of at least 0"),
        (as_lines(XSAMPLE[:1]), "{}, line 3: found a record of layout xsample, "
         "expected layout plain"),
    ],
)  # fmt: skip
def test_bad_record_is_told_with_its_line(
    store: Store, text_ending: str, line: bytes, expected: str
) -> None:
    path = store(GOOD + b"\n" + line + b"\n" + GOOD, text_ending)
    assert message([path]) == expected.format(path)
    assert message([path], layout="plain") == expected.format(path)


def test_bad_row_of_parquet_is_told_with_its_number(store: Store) -> None:
    path = store(as_lines([PLAIN[0], PLAIN[1] | {"score": -1.0}]), ".parquet")
    expected = f"{path}, line 2, field score: found -1, expected a finite number of at least 0"
    assert message([path]) == expected
    rejects = io.BytesIO()
    assert read_pool([path], on_bad_record="skip", rejects=rejects).records_skipped == 1
    reject = json.loads(rejects.getvalue())
    assert reject["line"] == 2
    assert json.loads(reject["text"]) == {"labels": [], "score": -1.0}


def test_first_line_without_a_layout(store: Store) -> None:
    path = store(b'{"prompt": "x"}\n' + GOOD)
    assert message([path]) == (
        f"{path}, line 1: the fields of no layout were found; expected mig_jax.labels and "
        "mig_jax.score (layout mig_jax), or annotation.instag and annotation.deita (layout "
        "xsample), or labels and score (layout plain); found prompt (a string)"
    )
    assert read_pool([path], on_bad_record="skip").line.tolist() == [2]


@pytest.mark.parametrize(
    ("fields", "flags"),
    [
        ({"tags": ["x"], "quality": 3}, "--field=labels=tags --field=score=quality do"),
        ({"Labels": ["x"], "Score": 0.5, "id": 4}, "--field=labels=Labels --field=score=Score do"),
        ({"labels": ["x"], "reward": 3, "ok": True}, "--field=score=reward does"),
        ({"score": 1, "my tags": ["x"], "n": 2}, "'--field=labels=my tags' does"),
        ({"tags": ["x"], "topics": ["y"], "a": 1, "b": 2}, None),  # Either might.
        ({"tags\x1b": ["x"], "n": -1}, None),
        ({"tags": ["x"], "answer": 3}, "--field=labels=tags does"),  # Of a sum, not a score.
    ],
)
def test_flags_that_would_do_are_told(
    store: Store, fields: dict[str, Any], flags: str | None
) -> None:
    record = {"instruction": "q", "output": "a", **fields}
    told = message([store(json.dumps(record).encode() + b"\n")])
    assert "(layout alpaca); `mig-jax annotate` makes labels and scores" in told
    assert "; found instruction (a string), output (a string), " in told
    assert told.partition("; perhaps ")[2] == (flags or "")


@given(
    bad=st.lists(
        st.binary().filter(lambda text: b"\n" not in text and text.strip())
        | st.text().map(lambda text: json.dumps(text, ensure_ascii=True).encode()),
        min_size=1,
    )
)
@settings(max_examples=50)
def test_skipped_lines_come_back_from_the_rejects(bad: list[bytes]) -> None:
    text = GOOD + b"".join(line + b"\n" + GOOD for line in bad)
    rejects = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "pool.jsonl")
        path.write_bytes(text)
        table = read_pool([path], on_bad_record="skip", rejects=rejects)
    told = [json.loads(line) for line in rejects.getvalue().splitlines()]
    assert [reject["text"].encode("utf-8", "surrogateescape") for reject in told] == bad
    assert [reject["line"] for reject in told] == [2 * n + 2 for n in range(len(bad))]
    assert all(reject["file"] == str(path) and reject["reason"] for reject in told)
    assert table.line.tolist() == [2 * n + 1 for n in range(len(bad) + 1)]
    assert table.records_skipped == len(bad)
    assert table.records_read == 2 * len(bad) + 1


def test_skipping_everything_is_an_error(store: Store) -> None:
    path = store(b"\n3\n[]\n")
    for layout in ("auto", "plain"):
        assert message([path], on_bad_record="skip", layout=layout) == (
            f"{path}: all of its records (2) are bad; the first: {path}, line 2: "
            "found a number, expected one JSON object a line"
        )


def test_skipping_all_of_one_file_is_an_error(store: Store) -> None:
    good, bad = store(GOOD), store(b"3\n", ".json")
    told = message([good, bad], on_bad_record="skip", layout="plain")
    assert told.startswith(f"{bad}: all of its records (1) are bad; the first: {bad}, line 1: ")


@pytest.fixture(params=["error", "skip"])
def how(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Trouble with a file as a whole is told whatever is done about bad records."""
    return {"on_bad_record": request.param}


def test_missing_file(tmp_path: Path, how: dict[str, Any]) -> None:
    path = tmp_path / "none.jsonl"
    assert message([path], **how) == f"{path}: no such file or directory; expected a readable file"


def test_file_name_that_is_not_utf8(how: dict[str, Any]) -> None:
    assert "the file name is not valid UTF-8" in message(["\udcff.jsonl"], **how)


def test_directory(tmp_path: Path, how: dict[str, Any]) -> None:
    told = f"{tmp_path}: is a folder without files of records; expected files named .jsonl, "
    assert message([tmp_path], **how).startswith(told)


def test_pipe(tmp_path: Path, how: dict[str, Any]) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    assert message([path], **how) == f"{path}: is not a regular file; expected a file of records"


@pytest.mark.parametrize("text", [b"", b"\n \r\n", b"\xef\xbb\xbf\n"])
def test_no_records(store: Store, text_ending: str, how: dict[str, Any], text: bytes) -> None:
    path = store(text, text_ending)
    assert message([path], **how) == f"{path}: holds no records; expected at least one"
    assert message([path], layout="plain", **how) == message([path], **how)


def test_empty_parquet(tmp_path: Path, how: dict[str, Any]) -> None:
    path = tmp_path / "pool.parquet"
    pq.write_table(pa.Table.from_pylist(PLAIN).slice(0, 0), path)
    assert message([path], **how) == f"{path}: holds no records; expected at least one"


def test_no_file(how: dict[str, Any]) -> None:
    assert message([], **how) == "no file of records is given; expected at least one"


def test_same_file_twice(store: Store, tmp_path: Path, how: dict[str, Any]) -> None:
    path = store(GOOD)
    link = tmp_path / "link.jsonl"
    link.symlink_to(path)
    assert message([path, link], **how) == (
        f"{link}: is the same file as {path}; expected each file once"
    )


def test_two_layouts(store: Store, how: dict[str, Any]) -> None:
    first, second = store(as_lines(PLAIN)), store(as_lines(XSAMPLE), ".parquet")
    assert message([first, second], **how) == (
        f"{second}: has layout xsample, but {first} has layout plain; "
        "expected one layout for all files of a pool"
    )


@pytest.mark.parametrize(("ending", "kind"), [(".jsonl.gz", "gzip"), (".jsonl.zst", "zstd")])
@pytest.mark.parametrize("damage", ["cut", "cut_last_frame", "not_compressed", "appended"])
def test_corrupt_compressed_file(
    store: Store, how: dict[str, Any], ending: str, kind: str, damage: str
) -> None:
    records = [record | {"id": str(np.random.default_rng(n).random(50))} for n in range(400)
               for record in PLAIN]  # fmt: skip
    path = store(as_lines(records), ending)
    whole = path.read_bytes()
    damaged = {
        "cut": whole[: len(whole) // 3],
        "cut_last_frame": whole[:-3],
        "not_compressed": GOOD,
        "appended": whole + b"appended",
    }
    path.write_bytes(damaged[damage])
    for layout in ("auto", "plain"):
        told = message([path], layout=layout, **how)
        if damage == "not_compressed":
            name = ending.removeprefix(".jsonl")
            expected = f"holds no {kind} data; expected it, as the name ends in {name}"
            assert told == f"{path}: {expected}"
            continue
        assert told.startswith(f"{path}: {kind} data is corrupt or truncated (")
        assert told.endswith("); expected a whole file")


@pytest.mark.parametrize("kept", [0, 3, 200])
def test_corrupt_parquet(store: Store, how: dict[str, Any], kept: int) -> None:
    path = store(as_lines(PLAIN), ".parquet")
    path.write_bytes(path.read_bytes()[:kept])
    told = message([path], **how)
    assert told.startswith(f"{path}: Parquet data is corrupt or truncated (")


def test_corrupt_parquet_page(store: Store, how: dict[str, Any]) -> None:
    path = store(as_lines(PLAIN * 100), ".parquet")
    damaged = bytearray(path.read_bytes())
    damaged[4:1500] = bytes(1496)
    path.write_bytes(damaged)
    assert "Parquet data is corrupt or truncated (" in message([path], **how)


def test_parquet_without_the_columns(store: Store, how: dict[str, Any]) -> None:
    rows = [{"labels": ["a"], "annotation": {"instag": {"content": []}, "deita": 3}}]
    path = store(as_lines(rows), ".parquet")
    assert message([path], layout="plain", **how) == (
        f"{path}: has the columns labels, annotation; expected labels, score (layout plain)"
    )
    assert message([path], **how) == (
        f"{path}: has the columns labels, annotation; expected mig_jax.labels, mig_jax.score "
        "(layout mig_jax), or annotation.instag.content, annotation.deita.quality_scores, "
        "annotation.deita.complexity_scores (layout xsample), "
        "or labels, score (layout plain)"
    )


def test_zstd_with_skippable_frames_and_a_long_window(tmp_path: Path) -> None:
    path = tmp_path / "pool.zst"
    parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=28)
    compressor = zstandard.ZstdCompressor(compression_params=parameters)
    frame = compressor.compressobj()
    text = frame.compress(as_lines(PLAIN)) + frame.flush()
    skippable = bytes.fromhex("502a4d1804000000") + b"abcd"
    path.write_bytes(skippable + text + skippable + text)
    assert read_pool([path]).num_records == 2 * len(PLAIN)


@pytest.mark.parametrize("ending", [".jsonl", ".json", ".parquet"])
def test_blank_labels_are_none(store: Store, ending: str) -> None:
    rows = [
        {"labels": ["", "a", "  ", "\u200b", "\t\ufeff"], "score": 1.0},
        {"labels": ["\u3000", ""], "score": 2.0},
        {"labels": [" b"], "score": 3.0},
    ]
    text = json.dumps(rows).encode() if ending == ".json" else as_lines(rows)
    path = store(text, ending)
    table = read_pool([path])
    assert (label_lists(table), table.labels_dropped) == ([["a"], [], [" b"]], 6)
    # Unless a vocabulary has it.
    table = read_pool([path], vocabulary=["", "a"])
    assert (label_lists(table), table.labels_dropped) == ([["", "a"], [""], []], 5)


def test_unknown_choices() -> None:
    with pytest.raises(ValueError, match="layout is 'x', expected auto, mig_jax, xsample or plain"):
        read_pool(["x"], layout="x")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="on_bad_record is 'x', expected error or skip"):
        read_pool(["x"], on_bad_record="x")  # type: ignore[arg-type]


def test_read_vocabulary(tmp_path: Path) -> None:
    path = tmp_path / "vocabulary.json"
    path.write_bytes(b'\xef\xbb\xbf["b", "a"]')
    assert read_vocabulary(path) == ["b", "a"]


@pytest.mark.parametrize("text", [b"", b"{}", b"[1]", b'["a"', b'["\xff"]', b"[]", b'["a\\u0000"]'])
def test_bad_vocabulary(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "vocabulary.json"
    path.write_bytes(text)
    with pytest.raises(InputError, match="; expected a JSON list of at least one string"):
        read_vocabulary(path)
    with pytest.raises(InputError, match="no such file"):
        read_vocabulary(tmp_path / "none")


def test_published_example(shared_file: Callable[[str], Path]) -> None:
    path = shared_file("xsample_example.jsonl")
    assert message([path]) == (
        f"{path}, line 3: JSON is malformed: trailing characters (byte 2540); "
        "expected one JSON object a line"
    )
    table = read_pool([path], on_bad_record="skip")
    assert table.line.tolist() == [1, 2, 4, 5, 6, 7, 8, 9, 10]
    assert table.records_skipped == 1


@pytest.mark.parametrize(
    ("name", "records", "labels", "layout"),
    [
        ("sft_mix.jsonl.gz", 38_515, 4_192, "xsample"),
        ("stackexchange.jsonl.gz", 4_163, 851, "plain"),
    ],
)
def test_real_pools(
    shared_file: Callable[[str], Path], name: str, records: int, labels: int, layout: str
) -> None:
    path = shared_file(name)
    table = read_pool([path])
    assert (table.num_records, table.num_labels) == (records, labels)
    assert table.layouts == (layout,)
    with gzip.open(path) as stream:
        record = json.loads(list(stream)[1000])
    if layout == "plain":
        expected, score = record["labels"], record["score"]
    else:
        annotation = record["annotation"]
        expected, deita = annotation["instag"]["content"], annotation["deita"]
        score = np.mean(np.multiply(deita["quality_scores"], deita["complexity_scores"]))
    assert label_lists(table)[1000] == sorted(expected)
    assert table.scores[1000] == pytest.approx(score)
