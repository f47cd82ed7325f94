"""What select writes has the layouts that axolotl's documentation names, told in its words.

From "Dataset Formats" of axolotl's documentation (0.19): conversations are of type
`chat_template`, with `field_messages` (by default `messages`) and `message_property_mappings`
(role and content); each role must be one of `roles` (user: human, user; assistant: gpt,
assistant; system; tool). Instructions are of type `alpaca` (instruction, input, output); text
alone is of type `completion` (text).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.trainers.selections import ANSWERS, POOLS, SAID, selection

pytestmark = pytest.mark.slow

ROLES = {
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "system": "system",
    "tool": "tool",
}
# The dataset of a configuration, as a user writes it, by the layout of the output.
CONFIGS: dict[str, dict[str, Any]] = {
    "messages": {"type": "chat_template"},
    "sharegpt": {
        "type": "chat_template",
        "field_messages": "conversations",
        "message_property_mappings": {"role": "from", "content": "value"},
    },
    "alpaca": {"type": "alpaca"},
    "text": {"type": "completion"},
}


def answers(config: dict[str, Any], record: dict[str, Any]) -> list[str]:
    """What axolotl trains on, by its documentation."""
    # A record with all three is taken for one that is tokenized already.
    assert not {"input_ids", "attention_mask", "labels"} <= record.keys()
    if config["type"] == "completion":
        return [record["text"]]
    if config["type"] == "alpaca":
        assert {"instruction", "input", "output"} <= record.keys()
        return [record["output"]]
    names = config.get("message_property_mappings", {"role": "role", "content": "content"})
    found = []
    for turn in record[config.get("field_messages", "messages")]:
        said = turn[names["content"]]
        assert isinstance(said, str)
        if ROLES[turn[names["role"]]] == "assistant":
            found.append(said)
    return found


CONVERSATIONS = ("messages", "sharegpt", "alpaca")
PAIRS = [(source, layout) for source in CONVERSATIONS for layout in CONVERSATIONS]


@pytest.mark.parametrize(("source", "layout"), [*PAIRS, ("text", "text")])
def test_layouts(tmp_path: Path, source: str, layout: str) -> None:
    # Alpaca of axolotl has no earlier turns.
    records = POOLS[source][:5] if layout == "alpaca" else POOLS[source]
    flags = [] if layout == source else [f"--output_layout={layout}"]
    output = selection(tmp_path, records, *flags)
    lines = output.read_text().splitlines()
    found = sorted(answers(CONFIGS[layout], json.loads(line)) for line in lines)
    expected = {
        "text": sorted([f"{asked} {answer}"] for asked, answer in SAID),
        "alpaca": sorted([answer] for _, answer in SAID),
    }
    assert found == expected.get(layout, ANSWERS)
