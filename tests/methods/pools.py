"""A small pool of random texts, labels and scores, which every method can choose from."""

from __future__ import annotations

import functools

import numpy as np

from mig_jax.methods import Candidates, Texts, Wanted, text_embeddings

WORDS = (
    *("the", "sum", "of", "two", "even", "numbers", "is", "even;"),
    *("write", "code,", "then", "test", "it!", "why", "does", "bread", "rise"),
)


def random_text(rng: np.random.Generator, most: int = 30) -> str:
    return " ".join(rng.choice(WORDS, rng.integers(1, most)))


def random_texts(rng: np.random.Generator, number: int, most: int = 30) -> Texts:
    asked, answered = ([random_text(rng, most) for _ in range(number)] for _ in range(2))
    return Texts(asked, answered)


def random_candidates(
    rng: np.random.Generator, number: int = 60, *, most_words: int = 30
) -> Candidates:
    """Records with all that methods look at; equal scores, labels and texts are common."""
    texts = random_texts(rng, number, most_words)
    for record in range(1, number, 7):
        texts.instructions[record] = texts.instructions[record - 1]
        texts.responses[record] = texts.responses[record - 1]
    rows = [np.sort(rng.choice(12, rng.integers(0, 5), replace=False)) for _ in range(number)]
    wanted_texts = random_texts(rng, 9)
    losses = rng.integers(1, 9, number).astype(np.float32)
    gradients = tuple(rng.normal(size=(n, 6)).astype(np.float32) for n in (number, 9))

    @functools.cache
    def embeddings() -> tuple[np.ndarray, np.ndarray]:
        of_pool, of_wanted = text_embeddings(texts, wanted_texts, dimensions=4)
        assert of_wanted is not None
        return of_pool, of_wanted

    def costs_of(some: Texts) -> np.ndarray:
        return np.array([len(text.split()) for text in some.whole], np.int64)

    return Candidates(
        labels=np.concatenate([np.zeros(0, np.int32), *rows]).astype(np.int32),
        offsets=np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64),
        num_labels=12,
        scores=rng.integers(0, 6, number).astype(np.float32),
        costs=costs_of(texts),
        texts=lambda: texts,
        embeddings=lambda: embeddings()[0],
        response_losses=lambda: (losses, np.full(number, 8, np.float32)),
        gradients=lambda: gradients,
        wanted=Wanted(
            wanted_texts,
            np.array(list("aaabbbbcc")),
            lambda: embeddings()[1],
            costs_of(wanted_texts),
        ),
        groups=rng.integers(0, 3, number).astype(np.int32),
    )
