"""Decoders of the Llama and Gemma 3 families as pure functions over a pytree of weights.

Llama: Touvron et al., arXiv 2302.13971. Gemma 3: arXiv 2503.19786. A row holds several records
one after another; tokens see those before them of their own record only.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jax import lax

__all__ = [
    "Architecture",
    "Weights",
    "embed",
    "last_states",
    "layers_between",
    "random_weights",
    "run_layers",
    "token_logits",
    "token_losses",
]

Weights = dict[str, Any]
"""`embedding` [V, d], `norm` [d], `layers`: each weight stacked over layers, [L, in, out] or
[L, d], and `head` [V, d] where it is not the embedding."""

Integers = jax.Array | npt.NDArray[np.int32]

_NEVER = -1e30  # Finite, so that a row of padding has no NaN.


@dataclasses.dataclass(frozen=True)
class Architecture:
    """What is static in a decoder; names as in the papers."""

    layers: int
    width: int
    heads: int
    key_heads: int  #: Heads of keys and values; each serves heads / key_heads queries.
    head_width: int
    hidden: int  #: Width inside the feed-forward part.
    vocabulary: int
    epsilon: float = 1e-5  #: Of the root mean square norm.
    rope_bases: tuple[float, ...] = ()  #: [layers].
    windows: tuple[int, ...] = ()  #: [layers]: how many tokens back each layer sees.
    gelu: bool = False  #: Gemma's gate; Llama's is SiLU.
    embedding_scale: float = 1.0
    query_scale: float = 0.0  #: 0 stands for head_width ** -0.5.


def random_weights(architecture: Architecture, key: jax.Array) -> Weights:
    """Weights of a model that has learned nothing: normal, of variance 1 / inputs. float32."""
    a = architecture
    shapes = {
        "query": (a.width, a.heads * a.head_width),
        "key": (a.width, a.key_heads * a.head_width),
        "value": (a.width, a.key_heads * a.head_width),
        "out": (a.heads * a.head_width, a.width),
        "gate": (a.width, a.hidden),
        "up": (a.width, a.hidden),
        "down": (a.hidden, a.width),
    }
    keys = jax.random.split(key, len(shapes) + 1)
    # What is added to the stream of activations starts small, so that depth does not let it grow.
    depth = {"out": (2 * a.layers) ** -0.5, "down": (2 * a.layers) ** -0.5}
    layers = {
        name: jax.random.normal(k, (a.layers, *shape)) * shape[0] ** -0.5 * depth.get(name, 1.0)
        for k, (name, shape) in zip(keys[1:], shapes.items(), strict=True)
    }
    ones = jnp.ones((a.layers, a.width))
    return {
        "embedding": jax.random.normal(keys[0], (a.vocabulary, a.width)) * a.width**-0.5,
        "norm": jnp.ones(a.width),
        "layers": layers | {"attention_norm": ones, "hidden_norm": ones},
    }


def layers_between(weights: Weights, first: int, end: int) -> Weights:
    """The weights of layers first to end - 1, as `run_layers` takes them."""
    return jax.tree.map(lambda w: w[first:end], weights["layers"])


def embed(architecture: Architecture, weights: Weights, tokens: Integers) -> jax.Array:
    """Token ids [..., S] to activations [..., S, d]."""
    return weights["embedding"][tokens] * architecture.embedding_scale


def run_layers(
    architecture: Architecture,
    layers: Weights,
    x: jax.Array,
    positions: Integers,
    segments: Integers,
    first: int = 0,
    adapters: Weights | None = None,
) -> jax.Array:
    """Activations [B, S, d] after some layers that follow each other.

    Args:
      architecture: of the whole model.
      layers: weights of the layers that are run, stacked.
      x: [B, S, d].
      positions: int [B, S], from 0 within a record.
      segments: int [B, S]: tokens of one record in a row have one number; padding has -1.
      first: the number of the first of these layers in the model.
      adapters: for some of the matrices `{"a": [L, in, r], "b": [L, r, out]}`, whose product is
        added to the matrix (LoRA, arXiv 2106.09685).
    """
    a = architecture
    count = layers["query"].shape[0]
    same = segments[:, :, None] == segments[:, None, :]
    ago = positions[:, :, None] - positions[:, None, :]
    mask = same & (ago >= 0)
    numbers = {
        "base": jnp.asarray(a.rope_bases[first : first + count], jnp.float32),
        "window": jnp.asarray(a.windows[first : first + count], jnp.int32),
    }

    def step(x: jax.Array, parts: tuple) -> tuple[jax.Array, None]:
        layer, adapter, own = parts
        seen = mask & (ago < own["window"])
        return _layer(a, layer, adapter, own["base"], x, positions, seen), None

    return lax.scan(step, x, (layers, adapters, numbers))[0]


def last_states(
    architecture: Architecture, norm: jax.Array, x: jax.Array, at: Integers
) -> jax.Array:
    """What the head is applied to at M places: [M, d], the last layer's output after its norm."""
    return _norm(architecture, x.reshape(-1, x.shape[-1])[at], norm)


def token_logits(
    architecture: Architecture,
    head: jax.Array,
    norm: jax.Array,
    x: jax.Array,
    at: Integers,
) -> jax.Array:
    """Logits of the tokens after M places, float32 [M, V].

    They are made where they are asked for alone: over a whole batch they would take more
    memory than the model.

    Args:
      architecture: of the model.
      head: [V, d]: the model's own, or the embedding of the tokens.
      norm: [d].
      x: [B, S, d], what the last layer left.
      at: int [M], places in the B · S tokens.
    """
    states = last_states(architecture, norm, x, at)
    return jnp.matmul(states, head.T, preferred_element_type=jnp.float32)


def token_losses(logits: jax.Array, targets: Integers) -> jax.Array:
    """Nats of the tokens `targets` (int [M]) by logits [M, V]: float32 [M]."""
    chosen = jnp.take_along_axis(logits, targets[:, None], axis=-1)[:, 0]
    return jax.nn.logsumexp(logits, axis=-1) - chosen


def _norm(a: Architecture, x: jax.Array, weight: jax.Array) -> jax.Array:
    y = x.astype(jnp.float32)
    y = y * lax.rsqrt(jnp.mean(y * y, axis=-1, keepdims=True) + a.epsilon)
    return (y * weight).astype(x.dtype)


def _rotate(x: jax.Array, positions: Integers, base: jax.Array) -> jax.Array:
    """Rotary positions (RoFormer, arXiv 2104.09864), halves as Hugging Face orders them."""
    half = x.shape[-1] // 2
    frequencies = base ** (-jnp.arange(half, dtype=jnp.float32) / half)
    angles = positions[..., None, None].astype(jnp.float32) * frequencies
    cos, sin = jnp.cos(angles), jnp.sin(angles)
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    turned = [first * cos - second * sin, second * cos + first * sin]
    return jnp.concatenate(turned, axis=-1).astype(x.dtype)


def _layer(
    a: Architecture,
    layer: Weights,
    adapters: Weights | None,
    base: jax.Array,
    x: jax.Array,
    positions: Integers,
    seen: jax.Array,
) -> jax.Array:
    rows, length, _ = x.shape
    groups = a.heads // a.key_heads

    def times(y: jax.Array, name: str) -> jax.Array:
        out = y @ layer[name]
        if adapters is not None and name in adapters:
            out = out + (y @ adapters[name]["a"]) @ adapters[name]["b"]
        return out

    def after(y: jax.Array, name: str) -> jax.Array:
        return _norm(a, y, layer[name]) if name in layer else y

    y = _norm(a, x, layer["attention_norm"])
    query = after(times(y, "query").reshape(rows, length, a.heads, a.head_width), "query_norm")
    key = after(times(y, "key").reshape(rows, length, a.key_heads, a.head_width), "key_norm")
    value = times(y, "value").reshape(rows, length, a.key_heads, a.head_width)
    scale = a.query_scale or a.head_width**-0.5
    query = _rotate(query, positions, base) * jnp.asarray(scale, x.dtype)
    key = _rotate(key, positions, base)
    query = query.reshape(rows, length, a.key_heads, groups, a.head_width)
    scores = jnp.einsum("bskgd,btkd->bkgst", query, key, preferred_element_type=jnp.float32)
    scores = jnp.where(seen[:, None, None], scores, _NEVER)
    shares = jax.nn.softmax(scores, axis=-1).astype(x.dtype)
    y = jnp.einsum("bkgst,btkd->bskgd", shares, value)
    y = times(y.reshape(rows, length, a.heads * a.head_width), "out")
    x = x + after(y, "after_attention_norm")
    y = _norm(a, x, layer["hidden_norm"])
    gate = times(y, "gate")
    gate = jax.nn.gelu(gate, approximate=True) if a.gelu else jax.nn.silu(gate)
    y = times(gate * times(y, "up"), "down")
    return x + after(y, "after_hidden_norm")
