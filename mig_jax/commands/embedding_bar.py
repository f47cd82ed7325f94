"""Embedding with a bar, for whatever has labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mig_jax.commands.terminal import progress_bar

__all__ = ["embed_with_bar"]

_LABELS_A_REPORT = 512


def embed_with_bar(
    encode: Callable[[Sequence[str]], np.ndarray], labels: Sequence[str]
) -> np.ndarray:
    """The embedding of each label, some hundreds at a time: float32 [n, width]."""
    found = []
    with progress_bar("embedding labels", len(labels), unit="labels") as bar:
        for start in range(0, max(len(labels), 1), _LABELS_A_REPORT):
            found.append(encode(labels[start : start + _LABELS_A_REPORT]))
            bar.update(len(found[-1]))
    return np.concatenate(found)
