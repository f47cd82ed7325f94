"""Methods by gradients, against plain loops in float64."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mig_jax.methods import Limits, Texts, Wanted, choose, influences
from tests.methods.pools import random_candidates

RNG = np.random.default_rng(3)
GRADIENTS = RNG.normal(size=(12, 5)).astype(np.float32)
GRADIENTS[[4, 9]] = 0  # The model was not asked about these.
WANTED = RNG.normal(size=(6, 5)).astype(np.float32)
TASKS = np.array(["b", "a", "a", "b", "c", "a"])
COSTS = RNG.integers(1, 30, 12)
MEANS = np.stack([WANTED[task == TASKS].mean(axis=0) for task in "abc"])


@pytest.fixture
def candidates():
    texts = Texts([""] * 6, [""] * 6)
    wanted = Wanted(texts, TASKS, lambda: np.zeros((6, 2), np.float32))
    return dataclasses.replace(
        random_candidates(RNG, 12),
        costs=COSTS,
        wanted=wanted,
        gradients=lambda: (GRADIENTS, WANTED),
    )


def test_influence_is_the_product_with_the_inverse_of_damped_curvature():
    fisher = np.zeros((5, 5))
    asked = [n for n in range(12) if GRADIENTS[n].any()]
    for n in asked:
        fisher += np.outer(GRADIENTS[n], GRADIENTS[n]).astype(np.float64) / COSTS[n] / len(asked)
    damped = fisher + 0.3 * fisher.trace() / 5 * np.eye(5)
    expected = [[g @ np.linalg.inv(damped) @ v for v in MEANS] for g in GRADIENTS.astype(float)]
    found = influences(GRADIENTS, MEANS, COSTS, damping=0.3)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_tasks_take_turns_by_tokens_and_records_not_asked_about_come_last(candidates):
    found = influences(GRADIENTS, MEANS, COSTS) / COSTS[:, None]
    had, taken = [0, 0, 0], []
    for _ in range(10):
        task = min(range(3), key=lambda t: (had[t], t))
        left = [n for n in range(12) if GRADIENTS[n].any() and n not in taken]
        best = max(left, key=lambda n: (found[n, task], -n))
        had[task] += COSTS[best]
        taken.append(best)
    picks = choose("influence", candidates, Limits(tokens=10_000))
    assert picks[:10].tolist() == taken
    assert sorted(picks[10:].tolist()) == [4, 9]


def test_influence_counts_records_where_records_are_limited(candidates):
    found = influences(GRADIENTS, MEANS, COSTS)
    first = [int(np.argmax(np.where(GRADIENTS.any(axis=1), found[:, 0], -np.inf)))]
    picks = choose("influence", candidates, Limits(records=1))
    assert picks.tolist() == first


def test_less_takes_the_largest_cosine_with_any_task(candidates):
    def cosine(a, b):
        return float(a @ b) / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-30)

    best = [max(cosine(g, m) for m in MEANS) if g.any() else -2.0 for g in GRADIENTS]
    expected = sorted(range(12), key=lambda n: (-best[n], n))
    assert choose("less", candidates, Limits(records=12)).tolist() == expected
