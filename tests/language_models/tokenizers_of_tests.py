"""Tiny tokenizers, made by the library that reads them; tests skip without it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

END = "<|im_end|>"
TEXT = (
    "What is a label graph? It joins labels 12 312 12 by how similar they are.\nA label graph is."
)


def words_tokenizer(words: list[str], special: list[str]) -> Any:
    """One token a word or mark, spaces being left out; special tokens come first."""
    tokenizers = pytest.importorskip("tokenizers", reason="the package tokenizers is not here")
    every = {word: n for n, word in enumerate([*special, *words])}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(every, unk_token=special[0]))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.add_special_tokens(special)
    return made


def byte_tokenizer(*, digits: bool, texts: Sequence[str] = (TEXT,) * 3, size: int = 300) -> Any:
    """Byte-level merges, some of digits; each digit is a token all the same if `digits`."""
    tokenizers = pytest.importorskip("tokenizers", reason="the package tokenizers is not here")
    byte_level = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = byte_level
    made.decoder = tokenizers.decoders.ByteLevel()
    made.train_from_iterator(
        texts,
        tokenizers.trainers.BpeTrainer(
            vocab_size=size,
            special_tokens=["<|endoftext|>", "<|im_start|>", END],
            initial_alphabet=byte_level.alphabet(),
            show_progress=False,
        ),
    )
    if digits:
        split = tokenizers.pre_tokenizers.Digits(individual_digits=True)
        made.pre_tokenizer = tokenizers.pre_tokenizers.Sequence([split, byte_level])
    return made
