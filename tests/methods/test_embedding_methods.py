"""Methods that go by embeddings or losses, against plain loops in float64."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mig_jax.methods import (
    METHODS,
    Candidates,
    Limits,
    Texts,
    Wanted,
    choose,
    deita,
    heeded,
    qdit,
)

SEEDS = st.integers(0, 2**32 - 1)
TEXTS = Texts([], [])


def candidates_of(embeddings, scores=None, costs=None, losses=None, wanted=None) -> Candidates:
    number = len(embeddings)
    return Candidates(
        labels=np.zeros(0, np.int32),
        offsets=np.zeros(number + 1, np.int64),
        num_labels=0,
        scores=np.asarray(np.ones(number) if scores is None else scores, np.float32),
        costs=np.asarray(np.ones(number) if costs is None else costs, np.int64),
        texts=lambda: TEXTS,
        embeddings=lambda: np.asarray(embeddings, np.float32),
        response_losses=losses,
        wanted=wanted,
    )


def random_rows(rng: np.random.Generator, number: int, width: int = 3) -> np.ndarray:
    """Rows of about unit length, copies among them, of few binary digits: products are exact."""
    distinct = rng.standard_normal((max(number * 2 // 3, 1), width))
    distinct /= np.linalg.norm(distinct, axis=1, keepdims=True)
    rows = distinct[rng.integers(len(distinct), size=number)]
    return np.trunc(rows * 1024) / 1024


def random_scores(rng: np.random.Generator, number: int) -> np.ndarray:
    return rng.integers(0, 6, size=number).astype(np.float64)


def order_of(name: str, candidates: Candidates, limits: Limits | None = None) -> list[int]:
    return list(METHODS[name].order(candidates, np.random.default_rng(0), limits or Limits()))


def test_ifd_takes_the_hardest_that_the_instruction_helps_to_say():
    asked = np.array([1, 3, 2, 0.5, np.nan, 1], np.float32)
    alone = np.array([2, 2, 2, 2, 1, 4], np.float32)  # Ratios 1/2, 3/2, 1, 1/4, none, 1/4.
    pool = candidates_of(np.zeros((6, 2)), losses=lambda: (asked, alone))
    assert choose("ifd", pool, Limits()).tolist() == [0, 3, 5]
    assert np.flatnonzero(heeded(asked, alone)).tolist() == [0, 3, 5]


def unlike_those_before(rows, scores, threshold: float) -> list[int]:
    taken: list[int] = []
    for record in sorted(range(len(rows)), key=lambda n: (-scores[n], n)):
        if all(rows[record] @ rows[other] <= threshold for other in taken):
            taken.append(record)
    return taken


@settings(max_examples=40)
@given(SEEDS, st.sampled_from([0.9, 0.5]), st.integers(1, 30))
def test_deita_takes_by_score_what_is_not_near_one_before(seed, threshold, block):
    rng = np.random.default_rng(seed)
    rows, scores = random_rows(rng, 40), random_scores(rng, 40)
    found = deita(candidates_of(rows, scores), rng, Limits(), threshold=threshold, block=block)
    assert list(found) == unlike_those_before(rows, scores, threshold)


def test_deita_has_the_threshold_of_the_paper():
    rows = [[1, 0], [0.9062, np.sqrt(1 - 0.9062**2)], [0.89, np.sqrt(1 - 0.89**2)]]
    assert order_of("deita", candidates_of(rows, [3, 2, 1])) == [0, 2]


def test_deita_takes_what_is_just_as_near_as_may_be():
    rows = np.array([[1, 0], [0.5, 0.75], [0.5625, 0.75]])
    pool = candidates_of(rows, [3, 2, 1])
    found = deita(pool, np.random.default_rng(0), Limits(), threshold=0.5)
    assert list(found) == [0, 1]


def greedy_quality_and_coverage(rows, scores, alpha: float, number: int) -> list[int]:
    cosines = rows @ rows.T
    shares = scores / (scores.max() or 1)
    covered = np.zeros(len(rows))
    taken: list[int] = []
    for _ in range(number):
        values = {
            a: (1 - alpha) * np.maximum(cosines[a] - covered, 0).sum() + alpha * 5 * shares[a]
            for a in range(len(rows))
            if a not in taken
        }
        taken.append(min(values, key=lambda a: (-values[a], a)))
        covered = np.maximum(covered, cosines[taken[-1]])
    return taken


@settings(max_examples=40)
@given(SEEDS, st.sampled_from([0.0, 0.5, 0.9375, 1.0]), st.integers(1, 30))
def test_qdit_is_the_greedy_search_through_all_records(seed, alpha, block):
    rng = np.random.default_rng(seed)
    rows, scores = random_rows(rng, 24), random_scores(rng, 24)
    found = list(qdit(candidates_of(rows, scores), rng, Limits(), alpha=alpha, block=block))
    assert found == greedy_quality_and_coverage(rows, scores, alpha, 24)


@pytest.mark.parametrize(("name", "alpha"), [("qdit", 0.7), ("qdit_0.9", 0.9)])
def test_qdit_has_the_weights_of_the_paper(name, alpha):
    rng = np.random.default_rng(5)
    rows, scores = random_rows(rng, 60, width=8), rng.random(60)
    expected = greedy_quality_and_coverage(rows, scores.astype(np.float32), alpha, 12)
    assert order_of(name, candidates_of(rows, scores))[:12] == expected


def test_qdit_weights_a_sample_of_the_pool_as_the_whole():
    """300 records of one kind and 100 of another, better: coverage wins by 2 to 1.5."""
    rows = np.repeat([[1.0, 0.0], [0.0, 1.0]], [300, 100], axis=0)
    scores = np.repeat([1 - 1.5 / (0.99 * 5), 1.0], [300, 100])
    pool = candidates_of(rows, scores)
    for ground in (200, 400):
        found = qdit(pool, np.random.default_rng(0), Limits(), alpha=0.99, ground=ground)
        assert next(found) == 0


def best_of_clusters_then_of_all(scores, clusters) -> list[int]:
    by_score = sorted(range(len(scores)), key=lambda n: (-scores[n], n))
    best = [n for n in by_score if n == next(m for m in by_score if clusters[m] == clusters[n])]
    return best + [n for n in by_score if n not in best]


@settings(max_examples=40)
@given(SEEDS, st.integers(18, 31))
def test_car_takes_the_best_of_each_cluster_then_of_all(seed, number):
    """√(N/2) clusters: 3, far from each other, each with two places near each other."""
    rng = np.random.default_rng(seed)
    clusters = rng.permutation(np.arange(number) % 3)
    rows = np.eye(4)[clusters] * 0.99
    rows[:, 3] = rng.permutation(np.arange(number) % 2) * 0.01
    scores = random_scores(rng, number)
    found = order_of("car", candidates_of(rows, scores))
    assert found == best_of_clusters_then_of_all(scores, clusters)


def test_car_takes_by_score_where_all_are_alike():
    assert order_of("car", candidates_of(np.ones((9, 1)), range(9))) == [*range(8, -1, -1)]


def nearest_in_turn(nearness, costs) -> list[int]:
    """Next is the row that has had the least; of several the first."""
    had = [0] * len(nearness)
    taken: list[int] = []
    for _ in range(nearness.shape[1]):
        row = min(range(len(had)), key=lambda r: (had[r], r))
        left = [n for n in range(nearness.shape[1]) if n not in taken]
        taken.append(min(left, key=lambda n: (-nearness[row, n], n)))
        had[row] += costs[taken[-1]]
    return taken


@settings(max_examples=40)
@given(SEEDS, st.integers(1, 3), st.booleans())
def test_rds_takes_the_nearest_to_each_task_in_turn(seed, tasks, in_tokens):
    rng = np.random.default_rng(seed)
    rows, aims = random_rows(rng, 30), random_rows(rng, 7)
    costs = rng.integers(1, 5, size=30)
    groups = rng.permutation(np.arange(7) % tasks)
    names = np.array(["b", "a", "c"])
    wanted = Wanted(TEXTS, names[groups], lambda: aims.astype(np.float32))
    pool = candidates_of(rows, costs=costs, wanted=wanted)
    if tasks == 1:  # Wanted records take turns, whatever is limited.
        expected = nearest_in_turn(aims @ rows.T, np.ones(30))
    else:
        of_tasks = [
            [max(aims[v] @ row for v in np.flatnonzero(groups == task)) for row in rows]
            for task in sorted(range(tasks), key=lambda task: names[task])
        ]
        expected = nearest_in_turn(np.array(of_tasks), costs if in_tokens else np.ones(30))
    limits = Limits(tokens=10**9) if in_tokens else Limits(records=30)
    assert order_of("rds", pool, limits) == expected


@pytest.mark.parametrize("name", ["deita", "qdit", "rds"])
@pytest.mark.parametrize("wrong", [np.nan, 2.0])
def test_rows_that_are_no_directions_are_refused(name, wrong):
    rows = np.eye(3)
    rows[1, 1] = wrong
    pool = candidates_of(
        rows, wanted=Wanted(TEXTS, np.array(["a"]), lambda: np.eye(3, dtype=np.float32)[:1])
    )
    with pytest.raises(ValueError, match=r"row 1 has length (nan|2); expected .* unit length"):
        order_of(name, pool)


def test_blocks_change_nothing_for_embeddings_of_any_digits():
    rng = np.random.default_rng(1)
    rows = rng.standard_normal((120, 48)).astype(np.float32)
    rows += 8 * rows[rng.integers(3, size=120)]
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    # Copies: a last digit decides which of them is the first.
    pool = candidates_of(np.tile(rows, (3, 1)), np.tile(rng.integers(1, 3, size=120), 3))
    for method in (qdit, deita):
        orders = [
            list(itertools.islice(method(pool, rng, Limits(), block=block), 60))
            for block in (1, 7, 64, 500)
        ]
        assert all(order == orders[0] for order in orders)
    assert max(itertools.islice(qdit(pool, rng, Limits()), 60)) < 120
