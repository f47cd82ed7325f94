"""Records on their way out: put into an output layout, and described for a trainer."""

from __future__ import annotations

import collections
import json
import os
from typing import Any, Final

import msgspec

from mig_jax.data.records import (
    CONVERSATION_FORMATS,
    USUAL,
    Conversation,
    FieldNames,
    decode_conversation,
    encode_conversation,
    parse_record,
    usual_role_names,
    with_usual_roles,
)
from mig_jax.errors import InputError

__all__ = ["OUTPUT_LAYOUTS", "RecordConverter", "updated_dataset_info"]

# What a selection can be written as; None if records stay as they came.
OUTPUT_LAYOUTS: Final[dict[str, str | None]] = {
    "as_it_came": None,
    "messages": "messages",
    "sharegpt": "sharegpt",
    "alpaca": "alpaca",
    "parquet": None,
}
# LLaMA-Factory's name of what has this name in a record, if it has it.
_MORE_COLUMNS: Final = {
    "tools": "tools",
    "images": "images",
    "videos": "videos",
    "audios": "audios",
}
_TAGS: Final = {
    "user": "user_tag",
    "assistant": "assistant_tag",
    "tool": "observation_tag",
    "system": "system_tag",
}
_CALL: Final = "function_call"


class RecordConverter:
    """Makes of each record the one that is written, and notes what all of these have."""

    def __init__(self, layout: str | None, names: FieldNames = USUAL, *, describe: bool) -> None:
        """`layout` is a conversation layout, None for records as they came.

        `describe` notes what `dataset_info_entry` tells; then each must have a conversation.
        """
        self._layout = layout
        self._names = names
        self._describes = describe
        self._layouts: set[str] = set()
        self._fields: set[str] = set()
        self._role_names: dict[str, set[str]] = collections.defaultdict(set)

    def __call__(self, record: bytes) -> bytes:
        """The record as it is written: a JSON object on one line.

        Raises:
          BadRecord: if it is not JSON, or the layout cannot hold it.
        """
        parsed = parse_record(record)
        if self._layout is None:
            if self._describes:
                self._note(decode_conversation(parsed, self._names), parsed)
            return record
        conversation = with_usual_roles(decode_conversation(parsed, self._names))
        encoded = encode_conversation(conversation, self._layout)
        if self._describes:
            self._note(decode_conversation(encoded), encoded)
        return msgspec.json.encode(encoded)

    def _note(self, conversation: Conversation, record: dict[str, Any]) -> None:
        self._layouts.add(conversation.layout)
        self._fields.update(name for name, value in record.items() if value is not None)
        usual = usual_role_names(conversation.layout)
        for turn in conversation.turns:
            name = usual[turn.role] if turn.name is None else turn.name
            self._role_names[_CALL if name == _CALL else turn.role].add(name)

    def dataset_info_entry(self, file_name: str) -> dict[str, Any]:
        """What LLaMA-Factory must know of the records, in its dataset_info.json.

        Its README in the folder `data` describes the fields.

        Raises:
          InputError: if the records have several layouts, or several names for a role.
        """
        if len(self._layouts) != 1:
            raise InputError(
                f"--dataset_info: the records have the layouts {', '.join(sorted(self._layouts))}; "
                "expected one, as --output_layout=messages makes it"
            )
        (layout,) = self._layouts
        names = USUAL if self._layout is not None else self._names
        telling, form = CONVERSATION_FORMATS[layout]
        optional = {"system": names["system"]} if layout in ("sharegpt", "alpaca") else {}
        columns = {}
        if form is None:
            columns = {
                "prompt": names["instruction"],
                "query": names["input"],
                "response": names["output"],
            }
            optional["history"] = names["history"]
        else:
            columns = {"messages": names[telling[0]]}
        columns |= {
            name: field
            for name, field in (optional | _MORE_COLUMNS).items()
            if field in self._fields
        }
        if "query" in columns and columns["query"] not in self._fields:
            del columns["query"]
        if form is None:
            return {"file_name": file_name, "formatting": "alpaca", "columns": columns}
        tags = {"role_tag": names[form.role], "content_tag": names[form.content]}
        for role, tag in _TAGS.items():
            tags[tag] = self._role_name(role, form.usual[role])  # type: ignore[index]
        tags["function_tag"] = _CALL
        return {"file_name": file_name, "formatting": "sharegpt", "columns": columns, "tags": tags}

    def _role_name(self, role: str, usual: str) -> str:
        found = sorted(self._role_names[role]) or [usual]
        if len(found) > 1 or not found[0]:
            told = " and ".join(name or "nothing" for name in found)
            raise InputError(
                f"--dataset_info: the turns of the {role} are named {told}; expected one name, as "
                "--output_layout=messages makes it"
            )
        return found[0]


def updated_dataset_info(path: str, name: str, entry: dict[str, Any]) -> bytes:
    """The text of LLaMA-Factory's dataset_info.json with one entry added, or in its place.

    Raises:
      InputError: if there is a file at `path` that holds no JSON object.
    """
    expected = "expected a JSON object, as LLaMA-Factory's dataset_info.json"
    entries: Any = {}
    if os.path.exists(path):
        try:
            with open(path, encoding="utf-8-sig") as stream:
                entries = json.load(stream)
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"--dataset_info: {path}: {error}; {expected}") from None
        if not isinstance(entries, dict):
            raise InputError(f"--dataset_info: {path}: holds no object; {expected}")
    entries[name] = entry
    text = json.dumps(entries, indent=2, ensure_ascii=False) + "\n"
    return text.encode("utf-8", "backslashreplace")  # JSON's own way to write half characters.
