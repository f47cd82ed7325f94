"""Embeddings from texts alone."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from mig_jax.annotation import TextVectors, terms_of
from tests.running import ROOT

_ABOUT = {
    "cooking": "simmer the onions in butter until the sauce thickens, then season the soup",
    "sailing": "trim the jib, ease the mainsheet and tack when the wind shifts at sea",
}


def _texts(seed=0, count=60):
    random = np.random.default_rng(seed)
    kinds = random.integers(2, size=count)
    words = [text.replace(",", "").split() for text in _ABOUT.values()]
    return kinds, [" ".join(random.choice(words[kind], 8)) for kind in kinds]


def _mean_cosines(vectors, kinds):
    """Within kinds, and between them."""
    cosine = vectors @ vectors.T
    same = kinds[:, None] == kinds
    return cosine[same].mean(), cosine[~same].mean()


def test_texts_of_a_kind_are_near_each_other():
    kinds, texts = _texts()
    found = TextVectors.fit(texts)(texts)
    assert found.dtype == np.float32
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    within, between = _mean_cosines(found, kinds)
    assert within > between + 0.3


def test_in_full_width_cosines_are_those_of_tf_idf():
    """Without cutting the space, latent semantic analysis is a rotation."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    _, texts = _texts(count=12)
    found = TextVectors.fit(texts, width=1000)(texts)
    theirs = TfidfVectorizer(sublinear_tf=True, smooth_idf=True, token_pattern=r"\w+")
    counts = theirs.fit_transform(texts)
    counts.data *= 1 - 1 / theirs.idf_[counts.indices]  # Theirs is one more than the logarithm.
    rows = counts.toarray() / np.linalg.norm(counts.toarray(), axis=1, keepdims=True)
    assert np.allclose(found @ found.T, rows @ rows.T, atol=5e-3)


@pytest.mark.parametrize(
    "texts",
    [
        [
            "我想学习机器学习的基础知识",
            "机器学习和深度学习有什么区别",
            "今天晚上吃什么菜好",
            "怎么做好吃的菜",
        ],
        ["ราคาทองคำวันนี้เท่าไร", "ราคาทองคำพรุ่งนี้", "แมวกินปลา", "แมวชอบกินปลาไหม"],
        ["機械学習の基礎を学ぶ", "機械学習とは何か", "猫が魚を食べる", "猫は魚が好きですか"],
    ],
)
def test_scripts_without_spaces_are_more_than_a_word_a_sentence(texts):
    found = TextVectors.fit(texts)(texts)
    within, between = _mean_cosines(found, np.array([0, 0, 1, 1]))
    assert within > between + 0.3
    assert all(len(terms_of(text)) > 5 for text in texts)


def test_embeddings_depend_on_the_text_alone_and_survive_as_arrays():
    _, texts = _texts()
    vectors = TextVectors.fit(texts, seed=3)
    together = vectors(texts)
    alone = np.concatenate([vectors([text]) for text in texts])
    assert together.tobytes() == alone.tobytes()
    again = TextVectors.of_arrays({name: a.copy() for name, a in vectors.arrays().items()})
    assert again(texts).tobytes() == together.tobytes()
    assert TextVectors.fit(texts, seed=3)(texts).tobytes() == together.tobytes()


def test_threads_change_no_bit():
    program = (
        "import hashlib, numpy as np; from mig_jax.annotation import TextVectors, discover_labels\n"
        "r = np.random.default_rng(0)\n"
        "t = [' '.join(f'w{n}' for n in r.zipf(1.4, 30) % 500) for _ in range(800)]\n"
        "v = TextVectors.fit(t)(t); d = discover_labels(t, v, seed=0)\n"
        "print(hashlib.sha256(v.tobytes() + d.centres.tobytes()).hexdigest(), d.names)"
    )
    told = [
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"OMP_NUM_THREADS": n, "OPENBLAS_NUM_THREADS": n},
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
        ).stdout
        for n in ("1", "2")
    ]
    assert told[0] == told[1] != ""


@pytest.mark.parametrize("texts", [[], [""], ["?"], ["one"], ["one", "one"], ["", "a b"]])
def test_small_samples_have_embeddings(texts):
    vectors = TextVectors.fit(texts)
    found = vectors([*texts, "", "unseen"])
    lengths = np.linalg.norm(found, axis=1)
    expected = [1.0 if any(map(str.isalnum, text)) else 0.0 for text in texts]
    assert np.allclose(lengths, [*expected, 0, 0], atol=1e-5)
    assert vectors([]).shape == (0, vectors.dimensions)


def test_arrays_that_do_not_go_together_are_refused():
    arrays = TextVectors.fit(["a b", "c d"]).arrays()
    with pytest.raises(ValueError, match="do not go together"):
        TextVectors.of_arrays(arrays | {"weights": arrays["weights"][1:]})
    with pytest.raises(ValueError, match="not within"):
        TextVectors.of_arrays(arrays | {"terms": arrays["terms"] + (1 << 16)})
    with pytest.raises(ValueError, match="not finite"):
        TextVectors.of_arrays(arrays | {"axes": arrays["axes"] * np.float16(np.nan)})
