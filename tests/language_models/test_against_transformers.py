"""Tiny models of transformers, saved by it: the same logits, padding and windows included."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from mig_jax.language_models import (
    EncodedRecords,
    TunedModel,
    Tuning,
    lay_out,
    pack,
    read_model,
)
from tests.tokenizer_files import write_tokenizer

pytest.importorskip("safetensors", reason="the extra finetune is not installed")
torch = pytest.importorskip("torch", reason="torch is not installed")
transformers = pytest.importorskip("transformers", reason="transformers is not installed")

SIZES = {
    "vocab_size": 40,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 7,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "initializer_range": 0.3,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("Llama", {}),
        ("Mistral", {"sliding_window": 4}),
        ("Qwen3", {"tie_word_embeddings": True}),
        ("Gemma3Text", {"sliding_window": 4, "query_pre_attn_scalar": 10}),
    ],
)
def test_logits_are_those_of_transformers(tmp_path, kind, more):
    config = getattr(transformers, f"{kind}Config")(**SIZES, **more, attn_implementation="eager")
    torch.manual_seed(3)
    name = "Gemma3ForCausalLM" if kind == "Gemma3Text" else f"{kind}ForCausalLM"
    theirs = getattr(transformers, name)(config).eval()
    for parameter in theirs.parameters():  # Norms, too: they are all alike at first.
        parameter.data += 0.1 * torch.randn_like(parameter)
    theirs.save_pretrained(tmp_path)
    write_tokenizer(tmp_path / "tokenizer.json", ["what", "is", "it"])
    model = read_model(tmp_path)
    rng = np.random.default_rng(1)
    lengths = [9, 4, 12, 2]
    encoded = EncodedRecords(
        rng.integers(0, 40, sum(lengths)).astype(np.int32),
        np.cumsum([0, *lengths]),
        np.ones(4, np.int32),
    )
    batch = lay_out(encoded, pack(encoded.lengths, np.arange(4), 16), 2, 16)
    tuned = TunedModel(model.architecture, model.weights, Tuning())
    found = np.asarray(tuned.logits(tuned.start(jax.random.key(0)), batch, None, batch.at))
    for record in range(4):
        with torch.no_grad():
            ids = torch.tensor(encoded.of(record).astype(np.int64))[None]
            wanted = theirs(ids).logits[0, :-1].numpy()
        np.testing.assert_allclose(
            found[batch.owners == record], wanted, rtol=1e-4, atol=1e-4 * abs(wanted).max()
        )
