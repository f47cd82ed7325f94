"""Weights and tokenizers of GGUF files, the format of llama.cpp."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import numpy.typing as npt

from mig_jax.errors import InputError, require

from ._architecture import Architecture, Weights
from ._stacking import EMBEDDING, HEAD, MATRICES, NORM, NORMS, stacked_weights

__all__ = ["GgufFile"]

_NAMES = {
    EMBEDDING: "token_embd.weight",
    NORM: "output_norm.weight",
    HEAD: "output.weight",
    "query": "blk.{}.attn_q.weight",
    "key": "blk.{}.attn_k.weight",
    "value": "blk.{}.attn_v.weight",
    "out": "blk.{}.attn_output.weight",
    "gate": "blk.{}.ffn_gate.weight",
    "up": "blk.{}.ffn_up.weight",
    "down": "blk.{}.ffn_down.weight",
    "attention_norm": "blk.{}.attn_norm.weight",
    "hidden_norm": "blk.{}.ffn_norm.weight",
    "query_norm": "blk.{}.attn_q_norm.weight",
    "key_norm": "blk.{}.attn_k_norm.weight",
    "after_attention_norm": "blk.{}.post_attention_norm.weight",
    "after_hidden_norm": "blk.{}.post_ffw_norm.weight",
}
_FAMILIES = ("llama", "gemma3")
_NO_WINDOW = 1 << 30
_LOCAL_BASE = 10_000.0  # Gemma 3's layers with a window; the file does not say it.
_LOCAL_LAYERS = 6  # Every sixth layer of Gemma 3 sees everything.
_LAYERS_OF_27B = 62  # The one Gemma 3 whose queries are scaled otherwise, by a rule of llama.cpp.
# Fields of a family that are used here, or change nothing. Any other may change the model.
_FIELDS = {
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.layer_norm_rms_epsilon",
    "attention.value_length",
    "block_count",
    "context_length",
    "embedding_length",
    "feed_forward_length",
    "rope.dimension_count",
    "rope.freq_base",
    "vocab_size",
}
_FIELDS_OF = {"llama": set(), "gemma3": {"attention.sliding_window"}}
# Values at which fields change nothing.
_HARMLESS = {
    "attention.causal": (True,),
    "attention.sliding_window_pattern": (_LOCAL_LAYERS,),
    "expert_count": (0,),
    "expert_used_count": (0,),
    "rope.freq_base_swa": (_LOCAL_BASE,),
    "rope.scaling.type": ("none",),
}


class GgufFile:
    """One GGUF file: its architecture, weights, tokens and chat template.

    Raises:
      InputError: if the file is no GGUF file, or of a model that is not known here, or if the
        package gguf is not installed.
    """

    def __init__(self, path: pathlib.Path) -> None:
        gguf = require("gguf", str(path), "finetune")
        try:
            self._reader = gguf.GGUFReader(path)
        except (OSError, ValueError, KeyError, IndexError) as error:
            raise InputError(f"{path}: expected a whole GGUF file: {error}") from error
        self.path = path
        self._family = self.required("general.architecture")
        if self._family not in _FAMILIES:
            raise InputError(
                f"{path}: expected a model of the family {' or '.join(_FAMILIES)}, "
                f"got {self._family!r}"
            )
        for name in self._reader.fields:
            family, _, field = name.partition(".")
            if family != self._family or field in _FIELDS | _FIELDS_OF[family]:
                continue
            value = self.value(name)
            if value not in _HARMLESS.get(field, ()):
                raise InputError(
                    f"{path}: {name} is {value!r}; expected a model without it, as nothing here "
                    "does what it asks for"
                )

    def value(self, name: str, default: Any = None) -> Any:
        """A field of the file's head, or the default where it has none."""
        field = self._reader.fields.get(name)
        return default if field is None else field.contents()

    def required(self, name: str) -> Any:
        """A field of the file's head.

        Raises:
          InputError: if it has none of that name.
        """
        found = self.value(name)
        if found is None:
            raise InputError(f"{self.path}: expected a field {name}")
        return found

    @property
    def chat_template(self) -> str | None:
        """The source of the file's chat template, or None."""
        return self.value("tokenizer.chat_template")

    @property
    def special_tokens(self) -> dict[str, str]:
        """The tokens that begin and end a text, as templates name them."""
        tokens = self.required("tokenizer.ggml.tokens")
        numbers = {name: self.value(f"tokenizer.ggml.{name}_token_id") for name in ("bos", "eos")}
        return {f"{name}_token": tokens[n] for name, n in numbers.items() if n is not None}

    @property
    def architecture(self) -> Architecture:
        """The decoder that the file's head describes.

        Raises:
          InputError: if the head lacks a part, or describes another decoder.
        """
        layers, width = self._number("block_count"), self._number("embedding_length")
        heads = self._number("attention.head_count")
        head_width = self._number("attention.key_length", width // heads)
        for other in ("attention.value_length", "rope.dimension_count"):
            self._expect(other, head_width)
        base = float(self._own("rope.freq_base", 10_000.0))
        bases, windows = [base] * layers, [_NO_WINDOW] * layers
        gemma = self._family == "gemma3"
        if gemma:
            for n in range(layers):
                if (n + 1) % _LOCAL_LAYERS:
                    bases[n] = _LOCAL_BASE
                    windows[n] = self._number("attention.sliding_window")
        vocabulary = len(self.required("tokenizer.ggml.tokens"))
        self._expect("vocab_size", vocabulary)
        return Architecture(
            layers=layers,
            width=width,
            heads=heads,
            key_heads=self._number("attention.head_count_kv", heads),
            head_width=head_width,
            hidden=self._number("feed_forward_length"),
            vocabulary=vocabulary,
            epsilon=float(self.required(f"{self._family}.attention.layer_norm_rms_epsilon")),
            rope_bases=tuple(bases),
            windows=tuple(windows),
            gelu=gemma,
            embedding_scale=width**0.5 if gemma else 1.0,
            query_scale=(width / heads) ** -0.5 if gemma and layers == _LAYERS_OF_27B else 0.0,
        )

    def weights(self) -> Weights:
        """All weights, dequantised, float32 NumPy arrays as `Weights` has them.

        Raises:
          InputError: if the file's tensors are not those of the architecture.
        """
        gguf = require("gguf", str(self.path), "finetune")
        a = self.architecture
        tensors = {tensor.name: tensor for tensor in self._reader.tensors}

        def read(name: str, theirs: str) -> npt.NDArray[np.float32]:
            tensor = tensors[theirs]
            try:
                found = gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
            except NotImplementedError as error:
                raise InputError(
                    f"{self.path}: {theirs}: expected a type that the package gguf dequantises, "
                    f"got {tensor.tensor_type.name}"
                ) from error
            halves = self._family == "llama" and name in ("query", "key")
            return _halves_together(found, a.head_width) if halves else found

        wanted = [EMBEDDING, NORM, *MATRICES, *NORMS[self._family]]
        if _NAMES[HEAD] in tensors:
            wanted.append(HEAD)
        # GGUF tells shapes with the inputs first.
        shapes = {name: tuple(map(int, t.shape[::-1])) for name, t in tensors.items()}
        return stacked_weights(self.path, a, shapes, read, {n: _NAMES[n] for n in wanted})

    def _own(self, name: str, default: Any = None) -> Any:
        return self.value(f"{self._family}.{name}", default)

    def _number(self, name: str, default: int | None = None) -> int:
        found = self._own(name, default)
        if not isinstance(found, int) or found < 1:
            raise InputError(
                f"{self.path}: {self._family}.{name}: expected a whole number above 0, got {found}"
            )
        return found

    def _expect(self, name: str, wanted: int) -> None:
        found = self._own(name, wanted)
        if found != wanted:
            raise InputError(
                f"{self.path}: {self._family}.{name}: expected {wanted}, as other fields have it, "
                f"got {found}"
            )


def _halves_together(matrix: np.ndarray, head_width: int) -> np.ndarray:
    """llama.cpp interleaves the rotary halves of a head: here they stand one after another."""
    outputs, inputs = matrix.shape
    parts = matrix.reshape(outputs // head_width, head_width // 2, 2, inputs)
    return parts.swapaxes(1, 2).reshape(outputs, inputs)
