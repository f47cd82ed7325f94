"""The words of the built-in pool: label names and short conversations about them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

__all__ = ["conversation", "introduction", "label_name"]


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_TOPICS: Final = _words("""
    algebra travel cooking law medicine gardening astronomy programming music history economics
    chemistry sports photography education finance psychology biology architecture literature
    physics marketing geography nutrition statistics philosophy fashion robotics weather parenting
    politics journalism farming aviation poetry chess databases networking theatre linguistics
    insurance carpentry logistics geology painting fitness cycling translation
""")
_FIELDS: Final = _words("everyday modern applied classical advanced amateur local digital")
_FACETS: Final = _words("""
    basics planning budgeting terms examples errors tools history comparison safety research
    trends exercises questions methods teaching costs ethics standards reviews stories advice
    careers design rules measurement data software communication summaries debates definitions
    proofs estimates checklists schedules forecasts puzzles analysis equipment
""")
_QUESTIONS: Final = (
    "What should I know about {0}?",
    "Explain {0} to a beginner.",
    "I am working on {0}. Where do I start?",
    "Give me a short overview of {0}, step by step.",
    "Which mistakes are common in {0}, and how can I avoid them?",
    "Write a paragraph about {0} for a newsletter.",
)
_DETAILS: Final = ("Please also cover {0}.", "It should touch on {0}.", "Keep {0} in mind.")
_ANSWERS: Final = (
    "Start with {0}: settle what you want to reach, then take it in small steps.",
    "The short answer on {0} is to compare two or three cases and note what differs.",
    "For {0}, write down what you know first; the gaps will show what to look up.",
)
_REMARKS: Final = (
    "With {0}, check each result before you go on.",
    "As to {0}, a simple example helps most.",
    "{0} comes next, once the first part is clear.",
)
_INTRODUCTIONS: Final = ("Hello! ", "Quick question: ", "Please help me. ", "Again: ")


def label_name(topic: int, facet: int) -> str:
    """A readable name, different for every pair of numbers of at least 0.

    >>> label_name(0, 0), label_name(49, 41)
    ('algebra basics', 'everyday travel planning 2')
    """
    field, topic = divmod(topic, len(_TOPICS))
    series, facet = divmod(facet, len(_FACETS))
    words = [_TOPICS[topic], _FACETS[facet]]
    if field > len(_FIELDS):
        words.insert(0, f"area {field}")
    elif field:
        words.insert(0, _FIELDS[field - 1])
    if series:
        words.append(str(series + 1))
    return " ".join(words)


def conversation(labels: Sequence[str], opening: int, closing: int) -> tuple[str, str]:
    """A user's question and an answer that mention all labels, at least one.

    The two numbers, of at least 0, choose among the wordings.
    """
    first, *others = labels
    question = [_pick(_QUESTIONS, opening).format(first)]
    answer = [_pick(_ANSWERS, closing).format(first)]
    for place, label in enumerate(others, 1):
        question.append(_pick(_DETAILS, opening + place).format(label))
        answer.append(_pick(_REMARKS, closing + place).format(label))
    return " ".join(question), " ".join(answer)


def introduction(number: int) -> str:
    """Words to put before a question, chosen by a number of at least 0."""
    return _pick(_INTRODUCTIONS, number)


def _pick(wordings: Sequence[str], number: int) -> str:
    return wordings[number % len(wordings)]
