"""Keeps the embeddings of a vocabulary, which every run would make anew."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from mig_jax.annotation.models._sentence_encoder import SentenceEncoder
from mig_jax.annotation.texts import Encode
from mig_jax.data.files import read_npz
from mig_jax.data.reading import store_arrays

__all__ = ["kept_embeddings"]

_FORMAT: Final = 1  # Part of the key.


def kept_embeddings(
    texts: Sequence[str],
    encoder: SentenceEncoder,
    folder: str | os.PathLike[str] | None,
    *,
    embed: Encode | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> npt.NDArray[np.float32]:
    """The embeddings of texts, from a file of `folder` if it has them; else it gets them.

    They are found by the content of the model, its device, and the texts with their order, by
    none of their names. Any file there may be deleted at any time, and several processes may
    write at the same time.

    Args:
      texts: n of them.
      encoder: embeds them.
      folder: that of the cache, made if it is not there; None for none.
      embed: embeds texts by the encoder, such as with a bar; the encoder itself by default.
      tell: gets a line if the folder cannot be used, which never ends the run.

    Returns:
      float32 [n, width], rows of unit length.
    """
    embed = embed or encoder
    if folder is None:
        return embed(texts)
    key = json.dumps([_FORMAT, encoder.fingerprint, list(texts)])
    name = hashlib.sha256(key.encode("ascii")).hexdigest()[:32]
    path = pathlib.Path(folder, f"{name}.embeddings.npz")
    kept = _load(path, len(texts))
    if kept is not None:
        return kept
    found = embed(texts)
    try:
        store_arrays(path, {"embeddings": found})
    except OSError as error:
        tell(f"{path.parent}: {error.strerror or error}; embeddings are not kept there")
    return found


def _load(path: pathlib.Path, n: int) -> npt.NDArray[np.float32] | None:
    """None if they are not there, or damaged."""
    try:
        found = read_npz(path, ["embeddings"])["embeddings"]
    except (OSError, ValueError):
        return None
    is_whole = found.dtype == np.float32 and found.ndim == 2 and len(found) == n
    return found if is_whole and bool(np.isfinite(found).all()) else None
