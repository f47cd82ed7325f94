"""The decoder against plain loops over tokens, its gradients against finite differences."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mig_jax.language_models import (
    Batch,
    embed,
    lay_out,
    layers_between,
    pack,
    random_weights,
    run_layers,
    token_logits,
    token_losses,
)
from tests.language_models.decoders import (
    GEMMA,
    LLAMA,
    MATRICES,
    logits_of,
    nats_of,
    records_of,
    weights_of,
)

ROW = 12
ENCODED = records_of([7, 5, 9, 3, 2], [1, 1, 1, 1, 1], 1, LLAMA)
ROWS = pack(ENCODED.lengths, np.arange(5), ROW)
CASES = pytest.mark.parametrize(
    ("a", "weights"),
    [
        (LLAMA, weights_of(LLAMA, 2)),
        (LLAMA, weights_of(LLAMA, 3, head=True, head_norms=True)),
        (GEMMA, weights_of(GEMMA, 4)),
    ],
    ids=["llama", "qwen3", "gemma3"],
)


def adapters_of(a, weights, rank=2):
    """Of every matrix, none of them 0."""
    rng = np.random.default_rng(9)
    shapes = {name: weights["layers"][name].shape for name in MATRICES}
    return {
        name: {
            "a": rng.normal(size=(layers, inputs, rank)).astype(np.float32) * 0.2,
            "b": rng.normal(size=(layers, rank, outputs)).astype(np.float32) * 0.2,
        }
        for name, (layers, inputs, outputs) in shapes.items()
    }


def with_adapters(weights, adapters):
    added = {name: own["a"] @ own["b"] for name, own in adapters.items()}
    layers = {name: w + added.get(name, 0) for name, w in weights["layers"].items()}
    return weights | {"layers": layers}


def logits_in_rows(a, weights, batch: Batch, adapters=None):
    x = embed(a, weights, batch.tokens)
    every = layers_between(weights, 0, a.layers)
    x = run_layers(a, every, x, batch.positions, batch.segments, adapters=adapters)
    head = weights.get("head", weights["embedding"])
    return token_logits(a, head, weights["norm"], x, batch.at)


@CASES
def test_packed_records_have_the_logits_of_each_alone(a, weights):
    assert len(ROWS) < 5
    batch = lay_out(ENCODED, ROWS, 4, ROW)  # One row is empty.
    found = np.asarray(jax.jit(lambda w: logits_in_rows(a, w, batch))(weights))
    assert np.isfinite(found).all()
    for record in range(5):
        wanted = logits_of(a, weights, ENCODED.of(record))[:-1]
        np.testing.assert_allclose(found[batch.owners == record], wanted, rtol=2e-4, atol=2e-4)


def test_windows_and_bases_are_those_of_each_layer():
    """The oracle differs if they do not count: so they do."""
    weights = weights_of(GEMMA, 4)
    ids = ENCODED.of(2)
    other = dataclasses.replace(GEMMA, windows=GEMMA.windows[::-1])
    assert abs(logits_of(GEMMA, weights, ids) - logits_of(other, weights, ids)).max() > 0.01
    other = dataclasses.replace(GEMMA, rope_bases=(10.0,) * 3)
    assert abs(logits_of(GEMMA, weights, ids) - logits_of(other, weights, ids)).max() > 0.01


@CASES
def test_gradients_are_those_of_finite_differences(a, weights):
    encoded = records_of([6, 5], [3, 2], 5, a)
    batch = lay_out(encoded, [[0, 1]], 1, ROW)
    adapters = adapters_of(a, weights)

    def loss(both):
        logits = logits_in_rows(a, both["weights"], batch, both["adapters"])
        return jnp.sum(token_losses(logits, batch.targets) * batch.weights)

    def oracle(both):
        whole = with_adapters(both["weights"], both["adapters"])
        return sum(nats_of(a, whole, encoded.of(n), encoded.starts[n]).sum() for n in (0, 1))

    both = {"weights": weights, "adapters": adapters}
    value, gradient = jax.jit(jax.value_and_grad(loss))(both)
    assert float(value) == pytest.approx(oracle(both), rel=1e-4)
    both = jax.tree.map(lambda w: w.astype(np.float64), both)
    leaves, kind = jax.tree.flatten(both)
    slopes = list(map(np.asarray, jax.tree.leaves(gradient)))
    rng = np.random.default_rng(6)
    for n, leaf in enumerate(leaves):  # Each kind of weights by itself, in one direction.
        way = rng.normal(size=leaf.shape)
        way /= np.linalg.norm(way)
        ends = [
            oracle(jax.tree.unflatten(kind, [*leaves[:n], leaf + step * way, *leaves[n + 1 :]]))
            for step in (1e-5, -1e-5)
        ]
        slope = (ends[0] - ends[1]) / 2e-5
        assert float((slopes[n] * way).sum()) == pytest.approx(slope, rel=2e-3, abs=2e-3)


def test_some_layers_after_others_are_all_of_them():
    weights = weights_of(GEMMA, 7)
    batch = lay_out(ENCODED, ROWS, 4, ROW)
    x = embed(GEMMA, weights, batch.tokens)
    whole = run_layers(GEMMA, weights["layers"], x, batch.positions, batch.segments)
    parts = x
    for first, end in ((0, 1), (1, 3)):
        own = layers_between(weights, first, end)
        parts = run_layers(GEMMA, own, parts, batch.positions, batch.segments, first)
    np.testing.assert_allclose(parts, whole, rtol=1e-5, atol=1e-5)


def test_random_weights_are_a_decoder_that_has_learned_nothing():
    weights = jax.tree.map(np.asarray, random_weights(LLAMA, jax.random.key(0)))
    assert {name: w.shape[1:] for name, w in weights["layers"].items() if name in MATRICES} == {
        name: w.shape[1:] for name, w in weights_of(LLAMA, 0)["layers"].items() if name in MATRICES
    }
    nats = np.concatenate([nats_of(LLAMA, weights, ENCODED.of(n), 1) for n in range(5)])
    assert nats.mean() == pytest.approx(np.log(LLAMA.vocabulary), abs=1.5)
