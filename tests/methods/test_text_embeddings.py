"""Embeddings from the texts alone, against TF-IDF by plain loops, and by an encoder."""

from __future__ import annotations

import collections
import math

import numpy as np

from mig_jax.methods import Texts, text_embeddings

POOL = Texts(
    ["Add the apples.", "How do I bake bread?", "Add the pears, and ADD the plums!", "Bake bread"],
    ["There are 3 apples.", "Bake the dough.", "There are 5 pears.", "Dough, then heat."],
)
OTHERS = Texts(["Add the apples.", "Bake, bake a café!"], ["There are 3 apples.", "bread"])


def words(text: str) -> collections.Counter[str]:
    kept = "".join(sign if sign.isalnum() else " " for sign in text.lower())
    return collections.Counter(kept.split())


def weighted(texts: list[str], pool: list[str]) -> np.ndarray:
    """(1 + log count) · (log((1 + N) / (1 + records with the word)) + 1), rows of unit length."""
    known = sorted(set().union(*map(words, pool)))
    has = {word: sum(word in words(text) for text in pool) for word in known}
    inverse = {word: math.log((1 + len(pool)) / (1 + has[word])) + 1 for word in known}
    rows = np.array(
        [
            [(1 + math.log(count[word])) * inverse[word] if count[word] else 0.0 for word in known]
            for count in map(words, texts)
        ]
    )
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_cosines_are_those_of_the_weighted_words_where_all_dimensions_are_kept():
    """What a wanted record has beyond the pool, its words and directions, is left out."""
    pool, wanted = text_embeddings(POOL, OTHERS)
    assert wanted is not None
    exact = weighted(POOL.whole, POOL.whole)
    others = weighted(OTHERS.whole, POOL.whole)
    np.testing.assert_allclose(pool @ pool.T, exact @ exact.T, atol=1e-5)
    inside = others @ np.linalg.pinv(exact) @ exact
    inside /= np.linalg.norm(inside, axis=1, keepdims=True)
    np.testing.assert_allclose(wanted @ pool.T, inside @ exact.T, atol=1e-5)
    np.testing.assert_allclose(wanted[0], pool[0], atol=1e-5)
    assert pool.dtype == wanted.dtype == np.float32


def random_texts(number: int) -> Texts:
    rng = np.random.default_rng(0)
    drawn = [" ".join(f"w{word}" for word in rng.zipf(1.5, 20)) for _ in range(2 * number)]
    return Texts(drawn[:number], drawn[number:])


def test_dimensions_and_length_and_seed():
    texts = random_texts(60)
    found, nothing = text_embeddings(texts, dimensions=16, seed=3)
    assert nothing is None
    assert found.shape == (60, 16)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(found, text_embeddings(texts, dimensions=16, seed=3)[0])
    # Of all directions of 16 dimensions these lose least of the words: as the exact ones do.
    exact = weighted(texts.whole, texts.whole)
    left, values, _ = np.linalg.svd(exact, full_matrices=False)
    nearest = left[:, :16] * values[:16]
    nearest /= np.linalg.norm(nearest, axis=1, keepdims=True)
    assert np.abs(found @ found.T - nearest @ nearest.T).mean() < 0.05


def test_texts_without_words_are_zeros():
    texts = Texts([*POOL.instructions, "?"], [*POOL.responses, ""])
    found, wanted = text_embeddings(texts, Texts(["!", "unheard"], ["", "of"]))
    assert wanted is not None
    assert not found[4].any()
    assert not wanted.any()
    np.testing.assert_allclose(np.linalg.norm(found[:4], axis=1), 1, atol=1e-5)
    assert not text_embeddings(Texts(["?", "-"], ["", "!"]))[0].any()


def test_an_encoder_reads_instruction_and_response():
    seen = []

    def encode(texts):
        seen.append(list(texts))
        return np.eye(len(texts), 5, dtype=np.float32)

    pool, wanted = text_embeddings(POOL, OTHERS, encode=encode)
    assert wanted is not None
    assert (pool.shape, wanted.shape) == ((4, 5), (2, 5))
    assert seen == [POOL.whole, OTHERS.whole]
    assert seen[1][1] == "Bake, bake a café!\nbread"
