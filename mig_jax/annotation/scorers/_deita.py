"""DEITA's scorers of complexity and quality (arXiv 2312.15685, section 2).

A language model was taught to say a digit from 1 to 6 behind a prompt with the
instruction, or with instruction and response. The score is the expected digit: the mean of
the six, by the softmax of their logits at that place. The prompts are those of the
published scorers, hkust-nlp/deita-complexity-scorer and hkust-nlp/deita-quality-scorer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from mig_jax.annotation.models import CausalLM
from mig_jax.annotation.texts import Exchange, Sample, is_blank
from mig_jax.errors import InputError

__all__ = ["DEITA_PROMPTS", "DeitaScorer", "deita_prompt", "expected_score"]

# What stands before and behind the text.
DEITA_PROMPTS = {
    "complexity": (
        "You are a helpful assistant. Please identify the complexity score of the following "
        "user query. \n##Query: ",
        "  \n##Complexity: ",
    ),
    "quality": (
        "You are a helpful assistant. Please identify the quality score of the Response "
        "corresponding to the Question. \n #Question#:\n",
        " \n##Quality: ",
    ),
}
_DIGITS = "123456"


class DeitaScorer:
    """Complexity of each instruction, or quality of each response, from 1 to 6.

    It is 0 if the instruction says nothing, or, for quality, the response.
    """

    def __init__(self, model: CausalLM, kind: Literal["complexity", "quality"]) -> None:
        """Raises InputError if the tokenizer has no token for each digit."""
        self._model = model
        self._kind = kind
        # A tokenizer may put a space before the digit, so it is the last token.
        self._digits = [model.encode(digit)[-1] for digit in _DIGITS]
        if len(set(self._digits)) != len(_DIGITS):
            raise InputError(
                f"--deita_{kind}_model: its tokenizer has no token for each digit from 1 to 6; "
                "expected a scorer of DEITA"
            )

    def score(self, samples: Sequence[Sample]) -> list[list[float]]:
        exchanges = [exchange for sample in samples for exchange in sample.exchanges]
        prompts = [deita_prompt(self._model, self._kind, exchange) for exchange in exchanges]
        values = expected_score(self._model.next_logits(prompts, self._digits))
        found = iter(np.where([self._has_words(one) for one in exchanges], values, 0.0).tolist())
        return [[next(found) for _ in sample.exchanges] for sample in samples]

    def _has_words(self, exchange: Exchange) -> bool:
        """Whether what is scored says anything."""
        if self._kind == "quality":
            return exchange.is_whole
        return not is_blank(exchange.instruction)


def deita_prompt(model: CausalLM, kind: str, exchange: Exchange) -> list[int]:
    """Token ids of the prompt; a text that is too long is cut at its end, not the prompt."""
    before, after = DEITA_PROMPTS[kind]
    text = exchange.instruction
    if kind == "quality":
        text += f"\n#Response#:\n{exchange.response}"
    whole = model.encode(before + text + after, start=True)
    if len(whole) <= model.max_tokens:
        return whole
    end = model.encode(after)
    return [*whole[: model.max_tokens - len(end)], *end]


def expected_score(logits: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """The mean of 1 to 6 by the softmax of logits [n, 6]: float64 [n].

    >>> expected_score([[0.0] * 6, [0, 0, 0, 0, 0, 1000.0]]).tolist()
    [3.5, 6.0]
    """
    values = np.asarray(logits, np.float64)
    weights = np.exp(values - values.max(axis=-1, keepdims=True))
    return weights @ np.arange(1.0, 7.0) / weights.sum(axis=-1)
