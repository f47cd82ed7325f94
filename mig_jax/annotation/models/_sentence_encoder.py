"""Sentence embeddings by any sentence-transformers model."""

from __future__ import annotations

import functools
import importlib.metadata
import json
import os
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import xxhash

from mig_jax.annotation._extras import require
from mig_jax.annotation.models._known_scripts import Pieces
from mig_jax.errors import InputError

__all__ = ["DEFAULT_EMBEDDING_MODEL", "SentenceEncoder", "quiet_transformers"]

DEFAULT_EMBEDDING_MODEL = "sentence-transformers/all-MiniLM-L6-v2"

_PACKAGES: Final = ("torch", "transformers", "sentence-transformers")


class SentenceEncoder:
    """Texts to embeddings, by a model from a folder or a hub."""

    def __init__(
        self, model: str, *, flag: str = "--embedding_model", device: str = "auto", batch: int = 32
    ) -> None:
        """`batch` texts go through the model at a time; `flag` is what errors name.

        Raises:
          InputError: if the model cannot be loaded, or the extra is not installed.
        """
        # A folder from anywhere on this machine.
        place = os.path.abspath(model) if os.path.isdir(model) else os.fspath(model)
        self._made_of = (place, flag, device, batch)
        library = require("sentence_transformers", flag)
        quiet_transformers()
        self._batch = batch
        try:
            self._model = library.SentenceTransformer(
                os.fspath(model), device=None if device == "auto" else device
            )
        except (OSError, ValueError, KeyError) as error:
            reason = " ".join(str(error).split())
            raise InputError(
                f"{flag}: {model} cannot be loaded ({reason}); expected a folder or the name of "
                "a sentence-transformers model"
            ) from None

    @functools.cached_property
    def fingerprint(self) -> str:
        """Tells a model by what its embeddings depend on, not by where it comes from."""
        about = [
            # The names of its parts, how they are joined, and what pooling takes.
            repr(self._model),
            self._model.max_seq_length,
            [self._model.prompts, self._model.default_prompt_name],
            _told_tokenizer(self._model.tokenizer),
            # Machines and libraries round differently.
            [str(self._model.device), self._batch],
            [importlib.metadata.version(name) for name in _PACKAGES],
        ]
        found = xxhash.xxh3_128(json.dumps(about, sort_keys=True, default=str).encode())
        for name, weights in self._model.state_dict().items():
            values = weights.detach().cpu().reshape(-1)
            found.update(name.encode())
            found.update(values.view(require("torch", "models").uint8).numpy())
        return found.hexdigest()

    def pieces_of(self, words: Sequence[str]) -> list[Pieces]:
        """What the tokenizer makes of each word."""
        tokenizer = self._model.tokenizer
        fast = getattr(tokenizer, "backend_tokenizer", tokenizer)
        if hasattr(fast, "encode_batch"):
            found = [one.tokens for one in fast.encode_batch(list(words), add_special_tokens=False)]
            unknown = getattr(getattr(fast, "model", None), "unk_token", None)
        else:
            found = [tokenizer.tokenize(word) for word in words]
            unknown = tokenizer.unk_token
        # Unigram models have no name of it.
        names = {unknown, getattr(tokenizer, "unk_token", None)} - {None}
        counts = [sum(token in names for token in tokens) for tokens in found]
        return [Pieces(len(tokens) - n, n) for tokens, n in zip(found, counts, strict=True)]

    def __reduce__(self) -> tuple[Any, ...]:
        """In another process the model is loaded anew, once for all that embed with it."""
        return _loaded_here, self._made_of

    def __call__(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """The embedding of each text: float32 [n, width], rows of unit length."""
        found = self._model.encode(
            list(texts),
            batch_size=self._batch,
            convert_to_numpy=True,
            normalize_embeddings=True,
            show_progress_bar=False,
        )
        return np.asarray(found, np.float32)


def _told_tokenizer(tokenizer: Any) -> Any:
    """All that decides which tokens a text becomes, but for how long it may be."""
    fast = getattr(tokenizer, "backend_tokenizer", tokenizer)
    if hasattr(fast, "to_str"):
        told = json.loads(fast.to_str())
        return {name: told[name] for name in told if name not in ("truncation", "padding")}
    return [repr(tokenizer), sorted(tokenizer.get_vocab().items())]


@functools.lru_cache(maxsize=1)
def _loaded_here(model: str, flag: str, device: str, batch: int) -> SentenceEncoder:
    return SentenceEncoder(model, flag=flag, device=device, batch=batch)


def quiet_transformers() -> None:
    """Models' own bars and remarks would tear ours."""
    logging = require("transformers.utils.logging", "models")
    logging.set_verbosity_error()
    logging.disable_progress_bar()
