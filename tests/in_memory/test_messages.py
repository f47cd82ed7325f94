"""What a session is told: one line for what cannot be used, progress, and short reprs."""

from __future__ import annotations

import io
import sys
import warnings

import jax
import numpy as np
import pytest

import mig_jax
from mig_jax import data

RECORDS = [{"text": "a", "labels": [f"l{number % 4}"], "score": 1 + number} for number in range(8)]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({}, "budget: missing, expected budget=RECORDS, budget_tokens=TOKENS, or both"),
        ({"budget": 9}, "budget: found 9, expected at most the pool's 8 records"),
        ({"budget": 0.5}, "budget: found 0.5, expected a whole number of at least 1"),
        ({"budget": 2, "similarity_threshold": 2}, "similarity_threshold: found 2, expected auto"),
        ({"budget": 2, "quotas": {"a": "5%"}}, "quotas: goes with group_field=FIELD"),
        ({"budget": 2, "label_embeddings": {"l0": [1.0]}}, "label_embeddings: 3 of 4 labels"),
        ({"budget": 2, "label_embeddings": {"a": [1.0], "b": [1, 2]}}, "label_embeddings: "),
        ({"budget": 2, "measure": mig_jax.Log}, "measure: found "),
        ({"budget": 2, "measure": mig_jax.Measure(), "rate": 2}, "measure: does not go with rate"),
        ({"budget": 2, "measure": mig_jax.Measure(), "preset": "paper"}, "measure: does not go"),
        ({"budget": 2, "fields": "labels=tags"}, "fields: found str, expected a dict such as"),
        (
            {"budget": 2, "group_field": "text", "quotas": {"a": object()}},
            "quotas: found a value of type object; expected a dict of quotas by group, or a path",
        ),
        (
            {"budget": 2, "vocabulary": 3},
            "vocabulary: 'int' object is not iterable; expected names",
        ),
        (
            {"budget": 2, "group_field": "text", "quotas": {"no": np.int64(1)}},
            "quotas: no: no record is with that value of text",
        ),
        (
            {"budget": 2, "group_field": "text", "quotas": [1]},
            "quotas: found a list; expected a JSON object",
        ),
        (
            {"budget": 2, "fields": {"scor": "q"}},
            "fields: found scor, expected score, a usual name",
        ),
        ({"budget": 2, "fields": {"labels": "tags"}}, "records[0]: the record has no labels"),
        ({"budget": 2, "vocabulary": ["other"]}, "vocabulary: has none of the labels"),
        ({"budget": 2, "given": [*RECORDS[:1], {}]}, "given[1], field labels: "),
        ({"budget": 2, "seed": 1}, "seed: goes with method=NAME"),
        ({"budget": 2, "method": "none"}, "method: found none, expected one of mig, "),
    ],
)
def test_what_cannot_be_used_is_told_by_its_argument(arguments, line):
    with pytest.raises(mig_jax.InputError) as error:
        mig_jax.select_records(RECORDS, **arguments)
    told = str(error.value)
    assert told.startswith(line)
    assert "--" not in told
    assert "mig_jax-" not in told  # The folder that files of arguments were in.
    assert "\n" not in told


@pytest.mark.parametrize("name", ["measur", "output", "report", "pool", "num_processes"])
def test_an_argument_that_there_is_not_is_a_type_error(name):
    with pytest.raises(TypeError, match=f"has no argument {name}"):
        mig_jax.select_records(RECORDS, 2, **{name: "x"})


@pytest.mark.parametrize(
    ("records", "line"),
    [
        ([], "records: holds no records"),
        ([{"labels": ["a"], "score": 1}, 3], "records[1]: found int, expected a dict"),
        ({"labels": [["a"]], "score": [1]}, "records: found dict; expected a datasets.Dataset"),
        (iter(RECORDS), "records: found list_iterator; expected a datasets.Dataset"),
        ("there/is/none.jsonl", "there/is/none.jsonl: no such file"),
        ([{"text": "a", "labels": ["a"], "score": float("nan")}, RECORDS[0]], "records[1]: has a"),
        ([RECORDS[0], {"labels": ["a"], "score": float("nan")}], "records[1], field score: "),
        ([{"id": "a", "labels": ["a"]}], "records[0]"),
    ],
)
def test_records_that_cannot_be_read_are_told_by_their_number(records, line):
    with pytest.raises(mig_jax.InputError) as error:
        mig_jax.select_records(records, 1)
    assert str(error.value).startswith(line)


@pytest.mark.parametrize(
    ("emptied", "line"),
    [
        (["score"], "the field score is there, but empty in the first record: scores were made"),
        (["labels"], "the field labels is there, but empty in the first record: labels were made"),
        (["labels", "score"], "the fields labels and score are there, but empty in the first"),
    ],
)
@pytest.mark.parametrize("is_frame", [False, True])
def test_what_is_made_in_the_place_of_an_empty_field_is_warned_of(emptied, line, is_frame):
    """A merge that failed leaves a column of nothing: scores that are made are no one's own."""
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    records = [
        {**record, "text": f"text number {at}", **dict.fromkeys(emptied)}
        for at, record in enumerate(RECORDS)
    ]
    held = pandas.DataFrame(records) if is_frame else records
    with pytest.warns(UserWarning, match="^the fields? ") as warned:
        mig_jax.select_records(held, 2)
    [told] = [one for one in warned if str(one.message).startswith("the field")]
    assert str(told.message).startswith(line)
    assert told.filename == __file__
    # What is not there at all is made without a word, and so is nothing.
    lacking = [{k: v for k, v in record.items() if k not in emptied} for record in records]
    for quiet in (lacking, RECORDS):
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "the field")
            mig_jax.select_records(quiet, 2)


def test_a_table_without_rows_is_told_as_an_empty_list_is():
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    for record in ({"id": "a", "messages": []}, {"text": "a"}, *RECORDS[:1]):
        with pytest.raises(mig_jax.InputError, match=r"^records: holds no records; "):
            mig_jax.select_records(pandas.DataFrame([record]).head(0), 1)


def test_records_held_otherwise_are_told_how_to_hold_them():
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")
    mixed = pandas.DataFrame({"labels": [1, "a", {}]})
    whole = datasets.Dataset.from_list(RECORDS)
    for records, hint in (
        (mixed, "records.to_dict('records')"),
        (mixed["labels"], "expected a DataFrame"),
        (datasets.DatasetDict(train=whole), "records['train']"),
        (whole.to_iterable_dataset(), "list(records)"),
    ):
        with pytest.raises(mig_jax.InputError, match=r"^records: ") as error:
            mig_jax.select_records(records, 1)
        assert hint in str(error.value)


@pytest.mark.parametrize(
    ("library", "hold"),
    [
        ("pandas", lambda pandas: pandas.DataFrame(RECORDS)),
        ("polars", lambda polars: polars.DataFrame(RECORDS)),
        ("pyarrow", lambda pyarrow: pyarrow.Table.from_pylist(RECORDS)),
        ("datasets", lambda datasets: datasets.Dataset.from_list(RECORDS)),
    ],
)
def test_a_column_that_a_table_has_not_is_told_as_that_of_a_list(library, hold):
    held = hold(pytest.importorskip(library, reason=f"{library} is not installed"))
    told = []
    for records in (RECORDS, held):
        with pytest.raises(mig_jax.InputError) as error:
            mig_jax.select_records(records, 2, fields={"labels": "tags"})
        told.append(str(error.value))
    assert told[1].startswith("records[0]: the record has no labels (field tags)")
    assert told[1] == told[0]


def test_progress_is_shown_where_a_person_looks(capsys, monkeypatch):
    monkeypatch.setenv("TQDM_MININTERVAL", "0")  # What is done in no time is told, too.
    mig_jax.select_records(RECORDS, 2)
    assert capsys.readouterr().err == ""  # Goes to no terminal here.
    mig_jax.select_records(RECORDS, 2, progress=True)
    shown = capsys.readouterr()
    assert "selecting" in shown.err
    assert "give label_embeddings=EMB.npz or embedding_model=NAME" in shown.err
    assert "--" not in shown.err
    assert shown.out == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    mig_jax.select_records(RECORDS, 2)
    assert "give label_embeddings" in capsys.readouterr().err
    mig_jax.select_records(RECORDS, 2, progress=False)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("stderr", [None, "closed"])
def test_a_program_without_a_stderr_selects_in_silence(stderr, monkeypatch):
    gone = io.StringIO()
    gone.close()
    monkeypatch.setattr(sys, "stderr", gone if stderr else None)
    assert len(mig_jax.select_records(RECORDS, 2, progress=True)) == 2
    assert len(mig_jax.select_records(RECORDS, 2)) == 2


def test_objects_are_told_in_words_and_arrays_by_their_shapes(tmp_path):
    picked = mig_jax.select_records(RECORDS, 2)
    assert repr(picked.pool) == "Pool(8 records, 1.0 labels each)"
    assert repr(picked.graph) == "LabelGraph(4 labels, 0 edges)"
    held = f"information {8**0.8 + 7**0.8:.6g}"
    assert repr(picked.selection) == f"Selection(2 records: 7, 6; {held})"
    proven = f"Certificate({held} of at most {picked.certificate.upper_bound:.6g}: at least "
    assert repr(picked.certificate).startswith(proven)
    each = mig_jax.Measure(mig_jax.Log(np.ones(4)), propagation=0.5)
    assert repr(each) == (
        "Measure(score_function=Log(rate=float64[4], weight=1.0), propagation=0.5)"
    )
    path = tmp_path / "pool.jsonl"
    path.write_text('{"labels": ["a"], "score": 1}\n')
    assert repr(data.read_pool(path)) == f"RecordTable(1 records, 1 labels; {path})"


def test_reprs_hold_for_whatever_jax_puts_in_the_place_of_arrays():
    pool = mig_jax.pool_from_label_lists([[0], [0, 1]], [1.0, 2.0])
    graph = mig_jax.label_graph_from_edges(2, [(0, 1, 0.5)])
    problem = pool, graph, mig_jax.Measure()
    told = []

    def tell(problem):
        told.append(repr(problem))
        return problem

    jax.jit(tell)(problem)
    assert "Pool(2 records, 1.5 labels each), LabelGraph(2 labels, 1 edge)" in told[0]
    stacked = jax.tree_util.tree_map(lambda leaf: np.stack([leaf, leaf]), problem)
    jax.vmap(tell)(stacked)
    assert told[1].startswith(told[0].split("Measure")[0])
    assert "scores=float32[2,2]" in repr(stacked)
    assert "scores=None" in repr(jax.tree_util.tree_map(lambda leaf: None, problem))
    assert "similarities=float32[2,2]" in repr(jax.eval_shape(lambda x: x, stacked))
