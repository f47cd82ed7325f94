"""TRL's SFTTrainer takes a step on what select writes, and learns the assistant's answers only."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from tests.trainers.selections import ANSWERS, POOLS, SAID, loaded, selection
from tests.trainers.tiny_models import EXTRA, byte_tokenizer, tiny_causal_lm

trl = pytest.importorskip("trl", reason=EXTRA)
pytestmark = pytest.mark.slow

END = "<|im_end|>"


def trainer_of(folder: Path, dataset: Any, **options: Any) -> Any:
    tokenizer = byte_tokenizer()
    config = trl.SFTConfig(
        output_dir=str(folder / "trained"),
        max_steps=1,
        per_device_train_batch_size=len(dataset),
        report_to=[],
        save_strategy="no",
        use_cpu=True,
        bf16=False,
        disable_tqdm=True,
        **options,
    )
    return trl.SFTTrainer(
        model=tiny_causal_lm(tokenizer),
        args=config,
        train_dataset=dataset,
        processing_class=tokenizer,
    )


def learned_from(trainer: Any) -> list[str]:
    """Takes a step; the texts that the loss is taken of, a record each, sorted."""
    tokenizer = trainer.processing_class
    (batch,) = trainer.get_train_dataloader()
    assert batch.keys() == {"input_ids", "attention_mask", "labels"}
    texts = []
    for ids, labels in zip(batch["input_ids"].tolist(), batch["labels"].tolist(), strict=True):
        assert all(label in (-100, token) for label, token in zip(labels, ids, strict=True))
        texts.append(tokenizer.decode([label for label in labels if label >= 0]))
    before = [weight.detach().clone() for weight in trainer.model.parameters()]
    result = trainer.train()
    assert math.isfinite(result.training_loss)
    assert result.training_loss > 0
    after = list(trainer.model.parameters())
    assert any(not old.equal(new) for old, new in zip(before, after, strict=True))
    return sorted(texts)


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
@pytest.mark.parametrize("layout", ["messages", "sharegpt", "alpaca"])
def test_conversations(tmp_path: Path, layout: str, ending: str) -> None:
    flags = [] if layout == "messages" else ["--output_layout=messages"]
    output = selection(tmp_path, POOLS[layout], *flags, ending=ending)
    trainer = trainer_of(tmp_path, loaded(output), assistant_only_loss=True)
    expected = sorted("".join(answer + END for answer in several) for several in ANSWERS)
    assert learned_from(trainer) == expected


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
@pytest.mark.parametrize("layout", ["messages", "sharegpt", "alpaca"])
def test_conversations_as_prompt_and_completion(tmp_path: Path, layout: str, ending: str) -> None:
    flag = "--output_layout=prompt_completion"
    output = selection(tmp_path, POOLS[layout], flag, ending=ending)
    learned = learned_from(trainer_of(tmp_path, loaded(output)))
    # The template ends each turn with a line break.
    assert learned == sorted(f"{several[-1]}{END}\n" for several in ANSWERS)


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_prompt_and_completion(tmp_path: Path, ending: str) -> None:
    output = selection(tmp_path, POOLS["prompt_completion"], ending=ending)
    learned = learned_from(trainer_of(tmp_path, loaded(output)))
    assert learned == sorted(answer + END for _, answer in SAID)


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_text(tmp_path: Path, ending: str) -> None:
    output = selection(tmp_path, POOLS["text"], ending=ending)
    learned = learned_from(trainer_of(tmp_path, loaded(output)))
    assert learned == sorted(f"{asked} {answer}{END}" for asked, answer in SAID)


def test_pairs_as_messages(tmp_path: Path) -> None:
    records = [
        {
            "conversations": [{"from": "human", "value": asked}],
            "chosen": {"from": "gpt", "value": answer},
            "rejected": {"from": "gpt", "value": "Who knows?"},
        }
        for asked, answer in SAID
    ]
    output = selection(tmp_path, records, "--output_layout=messages", "--drop_field=rejected")
    learned = learned_from(trainer_of(tmp_path, loaded(output), assistant_only_loss=True))
    assert learned == sorted(answer + END for _, answer in SAID)


# Which of `completion`, `chosen` and `messages` it looks at first changes from run to run.
MISREAD: dict[str, Any] = {"labels": ["maths"], "input_ids": "a name", "prompt": "Add."}


@pytest.mark.parametrize("field", MISREAD)
def test_a_field_that_is_misread_is_told_with_the_flag_that_helps(
    tmp_path: Path, field: str
) -> None:
    records = [{**record, field: MISREAD[field]} for record in POOLS["messages"]]
    output = selection(tmp_path, records)
    (note,) = json.loads(output.with_suffix(".manifest.json").read_text())["notes"]
    assert f"the field {field} " in note
    flag = note.split("; ")[-1].split()[0]
    # As it says, the trainer fails or learns something else.
    expected = sorted("".join(answer + END for answer in several) for several in ANSWERS)
    try:
        misread = learned_from(trainer_of(tmp_path, loaded(output), assistant_only_loss=True))
    except Exception:
        misread = []
    assert misread != expected
    again = tmp_path / "again"
    again.mkdir()
    output = selection(again, records, flag)
    assert field not in json.loads(output.read_text().splitlines()[0])
    trainer = trainer_of(again, loaded(output), assistant_only_loss=True)
    assert learned_from(trainer) == expected
