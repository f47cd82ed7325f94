"""How LLaMA-Factory reads a record: its own converters if it is here, and its rules, written anew.

The rules are those of its README in the folder `data`, and of what it says when it skips a
record (0.9.5). Nothing of mig_jax is used.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import pathlib
import sys
import types
from collections.abc import Callable
from typing import Any

import pytest

#: Entry and record to what is trained on: prompt, response, system; None if it is skipped.
Reader = Callable[[dict[str, Any], dict[str, Any]], dict[str, Any] | None]

DEFAULT_TAGS = {
    "role_tag": "from",
    "content_tag": "value",
    "user_tag": "human",
    "assistant_tag": "gpt",
    "observation_tag": "observation",
    "function_tag": "function_call",
    "system_tag": "system",
}


def by_its_rules(entry: dict[str, Any], record: dict[str, Any]) -> dict[str, Any] | None:
    """As the README tells; only what SFT trains on, or ranking, roles left out."""
    columns = entry["columns"]
    if isinstance(record.get(columns.get("kto_tag", "")), bool):
        return None

    def field(name: str) -> Any:
        return record.get(columns[name]) if name in columns else None

    if entry["formatting"] == "alpaca":
        pairs = field("history") or []
        prompt = [text for pair in pairs for text in pair]
        prompt.append("\n".join(text for text in (field("prompt"), field("query")) if text))
        answers = [field("response")]
        if entry.get("ranking"):
            answers = [field("chosen"), field("rejected")]
        if any(not isinstance(answer, str) for answer in answers):
            return None
        return {"prompt": prompt, "response": answers, "system": field("system") or ""}
    tags = DEFAULT_TAGS | entry["tags"]
    turns = [dict(turn) for turn in field("messages")]
    system = field("system") or ""
    if turns and turns[0][tags["role_tag"]] == tags["system_tag"]:
        system = turns.pop(0)[tags["content_tag"]]
    said: list[tuple[str, str]] = []
    for turn in turns:
        role, content = turn[tags["role_tag"]], turn.get(tags["content_tag"])
        if entry["formatting"] == "openai":
            if turn.get("tool_calls") and role == tags["assistant_tag"]:
                role = tags["function_tag"]
                content = json.dumps([call["function"] for call in turn["tool_calls"]])
            if said and role == said[-1][0] == tags["observation_tag"]:
                content = f"{said.pop()[1]}\n</tool_response>\n<tool_response>\n{content}"
        said.append((role, content))
    asks = {tags["user_tag"], tags["observation_tag"]}
    answers_by = {tags["assistant_tag"], tags["function_tag"]}
    if any(role not in (answers_by if n % 2 else asks) for n, (role, _) in enumerate(said)):
        return None
    texts = [content for _, content in said]
    if any(not isinstance(text, str) for text in texts):
        return None
    if entry.get("ranking"):
        if len(said) % 2 == 0:
            return None
        pair = [field(name)[tags["content_tag"]] for name in ("chosen", "rejected")]
        return {"prompt": texts, "response": pair, "system": system}
    if len(said) % 2 or not said:
        return None
    return {"prompt": texts[:-1], "response": texts[-1:], "system": system}


def by_itself(entry: dict[str, Any], record: dict[str, Any]) -> dict[str, Any] | None:
    """As its own converters read it, of which only data/converter.py and what it uses is run."""
    converter, parser = _its_modules()
    attributes = parser.DatasetAttr("file", dataset_name="x")
    attributes.join(entry)
    told = types.SimpleNamespace(media_dir="", streaming=False)
    convert = converter.get_dataset_converter(entry["formatting"], attributes, told)
    # As `datasets` gives it: columns that the record has not are null.
    every = dict.fromkeys(entry["columns"].values()) | record
    tag = DEFAULT_TAGS | entry.get("tags", {})
    if entry["formatting"] != "alpaca":
        column = entry["columns"]["messages"]
        every[column] = [{tag["content_tag"]: None, **turn} for turn in every[column]]
    found = convert(every)
    prompt = [turn["content"] for turn in found["_prompt"]]
    response = [turn["content"] for turn in found["_response"]]
    wanted = 2 if entry.get("ranking") else 1
    # What data/processor drops, and what no template can take.
    if len(prompt) % 2 == 0 or len(response) != wanted:
        return None
    if any(not isinstance(text, str) for text in prompt + response):
        return None
    system = found["_system"] or ""
    if entry["formatting"] == "openai":  # Which adds this to what was said.
        system = system.removesuffix("detailed thinking off").removesuffix("\n")
    return {"prompt": prompt, "response": response, "system": system}


def _its_modules() -> tuple[Any, Any]:
    """Its converter and parser, without what its package imports besides (models, sound)."""
    found = importlib.util.find_spec("llamafactory")
    if found is None or not found.submodule_search_locations:
        pytest.skip("LLaMA-Factory is not installed")
    pytest.importorskip("datasets")
    root = pathlib.Path(next(iter(found.submodule_search_locations)))
    for name in ("llamafactory.data", "llamafactory.extras"):
        if name not in sys.modules:
            package = types.ModuleType(name)
            package.__path__ = [str(root / name.rpartition(".")[2])]
            sys.modules[name] = package
    try:
        return (
            importlib.import_module("llamafactory.data.converter"),
            importlib.import_module("llamafactory.data.parser"),
        )
    except ImportError as error:
        pytest.skip(f"LLaMA-Factory cannot be imported: {error}")
