"""What servers reply: answers, troubles that may pass, and what they say of them."""

from __future__ import annotations

import dataclasses
import email.utils
import json
import random
import time
from collections.abc import Mapping
from typing import Any

from mig_jax.annotation.servers._answers import Answer, Question

__all__ = [
    "Reply",
    "RequestFailedError",
    "ServerBusyError",
    "adapted",
    "answer_of",
    "in_short",
    "models_of",
    "reason_of",
    "waiting_time",
]

_MAY_PASS = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529})
_BAD_REQUEST = frozenset({400, 415, 422, 500, 501})
_LONGEST_TOLD = 200  # Characters.
# What servers are asked to give at most: vLLM, SGLang and llama.cpp; OpenAI.
_MOST_LOGPROBS, _FEWER_LOGPROBS = 20, 5


class RequestFailedError(Exception):
    """A request that has no answer, and may have one later."""

    def __init__(self, told: str, wait: float | None = None) -> None:
        super().__init__(told)
        self.wait = wait  # Seconds that the server wants to be left alone, if it says so.


class ServerBusyError(RequestFailedError):
    """The server has no time now."""


@dataclasses.dataclass(frozen=True)
class Reply:
    """A whole reply."""

    where: str
    status: int
    text: str
    headers: Mapping[str, str]

    def check(self) -> None:
        """Raises RequestFailedError for what may pass."""
        if self.status in _MAY_PASS and not self.is_out_of_credit():
            kind = ServerBusyError if self.status in (429, 503, 529) else RequestFailedError
            raise kind(reason_of(self), retry_after(self.headers))

    def is_out_of_credit(self) -> bool:
        """Whether waiting would not help, though it says that there are too many requests."""
        return self.status == 429 and "insufficient_quota" in self.text

    def unwanted_option(self, sent: Mapping[str, Any]) -> str | None:
        """Of the options sent the one that this refuses, if that is why it is no answer."""
        told = self.text.lower()
        if self.status not in _BAD_REQUEST:
            return None
        if sent.get("logprobs") and "logprob" in told:
            return "logprobs" if sent["logprobs"] <= _FEWER_LOGPROBS else "many_logprobs"
        if "max_tokens" in sent and "max_completion_tokens" in told:
            return "max_tokens"
        if "temperature" in sent and "temperature" in told:
            return "temperature"
        form = sent.get("response_format")
        if form is None:
            return None
        named = any(word in told for word in ("response_format", "json_schema", "json_object"))
        # Few servers say what they do not take; what is too long is so in any form.
        unnamed = self.status < 500 and "context" not in told and "too long" not in told
        return str(form["type"]) if named or unnamed else None

    def is_no_answer(self) -> RequestFailedError:
        told = in_short(self.text) or "nothing"
        return RequestFailedError(f"{self.where} gave what is no answer: {told}")

    def no_logprobs(self) -> str:
        return (
            f"{self.where} gives no log-probabilities of tokens, which the scores of DEITA are "
            f"made of ({in_short(self.text)}); expected a server that does, as vLLM, SGLang and "
            "llama.cpp do"
        )


def adapted(question: Question, dropped: set[str]) -> dict[str, Any]:
    """What is sent to a server that does not take the options `dropped`."""
    body = dict(question.body)
    if "logprobs" in body:
        body["logprobs"] = _FEWER_LOGPROBS if "many_logprobs" in dropped else _MOST_LOGPROBS
    if question.schema is not None and "json_schema" not in dropped:
        form = {"name": "annotation", "strict": True, "schema": question.schema}
        body["response_format"] = {"type": "json_schema", "json_schema": form}
    elif question.schema is not None and "json_object" not in dropped:
        body["response_format"] = {"type": "json_object"}
    if "max_tokens" in dropped:
        body["max_completion_tokens"] = body.pop("max_tokens")
    if "temperature" in dropped:
        del body["temperature"]
    return body


def answer_of(question: Question, reply: Reply) -> Answer:
    """The answer of a reply with status 200.

    Raises:
      RequestFailedError: if it is none.
    """
    try:
        found = json.loads(reply.text)
        choice = found["choices"][0]
        chat = question.path == "chat/completions"
        message = choice["message"] if chat else choice
        text = message.get("content" if chat else "text")
        refusal = message.get("refusal")
        why = choice.get("finish_reason")
    except (ValueError, RecursionError, KeyError, IndexError, TypeError, AttributeError):
        raise RequestFailedError(
            f"{reply.where} gave what is no answer: {in_short(reply.text)}"
        ) from None
    if isinstance(text, list):  # Of parts, some of which are text.
        parts = [part.get("text") for part in text if isinstance(part, dict)]
        text = "".join(part for part in parts if isinstance(part, str))
    usage = found.get("usage")
    count = usage.get if isinstance(usage, dict) else {}.get
    tokens = [_count(count(name)) for name in ("prompt_tokens", "completion_tokens")]
    if isinstance(refusal, str) and refusal and not text:
        return Answer("", None, f"the model refuses: {in_short(refusal)}", *tokens)
    if why == "content_filter" and not text:
        return Answer("", None, "a content filter of the server kept the answer back", *tokens)
    if "logprobs" in question.body:
        return Answer(str(text or ""), _first_token(choice), None, *tokens)
    if text is not None and not isinstance(text, str):
        raise reply.is_no_answer()
    if chat and (not text or not text.strip()):  # A text that nothing follows may be whole.
        if why == "length":
            return Answer("", None, "the answer was cut before its first word", *tokens)
        raise RequestFailedError(f"{reply.where} gave an empty answer")
    # Half a character is none.
    return Answer((text or "").encode("utf-8", "replace").decode(), None, None, *tokens)


def _first_token(choice: Mapping[str, Any]) -> dict[str, float] | None:
    """Log-probabilities of the likeliest first tokens, in either form that servers give."""
    logprobs = choice.get("logprobs")
    if not isinstance(logprobs, dict):
        return None
    try:
        if content := logprobs.get("content"):  # As chats have it; llama.cpp everywhere.
            pairs = [(one["token"], one["logprob"]) for one in content[0]["top_logprobs"]]
        else:
            pairs = list(logprobs["top_logprobs"][0].items())
        return {token: float(value) for token, value in pairs if isinstance(token, str)} or None
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        return None


def models_of(reply: Reply) -> list[str]:
    """The names of a list of models; none if it is no such list."""
    try:
        names = [one["id"] for one in json.loads(reply.text)["data"]]
    except (ValueError, RecursionError, KeyError, TypeError):
        return []
    return [name for name in names if isinstance(name, str)]


def reason_of(reply: Reply) -> str:
    """What a server says of a request that it does not answer, in short."""
    told: Any = reply.text
    try:
        found = json.loads(reply.text)
        told = found.get("error", found.get("detail", found.get("message", told)))
        if isinstance(told, dict):
            told = told.get("message", told)
    except (ValueError, RecursionError, AttributeError):
        pass
    said = in_short(told if isinstance(told, str) else json.dumps(told))
    return f"{reply.where} says {reply.status}" + (f" ({said})" if said else "")


def in_short(text: str) -> str:
    """The beginning of a text, in one line.

    >>> in_short("a\\n  b"), len(in_short("a" * 999))
    ('a b', 201)
    """
    line = " ".join(text[: 4 * _LONGEST_TOLD].split())
    return line if len(line) <= _LONGEST_TOLD else line[:_LONGEST_TOLD] + "…"


def retry_after(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Seconds that a server wants to be left alone; None if it does not say.

    >>> retry_after({"retry-after": "7"}), retry_after({"retry-after": "soon"}), retry_after({})
    (7.0, None, None)
    >>> retry_after({"retry-after": "Thu, 01 Jan 1970 00:01:00 GMT"}, now=50.0)
    10.0
    """
    told = headers.get("retry-after", "").strip()
    if told.replace(".", "", 1).isdecimal() and told.isascii():
        return float(told)
    try:
        then = email.utils.parsedate_to_datetime(told).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
    return max(then - (time.time() if now is None else now), 0.0)


def waiting_time(tries: int, first: float, longest: float) -> float:
    """Seconds to wait: twice as long each time, and by chance, so that not all come back at once.

    >>> 4.0 <= waiting_time(4, 1.0, 60.0) <= 8.0, waiting_time(99, 1.0, 60.0) <= 60.0
    (True, True)
    """
    most = min(first * 2 ** min(tries - 1, 30), longest)
    return most * random.uniform(0.5, 1.0)


def _count(value: Any) -> int | None:
    return value if type(value) is int and value >= 0 else None
