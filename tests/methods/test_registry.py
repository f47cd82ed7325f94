"""What all methods keep to, whatever they choose by."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mig_jax.errors import InputError
from mig_jax.methods import METHODS, Limits, Texts, choose, method_named, take, take_turns
from tests.methods.pools import random_candidates

DRAWN = {"random", "random_lengths", "random_quotas", "dsir", "dsir_pooled", "car"}


def pool():
    return random_candidates(np.random.default_rng(5))


@pytest.mark.parametrize("name", METHODS)
def test_a_method_keeps_to_its_limits_and_to_its_seed(name):
    candidates = pool()
    for limits in (Limits(tokens=400), Limits(records=7), Limits(records=7, tokens=100)):
        picks = choose(name, candidates, limits, seed=3)
        assert picks.dtype == np.int64
        assert len(picks)
        assert len(set(picks.tolist())) == len(picks) <= (limits.records or len(picks))
        assert limits.tokens is None or candidates.costs[picks].sum() <= limits.tokens
        np.testing.assert_array_equal(choose(name, pool(), limits, seed=3), picks)
    others = [choose(name, pool(), Limits(records=7), seed=seed).tolist() for seed in range(4)]
    assert (others[1:] != others[:-1]) == (name in DRAWN)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_takes_what_fits_until_little_is_left(name):
    candidates = pool()
    picks = choose(name, candidates, Limits(tokens=400))
    left = 400 - candidates.costs[picks].sum()
    order = METHODS[name].order(candidates, np.random.default_rng(0), Limits(tokens=400))
    passed = np.setdiff1d(list(order), picks)
    assert (candidates.costs[passed] > left).all()


@pytest.mark.parametrize("name", [name for name in METHODS if METHODS[name].needs])
def test_what_a_method_needs_is_asked_for(name):
    known = {"groups", "wanted", "response_losses", "gradients"}
    for need in METHODS[name].needs & known:
        with pytest.raises(InputError, match=f"method {name}: needs {need}, which"):
            choose(name, dataclasses.replace(pool(), **{need: None}), Limits(records=3))


def with_three_that_never_fit(candidates):
    """The first three records once more before all, with more tokens than any budget."""
    twice = np.r_[:3, : candidates.num_records]
    starts, ends = candidates.offsets[twice], candidates.offsets[twice + 1]
    texts, (behind, alone) = candidates.texts(), candidates.response_losses()
    of_records, of_wanted = candidates.gradients()
    return dataclasses.replace(
        candidates,
        labels=np.concatenate([candidates.labels[a:b] for a, b in zip(starts, ends, strict=True)]),
        offsets=np.concatenate([[0], np.cumsum(ends - starts)]),
        scores=candidates.scores[twice],
        costs=np.r_[[10**6] * 3, candidates.costs],
        texts=lambda: Texts(
            [texts.instructions[n] for n in twice], [texts.responses[n] for n in twice]
        ),
        embeddings=lambda: candidates.embeddings()[twice],
        response_losses=lambda: (behind[twice], alone[twice]),
        gradients=lambda: (of_records[twice], of_wanted),
        groups=candidates.groups[twice],
    )


@pytest.mark.parametrize("name", METHODS)
def test_records_that_never_fit_have_no_share_and_keep_nothing_out(name):
    candidates, seen = pool(), []
    expected = choose(name, candidates, Limits(tokens=400), seed=2)
    more = with_three_that_never_fit(candidates)
    picks = choose(name, more, Limits(tokens=400), seed=2, on_pick=seen.append)
    assert picks.tolist() == seen == (expected + 3).tolist()
    assert choose(name, more.only(more.costs > 400), Limits(tokens=400)).tolist() == []


def test_a_method_that_is_not_known():
    assert method_named("zip") is METHODS["zip"]
    with pytest.raises(InputError, match=r"'longes': not known; expected longest \(the nearest\)"):
        method_named("longes")
    with pytest.raises(InputError, match=r"'': not known; expected one of random, "):
        choose("", pool(), Limits(records=3))


def test_taking_passes_over_what_does_not_fit():
    costs, seen = np.array([5, 3, 9, 2, 0]), []
    order = [2, 0, 1, 3, 4]
    assert take(order, costs, Limits(tokens=8), on_pick=seen.append).tolist() == [0, 1, 4] == seen
    assert take(order, costs, Limits(records=2, tokens=7)).tolist() == [0, 3]
    assert take(order, costs, Limits(records=0)).tolist() == []
    assert take(iter(order), costs, Limits()).tolist() == order


def test_turns_by_tokens_are_those_of_a_plain_loop():
    rng = np.random.default_rng(0)
    costs = rng.integers(1, 9, 30)
    orders = [rng.permutation(30)[: 10 + 5 * place].tolist() for place in range(4)]
    had, taken, left = [0] * 4, [], [list(order) for order in orders]
    while any(left):
        place = min((p for p in range(4) if left[p]), key=lambda p: (had[p], p))
        record = left[place].pop(0)
        if record not in taken:
            taken.append(record)
            had[place] += costs[record]
    assert list(take_turns(orders, costs)) == taken
