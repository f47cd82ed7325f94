"""CSV and TSV as pools: what `csv` and pandas read, with each record's place."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from mig_jax import data
from mig_jax.errors import InputError

LABELS = '["a", "b"]'
# What a field may hold: quotes, separators and line breaks, and no half characters. (Of Python 3.11
# `csv` writes a lone carriage return without quotes.)
TEXT = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0\r")
) | st.sampled_from(
    [
        'a "quoted" word',
        "1, 2; 3\t4",
        "two\nlines",
        "two\r\nlines",
        "[1, 2]",
        '{"a": 1}',
        "007",
        " ",
    ]
)


def written(rows: list[list[str]], **options: Any) -> bytes:
    stream = io.StringIO(newline="")
    csv.writer(stream, **options).writerows(rows)
    return stream.getvalue().encode()


def pool(path: Path, content: bytes) -> Path:
    if path.suffix == ".gz":
        content = gzip.compress(content)
    elif path.suffix == ".zst":
        content = zstandard.compress(content)
    path.write_bytes(content)
    return path


def picked(table: data.RecordTable, picks: list[int]) -> list[Any]:
    stream = io.BytesIO()
    data.write_records(table, picks, stream)
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def message(path: Path, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        data.read_pool([path], **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".csv.gz", ".tsv.zst", ".CSV"])
@given(
    rows=st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=8),
    mark=st.booleans(),
    line_break=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_rows_are_what_csv_writes(
    tmp_path_factory: pytest.TempPathFactory,
    ending: str,
    rows: list[tuple[str, str]],
    mark: bool,
    line_break: str,
    quoting: Any,
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    table_rows = [["score", "one", "labels", "two"]]
    table_rows += [[str(n / 4), one, LABELS, two] for n, (one, two) in enumerate(rows)]
    separator = "\t" if "tsv" in ending else ","
    content = written(table_rows, delimiter=separator, lineterminator=line_break, quoting=quoting)
    path = pool(folder / f"pool{ending}", (b"\xef\xbb\xbf" if mark else b"") + content)
    table = data.read_pool([path])
    assert table.scores.tolist() == [n / 4 for n in range(len(rows))]
    assert table.label_names == ["a", "b"]
    expected = [
        {"score": n / 4, "labels": ["a", "b"]}
        | {name: text for name, text in zip(("one", "two"), row, strict=True) if text}
        for n, row in enumerate(rows)
    ]
    assert picked(table, [*range(len(rows))][::-1]) == expected[::-1]
    # Lines are counted as editors do.
    texts = [written([row], delimiter=separator, lineterminator=line_break, quoting=quoting)
             for row in table_rows]  # fmt: skip
    ends = np.cumsum([text.count(b"\n") for text in texts])
    assert table.line.tolist() == (ends[:-1] + 1).tolist()
    offsets = np.cumsum([len(text) for text in texts])[:-1] + 3 * mark
    assert table.position.tolist() == offsets.tolist()


def test_what_pandas_writes_is_read_as_pandas_reads_it(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "labels": [json.dumps([str(n % 3), "é"]) for n in range(50)],
            "score": np.arange(50) / 8,
            "messages": [json.dumps([{"role": "user", "content": f'"{n}",\n'}]) for n in range(50)],
            "note": ["", "x"] * 25,
        }
    )
    path = tmp_path / "pool.csv"
    frame.to_csv(path)  # With its index, which has no name.
    table = data.read_pool([path])
    found = picked(table, [*range(50)])
    again = pd.read_csv(path, dtype=str, keep_default_na=False)
    assert again.columns[0] == "Unnamed: 0"
    for record, row in zip(found, again.to_dict("records"), strict=True):
        expected = {name: text for name, text in row.items() if text}
        expected |= {name: json.loads(row[name]) for name in ("labels", "messages", "score")}
        assert record == expected
    records = list(data.read_conversations([path]))
    assert [record.turns for record in records] == [[("user", f'"{n}",\n')] for n in range(50)]
    assert [record.score for record in records] == (np.arange(50) / 8).tolist()


def test_which_fields_are_values(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "[1]"}]
    row = {
        "tags": '["x"]',
        "quality": " 1.5 ",
        "score": "2",
        "labels": '["y"]',
        "chat": json.dumps(turns),
        "answer": "[1, 2]",
        "objects": '[{"a": 1}]',
        "annotation": '{"k": [1]}',
        "empty": "",
    }
    path = pool(tmp_path / "pool.csv", written([[*row], [*row.values()]]))
    (record,) = picked(data.read_pool([path], fields={"labels": "tags", "score": "quality"}), [0])
    assert record == {
        "tags": ["x"],
        "quality": 1.5,
        "score": "2",  # It is not the score here.
        "labels": '["y"]',
        "chat": turns,
        "answer": "[1, 2]",
        "objects": '[{"a": 1}]',
        "annotation": {"k": [1]},
    }
    (record,) = picked(data.read_pool([path]), [0])
    assert (record["tags"], record["score"], record["labels"]) == ('["x"]', 2, ["y"])


@pytest.mark.parametrize("score", ["1,5", "nan", "inf", "0x10", "1_0", "", "many"])
def test_scores_that_are_no_numbers(tmp_path: Path, score: str) -> None:
    path = pool(tmp_path / "pool.csv", written([["labels", "score"], [LABELS, score]]))
    assert message(path, layout="plain").startswith(f"{path}, line 2, field score: ")


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (b'"[""a""]",1,2', "line 3: found 3 fields, expected 2, as in line 1"),
        (b'"[""a""]"', "line 3: found 1 fields, expected 2, as in line 1"),
        (b'"[""\xff""]",1', "line 3: found bytes that are not UTF-8, expected UTF-8"),
        (b'"[""\0""]",1', "line 3: found a NUL, expected text"),
        (b'a,1', "line 3, field labels: found a string, expected a list of strings, as JSON"),
        (b'"[""a""]",x', "line 3, field score: found a string, expected a finite number of at "
                         "least 0, as JSON"),
    ],
)  # fmt: skip
def test_bad_rows_are_told_and_skipped(tmp_path: Path, row: bytes, told: str) -> None:
    good = b'"[""b""]",2\r\n'
    path = pool(tmp_path / "pool.csv", b"labels,score\r\n" + good + row + b"\r\n\r\n" + good)
    assert message(path) == f"{path}, {told}"
    rejects = io.BytesIO()
    table = data.read_pool([path], on_bad_record="skip", rejects=rejects)
    assert (table.line.tolist(), table.records_skipped) == ([2, 5], 1)
    (reject,) = map(json.loads, rejects.getvalue().splitlines())
    assert reject["text"].encode("utf-8", "surrogateescape") == row
    assert [r["labels"] for r in picked(table, [1, 0])] == [["b"], ["b"]]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b'labels,score\n"[""a""]",1\n"[""a"",1\n', "line 3: unexpected end of data"),
        (b'labels,score\n"a"b,1\n', "line 2: ',' expected after '\"'"),
        (b"labels;score\n", "line 1: found one name, which has ';' in it; expected ',' between"),
        (b"labels\tscore\n", "line 1: found one name, which has '\\t' in it; expected ',' between"),
        (b"labels,score,labels\n", "line 1: found the field 'labels' twice; expected each once"),
        (b"labels,sc\xffre\n", "line 1: found bytes that are not UTF-8"),
        (b"labels,sc\0re\n", "line 1: found a NUL"),
        (b'{"labels": [], "score": 1}\n', "line 1: found JSON, which goes under the name .jsonl"),
        (b"a," * 70_000 + b"b\n", "line 1: found 70,001 names"),
        (b"", "holds no records"),
        (b"labels,score\n\n", "holds no records"),
    ],
)
@pytest.mark.parametrize("how", ["error", "skip"])
def test_files_that_are_no_table(tmp_path: Path, content: bytes, told: str, how: str) -> None:
    path = pool(tmp_path / "pool.csv", content)
    assert told in message(path, on_bad_record=how)


def test_a_field_larger_than_csv_allows_by_default(tmp_path: Path) -> None:
    csv.field_size_limit(1 << 17)  # The usual one.
    text = "x" * (1 << 18)
    path = pool(tmp_path / "p.csv", written([["labels", "score", "text"], [LABELS, "1", text]]))
    assert picked(data.read_pool([path]), [0])[0]["text"] == text
    limits = data.ReadingLimits(longest_record=len(text))
    assert "line 2 is longer than" in message(path, limits=limits)


def test_a_row_of_very_many_fields(tmp_path: Path) -> None:
    path = pool(tmp_path / "pool.csv", b"labels,score\n" + b"," * (1 << 22) + b"\n")
    assert "found more than 2,097,152 separators" in message(path, on_bad_record="skip")


def test_rows_in_shares_and_from_the_cache(tmp_path: Path) -> None:
    rows = [["labels", "score"], *([LABELS, str(n)] for n in range(9))]
    path = pool(tmp_path / "pool.csv", written(rows))
    shares = [data.share_of_pool([path], index, 2) for index in range(2)]
    parts = [share.read(share.count_lines()) for share in shares]
    assert [part.num_records for part in parts] == [9, 0]
    said: list[str] = []
    for _ in range(2):
        table = data.read_pool([path], cache=tmp_path / "cache", on_cache=said.append)
        assert table.scores.tolist() == [*range(9)]
    assert len(said) == 1


def test_select_from_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from mig_jax.commands.main import main

    rows = [["id", "labels", "score"], *([str(n), f'["{n % 5}"]', str(n)] for n in range(20))]
    path = pool(tmp_path / "pool.tsv.gz", written(rows, delimiter="\t"))
    output = tmp_path / "out.jsonl"
    words = ["select", f"--pool={path}", "--budget=5", f"--output={output}", "--cache=none"]
    assert main(words) == 0
    chosen = [json.loads(line) for line in output.read_text().splitlines()]
    assert sorted(record["score"] for record in chosen) == [15, 16, 17, 18, 19]
    assert all(record["id"] == str(record["score"]) for record in chosen)
