"""Batches for a JAX trainer from what `mig-jax select` writes, by Grain: an example to copy.

It needs no more than the records' layout `messages` and a tokenizer with a chat template.
"""

from __future__ import annotations

import os
from typing import Any

import grain
import numpy as np

from mig_jax.data import SelectedRecords


def batches(
    path: str | os.PathLike[str],
    tokenizer: Any,
    length: int,
    size: int,
    *,
    first: int | None = None,
    seed: int | None = 0,
) -> Any:
    """Endless batches of `size` records of `length` tokens, as a Grain dataset.

    They are of the `first` records picked, or of all, shuffled; without a seed in the order picked.
    Each batch is a dict of `tokens`, int32 [size, length], and `learned`, bool [size, length]: the
    tokens that the assistant says.
    """

    def tokenized(record: dict[str, Any]) -> dict[str, np.ndarray]:
        found = tokenizer.apply_chat_template(
            record["messages"], return_dict=True, return_assistant_tokens_mask=True
        )
        tokens = np.full(length, tokenizer.pad_token_id, np.int32)
        learned = np.zeros(length, bool)
        ids = found["input_ids"][:length]
        tokens[: len(ids)] = ids
        learned[: len(ids)] = found["assistant_masks"][:length]
        return {"tokens": tokens, "learned": learned}

    records = grain.MapDataset.source(SelectedRecords(path, first=first))
    order = records if seed is None else records.shuffle(seed=seed)
    return order.map(tokenized).repeat().batch(size, drop_remainder=True)
