"""A pretrained model from disk, whatever its format."""

from __future__ import annotations

import dataclasses
import functools
import os
import pathlib
from typing import TYPE_CHECKING

import xxhash

from mig_jax.errors import InputError

from ._architecture import Architecture, Weights
from ._encoding import ChatTemplate
from ._gguf import GgufFile
from ._hugging_face import HuggingFaceFolder
from ._tokenizer_of_gguf import tokenizer_of_gguf

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["LanguageModel", "read_model"]

_BLOCK = 1 << 22  # Bytes read at once to be hashed.


@dataclasses.dataclass(frozen=True, eq=False)
class LanguageModel:
    """A decoder with its tokenizer."""

    path: pathlib.Path
    architecture: Architecture
    weights: Weights  #: float32 NumPy arrays.
    tokenizer: Tokenizer
    digest: str  #: XXH3 of the files that hold the weights, and of the configuration.
    template_source: str | None  #: The chat template in Jinja.
    special_tokens: dict[str, str]  #: Those that the template may name, such as bos_token.

    @functools.cached_property
    def chat_template(self) -> ChatTemplate | None:
        """The model's own chat template; None if it has none.

        Raises:
          InputError: if it cannot be used.
        """
        if self.template_source is None:
            return None
        return ChatTemplate(self.template_source, str(self.path), self.special_tokens)


def read_model(path: str | os.PathLike[str]) -> LanguageModel:
    """Reads a GGUF file (Llama, Gemma 3), or a folder as Hugging Face has them.

    A folder holds config.json of model_type llama, mistral, qwen3 or gemma3_text, weights as
    safetensors and tokenizer.json.

    Raises:
      InputError: if there is no such model, if it is one that is not known here (biases, scaled
        rotary positions, experts, another family), or if the extra finetune is not installed.
    """
    place = pathlib.Path(path)
    if place.is_dir():
        folder = HuggingFaceFolder(place)
        weights, tokenizer = folder.weights(), folder.tokenizer()
        files = [place / "config.json", *folder.weight_files]
        source: HuggingFaceFolder | GgufFile = folder
    elif place.is_file():
        file = GgufFile(place)
        weights, tokenizer = file.weights(), tokenizer_of_gguf(file)
        files = [place]
        source = file
    else:
        raise InputError(
            f"{place}: no such model; expected a GGUF file, or a folder with config.json, "
            "safetensors and tokenizer.json"
        )
    architecture = source.architecture
    largest = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)
    if largest >= architecture.vocabulary:
        raise InputError(
            f"{place}: the tokenizer has a token of number {largest}; expected numbers below "
            f"{architecture.vocabulary}, the rows of the embedding"
        )
    return LanguageModel(
        place,
        architecture,
        weights,
        tokenizer,
        _digest(files),
        source.chat_template,
        source.special_tokens,
    )


def _digest(files: list[pathlib.Path]) -> str:
    found = xxhash.xxh3_128()
    for file in files:
        with file.open("rb") as stream:
            while block := stream.read(_BLOCK):
                found.update(block)
    return found.hexdigest()
