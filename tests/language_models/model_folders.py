"""Models as folders in Hugging Face's layout, as its library writes them; tests skip without it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.language_models.decoders import MATRICES
from tests.tokenizer_files import write_tokenizer

numpy_files = pytest.importorskip("safetensors.numpy", reason="the extra finetune is not installed")

NAMES = {
    "query": "self_attn.q_proj",
    "key": "self_attn.k_proj",
    "value": "self_attn.v_proj",
    "out": "self_attn.o_proj",
    "gate": "mlp.gate_proj",
    "up": "mlp.up_proj",
    "down": "mlp.down_proj",
    "query_norm": "self_attn.q_norm",
    "key_norm": "self_attn.k_norm",
    "attention_norm": "input_layernorm",
    "hidden_norm": "post_attention_layernorm",
}
GEMMA_NAMES = NAMES | {
    "after_attention_norm": "post_attention_layernorm",
    "hidden_norm": "pre_feedforward_layernorm",
    "after_hidden_norm": "post_feedforward_layernorm",
}
SIZES = {"vocab_size": "vocabulary", "hidden_size": "width", "intermediate_size": "hidden",
         "num_hidden_layers": "layers", "num_attention_heads": "heads",
         "num_key_value_heads": "key_heads", "head_dim": "head_width",
         "rms_norm_eps": "epsilon"}  # fmt: skip


def config_of(a, kind, **more):
    own = {name: getattr(a, theirs) for name, theirs in SIZES.items()}
    if kind == "gemma3_text":
        own |= {
            "hidden_activation": "gelu_pytorch_tanh",
            "query_pre_attn_scalar": a.query_scale**-2,
            "sliding_window": min(a.windows),
        }
    else:
        own |= {"hidden_act": "silu", "rope_theta": a.rope_bases[0], "tie_word_embeddings": False}
    return {"model_type": kind, **own, **more}


def tensors_of(weights, *, gemma=False):
    """The file's tensors by name, matrices [out, in]."""
    less = np.float32(gemma)
    found = {
        "model.embed_tokens.weight": weights["embedding"],
        "model.norm.weight": weights["norm"] - less,
    }
    if "head" in weights:
        found["lm_head.weight"] = weights["head"]
    for name, stacked in weights["layers"].items():
        for n, own in enumerate(stacked):
            theirs = (GEMMA_NAMES if gemma else NAMES)[name]
            own = own.T if name in MATRICES else own - less
            found[f"model.layers.{n}.{theirs}.weight"] = np.ascontiguousarray(own)
    return found


def write_folder(folder, config, tensors, shards=1):
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    write_tokenizer(folder / "tokenizer.json", ["what", "is", "it"])
    if shards == 1:
        numpy_files.save_file(tensors, folder / "model.safetensors")
        return folder
    names = {}
    for shard in range(shards):
        file = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        own = dict(sorted(tensors.items())[shard::shards])
        numpy_files.save_file(own, folder / file)
        names |= dict.fromkeys(own, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    return folder
