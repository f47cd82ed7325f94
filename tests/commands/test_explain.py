"""`mig-jax explain` by use: what it says of records, and what it refuses in one line."""

from __future__ import annotations

import json
import pathlib
import re
import shutil

import jax
import numpy as np
import pyarrow.parquet as pq
import pytest

from mig_jax import data
from mig_jax.learning import Free, save_learned, shared_start
from mig_jax.reports import explanation_lines, told_explanation
from mig_jax.selection import Explanation, LabelGain, LeastScore
from tests.running import mig, refused

BUDGET = 30


def select(pool, output, *words):
    embeddings = f"--label_embeddings={pool.with_name('labels.npz')}"
    command = [f"--pool={pool}", embeddings, "--nocertificate", f"--output={output}", *words]
    result = mig("select", *command)
    assert result.returncode == 0, result.stderr
    return pq.read_table(output.with_suffix(".selection.parquet")).to_pydict()


def explain(selection, *words):
    result = mig("explain", f"--selection={selection}", *words)
    assert result.returncode == 0, result.stderr
    return result.stdout


def explained(selection, *words):
    return json.loads(explain(selection, *words, "--json"))


@pytest.fixture(scope="module")
def selection(pool_file, tmp_path_factory):
    output = tmp_path_factory.mktemp("selected") / "out.jsonl"
    return output, select(pool_file, output, f"--budget={BUDGET}")


def not_picked(picked, pool_file):
    lines = set(picked["line"])
    return [line for line in range(1, 301) if line not in lines]


def test_a_pick_is_told_by_label(selection, pool_file):
    output, picked = selection
    line = picked["line"][9]
    text = explain(output, f"--record={line}")
    assert text.startswith(f"{pool_file}, line {line}: picked, rank 10 of {BUDGET}\n")
    gain = f"{picked['gain'][9]:#.4g}"
    assert f"  gain      {gain}" in text
    (told,) = explained(output, f"--record={line}")
    assert (told["picked"], told["given"], told["rank"]) == (True, False, 10)
    assert (told["file"], told["line"], told["least_score"]) == (str(pool_file), line, None)
    np.testing.assert_allclose(told["gain"], picked["gain"][9], rtol=1e-5)
    np.testing.assert_allclose(sum(each["gain"] for each in told["labels"]), told["gain"])
    names = [each["label"] for each in told["labels"]]
    assert set(picked["labels"][9]) <= set(names)
    through = {name for each in told["labels"] for name in each["through"]}
    assert through == set(picked["labels"][9])


def test_what_is_told_to_be_enough_is(selection, pool_file, tmp_path):
    """The score that the text names, set in the file, has the record picked where it says."""
    output, picked = selection
    line = not_picked(picked, pool_file)[20]
    text = explain(output, f"--record={line}")
    pattern = r"with ([0-9.]+) or more it would have been picked, in rank ([0-9,]+)"
    found = re.search(pattern, text)
    assert f"{pool_file}, line {line}: not picked\n" in text
    lines = pool_file.read_bytes().splitlines(keepends=True)
    again = tmp_path / "pool.jsonl"
    shutil.copy(pool_file.with_name("labels.npz"), tmp_path)
    for factor, rank in ((1, int(found[2])), (1 - 1e-4, None)):
        record = json.loads(lines[line - 1])
        record["mig_jax"]["score"] = float(found[1]) * factor
        lines[line - 1] = json.dumps(record).encode() + b"\n"
        again.write_bytes(b"".join(lines))
        now = select(again, tmp_path / "now.jsonl", f"--budget={BUDGET}")
        assert (line in now["line"]) == (rank is not None)
        if rank is not None:
            assert now["line"].index(line) + 1 == rank


def test_records_by_line_file_and_id(selection, pool_file, tmp_path):
    output, _ = selection
    words = ["--record=7", f"--record={pool_file.name}:1_7", f"--record={pool_file}:27"]
    asked = explained(output, *words, "--record=builtin-00000036")
    assert [told["line"] for told in asked] == [7, 17, 27, 37]
    assert [told.get("id") for told in asked] == [None, None, None, "builtin-00000036"]
    written = tmp_path / "why.json"
    text = explain(output, "--record=7", f"--output={written}")
    assert json.loads(written.read_text()) == asked[:1]
    assert text.count("\n\n") == 0
    assert explain(output, "--record=7", "--record=17").count("\n\n") == 1
    by_table = output.with_suffix(".selection.parquet")
    assert explain(by_table, "--record=7") == text
    # Numbers are IDs if a field of them is named.
    (told,) = explained(output, "--record=builtin-00000007", "--id_field=id")
    assert told["line"] == 8
    assert "no record has 7 in the field id" in refused(
        "explain", f"--selection={output}", "--record=7", "--id_field=id"
    )


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["--record=301"],
            "no record in line 301; its last is in 300; if this is an ID, --id_field",
        ),
        (["--record=0"], "has no record in line 0; its last is in 300"),
        (["--record=nobody"], "no record has nobody in the field id; expected an ID, LINE or"),
        (["--record=user", "--id_field=messages"], "no record has user in the field messages"),
        (["--record=7", "--format=plain"], "found plain, but the selection was made with auto"),
        (["--record=7", "--field=score=quality"], "but the selection was made with none"),
        (["--record=7", "--params=there"], "the selection was made without learned parameters"),
        (
            ["--record=7", "--gain=linear"],
            "--gain: no flag of this command, but of `mig-jax select`",
        ),
        ([], "--record: missing"),
    ],
)
def test_refusals(selection, words, told):
    assert told in refused("explain", f"--selection={selection[0]}", *words)


def test_ids_that_several_records_have_are_refused_with_their_places(tmp_path):
    rows = [{"labels": [label], "score": 1, "id": 7} for label in "abc"]
    pools = [tmp_path / name for name in ("a.jsonl", "b.jsonl")]
    for pool in pools:
        pool.write_text("".join(json.dumps(row) + "\n" for row in rows[:2]))
    output = tmp_path / "out.jsonl"
    flags = [f"--pool={pool}" for pool in pools]
    assert mig("select", *flags, "--budget=2", f"--output={output}").returncode == 0
    common = ["explain", f"--selection={output}"]
    said = refused(*common, "--record=7", "--id_field=id")
    assert f"4 records have 7 in the field id; expected one of {pools[0]}:1" in said
    assert "expected FILE:LINE, as the pool has 2 files" in refused(*common, "--record=1")
    assert "no usual field of IDs" not in refused(*common, "--record=z")
    (told,) = explained(output, "--record=b.jsonl:2")
    assert (told["file"], told["line"]) == (str(pools[1]), 2)


def test_files_are_known_by_their_paths_and_in_any_order(tmp_path, monkeypatch):
    """A file has the record that its own path names, whatever others are called."""
    rows = [{"labels": [label], "score": 1 + i} for i, label in enumerate("abcdef")]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "more").mkdir()
    for name, part in (("a.jsonl", rows[:3]), ("more/a.jsonl", rows[3:])):
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in part))

    def run(*words):
        result = mig(*words)
        assert result.returncode == 0, result.stderr
        return result.stdout

    pools = ["--pool=a.jsonl", "--pool=more/a.jsonl"]
    run("select", *pools, "--budget=2", "--output=out.jsonl")
    for name in ("a.jsonl", "./a.jsonl", str(tmp_path / "a.jsonl")):
        text = run("explain", "--selection=out.jsonl", f"--record={name}:2")
        assert text.startswith("a.jsonl, line 2: not picked\n")
    words = ["explain", "--selection=out.jsonl", "--record=more/a.jsonl:3"]
    assert run(*words, *reversed(pools)) == run(*words)
    assert run(*words).startswith("more/a.jsonl, line 3: picked, rank 1 of 2\n")


@pytest.mark.parametrize("command", ["explain", "extend", "given"])
def test_an_output_that_was_changed_is_not_taken_for_what_was_picked(command, pool_file, tmp_path):
    output = tmp_path / "out.jsonl"
    select(pool_file, output, "--budget=5")
    with open(output, "ab") as stream:
        stream.write(pool_file.read_bytes().splitlines(keepends=True)[0])
    table = output.with_suffix(".selection.parquet")
    embeddings = f"--label_embeddings={pool_file.with_name('labels.npz')}"
    more = ["select", f"--pool={pool_file}", embeddings, "--budget=9"]
    more += ["--nocertificate", f"--output={tmp_path / 'more.jsonl'}"]
    words = {
        "explain": lambda of: ["explain", f"--selection={of}", "--record=7"],
        "extend": lambda of: [*more, f"--extend={of}"],
        "given": lambda of: [*more, f"--given={of}"],
    }[command]
    said = refused(*words(output))
    assert f"{output}: is not what {output.with_suffix('.manifest.json')} tells of" in said
    assert f"or {table} to go by what was picked then" in said
    for still in (table, output.with_suffix(".manifest.json")):
        assert mig(*words(still)).returncode == 0


def test_no_file_of_the_selection_is_overwritten(selection):
    output, _ = selection
    for path in (output, *map(output.with_suffix, (".manifest.json", ".selection.parquet"))):
        before = path.read_bytes()
        words = ["explain", f"--selection={output}", "--record=7", f"--output={path}"]
        assert "is an input; expected another file to write to" in refused(*words)
        assert path.read_bytes() == before


def test_another_pool_or_embeddings_are_refused(selection, pool_file, tmp_path):
    output, _ = selection
    common = ["explain", f"--selection={output}", "--record=7"]
    lines = pool_file.read_bytes().splitlines(keepends=True)
    other = tmp_path / "pool.jsonl"
    other.write_bytes(b"".join(lines[:200]))
    assert "was selected; expected the pool of the selection" in refused(*common, f"--pool={other}")
    other.write_bytes(b"".join(reversed(lines)))
    said = refused(*common, f"--pool={other}")
    assert "--selection: its pick of rank 1 gained" in said
    assert "are not those of the selection" in said
    other.write_bytes(b"".join(lines))  # The same, elsewhere.
    assert explain(output, "--record=7", f"--pool={other}").startswith(f"{other}, line 7:")
    names, vectors = (
        np.load(pool_file.with_name("labels.npz"))[key] for key in ("labels", "embeddings")
    )
    np.savez(tmp_path / "other.npz", labels=names, embeddings=np.roll(vectors, 1, axis=0))
    said = refused(*common, f"--label_embeddings={tmp_path / 'other.npz'}")
    assert "are not those of the selection" in said
    other.unlink()
    changed = tmp_path / "moved.jsonl"
    shutil.copy(pool_file, changed)
    moved = tmp_path / "moved_out.jsonl"
    shutil.copy(pool_file.with_name("labels.npz"), tmp_path)
    select(changed, moved, "--budget=5")
    changed.unlink()
    said = refused("explain", f"--selection={moved}", "--record=7")
    assert said.endswith(f"--pool: {changed} is not here any more; expected --pool=FILE")


def test_a_record_without_labels_or_score(tmp_path):
    pool = tmp_path / "pool.jsonl"
    rows = [(["a"], 3), ([], 9), (["b"], 0), (["a"], 1)]
    pool.write_text("".join(json.dumps({"labels": a, "score": s}) + "\n" for a, s in rows))
    output = tmp_path / "out.jsonl"
    assert mig("select", f"--pool={pool}", "--budget=1", f"--output={output}").returncode == 0
    bare = explain(output, "--record=2")
    assert (
        bare
        == f"{pool}, line 2: not picked\n  it has no label: whatever its score, it gains nothing\n"
    )
    # With 3 it would be as good as line 1, which comes first.
    worthless = explain(output, "--record=3")
    assert "it gains nothing in any rank: its score is 0" in worthless
    assert "  score     0; with 3.00001 or more it would have been picked, in rank 1" in worthless
    second = explain(output, "--record=4")
    assert "nearest   rank 1 of 1: gain 1.000" in second
    assert "taken" not in second


def test_limits_are_told_and_kept_to(pool_file, tmp_path):
    """Tokens, quotas and records given: what the text says of a record, and its least score."""
    lines = pool_file.read_bytes().splitlines(keepends=True)
    shutil.copy(pool_file.with_name("labels.npz"), tmp_path)
    pool, output = tmp_path / "pool.jsonl", tmp_path / "out.jsonl"
    records = [json.loads(line) for line in lines]
    for number, record in enumerate(records):
        record |= {"cost": 20 + 30 * (number % 7), "source": "abc"[number % 3]}

    def selected(name, *words):
        pool.write_text("".join(json.dumps(record) + "\n" for record in records))
        return select(pool, tmp_path / name, *words)

    tokens = ["--budget_tokens=1000", "--cost_field=cost"]
    picked = selected("out.jsonl", *tokens)
    line = next(line for line in not_picked(picked, pool) if (line - 1) % 7 == 6)
    (told,) = explained(output, f"--record={line}")
    assert (told["tokens"], told["by_cost"]) == (200, True)
    assert "tokens were more than the" in told["limit"]
    assert told["allowed_ranks"] < told["picks"]
    text = explain(output, f"--record={line}")
    assert "that one of its 200 tokens needed there" in text
    assert ", if picks are still compared in the same way\n" in text
    records[line - 1]["mig_jax"]["score"] = told["least_score"]["score"] * (1 + 1e-5)
    again = selected("again.jsonl", *tokens)
    assert again["line"].index(line) + 1 == told["least_score"]["rank"]

    quotas = ["--budget=20", "--group_field=source", "--quota=a=..0", "--quota=b=15.."]
    picked = selected("out.jsonl", *quotas)
    line = next(line for line in not_picked(picked, pool) if line % 3 == 1)
    assert explain(output, f"--record={line}") == (
        f"{pool}, line {line}: not picked\n"
        "  limits    in no rank was it allowed: no more could be picked of its group, a\n"
    )
    given = ["--budget=5", f"--given={output}"]
    own = picked["line"][0]
    picked = selected("given.jsonl", *given)
    text = explain(tmp_path / "given.jsonl", f"--record={own}", f"--record={picked['line'][4]}")
    assert text.startswith(f"{pool}, line {own}: given, not picked\n\n")
    assert f"line {picked['line'][4]}: picked, rank 5 of 5\n" in text

    changes = ["--budget=20", f"--extend={output}", "--at_most_changes=0"]
    picked = selected("same.jsonl", *changes)
    line = next(line for line in not_picked(picked, pool) if line % 3 == 1)
    assert explain(tmp_path / "same.jsonl", f"--record={line}") == (
        f"{pool}, line {line}: not picked\n"
        "  limits    in no rank was it allowed: no further change was allowed\n"
    )


def test_scores_are_told_as_the_pool_has_them_if_an_exponent_was_learned(pool_file, tmp_path):
    table = data.read_pool([pool_file])
    shared = shared_start(threshold=0.75)
    parameterisation = Free(num_labels=table.num_labels, start=shared, lowest_threshold=0.6)
    params = jax.tree_util.tree_map(
        lambda leaf: leaf + 0.3, parameterisation.init(jax.random.key(0))
    )
    learned = parameterisation.learned(params)
    assert abs(float(learned.score_exponent) - 1) > 0.05
    save_learned(tmp_path / "params", parameterisation, params, table.label_names)
    flags = ["--budget=20", f"--params={tmp_path / 'params'}"]
    picked = select(pool_file, tmp_path / "out.jsonl", *flags)
    line = not_picked(picked, pool_file)[5]
    (told,) = explained(tmp_path / "out.jsonl", f"--record={line}")
    assert told["score"] == pytest.approx(float(table.scores[line - 1]))
    np.testing.assert_allclose(told["gain"] / told["gain_needed"], told["ratio"])
    lines = pool_file.read_bytes().splitlines(keepends=True)
    shutil.copy(pool_file.with_name("labels.npz"), tmp_path)
    # A changed score moves the mean, by which all are divided: so the margin is wider.
    for factor in (1.01, 0.99):
        record = json.loads(lines[line - 1])
        record["mig_jax"]["score"] = told["least_score"]["score"] * factor
        lines[line - 1] = json.dumps(record).encode() + b"\n"
        (tmp_path / "pool.jsonl").write_bytes(b"".join(lines))
        now = select(tmp_path / "pool.jsonl", tmp_path / "now.jsonl", *flags)
        assert (line in now["line"]) == (factor > 1)


@pytest.mark.parametrize("times", [2, 1e16])
def test_a_score_beyond_all_others_is_none_that_would_do(times, pool_file):
    table = data.read_pool([pool_file])
    found = Explanation(
        record=0,
        score=1.0,
        picked=False,
        rank=1,
        at_first=1.0,
        gain=1.0,
        needed=2.0,
        allowed=3,
        most_cost=0,
        labels=(LabelGain(0, (0,), 1.0, 1.0),),
        losses=(),
        least=LeastScore(times * float(table.scores.max()), 2),
    )
    told = told_explanation(found, table, 3)
    assert (told["least_score"] is None) == (times > 2)
    says_none = "no score would have had it picked" in "\n".join(explanation_lines(told))
    assert says_none == (times > 2)


def test_another_rank_than_the_nearest_is_told_with_why(tmp_path, monkeypatch):
    """By hand: E is the sum of log(1 + z)."""
    monkeypatch.chdir(tmp_path)
    words = ["--score_function=log", "--rate=1", "--budget=2", "--output=out.jsonl"]

    def picked(score):
        rows = [("a", 9.0), ("a", score), ("c", np.exp(0.6) - 1)]
        rows = [{"labels": [label], "score": score} for label, score in rows]
        pathlib.Path("pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        result = mig("select", "--pool=pool.jsonl", *words, "--cache=none")
        assert result.returncode == 0, result.stderr
        return pq.read_table("out.selection.parquet")["line"].to_pylist()

    least = 10 * (np.exp(0.6) - 1)  # Log of (10 + s) / 10 is 0.6.
    assert (picked(least + 0.01), picked(least - 0.01), picked(5.0)) == ([1, 2], [1, 3], [1, 3])
    text = explain("out.jsonl", "--record=2")
    assert "nearest   rank 1 of 2: gain 1.792, 77.81 % of the 2.303" in text
    told = "it would have been picked, in rank 2, where more score counts for more than in rank 1"
    assert f"with {np.ceil(least * 1e5) / 1e5:g} or more {told}" in text
    assert "counts for more" not in explain("out.jsonl", "--record=3")
