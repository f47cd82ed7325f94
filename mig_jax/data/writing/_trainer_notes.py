"""Fields that trainers take for something else, found in what is written and told once."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from mig_jax.data.files import TableRows
from mig_jax.data.reading import RecordTable
from mig_jax.data.records import BadRecord, parse_record, told_conversation_format

__all__ = ["TrainerNotes", "notes_of_rows"]

# What TRL's SFTTrainer (1.16) takes a field for, whatever stands beside it.
_TAKEN_FOR: Final = {
    "input_ids": "token ids, and read no text",
    "labels": "token labels",
    "completion_mask": "a mask of tokens",
    "assistant_masks": "a mask of tokens",
    "seq_lengths": "lengths of packed sequences",
}
# Fields that tell TRL another format than that of the turns in `messages` or `conversations`.
_OTHER_FORMATS: Final = frozenset(("prompt", "completion", "chosen", "rejected"))
_TURNS: Final = ("messages", "conversations")
_ROLES_OF_SHAREGPT: Final = (b'"human"', b'"gpt"')
# Answers that a question lets choose from, which are in it or nobody reads them.
_CHOICES: Final = ("options", "choices")
_ASKING: Final = frozenset((*_TURNS, "question", "query", "problem", "prompt", "instruction"))
_PICTURES: Final = ("image", "images")
_NULL, _LIST = "null", "list"
# By the first byte of a value; all others are numbers.
_KINDS: Final = {
    **dict.fromkeys(b"tf", "bool"),
    ord('"'): "text",
    ord("["): _LIST,
    ord("{"): "object",
    ord("n"): _NULL,
}
_FIELDS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NOTHING: Final = (b"null", b"[]", b'""')


def notes_of_rows(table: RecordTable, picks: npt.NDArray[np.int64]) -> list[str]:
    """What a trainer would misread in records that are written as they came, a line each.

    Raises:
      InputError: if a file is no longer what was read.
    """
    notes = TrainerNotes()
    records = np.unique(picks)
    for index in np.unique(table.file_index[records]).tolist():
        source = table.sources[index]
        of_file = records[table.file_index[records] == index]
        if isinstance(source, TableRows):
            notes.add_columns(source.schema().names)
            continue
        for record in source.read_records(table.position[of_file]):
            notes.add(record)
    return notes.lines()


class TrainerNotes:
    """Looks at the top-level fields of records, given one by one."""

    def __init__(self, *, as_they_came: bool = True) -> None:
        """`as_they_came`: nobody asked for the layout of the records."""
        self._as_they_came = as_they_came
        self._has_roles_of_sharegpt = False
        self._kinds: dict[str, set[str]] = collections.defaultdict(set)
        self._beside_turns: set[str] = set()
        self._tells_nothing: dict[str, bool] = dict.fromkeys((*_PICTURES, "tools"), True)
        self._tools_are_bad = False
        self._unread_choices: set[str] = set()
        self._has_system_beside = False
        self._has_open_pair = False
        self._has_pair_without_turns = False
        self._is_utf8 = True

    def add(self, record: bytes) -> None:
        """Looks at a JSON object; passes over what is none."""
        try:
            record.decode()
        except UnicodeDecodeError:
            self._is_utf8 = False
        try:
            fields = _FIELDS.decode(record)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return
        turns = []
        for name, raw in fields.items():
            kind = _KINDS.get(memoryview(raw)[0], "number")
            # Looked up before it is added: most records hold the same as the one before.
            if kind not in (known := self._kinds[name]):
                known |= {kind} - {_NULL}
            if kind == _LIST and name in _TURNS:
                turns.append(name)
            if name in self._tells_nothing:
                self._look_at(name, bytes(raw))
        for name in () if _ASKING.isdisjoint(fields) else _CHOICES:
            is_new = name in fields and name not in self._unread_choices
            if is_new and _has_choices_alone(fields, name):
                self._unread_choices.add(name)
        is_pair = "chosen" in fields and "rejected" in fields
        if turns and is_pair and _is_open_pair(record):
            self._has_open_pair = True
        elif turns:
            if not _OTHER_FORMATS.isdisjoint(fields):
                self._beside_turns |= _OTHER_FORMATS & fields.keys()
        elif is_pair and self._as_they_came:
            self._has_pair_without_turns = True
        turns.sort(key=_TURNS.index)
        for name in turns[:1] if self._as_they_came else ():
            text = bytes(fields[name])
            if b'"from"' in text and any(role in text for role in _ROLES_OF_SHAREGPT):
                self._has_roles_of_sharegpt = True
        if turns and "system" in fields:
            system = bytes(fields["system"])
            self._has_system_beside |= system.startswith(b'"') and system != b'""'
        if len(turns) == 2:
            self._beside_turns.add("conversations")

    def _look_at(self, name: str, text: bytes) -> None:
        """At a value of pictures or tools."""
        if text not in _NOTHING:
            self._tells_nothing[name] = False
        if name == "tools" and text == b'""':
            self._tools_are_bad = True

    def add_columns(self, names: Iterable[str]) -> None:
        """Takes note of the columns of a table, whatever its rows hold."""
        names = set(names)
        for name in names:
            self._kinds[name] |= set()
            self._tells_nothing[name] = False
        if names & {*_TURNS}:
            self._beside_turns |= names & _OTHER_FORMATS
            self._has_system_beside |= "system" in names

    def lines(self) -> list[str]:
        """What is to be told, a line each, with the flag that helps."""
        found = {
            name: f"trainers take the field {name} for {what}"
            for name, what in _TAKEN_FOR.items()
            if name in self._kinds
        }
        found |= {
            name: f"TRL takes records with the field {name} for another format than turns"
            for name in sorted(self._beside_turns)
        }
        found |= {
            name: f"TRL takes the field {name}, which is empty, for pictures"
            for name in _PICTURES
            if name in self._kinds and self._tells_nothing[name]
        }
        if self._tools_are_bad and self._tells_nothing["tools"]:
            found["tools"] = 'TRL reads the field tools as JSON, which "" is not'
        for name, kinds in self._kinds.items():
            if len(kinds) > 1 and name not in found:
                several = " and ".join(sorted(kinds))
                found[name] = f"some trainers cannot load the field {name}, which holds {several}"
        told = [f"{text}; --drop_field={name} leaves it out" for name, text in found.items()]
        told += [
            f"answers to choose from stand in the field {name} alone, and in no question: nobody "
            "reads them there"
            for name in sorted(self._unread_choices)
        ]
        if not self._is_utf8:
            told.append(
                "trainers cannot load the records, which have bytes that are not UTF-8; expected a "
                "pool in UTF-8, as `iconv -f CHARSET -t UTF-8` makes it"
            )
        if self._has_open_pair:
            told.append(
                "TRL takes chosen and rejected beside turns for another format; "
                "--output_layout=messages with --drop_field=rejected writes the chosen answer as "
                "the last turn"
            )
        if self._has_pair_without_turns:
            told.append(
                "TRL's SFTTrainer takes no pairs of answers, as its DPOTrainer does; "
                "--output_layout=messages with --drop_field=rejected writes the chosen answers"
            )
        if self._has_roles_of_sharegpt:
            told.append(
                "TRL keeps the roles human and gpt, which chat templates do not know; "
                "--output_layout=messages writes user and assistant"
            )
        if self._has_system_beside:
            told.append(
                "TRL passes over the field system beside turns; --output_layout=messages puts it "
                "before them"
            )
        return told


def _has_choices_alone(fields: dict[str, msgspec.Raw], name: str) -> bool:
    """Whether a field holds texts, some of which are nowhere else in the record."""
    try:
        choices = msgspec.json.decode(fields[name])
        others = [msgspec.json.decode(raw) for other, raw in fields.items() if other != name]
        said = "\n".join(_texts(others))
        return any(text not in said for text in _texts(choices))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


def _texts(value: Any) -> Iterator[str]:
    """All strings within a value, but for names."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _texts(one)


def _is_open_pair(record: bytes) -> bool:
    """Whether the turns of a record lack an answer, which is the chosen one."""
    try:
        return told_conversation_format(parse_record(record)) == "preference"
    except BadRecord:
        return False
