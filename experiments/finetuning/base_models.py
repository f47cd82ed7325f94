"""The model that is fine-tuned, by the name that a user gives: a pretrained one, or one of random
weights."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable

from experiments.finetuning.scratch import is_scratch, scratch_model
from experiments.finetuning.study import Encoder
from mig_jax.commands import base_models
from mig_jax.language_models import BaseModel, encode

__all__ = ["read_base_model", "read_encoder"]


def read_base_model(name: str, template: str, texts: Callable[[], Iterable[str]]) -> BaseModel:
    """The model of a file, a folder or an installed package, and its chat template.

    Args:
      name: as `mig_jax.commands.base_models` takes it; or one of `scratch_model`.
      template: the same.
      texts: those of the pool, of which a model from scratch has its tokenizer.

    Raises:
      InputError: if it cannot be used.
    """
    if is_scratch(name):
        return scratch_model(name, texts())
    return base_models.read_base_model(name, template)


def read_encoder(name: str, template: str, texts: Callable[[], Iterable[str]]) -> Encoder:
    """How a model reads conversations.

    Raises:
      InputError: as `read_base_model`.
    """
    model = read_base_model(name, template, texts)
    return functools.partial(encode, model.tokenizer, model.template)
