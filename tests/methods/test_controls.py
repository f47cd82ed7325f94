"""Choices at random keep what they say, and nothing else."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mig_jax.methods import METHODS, Limits, choose, random_of_lengths
from tests.methods.pools import random_candidates

SEEDS = st.integers(0, 2**32 - 1)


def with_costs(costs, groups=None):
    few = random_candidates(np.random.default_rng(0), 1)
    number = len(costs)
    return dataclasses.replace(
        few,
        scores=np.ones(number, np.float32),
        costs=np.asarray(costs, np.int64),
        groups=groups,
        offsets=np.zeros(number + 1, np.int64),
        labels=np.zeros(0, np.int32),
    )


def test_random_takes_every_record_as_often():
    pool = with_costs(np.ones(10))
    drawn = [choose("random", pool, Limits(records=3), seed=seed) for seed in range(2000)]
    counts = np.bincount(np.concatenate(drawn), minlength=10)
    assert np.abs(counts - 600).max() < 5 * np.sqrt(600 * 0.7)
    first = np.bincount([picks[0] for picks in drawn], minlength=10)
    assert np.abs(first - 200).max() < 5 * np.sqrt(200)


@given(SEEDS, st.booleans())
def test_quotas_give_every_group_its_share(seed, by_tokens):
    rng = np.random.default_rng(seed)
    groups = rng.permutation(np.repeat([0, 2, 5], 30))
    costs = rng.integers(1, 4, 90) * (1 + groups)  # 18 at most.
    limits = Limits(tokens=120) if by_tokens else Limits(records=60)
    picks = choose("random_quotas", with_costs(costs, groups), limits, seed=seed)
    weights = costs[picks] if by_tokens else np.ones(60)
    shares = np.bincount(groups[picks], weights, 6)[[0, 2, 5]]
    # By tokens the last records may not fit.
    assert np.ptp(shares) <= (2 * 18 if by_tokens else 0)


def test_quotas_go_on_with_the_groups_that_are_left():
    groups = np.array([0, 1, 1, 1, 1])
    picks = choose("random_quotas", with_costs(np.ones(5), groups), Limits(records=4))
    assert groups[picks].tolist() == [0, 1, 1, 1]


@given(SEEDS, st.integers(1, 20), st.integers(1, 60))
def test_lengths_are_those_given(seed, bins, number):
    """Each bin has as many as of those given, whatever the pool has more of."""
    rng = np.random.default_rng(seed)
    given_lengths = rng.integers(20, 80, number)
    # Enough in each bin: every length that is given, so often, and many others.
    costs = rng.permutation(np.concatenate([given_lengths, rng.integers(1, 200, 300)]))
    order = random_of_lengths(given_lengths, bins)(with_costs(costs), rng, Limits())
    every = list(order)
    found = costs[every[:number]]
    edges = np.quantile(given_lengths, np.arange(1, bins + 1) / bins, method="inverted_cdf")
    for edge in edges:
        assert np.sum(found <= edge) == np.sum(given_lengths <= edge)
    within = (costs >= given_lengths.min()) & (costs <= given_lengths.max())
    assert sorted(every) == np.flatnonzero(within).tolist()


def test_lengths_are_drawn_at_random_within_a_bin():
    pool = with_costs(np.repeat([10, 20, 30], [8, 2, 8]))
    method = random_of_lengths(np.array([10, 20]))
    drawn = [next(method(pool, np.random.default_rng(seed), Limits())) for seed in range(400)]
    counts = np.bincount(drawn, minlength=18)
    assert counts[10:].sum() == 0
    assert np.abs(counts[:8] - 25).max() < 25  # Half of 400 among eight.
    assert np.abs(counts[8:10] - 100).max() < 50


def test_lengths_come_from_the_wanted_records():
    pool = with_costs(np.arange(1, 101))
    assert pool.wanted is not None
    wanted = dataclasses.replace(pool.wanted, costs=np.array([7, 7, 50]))
    picks = choose("random_lengths", dataclasses.replace(pool, wanted=wanted), Limits(records=2))
    assert ((pool.costs[picks] >= 7) & (pool.costs[picks] <= 50)).all()
    with pytest.raises(ValueError, match="at least one length"):
        random_of_lengths(np.zeros(0))
    assert METHODS["random_lengths"].source is None
