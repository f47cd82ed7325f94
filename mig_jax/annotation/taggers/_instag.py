"""Tags by InsTagger, a language model that names the intentions of a query.

OFA-Sys/InsTagger (arXiv 2308.07074, section 3.4) is asked in the words and the chat
template (Vicuna) that it was taught with, writes by greedy decoding and answers with a
JSON list of objects that have a tag and an explanation.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from mig_jax.annotation.models import CausalLM, fit
from mig_jax.annotation.texts import Sample

__all__ = ["INSTAG_PROMPT", "InsTagger", "parse_tags"]

# What stands before and behind the query.
INSTAG_PROMPT = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant "
    "gives helpful, detailed, and polite answers to the human's questions. USER: Please "
    "identify tags of user intentions in the following user query and provide an explanation "
    'for each tag. Please respond in the JSON format {"tag": str, "explanation": str}.\n'
    "User query: ",
    " ASSISTANT:",
)
_TAG = re.compile(r"""["']?\btag["']?\s*:\s*(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)')""", re.I)


class InsTagger:
    """The tags that the model writes for what was asked."""

    def __init__(self, model: CausalLM, *, max_new_tokens: int = 512) -> None:
        self._model = model
        self._new = max_new_tokens
        self._head = model.encode(INSTAG_PROMPT[0], start=True)
        self._tail = model.encode(INSTAG_PROMPT[1])

    def tag(self, samples: Sequence[Sample]) -> list[list[str]]:
        most = self._model.max_tokens - self._new
        prompts = [
            fit(self._head, self._model.encode(sample.instruction), self._tail, most)
            for sample in samples
        ]
        return [parse_tags(answer) for answer in self._model.write(prompts, self._new)]


def parse_tags(answer: str) -> list[str]:
    """The tags of an answer, each once, in order; none if it has none.

    Answers go wrong in many ways: prose around the JSON, an object for the list, objects
    without a list, single quotes, an end that never came. What has the form of a tag is
    taken.

    >>> parse_tags('[{"tag": "math", "explanation": "..."}, {"tag": "proof"}]')
    ['math', 'proof']
    >>> parse_tags('Sure: {"tag": "math", "explanation": "-"} {"tag": "proof", "explan')
    ['math', 'proof']
    """
    parsed = _parsed(answer)
    found = list(_tags_in(parsed))
    if not isinstance(parsed, list):
        matches = _TAG.findall(answer)
        found += [_unescaped(double or single.replace("\\'", "'")) for double, single in matches]
    cleaned = (" ".join(tag.split()) for tag in found)
    return list(dict.fromkeys(tag for tag in cleaned if tag))


def _parsed(answer: str) -> Any:
    """The first JSON list or object of the answer that is whole; None if there is none."""
    decoder = json.JSONDecoder()
    start = re.search(r"[\[{]", answer)
    if start is None:
        return None
    try:
        return decoder.raw_decode(answer, start.start())[0]
    except (ValueError, RecursionError):
        return None


def _tags_in(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            if isinstance(item, str):
                yield item
            else:
                yield from _tags_in(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key.lower() == "tag" and isinstance(item, str):
                yield item
            elif key.lower() in ("tag", "tags") and isinstance(item, list):
                yield from _tags_in(item)


def _unescaped(text: str) -> str:
    try:
        return json.loads(f'"{text}"', strict=False)
    except ValueError:
        return text
