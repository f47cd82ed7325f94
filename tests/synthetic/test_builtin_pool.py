"""The built-in pool: its shape, and that text and table agree."""

from __future__ import annotations

import dataclasses
import io
import itertools
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from mig_jax.data import RecordTable, read_pool, write_records
from mig_jax.errors import InputError
from mig_jax.synthetic import BuiltinPool

POOL = BuiltinPool(records=9_000)  # Two blocks and a part.


@pytest.fixture(scope="module")
def table() -> RecordTable:
    return POOL.table()


def label_lists(table: RecordTable) -> list[list[str]]:
    ids = np.split(table.labels, table.offsets[1:-1])
    return [[table.label_names[label] for label in record] for record in ids]


def test_lines_read_back_are_the_table(tmp_path: Path, table: RecordTable) -> None:
    path = tmp_path / "pool.jsonl"
    with path.open("wb") as stream:
        stream.writelines(POOL.lines())
    parsed = read_pool([path])
    assert parsed.layouts == table.layouts == ("mig_jax",)
    assert parsed.label_names == table.label_names
    for field in ("labels", "offsets", "scores", "file_index", "line"):
        left, right = getattr(parsed, field), getattr(table, field)
        np.testing.assert_array_equal(left, right, err_msg=field)
        assert left.dtype == right.dtype
    assert (table.records_read, table.records_skipped, table.labels_dropped) == (9_000, 0, 0)
    assert table.files == ("built-in pool",)


def test_smaller_pool_is_a_prefix(table: RecordTable) -> None:
    for records in (1, 4096, 5000):
        smaller = dataclasses.replace(POOL, records=records)
        part = smaller.table()
        expected = label_lists(table)[:records]
        assert label_lists(part) == expected
        assert part.label_names == sorted({label for labels in expected for label in labels})
        np.testing.assert_array_equal(part.scores, table.scores[:records])
        assert list(smaller.lines(records - 1)) == list(POOL.lines(records - 1, records))


def test_any_part_can_be_rendered() -> None:
    lines = list(POOL.lines())
    assert len(lines) == 9_000
    for start, stop in ((0, 3), (4090, 4100), (8999, 9000), (8999, 10**9), (5, 5)):
        assert list(POOL.lines(start, stop)) == lines[start:stop]


def test_selection_is_written(table: RecordTable) -> None:
    lines = list(POOL.lines())
    picks = [8999, 4096, 0, 4095, 4097, 0]
    stream = io.BytesIO()
    write_records(table, picks, stream)
    assert stream.getvalue().splitlines(keepends=True) == [lines[pick] for pick in picks]


def test_same_seed_same_pool() -> None:
    again, other = BuiltinPool(records=9_000), BuiltinPool(records=9_000, seed=1)
    assert list(again.lines(0, 100)) == list(POOL.lines(0, 100))
    assert list(other.lines(0, 100)) != list(POOL.lines(0, 100))
    assert not np.array_equal(other.label_embeddings()[1], POOL.label_embeddings()[1])


def test_texts_mention_the_labels() -> None:
    records = [json.loads(line) for line in POOL.lines(0, 200)]
    assert len({record["id"] for record in records}) == 200
    for record in records:
        assert [message["role"] for message in record["messages"]] == ["user", "assistant"]
        for message in record["messages"]:
            assert all(label in message["content"] for label in record["mig_jax"]["labels"])


def test_one_to_six_labels_a_record(table: RecordTable) -> None:
    counts = np.diff(table.offsets)
    assert set(counts.tolist()) == {1, 2, 3, 4, 5, 6}
    assert 3.3 < counts.mean() < 3.7


def test_popularity_follows_a_power_law(table: RecordTable) -> None:
    popularity = np.sort(np.bincount(table.labels))[::-1]
    ranks = np.arange(10, 300)
    x, y = np.log(ranks), np.log(popularity[ranks])
    slope, _ = np.polyfit(x, y, 1)
    assert -1.1 < slope < -0.6
    assert np.corrcoef(x, y)[0, 1] < -0.99


def topic_of(label: str) -> str:
    return label.split()[0]


def test_labels_of_a_record_share_a_topic(table: RecordTable) -> None:
    pairs = [
        topic_of(a) == topic_of(b)
        for labels in label_lists(table)
        for a, b in itertools.combinations(labels, 2)
    ]
    assert 0.5 < np.mean(pairs) < 0.9


def test_some_records_are_near_copies() -> None:
    records = [json.loads(line) for line in POOL.lines(0, 4096)]
    answers = Counter(
        (tuple(record["mig_jax"]["labels"]), record["messages"][1]["content"]) for record in records
    )
    repeats = sum(count - 1 for count in answers.values() if len(answers) > 1) / len(records)
    assert 0.12 < repeats < 0.35


def test_scores_have_a_body_and_outliers(table: RecordTable) -> None:
    low, median, high = np.percentile(table.scores, [5, 50, 95])
    assert 3 < low < 6
    assert 10 < median < 12
    assert 16 < high < 24
    # Three times or a tenth of an ordinary score.
    outliers = np.mean((table.scores > 25) | (table.scores < 1.5))
    assert 0.02 < outliers < 0.05


@pytest.mark.parametrize(
    "pool", [BuiltinPool(), BuiltinPool(labels=4_531), BuiltinPool(labels=2_000, seed=7)]
)
def test_embeddings_give_a_sparse_graph(pool: BuiltinPool) -> None:
    names, embeddings = pool.label_embeddings()
    assert names == sorted(set(names))
    assert embeddings.shape == (pool.labels, 64)
    assert embeddings.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1.0, rtol=1e-5)
    similar = embeddings @ embeddings.T >= 0.9
    np.fill_diagonal(similar, False)
    neighbours = similar.sum(axis=1)
    assert 2.5 < neighbours.mean() < 4
    assert 0.05 < np.mean(neighbours == 0) < 0.3
    assert neighbours.max() < 20
    rows, columns = np.nonzero(similar)
    topics = np.array([topic_of(name) for name in names])
    assert np.all(topics[rows] == topics[columns])


def test_embeddings_cover_the_table(table: RecordTable) -> None:
    assert set(table.label_names) <= set(POOL.label_embeddings()[0])


@pytest.mark.parametrize(
    ("labels", "topics"), [(1, 1), (7, 7), (50, 1), (5_000, 1), (5_000, 600), (3_000, 3_000)]
)
def test_names_are_unique_for_any_counts(labels: int, topics: int) -> None:
    pool = BuiltinPool(records=10, labels=labels, topics=topics)
    names, _ = pool.label_embeddings()
    assert len(set(names)) == labels
    assert all(name == name.strip() and name.islower() for name in names)
    assert pool.table().num_records == 10


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"records": 0}, "built-in pool, records: found 0, expected at least 1"),
        ({"labels": 0}, "built-in pool, labels: found 0, expected at least 1"),
        ({"topics": 0}, "built-in pool, topics: found 0, expected at least 1"),
        ({"seed": -1}, "built-in pool, seed: found -1, expected at least 0"),
        ({"labels": 39}, "built-in pool, topics: found 40, expected at most the number of labels"),
    ],
)
def test_counts_are_checked(arguments: dict[str, int], told: str) -> None:
    with pytest.raises(InputError, match=told):
        BuiltinPool(**arguments)
