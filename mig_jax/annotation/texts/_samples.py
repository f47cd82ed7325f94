"""What taggers and scorers see of a record, and what they are."""

from __future__ import annotations

import dataclasses
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

__all__ = [
    "EmbedsLabels",
    "Encode",
    "Exchange",
    "LabelTable",
    "Looks",
    "Rejected",
    "Sample",
    "Scorer",
    "Tagger",
    "Text",
    "exchanges_of",
    "is_blank",
]

# Texts to embeddings: float32 [n, width], rows of unit length.
Encode = Callable[[Sequence[str]], npt.NDArray[np.float32]]

# What trainers put in a text for a picture, a film or a sound that goes with it.
_PLACEHOLDER = re.compile("<(?:image|video|audio)>|\N{OBJECT REPLACEMENT CHARACTER}")


def is_blank(text: str) -> bool:
    """Whether a text says nothing: spaces, marks without width, and places of images alone.

    >>> is_blank(" <image> "), is_blank("?"), is_blank("")
    (True, False, True)
    """
    if any(map(str.isalnum, text[:8])) and "<" not in text[:8]:
        return False  # Nearly all are.
    return all(unicodedata.category(c)[0] in "ZC" for c in _PLACEHOLDER.sub("", text))


class Exchange(NamedTuple):
    """A question and its answer."""

    instruction: str
    response: str

    @property
    def is_whole(self) -> bool:
        """Whether something is asked and something is answered, in words."""
        return not is_blank(self.instruction) and not is_blank(self.response)


class Text(Exchange):
    """A text that nobody asked for, as pre-training has them: the instruction is empty."""

    @property
    def is_whole(self) -> bool:
        return not is_blank(self.response)


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

    @property
    def asks(self) -> bool:
        """Whether anything is asked in words, or is a text that has some."""
        return not is_blank(self.instruction)


@dataclasses.dataclass(frozen=True)
class Rejected:
    """In place of labels or scores: the record is left out, and why."""

    reason: str


class Tagger(Protocol):
    """Gives records their labels.

    One that is Python or NumPy, and no model that uses all cores itself, may say so by an
    attribute `in_processes` that is true: then it is pickled, and each of several processes
    is given some of the batches. So it keeps nothing from one batch for the next.
    """

    def tag(self, samples: Sequence[Sample]) -> Sequence[list[str] | Rejected]:
        """The labels of each sample, no two alike, the best first; or why it is left out.

        Of samples that ask nothing in words only those are given whose labels are kept.
        """


class Scorer(Protocol):
    """Gives records a score; `in_processes` is as for taggers."""

    def score(self, samples: Sequence[Sample]) -> Sequence[list[float] | Rejected]:
        """Of each sample a value for each exchange, or a single one for all; or why it is left out.

        Values are finite and at least 0; the higher, the better the record is to learn from.
        """


@runtime_checkable
class Looks(Protocol):
    """A tagger or scorer that looks at the pool before it gives anything."""

    def look(self, samples: Sequence[Sample]) -> None:
        """Called once, with a random sample of the records, in their order.

        What it gives afterwards depends on these and on the record alone, never on what
        stands beside it in a batch, or on the order.
        """


@dataclasses.dataclass(frozen=True)
class LabelTable:
    """Labels that a tagger gives, with their embeddings."""

    names: list[str]
    embeddings: npt.NDArray[np.float32]  # [labels, width]
    model: str | None = None  # What embeds the names; None if they are embedded otherwise.
    #: What gives the same labels to other records, if something does.
    state: Mapping[str, npt.NDArray[Any]] = dataclasses.field(default_factory=dict)


@runtime_checkable
class EmbedsLabels(Protocol):
    """A tagger that has embeddings of the labels that it gives."""

    def label_table(self) -> LabelTable:
        """All labels that it may give; called after it has looked."""


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
