"""Gradients of records, against automatic differentiation of the matrix they belong to."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mig_jax.language_models import (
    EncodedRecords,
    Projections,
    TunedModel,
    Tuning,
    batches_of,
    gradients_of,
    main_directions,
    random_weights,
)
from tests.language_models.decoders import LLAMA

RNG = np.random.default_rng(0)
LENGTHS = RNG.integers(5, 12, 6)
RECORDS = EncodedRecords(
    RNG.integers(0, LLAMA.vocabulary, LENGTHS.sum()).astype(np.int32),
    np.concatenate([[0], np.cumsum(LENGTHS)]).astype(np.int64),
    np.full(6, 2, np.int32),
)
NEW = RNG.normal(size=(16, 3)).astype(np.float32), RNG.normal(size=(16, 4)).astype(np.float32)


@pytest.mark.parametrize("with_ends", [True, False])
def test_a_gradient_is_that_of_a_matrix_added_to_the_last_state(with_ends):
    model = TunedModel(LLAMA, random_weights(LLAMA, jax.random.key(0)), Tuning(0))
    own = model.start(jax.random.key(1))
    told = []
    for batch, x in batches_of(RECORDS, np.arange(6), 32, 2, None):
        last = np.append(batch.owners[1:] != batch.owners[:-1], True)

        def loss(matrix, record, batch=batch, x=x, last=last):
            states, _, _ = model.errors(own, batch, x)
            logits = (states + states @ matrix) @ own["embedding"].T
            places = jnp.arange(len(batch.targets))
            nats = jax.nn.logsumexp(logits, axis=1) - logits[places, batch.targets]
            asked = (batch.owners == record) & (with_ends | ~last)
            return jnp.sum(nats * asked), jnp.sum(nats * asked) / asked.sum()

        records, found, losses = gradients_of(model, own, Projections(*NEW), batch, x, with_ends)
        told += records.tolist()
        for record, row, mean in zip(records, found, losses, strict=True):
            full, expected = jax.grad(loss, has_aux=True)(jnp.zeros((16, 16)), record)
            projected = NEW[0].T @ np.asarray(full) @ NEW[1]
            np.testing.assert_allclose(row.reshape(3, 4), projected, rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(mean, expected, rtol=1e-5)
    assert sorted(told) == list(range(6))


def test_main_directions_are_those_of_a_singular_value_decomposition():
    rows = RNG.normal(size=(30, 5)).astype(np.float32) * np.array([1, 9, 3, 7, 2], np.float32)
    _, _, directions = np.linalg.svd(rows.astype(np.float64), full_matrices=False)
    found = main_directions(rows, 2)
    np.testing.assert_allclose(np.abs(directions[:2] @ found), np.eye(2), atol=1e-5)
