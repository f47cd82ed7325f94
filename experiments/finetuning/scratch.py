"""A small model that has read nothing before it is trained: a cheap judge of selections."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

import jax

from mig_jax.errors import InputError
from mig_jax.language_models import (
    CHAT_TEMPLATES,
    Architecture,
    BaseModel,
    ChatTemplate,
    random_weights,
)
from mig_jax.runs import digest

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["is_scratch", "scratch_model"]

_NAME = re.compile(r"scratch(?::(\d+)x(\d+))?")
_WIDTH, _LAYERS = 128, 2
_HEAD = 32  # The width of a head.
_VOCABULARY = 4096
_SEED = 0
_TEMPLATE = "chatml"
_SPECIAL = ["<|im_start|>", "<|im_end|>"]


def is_scratch(name: str) -> bool:
    """Whether the name is `scratch`, or `scratch:` and a size."""
    return name.partition(":")[0] == "scratch"


def scratch_model(name: str, texts: Iterable[str]) -> BaseModel:
    """A Llama of random weights, with a tokenizer made of the pool's texts.

    Args:
      name: `scratch`, or `scratch:WIDTHxLAYERS`; 128 by 2 if no size is given, which is a
        million weights.
      texts: instructions and responses of the pool.

    Raises:
      InputError: if the size cannot be read, or the width is no multiple of 32.
    """
    width, layers = _size(name)
    tokenizer = _tokenizer(texts)
    heads = width // _HEAD
    architecture = Architecture(
        layers=layers,
        width=width,
        heads=heads,
        key_heads=heads,
        head_width=_HEAD,
        hidden=-(-8 * width // 3 // 64) * 64,
        vocabulary=tokenizer.get_vocab_size(),
        rope_bases=(1e4,) * layers,
        windows=(1 << 30,) * layers,
    )
    return BaseModel(
        name=name,
        digest=digest([tokenizer.to_str(), width, layers, _SEED]),
        architecture=architecture,
        weights=random_weights(architecture, jax.random.key(_SEED)),
        tokenizer=tokenizer,
        template=ChatTemplate(CHAT_TEMPLATES[_TEMPLATE], _TEMPLATE),
    )


def _size(name: str) -> tuple[int, int]:
    found = _NAME.fullmatch(name)
    width, layers = map(int, (found and found.groups(default=0)) or (0, 0))
    if name == "scratch":
        width, layers = _WIDTH, _LAYERS
    if not layers or not width or width % _HEAD:
        raise InputError(
            f"--model: {name}: expected scratch, or scratch:WIDTHxLAYERS with a width that is a "
            f"multiple of {_HEAD}"
        )
    return width, layers


def _tokenizer(texts: Iterable[str]) -> Tokenizer:
    """Byte-level merges, those that are most frequent in the texts; digits stand alone.

    The same texts make the same tokenizer.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY,
        special_tokens=_SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer
