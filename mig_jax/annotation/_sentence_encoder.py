"""Sentence embeddings by any sentence-transformers model."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mig_jax.annotation._extras import require
from mig_jax.errors import InputError

__all__ = ["SentenceEncoder", "quiet_transformers"]


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


@functools.lru_cache(maxsize=1)
def _loaded_here(model: str, flag: str, device: str, batch: int) -> SentenceEncoder:
    return SentenceEncoder(model, flag=flag, device=device, batch=batch)


def quiet_transformers() -> None:
    """Models' own bars and remarks would tear ours."""
    logging = require("transformers.utils.logging", "models")
    logging.set_verbosity_error()
    logging.disable_progress_bar()
