"""What select writes has the layouts that axolotl reads, by its documentation and its own code.

From "Dataset Formats" of axolotl's documentation (0.19): conversations are of type
`chat_template`, with `field_messages` (by default `messages`) and `message_property_mappings`
(role and content); each role must be one of `roles` (user: human, user; assistant: gpt,
assistant; system; tool). Instructions are of type `alpaca` (instruction, input, output); text
alone is of type `completion` (text).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.trainers.selections import ANSWERS, POOLS, SAID, selection
from tests.trainers.tiny_models import byte_tokenizer

pytestmark = pytest.mark.slow

END = "<|im_end|>"
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


def by_its_documentation(config: dict[str, Any], record: dict[str, Any]) -> list[str]:
    """What axolotl trains on."""
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


def by_itself(config: dict[str, Any], record: dict[str, Any]) -> list[str]:
    """The same by its own strategies, if it is here; what is learned is cut at the end of turns."""
    tokenizer = byte_tokenizer()
    try:
        from axolotl.prompt_strategies import chat_template, completion
        from axolotl.prompt_tokenizers import AlpacaPromptTokenizingStrategy
        from axolotl.prompters import AlpacaPrompter
    except ImportError as error:
        pytest.skip(f"axolotl cannot be imported: {error}")
    strategy: Any
    if config["type"] == "chat_template":
        options = {name: value for name, value in config.items() if name != "type"}
        prompter = chat_template.ChatTemplatePrompter(
            tokenizer, chat_template=tokenizer.chat_template, **options
        )
        strategy = chat_template.ChatTemplateStrategy(
            *(prompter, tokenizer, False, 2048),
            roles_to_train=["assistant"],
            train_on_eos="turn",
        )
        labels = strategy.tokenize_prompt(record)["labels"]
    elif config["type"] == "alpaca":
        strategy = AlpacaPromptTokenizingStrategy(AlpacaPrompter("chat"), tokenizer, False, 2048)
        labels = strategy.tokenize_prompt(record)["labels"]
    else:
        strategy = completion.CompletionPromptTokenizingStrategy(
            completion.CompletionPrompter(), tokenizer, False, 2048
        )
        strategy.field = "text"
        (labels,) = strategy.tokenize_prompt({"text": [record["text"]]})["labels"]
    *found, rest = tokenizer.decode([token for token in labels if token >= 0]).split(END)
    assert not rest
    return found


CONVERSATIONS = ("messages", "sharegpt", "alpaca")
PAIRS = [(source, layout) for source in CONVERSATIONS for layout in CONVERSATIONS]


@pytest.mark.parametrize("answers", [by_its_documentation, by_itself])
@pytest.mark.parametrize(("source", "layout"), [*PAIRS, ("text", "text")])
def test_layouts(
    tmp_path: Path, source: str, layout: str, answers: Callable[[Any, Any], list[str]]
) -> None:
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
