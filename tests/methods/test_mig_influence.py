"""The measure over what a model lacks, against a plain loop that recomputes everything."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pytest

from mig_jax.errors import InputError
from mig_jax.methods import METHODS, Limits, Texts, Wanted, choose, groups_of_wanted, influences
from tests.methods.pools import random_candidates

LIMITS = (Limits(tokens=150), Limits(records=9), Limits(records=12, tokens=150), Limits())


def candidates_of(gradients, wanted, tasks, costs):
    texts = Texts([""] * len(tasks), [""] * len(tasks))
    return dataclasses.replace(
        random_candidates(np.random.default_rng(3), len(costs)),
        costs=np.array(costs),
        wanted=Wanted(texts, np.array(tasks), lambda: np.zeros((len(tasks), 2), np.float32)),
        gradients=lambda: (np.float32(gradients), np.float32(wanted)),
    )


@functools.cache
def pool():
    """Three tasks; copies, records and wanted ones without gradients, and some of no tokens."""
    rng = np.random.default_rng(4)
    alike = rng.normal(size=6)  # Of all, so that a step along some lowers the mean loss.
    gradients = (rng.normal(size=(40, 6)) + 0.3 * alike) * rng.uniform(0.3, 3, (40, 1))
    gradients[[4, 19, 33]] = 0
    wanted = rng.normal(size=(30, 6)) + np.repeat(rng.normal(size=(3, 6)), 10, axis=0) + alike
    wanted[[0, 25]] = 0
    costs = rng.integers(1, 30, 40)
    gradients[22], costs[22] = gradients[7], costs[7]
    gradients[38], costs[38] = gradients[7], costs[7]
    costs[[11, 19]] = 0
    return candidates_of(gradients, wanted, ["b"] * 10 + ["a"] * 10 + ["c"] * 10, costs)


def known_parts(candidates):
    """Gradients of records, those of wanted ones that are known, tasks, tokens: float64."""
    gradients, wanted = (some.astype(np.float64) for some in candidates.gradients())
    known = wanted.any(axis=1)
    return gradients, wanted[known], candidates.wanted.groups[known], candidates.costs


def damped_fisher(gradients, costs):
    fisher, asked = np.zeros((gradients.shape[1],) * 2), gradients.any(axis=1)
    for n in np.flatnonzero(asked):
        fisher += np.outer(gradients[n], gradients[n]) / max(costs[n], 1) / asked.sum()
    return fisher + np.trace(fisher) / len(fisher) * np.eye(len(fisher))


def greedy(gains, candidates, limits, counted):
    """The largest gain of what fits, again and again; then what has no gradients, in order.

    `gains(taken)` are float64 [N] of which the largest counts; `counted(record)` hears of picks.
    """
    gradients, _, _, costs = known_parts(candidates)
    left = np.inf if limits.tokens is None else limits.tokens
    most = len(costs) if limits.records is None else limits.records
    taken = []
    for asked in (True, False):
        while len(taken) < most:
            fits = (gradients.any(axis=1) == asked) & (costs <= left)
            fits[taken] = False
            if not fits.any():
                break
            values = gains(taken) if asked else np.zeros(len(costs))
            # Copies have the same gain, up to its last digits.
            best = int(np.flatnonzero(fits & (values > values[fits].max() - 1e-9))[0])
            taken.append(best)
            counted(best)
            left -= costs[best]
    return taken


def mig_influence_by_loop(candidates, limits, alpha=0.5):
    gradients, wanted, tasks, costs = known_parts(candidates)
    fisher = damped_fisher(gradients, costs)
    values, vectors = np.linalg.eigh(fisher)
    root = vectors @ np.diag(values**-0.5) @ vectors.T
    groups, _ = groups_of_wanted(np.float32(wanted @ root), tasks)
    asked, names = gradients.any(axis=1), np.unique(tasks)
    tokens = np.maximum(costs, 1)
    share = 1.0
    if limits.tokens is not None:
        share = min(share, limits.tokens / tokens[asked].sum())
    if limits.records is not None:
        share = min(share, limits.records / asked.sum())
    amounts, weights = [], []
    for k in range(groups.max() + 1):
        task = tasks[groups == k][0]
        found = gradients @ np.linalg.inv(fisher) @ wanted[groups == k].mean(axis=0)
        amounts.append(found / np.maximum(found, 0).sum() / share)
        weights.append((groups == k).sum() / (tasks == task).sum() / len(names))
    assert sum(weights) == pytest.approx(1)

    def information(taken):
        return sum(
            w * (np.maximum(a[taken], 0).sum() ** alpha + alpha * np.minimum(a[taken], 0).sum())
            for w, a in zip(weights, amounts, strict=True)
        )

    def gains(taken):
        more = [information([*taken, n]) - information(taken) for n in range(len(costs))]
        return np.array(more) / (1 if limits.tokens is None else tokens)

    return greedy(gains, candidates, limits, lambda _: None)


@pytest.mark.parametrize("limits", LIMITS, ids=str)
def test_mig_influence_is_greedy_by_its_measure(limits):
    picks = choose("mig_influence", pool(), limits)
    assert picks.tolist() == mig_influence_by_loop(pool(), limits)


def test_of_copies_the_first_comes_first_and_what_nobody_asked_about_last():
    picks = choose("mig_influence", pool(), Limits()).tolist()
    assert [n for n in picks if n in (7, 22, 38)] == [7, 22, 38]
    assert picks[-3:] == [4, 19, 33]
    assert sorted(picks) == list(range(40))


def test_near_copies_count_for_less_where_a_sum_takes_them_all():
    """Two things are wanted; five near-copies teach one of them a little better than others."""
    rng = np.random.default_rng(0)
    gradients = np.zeros((40, 8))
    gradients[:5, 0] = 1
    gradients[5:10, 1] = 0.9
    gradients[10:] = rng.normal(size=(30, 8)) * [0, 0, 1, 1, 1, 1, 1, 1]  # Of no use.
    gradients[:10, 2:] = 0.01 * rng.normal(size=(10, 6))
    wanted = np.zeros((16, 8))
    wanted[:8, 0] = wanted[8:, 1] = 1
    candidates = candidates_of(gradients, wanted, ["a"] * 16, [10] * 40)
    for limits in (Limits(tokens=40), Limits(records=4)):
        assert set(choose("influence", candidates, limits).tolist()) < set(range(5))
        picks = choose("mig_influence", candidates, limits)
        assert ((picks < 5).sum(), ((picks >= 5) & (picks < 10)).sum()) == (2, 2)


def test_what_no_longer_fits_counts_for_nothing():
    """The best after the first is too long by then: what it would have taught is still wanted."""
    gradients = np.array([[3, 0], [0, 400], [0, 3], [0.2, 0], [0.2, 0]])
    candidates = candidates_of(gradients, np.eye(2), ["a", "b"], [10, 21, 10, 10, 10])
    assert choose("mig_influence", candidates, Limits(tokens=31)).tolist() == [0, 1]
    limits = Limits(tokens=30)
    assert choose("mig_influence", candidates, limits).tolist() == [0, 2, 3]
    assert mig_influence_by_loop(candidates, limits) == [0, 2, 3]


def test_the_power_is_above_0_and_at_most_1():
    order = METHODS["mig_influence"].order
    for alpha in (0.0, -0.5, 1.5):
        with pytest.raises(ValueError, match="alpha: expected"):
            next(order(pool(), np.random.default_rng(0), Limits(), alpha=alpha))


@pytest.mark.parametrize("name", ["influence", "less", "mig_influence"])
def test_wanted_records_that_nobody_asked_about(name):
    gradients, wanted = pool().gradients()
    unasked = dataclasses.replace(pool(), gradients=lambda: (gradients, 0 * wanted))
    with pytest.raises(InputError, match="those of all wanted records are zero"):
        choose(name, unasked, Limits(records=3))
    no_a = wanted.copy()
    no_a[10:20] = 0
    of_others = dataclasses.replace(
        pool(),
        gradients=lambda: (gradients, no_a[~(pool().wanted.groups == "a")]),
        wanted=dataclasses.replace(
            pool().wanted, groups=pool().wanted.groups[pool().wanted.groups != "a"]
        ),
    )
    without = dataclasses.replace(pool(), gradients=lambda: (gradients, no_a))
    limits = Limits(tokens=150)
    assert choose(name, without, limits).tolist() == choose(name, of_others, limits).tolist()


def test_how_long_the_gradients_of_a_task_are_does_not_matter():
    gradients, wanted = pool().gradients()
    scale = np.where(pool().wanted.groups == "b", 64, 1).astype(np.float32)[:, None]
    longer = dataclasses.replace(pool(), gradients=lambda: (gradients, wanted * scale))
    picks = choose("mig_influence", longer, Limits(tokens=150))
    assert picks.tolist() == choose("mig_influence", pool(), Limits(tokens=150)).tolist()


def test_groups_of_wanted_records_are_few_a_task_and_weigh_as_their_share():
    rng = np.random.default_rng(2)
    tasks = np.array(["b"] * 3 + ["a"] * 16 + ["c"] * 700)
    corners = rng.normal(size=(2, 5))
    directions = np.concatenate(
        [rng.normal(size=(3, 5)), np.repeat(corners, 8, axis=0), rng.normal(size=(700, 5))]
    )
    scaled = directions * rng.uniform(0.1, 10, (len(tasks), 1))  # Lengths do not matter.
    groups, weights = groups_of_wanted(scaled.astype(np.float32), tasks)
    assert [len(set(groups[tasks == task].tolist())) for task in "abc"] == [2, 1, 12]
    of_a = groups[3:19]
    assert len(set(of_a[:8].tolist())) == len(set(of_a[8:].tolist())) == 1
    for k, weight in enumerate(weights):
        task = tasks[groups == k][0]
        assert weight == pytest.approx((groups == k).sum() / (tasks == task).sum() / 3)


def test_amounts_are_influences():
    """The group's mean gradient is what influence is on: one group a task, one record."""
    gradients, _ = pool().gradients()
    one = candidates_of(gradients, [[1, 2, 0, 0, 1, 0]], ["a"], pool().costs)
    best = influences(gradients, np.array([[1, 2, 0, 0, 1, 0]]), np.maximum(pool().costs, 1))
    assert choose("mig_influence", one, Limits(records=1)).tolist() == [int(best.argmax())]
