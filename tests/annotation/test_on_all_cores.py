"""Plain taggers and scorers work in several processes, to the same annotations."""

from __future__ import annotations

import os

import pytest

from mig_jax.annotation import Journal, Length, Needs, annotate
from mig_jax.data import read_conversations
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
