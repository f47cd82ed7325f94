"""The projected gradients of records against finite differences of plain loops."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from mig_jax.language_models import (
    Projections,
    TunedModel,
    Tuning,
    gradients_of,
    lay_out,
    main_directions,
)
from tests.language_models.decoders import LLAMA, logits_of, records_of, weights_of

ROW = 12
ENCODED = records_of([7, 5, 9, 3], [2, 1, 4, 1], 61, LLAMA)
WEIGHTS = weights_of(LLAMA, 62, head=True)
STEP = 1e-5


def last_states(ids):
    """What the head is applied to, float64 [S, d]: the head that is the identity shows it."""
    return logits_of(LLAMA, WEIGHTS | {"head": np.eye(LLAMA.width)}, ids)


def loss(states, targets, added):
    """The sum over tokens after a matrix is added to the last hidden states."""
    logits = (states + states @ added) @ WEIGHTS["head"].astype(np.float64).T
    totals = np.log(np.exp(logits).sum(axis=1))
    return (totals - logits[np.arange(len(targets)), targets]).sum()


@pytest.mark.parametrize("with_ends", [True, False])
def test_a_record_has_the_gradient_of_a_matrix_at_the_end(with_ends):
    rng = np.random.default_rng(1)
    projections = Projections(
        rng.normal(size=(LLAMA.width, 3)).astype(np.float32),
        rng.normal(size=(LLAMA.width, 2)).astype(np.float32),
    )
    model = TunedModel(LLAMA, WEIGHTS, Tuning())
    batch = lay_out(ENCODED, [[0, 1], [2, 3]], 2, ROW)
    records, found, means = gradients_of(
        model, model.start(jax.random.key(0)), projections, batch, None, with_ends
    )
    assert records.tolist() == [0, 1, 2, 3]
    for n in range(4):
        ids, start = ENCODED.of(n), int(ENCODED.starts[n])
        states, targets = last_states(ids)[start - 1 : -1], ids[start:]
        if not with_ends:
            states, targets = states[:-1], targets[:-1]
        wanted = []
        for s in projections.states.T:
            for e in projections.errors.T:
                way = STEP * np.outer(s, e).astype(np.float64)
                wanted.append((loss(states, targets, way) - loss(states, targets, -way)) / 2 / STEP)
        np.testing.assert_allclose(found[n], wanted, rtol=2e-3, atol=2e-3 * np.abs(wanted).max())
        assert means[n] == pytest.approx(loss(states, targets, 0 * way) / len(targets), 1e-4)


def test_main_directions_hold_most_of_the_rows():
    rng = np.random.default_rng(2)
    basis = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    rows = (rng.normal(size=(50, 6)) * [9, 5, 1, 0.1, 0.1, 0.1] @ basis.T).astype(np.float32)
    found = main_directions(rows, 2)
    _, _, wanted = np.linalg.svd(rows.astype(np.float64), full_matrices=False)
    np.testing.assert_allclose(np.abs(found.T @ wanted[:2].T), np.eye(2), atol=1e-4)
