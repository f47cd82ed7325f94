"""What data tell of shapes: against a dense inverse, and by what must be unknown."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from jax.flatten_util import ravel_pytree

import mig_jax
from mig_jax import learning
from mig_jax.learning import _determined, _observed_gains
from tests.learning.test_gain_matching import BUDGETS, GRAPH, KEY, LABELS, POOL, _free, _truth

EXPONENTS = np.random.default_rng(3).uniform(0.15, 0.9, LABELS)


@pytest.fixture(scope="module")
def matched():
    truth = _truth(EXPONENTS)
    free = dataclasses.replace(_free(0.8), prior=1e-4)
    return truth, free, learning.match_gains(POOL, GRAPH, free, truth, BUDGETS, KEY).params


def test_what_is_open_is_that_of_a_dense_inverse(matched, monkeypatch):
    truth, free, params = matched
    monkeypatch.setattr(_determined, "_SAMPLES", 600)
    monkeypatch.setattr(_determined, "_CG", 200)
    jax.clear_caches()
    found = learning.known_shapes(POOL, GRAPH, free, params, truth, BUDGETS, KEY)
    jax.clear_caches()  # What is compiled for so many samples serves no other test.
    # The same selections; a Jacobian by forward differentiation, inverted in float64.
    pool, graph, measure = _observed_gains.hardened(free, params, POOL, GRAPH)
    picks = _observed_gains.greedy_picks(pool, graph, measure, max(BUDGETS))
    observed = _observed_gains.observe(truth, POOL, graph, picks, BUDGETS)
    scale = _observed_gains.typical_scale(free, params, POOL, graph, observed)
    flat, unravel = ravel_pytree(params)

    def residuals(x):
        ours = _observed_gains.gains_of_parameters(free, unravel(x), POOL, graph, observed)
        return observed.residuals(ours, scale).ravel()

    jacobian = np.asarray(jax.jacfwd(residuals)(flat), np.float64)
    prior = np.asarray(jax.jacfwd(jax.grad(lambda x: free.penalty(unravel(x))))(flat)) / 2
    inverse = np.linalg.inv(jacobian.T @ jacobian + prior + 1e-12 * np.eye(len(flat)))
    variance = np.asarray(unravel(jnp.asarray(np.diag(inverse)))["shapes"], np.float64)
    own = np.asarray(unravel(jnp.asarray(np.diag(prior)))["shapes"], np.float64)
    np.testing.assert_allclose(found.open, np.clip(own * variance, 0, 1), atol=0.12)
    assert np.corrcoef(found.open, own * variance)[0, 1] > 0.97


def test_shapes_are_known_where_the_interval_says(matched):
    truth, free, params = matched
    found = learning.known_shapes(POOL, GRAPH, free, params, truth, BUDGETS, KEY)
    exponents = np.asarray(free.learned(params).measure.score_function.exponent)
    assert ((found.low <= exponents) & (exponents <= found.high)).all()
    assert found.determined.mean() > 0.5
    inside = (found.low <= EXPONENTS) & (found.high >= EXPONENTS)
    assert inside.mean() > 0.7
    errors = np.abs(exponents - EXPONENTS)
    # The more is open, the farther off.
    assert scipy.stats.spearmanr(found.open, errors).statistic > 0.3


def test_one_budget_does_not_tell_a_shape_from_a_weight(matched):
    truth, free, params = matched
    at_one = learning.known_shapes(POOL, GRAPH, free, params, truth, BUDGETS[1:2], KEY)
    at_three = learning.known_shapes(POOL, GRAPH, free, params, truth, BUDGETS, KEY)
    assert at_one.determined.sum() < 0.6 * at_three.determined.sum()


def test_a_label_that_no_record_has_is_not_known(matched):
    truth, free, _ = matched
    rows = [row for row in range(POOL.num_records) if 0 not in _labels_of(row)]
    lists = [_labels_of(row) for row in rows]
    pool = mig_jax.pool_from_label_lists(lists, np.asarray(POOL.scores)[rows])
    scores = np.asarray(pool.scores)
    own = dataclasses.replace(pool, scores=(scores / scores.mean()).astype(np.float32))
    alone = mig_jax.label_graph_from_edges(LABELS)
    truth = dataclasses.replace(truth, pool=own, graph=alone)
    found = learning.known_shapes(pool, alone, free, free.init(KEY), truth, BUDGETS, KEY)
    assert found.open[0] > 0.6
    assert not found.determined[0]
    assert found.high[0] - found.low[0] > 0.4


def _labels_of(row: int) -> list[int]:
    labels, records = np.asarray(POOL.labels), np.asarray(POOL.records)
    return labels[records == row].tolist()
