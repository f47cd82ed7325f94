"""Models as folders in Hugging Face's layout: config.json, safetensors, tokenizer.json."""

from __future__ import annotations

import json
import pathlib
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mig_jax.errors import InputError, require

from ._architecture import Architecture, Weights
from ._stacking import EMBEDDING, HEAD, MATRICES, NORM, NORMS, stacked_weights

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["HuggingFaceFolder"]

_NAMES = {
    EMBEDDING: "model.embed_tokens.weight",
    NORM: "model.norm.weight",
    HEAD: "lm_head.weight",
    "query": "model.layers.{}.self_attn.q_proj.weight",
    "key": "model.layers.{}.self_attn.k_proj.weight",
    "value": "model.layers.{}.self_attn.v_proj.weight",
    "out": "model.layers.{}.self_attn.o_proj.weight",
    "gate": "model.layers.{}.mlp.gate_proj.weight",
    "up": "model.layers.{}.mlp.up_proj.weight",
    "down": "model.layers.{}.mlp.down_proj.weight",
    "attention_norm": "model.layers.{}.input_layernorm.weight",
    "hidden_norm": "model.layers.{}.post_attention_layernorm.weight",
    "query_norm": "model.layers.{}.self_attn.q_norm.weight",
    "key_norm": "model.layers.{}.self_attn.k_norm.weight",
}
_GEMMA_NAMES = _NAMES | {
    "after_attention_norm": "model.layers.{}.post_attention_layernorm.weight",
    "hidden_norm": "model.layers.{}.pre_feedforward_layernorm.weight",
    "after_hidden_norm": "model.layers.{}.post_feedforward_layernorm.weight",
}
_FAMILIES = {"llama": "llama", "mistral": "llama", "qwen3": "qwen3", "gemma3_text": "gemma3"}
_NO_WINDOW = 1 << 30
_FULL, _SLIDING = "full_attention", "sliding_attention"
_DTYPES = ("F32", "F16", "BF16", "F64")
# What these ask for, if they say anything else, is not done here.
_ONLY = {
    "attention_bias": (False, None),
    "attn_logit_softcapping": (None,),
    "auto_map": (None,),
    "final_logit_softcapping": (None,),
    "mlp_bias": (False, None),
    "partial_rotary_factor": (1, None),
    "quantization_config": (None,),
    "rope_interleaved": (False, None),
    "use_bidirectional_attention": (False, None),
    "use_sliding_window": (False, None),
}


class HuggingFaceFolder:
    """One folder with a causal language model.

    Raises:
      InputError: if it holds none, or one that is not known here, or if the extra finetune is
        not installed.
    """

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        self._config = self._json("config.json")
        kind = self._config.get("model_type")
        if kind not in _FAMILIES:
            raise InputError(
                f"{path}/config.json: model_type: expected {', '.join(_FAMILIES)}, got {kind!r}"
            )
        self._kind, self._family = kind, _FAMILIES[kind]
        for name, values in _ONLY.items():
            self._expect(name, values)
        gemma = self._family == "gemma3"
        self._expect(
            "hidden_activation" if gemma else "hidden_act",
            ("gelu_pytorch_tanh",) if gemma else ("silu",),
        )

    @property
    def weight_files(self) -> list[pathlib.Path]:
        """The files that hold the weights.

        Raises:
          InputError: if there are none.
        """
        index = self.path / "model.safetensors.index.json"
        if not index.exists():
            names = ["model.safetensors"]
        else:
            found = self._json(index.name).get("weight_map")
            if not isinstance(found, dict) or not all(isinstance(v, str) for v in found.values()):
                raise InputError(f"{index}: expected an object weight_map, names of files in it")
            names = sorted(set(found.values()))
        for name in names:
            if not (self.path / name).is_file():
                raise InputError(f"{self.path}: expected a file {name} with the weights")
        return [self.path / name for name in names]

    @property
    def architecture(self) -> Architecture:
        """The decoder that config.json describes.

        Raises:
          InputError: if it lacks a part, or describes another decoder.
        """
        layers, width = self._number("num_hidden_layers"), self._number("hidden_size")
        heads = self._number("num_attention_heads")
        gemma = self._family == "gemma3"
        llama = self._family == "llama"
        kinds = self._layer_kinds(layers)
        rope = self._rope_bases()
        windows = {_FULL: _NO_WINDOW}
        if _SLIDING in kinds:
            windows[_SLIDING] = self._number("sliding_window")
        return Architecture(
            layers=layers,
            width=width,
            heads=heads,
            key_heads=self._number("num_key_value_heads", heads if self._kind == "llama" else None),
            head_width=self._number("head_dim", width // heads if llama else None),
            hidden=self._number("intermediate_size"),
            vocabulary=self._number("vocab_size"),
            epsilon=self._positive("rms_norm_eps"),
            rope_bases=tuple(rope[kind] for kind in kinds),
            windows=tuple(windows[kind] for kind in kinds),
            gelu=gemma,
            embedding_scale=width**0.5 if gemma else 1.0,
            query_scale=self._positive("query_pre_attn_scalar") ** -0.5 if gemma else 0.0,
        )

    def weights(self) -> Weights:
        """All weights, float32 NumPy arrays as `Weights` has them.

        Raises:
          InputError: if the files' tensors are not those of the architecture.
        """
        safetensors = require("safetensors", str(self.path), "finetune")
        opened: dict[str, tuple[pathlib.Path, Any]] = {}
        for file in self.weight_files:
            try:
                reader = safetensors.safe_open(file, framework="np")
            except (OSError, safetensors.SafetensorError) as error:
                raise InputError(f"{file}: expected a file of safetensors: {error}") from error
            opened |= dict.fromkeys(reader.keys(), (file, reader))
        # Buffers of older releases, which tell nothing.
        opened = {n: found for n, found in opened.items() if not n.endswith(".rotary_emb.inv_freq")}
        gemma = self._family == "gemma3"
        shapes = {n: tuple(r.get_slice(n).get_shape()) for n, (_, r) in opened.items()}

        def read(name: str, theirs: str) -> npt.NDArray[np.float32]:
            file, reader = opened[theirs]
            kind = reader.get_slice(theirs).get_dtype()
            if kind not in _DTYPES:
                raise InputError(
                    f"{file}: {theirs}: expected one of {', '.join(_DTYPES)}, got {kind}"
                )
            found = reader.get_tensor(theirs).astype(np.float32)
            # Gemma keeps how far the weights of its norms are from 1.
            return found + np.float32(1) if gemma and found.ndim == 1 else found

        names = _GEMMA_NAMES if gemma else _NAMES
        wanted = [EMBEDDING, NORM, *MATRICES, *NORMS[self._family]]
        tied = self._config.get("tie_word_embeddings", gemma)
        if not isinstance(tied, bool):
            raise InputError(
                f"{self.path}/config.json: tie_word_embeddings: expected true or false"
            )
        if not tied or names[HEAD] in shapes:
            wanted.append(HEAD)
        weights = stacked_weights(
            self.path, self.architecture, shapes, read, {name: names[name] for name in wanted}
        )
        if tied and not np.array_equal(weights.pop(HEAD, weights[EMBEDDING]), weights[EMBEDDING]):
            raise InputError(
                f"{self.path}: tie_word_embeddings is true, yet {names[HEAD]} is not the "
                "embedding; expected one of them"
            )
        return weights

    def tokenizer(self) -> Tokenizer:
        """The tokenizer, which neither cuts nor pads.

        Raises:
          InputError: if there is none.
        """
        tokenizers = require("tokenizers", str(self.path), "finetune")
        path = self.path / "tokenizer.json"
        if not path.is_file():
            raise InputError(f"{self.path}: expected a file tokenizer.json")
        try:
            tokenizer = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # The library raises this class itself.
            raise InputError(f"{path}: expected a tokenizer: {error}") from error
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer

    @property
    def chat_template(self) -> str | None:
        """The source of the folder's chat template, or None.

        Raises:
          InputError: if what is there cannot be read.
        """
        file = self.path / "chat_template.jinja"
        if file.is_file():
            try:
                return file.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise InputError(f"{file}: expected a chat template: {error}") from error
        for name in ("chat_template.json", "tokenizer_config.json"):
            found = self._optional(name).get("chat_template")
            if isinstance(found, list):  # Several, by name.
                found = {one.get("name"): one.get("template") for one in found}.get("default")
            if found is not None:
                return str(found)
        return None

    @property
    def special_tokens(self) -> dict[str, str]:
        """The tokens that begin and end a text, as templates name them."""
        found = {}
        for file in ("special_tokens_map.json", "tokenizer_config.json"):
            own = self._optional(file)
            for name in ("bos_token", "eos_token", "unk_token", "pad_token"):
                value = own.get(name)
                value = value.get("content") if isinstance(value, dict) else value
                if isinstance(value, str):
                    found[name] = value
        return found

    def _json(self, name: str) -> dict[str, Any]:
        path = self.path / name
        try:
            found = json.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: expected an object in JSON: {error}") from error
        if not isinstance(found, dict):
            raise InputError(f"{path}: expected an object in JSON")
        return found

    def _optional(self, name: str) -> dict[str, Any]:
        return self._json(name) if (self.path / name).exists() else {}

    def _expect(self, name: str, values: tuple, found: Any = None) -> None:
        found = self._config.get(name) if found is None else found
        if found not in values:
            raise InputError(
                f"{self.path}/config.json: {name}: expected {values[0]!r}, all that is known "
                f"here, got {found!r}"
            )

    def _number(self, name: str, default: int | None = None) -> int:
        found = self._config.get(name)
        found = default if found is None else found
        if isinstance(found, bool) or not isinstance(found, int) or found < 1:
            raise InputError(
                f"{self.path}/config.json: {name}: expected a whole number above 0, got {found}"
            )
        return found

    def _positive(self, name: str, default: float | None = None) -> float:
        found = self._config.get(name, default)
        if isinstance(found, bool) or not isinstance(found, int | float) or not found > 0:
            raise InputError(
                f"{self.path}/config.json: {name}: expected a number above 0, got {found}"
            )
        return float(found)

    def _layer_kinds(self, layers: int) -> list[str]:
        """Which layers see everything and which have a window."""
        if self._kind == "mistral":
            if "sliding_window" not in self._config:
                raise InputError(f"{self.path}/config.json: expected sliding_window, or null")
            return [_SLIDING if self._config["sliding_window"] else _FULL] * layers
        kinds = self._config.get("layer_types")
        if kinds is None:
            every = self._config.get("sliding_window_pattern")
            every = self._config.get("_sliding_window_pattern", 6) if every is None else every
            self._expect("sliding_window_pattern", (6,), every)
            gemma = self._family == "gemma3"
            return [_SLIDING if gemma and (n + 1) % 6 else _FULL for n in range(layers)]
        allowed = (_FULL, _SLIDING) if self._family == "gemma3" else (_FULL,)
        if not isinstance(kinds, list) or len(kinds) != layers or not set(kinds) <= set(allowed):
            raise InputError(
                f"{self.path}/config.json: layer_types: expected {layers} of {' or '.join(allowed)}"
            )
        return kinds

    def _rope_bases(self) -> dict[str, float]:
        """The base of rotary positions in layers of each kind."""
        gemma = self._family == "gemma3"
        scaling = self._config.get("rope_scaling")
        if scaling is not None:
            self._unscaled("rope_scaling", scaling)
        told = self._config.get("rope_parameters")
        if told is None:
            if gemma:
                return {
                    _FULL: self._positive("rope_theta"),
                    _SLIDING: self._positive("rope_local_base_freq"),
                }
            # The first Llama's configuration does not say it.
            default = 10_000.0 if self._kind == "llama" else None
            return {kind: self._positive("rope_theta", default) for kind in (_FULL, _SLIDING)}
        parts = told if gemma and isinstance(told, dict) else {_FULL: told, _SLIDING: told}
        bases = {}
        for kind in (_FULL, _SLIDING):
            part = parts.get(kind)
            self._unscaled("rope_parameters", part)
            assert part is not None
            base = part.get("rope_theta")
            if not isinstance(base, int | float) or not base > 0:
                raise InputError(
                    f"{self.path}/config.json: rope_parameters: expected rope_theta above 0, "
                    f"got {base!r}"
                )
            bases[kind] = float(base)
        return bases

    def _unscaled(self, name: str, found: Any) -> None:
        known = isinstance(found, dict) and set(found) <= {"rope_type", "type", "rope_theta"}
        if not known or {found.get("rope_type", "default"), found.get("type", "default")} != {
            "default"
        }:
            raise InputError(
                f"{self.path}/config.json: {name}: expected rotary positions that are not scaled, "
                f"got {found!r}"
            )
