"""What LLaMA-Factory is told of the records in its dataset_info.json."""

from __future__ import annotations

import collections
import json
import os
from collections.abc import Collection
from typing import Any, Final

from mig_jax.data.records import (
    CONVERSATION_FORMATS,
    FACTORY_CALL,
    FactoryReading,
    FieldNames,
    usual_role_names,
)
from mig_jax.errors import InputError

__all__ = ["dataset_info_entry", "dataset_info_notes", "updated_dataset_info"]

_TAGS: Final = {
    "user": "user_tag",
    "assistant": "assistant_tag",
    "tool": "observation_tag",
    "system": "system_tag",
}
_COLUMNS: Final = (
    *("messages", "prompt", "query", "response", "chosen", "rejected", "kto_tag"),
    *("system", "history", "tools", "images", "videos", "audios"),
)
_AS_MESSAGES: Final = "as --output_layout=messages makes it"


def dataset_info_entry(
    readings: Collection[FactoryReading], names: FieldNames, file_name: str
) -> dict[str, Any]:
    """The entry of records that are read so; `names` are those of their fields.

    LLaMA-Factory's README in the folder `data` describes it.

    Raises:
      InputError: if the records have several layouts, are for several stages of training,
        or have several names for a role or several fields for a column.
    """
    layout = _only(
        [reading.layout for reading in readings], "the records have the layouts", _AS_MESSAGES
    )
    stage = _only(
        [reading.stage for reading in readings],
        "the records are for the stages",
        "of records with the same fields (--drop_field=NAME leaves one out)",
    )
    by_column = collections.defaultdict(set)
    for reading in readings:
        for column, field in reading.columns:
            by_column[column].add(field)
    columns = {
        column: _only(by_column[column], f"the {column} stands in the fields", _AS_MESSAGES)
        for column in _COLUMNS
        if column in by_column
    }
    formattings = {reading.formatting for reading in readings}
    formatting = "openai" if "openai" in formattings else formattings.pop()
    entry: dict[str, Any] = {"file_name": file_name, "formatting": formatting, "columns": columns}
    if stage == "rm":
        entry["ranking"] = True
    if formatting != "alpaca":
        entry["tags"] = _tags(readings, layout, names)
    return entry


def dataset_info_notes(readings: Collection[FactoryReading]) -> list[str]:
    """What LLaMA-Factory does to such records that one would not expect, a line each."""
    notes = []
    stages = {reading.stage for reading in readings}
    for stage in sorted(stages - {"sft"}):
        notes.append(f"LLaMA-Factory trains on the records with --stage {stage}")
    if "openai" not in {reading.formatting for reading in readings}:
        return notes
    does = ["adds `detailed thinking off` to the system prompts of records without tools"]
    if any(reading.has_quoted_arguments for reading in readings):
        does.append("quotes the arguments of calls once more, since they are text")
    objects = set().union(*(reading.objects for reading in readings))
    kinds = [where for where, *_ in objects]
    if several := sorted(kind for kind in set(kinds) if kinds.count(kind) > 1):
        does.append(f"fills in null in {' and '.join(several)} for names that others have")
    notes.append(
        f"LLaMA-Factory's formatting openai {', '.join(does)}; --output_layout=sharegpt writes "
        "calls and tools that it reads as they are"
    )
    return notes


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


def _tags(readings: Collection[FactoryReading], layout: str, names: FieldNames) -> dict[str, str]:
    form = CONVERSATION_FORMATS[layout].form
    usual = usual_role_names(layout)
    found = set().union(*(reading.role_names for reading in readings))
    tags = {"role_tag": names[form.role], "content_tag": names[form.content]}  # type: ignore[union-attr]
    for role, tag in _TAGS.items():
        given = {name for of_role, name in found if of_role == role} or {usual[role]}  # type: ignore[index]
        tags[tag] = _only(given, f"the turns of the {role} are named", _AS_MESSAGES)
    return {**tags, "function_tag": FACTORY_CALL}


def _only(found: Collection[str], what: str, expected: str) -> str:
    """The one value there is.

    Raises:
      InputError: if there are several.
    """
    values = sorted(set(found))
    if len(values) != 1:
        told = f"{', '.join(values[:-1])} and {values[-1]}"
        raise InputError(f"--dataset_info: {what} {told}; expected one, {expected}")
    return values[0]
