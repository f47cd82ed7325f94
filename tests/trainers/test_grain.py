"""A Grain data source over what select writes feeds a JAX trainer: shapes, mask and a step."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

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
