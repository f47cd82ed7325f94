"""The model that is fine-tuned, by the name that a user gives."""

from __future__ import annotations

import importlib.util
import pathlib

import numpy as np

from experiments.finetuning.study import BaseModel
from mig_jax.errors import InputError
from mig_jax.language_models import CHAT_TEMPLATES, ChatTemplate, GgufFile, tokenizer_of_gguf
from mig_jax.runs import digest

__all__ = ["read_base_model"]


def read_base_model(name: str, template: str) -> BaseModel:
    """The model of a file, a folder or an installed package, and its chat template.

    Raises:
      InputError: if there is none, or it has no chat template and none is named.
    """
    path = _path(name)
    file = GgufFile(path)
    if template == "model":
        source = file.value("tokenizer.chat_template")
        if source is None:
            raise InputError(
                f"{path}: has no chat template; expected --chat_template="
                f"{' or '.join(CHAT_TEMPLATES)}, or a file"
            )
    elif template in CHAT_TEMPLATES:
        source = CHAT_TEMPLATES[template]
    else:
        try:
            source = pathlib.Path(template).read_text()
        except OSError as error:
            raise InputError(f"--chat_template: {template}: {error.strerror}") from None
    return BaseModel(
        name=path.stem,
        digest=digest([np.frombuffer(path.read_bytes(), np.uint8)]),
        architecture=file.architecture,
        weights=file.weights(),
        tokenizer=tokenizer_of_gguf(file),
        template=ChatTemplate(source, template),
    )


def _path(name: str) -> pathlib.Path:
    if pathlib.Path(name).exists():
        return pathlib.Path(name)
    if name.isidentifier() and (found := importlib.util.find_spec(name)):
        for folder in found.submodule_search_locations or []:
            for path in sorted(pathlib.Path(folder).glob("*.gguf")):
                return path
    raise InputError(f"--model: {name}: no such file, folder or package with a GGUF file")
