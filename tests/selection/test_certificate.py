"""The certificate against brute force, and on real pools."""

from __future__ import annotations

import functools
import gzip
import itertools
import json
import math

import jax
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import mig_jax
from mig_jax.devices import pool_mesh
from tests import oracles
from tests.strategies import FUNCTIONS, SMALL, TINY, cases, random_case, to_float64


@given(
    case=cases(TINY),
    function=st.sampled_from(FUNCTIONS),
    budget=st.integers(0, 5),
)
@example(case=SMALL["no records"], function=FUNCTIONS[0], budget=0)
@example(case=SMALL["no labels"], function=FUNCTIONS[0], budget=2)
@example(case=SMALL["worthless records"], function=FUNCTIONS[0], budget=2)
@settings(max_examples=40)
def test_optimum_is_between_greedys_share_and_the_bound(case, function, budget):
    ours, phi, _ = function
    budget = min(budget, len(case.scores))
    measure = mig_jax.Measure(ours, case.alpha)
    selection = mig_jax.select(case.pool, case.graph, budget, measure=measure)
    certificate = mig_jax.certify(case.pool, case.graph, measure, selection.picks)
    optimum = oracles.best_subset(case.rows, budget, phi)
    own = oracles.total_information(phi, case.rows[selection.picks].sum(axis=0))
    np.testing.assert_allclose(certificate.information, own, rtol=1e-5, atol=1e-6)
    assert own >= (1 - 1 / math.e) * optimum - 1e-6
    assert optimum <= certificate.upper_bound * (1 + 1e-6) + 1e-6
    assert 0 <= certificate.certified_ratio <= 1


@given(case=cases(TINY), function=st.sampled_from(FUNCTIONS), seed=st.integers(0, 99))
@settings(max_examples=30)
def test_bound_holds_at_any_z(case, function, seed):
    ours, phi, _ = function
    records = len(case.scores)
    budget = records // 2
    z = np.random.default_rng(seed).uniform(0, 10, case.num_labels)
    with jax.enable_x64(True):
        measure = to_float64(mig_jax.Measure(ours, case.alpha))
        pool, graph = to_float64((case.pool, case.graph))
        bound, amounts = mig_jax.upper_bound(pool, graph, measure, z, budget)
    assert np.asarray(amounts).sum() == budget
    assert oracles.best_subset(case.rows, budget, phi) <= float(bound) * (1 + 1e-9) + 1e-9


def test_steps_lower_the_bound_towards_the_relaxed_optimum():
    case = random_case(4, 400, labels=60)
    measure = mig_jax.Measure()
    picks = mig_jax.select(case.pool, case.graph, 80).picks
    bounds: list[float] = []
    mig_jax.certify(
        case.pool, case.graph, measure, picks, on_step=lambda step, bound: bounds.append(bound)
    )
    assert bounds == sorted(bounds, reverse=True)
    own = oracles.total_information(oracles.power(0.8, 1e-6), case.rows[picks].sum(axis=0))

    assert bounds[-1] - own < 0.5 * (bounds[0] - own)


def steps_over_all(phi, slope, rows, z, budget):
    """The bounds of conditional gradient steps from z, each by a pass over all records."""
    z = np.array(z, np.float64)
    while True:
        slopes = slope(z)
        gains = rows @ slopes
        order = np.argsort(-gains, kind="stable")[:budget]
        yield oracles.total_information(phi, z) - (z * slopes).sum() + gains[order].sum()
        direction = rows[order].sum(axis=0) - z
        low, high = 0.0, 1.0
        for _ in range(40):
            middle = (low + high) / 2
            rises = slope(z + middle * direction) @ direction > 0
            low, high = (middle, high) if rises else (low, middle)
        z += (low + high) / 2 * direction


@pytest.mark.parametrize("mesh_size", [None, 2])
@pytest.mark.parametrize("number", range(len(FUNCTIONS)))
def test_steps_are_those_of_passes_over_all_records(number, mesh_size):
    """Few records are passed over at most steps; those left out are never among the largest."""
    ours, phi, slope = FUNCTIONS[number]
    case = random_case(number, 3000, labels=40)
    mesh = None if mesh_size is None else pool_mesh(mesh_size)
    problem = case.pool, case.graph, mig_jax.Measure(ours, case.alpha)
    scores = np.asarray(case.scores)
    for budget in (3, 40, 400, 2990):
        # Far from what is best, so that the steps are long.
        picks = np.argsort(scores, kind="stable")[:budget]
        found: list[float] = []
        certify = functools.partial(mig_jax.certify, *problem, picks, mesh=mesh, tolerance=0)
        lowest = certify(max_steps=0).upper_bound
        certify(max_steps=12, on_step=lambda _, bound, found=found: found.append(bound))
        rows = np.asarray(case.rows, np.float64)
        true = steps_over_all(phi, slope, rows, rows[picks].sum(axis=0), budget)
        expected = np.minimum.accumulate([lowest, *itertools.islice(true, 12)])[1:]
        np.testing.assert_allclose(found, expected[: len(found)], rtol=1e-7)


@pytest.mark.parametrize("places", [[0, 0], [7], [120, 120, 120]])
def test_records_without_labels_change_no_bound(places):
    """First, in the middle and last: nothing is added for them, and nothing lost beside them."""
    case = random_case(5, 120, labels=20)
    case.label_lists[-1], case.label_lists[0] = [1, 2, 3], [4, 5]
    lists, scores = list(case.label_lists), list(case.scores)
    for place in places:
        lists.insert(place, [])
        scores.insert(place, 9.0)
    longer = mig_jax.pool_from_label_lists(lists, scores)
    for budget in (1, 60):
        bounds = [
            mig_jax.certify(pool, case.graph, mig_jax.Measure(), [], budget=budget).upper_bound
            for pool in (case.pool, longer)
        ]
        np.testing.assert_allclose(*bounds, rtol=1e-12)


def test_picks_must_be_records_each_once():
    case = random_case(4, 10)
    for picks in ([3, 3], [10], [-1]):
        with pytest.raises(ValueError, match="picks"):
            mig_jax.certify(case.pool, case.graph, mig_jax.Measure(), picks)


@pytest.mark.slow
def test_certified_ratios_on_a_real_pool(shared_data):
    label_lists, scores = [], []
    with gzip.open(shared_data / "sft_mix.jsonl.gz") as lines:
        for line in lines:
            annotation = json.loads(line)["annotation"]
            label_lists.append(annotation["instag"]["content"])
            deita = annotation["deita"]
            turns = zip(deita["quality_scores"], deita["complexity_scores"], strict=True)
            scores.append(np.mean([quality * complexity for quality, complexity in turns]))
    names = sorted({label for labels in label_lists for label in labels})
    ids = {name: i for i, name in enumerate(names)}
    pool = mig_jax.pool_from_label_lists([[ids[x] for x in row] for row in label_lists], scores)
    file = np.load(shared_data / "tag_embeddings.npz")
    place = {name: i for i, name in enumerate(file["labels"].tolist())}
    vectors = file["embeddings"].astype(np.float32)[[place[name] for name in names]]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    graph = mig_jax.label_graph_from_embeddings(vectors, 0.65)
    for budget, least in ((2000, 0.998), (5000, 0.9995)):
        picks = mig_jax.select(pool, graph, budget).picks
        certificate = mig_jax.certify(pool, graph, mig_jax.Measure(), picks)
        assert certificate.certified_ratio >= least
