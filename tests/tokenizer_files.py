"""A tiny tokenizer as a file, made by the library that reads it; tests skip without it."""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest


def write_tokenizer(path: str | os.PathLike[str], words: Sequence[str]) -> None:
    """Writes a tokenizer that knows the words, and takes all else letter by letter.

    It asks for a token in front of each text, for padding and for truncation: none is to count.
    """
    tokenizers = pytest.importorskip("tokenizers", reason="the package tokenizers is not here")
    vocabulary = {"[UNK]": 0, "[CLS]": 1, **{word: 2 + n for n, word in enumerate(words)}}
    made = tokenizers.Tokenizer(tokenizers.models.WordPiece(vocabulary, unk_token="[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A", special_tokens=[("[CLS]", 1)]
    )
    made.enable_padding(length=7)
    made.enable_truncation(3)
    made.save(os.fspath(path))


def num_tokens(text: str) -> int:
    """What that tokenizer makes of a text: a token for each run of word symbols or others."""
    import re

    return len(re.findall(r"\w+|[^\w\s]+", text))
