"""Tiny decoders of random weights, and what they compute in NumPy, float64, token by token."""

from __future__ import annotations

import math

import numpy as np

from mig_jax.language_models import Architecture, EncodedRecords

EVERYTHING = 1 << 30
LLAMA = Architecture(
    layers=3,
    width=16,
    heads=4,
    key_heads=2,
    head_width=6,
    hidden=20,
    vocabulary=24,
    epsilon=1e-5,
    rope_bases=(100.0,) * 3,
    windows=(EVERYTHING,) * 3,
)
GEMMA = Architecture(
    layers=3,
    width=16,
    heads=2,
    key_heads=1,
    head_width=8,
    hidden=12,
    vocabulary=24,
    epsilon=1e-6,
    rope_bases=(10.0, 1000.0, 10.0),
    windows=(3, EVERYTHING, 2),
    gelu=True,
    embedding_scale=4.0,
    query_scale=0.3,
)
MATRICES = ("query", "key", "value", "out", "gate", "up", "down")


def shapes(a: Architecture) -> dict[str, tuple[int, int]]:
    """[in, out] of each matrix."""
    queries, keys = a.heads * a.head_width, a.key_heads * a.head_width
    return {
        "query": (a.width, queries),
        "key": (a.width, keys),
        "value": (a.width, keys),
        "out": (queries, a.width),
        "gate": (a.width, a.hidden),
        "up": (a.width, a.hidden),
        "down": (a.hidden, a.width),
    }


def weights_of(a: Architecture, seed: int, *, head: bool = False, head_norms: bool = False) -> dict:
    """Random weights, norms among them; all norms of Gemma for a decoder with its gate."""
    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    def norm(*shape: int) -> np.ndarray:
        return (1 + 0.3 * rng.normal(size=shape)).astype(np.float32)

    layers = {n: normal(a.layers, *s) / np.float32(s[0] ** 0.5) for n, s in shapes(a).items()}
    names = ["attention_norm", "hidden_norm"]
    if a.gelu:
        names += ["after_attention_norm", "after_hidden_norm"]
    layers |= {name: norm(a.layers, a.width) for name in names}
    if a.gelu or head_norms:
        layers |= {name: norm(a.layers, a.head_width) for name in ("query_norm", "key_norm")}
    weights = {
        "embedding": normal(a.vocabulary, a.width) / np.float32(a.embedding_scale),
        "norm": norm(a.width),
        "layers": layers,
    }
    return weights | ({"head": normal(a.vocabulary, a.width)} if head else {})


def _norm(a: Architecture, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return x / math.sqrt(float(x @ x) / len(x) + a.epsilon) * weight


def _turned(x: np.ndarray, position: int, base: float) -> np.ndarray:
    half = len(x) // 2
    found = np.empty_like(x)
    for n in range(half):
        angle = position * base ** (-n / half)
        cos, sin = math.cos(angle), math.sin(angle)
        found[n] = x[n] * cos - x[n + half] * sin
        found[n + half] = x[n + half] * cos + x[n] * sin
    return found


def _gate(a: Architecture, x: np.ndarray) -> np.ndarray:
    if a.gelu:
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return x / (1 + np.exp(-x))


def logits_of(a: Architecture, weights: dict, ids: np.ndarray) -> np.ndarray:
    """The logits after each token of one record that stands alone, float64 [S, V]."""
    embedding = weights["embedding"].astype(np.float64)
    x = [embedding[token] * a.embedding_scale for token in ids]
    scale = a.query_scale or a.head_width**-0.5
    served = a.heads // a.key_heads
    for n in range(a.layers):
        own = {name: w[n].astype(np.float64) for name, w in weights["layers"].items()}

        def after(y, name, own=own):
            return _norm(a, y, own[name]) if name in own else y

        queries, keys, values = [], [], []
        for position, state in enumerate(x):
            y = _norm(a, state, own["attention_norm"])
            base = a.rope_bases[n]
            every = (y @ own["query"]).reshape(a.heads, -1)
            queries.append([_turned(after(q, "query_norm"), position, base) for q in every])
            every = (y @ own["key"]).reshape(a.key_heads, -1)
            keys.append([_turned(after(k, "key_norm"), position, base) for k in every])
            values.append((y @ own["value"]).reshape(a.key_heads, -1))
        for position in range(len(x)):
            seen = range(max(0, position - a.windows[n] + 1), position + 1)
            heads = []
            for head in range(a.heads):
                other = head // served
                scores = [scale * queries[position][head] @ keys[t][other] for t in seen]
                shares = np.exp(np.array(scores) - max(scores))
                shares /= shares.sum()
                heads.append(sum(s * values[t][other] for s, t in zip(shares, seen, strict=True)))
            y = x[position] + after(np.concatenate(heads) @ own["out"], "after_attention_norm")
            z = _norm(a, y, own["hidden_norm"])
            z = (_gate(a, z @ own["gate"]) * (z @ own["up"])) @ own["down"]
            x[position] = y + after(z, "after_hidden_norm")
    head = weights.get("head", weights["embedding"]).astype(np.float64)
    return np.array([head @ _norm(a, state, weights["norm"].astype(np.float64)) for state in x])


def nats_of(a: Architecture, weights: dict, ids: np.ndarray, start: int) -> np.ndarray:
    """Of each token of a record from `start` on, float64."""
    logits = logits_of(a, weights, ids)[start - 1 : -1]
    most = logits.max(axis=1, keepdims=True)
    totals = most[:, 0] + np.log(np.exp(logits - most).sum(axis=1))
    return totals - logits[np.arange(len(logits)), ids[start:]]


def records_of(lengths: list[int], starts: list[int], seed: int, a: Architecture) -> EncodedRecords:
    """Records of random tokens."""
    rng = np.random.default_rng(seed)
    return EncodedRecords(
        rng.integers(0, a.vocabulary, sum(lengths)).astype(np.int32),
        np.cumsum([0, *lengths]),
        np.array(starts, np.int32),
    )
