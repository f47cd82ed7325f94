"""What taggers and scorers see of a record, and what they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

__all__ = ["Exchange", "Sample", "Scorer", "Tagger", "Text", "exchanges_of"]


class Exchange(NamedTuple):
    """A question and its answer."""

    instruction: str
    response: str


class Text(Exchange):
    """A text that nobody asked for, as pre-training has them: the instruction is empty."""


class Sample(NamedTuple):
    """A record as taggers and scorers see it."""

    exchanges: tuple[Exchange, ...]  # At least one.
    labels: list[str] | None = None  # None if it has none.
    score: float | None = None

    @property
    def instruction(self) -> str:
        """All that was asked; or the text, if it is one that nobody asked for."""
        return "\n".join(
            one.response if isinstance(one, Text) else one.instruction for one in self.exchanges
        )


class Tagger(Protocol):
    """Gives records their labels."""

    def tag(self, samples: Sequence[Sample]) -> list[list[str]]:
        """The labels of each sample, no two alike, the best first."""


class Scorer(Protocol):
    """Gives records a score."""

    def score(self, samples: Sequence[Sample]) -> list[list[float]]:
        """Of each sample a value for each exchange, or a single one for all of it.

        Values are finite and at least 0; the higher, the better the record is to learn from.
        """


def exchanges_of(turns: Sequence[tuple[str, str]]) -> tuple[Exchange, ...]:
    """The exchanges of a conversation, given as role and text of each turn.

    What user and tools say up to the assistant's turn is the instruction, successive turns
    of one side are joined by line breaks. Left out are system prompts, an opening of the
    assistant and what nobody answers. If the assistant alone speaks, it is a text.

    >>> exchanges_of([("system", "Be kind."), ("user", "Hi"), ("assistant", "Hello")])
    (Exchange(instruction='Hi', response='Hello'),)
    """
    exchanges: list[Exchange] = []
    asked: list[str] = []
    answered: list[str] = []
    for role, text in [*turns, ("user", "")]:
        if role == "assistant" and asked:
            answered.append(text)
        elif role in ("user", "tool"):
            if answered:
                exchanges.append(Exchange("\n".join(asked), "\n".join(answered)))
                asked, answered = [], []
            asked.append(text)
    said = [text for role, text in turns if role != "system"]
    if said and all(role in ("system", "assistant") for role, _ in turns):
        return (Text("", "\n".join(said)),)
    return tuple(exchanges)
