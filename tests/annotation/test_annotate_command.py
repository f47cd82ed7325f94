"""`mig-jax annotate` as a person uses it; with what needs no model."""

from __future__ import annotations

import json
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mig_jax import annotation, data
from mig_jax.annotation import Annotation, Journal
from mig_jax.commands.main import main
from mig_jax.errors import InputError
from tests.dying import at_journal, dies


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
        ' "labels": ["x", "y", "x"], "n": 1.50, "big": 123456789012345678901234567890 }',
        '{"messages": [{"content":"q"},{"content":"ab"},{"content":"q"},{"content":"abcdef"}],'
        '"labels":["x"],"é":"\\u00e9"}',
    ]
    pool = _write(tmp_path / "pool.jsonl", texts)
    output = tmp_path / "out.jsonl"
    base = ("annotate", f"--pool={pool}", f"--output={output}", "--tagger=keep")
    result = mig(*base, "--scorer=length", "--scorer=tag_count")
    assert result.status == 0, result.stderr
    # 4 characters x 2 labels; (2 + 6) / 2 characters x 1 label.
    assert output.read_text().splitlines() == [
        texts[0].removesuffix(" }") + ',"mig_jax":{"labels":["x","y"],"score":8.0}}',
        texts[1].removesuffix("}") + ',"mig_jax":{"labels":["x"],"score":4.0}}',
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

    result = mig(*base, "--scorer=tag_count:3", "--combine=ranks")
    assert result.status == 0, result.stderr
    assert [record["mig_jax"]["score"] for record in _read(output)] == [1.0, 0.0]
    assert [record["labels"] for record in _read(output)] == [["x", "y", "x"], ["x"]]


def test_labels_and_scores_are_kept_from_where_they_are(tmp_path, mig):
    deita = {"quality_scores": [2.0], "complexity_scores": [3.0]}
    annotation = {"instag": {"content": ["a b"]}, "deita": deita, "dialog_round": 1}
    turns = _record("q", "abc")["messages"]
    records = [
        {"dialogs": turns, "annotation": annotation, "id": 1},
        {"dialogs": turns, "annotation": annotation, "labels": ["own"], "score": 5.0},
        {"dialogs": turns, "labels": 3, "score": "x", "mig_jax": {"labels": [], "score": 7}},
    ]
    pool, output = _write(tmp_path / "pool.jsonl", records), tmp_path / "out.jsonl"
    base = ("annotate", f"--pool={pool}", f"--output={output}", "--tagger=keep")
    assert mig(*base, "--scorer=keep").status == 0
    found = [(["a b"], 6.0), (["own"], 5.0), ([], 7.0)]
    ours = [{"labels": labels, "score": score} for labels, score in found]
    assert _read(output) == [one | {"mig_jax": new} for one, new in zip(records, ours, strict=True)]
    assert data.read_pool([output]).scores.tolist() == [6.0, 5.0, 7.0]
    # It is read by trainers and by whom it belongs to as before.
    assert mig(*base, "--scorer=length", "--format=xsample", "--on_bad_record=skip").status == 0
    assert _read(output) == [
        one | {"mig_jax": {"labels": ["a b"], "score": 3.0}} for one in records[:2]
    ]


_OWN = {"labels": {"quality": 0.9}, "score": "good", "annotation": {"instag": [1], "deita": 2}}


class _Tagger:
    """Stands for a tagger that works with a model."""

    def tag(self, samples):
        assert all(sample.labels is None for sample in samples)
        return [["new", " ", "\u200b"] for _ in samples]


@pytest.fixture
def tagger(monkeypatch):
    monkeypatch.setitem(annotation.TAGGERS, "instag", lambda options: _Tagger())
    return ("--tagger=instag", "--scorer=length")


@pytest.mark.parametrize("ending", ["jsonl", "json", "parquet"])
def test_what_is_the_user_s_stays(tmp_path, mig, tagger, ending):
    records = [_record("q", "a" * n, **_OWN, meta={"x": [n], "tags": None}) for n in (1, 2)]
    pool, output = tmp_path / f"pool.{ending}", tmp_path / "out.jsonl"
    if ending == "parquet":
        pq.write_table(pa.Table.from_pylist(records), pool)
    else:
        pool.write_text(
            json.dumps(records, indent=1)
            if ending == "json"
            else "".join(f"{json.dumps(record)}\n" for record in records)
        )
    base = ("annotate", f"--pool={pool}", f"--output={output}", *tagger)
    assert mig(*base).status == 0, mig.stderr
    expected = [{"labels": ["new"], "score": float(n)} for n in (1, 2)]
    assert _read(output) == [
        record | {"mig_jax": ours} for record, ours in zip(records, expected, strict=True)
    ]
    assert "replaced" not in mig.stdout
    table = data.read_pool([output])
    assert (table.label_names, table.scores.tolist()) == (["new"], [1.0, 2.0])

    assert mig(*base, "--field=labels=meta.tags").status == 0, mig.stderr
    assert _read(output) == [
        record | {"meta": {"x": [n], "tags": ["new"]}, "mig_jax": {"score": float(n)}}
        for n, record in enumerate(records, 1)
    ]
    table = data.read_pool([output], fields={"labels": "meta.tags"})
    assert (table.label_names, table.scores.tolist()) == (["new"], [1.0, 2.0])

    named = ("--field=labels=mine", "--field=score=stars.all")
    assert mig(*base, *named).status == 0, mig.stderr
    assert _read(output) == [
        record | {"mine": ["new"], "stars": {"all": float(n)}}
        for n, record in enumerate(records, 1)
    ]
    about = json.loads((tmp_path / "out.annotation.json").read_text())
    assert about["fields"] == {"labels": "mine", "score": "stars.all"}
    assert about["replaced"] == {}


def test_what_is_replaced_is_counted_and_told(tmp_path, mig, tagger):
    texts = [
        '{"mine": ["a", 1], "instruction": "q", "n": 1.50, "output": "xy", "labels": 3}',
        '{"instruction":"q","output":"x","mine":"b","stars":  {"all": 3, "b": 1e2}, "e":"\\u00e9"}',
        '{"instruction":"q","output":"x", "mine": null, "mine": ["new"], "stars": {"b": 123456789'
        "01234567890}}",
    ]
    pool, output = _write(tmp_path / "pool.jsonl", texts), tmp_path / "out.jsonl"
    base = ("annotate", f"--pool={pool}", f"--output={output}", *tagger)
    result = mig(*base, "--field=labels=mine", "--field=score=stars.all")
    assert result.status == 0, result.stderr
    assert output.read_text().splitlines() == [
        '{"mine":["new"],"instruction":"q","n":1.50,"output":"xy","labels":3,"stars":{"all":2.0}}',
        '{"instruction":"q","output":"x","mine":["new"],"stars":{"all":1.0,"b":1e2},"e":"\\u00e9"}',
        '{"instruction":"q","output":"x","mine":["new"],"stars":{"b": 12345678901234567890,'
        '"all":1.0}}',
    ]
    assert "replaced the labels of 2 records (field mine)" in result.stdout
    assert "replaced the score of 1 record (field stars.all)" in result.stdout
    about = json.loads((tmp_path / "out.annotation.json").read_text())
    assert about["replaced"] == {"mine": 2, "stars.all": 1}

    # An earlier field of ours is replaced, too; what else it holds stays.
    text = '{"instruction":"q","output":"x","mig_jax":{"by":"me","labels":["old"],"score":1}}'
    _write(pool, [text])
    assert "replaced the labels of 1 record (field mig_jax.labels)" in mig(*base).stdout
    assert output.read_text() == text.replace("old", "new").replace(":1}", ":1.0}") + "\n"


@pytest.mark.parametrize(
    ("more", "flags", "told"),
    [
        ({"mig_jax": "mine"}, [], 'field mig_jax: found "mine", expected an object, in which mig'),
        ({"mig_jax": [1]}, [], "field mig_jax: found [1], expected an object"),
        ({"meta": 3}, ["--field=labels=meta.tags"], "field meta: found 3, expected an object, in"),
        ({"a": {"b": [{}]}}, ["--field=score=a.b.c"], "field a.b: found [{}], expected an object"),
        ({}, ["--field=labels=messages"], "field messages: is part of the conversation; messages"),
        ({}, ["--field=score=messages.x"], "field messages: is part of the conversation"),
        ({}, ["--field=labels=mig_jax"], "one within the other; expected a field of its own"),
    ],
)
def test_what_is_in_the_way_is_told_before_the_models_work(
    more, flags, told, tmp_path, mig, monkeypatch
):
    class Never:
        def tag(self, samples):
            raise AssertionError("it has worked")

    monkeypatch.setitem(annotation.TAGGERS, "instag", lambda options: Never())
    pool = _write(tmp_path / "pool.jsonl", [_record("q", "a"), _record("q", "b", **more)])
    base = ("annotate", f"--pool={pool}", f"--output={tmp_path / 'o.jsonl'}", *flags)
    assert told in mig.refused(*base, "--tagger=instag", "--scorer=length")
    assert _names(tmp_path) == ["pool.jsonl"]


def test_a_question_without_words_has_no_label(tmp_path, mig, tagger):
    image = [{"type": "image_url", "image_url": {"url": "data:,"}}]
    records = [
        _record("q", "abc"),
        _record("", "abc"),
        _record(" \u200b\n", "abc"),
        _record(image, "abc"),
        _record("<image>\n<image>", "abc"),
        _record("<image>\nWhat is it?", "abc"),
        _record("?", "abc"),
    ]
    pool, output = _write(tmp_path / "pool.jsonl", records), tmp_path / "out.jsonl"
    base = ("annotate", f"--pool={pool}", f"--output={output}")
    result = mig(*base, *tagger)
    assert result.status == 0, result.stderr
    labels = [record["mig_jax"]["labels"] for record in _read(output)]
    assert labels == [["new"], [], [], [], [], ["new"], ["new"]]
    assert "4 records ask nothing in words; they get no label" in result.stderr
    about = json.loads((tmp_path / "out.annotation.json").read_text())["labels"]
    assert (about["records_without"], about["records_asking_nothing"]) == (4, 4)
    # Labels that a record has are kept.
    _write(pool, [one | {"labels": ["own", "", "  "], "score": 1} for one in records])
    assert mig(*base, "--tagger=keep", "--scorer=keep").status == 0
    assert [record["mig_jax"]["labels"] for record in _read(output)] == [["own"]] * 7


def test_halves_of_characters_stay(tmp_path, mig, monkeypatch):
    class Half:
        def tag(self, samples):
            for sample in samples:
                sample.instruction.encode()
            return [["x\ud83d"] for _ in samples]

    monkeypatch.setitem(annotation.TAGGERS, "instag", lambda options: Half())
    text = '{"instruction":"q\\ud83d","output":"é\\ude00","\\ud800é":1, "x": {"y":"\\udc00"}}'
    pool, output = _write(tmp_path / "pool.jsonl", [text]), tmp_path / "out.jsonl"
    base = ("annotate", f"--pool={pool}", f"--output={output}", "--tagger=instag")
    assert mig(*base, "--scorer=length", "--deduplicate=exact").status == 0, mig.stderr
    assert output.read_text() == text[:-1] + ',"mig_jax":{"labels":["x?"],"score":2.0}}\n'
    assert mig(*base, "--scorer=length", "--field=labels=x.z").status == 0, mig.stderr
    expected = json.loads(text) | {"mig_jax": {"score": 2.0}}
    expected["x"]["z"] = ["x?"]
    assert _read(output) == [expected]


def test_only_new_records_are_kept(tmp_path, mig, tagger):
    old = [_record("one", "1"), {"instruction": "two", "output": "2"}]
    _write(tmp_path / "old.jsonl", old)
    (tmp_path / "older.json").write_text(json.dumps([_record("three", "3", labels=4)]))
    records = [_record(word, str(n)) for n, word in enumerate(["zero", "one", "two", "three"])]
    pool = _write(tmp_path / "pool.jsonl", [*records, _record("zero", "0")])
    output = tmp_path / "out.jsonl"
    flags = [f"--deduplicate_against={tmp_path / name}" for name in ("old.jsonl", "older.json")]
    base = ("annotate", f"--pool={pool}", f"--output={output}", *tagger)
    assert mig(*base, *flags).status == 0, mig.stderr
    # Among themselves records may be alike.
    assert [one["messages"][0]["content"] for one in _read(output)] == ["zero", "zero"]
    assert [(one["line"], one["reason"]) for one in _read(tmp_path / "out.rejected.jsonl")] == [
        (2, f"exact duplicate of {tmp_path / 'old.jsonl'}, line 1"),
        (3, f"exact duplicate of {tmp_path / 'old.jsonl'}, line 2"),
        (4, f"exact duplicate of {tmp_path / 'older.json'}, line 1"),
    ]
    about = json.loads((tmp_path / "out.annotation.json").read_text())
    assert about["sources"] == [
        {"file": str(pool), "records": 5, "written": 2, "left_out": {"exact duplicates": 3}}
    ]
    assert mig(*base, *flags, "--deduplicate=exact").status == 0
    assert len(_read(output)) == 1
    told = mig.refused(*base, f"--deduplicate_against={pool}")
    assert "is a file of --pool; expected another" in told
    told = mig.refused(*base[:2], f"--output={tmp_path / 'old.jsonl'}", *tagger, *flags)
    assert "is an input" in told
    assert _read(tmp_path / "old.jsonl") == old


def test_another_reference_set_is_another_run(tmp_path, mig, monkeypatch):
    class Broken:
        def tag(self, samples):
            if samples[0].exchanges[0].instruction == "q1":
                raise InputError("stopped here")
            return [["x"] for _ in samples]

    monkeypatch.setitem(annotation.TAGGERS, "instag", lambda options: Broken())
    pool = _write(tmp_path / "pool.jsonl", [_record(f"q{n}", "a") for n in range(3)])
    known = _write(tmp_path / "known.jsonl", [_record("q9", "a")])
    base = ("annotate", f"--pool={pool}", f"--output={tmp_path / 'o.jsonl'}", "--batch_size=1")
    flags = ("--tagger=instag", "--scorer=length", f"--deduplicate_against={known}")
    assert "stopped here" in mig.refused(*base, *flags)
    assert "stopped here" in mig.refused(*base, *flags)
    assert "resuming after 1 of 3" in mig.stderr
    _write(known, [_record("q0", "a")])
    told = mig.refused(*base, *flags)
    assert "belongs to another run: deduplicate_against differs" in told


def test_counts_of_each_file(tmp_path, mig):
    good = [_record(f"q{n}", "a", labels=["x"], meta={"from": "ab"[n % 2]}) for n in range(3)]
    first = _write(tmp_path / "a.jsonl", [good[0], "no JSON", good[1], good[0]])
    second = _write(tmp_path / "b.jsonl", [good[2], good[1], _record("q", "a")])
    held_out = _write(tmp_path / "test.jsonl", [_record("Q2?", "a")])
    output = tmp_path / "out.jsonl"
    result = mig(
        "annotate",
        f"--pool={first}",
        f"--pool={second}",
        f"--output={output}",
        "--tagger=keep",
        "--scorer=length",
        "--deduplicate=exact",
        f"--exclude_overlap={held_out}",
        "--on_bad_record=skip",
        "--count_by=meta.from",
    )
    assert result.status == 0, result.stderr
    about = json.loads((tmp_path / "out.annotation.json").read_text())
    assert about["counts"]["field"] == "meta.from"
    assert about["counts"]["values"] == [
        {"value": "a", "records": 3, "written": 1},
        {"value": "b", "records": 2, "written": 1},
        {"value": "(none)", "records": 1, "written": 0},
    ]
    assert "a.jsonl  2 of 4\n" in result.stdout
    assert "  by meta.from:\n    a       1 of 3\n" in result.stdout
    assert about["sources"] == [
        {
            "file": str(first),
            "records": 4,
            "written": 2,
            "left_out": {"bad records": 1, "exact duplicates": 1},
        },
        {
            "file": str(second),
            "records": 3,
            "written": 0,
            "left_out": {"bad records": 1, "exact duplicates": 1, "overlaps with an evaluation": 1},
        },
    ]
    assert "1 of 1 records ask in fewer than 13 words, and are compared as a whole" in result.stderr
    # length is the same for all, and said so once.
    assert result.stderr.count("warning: ") == 1


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
    told = mig.refused(*base, "--field=labels=meta.mine")
    assert "pool.jsonl, line 1, field meta.mine: missing, expected the labels to keep" in told
    assert _names(tmp_path) == ["pool.jsonl", "test.jsonl"]

    result = mig(*base, "--on_bad_record=skip")
    assert result.status == 0, result.stderr
    assert [record["mig_jax"]["labels"] for record in _read(output)] == [["x"], ["z"]]
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
    dies(at_journal(100), *arguments(killed))
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


def test_scores_that_stay_are_not_judged(tmp_path, mig):
    """A scorer that nobody has named is not warned of, however alike its values are."""
    records = [_record("q", text, labels=["nlp"], score=1.0) for text in "abc"]
    pool, output = _write(tmp_path / "pool.jsonl", records), tmp_path / "out.jsonl"
    flags = [f"--pool={pool}", f"--output={output}", "--min_tag_count=1", "--tag_distance=0"]
    result = mig("normalise_tags", *flags)
    assert result.status == 0, result.stderr
    assert "warning" not in result.stderr


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
    assert [(*r["mig_jax"].values(),) for r in _read(output)] == [
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
    assert [(*r["mig_jax"].values(),) for r in _read(again)] == [(["nlp"], 1.0)] * 3


@pytest.mark.parametrize(
    ("flags", "told"),
    [
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


def test_the_default_score_is_of_the_texts(tmp_path, mig):
    whole = [
        _record(f"What is n{i} of k{i}?", f"The n{i} is a k{i}, then b{i}.") for i in range(40)
    ]
    pool = _write(tmp_path / "pool.jsonl", [*whole, _record("What is n0 of k0?", " \u200b")])
    output = tmp_path / "o.jsonl"
    result = mig("annotate", f"--pool={pool}", f"--output={output}")
    assert result.status == 0, result.stderr
    assert result.stderr.count("--scorer=signals: ") == 1
    scores = [record["mig_jax"]["score"] for record in _read(output)]
    assert scores[-1] == 0 < 0.2 < min(scores[:-1])
    assert max(scores) <= 1
