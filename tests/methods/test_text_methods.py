"""Methods that go by scores, labels and texts, against plain loops."""

from __future__ import annotations

import dataclasses
import itertools
import math
import zlib
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mig_jax.methods import (
    METHODS,
    Limits,
    Texts,
    compression_ratio,
    hashed_ngrams,
    log_importance,
    zip_stages,
)
from tests.methods.pools import random_candidates, random_text

SEEDS = st.integers(0, 2**32 - 1)
UNLIMITED = Limits()


def order_of(name, candidates, limits=UNLIMITED, seed=0):
    return list(METHODS[name].order(candidates, np.random.default_rng(seed), limits))


def test_top_scores_and_long_responses_come_first():
    pool = random_candidates(np.random.default_rng(1))
    scores = pool.scores.tolist()
    assert order_of("top_score", pool) == sorted(range(60), key=lambda n: (-scores[n], n))
    texts = Texts(["long " * 50, "", "x", "y"], ["ab", "éé", "", "abcd"])
    few = dataclasses.replace(pool, texts=lambda: texts)
    assert order_of("longest", few) == [1, 3, 0, 2]  # 4 bytes, 4, 2, 0.


def tags_in_rounds(tags: list[set[int]]) -> list[int]:
    """Algorithm 1 of #InsTag, with tags that one record alone has left out."""
    counts = Counter(itertools.chain.from_iterable(tags))
    tags = [{tag for tag in of_record if counts[tag] >= 2} for of_record in tags]
    taken: list[int] = []
    by_complexity = sorted(range(len(tags)), key=lambda n: (-len(tags[n]), n))
    while True:
        seen: set[int] = set()
        before = len(taken)
        for record in by_complexity:
            if record not in taken and len(seen | tags[record]) > len(seen):
                taken.append(record)
                seen |= tags[record]
        if len(taken) == before:
            return taken


@given(SEEDS)
def test_instag_takes_complex_records_with_a_new_tag(seed):
    pool = random_candidates(np.random.default_rng(seed), 10, most_words=2)
    tags = [set(pool.labels[a:b].tolist()) for a, b in itertools.pairwise(pool.offsets)]
    assert order_of("instag", pool) == tags_in_rounds(tags)


def zip_by_whole_texts(texts: list[bytes], k1: int, k2: int, k3: int) -> list[int]:
    """Algorithm 1 of ZIP: every ratio is that of all texts compressed anew."""

    def ratio(records) -> float:
        joined = b"".join(texts[record] for record in records)
        return len(joined) / len(zlib.compress(joined, 9))

    redundancy = {record: ratio([record]) for record in range(len(texts))}
    taken: list[int] = []
    while len(taken) < len(texts):
        left = [record for record in range(len(texts)) if record not in taken]
        first = sorted(left, key=lambda n: (redundancy[n], n))[:k1]
        redundancy |= {record: ratio([*taken, record]) for record in first}
        second = sorted(first, key=lambda n: (redundancy[n], n))[:k2]
        of_round: list[int] = []
        for _ in range(min(k3, len(second))):
            best = min(second, key=lambda n: (ratio([*of_round, n]), n))
            second.remove(best)
            of_round.append(best)
        taken += of_round
    return taken


@settings(max_examples=15, deadline=None)
@given(SEEDS, st.sampled_from([(20, 8, 3), (9, 9, 1), (7, 5, 5)]))
def test_zip_is_that_of_whole_texts(seed, stages):
    pool = random_candidates(np.random.default_rng(seed), 24)
    texts = [f"{text}\n".encode() for text in pool.texts().whole]
    found = list(zip_stages(*stages)(pool, np.random.default_rng(0), UNLIMITED))
    assert found == zip_by_whole_texts(texts, *stages)


def test_zip_sees_beyond_what_a_block_of_the_compressor_holds():
    rng = np.random.default_rng(0)
    texts = Texts([""] * 30, [rng.bytes(3000).hex() for _ in range(30)])
    pool = dataclasses.replace(random_candidates(rng, 30), texts=lambda: texts)
    found = list(zip_stages(12, 6, 3)(pool, rng, UNLIMITED))
    assert found == zip_by_whole_texts([f"{text}\n".encode() for text in texts.whole], 12, 6, 3)


def test_zip_has_the_numbers_of_the_paper_and_refuses_others():
    assert compression_ratio(b"") == 0
    assert compression_ratio(b"a" * 1000) == 1000 / len(zlib.compress(b"a" * 1000, 9))
    pool = random_candidates(np.random.default_rng(2))
    by_paper = zip_stages(10_000, 200, 100)(pool, np.random.default_rng(0), UNLIMITED)
    assert order_of("zip", pool) == list(by_paper)
    with pytest.raises(ValueError, match="K1 ≥ K2 ≥ K3 ≥ 1, got 3, 4 and 1"):
        zip_stages(3, 4, 1)


def test_zip_looks_only_at_what_fits():
    pool = random_candidates(np.random.default_rng(4))
    order = order_of("zip", pool, Limits(tokens=60))
    assert order
    assert pool.costs[order].sum() <= 60
    left = np.setdiff1d(np.arange(60), order)
    assert (pool.costs[left] > 60 - pool.costs[order].sum()).all()


def ngrams_of(text: str) -> Counter[str]:
    """Unigrams and bigrams of a text of words and single signs that no word touches."""
    words = text.lower().replace(";", " ;").replace(",", " ,").replace("!", " !").split()
    return Counter(words) + Counter(f"{a} {b}" for a, b in itertools.pairwise(words))


def test_importance_is_the_ratio_of_two_bags():
    rng = np.random.default_rng(3)
    texts, wanted = ([random_text(rng) for _ in range(20)] for _ in range(2))

    def bucket(ngram: str) -> int:
        return int(hashed_ngrams([ngram]).buckets[-1])  # Bigrams come last.

    def share_of(counts: Counter[str]) -> dict[int, float]:
        found: Counter[int] = Counter()
        for ngram, count in counts.items():
            found[bucket(ngram)] += count
        return {place: count / counts.total() for place, count in found.items()}

    of_pool, of_wanted = (
        share_of(sum(map(ngrams_of, some), Counter())) for some in (texts, wanted)
    )
    expected = [
        sum(
            count * (math.log(of_wanted.get(place, 0) + 1e-8) - math.log(of_pool[place] + 1e-8))
            for ngram, count in ngrams_of(text).items()
            for place in [bucket(ngram)]
        )
        for text in texts
    ]
    found = log_importance(hashed_ngrams(texts), hashed_ngrams(wanted).shares())
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_buckets_are_of_words_in_lower_case_and_of_runs_of_signs():
    found = hashed_ngrams(["Ab, ab...", "", "ab , AB ..."])
    first, third = (found.buckets[found.texts == text] for text in (0, 2))
    np.testing.assert_array_equal(first, third)
    assert len(first) == 4 + 3
    assert found.num_texts == 3
    assert found.buckets.max() < 10_000
    many = hashed_ngrams([" ".join(f"word{n}" for n in range(20_000))]).buckets
    assert 9_500 < len(np.unique(many)) <= 10_000  # Spread over nearly all.


def test_dsir_draws_by_weight_and_gives_each_task_its_share():
    """Texts of three languages of one word: a task's weights are equal within its language."""
    words, number = ["aa", "bb", "cc"], 40
    rng = np.random.default_rng(0)
    languages = rng.permutation(np.repeat(np.arange(3), number))
    texts = Texts([""] * 3 * number, [" ".join([words[n]] * 8) for n in languages])
    pool = random_candidates(rng, 3 * number)
    assert pool.wanted is not None
    wanted = dataclasses.replace(
        pool.wanted,
        texts=Texts([""] * 9, ["aa aa aa"] * 8 + ["cc cc cc"]),
        groups=np.array(["x"] * 8 + ["y"]),
    )
    pool = dataclasses.replace(
        pool, texts=lambda: texts, wanted=wanted, costs=np.where(languages == 2, 4, 1)
    )
    by_records = languages[order_of("dsir", pool)[:20]]
    assert np.bincount(by_records, minlength=3).tolist() == [10, 0, 10]
    by_tokens = languages[order_of("dsir", pool, Limits(tokens=100))[:25]]
    assert np.bincount(by_tokens, minlength=3).tolist() == [20, 0, 5]
    pooled = languages[order_of("dsir_pooled", pool)]
    assert (pooled[:number] == 0).all()
    assert (pooled[number : 2 * number] == 2).all()
    # Of equal weights, Gumbel noise makes every order as likely.
    first = [order_of("dsir_pooled", pool, seed=seed)[0] for seed in range(30)]
    assert len(set(first)) > 10
