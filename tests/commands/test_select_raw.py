"""`mig-jax select` on conversations that lack labels or scores: it goes the way that annotate goes.

The oracle is the way in two steps: `mig-jax annotate` to a file, then `mig-jax select` on that.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mig_jax import annotation
from mig_jax.commands.main import main
from mig_jax.errors import InputError
from tests.annotation.tiny_models import tiny_sentence_encoder
from tests.dying import at_journal, dies
from tests.running import ROOT, mig_as_a_person_runs_it, start_together

_TOPICS = {
    "sailing": "jib mainsheet tack harbour keel spinnaker rudder anchor",
    "baking": "oven flour yeast dough crust knead sourdough rise",
    "python": "list index loop function exception import decorator tuple",
    "law": "court contract clause plaintiff verdict appeal statute liability",
}


def conversations(number=80, seed=0):
    """Questions about four topics, and answers."""
    random = np.random.default_rng(seed)
    found = []
    for count in range(number):
        words = random.choice(_TOPICS[list(_TOPICS)[count % 4]].split(), 6)
        turns = [
            {"role": "user", "content": f"How do I use the {' and '.join(words[:3])}, please?"},
            {"role": "assistant", "content": f"Take the {' with the '.join(words)}. That is all."},
        ]
        found.append({"id": count, "messages": turns})
    return found


def write(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TQDM_MININTERVAL", "0")  # What is done in no time is told, too.


@pytest.fixture
def run(tmp_path, capsys):
    """Runs a command that must succeed; returns what it says."""

    def run(*words):
        assert main([str(word) for word in words]) == 0, capsys.readouterr().err
        told = capsys.readouterr()
        return told.out + told.err

    return run


@pytest.fixture
def refused(capsys):
    """Runs a command that must not succeed; returns its one line."""

    def refused(*words):
        assert main([str(word) for word in words]) == 2
        return capsys.readouterr().err.replace("\r", "\n").strip().splitlines()[-1]

    return refused


def picked(path):
    return pq.read_table(path.with_suffix(".selection.parquet")).to_pydict()


def lacking(record, parts):
    return {name: value for name, value in record.items() if name not in parts}


@pytest.mark.parametrize("parts", [("labels", "score"), ("labels",), ("score",)])
def test_what_is_lacking_is_made_as_annotate_makes_it(parts, tmp_path, run):
    """The same records with the same labels, scores and gains; they are written as they came."""
    records = [
        {**record, "labels": [f"topic {place % 4}"], "score": 1.0 + place % 7}
        for place, record in enumerate(conversations())
    ]
    raw = write(tmp_path / "raw.jsonl", [lacking(record, parts) for record in records])
    output = tmp_path / "one.jsonl"
    told = run("select", f"--pool={raw}", "--budget=20", f"--output={output}")
    keeps = [
        *([] if "labels" in parts else ["--tagger=keep"]),
        *([] if "score" in parts else ["--scorer=keep"]),
    ]
    annotated = tmp_path / "annotated.jsonl"
    run("annotate", f"--pool={raw}", f"--output={annotated}", *keeps)
    again = tmp_path / "two.jsonl"
    beside = run("select", f"--pool={annotated}", "--budget=20", f"--output={again}")
    one, two = picked(output), picked(again)
    assert {name: one[name] for name in one if name != "file"} == {
        name: two[name] for name in two if name != "file"
    }
    lines = raw.read_bytes().splitlines(keepends=True)
    assert output.read_bytes() == b"".join(lines[line - 1] for line in one["line"])
    assert f"the records have no {' and '.join(parts).replace('score', 'scores')}: these" in told
    manifests = [json.loads((tmp_path / f"{n}.manifest.json").read_text()) for n in ("one", "two")]
    for name in ("information", "upper_bound", "labels", "edges"):
        assert manifests[0][name] == manifests[1][name]
    assert [one.get("annotated", False) for one in manifests] == [True, False]
    thresholds = [one["parameters"]["similarity_threshold"] for one in manifests]
    assert thresholds[0] == thresholds[1]
    # Labels that were found come with embeddings, which join some of them.
    assert ("annotated.labels.npz, beside the pool" in beside) == ("labels" in parts)
    assert ("labels" in parts) == (manifests[0]["edges"] > 0)


def test_a_second_run_takes_what_was_made_from_the_cache(tmp_path, run):
    raw = write(tmp_path / "raw.jsonl", conversations())
    words = ["select", f"--pool={raw}", "--budget=10"]
    first = run(*words, f"--output={tmp_path / 'a.jsonl'}")
    second = run(*words, f"--output={tmp_path / 'b.jsonl'}")
    assert "looking at the pool" in first
    assert "looking at the pool" not in second
    # What was made by defaults is said of both, in the same words and first.
    made = [
        "the records have no labels and scores: these are made, as `mig-jax annotate` does",
        "--tagger=discover: labels are found in the pool itself",
        "--scorer=signals: scores are of what the texts themselves tell",
    ]
    for told in (first, second):
        assert "\n".join(made) in told
    assert second.index(made[-1]) < second.index("the pool is unchanged: read from")
    for ending in (".jsonl", ".selection.parquet"):
        found = [(tmp_path / name).with_suffix(ending).read_bytes() for name in ("a", "b")]
        assert found[0] == found[1]
    # Flags of selection are no flags of annotation.
    told = run(*words, "--method=random", "--seed=3", f"--output={tmp_path / 'r.jsonl'}")
    assert "looking at the pool" not in told
    # Another pool, or other fields, are made anew; nothing is kept without a cache.
    write(raw, conversations(seed=1))
    assert "looking at the pool" in run(*words, f"--output={tmp_path / 'c.jsonl'}")
    kept = sorted((tmp_path / "cache").rglob("*.npz"))
    run(*words, f"--output={tmp_path / 'd.jsonl'}", "--cache=none")
    assert sorted((tmp_path / "cache").rglob("*.npz")) == kept
    assert not list(tmp_path.rglob("*journal*"))


def test_warnings_of_what_is_kept_are_told_again(tmp_path, run):
    """Records that ask nothing, and scores that tell nothing, do so in every run."""
    (one, *_) = conversations()
    asking_nothing = {"messages": [{"role": "user", "content": " "}, *one["messages"][1:]]}
    raw = write(tmp_path / "raw.jsonl", [one] * 50 + [asking_nothing])
    words = ["select", f"--pool={raw}", "--budget=5", f"--output={tmp_path / 'o.jsonl'}"]
    first, second, planned = run(*words), run(*words), run(*words, "--dry_run")
    for told in (first, second, planned):
        assert told.count("warning: --scorer=signals gave nearly the same value to all") == 1
        assert told.count("1 records ask nothing in words; they get no label") == 1
    assert "the pool is unchanged: read from" not in first
    assert "the pool is unchanged: read from" in second
    assert second.index("the pool is unchanged") < second.index("warning: --scorer=signals")


def test_how_records_were_read_is_told(tmp_path, run):
    """A field taken for another is seen: `input` for the question, `output` for the answer."""
    records = [
        {"input": turns[0]["content"], "output": turns[1]["content"], "thoughts": "hm"}
        for turns in (record["messages"] for record in conversations())
    ]
    reading = "input -> output (layout columns)"
    raw = write(tmp_path / "raw.jsonl", records)
    words = ["select", f"--pool={raw}", "--budget=10", f"--output={tmp_path / 'a.jsonl'}"]
    assert f"  read            as {reading}\n" in run(*words, "--dry_run")
    for _ in range(2):  # The second time from the cache.
        assert f"read as {reading}\n" in run(*words)
        assert json.loads((tmp_path / "a.manifest.json").read_text())["read_as"] == [reading]
    mixed = write(tmp_path / "mixed.jsonl", [*records[:79], {"instruction": "Sail", **records[79]}])
    words = [f"--pool={mixed}", f"--output={tmp_path / 'b.jsonl'}"]
    both = f"79 as {reading}, 1 as instruction, input -> output (layout alpaca)"
    assert f"  read            {both}\n" in run("select", *words, "--budget=10", "--dry_run")
    assert f"read {both}\n" in run("annotate", *words)
    annotation = json.loads((tmp_path / "b.annotation.json").read_text())
    assert list(annotation["read_as"].values()) == [79, 1]
    words = ["select", str(raw), str(write(tmp_path / "c.jsonl", conversations())), "--budget=9"]
    words.append(f"--output={tmp_path / 'd.jsonl'}")
    assert f"read 80 as {reading}, 80 as messages (layout messages)\n" in run(*words)
    assert f"read as {reading}; in other files as messages (layout messages)\n" in run(*words)


def test_other_commands_and_files_take_raw_records_too(tmp_path, run):
    """Parquet and CSV, an embedding of labels in learning, explanations."""
    records = conversations()
    rows = [
        {"question": record["messages"][0]["content"], "answer": record["messages"][1]["content"]}
        for record in records
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "raw.parquet")
    output = tmp_path / "out.parquet"
    run("select", f"--pool={tmp_path / 'raw.parquet'}", "--budget=10", f"--output={output}")
    lines = picked(tmp_path / "out.jsonl")["line"]
    assert pq.read_table(output).to_pylist() == [rows[line - 1] for line in lines]
    selection = f"--selection={output}"
    assert "picked" in run("explain", selection, f"--record={lines[0]}").lower()
    run(
        *("ablate", f"--pool={tmp_path / 'raw.parquet'}", f"--workdir={tmp_path / 'grid'}"),
        *("--budget=5", "--exponents=0.8", "--rates=0.1", "--noheat_maps"),
    )
    assert (tmp_path / "grid" / "ablation.csv").exists()


def test_fields_that_might_hold_them_are_told(tmp_path, run):
    records = [{**one, "tags": ["a", "b"], "quality": 2.0} for one in conversations()]
    raw = write(tmp_path / "raw.jsonl", records)
    words = ["select", f"--pool={raw}", "--budget=5", f"--output={tmp_path / 'o.jsonl'}"]
    guess = "perhaps --field=labels=tags --field=score=quality tells where"
    for _ in range(2):  # Of what the cache has, too.
        told = run(*words).splitlines()
        place = told.index(f"if they have them under another name, {guess}")
        assert told[place - 1].startswith("the records have no labels and scores: ")
    named = run(*words, "--field=labels=tags", "--field=score=quality")
    assert "the records have no" not in named


def test_records_that_cannot_be_used_are_told_or_left_out(tmp_path, run, refused):
    records = [*conversations(), {"messages": "broken"}]
    raw = write(tmp_path / "raw.jsonl", records)
    words = ["select", f"--pool={raw}", "--budget=5", f"--output={tmp_path / 'o.jsonl'}"]
    assert "raw.jsonl, line 81, field messages: " in refused(*words)
    unanswered = write(tmp_path / "raw.jsonl", [{"messages": records[0]["messages"][:1]}])
    told = refused("select", f"--pool={unanswered}", *words[2:])
    assert "found no answer" in told
    assert "--on_bad_record=skip, which leaves such records out" in told
    write(raw, records)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "raw.jsonl"]
    told = run(*words, "--on_bad_record=skip")
    assert "1 bad record skipped" in told
    rejected = json.loads((tmp_path / "o.rejected.jsonl").read_text())
    assert (rejected["line"], json.loads(rejected["text"])) == (81, records[-1])
    manifest = json.loads((tmp_path / "o.manifest.json").read_text())
    assert (manifest["records_read"], manifest["records_skipped"]) == (81, 1)
    # From the cache, too.
    run(*words, "--on_bad_record=skip")
    assert json.loads((tmp_path / "o.rejected.jsonl").read_text()) == rejected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["select", "--budget=81"], "--budget: found 81, expected at most the pool's 80 records"),
        (["ablate", "--budget=81"], "--budget: found 81, expected at most the pool's 80 records"),
        (
            [
                "learn",
                "--budget=9",
                "--budgets=9,81",
                "--objective=target",
                "--validation=@",
                "--test=@.test",
            ],
            "--budgets: found 81, expected at most the pool's 80 records",
        ),
    ],
)
def test_a_budget_that_no_pool_meets_is_refused_before_annotation(
    words, expected, tmp_path, capsys, monkeypatch
):
    """Bad records are not counted; with one fewer the same command goes on to annotate."""
    raw = write(tmp_path / "raw.jsonl", [*conversations(), {"messages": "broken"}])
    write(tmp_path / "raw.jsonl.test", conversations()[:40])
    (command, *words) = (word.replace("@", str(raw)) for word in words)
    to = f"--output={tmp_path / 'o.jsonl'}" if command == "select" else f"--workdir={tmp_path}/w"
    common = [command, f"--pool={raw}", to, "--on_bad_record=skip"]
    looked = []

    def look_at_pool(options, models, kept):
        looked.append(len(kept))
        raise InputError("this is annotation")

    monkeypatch.setattr("mig_jax.commands.annotate_run.look_at_pool", look_at_pool)
    assert main([*common, *words]) == 2
    assert capsys.readouterr().err.strip().splitlines()[-1].endswith(expected)
    assert not looked
    assert main([*common, *(word.replace("81", "80") for word in words)]) == 2
    assert "this is annotation" in capsys.readouterr().err
    assert looked == [80]


def test_a_share_or_the_whole_of_a_raw_pool_is_selected(tmp_path, run):
    """What is known before annotation refuses nothing that fits, duplicates and skips included."""
    records = [*conversations(), {"messages": "broken"}, *conversations()]
    raw = write(tmp_path / "raw.jsonl", records)
    words = ["select", f"--pool={raw}", "--on_bad_record=skip", f"--output={tmp_path / 'o.jsonl'}"]
    assert "selected 160 of 160 records" in run(*words, "--budget=160")
    assert "selected 160 of 160 records" in run(*words, "--budget=100%")


def test_flags_that_do_not_go_with_what_is_made_are_refused(tmp_path, refused):
    (tmp_path / "vocabulary.json").write_text('["a"]')
    raw = write(tmp_path / "raw.jsonl", conversations())
    words = ["select", "--budget=5", f"--output={tmp_path / 'o.jsonl'}"]
    told = refused(*words, f"--pool={raw}", f"--label_embeddings={tmp_path / 'no.npz'}")
    assert "--label_embeddings: the records have no labels" in told
    scoreless = write(tmp_path / "b.jsonl", [{**one, "labels": ["a"]} for one in conversations()])
    told = refused(*words, f"--pool={scoreless}", f"--vocabulary={tmp_path / 'vocabulary.json'}")
    assert "--vocabulary: does not go with records that have labels and no score" in told


@pytest.mark.slow
def test_a_model_that_has_changed_under_its_name_is_another(tmp_path):
    """Each command in a process of its own, as a person runs it."""
    (tmp_path / "model").mkdir()
    model = tiny_sentence_encoder(tmp_path / "model")
    raw = write(tmp_path / "raw.jsonl", conversations())
    words = ["select", f"--pool={raw}", "--budget=5", f"--embedding_model={model}"]
    words += [f"--output={tmp_path / 'o.jsonl'}"]

    def looks():
        done = mig_as_a_person_runs_it(*words)
        assert done.returncode == 0, done.stderr
        return "looking at the pool" in done.stderr

    assert looks()
    assert not looks()
    import torch
    from sentence_transformers import SentenceTransformer

    changed = SentenceTransformer(str(model), device="cpu")
    with torch.no_grad():
        next(changed.parameters()).add_(1.0)
    changed.save(str(model))
    assert looks()


@pytest.mark.parametrize("own", [{"labels": ["a"], "score": 1.0}, {"score": 1.0}, {"labels": 7}])
def test_records_with_labels_of_their_own_are_not_passed_over(own, tmp_path, refused):
    records = conversations()
    records[70] |= own
    raw = write(tmp_path / "raw.jsonl", records)
    told = refused("select", f"--pool={raw}", "--budget=5", f"--output={tmp_path / 'o.jsonl'}")
    assert "raw.jsonl, line 71: has " in told
    assert "expected all records of a pool to have them, or none" in told
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "raw.jsonl"]


def test_records_with_labels_of_their_own_are_left_out_with_bad_ones(tmp_path, run):
    records = conversations()
    records[70] |= {"labels": ["a"], "score": 1.0}
    records[71] |= {"labels": 7}
    records[72] |= {"score": "high"}
    raw = write(tmp_path / "raw.jsonl", records)
    words = ["select", f"--pool={raw}", "--budget=77", f"--output={tmp_path / 'o.jsonl'}"]
    assert "3 bad records skipped" in run(*words, "--on_bad_record=skip")
    rejected = [json.loads(line) for line in (tmp_path / "o.rejected.jsonl").open()]
    assert [one["line"] for one in rejected] == [71, 72, 73]
    found = [one["reason"].partition(" of its own")[0] for one in rejected]
    assert found == ["has labels", "has labels", "has a score"]
    kept = [line for line in range(1, 81) if line not in (71, 72, 73)]
    assert sorted(picked(tmp_path / "o.jsonl")["line"]) == kept


@pytest.mark.parametrize("trouble", ["empty", "held", "no folder"])
def test_a_cache_that_cannot_keep_a_journal_ends_nothing(trouble, tmp_path, run, monkeypatch):
    """An empty file that a kill left, another run at the same pool, a file in place of a folder."""
    raw = write(tmp_path / "raw.jsonl", conversations())
    words = ["select", f"--pool={raw}", "--budget=5"]
    run(*words, f"--output={tmp_path / 'a.jsonl'}", "--cache=none")
    opened = []

    class Journal(annotation.Journal):
        def __enter__(self):
            opened.append(self.path)
            return super().__enter__()

    monkeypatch.setattr("mig_jax.commands.raw_pools.Journal", Journal)
    cache = tmp_path / "other"
    if trouble == "no folder":
        cache.write_text("")
        told = run(*words, f"--output={tmp_path / 'b.jsonl'}", f"--cache={cache}")
    else:
        run(*words, f"--output={tmp_path / 'b.jsonl'}", f"--cache={cache}")
        path = opened[0]
        assert os.path.dirname(path) == str(cache)
        for kept in cache.glob("*.npz"):
            kept.unlink()
        with open(path, "wb") as stream:
            if trouble == "held":
                fcntl.flock(stream, fcntl.LOCK_EX)
            told = run(*words, f"--output={tmp_path / 'b.jsonl'}", f"--cache={cache}")
    assert "what is made is kept nowhere until the end" in told
    assert (tmp_path / "b.jsonl").read_bytes() == (tmp_path / "a.jsonl").read_bytes()


def test_records_that_cannot_be_written_are_bad(tmp_path, run, refused):
    broken = {"messages": [{"role": "tool", "content": "x"}, {"role": "assistant", "content": "y"}]}
    raw = write(tmp_path / "raw.jsonl", [*conversations(), broken])
    words = ["select", f"--pool={raw}", "--budget=5", f"--output={tmp_path / 'o.jsonl'}"]
    assert "raw.jsonl, line 81" in refused(*words, "--output_layout=alpaca")
    run(*words, "--on_bad_record=skip")
    told = run(*words, "--output_layout=alpaca", "--on_bad_record=skip", "--budget=80")
    assert "looking at the pool" not in told  # As annotated for another layout.
    assert "1 bad record skipped" in told
    assert json.loads((tmp_path / "o.rejected.jsonl").read_text())["line"] == 81
    assert sorted(picked(tmp_path / "o.jsonl")["line"]) == [*range(1, 81)]


def test_pools_that_are_not_of_a_kind_are_refused(tmp_path, refused):
    labelled = [{**one, "labels": ["a"], "score": 1.0} for one in conversations(5)]
    one = write(tmp_path / "one.jsonl", labelled)
    two = write(tmp_path / "two.jsonl", conversations(5, seed=1))
    words = ["select", f"--pool={one}", f"--pool={two}", "--budget=5"]
    told = refused(*words, f"--output={tmp_path / 'o.jsonl'}")
    assert "two.jsonl: its records have no labels and no score, and those of" in told


@pytest.mark.slow
def test_several_processes_take_records_that_are_annotated(tmp_path):
    raw = write(tmp_path / "raw.jsonl", conversations(20))
    words = [f"--pool={raw}", "--budget=5", f"--output={tmp_path / 'o.jsonl'}", "--cache=none"]
    for process in start_together(words, words):
        told = process.communicate(timeout=300)[1]
        assert process.returncode == 2
        assert "expected what `mig-jax annotate` writes" in told


def test_embeddings_that_another_run_left_are_not_taken(tmp_path, run):
    """What stands beside an annotated pool is its own only if its manifest says so."""
    raw = write(tmp_path / "raw.jsonl", conversations())
    output = tmp_path / "annotated.jsonl"
    run("annotate", f"--pool={raw}", f"--output={output}")
    again = output.rename(tmp_path / "again.jsonl")
    run("annotate", f"--pool={again}", f"--output={output}", "--tagger=keep", "--scorer=keep")
    assert (tmp_path / "annotated.labels.npz").exists()
    told = run("select", f"--pool={output}", "--budget=5", f"--output={tmp_path / 'o.jsonl'}")
    assert "the label graph has no edges" in told


def test_new_records_take_the_labels_of_the_old(tmp_path, run, refused):
    """The way that `--extend` tells a raw pool that has grown."""
    old = write(tmp_path / "old.jsonl", conversations())
    new = write(tmp_path / "new.jsonl", conversations(20, seed=1))
    words = ["select", "--budget=10", f"--extend={tmp_path / 'was.jsonl'}"]
    run("select", f"--pool={old}", "--budget=10", f"--output={tmp_path / 'was.jsonl'}")
    words += [f"--output={tmp_path / 'now.jsonl'}"]
    told = refused(*words, f"--pool={old}", f"--pool={new}")
    assert "was.jsonl is of another run: the labels or scores that were made then" in told
    assert "--labels_from" in told
    a, b = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    run("annotate", f"--pool={old}", f"--output={a}")
    run("annotate", f"--pool={new}", f"--output={b}", f"--labels_from={tmp_path / 'a.labels.npz'}")
    run("select", f"--pool={a}", "--budget=10", f"--output={tmp_path / 'was.jsonl'}")
    told = run(*words, f"--pool={a}", f"--pool={b}")
    assert "label embeddings of" in told
    extended = json.loads((tmp_path / "now.manifest.json").read_text())["extended"]
    assert extended["kept"] or "new records may win" in extended["reason"]
    # Labels that another run found mean other things.
    run("annotate", f"--pool={new}", f"--output={b}")
    told = run("select", f"--pool={a}", f"--pool={b}", "--budget=5", f"--output={tmp_path / 'o'}")
    assert "annotated apart from each other" in told
    assert "the label graph has no edges" in told


def test_a_layout_or_field_that_was_named_must_be_there(tmp_path, refused):
    raw = write(tmp_path / "raw.jsonl", conversations())
    words = ["select", f"--pool={raw}", "--budget=5", f"--output={tmp_path / 'o.jsonl'}"]
    assert "raw.jsonl, line 1" in refused(*words, "--format=plain")
    told = refused(*words, "--field=labels=tags", "--field=score=quality")
    assert "raw.jsonl, line 1" in told


@pytest.mark.slow
def test_a_killed_run_goes_on_from_its_journal(tmp_path):
    raw = write(tmp_path / "raw.jsonl", conversations(6000))
    words = [sys.executable, "-m", "mig_jax", "select", f"--pool={raw}", "--budget=50"]
    words += [f"--output={tmp_path / 'o.jsonl'}"]
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT)}
    dies(at_journal(257), *words[3:], env=environment)
    (journal,) = (tmp_path / "cache").rglob("*.journal.jsonl")
    assert journal.read_bytes().count(b"\n") > 256
    assert not (tmp_path / "o.jsonl").exists()
    resumed = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    assert "resuming after" in resumed.stderr
    straight = tmp_path / "cache2"
    words[-1] = f"--output={tmp_path / 's.jsonl'}"
    subprocess.run(
        words, env=environment | {"XDG_CACHE_HOME": str(straight)}, capture_output=True, check=True
    )
    for ending in (".jsonl", ".selection.parquet"):
        found = [(tmp_path / name).with_suffix(ending).read_bytes() for name in ("o", "s")]
        assert found[0] == found[1]
    assert not list((tmp_path / "cache").rglob("*.journal.jsonl"))


@pytest.mark.parametrize(
    "more",
    [
        {"role": "prompter", "parent_id": None},
        {"question_id": 1, "category": "generic"},
        {"code": "def add(a, b):\n    return a + b", "test_list": ["assert add(1, 2) == 3"]},
        {"prompt": "What does it do?"},
        {"response": "It adds."},
    ],
)
@pytest.mark.parametrize("flags", [[], ["--dry_run"], ["--on_bad_record=skip"]])
def test_texts_that_are_one_side_of_a_conversation_are_refused(tmp_path, capsys, more, flags):
    texts = [{"text": f"Text {n} about {word}.", **more} for n, word in enumerate("abcdefgh")]
    pool, output = write(tmp_path / "pool.jsonl", texts), tmp_path / "out.jsonl"
    words = ["select", str(pool), "--budget=2", f"--output={output}", *flags]
    assert main(words) == 2
    (name, *_) = more
    assert f"text beside {name}, as one side of it" in capsys.readouterr().err
    assert not output.exists()
    # They have labels and scores, so that nobody need know what they say.
    known = [{**text, "mig_jax": {"labels": ["x"], "score": 1}} for text in texts]
    write(pool, known)
    assert main(words) == 0
