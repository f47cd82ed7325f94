"""Batches for a JAX trainer from what `mig-jax select` writes, by Grain: an example to copy.

It needs no more than the records' layout `messages` and a tokenizer with a chat template.
"""

from __future__ import annotations

import os
from typing import Any

import grain
import msgspec
import numpy as np


class SelectedRecords:
    """The records of a JSON lines file by their place, each read when it is asked for."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.fspath(path)
        with open(path, "rb") as stream:
            sizes = [len(line) for line in stream]
        self._ends = np.cumsum(sizes)

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, place: int) -> dict[str, Any]:
        with open(self._path, "rb") as stream:
            stream.seek(self._ends[place - 1] if place else 0)
            return msgspec.json.decode(stream.readline())


def batches(path: str | os.PathLike[str], tokenizer: Any, length: int, size: int) -> Any:
    """Endless batches of `size` records of `length` tokens, shuffled, as a Grain dataset.

    Each is a dict of `tokens`, int32 [size, length], and `learned`, bool [size, length]: the
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

    source = grain.MapDataset.source(SelectedRecords(path))
    return source.shuffle(seed=0).map(tokenized).repeat().batch(size, drop_remainder=True)
