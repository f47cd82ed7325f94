"""A tokenizer of bytes with a chat template, and a language model of random weights."""

from __future__ import annotations

from typing import Any

import pytest

# As ChatML has it; `generation` marks what the assistant says, its end included.
TEMPLATE = """{% for turn in messages %}<|im_start|>{{ turn.role }}
{% if turn.role == 'assistant' %}{% generation %}{{ turn.content }}\
{% if turn.tool_calls %}{{ turn.tool_calls[0].function.arguments }}{% endif %}<|im_end|>\
{% endgeneration %}{% else %}{{ turn.content }}<|im_end|>{% endif %}

{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
EXTRA = "the extra trainers is not installed"


def byte_tokenizer() -> Any:
    """A token a byte, and those of ChatML; padding is no end of a text."""
    transformers = pytest.importorskip("transformers", reason=EXTRA)
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    byte_level = tokenizers.Tokenizer(
        models.BPE(vocab=dict(zip(letters, range(256), strict=True)), merges=[])
    )
    byte_level.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    byte_level.decoder = decoders.ByteLevel()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=byte_level,
        eos_token="<|im_end|>",
        pad_token="<|pad|>",
        additional_special_tokens=["<|im_start|>"],
    )
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def tiny_causal_lm(tokenizer: Any) -> Any:
    """A Llama of one layer for the tokens of the tokenizer."""
    torch = pytest.importorskip("torch", reason=EXTRA)
    import transformers

    torch.manual_seed(1)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=512,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    return transformers.LlamaForCausalLM(config)
