"""Tensors of a file put together as the weights of a decoder; what does not fit is refused."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from mig_jax.errors import InputError

from ._architecture import Architecture, Weights

__all__ = ["EMBEDDING", "HEAD", "MATRICES", "NORM", "NORMS", "stacked_weights"]

MATRICES = ("query", "key", "value", "out", "gate", "up", "down")
#: The norms of each family: Gemma 3 has all of them, Qwen 3 those of queries and keys.
NORMS = {
    "llama": ("attention_norm", "hidden_norm"),
    "qwen3": ("attention_norm", "hidden_norm", "query_norm", "key_norm"),
    "gemma3": (
        "attention_norm",
        "hidden_norm",
        "query_norm",
        "key_norm",
        "after_attention_norm",
        "after_hidden_norm",
    ),
}
EMBEDDING, NORM, HEAD = "embedding", "norm", "head"


def stacked_weights(
    place: str | os.PathLike[str],
    architecture: Architecture,
    shapes: Mapping[str, tuple[int, ...]],
    read: Callable[[str, str], npt.NDArray[np.float32]],
    names: Mapping[str, str],
) -> Weights:
    """All weights, float32 NumPy arrays as `Weights` has them.

    Every tensor of the file must be of use: one that is left over, such as a bias, would make
    a model of another kind.

    Args:
      place: the file, for errors.
      architecture: of the model.
      shapes: of the file's tensors by name; those of matrices are [out, in].
      read: a tensor, by our name and the file's.
      names: the file's names by ours, `{}` for the number of a layer; without `head` the
        embedding is the head.

    Raises:
      InputError: if a tensor is missing, of another shape or left over.
    """
    a = architecture
    left = dict(shapes)

    def one(name: str, number: int | None = None) -> npt.NDArray[np.float32]:
        theirs = names[name] if number is None else names[name].format(number)
        wanted = _shape(a, name)
        found = left.pop(theirs, None)
        if found is None:
            raise InputError(f"{place}: expected a tensor {theirs}")
        if found != wanted:
            raise InputError(
                f"{place}: {theirs}: expected the shape {list(wanted)}, got {list(found)}"
            )
        return read(name, theirs)

    def every(name: str) -> npt.NDArray[np.float32]:
        parts = [one(name, n) for n in range(a.layers)]
        return np.stack([part.T for part in parts] if name in MATRICES else parts)

    alone = [name for name in (EMBEDDING, NORM, HEAD) if name in names]
    weights: Weights = {name: one(name) for name in alone}
    weights["layers"] = {name: every(name) for name in names if name not in alone}
    if left:
        more = f" and {len(left) - 1} more" if len(left) > 1 else ""
        raise InputError(
            f"{place}: holds {min(left)}{more}; expected no tensors besides those of a decoder "
            "without biases, experts and scaled rotary positions"
        )
    return weights


def _shape(a: Architecture, name: str) -> tuple[int, ...]:
    queries, keys = a.heads * a.head_width, a.key_heads * a.head_width
    matrices = {
        EMBEDDING: (a.vocabulary, a.width),
        HEAD: (a.vocabulary, a.width),
        "query": (queries, a.width),
        "key": (keys, a.width),
        "value": (keys, a.width),
        "out": (a.width, queries),
        "gate": (a.hidden, a.width),
        "up": (a.hidden, a.width),
        "down": (a.width, a.hidden),
        "query_norm": (a.head_width,),
        "key_norm": (a.head_width,),
    }
    return matrices.get(name, (a.width,))
