"""Taggers and scorers that look at the pool first."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from mig_jax.annotation import (
    Exchange,
    Length,
    Needs,
    Sample,
    drawn_numbers,
    drawn_samples,
    looking,
)
from mig_jax.data import read_conversations


class _Looking:
    def tag(self, samples):
        return [[] for _ in samples]

    def look(self, samples):
        self.seen = samples


def test_who_looks_is_known_by_its_method():
    one = _Looking()
    assert looking([Length(), one]) == [one]


def test_the_numbers_are_drawn_by_the_seed_and_without_favour():
    assert drawn_numbers(5, 5, 3).tolist() == [0, 1, 2, 3, 4]
    one, again, other = (drawn_numbers(1000, 100, seed).tolist() for seed in (1, 1, 2))
    assert one == again != other
    assert one == sorted(set(one)) == [n for n in one if 0 <= n < 1000]
    assert len(one) == 100
    counts = np.bincount(
        np.concatenate([drawn_numbers(20, 5, seed) for seed in range(2000)]), minlength=20
    )
    # 500 of each are expected, with a standard deviation of 19.
    assert np.all(np.abs(counts - 500) < 100)


def test_records_are_drawn_in_order_and_cut(tmp_path):
    pool = tmp_path / "pool.jsonl"
    long = "x" * 9000
    records = [f'{{"instruction": "q{n}", "output": "{long if n == 2 else n}"}}' for n in range(5)]
    turns = ",".join(
        f'{{"from": "{who}", "value": "{long}"}}' for _, who in itertools.product("123456", "hg")
    )
    turns = turns.replace('"h"', '"human"').replace('"g"', '"gpt"')
    pool.write_text("\n".join([*records, f'{{"conversations": [{turns}]}}']) + "\n")
    found = list(drawn_samples(read_conversations([pool]), Needs(), np.array([0, 2, 5])))
    assert found[0] == Sample((Exchange("q0", "0"),))
    [[question, answer]] = found[1].exchanges
    assert (question, answer) == ("q2", long[:4000])
    assert [len(text) for one in found[2].exchanges for text in one] == [4000] * 4


@pytest.mark.parametrize("most", [1, 2])
def test_all_records_are_read_whatever_is_drawn(most):
    """So that a pool that has changed is told."""
    read = []

    def records():
        for number in range(10):
            read.append(number)
            yield None

    class Any(Needs):
        def sample_of(self, record):
            return Sample((Exchange("a", "b"),))

    assert len(list(drawn_samples(records(), Any(), np.arange(most)))) == most
    assert read == list(range(10))
