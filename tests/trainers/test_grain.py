"""A Grain data source over what select writes feeds a JAX trainer: shapes, mask and a step."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from absl import flags

from mig_jax.data import SelectedRecords
from tests.trainers.selections import ANSWERS, POOLS, selection
from tests.trainers.tiny_models import EXTRA, byte_tokenizer

pytest.importorskip("grain", reason=EXTRA)
pytest.importorskip("transformers", reason=EXTRA)
pytestmark = pytest.mark.slow

LENGTH, SIZE = 160, 3


@pytest.mark.parametrize("layout", ["messages", "sharegpt", "alpaca"])
def test_batches_and_a_step(tmp_path: Path, layout: str) -> None:
    from tests.trainers.grain_example import batches

    output = selection(tmp_path, POOLS[layout], "--output_layout=messages")
    tokenizer = byte_tokenizer()
    found = batches(output, tokenizer, LENGTH, SIZE)
    learned = []
    for batch in (found[0], found[1]):  # An epoch.
        assert batch.keys() == {"tokens", "learned"}
        assert batch["tokens"].shape == batch["learned"].shape == (SIZE, LENGTH)
        for tokens, mask in zip(batch["tokens"], batch["learned"], strict=True):
            assert tokens[-1] == tokenizer.pad_token_id  # Nothing was cut.
            learned.append(tokenizer.decode(tokens[mask]))
    assert sorted(learned) == sorted("".join(f"{a}<|im_end|>" for a in said) for said in ANSWERS)

    # The smallest of language models: the next token from this one.
    def loss(weights: jax.Array, batch: dict[str, np.ndarray]) -> jax.Array:
        tokens, mask = jnp.asarray(batch["tokens"]), jnp.asarray(batch["learned"])[:, 1:]
        each = optax.softmax_cross_entropy_with_integer_labels(
            weights[tokens[:, :-1]], tokens[:, 1:]
        )
        return jnp.sum(each * mask) / jnp.sum(mask)

    weights = jnp.zeros((len(tokenizer), len(tokenizer)))
    before, slope = jax.value_and_grad(loss)(weights, found[0])
    after = loss(weights - slope, found[0])
    assert np.isclose(before, np.log(len(tokenizer)), rtol=1e-5)
    assert np.isfinite(after)
    assert after < before


@pytest.mark.parametrize("ending", [".jsonl", ".jsonl.gz"])
def test_the_order_picked_is_a_training_order(tmp_path: Path, ending: str) -> None:
    import grain
    from grain.sources import RandomAccessDataSource

    output = selection(tmp_path, POOLS["messages"], ending=ending)
    records = SelectedRecords(output, first=5)
    assert isinstance(records, RandomAccessDataSource)
    assert [record["messages"] for record in grain.MapDataset.source(records)] == [
        record["messages"] for record in records
    ]
    # Grain's older loader, with a process of its own that gets the source pickled.
    flags.FLAGS.mark_as_parsed()  # Grain has some, and asks for them.
    sampler = grain.samplers.SequentialSampler(5)
    loader = grain.DataLoader(data_source=records, sampler=sampler, worker_count=1)
    reading = iter(loader)
    assert [record["messages"] for record in reading] == [record["messages"] for record in records]
    # Its checkpoints tell sources apart by how they are shown.
    assert repr(records) in json.loads(reading.get_state())["data_source"]


def test_batches_of_the_first_picks_in_their_order(tmp_path: Path) -> None:
    from tests.trainers.grain_example import batches

    output = selection(tmp_path, POOLS["messages"])
    tokenizer = byte_tokenizer()
    found = batches(output, tokenizer, LENGTH, SIZE, first=4, seed=None)
    wanted = [SelectedRecords(output)[place % 4]["messages"] for place in range(2 * SIZE)]
    for place, messages in enumerate(wanted):
        tokens = found[place // SIZE]["tokens"][place % SIZE]
        expected = tokenizer.apply_chat_template(messages, return_dict=True)["input_ids"]
        np.testing.assert_array_equal(tokens[: len(expected)], expected)
