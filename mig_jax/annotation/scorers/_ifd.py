"""Instruction-following difficulty (IFD; arXiv 2308.12032, equations 2 to 4).

The mean loss of the response's tokens behind the instruction, over their mean loss without
it. Near 1 the instruction hardly helps to say the response, near 0 it says all. Records
at 1 or above are no harder, but mismatched: the paper leaves them out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mig_jax.annotation.models import CausalLM
from mig_jax.annotation.texts import Exchange, Sample

__all__ = ["Difficulty", "difficulty", "ifd_tokens"]

# As in the paper's code. Alone, the response stands behind this heading only.
_HEADING = "### Response:"


class Difficulty:
    """IFD of each exchange under a causal language model; 0 for what cannot be learned from."""

    def __init__(self, model: CausalLM) -> None:
        self._model = model

    def score(self, samples: Sequence[Sample]) -> list[list[float]]:
        exchanges = [exchange for sample in samples for exchange in sample.exchanges]
        tokens = [ifd_tokens(self._model, exchange) for exchange in exchanges]
        responses = [response for _, _, response in tokens]
        asked = self._model.mean_losses([prompt for prompt, _, _ in tokens], responses)
        alone = self._model.mean_losses([heading for _, heading, _ in tokens], responses)
        is_whole = [exchange.is_whole for exchange in exchanges]
        found = iter(np.where(is_whole, difficulty(asked, alone), 0.0).tolist())
        return [[next(found) for _ in sample.exchanges] for sample in samples]


def ifd_tokens(model: CausalLM, exchange: Exchange) -> tuple[list[int], list[int], list[int]]:
    """Token ids of the instruction with the heading, the heading alone, and the response.

    The response has the same tokens behind both. An instruction gets at most half of what
    the model takes, its end is cut off; then the response gets what is left.
    """
    heading = model.encode(_HEADING, start=True)
    end = model.encode(f"\n\n{_HEADING}")
    asked = model.encode(exchange.instruction, start=True)
    prompt = [*asked[: max(model.max_tokens // 2 - len(end), 1)], *end]
    return prompt, heading, model.encode(exchange.response)[: model.max_tokens - len(prompt)]


def difficulty(asked: npt.ArrayLike, alone: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """The ratio of the two losses: float64 [n], 0 if it is 1 or above or there is none.

    >>> difficulty([1.0, 3.0, float("nan")], [2.0, 2.0, float("nan")]).tolist()
    [0.5, 0.0, 0.0]
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.asarray(asked, np.float64) / np.asarray(alone, np.float64)
    return np.where(ratio < 1, ratio, 0.0)
