"""The names that a pool gives to the fields of its layout, if they are not the usual ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, Final

from mig_jax.errors import InputError

__all__ = ["FIELD_NAMES", "USUAL", "FieldNames", "value_at"]

# What each field holds, by its usual name.
FIELD_NAMES: Final = {
    "labels": "list of strings; dots lead into objects, as in meta.tags",
    "score": "number; dots lead into objects",
    "messages": "list of turns with role and content",
    "role": "who speaks, in a turn of messages or dialogs",
    "content": "what is said, in a turn of messages or dialogs",
    "conversations": "list of turns with from and value",
    "from": "who speaks, in a turn of conversations",
    "value": "what is said, in a turn of conversations",
    "instruction": "what is asked (Alpaca)",
    "input": "what it is asked about (Alpaca)",
    "output": "the answer (Alpaca)",
    "history": "pairs of question and answer that came before (Alpaca, query and response)",
    "system": "system prompt of the record, beside its turns or columns",
    "prompt": "what is asked: a string, or a list of turns (TRL)",
    "completion": "what completes the prompt: the same",
    "question": "what is asked, in columns",
    "answer": "the answer to question",
    "solution": "the worked answer to question or problem",
    "query": "what is asked (ms-swift)",
    "response": "the answer to query, instruction, prompt or question",
    "problem": "what is asked, with solution",
    "inputs": "what is asked (FLAN)",
    "targets": "the answer to inputs",
    "target": "the answer to input",
    "generation": "the answer to prompt",
    "context": "what instruction or question is about (Dolly)",
    "system_prompt": "system prompt of the record, in columns (OpenOrca)",
    "chosen": "the better answer of a pair: a string, a turn, or a list of turns",
    "rejected": "the worse answer; it is not read",
    "conversation": "list of turns, or of objects with human and assistant (Firefly)",
    "turns": "list of turns; in evaluation files, of questions (MT-Bench)",
    "text": "a text that nobody asked for",
}
# Fields that stand beside each other: none may have another's name.
_TOGETHER: Final = (
    ("labels", "score"),
    ("role", "content"),
    ("from", "value"),
    ("instruction", "input", "output", "history", "system"),
    ("conversations", "system"),
    ("messages", "system"),
    ("prompt", "completion"),
    ("question", "answer", "solution", "context", "system", "history"),
    ("query", "response", "system", "history"),
    ("problem", "solution"),
    ("inputs", "targets"),
    ("chosen", "rejected"),
)


@dataclasses.dataclass(frozen=True)
class FieldNames:
    """Which field of a record stands for each field of a layout.

    >>> names = FieldNames.parse(["labels=meta.tags"])
    >>> names["labels"], names["score"]
    ('meta.tags', 'score')
    """

    mapped: tuple[tuple[str, str], ...] = ()  # Usual name and the pool's, sorted.

    def __getitem__(self, name: str) -> str:
        """The pool's name of the field whose usual name this is."""
        return dict(self.mapped).get(name, name) if self.mapped else name

    def is_mapped(self, name: str) -> bool:
        return name in dict(self.mapped)

    @classmethod
    def of(cls, names: FieldNames | Mapping[str, str] | None) -> FieldNames:
        """The names of a mapping from usual names to those of the pool.

        Raises:
          InputError: for a field that no layout has, an empty name, or two fields of a
            layout under one name.
        """
        if isinstance(names, FieldNames):
            return names
        found = dict(names or {})
        for name, given in found.items():
            if name not in FIELD_NAMES:
                raise InputError(
                    f"--field: found {name}={given}, expected one of {', '.join(FIELD_NAMES)} "
                    "before the ="
                )
            if not all(given.split(".")):
                raise InputError(
                    f"--field: found {name}={given}, expected the name of a field after the ="
                )
        # One that is named as usual is named all the same: it goes before other layouts.
        result = cls(tuple(sorted(found.items())))
        for together in _TOGETHER:
            taken: dict[str, str] = {}
            for name in together:
                if (other := taken.setdefault(result[name], name)) != name:
                    raise InputError(
                        f"--field: {other} and {name} are both {result[name]}; expected a field "
                        "of its own for each"
                    )
        labels, score = result["labels"], result["score"]
        if f"{labels}.".startswith(f"{score}.") or f"{score}.".startswith(f"{labels}."):
            raise InputError(
                f"--field: labels is {labels} and score is {score}, one within the other; expected "
                "a field of its own for each"
            )
        return result

    @classmethod
    def parse(cls, words: Iterable[str]) -> FieldNames:
        """The names of words such as `labels=tags`: the field of a layout, then the pool's.

        Raises:
          InputError: as `of` does, for a word without =, and for a field that is named twice.
        """
        found: dict[str, str] = {}
        for word in words:
            name, separator, given = word.partition("=")
            if not separator:
                raise InputError(f"--field: found {word}, expected NAME=FIELD, as in labels=tags")
            if found.setdefault(name, given) != given:
                raise InputError(
                    f"--field: {name} is both {found[name]} and {given}; expected one of them"
                )
        return cls.of(found)


def value_at(record: Any, path: str, default: Any = None) -> Any:
    """The value that the names joined by dots lead to; `default` if they lead nowhere."""
    for name in path.split("."):
        if not isinstance(record, dict) or name not in record:
            return default
        record = record[name]
    return record


USUAL: Final = FieldNames()
