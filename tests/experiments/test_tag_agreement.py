"""Agreement of tags, against counts pair by pair and scikit-learn."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score, precision_score, recall_score

from experiments.tag_agreement import bag_of_words_similarity, kappa, named, shared

_TAGS = st.lists(st.lists(st.integers(0, 3), max_size=3, unique=True), min_size=2, max_size=9)


@given(_TAGS, st.randoms(use_true_random=False))
def test_kappa_is_that_of_all_pairs(found, random):
    truth = [random.sample(range(4), random.randint(1, 2)) for _ in found]
    records = [random.randrange(len(found)) for _ in found]
    for rows in (range(len(found)), records):
        # A record that was drawn twice makes no pair with itself.
        pairs = [(a, b) for a, b in itertools.permutations(rows, 2) if a != b]
        ours = [bool(set(found[a]) & set(found[b])) for a, b in pairs]
        theirs = [bool(set(truth[a]) & set(truth[b])) for a, b in pairs]
        if len(set(ours)) < 2 or len(set(theirs)) < 2:
            continue
        times = np.bincount(rows, minlength=len(found)).astype(float)
        value, precision, recall = kappa(shared(found), shared(truth), times)
        np.testing.assert_allclose(value, cohen_kappa_score(theirs, ours), atol=1e-12)
        np.testing.assert_allclose(precision, precision_score(theirs, ours))
        np.testing.assert_allclose(recall, recall_score(theirs, ours))


def test_names_count_as_many_as_people_gave():
    found = named([[5, 1, 2], [], [3]], [[1, 2], [4], [3]])
    assert found.tolist() == [0.5, 0.0, 1.0]


def test_words_in_common_are_near():
    texts = ["how to brew beer", "a wallet for coins", "nothing"]
    found = bag_of_words_similarity(texts, ["beer brew", "wallet", "absent"])
    assert (found > 0).tolist() == [[True, False, False], [False, True, False], [False] * 3]
    assert found[1, 1] == pytest.approx(2**-0.5)
