"""Token bags, the count model and the judge, against counting by hand."""

from __future__ import annotations

import re
import zlib
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mig_jax import learning
from mig_jax.learning import Judge
from tests.strategies import to_float64

TEXTS = ["The cat, the CAT 42", "", "naïve 北京 don't", "a b a b"]
TOPICS = {
    "cooking": ("boil fry bake oven salt", "pan soup butter sugar spice cook"),
    "algebra": ("solve equation root sum x", "number minus equals plus root two"),
    "travel": ("train flight hotel map city", "ticket station museum bridge river walk"),
}


def _conversations(count, seed, topics=tuple(TOPICS)):
    rng = np.random.default_rng(seed)
    pairs = []
    for _ in range(count):
        asked, answered = TOPICS[topics[rng.integers(len(topics))]]
        pairs.append(
            (
                " ".join(rng.choice(asked.split(), 6)),
                " ".join(rng.choice(answered.split(), rng.integers(1, 9))),
            )
        )
    return learning.conversation_bags(pairs)


def _of_text(bags, row):
    part = slice(bags.offsets[row], bags.offsets[row + 1])
    return dict(zip(bags.tokens[part].tolist(), bags.counts[part].tolist(), strict=True))


@pytest.mark.parametrize("ngrams", [1, 3])
def test_bags_against_counting(ngrams):
    bags = learning.token_bags(TEXTS, ngrams=ngrams)
    pattern = r"[a-zï]+|\S"  # Letters that are in the texts; all else stands alone.
    for row, text in enumerate(TEXTS):
        tokens = [zlib.crc32(t.encode()) for t in re.findall(pattern, text.lower())]
        expected = Counter()
        for length in range(1, ngrams + 1):
            for start in range(len(tokens) - length + 1):
                value = tokens[start]
                for token in tokens[start + 1 : start + length]:
                    value = (value * 0x01000193 + token) % 2**32
                expected[value] += 1
        assert _of_text(bags, row) == expected
    assert "北" in re.findall(pattern, TEXTS[2])


def test_only_the_first_tokens_count():
    long, short = "one " * 300, "one " * 7
    bags = learning.token_bags([long, short], longest=10)
    assert bags.counts.tolist() == [10, 7]


def test_folding_keeps_shares_and_deals_anew_with_another_seed():
    bags = learning.token_bags([*TEXTS, " ".join(f"w{'x' * n}" for n in range(60))])
    folded = [learning.fold(bags, 16, seed) for seed in (0, 0, 1)]
    for found in folded:
        sums = np.bincount(found.records, found.counts, len(found))
        np.testing.assert_allclose(sums, [1, 0, 1, 1, 1], rtol=1e-6)
        assert found.tokens.min() >= 0
        assert found.tokens.max() < 16
    np.testing.assert_array_equal(folded[0].tokens, folded[1].tokens)
    assert folded[0].tokens.tolist() != folded[2].tokens.tolist()
    # The same token falls into the same bucket in every text: both words make up half of "a b a b".
    assert sorted(_of_text(learning.fold(bags, 1 << 20, 3), 3).values()) == [0.5, 0.5]


def test_taking_and_padding():
    bags = learning.fold(learning.token_bags(TEXTS), 1 << 16, 0)
    taken = learning.take(bags, np.array([3, 1, 0, 3]))
    assert [_of_text(taken, row) for row in range(4)] == [_of_text(bags, r) for r in (3, 1, 0, 3)]
    tokens, shares = learning.pad(bags, 2)
    for row in range(len(TEXTS)):
        best = sorted(_of_text(bags, row).values(), reverse=True)[:2]
        kept = {t: s for t, s in zip(tokens[row], shares[row], strict=True) if s > 0}
        np.testing.assert_allclose(sorted(kept.values(), reverse=True), np.array(best) / sum(best))
        assert kept.keys() <= _of_text(bags, row).keys()


def _model_and_bags(block=7):
    pool, others = _conversations(40, 0), _conversations(9, 1)
    clusters = learning.cluster_instructions(pool.instructions, seed=3, clusters=4, dimensions=5)
    model = learning.count_model(pool, clusters, buckets=32, entries_a_block=block)
    return pool, model, learning.response_bags(others, clusters, buckets=32)


def _losses_by_loops(pool, model, bags, amounts, a=20.0, b=200.0):
    """The definition in the module's docstring, one record and token at a time."""
    f = np.asarray(model.memberships, np.float64)
    folded = learning.fold(pool.responses, 32, 3)
    counts = np.zeros((40, 32))
    for d in range(40):
        for token, share in _of_text(folded, d).items():
            counts[d, token] = share
    of_all = (amounts @ counts + b / 32) / (amounts.sum() + b)
    losses = []
    rows = map(np.asarray, (bags.memberships, bags.tokens, bags.shares))
    for membership, tokens, shares in zip(*rows, strict=True):
        loss = 0.0
        for token, share in zip(tokens, shares, strict=True):
            p = 0.0
            for k in range(f.shape[1]):
                weight = amounts * f[:, k]
                theta = (weight @ counts[:, token] + a * of_all[token]) / (weight.sum() + a)
                p += float(membership[k]) * theta
            loss -= share * np.log(p)
        losses.append(loss)
    return np.array(losses)


@pytest.mark.parametrize("block", [7, 1 << 16])
def test_count_model_against_its_definition(block):
    pool, model, bags = _model_and_bags(block)
    amounts = np.random.default_rng(4).uniform(size=40)
    tables = model.fit(amounts)
    np.testing.assert_allclose(np.sum(tables.theta, axis=0), 1, rtol=1e-5)
    expected = _losses_by_loops(pool, model, bags, amounts)
    np.testing.assert_allclose(learning.response_losses(tables, bags), expected, rtol=1e-5)


def test_influence_of_each_record_is_that_of_finite_differences():
    pool, model, bags = _model_and_bags()
    amounts = np.random.default_rng(4).uniform(size=40)
    with jax.enable_x64(True):
        model, wide = to_float64((model, bags))

        @jax.jit
        @jax.grad
        def influence(amounts):
            return learning.response_losses(model.fit(amounts), wide).sum()

        gradient = influence(amounts)
    for record in range(0, 40, 7):
        step = np.zeros(40)
        step[record] = 1e-5
        ends = [_losses_by_loops(pool, model, bags, amounts + s * step).sum() for s in (1, -1)]
        np.testing.assert_allclose(gradient[record], (ends[0] - ends[1]) / 2e-5, rtol=1e-4)


def test_nothing_selected_is_the_uniform_distribution():
    _, model, bags = _model_and_bags()
    losses = learning.response_losses(model.fit(jnp.zeros(40)), bags)
    np.testing.assert_allclose(losses, np.log(32), rtol=1e-5)


def test_clusters_find_topics_and_fit_small_pools():
    pool = _conversations(60, 0)
    clusters = learning.cluster_instructions(
        pool.instructions, seed=0, clusters=3, dimensions=3, temperature=0.02
    )
    homes = [
        set(clusters.assign(_conversations(8, 5, (topic,)).instructions).argmax(axis=1).tolist())
        for topic in TOPICS
    ]
    assert [len(home) for home in homes] == [1, 1, 1]
    assert len(set.union(*homes)) == 3
    few = learning.cluster_instructions(_conversations(3, 0).instructions, seed=0)
    assert few.assign(pool.instructions).shape[1] <= 3


def test_judge_prefers_what_is_about_the_same_and_repeats_itself():
    judge = Judge(seed=1, buckets=256, hidden=8, epochs=24, batch=16)
    others = judge.prepare(_conversations(30, 9, ("cooking",)))
    train = {topic: _conversations(40, 2, (topic,)) for topic in ("cooking", "algebra")}
    losses = {topic: judge.losses(judge.prepare(train[topic]), others) for topic in train}
    assert losses["cooking"].shape == (30,)
    assert losses["cooking"].mean() < losses["algebra"].mean() - 0.5
    again = judge.losses(judge.prepare(train["cooking"]), others)
    np.testing.assert_array_equal(again, losses["cooking"])
    other = Judge(seed=2, buckets=256, hidden=8, epochs=24, batch=16)
    prepared = other.prepare(train["cooking"]), other.prepare(_conversations(30, 9, ("cooking",)))
    assert abs(other.losses(*prepared) - losses["cooking"]).max() > 1e-4


def test_untrained_judge_predicts_the_unigram_of_the_selection():
    judge = Judge(seed=1, buckets=64, hidden=4, epochs=0)
    train, others = _conversations(20, 2), _conversations(5, 3)
    found = judge.losses(judge.prepare(train), judge.prepare(others))
    folded = learning.fold(train.responses, 64, 1)
    seen = np.bincount(folded.tokens, folded.counts, 64)
    log_p = np.log((seen + 200 / 64) / 220)
    wanted = learning.fold(others.responses, 64, 1)
    expected = -np.bincount(wanted.records, wanted.counts * log_p[wanted.tokens], 5)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
