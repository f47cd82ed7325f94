"""Which fields records were read from: a layout that was told wrongly is seen by that alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

from mig_jax.data.records._conversations import Conversation

__all__ = ["Readings", "reading_of", "told_readings"]

_MOST: Final = 3  # Readings that are named.
# What fields hold that are asked, and that are said.
_ASKED: Final = ("question", "prompt", "turns", "context")
_SAID: Final = ("answer", "completion", "chosen", "text")


def reading_of(conversation: Conversation) -> str:
    """The fields of question and answer, or of the turns, and the layout that they told.

    >>> from mig_jax.data.records import decode_conversation
    >>> reading_of(decode_conversation({"instruction": "Add.", "input": "1, 2", "output": "3"}))
    'instruction, input -> output (layout alpaca)'
    >>> reading_of(decode_conversation({"messages": [{"role": "user", "content": "1 + 2?"}]}))
    'messages (layout messages)'
    """
    fields = conversation.fields
    sides = [
        ", ".join(fields[name] for name in names if name in fields) for names in (_ASKED, _SAID)
    ]
    return f"{' -> '.join(filter(None, sides))} (layout {conversation.layout})"


class Readings:
    """Records counted by how they were read."""

    def __init__(self) -> None:
        self._told: dict[tuple[str | None, ...], str] = {}
        self._counts: Counter[str] = Counter()

    def add(self, conversation: Conversation) -> None:
        # A context may be absent from some: the first record of a kind tells for all.
        names = (name for name in (*_ASKED, *_SAID) if name != "context")
        key = (conversation.layout, *map(conversation.fields.get, names))
        if key not in self._told:
            self._told[key] = reading_of(conversation)
        self._counts[self._told[key]] += 1

    def counts(self) -> dict[str, int]:
        """Records by `reading_of`, most first."""
        return dict(self._counts.most_common())


def told_readings(counts: Mapping[str, int]) -> str:
    """One line on how records were read, with numbers if not all were read alike.

    >>> told_readings({"question -> answer (layout columns)": 9})
    'as question -> answer (layout columns)'
    >>> told_readings({"a (layout turns)": 1500, "text (layout text)": 1})
    '1,500 as a (layout turns), 1 as text (layout text)'
    """
    if len(counts) == 1:
        return f"as {next(iter(counts))}"
    told = [f"{count:,} as {reading}" for reading, count in [*counts.items()][:_MOST]]
    if others := sum([*counts.values()][_MOST:]):
        told.append(f"{others:,} otherwise")
    return ", ".join(told)
