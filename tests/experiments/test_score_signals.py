"""How the default score's numbers are chosen: measures against scikit-learn and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from experiments.score_signals import Pool, auc, choose, damaged, rank_correlation
from mig_jax.annotation import Exchange, Sample, SignalValues

_SCORES = st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=40)


@given(_SCORES)
def test_auc_is_scikit_learn_s(pairs):
    scores = np.array([float(score) for score, _ in pairs])
    is_bad = np.array([bad for _, bad in pairs])
    if is_bad.all() or not is_bad.any():
        return
    assert auc(scores, is_bad) == pytest.approx(roc_auc_score(~is_bad, scores))


def test_rank_correlation_is_the_mean_of_scipy_s():
    random = np.random.default_rng(0)
    source = np.repeat(np.array(["a", "b", "c"]), (20, 30, 7))
    scores, votes = random.integers(9, size=(2, len(source))).astype(float)
    expected = np.mean(
        [stats.spearmanr(scores[source == one], votes[source == one])[0] for one in "abc"]
    )
    assert rank_correlation(scores, votes, source) == pytest.approx(expected)


def _pool(random, target, match, substance):
    count = len(target)
    source = np.array(["a", "b"])[np.arange(count) % 2]
    samples = [Sample((Exchange("q", "a"),))] * count
    noise = random.normal(size=(count, 5)) if substance is None else substance
    return Pool(
        samples,
        target,
        source,
        SignalValues(match, np.column_stack([noise, np.full(count, 9.0)]), np.ones(count)),
    )


def test_what_tells_most_is_chosen():
    random = np.random.default_rng(0)
    swapped = random.random(2000) < 0.3
    # Only topics tell swaps, above 3.5 of them; only new terms tell votes.
    topics = np.where(swapped, random.uniform(1, 3, 2000), random.uniform(4, 6, 2000))
    first = _pool(random, swapped, np.column_stack([np.zeros(2000), topics]), None)
    substance = random.normal(size=(1000, 5))
    votes = substance[:, 1] + 0.1 * random.normal(size=1000)
    second = _pool(random, votes, np.full((1000, 2), 5.0), substance)
    chosen = choose(first, second)
    direction = np.array(chosen.weights)
    assert np.linalg.norm(direction) == pytest.approx(1, abs=0.01)
    assert direction[1] > 0.99
    np.testing.assert_allclose(chosen.spreads[:5], substance.std(axis=0), rtol=0.01)
    assert auc(chosen.score(first.values), swapped) > 0.99
    assert rank_correlation(chosen.score(second.values), votes, second.source) > 0.9


def test_damage_changes_the_response_alone():
    exchange = Exchange("What?", "It's here.\nAnd there, too.")
    for kind, one in damaged(exchange).items():
        assert one.instruction == exchange.instruction
        assert one.response != exchange.response, kind
