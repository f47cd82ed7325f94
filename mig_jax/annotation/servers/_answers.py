"""What a server has answered, kept on disk as it comes: nothing that was paid for is asked twice.

A file of JSON lines: first our record, then an answer a line, each with a hash of its question. It
belongs to no run in particular: what a model answers to a question does not depend on who asks, so
that a run with other flags finds there what it has in common with an earlier one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
from types import TracebackType
from typing import Any, BinaryIO, Self

import msgspec

from mig_jax.runs import open_run_file, place_told

__all__ = ["Answer", "Answers", "Question", "Usage"]


class Question(msgspec.Struct, frozen=True):
    """A request to a server."""

    path: str  # Of the API: "chat/completions" or "completions".
    body: dict[str, Any]  # What is sent.
    schema: dict[str, Any] | None = None  # JSON schema of the answer, for servers that take one.

    def key(self) -> bytes:
        """16 bytes that tell it from all others."""
        text = msgspec.json.encode([self.path, self.body, self.schema], order="sorted")
        return hashlib.blake2b(text, digest_size=16).digest()


class Answer(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What came back."""

    text: str = ""
    #: Log-probabilities of the likeliest first tokens, where they were asked for.
    first: dict[str, float] | None = None
    refused: str | None = None  # Why there is no text: the model, or a filter, would not answer.
    tokens_in: int | None = None  # None if the server does not tell.
    tokens_out: int | None = None


class _Line(msgspec.Struct, frozen=True, gc=False):
    key: str
    answer: Answer


_LINE = msgspec.json.Decoder(_Line)


@dataclasses.dataclass
class Usage:
    """Answers, and the tokens that they took; each answer counts once, however often it is used."""

    answers: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    untold: int = 0  # Answers that say nothing of tokens.

    def add(self, answer: Answer) -> None:
        self.answers += 1
        self.tokens_in += answer.tokens_in or 0
        self.tokens_out += answer.tokens_out or 0
        self.untold += answer.tokens_in is None

    def cost(self, price_in: float | None, price_out: float | None) -> float | None:
        """By prices of a million tokens; None if neither is known."""
        if price_in is None and price_out is None:
            return None
        return (self.tokens_in * (price_in or 0) + self.tokens_out * (price_out or 0)) / 1e6


class Answers:
    """The answers so far; a `with` block holds the file for this process alone.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, Answers(f"{folder}/a") as answers:
    ...     answers.put(b"k" * 16, Answer("yes", tokens_in=3))
    ...     answers.get(b"k" * 16).text, answers.get(b"n" * 16), answers.usage.tokens_in
    ('yes', None, 3)
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.usage = Usage()
        # Where each answer stands: the answers to a million questions need not be in memory.
        self._places: dict[bytes, int] = {}
        self._stream: BinaryIO | None = None
        self._end = 0
        self._finished = False

    def __enter__(self) -> Self:
        """Opens the file, and drops a line that a kill has cut.

        Raises:
          InputError: if it is no file of answers, or in use, or cannot be written.
        """
        stream = self._stream = open_run_file(self.path, "answers", {})
        self._end = stream.tell()
        for line in stream:
            try:
                found = _LINE.decode(line)
                key = bytes.fromhex(found.key)
            except ValueError:  # msgspec's and Unicode's errors are some, too.
                break
            if not line.endswith(b"\n"):
                break
            self._add(key, found.answer, len(line))
        stream.seek(self._end)
        stream.truncate()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._stream is not None
        if not self._places or (self._finished and error is None):
            with contextlib.suppress(FileNotFoundError):
                os.remove(self.path)
        self._stream.close()

    def get(self, key: bytes) -> Answer | None:
        """The answer to the question of this key, if there is one."""
        place = self._places.get(key)
        if place is None:
            return None
        assert self._stream is not None
        self._stream.seek(place)
        return _LINE.decode(self._stream.readline()).answer

    def put(self, key: bytes, answer: Answer) -> None:
        """Adds an answer; it outlives this process from now on."""
        assert self._stream is not None
        line = msgspec.json.encode(_Line(key.hex(), answer)) + b"\n"
        with place_told(self.path):
            self._stream.seek(self._end)
            self._stream.write(line)
            self._stream.flush()
        self._add(key, answer, len(line))

    def finish(self) -> None:
        """All outputs are there: a block that ends without an error removes the file."""
        self._finished = True

    def _add(self, key: bytes, answer: Answer, size: int) -> None:
        if key not in self._places:
            self.usage.add(answer)
        self._places[key] = self._end
        self._end += size
