"""Weights and tokenizers of GGUF files, the format of llama.cpp."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np

from mig_jax.errors import InputError

from ._architecture import Architecture, Weights

__all__ = ["GgufFile"]

_MATRICES = {
    "query": "attn_q",
    "key": "attn_k",
    "value": "attn_v",
    "out": "attn_output",
    "gate": "ffn_gate",
    "up": "ffn_up",
    "down": "ffn_down",
}
_NORMS = {
    "attention_norm": "attn_norm",
    "hidden_norm": "ffn_norm",
    "query_norm": "attn_q_norm",
    "key_norm": "attn_k_norm",
    "after_attention_norm": "post_attention_norm",
    "after_hidden_norm": "post_ffw_norm",
}
_NO_WINDOW = 1 << 30
_LOCAL_BASE = 10_000.0  # Gemma 3's layers with a window; the file does not say it.
_LOCAL_LAYERS = 6  # Every sixth layer of Gemma 3 sees everything.


class GgufFile:
    """One GGUF file: its architecture, weights, tokens and chat template.

    Raises:
      InputError: if the file is no GGUF file, or of a family that is not known here.
    """

    def __init__(self, path: pathlib.Path) -> None:
        import gguf

        try:
            self._reader = gguf.GGUFReader(path)
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: expected a GGUF file: {error}") from error
        self.path = path
        self._family = self.value("general.architecture")
        if self._family not in ("llama", "gemma3"):
            raise InputError(
                f"{path}: expected a model of the family llama or gemma3, got {self._family!r}"
            )

    def value(self, name: str, default: Any = None) -> Any:
        """A field of the file's head, or the default where it has none."""
        field = self._reader.fields.get(name)
        return default if field is None else field.contents()

    @property
    def architecture(self) -> Architecture:
        def own(name: str, default: Any = None) -> Any:
            return self.value(f"{self._family}.{name}", default)

        layers, width = own("block_count"), own("embedding_length")
        heads = own("attention.head_count")
        base = own("rope.freq_base", 10_000.0)
        bases, windows = [base] * layers, [_NO_WINDOW] * layers
        gemma = self._family == "gemma3"
        if gemma:
            for n in range(layers):
                if (n + 1) % _LOCAL_LAYERS:
                    bases[n], windows[n] = _LOCAL_BASE, own("attention.sliding_window")
        return Architecture(
            layers=layers,
            width=width,
            heads=heads,
            key_heads=own("attention.head_count_kv", heads),
            head_width=own("attention.key_length", width // heads),
            hidden=own("feed_forward_length"),
            vocabulary=len(self.value("tokenizer.ggml.tokens")),
            epsilon=own("attention.layer_norm_rms_epsilon"),
            rope_bases=tuple(bases),
            windows=tuple(windows),
            gelu=gemma,
            embedding_scale=width**0.5 if gemma else 1.0,
        )

    def weights(self) -> Weights:
        """All weights, dequantised, float32 NumPy arrays as `Weights` has them."""
        import gguf

        a = self.architecture
        found = {
            tensor.name: gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
            for tensor in self._reader.tensors
        }
        layers = {}
        for name, theirs in (_MATRICES | _NORMS).items():
            names = [f"blk.{n}.{theirs}.weight" for n in range(a.layers)]
            if names[0] not in found:
                continue
            parts = [found[n] for n in names]
            if self._family == "llama" and name in ("query", "key"):
                parts = [_halves_together(part, a.head_width) for part in parts]
            layers[name] = np.stack([part.T for part in parts])
        weights = {
            "embedding": found["token_embd.weight"],
            "norm": found["output_norm.weight"],
            "layers": layers,
        }
        if "output.weight" in found:
            weights["head"] = found["output.weight"]
        return weights


def _halves_together(matrix: np.ndarray, head_width: int) -> np.ndarray:
    """llama.cpp interleaves the rotary halves of a head: here they stand one after another."""
    outputs, inputs = matrix.shape
    parts = matrix.reshape(outputs // head_width, head_width // 2, 2, inputs)
    return parts.swapaxes(1, 2).reshape(outputs, inputs)
