"""Folders in Hugging Face's layout: read as they were meant, or refused."""

from __future__ import annotations

import dataclasses
import json

import ml_dtypes
import numpy as np
import pytest

from mig_jax.errors import InputError
from mig_jax.language_models import read_model
from tests.language_models.decoders import EVERYTHING, GEMMA, LLAMA, weights_of
from tests.language_models.model_folders import config_of, tensors_of, write_folder

pytest.importorskip("tokenizers", reason="the extra finetune is not installed")


def assert_equal_weights(found, wanted, **close):
    assert set(found) == set(wanted)
    assert set(found["layers"]) == set(wanted["layers"])
    pairs = [(found["layers"][n], own) for n, own in wanted["layers"].items()]
    pairs += [(found[name], wanted[name]) for name in wanted if name != "layers"]
    for one, other in pairs:
        assert one.dtype == np.float32
        np.testing.assert_allclose(one, other, **(close or {"rtol": 0}))


LLAMA_WEIGHTS = weights_of(LLAMA, 51, head=True)


@pytest.mark.parametrize("shards", [1, 3])
def test_a_llama_is_read_as_it_was_written(tmp_path, shards):
    folder = write_folder(
        tmp_path, config_of(LLAMA, "llama"), tensors_of(LLAMA_WEIGHTS), shards=shards
    )
    model = read_model(folder)
    assert model.architecture == LLAMA
    assert_equal_weights(model.weights, LLAMA_WEIGHTS)
    assert model.chat_template is None
    # Whole, with nothing put in front of it or behind it that its own settings ask for.
    assert model.tokenizer.encode("what is it it it", add_special_tokens=False).ids == [
        2,
        3,
        4,
        4,
        4,
    ]


def test_half_precision_is_read_number_by_number(tmp_path):
    tensors = tensors_of(LLAMA_WEIGHTS)
    short = {name: t.astype(ml_dtypes.bfloat16) for name, t in tensors.items()}
    short["model.norm.weight"] = tensors["model.norm.weight"].astype(np.float16)
    model = read_model(write_folder(tmp_path, config_of(LLAMA, "llama"), short))
    assert_equal_weights(model.weights, LLAMA_WEIGHTS, rtol=2**-8)
    assert np.array_equal(
        model.weights["embedding"], short["model.embed_tokens.weight"].astype(np.float32)
    )


def test_newer_files_tell_rotary_positions_otherwise(tmp_path):
    config = config_of(LLAMA, "llama")
    base = config.pop("rope_theta")
    config["rope_parameters"] = {"rope_type": "default", "rope_theta": base}
    model = read_model(write_folder(tmp_path, config, tensors_of(LLAMA_WEIGHTS)))
    assert model.architecture == LLAMA


def test_mistral_and_qwen3_are_llamas_with_windows_and_with_norms(tmp_path):
    config = config_of(LLAMA, "mistral", sliding_window=5)
    model = read_model(write_folder(tmp_path / "m", config, tensors_of(LLAMA_WEIGHTS)))
    assert model.architecture == dataclasses.replace(LLAMA, windows=(5,) * 3)
    config = config_of(LLAMA, "mistral", sliding_window=None)
    model = read_model(write_folder(tmp_path / "m", config, tensors_of(LLAMA_WEIGHTS)))
    assert model.architecture == LLAMA
    weights = weights_of(LLAMA, 52, head_norms=True)
    config = config_of(LLAMA, "qwen3", tie_word_embeddings=True, use_sliding_window=False)
    model = read_model(write_folder(tmp_path / "q", config, tensors_of(weights)))
    assert model.architecture == LLAMA
    assert_equal_weights(model.weights, weights)


@pytest.mark.parametrize("newer", [False, True])
def test_a_gemma_is_read_as_it_was_written(tmp_path, newer):
    a = dataclasses.replace(
        GEMMA, windows=(3, EVERYTHING, 3), rope_bases=(10.0, 1000.0, 10.0), query_scale=0.25
    )
    weights = weights_of(a, 53)
    kinds = ["sliding_attention", "full_attention", "sliding_attention"]
    config = config_of(a, "gemma3_text", layer_types=kinds)
    if newer:
        bases = {kinds[1]: 1000.0, kinds[0]: 10.0}
        config["rope_parameters"] = {
            kind: {"rope_type": "default", "rope_theta": base} for kind, base in bases.items()
        }
    else:
        config |= {"rope_theta": 1000.0, "rope_local_base_freq": 10.0, "rope_scaling": None}
    model = read_model(write_folder(tmp_path, config, tensors_of(weights, gemma=True)))
    assert model.architecture == a
    assert_equal_weights(model.weights, weights, atol=1e-6)


def test_a_tied_head_is_the_embedding(tmp_path):
    weights = {name: w for name, w in LLAMA_WEIGHTS.items() if name != "head"}
    tied = config_of(LLAMA, "llama", tie_word_embeddings=True)
    same = tensors_of(weights) | {"lm_head.weight": weights["embedding"]}
    for tensors in (tensors_of(weights), same):
        model = read_model(write_folder(tmp_path, tied, tensors))
        assert_equal_weights(model.weights, weights)
    with pytest.raises(InputError, match="tie_word_embeddings is true, yet lm_head"):
        read_model(write_folder(tmp_path, tied, tensors_of(LLAMA_WEIGHTS)))
    with pytest.raises(InputError, match=r"expected a tensor lm_head\.weight"):
        read_model(write_folder(tmp_path, config_of(LLAMA, "llama"), tensors_of(weights)))


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("gpt2", {}),
        ("gemma3", {}),
        ("qwen2", {}),
        ("llama", {"attention_bias": True}),
        ("llama", {"mlp_bias": True}),
        ("llama", {"hidden_act": "gelu"}),
        ("llama", {"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}),
        ("llama", {"rope_scaling": {"type": "linear", "factor": 2.0}}),
        ("llama", {"rope_parameters": {"rope_type": "yarn", "rope_theta": 100.0}}),
        ("llama", {"partial_rotary_factor": 0.5}),
        ("llama", {"rope_interleaved": True}),
        ("llama", {"quantization_config": {"quant_method": "gptq"}}),
        ("llama", {"num_hidden_layers": 2.5}),
        ("llama", {"rms_norm_eps": None}),
        ("llama", {"vocab_size": 4}),
        ("llama", {"head_dim": 4}),
        ("llama", {"auto_map": {"AutoModelForCausalLM": "other.py"}}),
        ("mistral", {}),  # It does not say whether it has a window.
        ("qwen3", {"use_sliding_window": True}),
        ("qwen3", {"layer_types": ["sliding_attention"] * 3}),
    ],
)
def test_what_is_not_known_is_refused(tmp_path, kind, change):
    """One line that names the field, or a tensor that does not fit it."""
    folder = write_folder(tmp_path, config_of(LLAMA, kind) | change, tensors_of(LLAMA_WEIGHTS))
    field = next(iter(change), "sliding_window" if kind == "mistral" else "model_type")
    sized = {"vocab_size": "embed_tokens.*expected the shape", "head_dim": "expected the shape"}
    with pytest.raises(InputError, match=sized.get(field, field)) as told:
        read_model(folder)
    assert str(told.value).startswith(str(folder))
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    "change",
    [
        {"final_logit_softcapping": 30.0},
        {"attn_logit_softcapping": 50.0},
        {"use_bidirectional_attention": True},
        {"hidden_activation": "silu"},
        {"rope_scaling": {"rope_type": "linear", "factor": 8.0}},
        {"sliding_window_pattern": 4},
        {"query_pre_attn_scalar": None},
        {"rope_local_base_freq": None},
    ],
)
def test_another_gemma_is_refused(tmp_path, change):
    config = config_of(GEMMA, "gemma3_text", rope_theta=1000.0, rope_local_base_freq=10.0)
    folder = write_folder(tmp_path, config | change, tensors_of(weights_of(GEMMA, 54), gemma=True))
    with pytest.raises(InputError, match=next(iter(change))):
        read_model(folder)


def test_tensors_of_another_model_are_refused(tmp_path):
    config, tensors = config_of(LLAMA, "llama"), tensors_of(LLAMA_WEIGHTS)
    bias = {"model.layers.0.self_attn.q_proj.bias": np.zeros(24, np.float32)}
    with pytest.raises(InputError, match=r"q_proj\.bias; expected no tensors besides"):
        read_model(write_folder(tmp_path, config, tensors | bias))
    whole = {"model.norm.weight": np.ones(16, np.int32)}
    with pytest.raises(InputError, match=r"norm\.weight: expected one of F32"):
        read_model(write_folder(tmp_path, config, tensors | whole))
    old = {"model.layers.0.self_attn.rotary_emb.inv_freq": np.ones(3, np.float32)}
    assert read_model(write_folder(tmp_path, config, tensors | old)).architecture == LLAMA


def test_folders_that_lack_a_part_are_refused(tmp_path):
    folder = write_folder(tmp_path, config_of(LLAMA, "llama"), tensors_of(LLAMA_WEIGHTS))
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match=r"tokenizer\.json: expected a tokenizer"):
        read_model(folder)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(InputError, match=r"expected a file tokenizer\.json"):
        read_model(folder)
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"model\.safetensors: expected a file of safetensors"):
        read_model(folder)
    file.unlink()
    with pytest.raises(InputError, match=r"expected a file model\.safetensors"):
        read_model(folder)
    (folder / "config.json").write_text("[1]")
    with pytest.raises(InputError, match=r"config\.json: expected an object"):
        read_model(folder)
    (folder / "config.json").unlink()
    with pytest.raises(InputError, match=r"config\.json: expected an object"):
        read_model(folder)


def test_chat_templates_are_found_in_each_place(tmp_path):
    folder = write_folder(tmp_path, config_of(LLAMA, "llama"), tensors_of(LLAMA_WEIGHTS))
    body = "{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}"
    named = [{"name": "tool_use", "template": "x"}, {"name": "default", "template": "1" + body}]
    tokens = {"eos_token": {"content": "</s>"}, "bos_token": "<s>"}
    places = folder / "tokenizer_config.json", folder / "chat_template.jinja"
    places[0].write_text(json.dumps(tokens | {"chat_template": named}))
    assert read_model(folder).chat_template.parts("a", "b") == ("1a</s>", "b</s>")
    places[0].write_text(json.dumps(tokens | {"chat_template": "2{{ bos_token }}" + body}))
    assert read_model(folder).chat_template.parts("a", "b") == ("2<s>a</s>", "b</s>")
    places[1].write_text("3" + body)
    assert read_model(folder).chat_template.parts("a", "b") == ("3a</s>", "b</s>")
    # The model can be read whatever its template is worth.
    places[1].write_text("{{ pad_token }}" + body)
    model = read_model(folder)
    with pytest.raises(InputError, match="the chat template names pad_token"):
        _ = model.chat_template


def test_the_digest_is_of_weights_and_configuration(tmp_path):
    config, tensors = config_of(LLAMA, "llama"), tensors_of(LLAMA_WEIGHTS)
    first = read_model(write_folder(tmp_path / "a", config, tensors)).digest
    assert read_model(write_folder(tmp_path / "b", config, tensors)).digest == first
    other = config | {"rope_theta": 101.0}
    assert read_model(write_folder(tmp_path / "c", other, tensors)).digest != first
    other = tensors | {"model.norm.weight": np.ones(16, np.float32)}
    assert read_model(write_folder(tmp_path / "d", config, other)).digest != first
