"""The model that is fine-tuned, by the name that a user gives."""

from __future__ import annotations

import functools
import importlib.util
import pathlib
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from experiments.finetuning.scratch import is_scratch, scratch_model
from experiments.finetuning.study import BaseModel, Encoder
from mig_jax.errors import InputError
from mig_jax.language_models import (
    CHAT_TEMPLATES,
    ChatTemplate,
    GgufFile,
    encode,
    tokenizer_of_gguf,
)
from mig_jax.runs import digest

__all__ = ["read_base_model", "read_encoder"]


def read_base_model(name: str, template: str, texts: Callable[[], Iterable[str]]) -> BaseModel:
    """The model of a file, a folder or an installed package, and its chat template.

    Args:
      name: of the file, folder or package; or one of `scratch_model`.
      template: `model`, for the model's own; a name of `CHAT_TEMPLATES`; or a file.
      texts: those of the pool, of which a model from scratch has its tokenizer.

    Raises:
      InputError: if there is none, or it has no chat template and none is named.
    """
    if is_scratch(name):
        return scratch_model(name, texts())
    file = GgufFile(_path(name))
    tokenizer, chat_template = _written(file, template)
    return BaseModel(
        name=file.path.stem,
        digest=digest([np.frombuffer(file.path.read_bytes(), np.uint8)]),
        architecture=file.architecture,
        weights=file.weights(),
        tokenizer=tokenizer,
        template=chat_template,
    )


def read_encoder(name: str, template: str, texts: Callable[[], Iterable[str]]) -> Encoder:
    """How a model reads conversations: as `read_base_model`, but its weights are not read.

    Raises:
      InputError: as `read_base_model`.
    """
    if is_scratch(name):
        model = scratch_model(name, texts())
        return functools.partial(encode, model.tokenizer, model.template)
    return functools.partial(encode, *_written(GgufFile(_path(name)), template))


def _written(file: GgufFile, template: str) -> tuple[Any, ChatTemplate]:
    """The tokenizer and the chat template."""
    if template == "model":
        source = file.value("tokenizer.chat_template")
        if source is None:
            raise InputError(
                f"{file.path}: has no chat template; expected --chat_template="
                f"{' or '.join(CHAT_TEMPLATES)}, or a file"
            )
    elif template in CHAT_TEMPLATES:
        source = CHAT_TEMPLATES[template]
    else:
        try:
            source = pathlib.Path(template).read_text()
        except OSError as error:
            raise InputError(f"--chat_template: {template}: {error.strerror}") from None
    return tokenizer_of_gguf(file), ChatTemplate(source, template)


def _path(name: str) -> pathlib.Path:
    if pathlib.Path(name).exists():
        return pathlib.Path(name)
    if name.isidentifier() and (found := importlib.util.find_spec(name)):
        for folder in found.submodule_search_locations or []:
            for path in sorted(pathlib.Path(folder).glob("*.gguf")):
                return path
    raise InputError(f"--model: {name}: no such file, folder or package with a GGUF file")
