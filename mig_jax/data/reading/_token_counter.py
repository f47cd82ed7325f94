"""Counts tokens of texts, as the tokenizer of the model that is trained does."""

from __future__ import annotations

import functools
import hashlib
import importlib
import os
from collections.abc import Sequence
from typing import Any

from mig_jax.errors import InputError

__all__ = ["TokenCounter"]


class TokenCounter:
    """Counts what a Hugging Face tokenizer makes of texts, without special tokens.

    Args:
      name: a `tokenizer.json`, a folder that has one, or the name of a model on the hub.
      flag: what errors name.

    Raises:
      InputError: if the package `tokenizers` is not installed, or there is no such tokenizer.
    """

    def __init__(self, name: str, *, flag: str = "--tokenizer") -> None:
        self.name = name
        self._tokenizer = _load(name, flag)

    def __call__(self, records: Sequence[Sequence[str]]) -> list[int]:
        """The tokens of each record: of each of its texts by itself, added up."""
        every = [text for texts in records for text in texts]
        counts = map(len, self._tokenizer.encode_batch_fast(every, add_special_tokens=False))
        return [sum(next(counts) for _ in texts) for texts in records]

    @functools.cached_property
    def digest(self) -> str:
        """A hash of all that the counts depend on besides the texts."""
        version = importlib.import_module("tokenizers").__version__
        return hashlib.sha256(f"{version} {self._tokenizer.to_str()}".encode()).hexdigest()[:32]


def _load(name: str, flag: str) -> Any:
    try:
        tokenizers = importlib.import_module("tokenizers")
    except ModuleNotFoundError:
        raise InputError(
            f"{flag}: the package tokenizers is not installed; expected the extra tokens "
            "(pip install 'mig-jax[tokens]')"
        ) from None
    path = os.path.join(name, "tokenizer.json") if os.path.isdir(name) else name
    try:
        if os.path.exists(path):
            tokenizer = tokenizers.Tokenizer.from_file(path)
        elif path != name or name.endswith(".json") or os.path.isabs(name) or name[:1] == ".":
            raise InputError(
                f"{flag}: {path}: no such file; expected a tokenizer.json, a folder that has one, "
                "or the name of a model on the hub"
            )
        else:
            tokenizer = tokenizers.Tokenizer.from_pretrained(name)
    except InputError:
        raise
    except Exception as error:  # Of Rust, of the network, or of a file that is something else.
        reason = str(error).partition("\n")[0].rstrip(".") or type(error).__name__
        raise InputError(
            f"{flag}: {name}: {reason}; expected a tokenizer of Hugging Face: a tokenizer.json, a "
            "folder that has one, or the name of a model on the hub"
        ) from None
    # A file may ask for both: each would make the counts those of another text.
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
