"""Taggers and scorers that ask a server: general models in our words, and the published protocols.

The published ones, InsTag's and DEITA's, are sent as they are, as a text to continue: the server
puts no template of its own around them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar

from mig_jax.annotation.scorers import DEITA_PROMPTS, expected_score
from mig_jax.annotation.servers._answer_reading import read_score, read_tags
from mig_jax.annotation.servers._answers import Answer, Question
from mig_jax.annotation.servers._endpoint import Endpoint
from mig_jax.annotation.servers._llm_prompts import (
    MOST,
    SCORE_SCHEMA,
    TAG_SCHEMA,
    score_prompt,
    tag_prompt,
)
from mig_jax.annotation.servers._replies import in_short
from mig_jax.annotation.taggers import INSTAG_PROMPT, parse_tags
from mig_jax.annotation.texts import Exchange, Rejected, Sample, is_blank

__all__ = ["LlmScorer", "LlmTagger", "ServedDeitaScorer", "ServedInsTagger", "cut_text"]

_BYTES_A_TOKEN = 3
_DIGITS = "123456"
Kind = Literal["complexity", "quality"]
_Found = TypeVar("_Found")


class LlmTagger:
    """The labels that a model names for what was asked, when it is asked for some."""

    def __init__(
        self,
        endpoint: Endpoint,
        model: str,
        *,
        most: int = 5,
        max_tokens: int = 2048,
        max_answer_tokens: int = 512,
    ) -> None:
        """`most` labels at most; what was asked is cut at about `max_tokens`."""
        self._endpoint, self._model, self._most = endpoint, model, most
        self._tokens = (max_tokens, max_answer_tokens)

    def tag(self, samples: Sequence[Sample]) -> list[list[str] | Rejected]:
        prompts = [
            tag_prompt(cut_text(sample.instruction, self._tokens[0]), self._most)
            for sample in samples
        ]
        questions = [_chat(self._model, one, self._tokens[1], TAG_SCHEMA) for one in prompts]
        return [self._read(answer) for answer in self._endpoint.ask(questions)]

    def _read(self, answer: Answer | Rejected) -> list[str] | Rejected:
        tags = _read(answer, read_tags)
        return tags if isinstance(tags, Rejected) else tags[: self._most]


class LlmScorer:
    """Complexity of each instruction, or quality of each response, from 1 to 10, as a model says.

    It is 0 if the instruction says nothing, or, for quality, the response.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        model: str,
        kind: Kind,
        *,
        max_tokens: int = 2048,
        max_answer_tokens: int = 512,
    ) -> None:
        self._endpoint, self._model, self._kind = endpoint, model, kind
        self._tokens = (max_tokens, max_answer_tokens)

    def score(self, samples: Sequence[Sample]) -> list[list[float] | Rejected]:
        return _by_exchange(samples, self._kind, self._endpoint, self._question, self._value)

    def _question(self, exchange: Exchange) -> Question:
        asked, said = exchange
        if self._kind == "quality":
            # An instruction gets at most half, as with IFD; then the response what is left.
            asked = cut_text(asked, self._tokens[0] // 2)
            left = self._tokens[0] - len(asked.encode()) // _BYTES_A_TOKEN
            said = cut_text(said, left)
        else:
            asked = cut_text(asked, self._tokens[0])
        prompt = score_prompt(self._kind, asked, said)
        return _chat(self._model, prompt, self._tokens[1], SCORE_SCHEMA)

    def _value(self, answer: Answer) -> float | Rejected:
        return _read(answer, lambda text: read_score(text, MOST))


class ServedInsTagger:
    """InsTag's protocol, as `InsTagger` has it, with the model on a server."""

    def __init__(
        self, endpoint: Endpoint, model: str, *, max_tokens: int = 2048, max_new_tokens: int = 512
    ) -> None:
        self._endpoint, self._model = endpoint, model
        self._tokens = (max_tokens - max_new_tokens, max_new_tokens)

    def tag(self, samples: Sequence[Sample]) -> list[list[str] | Rejected]:
        before, after = INSTAG_PROMPT
        room = max(self._tokens[0] - len((before + after).encode()) // _BYTES_A_TOKEN, 1)
        questions = [
            _completion(
                self._model,
                before + cut_text(sample.instruction, room) + after,
                max_tokens=self._tokens[1],
            )
            for sample in samples
        ]
        return [_read(answer, parse_tags) for answer in self._endpoint.ask(questions)]


class ServedDeitaScorer:
    """DEITA's protocol, as `DeitaScorer` has it, with the model on a server.

    The expected digit is that of the digits among the likeliest tokens that the server tells.
    """

    def __init__(
        self, endpoint: Endpoint, model: str, kind: Kind, *, max_tokens: int = 2048
    ) -> None:
        self._endpoint, self._model, self._kind = endpoint, model, kind
        self._most = max_tokens

    def score(self, samples: Sequence[Sample]) -> list[list[float] | Rejected]:
        return _by_exchange(samples, self._kind, self._endpoint, self._question, _expected_digit)

    def _question(self, exchange: Exchange) -> Question:
        before, after = DEITA_PROMPTS[self._kind]
        text = exchange.instruction
        if self._kind == "quality":
            text += f"\n#Response#:\n{exchange.response}"
        room = max(self._most - len((before + after).encode()) // _BYTES_A_TOKEN, 1)
        prompt = before + cut_text(text, room) + after
        return _completion(self._model, prompt, max_tokens=1, logprobs=True)


def cut_text(text: str, max_tokens: int) -> str:
    """The beginning of a text: as many whole characters as `max_tokens` times three bytes hold.

    No tokenizer is known here. In English a token has about four bytes, in code about three.

    >>> cut_text("abcdef ghi", 2), cut_text("图" * 4, 2)
    ('abcdef', '图图')
    """
    whole = text.encode()
    most = max_tokens * _BYTES_A_TOKEN
    return text if len(whole) <= most else whole[:most].decode("utf-8", "ignore")


def _chat(model: str, prompt: str, max_tokens: int, schema: dict[str, Any]) -> Question:
    # All of it is the user's turn: some templates have no place for a system prompt.
    messages = [{"role": "user", "content": prompt}]
    body = {"model": model, "messages": messages, "temperature": 0, "max_tokens": max_tokens}
    return Question("chat/completions", body, schema)


def _completion(model: str, prompt: str, **more: Any) -> Question:
    return Question("completions", {"model": model, "prompt": prompt, "temperature": 0, **more})


def _read(answer: Answer | Rejected, reader: Callable[[str], _Found | None]) -> _Found | Rejected:
    """What the reader finds in an answer, or why there is nothing."""
    if isinstance(answer, Rejected):
        return answer
    if answer.refused is not None:
        return Rejected(answer.refused)
    found = reader(answer.text)
    if found is None:
        return Rejected(f"the model's answer cannot be read: {in_short(answer.text)}")
    return found


def _expected_digit(answer: Answer) -> float | Rejected:
    if answer.refused is not None:
        return Rejected(answer.refused)
    first = answer.first or {}
    # Some servers show a space before the digit, as some tokenizers put it there.
    bare = {token.strip(" ▁Ġ"): value for token, value in first.items()}
    found = [first.get(digit, bare.get(digit, -math.inf)) for digit in _DIGITS]
    if max(found) == -math.inf:
        shown = in_short(", ".join(map(repr, first)))
        return Rejected(f"the model says no digit from 1 to 6; likeliest are {shown}")
    return float(expected_score([found])[0])


def _by_exchange(
    samples: Sequence[Sample],
    kind: Kind,
    endpoint: Endpoint,
    question: Callable[[Exchange], Question],
    value: Callable[[Answer], float | Rejected],
) -> list[list[float] | Rejected]:
    """The value of each exchange, 0 for what says nothing; the first that has none rejects all."""
    exchanges = [exchange for sample in samples for exchange in sample.exchanges]
    says = [_says(kind, exchange) for exchange in exchanges]
    asked = [question(one) for one, has_words in zip(exchanges, says, strict=True) if has_words]
    answers = iter(endpoint.ask(asked))
    found: list[list[float] | Rejected] = []
    has = iter(says)
    for sample in samples:
        answered = [next(answers) if next(has) else None for _ in sample.exchanges]
        values = [
            0.0 if one is None else one if isinstance(one, Rejected) else value(one)
            for one in answered
        ]
        rejected = next((one for one in values if isinstance(one, Rejected)), None)
        found.append(rejected or [one for one in values if not isinstance(one, Rejected)])
    return found


def _says(kind: Kind, exchange: Exchange) -> bool:
    """Whether what is scored says anything."""
    return exchange.is_whole if kind == "quality" else not is_blank(exchange.instruction)
