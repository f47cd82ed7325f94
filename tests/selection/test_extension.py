"""A selection of a pool that has grown is that of the whole pool, wherever new records win."""

from __future__ import annotations

import itertools

import jax
import numpy as np
import pytest

import mig_jax
from mig_jax.devices import pool_mesh
from mig_jax.selection import Progress, extended, fingerprint, first_part, why_not_extended
from tests import strategies

OLD, NEW, BUDGET = 120, 24, 40
# Labels that only new records have stand before, between and behind the others.
ONLY_NEW = (0, 7, 19)
NUM_LABELS = 20
RULES = list(mig_jax.GAIN_RULES.values())


def grown(seed: int, scale: float, ties: bool = False):
    """A pool with its graph; new records have the scores of the others times `scale`.

    All have the same labels, so that all share their programs.
    """
    rng = np.random.default_rng(3)
    shared = [label for label in range(NUM_LABELS) if label not in ONLY_NEW]
    lists = [rng.choice(shared, rng.integers(0, 4), replace=False) for _ in range(OLD)]
    lists += [rng.choice(NUM_LABELS, rng.integers(1, 4), replace=False) for _ in range(NEW)]
    edges = [(p, q, 0.5 + k / 64) for k, (p, q) in enumerate(itertools.pairwise(shared))]
    scores = np.random.default_rng(seed).gamma(4, 1, OLD + NEW)
    if ties:
        scores = np.ceil(scores / 2)
    scores[OLD:] *= scale
    graph = mig_jax.label_graph_from_edges(NUM_LABELS, edges)
    return mig_jax.pool_from_label_lists(lists, scores.astype(np.float32)), graph


def same_bits(found, expected) -> bool:
    pairs = [(getattr(found, n), getattr(expected, n)) for n in ("picks", "gains", "increases")]
    pairs.append((found.z, expected.z))
    return all(a.dtype == b.dtype and a.tobytes() == b.tobytes() for a, b in pairs)


def check(pool, graph, budget, earlier_budget=BUDGET, *, of=OLD, mesh=None, **options) -> float:
    """The share of the budget that held; the selection that goes on is that from the start."""
    measure = options.get("measure", mig_jax.Measure())
    old_pool, old_graph, old_measure = first_part(pool, graph, measure, of)
    earlier = mig_jax.select(
        old_pool, old_graph, earlier_budget, **{**options, "measure": old_measure}
    )
    straight = mig_jax.select(pool, graph, budget, mesh=mesh, **options)
    progress = extended(pool, graph, budget, earlier, of, mesh=mesh, **options)
    resumed = mig_jax.select(pool, graph, budget, mesh=mesh, resume=progress, **options)
    assert same_bits(resumed, straight)
    new = np.flatnonzero(straight.picks >= of)
    assert len(progress) <= min([*new.tolist(), earlier_budget, budget])
    return len(progress) / budget


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
@pytest.mark.parametrize("function", [mig_jax.Power(0.8, 1e-6), mig_jax.Log(2.0)], ids=["p", "l"])
def test_new_records_win_at_any_rank_or_never(rule, function):
    held = [
        check(*grown(seed, scale, ties), BUDGET, measure=mig_jax.Measure(function), gain=rule)
        for seed, (scale, ties) in enumerate(
            itertools.product((0.001, 0.3, 0.4, 3.0), (False, True))
        )
    ]
    assert held[:2] == [1, 1]  # Where nothing new is near, nothing is looked for again.
    assert held[-2:] == [0, 0]
    assert any(0 < share < 1 for share in held)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_budgets_need_not_be_the_same(rule):
    for scale, (earlier, budget) in itertools.product(
        (0.01, 0.4), ((BUDGET, 60), (BUDGET, 25), (OLD, OLD + NEW), (10, OLD))
    ):
        held = check(*grown(1, scale), budget, earlier, gain=rule)
        if scale < 0.1 and budget < OLD:
            assert held == min(earlier, budget) / budget


def test_parameters_of_each_label_stay_with_it():
    exponents = np.linspace(0.3, 0.9, NUM_LABELS, dtype=np.float32)
    measure = mig_jax.Measure(mig_jax.Power(exponents, 1e-3), np.float32(0.5))
    for scale in (0.01, 0.3):
        assert check(*grown(2, scale), BUDGET, measure=measure) > 0


def test_several_devices():
    for scale in (0.01, 0.4):
        assert check(*grown(5, scale), BUDGET, mesh=pool_mesh(2)) > 0


def test_new_records_that_hold_nothing_come_last():
    pool, graph = grown(4, 0.0)
    # All records are picked: worthless new ones behind worthless old ones.
    assert check(pool, graph, OLD + NEW, OLD) == OLD / (OLD + NEW)
    assert check(pool, graph, 20, 20, of=OLD + NEW) == 1  # Nothing is new.


def test_pools_without_labels_or_old_records():
    pool = mig_jax.pool_from_label_lists([[], [], []], [1.0, 1.0, 1.0])
    graph = mig_jax.label_graph_from_edges(0)
    assert check(pool, graph, 2, 2, of=2) == 1
    assert check(*grown(1, 1.0), 5, 0, of=0) == 0


def test_the_first_part_is_the_pool_as_it_was():
    pool, graph = grown(1, 1.0)
    shared = [label for label in range(NUM_LABELS) if label not in ONLY_NEW]
    place = {label: number for number, label in enumerate(shared)}
    bounds = np.searchsorted(pool.records, np.arange(OLD + 1))
    lists = [[place[k] for k in pool.labels[a:b].tolist()] for a, b in itertools.pairwise(bounds)]
    edges = [(place[p], place[q], s) for p, q, s in _edges(graph)]
    measure = mig_jax.Measure()
    was = (
        mig_jax.pool_from_label_lists(lists, pool.scores[:OLD]),
        mig_jax.label_graph_from_edges(len(shared), edges),
        measure,
    )
    now = first_part(pool, graph, measure, OLD)
    assert fingerprint(*now, mig_jax.EXACT) == fingerprint(*was, mig_jax.EXACT)


def test_what_changes_the_earlier_records_is_told():
    pool, graph = grown(1, 1.0)
    measure = mig_jax.Measure()
    assert why_not_extended(pool, graph, measure, OLD) is None
    joined = mig_jax.label_graph_from_edges(NUM_LABELS, [*_edges(graph), (0, 1, 0.5)])
    assert "are joined to labels" in str(why_not_extended(pool, joined, measure, OLD))
    among_new = mig_jax.label_graph_from_edges(NUM_LABELS, [*_edges(graph), (0, 7, 0.5)])
    assert why_not_extended(pool, among_new, measure, OLD) is None
    assert check(pool, among_new, BUDGET) == 0
    huge = mig_jax.Pool(pool.labels, pool.records, pool.scores.copy())
    huge.scores[-1] = 3e38
    assert "float64" in str(why_not_extended(huge, graph, measure, OLD))
    earlier = Progress.none(NUM_LABELS)
    with pytest.raises(ValueError, match="are joined"):
        extended(pool, joined, 3, earlier, OLD)
    picks = Progress(np.array([OLD]), np.ones(1), np.ones(1), earlier.z, ())
    with pytest.raises(ValueError, match="in 0 to 119"):
        extended(pool, graph, 3, picks, OLD)


def test_in_float64():
    with jax.enable_x64(True):
        for scale in (0.01, 0.4):
            pool, graph = strategies.to_float64(grown(6, scale))
            assert check(pool, graph, BUDGET) > 0


def _edges(graph):
    for p, q, s in zip(graph.sources, graph.targets, graph.similarities, strict=True):
        if p < q:
            yield int(p), int(q), float(s)
