"""What learns, where it starts, and that it learns."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from mig_jax.language_models import (
    Recipe,
    TunedModel,
    Tuning,
    batches_of,
    embed,
    fine_tune,
    fine_tune_side_by_side,
    lay_out,
    layers_between,
    run_layers,
)
from tests.language_models.decoders import GEMMA, LLAMA, nats_of, records_of, weights_of

ROW = 12
ENCODED = records_of([7, 5, 9, 3], [2, 1, 4, 1], 11, GEMMA)
WEIGHTS = weights_of(GEMMA, 12)
BATCH = lay_out(ENCODED, [[0, 1], [2, 3]], 2, ROW)
KEY = jax.random.key(3)


def lower_part(layers):
    """What the layers below make of the batch."""
    x = embed(GEMMA, WEIGHTS, BATCH.tokens)
    own = layers_between(WEIGHTS, 0, layers)
    return np.asarray(run_layers(GEMMA, own, x, BATCH.positions, BATCH.segments))


def weighted(nats):
    return float((np.asarray(nats) * BATCH.weights).sum() / BATCH.weights.sum())


@pytest.fixture(scope="module")
def oracle():
    """The nats of each response token, in the order of the batch."""
    return np.concatenate(
        [nats_of(GEMMA, WEIGHTS, ENCODED.of(n), int(ENCODED.starts[n])) for n in range(4)]
    )


@pytest.mark.parametrize(
    "tuning",
    [Tuning(), Tuning(first=2), Tuning(rank=2), Tuning(first=1, rank=2)],
    ids=["full", "upper", "adapters", "adapters above"],
)
def test_training_starts_at_the_base_model_and_lowers_its_loss(tuning, oracle):
    model = TunedModel(GEMMA, WEIGHTS, tuning)
    x = None if tuning.whole else lower_part(tuning.first)
    start = model.start(KEY)
    found = np.asarray(model.losses(start, BATCH, x))[BATCH.owners >= 0]
    np.testing.assert_allclose(found, oracle, rtol=1e-4, atol=1e-4)

    steps = 30
    told = []
    own, losses = fine_tune(
        model, [(BATCH, x)] * steps, steps, Recipe(0.05), KEY, lambda *step: told.append(step)
    )
    assert [number for number, _ in told] == list(range(steps))
    np.testing.assert_allclose([loss for _, loss in told], losses)
    assert losses[0] == pytest.approx(oracle.mean(), rel=1e-4)
    assert weighted(model.losses(own, BATCH, x)) < 0.5 * oracle.mean()
    # What is fixed is not among what has learned, and what has started is still as it was.
    if tuning.rank:
        assert set(own) == {"adapters"}
    elif not tuning.whole:
        assert set(own) == {"layers", "norm"}
        assert own["layers"]["query"].shape[0] == GEMMA.layers - tuning.first
    again = np.asarray(model.losses(model.start(KEY), BATCH, x))[BATCH.owners >= 0]
    assert np.array_equal(again, found)


def test_the_first_step_goes_down_the_gradient_by_the_step_size():
    """Adam's first step: each weight moves by the step size, against the sign of its slope."""
    model = TunedModel(GEMMA, WEIGHTS, Tuning(first=2))
    x = lower_part(2)
    before = jax.tree.map(np.asarray, model.start(KEY))
    own, _ = fine_tune(model, [(BATCH, x)], 1, Recipe(1e-3), KEY)
    moved = np.asarray(own["norm"]) - before["norm"]
    for n in (0, 7):
        losses = []
        for by in (1e-4, -1e-4):
            norm = WEIGHTS["norm"].astype(np.float64).copy()
            norm[n] += by
            changed = WEIGHTS | {"norm": norm}
            nats = [
                nats_of(GEMMA, changed, ENCODED.of(r), int(ENCODED.starts[r])) for r in range(4)
            ]
            losses.append(np.concatenate(nats).mean())
        assert moved[n] == pytest.approx(-1e-3 * np.sign(losses[0] - losses[1]), rel=1e-2)


def test_a_head_of_its_own_learns_with_all_weights_and_stays_otherwise():
    weights = weights_of(LLAMA, 13, head=True)
    assert {"head", "embedding"} < set(TunedModel(LLAMA, weights, Tuning()).start(KEY))
    assert "head" not in TunedModel(LLAMA, weights, Tuning(first=1)).start(KEY)


def test_step_sizes_rise_and_fall():
    sizes = Recipe(2.0, rise=0.25).step_sizes(8)
    assert sizes.dtype == np.float32
    assert sizes.max() == pytest.approx(2.0)
    assert int(sizes.argmax()) == 1
    assert (np.diff(sizes[2:]) < 0).all()
    assert sizes[-1] > 0
    assert Recipe(1.0).step_sizes(1).tolist() == [1.0]


def test_an_epoch_has_each_record_once_in_an_order_of_chance():
    encoded = records_of([3, 4, 5, 6, 7, 8] * 4, [1, 2, 1, 2, 3, 4] * 4, 14, LLAMA)
    records = np.arange(1, 24)

    def owners(seed):
        rng = np.random.default_rng(seed)
        batches = list(batches_of(encoded, records, ROW, 2, None, rng))
        assert all(x is None and batch.tokens.shape == (2, ROW) for batch, x in batches)
        every = np.concatenate([batch.owners for batch, _ in batches])
        return every[every >= 0]

    first = owners(1)
    said = encoded.lengths - encoded.starts
    assert np.bincount(first, minlength=24).tolist() == [0, *said[1:].tolist()]
    assert np.array_equal(first, owners(1))
    assert not np.array_equal(first, owners(2))


@pytest.mark.parametrize("tuning", [Tuning(), Tuning(first=2), Tuning(rank=2)], ids=str)
def test_models_side_by_side_learn_as_each_alone(tuning):
    """Selections of several lengths: one that is done does not learn on."""
    model = TunedModel(GEMMA, WEIGHTS, tuning)
    x = None if tuning.whole else lower_part(tuning.first)
    turned = lay_out(ENCODED, [[2], [0, 3]], 2, ROW)
    turned_x = None if x is None else np.zeros_like(x)
    selections = [[(BATCH, x)] * 5, [(turned, turned_x), (BATCH, x)]]
    keys = [jax.random.key(8), KEY]
    told = []
    both, losses = fine_tune_side_by_side(model, selections, Recipe(0.02), keys, told.append)
    assert told == list(range(5))
    for k, (batches, key) in enumerate(zip(selections, keys, strict=True)):
        alone, expected = fine_tune(model, batches, len(batches), Recipe(0.02), key)
        np.testing.assert_allclose(losses[k], expected, rtol=1e-4)
        found = model.losses(jax.tree.map(lambda w, k=k: w[k], both), BATCH, x)
        np.testing.assert_allclose(found, model.losses(alone, BATCH, x), rtol=2e-3, atol=2e-3)
