"""`mig-jax annotate` as a person uses it; with what needs no model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from mig_jax import data
from mig_jax.annotation import Annotation, Journal
from mig_jax.commands.main import main
from mig_jax.errors import InputError


class Mig:
    """Runs the command in this process: its status, and what it says."""

    def __init__(self, capsys):
        self._capsys = capsys

    def __call__(self, *arguments):
        self._capsys.readouterr()
        self.status = main([str(argument) for argument in arguments])
        self.stdout, self.stderr = self._capsys.readouterr()
        return self

    def refused(self, *arguments):
        """The one line that the command says when it exits with 2."""
        assert self(*arguments).status == 2, self.stderr
        return self.stderr.replace("\r", "\n").strip().splitlines()[-1]


@pytest.fixture
def mig(capsys):
    return Mig(capsys)


def _record(question, answer, **more):
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"messages": turns, **more}


def _write(path, records):
    lines = [line if isinstance(line, str) else json.dumps(line) for line in records]
    path.write_text("\n".join(lines) + "\n")
    return path


def _read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def _names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_scores_are_combined_and_the_rest_stays_byte_for_byte(tmp_path, mig):
    texts = [
        '{"messages": [{"role":"user","content":"q"}, {"role":"assistant","content":"abcd"}],'
        ' "tags": ["x", "y", "x"], "n": 1.50, "big": 123456789012345678901234567890 }',
        '{"messages": [{"content":"q"},{"content":"ab"},{"content":"q"},{"content":"abcdef"}],'
        '"tags":["x"],"é":"\\u00e9"}',
    ]
    pool = _write(tmp_path / "pool.jsonl", texts)
    output = tmp_path / "out.jsonl"
    base = ("annotate", f"--pool={pool}", f"--output={output}", "--tagger=keep")
    result = mig(*base, "--field=labels=tags", "--scorer=length", "--scorer=tag_count")
    assert result.status == 0, result.stderr
    # 4 characters x 2 tags; (2 + 6) / 2 characters x 1 tag.
    assert output.read_text().splitlines() == [
        texts[0].removesuffix(" }") + ',"labels":["x","y"],"score":8.0}',
        texts[1].removesuffix("}") + ',"labels":["x"],"score":4.0}',
    ]
    assert _names(tmp_path) == ["out.annotation.json", "out.jsonl", "pool.jsonl"]
    about = json.loads((tmp_path / "out.annotation.json").read_text())
    assert about["records"] == {"annotated": 2, "left_out": {}}
    assert about["scores"]["length"] == {"least": 4.0, "median": 4.0, "greatest": 4.0}
    assert about["labels"]["distinct"] == 2
    # length is the same for both, and said so; tag_count is not.
    assert "warning: --scorer=length gave nearly the same value" in result.stderr
    assert "--scorer=tag_count gave" not in result.stderr

    table = data.read_pool([output])
    assert list(table.label_names) == ["x", "y"]
    assert table.scores.tolist() == [8.0, 4.0]

    result = mig(*base, "--field=labels=tags", "--scorer=tag_count:3", "--combine=ranks")
    assert result.status == 0, result.stderr
    assert [record["score"] for record in _read(output)] == [1.0, 0.0]


def test_labels_and_scores_that_were_there_are_replaced(tmp_path, mig):
    deita = {"quality_scores": [2.0], "complexity_scores": [3.0]}
    annotation = {"instag": {"content": ["a b"]}, "deita": deita, "dialog_round": 1}
    turns = _record("q", "abc")["messages"]
    records = [
        {"dialogs": turns, "annotation": annotation, "id": 1},
        {"dialogs": turns, "annotation": {**annotation, "dialog_round": 2}, "id": 2},
    ]
    pool, output = _write(tmp_path / "pool.jsonl", records), tmp_path / "out.jsonl"
    base = ("annotate", f"--pool={pool}", f"--output={output}", "--tagger=keep")
    assert mig(*base, "--scorer=length").status == 0
    kept = {"labels": ["a b"], "score": 3.0}
    assert _read(output) == [
        {"dialogs": turns, "annotation": {"dialog_round": n}, "id": n, **kept} for n in (1, 2)
    ]
    assert data.read_pool([output]).scores.tolist() == [3.0, 3.0]
    assert mig(*base, "--scorer=keep").status == 0
    assert [record["score"] for record in _read(output)] == [6.0, 6.0]


def test_what_is_left_out_is_kept_with_its_reason(tmp_path, mig):
    words = " ".join(f"w{n}" for n in range(20))
    records = [
        _record("one", "1", labels=["x"]),
        _record("two", "2"),
        "not json",
        _record("one", "1", labels=["y"], id="again"),
        _record(words, "held out", labels=["x"]),
        {"messages": [{"role": "user", "content": "unanswered"}], "labels": ["x"]},
        _record("three", "3", labels=["z"]),
    ]
    pool = _write(tmp_path / "pool.jsonl", records)
    held_out = _write(tmp_path / "test.jsonl", [_record(f"Is it {words}?", "yes")])
    output = tmp_path / "out.jsonl"
    base = (
        "annotate",
        f"--pool={pool}",
        f"--output={output}",
        "--tagger=keep",
        "--scorer=length",
        "--deduplicate=exact",
        f"--exclude_overlap={held_out}",
    )
    told = mig.refused(*base)
    assert "pool.jsonl, line 2, field labels: missing, expected the labels to keep" in told
    assert _names(tmp_path) == ["pool.jsonl", "test.jsonl"]

    result = mig(*base, "--on_bad_record=skip")
    assert result.status == 0, result.stderr
    assert [record["labels"] for record in _read(output)] == [["x"], ["z"]]
    rejected = _read(tmp_path / "out.rejected.jsonl")
    assert [reject["line"] for reject in rejected] == [2, 3, 4, 5, 6]
    assert rejected[1]["text"] == "not json"
    assert rejected[2]["reason"] == f"exact duplicate of {pool}, line 1"
    assert rejected[3]["reason"].startswith(f"shares 13 words with {held_out}, line 1: w0 w1")
    assert json.loads(rejected[2]["text"])["id"] == "again"
    left_out = json.loads((tmp_path / "out.annotation.json").read_text())["records"]["left_out"]
    assert left_out == {
        "bad records": 3,
        "exact duplicates": 1,
        "overlaps with an evaluation": 1,
    }
    assert "left out 3 bad records, 1 exact duplicates, 1 overlaps" in result.stdout


def test_a_killed_run_goes_on_to_the_same_bytes(tmp_path, mig):
    pool = tmp_path / "pool.jsonl"
    assert mig("make_pool", "--records=6000", f"--output={pool}").status == 0

    def arguments(folder):
        folder.mkdir(exist_ok=True)
        return (
            "annotate",
            f"--pool={pool}",
            f"--output={folder / 'out.jsonl'}",
            "--tagger=keep",
            "--scorer=length",
            "--scorer=tag_count",
            "--combine=ranks",
            "--batch_size=7",
            "--deduplicate=exact",
        )

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert mig(*arguments(whole)).status == 0
    journal = killed / "out.journal.jsonl"
    process = subprocess.Popen(
        [sys.executable, "-m", "mig_jax", *arguments(killed)], stderr=subprocess.DEVNULL
    )
    while process.poll() is None and not (journal.exists() and journal.stat().st_size > 5000):
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it ended before it could be killed"
    assert not (killed / "out.jsonl").exists()
    # The kill may also have come within a line.
    with open(journal, "ab") as stream:
        stream.write(b'{"labels":["half')
    told = mig.refused(*arguments(killed), "--tagger=instag")
    assert "belongs to another run: tagger (keep; now instag) differs" in told
    text = pool.read_bytes()
    pool.write_bytes(text.replace(b"e", b"a", 1))
    assert "belongs to another run: pool differs" in mig.refused(*arguments(killed))
    pool.write_bytes(text)  # Of another time, but the same contents.
    result = mig(*arguments(killed))
    assert result.status == 0, result.stderr
    assert "resuming after" in result.stderr
    names = [name for name in _names(whole) if name != "out.annotation.json"]
    assert names == ["out.jsonl", "out.rejected.jsonl"]
    for name in names:
        assert (killed / name).read_bytes() == (whole / name).read_bytes()
    assert not journal.exists()


def test_a_journal_drops_what_is_no_whole_batch(tmp_path):
    path, run = str(tmp_path / "j"), {"a": 1, "b": [2]}
    found = [Annotation([str(n)], {"s": [float(n)]}) for n in range(7)]
    with Journal(path, run, 3) as journal:
        journal.append(found[:3])
        journal.append(found[3:6])
        journal.append(found[6:])
        with pytest.raises(InputError, match="another run is using it"):
            Journal(path, run, 3).__enter__()
    whole = (tmp_path / "j").read_bytes()
    header = whole.index(b"\n") + 1
    for size in range(header, len(whole) + 1):
        (tmp_path / "j").write_bytes(whole[:size])
        lines = max(whole[:size].count(b"\n") - 1, 0)
        with Journal(path, run, 3) as journal:
            assert journal.done == lines // 3 * 3
            assert list(journal.read()) == found[: journal.done]
            journal.append(found[journal.done :])
            assert list(journal.read()) == found
    with pytest.raises(InputError, match=r"b \(\[2\]; now \[3\]\) differs"):
        Journal(path, {"a": 1, "b": [3]}, 3).__enter__()
    for foreign in (b"something else\n", b"half a li", b"", whole[: header - 1]):
        (tmp_path / "j").write_bytes(foreign)
        with pytest.raises(InputError, match="its first line is no record of mig_jax journal"):
            Journal(path, run, 3).__enter__()
        assert (tmp_path / "j").read_bytes() == foreign


def test_tags_are_normalised_alone_and_by_a_mapping(tmp_path, mig):
    records = [
        _record("q", "a", labels=["NLP", "rare"], score=1.0),
        _record("q", "b", labels=["nlp", "nlp "], score=2.0),
        _record("q", "c", labels=["n-l-p", "nlp"], score=0.5),
    ]
    pool, output = _write(tmp_path / "pool.jsonl", records), tmp_path / "out.jsonl"
    result = mig(
        "normalise_tags",
        f"--pool={pool}",
        f"--output={output}",
        "--min_tag_count=2",
        "--tag_distance=0",
    )
    assert result.status == 0, result.stderr
    assert [(r["labels"], r["score"]) for r in _read(output)] == [
        (["nlp"], 1.0),
        (["nlp"], 2.0),
        (["nlp"], 0.5),
    ]
    mapping = tmp_path / "out.tag_mapping.json"
    expected = {"NLP": "nlp", "nlp": "nlp", "nlp ": "nlp", "rare": None, "n-l-p": None}
    assert json.loads(mapping.read_text()) == expected
    again = tmp_path / "again.jsonl"
    base = ("annotate", f"--pool={pool}", "--tagger=keep", "--scorer=tag_count")
    result = mig(*base, f"--output={again}", f"--tag_mapping={mapping}")
    assert result.status == 0, result.stderr
    # The scorer counts what the mapping has left.
    assert [(r["labels"], r["score"]) for r in _read(again)] == [(["nlp"], 1.0)] * 3


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--tagger=keep"], "--scorer: missing"),
        (["--scorer=length"], "--tagger: missing"),
        (["--tagger=keep", "--scorer=depth"], "--scorer: found depth, expected one of"),
        (["--tagger=embedding", "--scorer=length"], "--tagger=embedding: needs --vocabulary=FILE"),
        (["--tagger=keep", "--scorer=keep", "--tag_mapping=MISSING"], "MISSING: no such file"),
        (["--tagger=keep", "--scorer=ifd"], "--ifd_model: missing, expected"),
        (
            ["--tagger=keep", "--scorer=length", "--normalise_tags", "--tag_mapping=x"],
            "--tag_mapping: does not go with --normalise_tags",
        ),
    ],
)
def test_flags_that_cannot_be_are_told(flags, told, tmp_path, mig):
    pool = _write(tmp_path / "pool.jsonl", [_record("q", "a", labels=["x"], score=1.0)])
    assert told in mig.refused(
        "annotate", f"--pool={pool}", f"--output={tmp_path / 'o.jsonl'}", *flags
    )
    assert _names(tmp_path) == ["pool.jsonl"]


@pytest.mark.parametrize(
    ("flags", "module"),
    [
        (["--deduplicate=near"], "datasketch"),
        (["--scorer=relevance"], "sentence_transformers"),
        (["--scorer=ifd", "--ifd_model=m"], "torch"),
        (["--normalise_tags"], "sentence_transformers"),
    ],
)
def test_a_missing_extra_is_told(flags, module, tmp_path, mig, monkeypatch):
    pool = _write(tmp_path / "pool.jsonl", [_record("q", "a", labels=["x"], score=1.0)])
    monkeypatch.setitem(sys.modules, module, None)
    arguments = ["annotate", f"--pool={pool}", f"--output={tmp_path / 'o'}", "--tagger=keep"]
    scorer = [] if any(flag.startswith("--scorer") for flag in flags) else ["--scorer=keep"]
    assert "pip install 'mig-jax[annotate]'" in mig.refused(*arguments, *scorer, *flags)
