"""Plain taggers, scorers and filters work in several processes, with the same outcome."""

from __future__ import annotations

import io
import json
import os

import pytest

from mig_jax.annotation import (
    ExactDuplicates,
    Journal,
    Length,
    NearDuplicates,
    Needs,
    Overlaps,
    annotate,
    leave_out,
)
from mig_jax.data import read_conversations
from mig_jax.devices import over_processes
from mig_jax.errors import InputError


class Process:
    """Labels that tell the process, or not; knows how many samples came at once."""

    in_processes = True

    def __init__(self, tells=True):
        self.tells = tells

    def tag(self, samples):
        told = str(os.getpid()) if self.tells else "no"
        return [[told, sample.instruction, str(len(samples))] for sample in samples]


class Refused:
    in_processes = True

    def score(self, samples):
        return [[-1.0 if "7" in sample.instruction else 1.0] for sample in samples]


class Alone(Length):
    in_processes = False


@pytest.fixture
def pool(tmp_path):
    path = tmp_path / "pool.jsonl"
    lines = (f'{{"instruction": "q{n}", "output": "{"x" * n}"}}\n' for n in range(50))
    path.write_text("".join(lines))
    return path


def annotations(pool, tagger, scorer, workers, batch=4):
    name = str(pool.parent / "journal.jsonl")
    seen = []
    with Journal(name, {}, batch) as journal:
        records = read_conversations([pool])
        annotate(
            records, Needs(), tagger, {"one": scorer}, journal, batch, seen.append, workers=workers
        )
        found = list(journal.read())
        journal.finish()
    assert seen == sorted(seen)
    assert seen[-1] == 50
    return found


@pytest.mark.parametrize("workers", [2, 3])
def test_annotations_do_not_depend_on_the_processes(pool, workers):
    here = annotations(pool, Process(tells=False), Length(), 1)
    assert [one.scores["one"] for one in here] == [[float(n)] for n in range(50)]
    assert annotations(pool, Process(tells=False), Length(), workers) == here


def test_they_are_made_in_other_processes(pool):
    processes = {one.labels[0] for one in annotations(pool, Process(), Length(), 2)}
    assert str(os.getpid()) not in processes
    assert {one.labels[0] for one in annotations(pool, Process(), Length(), 1)} == {
        str(os.getpid())
    }


def test_one_that_does_not_say_so_stays_here_with_all(pool):
    processes = {one.labels[0] for one in annotations(pool, Process(), Alone(), 2)}
    assert processes == {str(os.getpid())}


def test_a_bad_score_is_told_of_the_first_record(pool):
    with pytest.raises(InputError, match=rf"one: gave \[-1.0\] for {pool}, line 8;"):
        annotations(pool, Process(), Refused(), 2)


class Counting:
    """A filter that leaves out what an earlier record asked, prepared or not."""

    kind = "asked before"

    def __init__(self):
        self.seen = {}

    def prepare(self, turns):
        return turns[0][1], os.getpid()

    def reason(self, where, turns):
        return self.decide(where, turns, self.prepare(turns))

    def decide(self, where, turns, found):
        return f"as {first}" if (first := self.seen.setdefault(found[0], where)) != where else None


class Plain:
    kind = "twos"

    def reason(self, where, turns):
        return "a two" if turns[0][1].endswith("2") else None


def left_out(pool, filters, workers):
    """What stays, and the lines of rejects, bad records that cannot be read included."""
    rejects, unread = io.BytesIO(), io.BytesIO()

    def records():
        for record in read_conversations([pool], on_bad_record="skip", rejects=unread):
            yield from filter(None, [unread.getvalue()])
            unread.seek(0)
            unread.truncate()
            yield record

    kept = leave_out(records(), Needs(), filters, skip=True, rejects=rejects, workers=workers)
    stays = [record.line for record in kept.of(read_conversations([pool], on_bad_record="skip"))]
    told = [json.loads(line) for line in rejects.getvalue().splitlines()]
    return stays, [(one["line"], one["reason"].split(";")[0]) for one in told]


@pytest.mark.parametrize("workers", [1, 2])
def test_filters_decide_in_order_however_many_prepare(tmp_path, workers):
    pool = tmp_path / "pool.jsonl"
    lines = [f'{{"instruction": "q{n % 150}", "output": "a"}}' for n in range(400)]
    lines[9] = "{"
    lines[200] = '{"instruction": "q", "output": 1}'
    pool.write_text("\n".join([*lines, '{"instruction": "", "output": ""}']))
    stays, told = left_out(pool, [Plain(), Counting()], workers)
    twos = [n for n in range(400) if n != 9 and n % 150 % 10 == 2 and n != 200]
    first = [n for n in range(150) if n not in (9, *twos)] + [159, 400]
    assert stays == [n + 1 for n in first]
    expected = {n + 1: "a two" for n in twos} | {
        n + 1: f"as {pool}, line {159 + 1 if n % 150 == 9 else n % 150 + 1}"
        for n in range(150, 400)
        if n not in (159, 200, *twos)
    }
    found = dict(told)
    assert found.pop(10).startswith("JSON is truncated")
    assert "found a number" in found.pop(201)
    assert found == expected
    assert [line for line, _ in told] == sorted(line for line, _ in told)


@pytest.mark.parametrize("workers", [1, 2])
def test_the_first_trouble_is_told(tmp_path, workers):
    """A record that lacks something, though a later one that is read ahead cannot be read."""
    pool = tmp_path / "pool.jsonl"
    one = '{"messages": [{"role": "user", "content": "q"}]}'
    pool.write_text("\n".join(['{"instruction": "q", "output": "a"}', one, "{"]))
    with pytest.raises(InputError, match="line 2: found no answer of the assistant"):
        leave_out(
            read_conversations([pool]),
            Needs(),
            [Counting()],
            skip=False,
            rejects=None,
            workers=workers,
        )


@pytest.mark.parametrize("workers", [1, 2])
def test_filters_find_the_same_in_other_processes(workers):
    pytest.importorskip("datasketch", reason="the extra annotate is not installed")
    words = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    texts = [" ".join(words[n % 7 :] * (2 + n % 5)) + " end" * (n % 3) for n in range(300)]
    records = [(f"line {n}", [("user", text)]) for n, text in enumerate(texts)]
    held_out = Overlaps([("test", [("user", " ".join(words + words))])], 13)
    for one, again in (
        (NearDuplicates(0.8), NearDuplicates(0.8)),
        (ExactDuplicates(), ExactDuplicates()),
        (held_out, held_out),
    ):
        expected = [one.reason(*record) for record in records]
        assert None in expected
        assert any(expected)
        if hasattr(again, "prepare"):
            found = over_processes(again.prepare, [turns for _, turns in records], workers)
            pairs = zip(records, found, strict=True)
            told = [again.decide(*record, of_one) for record, of_one in pairs]
            assert told == expected
