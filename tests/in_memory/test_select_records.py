"""`mig_jax.select_records`: the oracle is `mig-jax select` on the same records in a file."""

from __future__ import annotations

import importlib
import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import mig_jax
from mig_jax import data
from mig_jax.synthetic import BuiltinPool
from tests.running import mig


@pytest.fixture(scope="module")
def rows():
    """Records of a generated pool, and of every third source."""
    built_in = BuiltinPool(records=60)
    table = built_in.table()
    stream = io.BytesIO()
    data.write_records(table, np.arange(60), stream)
    found = [json.loads(line) for line in stream.getvalue().splitlines()]
    return [{**record, "source": "abc"[number % 3]} for number, record in enumerate(found)]


@pytest.fixture(scope="module")
def vectors():
    names, embeddings = BuiltinPool(records=60).label_embeddings()
    return dict(zip(names, embeddings, strict=True))


def chosen_by_command(folder, records, *flags):
    """Lines from 0, gains and manifest of the command, for records in a file of JSON lines."""
    pool, output = folder / "pool.jsonl", folder / "selected.jsonl"
    if not isinstance(records, list):
        pool = records
    else:
        pool.write_text("".join(json.dumps(record) + "\n" for record in records))
    result = mig("select", f"--pool={pool}", f"--output={output}", "--cache=none", *flags)
    assert result.returncode == 0, result.stderr
    table = pq.read_table(folder / "selected.selection.parquet").to_pydict()
    manifest = json.loads((folder / "selected.manifest.json").read_text())
    return np.array(table["line"]) - 1, np.array(table["gain"]), manifest, table, result.stdout


def assert_same(picked, by_command):
    picks, gains, manifest, table, _ = by_command
    np.testing.assert_array_equal(picked.picks, picks)
    np.testing.assert_array_equal(np.asarray(picked.gains, np.float64), gains)
    assert picked.information == manifest["information"]
    assert picked.certified_ratio == manifest["certified_ratio"]
    assert picked.labels == table["labels"]
    np.testing.assert_array_equal(picked.scores, np.asarray(table["score"], np.float32))


def held_as(kind, rows):
    if kind == "list":
        return rows
    if kind == "pyarrow":
        return pa.Table.from_pylist(rows)
    library = pytest.importorskip(kind, reason=f"{kind} is not installed")
    if kind == "pandas":
        return library.DataFrame(rows, index=[f"row {number}" for number in range(len(rows))])
    return library.DataFrame(rows) if kind == "polars" else library.Dataset.from_list(rows)


def as_rows(records):
    """What a container holds, as a list of dicts."""
    for name in ("to_pylist", "to_dicts", "to_list"):
        if hasattr(records, name):
            return getattr(records, name)()
    return records.to_dict("records") if hasattr(records, "to_dict") else [*records]


@pytest.fixture(scope="module")
def by_command(rows, vectors, tmp_path_factory):
    """The command's choice of all rows, with embeddings and quotas."""
    folder = tmp_path_factory.mktemp("command")
    data.write_label_embeddings(folder / "labels.npz", [*vectors], [*vectors.values()])
    flags = ("--budget=12", "--group_field=source", "--quota=a=7..", "--quota=b=..10%")
    return chosen_by_command(folder, rows, f"--label_embeddings={folder / 'labels.npz'}", *flags)


@pytest.mark.parametrize("kind", ["list", "pyarrow", "pandas", "polars", "datasets"])
def test_each_container_gives_the_picks_of_the_command_in_kind(kind, rows, vectors, by_command):
    held = held_as(kind, rows)
    before = as_rows(held)
    quotas = {"a": "7..", "b": "..10%"}
    picked = mig_jax.select_records(
        held, 12, label_embeddings=vectors, group_field="source", quotas=quotas
    )
    assert_same(picked, by_command)
    assert type(picked.records) is type(held)
    assert as_rows(picked.records) == [before[row] for row in picked.picks.tolist()]
    assert as_rows(held) == before
    assert len(picked) == 12
    counts = [sum(row["source"] == name for row in as_rows(picked.records)) for name in "ab"]
    assert counts[0] >= 7
    assert counts[1] <= 1


def test_rows_that_a_library_holds_are_untouched(rows):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = pandas.DataFrame(rows, index=[f"row {number}" for number in range(len(rows))])
    picked = mig_jax.select_records(frame, 5)
    assert picked.records.index.tolist() == [f"row {row}" for row in picked.picks]
    records = [{**row, "own": object} for row in rows[:1]] + rows[1:]
    with pytest.raises(mig_jax.InputError, match=r"^records\[0\]: found a value of type"):
        mig_jax.select_records(records, 5)
    found = mig_jax.select_records(rows, 5).records
    assert all(one is rows[row] for one, row in zip(found, picked.picks, strict=True))


def test_a_dataset_is_taken_in_the_order_that_it_is_shown_in(rows, tmp_path):
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")
    shuffled = datasets.Dataset.from_list(rows).shuffle(seed=3)
    picked = mig_jax.select_records(shuffled, 5)
    assert_same(picked, chosen_by_command(tmp_path, shuffled.to_list(), "--budget=5"))
    assert picked.records["id"] == [shuffled[row]["id"] for row in picked.picks.tolist()]


def test_paths_are_read_as_the_command_reads_them(rows, tmp_path):
    for name, some in (("one", rows[:40]), ("two", rows[40:])):
        text = "".join(json.dumps(record) + "\n" for record in some)
        (tmp_path / f"{name}.jsonl").write_text(text)
    pattern, paths = str(tmp_path / "*.jsonl"), [tmp_path / "one.jsonl", tmp_path / "two.jsonl"]
    in_memory = mig_jax.select_records(rows, 5)
    for places in (pattern, paths):
        picked = mig_jax.select_records(places, "8.4%")
        np.testing.assert_array_equal(picked.picks, in_memory.picks)
        assert picked.records == in_memory.records == [rows[row] for row in picked.picks]


def test_records_of_files_come_back_whole_in_the_order_picked(tmp_path):
    """JSON may have a carriage return between its words, which ends no line."""
    a, b = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    a.write_bytes(
        b'{"text": "a",\r "labels": ["x"], "score": 1.0}\n{"labels": ["y"], "score": 2}\r\n'
    )
    b.write_bytes(b'{"text": "b", "labels": ["z"], "score": 3.0}\n')
    picked = mig_jax.select_records([a, b], 3, cache="none")
    assert picked.picks.tolist() == [2, 1, 0]
    assert picked.records == [
        {"text": "b", "labels": ["z"], "score": 3.0},
        {"labels": ["y"], "score": 2},
        {"text": "a", "labels": ["x"], "score": 1.0},
    ]


def test_raw_conversations_get_labels_and_scores_first(tmp_path):
    topics = [
        "jib mainsheet tack harbour",
        "oven flour yeast dough",
        "court contract clause appeal",
    ]
    random = np.random.default_rng(0)
    raw = []
    for number in range(60):
        words = random.permutation(topics[number % 3].split())
        question = {"role": "user", "content": f"How do I use the {' and '.join(words)}, please?"}
        answer = {"role": "assistant", "content": f"Take the {' with the '.join(words)}."}
        raw.append({"messages": [question, answer]})
    picked = mig_jax.select_records(raw, 5)
    assert_same(picked, chosen_by_command(tmp_path, raw, "--budget=5"))
    assert picked.records == [raw[row] for row in picked.picks]
    assert all(picked.labels)
    assert [{*record} for record in raw] == [{"messages"}] * 60  # Nothing was put into them.


def test_other_settings_are_those_of_the_command(rows, tmp_path):
    tagged = [
        {"text": row["source"] * 50, "tags": [str(number % 7)], "worth": 1 + number % 5}
        for number, row in enumerate(rows)
    ]
    renamed = ("--field=labels=tags", "--field=score=worth")
    fields = {"labels": "tags", "score": "worth"}
    flags = ("--budget_tokens=100", "--score_function=log", "--rate=2", "--nocertificate")
    expected = chosen_by_command(tmp_path, tagged, *renamed, *flags)
    more = {"score_function": "log", "rate": 2, "certificate": False}
    picked = mig_jax.select_records(tagged, budget_tokens=100, fields=fields, **more)
    assert_same(picked, expected)
    assert picked.certified_ratio is None
    assert picked.certificate is None
    measure = mig_jax.Measure(mig_jax.Log(2.0))
    same = mig_jax.select_records(tagged, budget_tokens=100, fields=fields, measure=measure)
    np.testing.assert_array_equal(same.picks, picked.picks)

    few = ["0", "1"]
    (tmp_path / "known.json").write_text(json.dumps(few))
    flags = ("--budget=5", f"--vocabulary={tmp_path / 'known.json'}", "--method=random", "--seed=3")
    expected = chosen_by_command(tmp_path, tagged, *renamed, *flags)
    picked = mig_jax.select_records(
        tagged, 5, fields=fields, vocabulary=few, method="random", seed=3
    )
    np.testing.assert_array_equal(picked.picks, expected[0])


def test_records_that_are_there_already_count(rows, tmp_path):
    have, new = rows[:20], rows[20:]
    (tmp_path / "have.jsonl").write_text("".join(json.dumps(row) + "\n" for row in have))
    expected = chosen_by_command(tmp_path, new, "--budget=5", f"--given={tmp_path / 'have.jsonl'}")
    picked = mig_jax.select_records(new, 5, given=have)
    assert_same(picked, expected)
    assert picked.records == [new[row] for row in picked.picks]
    assert picked.selection.given_information > 0


def test_no_records_that_are_there_already(rows):
    """Who has none yet need not ask apart."""
    alone = mig_jax.select_records(rows, 5)
    for none in ([], pa.table({"text": pa.array([], pa.string())})):
        picked = mig_jax.select_records(rows, 5, given=none)
        np.testing.assert_array_equal(picked.picks, alone.picks)
        assert picked.selection.given_information == 0


def test_picks_are_rows_of_what_was_given_though_bad_ones_are_skipped(rows):
    some = [rows[0], {"mig_jax": {"labels": ["a"], "score": "bad"}}, *rows[1:]]
    with pytest.raises(mig_jax.InputError, match=r"^records\[1\], field mig_jax.score: "):
        mig_jax.select_records(some, 3)
    picked = mig_jax.select_records(some, 5, on_bad_record="skip")
    of_good = mig_jax.select_records(rows, 5).picks
    np.testing.assert_array_equal(picked.picks, of_good + (of_good > 0))
    assert picked.records == [some[row] for row in picked.picks]


def test_numbers_of_numpy_are_numbers(rows):
    some = []
    for row in rows:
        own = row["mig_jax"]
        own = {"labels": np.array(own["labels"]), "score": np.float64(own["score"])}
        some.append({**row, "mig_jax": own})
    found, expected = mig_jax.select_records(some, np.int64(5)), mig_jax.select_records(rows, 5)
    np.testing.assert_array_equal(found.picks, expected.picks)
    assert found.information == expected.information


def test_what_is_found_goes_on_in_the_functions_of_the_core(rows):
    picked = mig_jax.select_records(rows, 5)
    again = mig_jax.select(picked.pool, picked.graph, 5, measure=picked.measure)
    np.testing.assert_array_equal(again.picks, picked.picks)
    own = [picked.label_names[label] for label in np.unique(picked.pool.labels)]
    assert own == sorted(set().union(*(row["mig_jax"]["labels"] for row in rows)))


def test_the_result_reads_as_what_the_command_prints(rows, tmp_path):
    rows = [{"labels": ["<b>", "a"], "score": 2}] * len(rows)
    *_, printed = chosen_by_command(tmp_path, rows, "--budget=12")
    picked = mig_jax.select_records(rows, 12)
    told = printed.strip().replace(f" -> {tmp_path / 'selected.jsonl'}", "")
    assert repr(picked) == str(picked) == picked.summary() == told
    page = picked._repr_html_()
    assert page.count("<tr>") == 1 + 10
    assert "&lt;b&gt;, a" in page
    assert "<b>" not in page
    assert "and 2 more" in page


@pytest.mark.parametrize("named", ["pandas", "polars", "datasets"])
def test_no_library_is_imported_for_records_of_another(named, monkeypatch, rows):
    monkeypatch.setitem(importlib.import_module("sys").modules, named, None)
    assert len(mig_jax.select_records(rows, 5)) == 5
