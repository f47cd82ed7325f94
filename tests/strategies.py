"""Random pools, graphs and score functions for hypothesis."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np
from hypothesis import strategies as st

import mig_jax
from tests import oracles

# Family, parameters, and the same φ and φ' written down independently.
FUNCTIONS: list[tuple[Any, oracles.Phi, oracles.Phi]] = [
    (
        mig_jax.Power(0.8, 1e-6),
        oracles.power(0.8, 1e-6),
        lambda x: 0.8 * (x + 1e-6) ** -0.2,
    ),
    (
        mig_jax.Power(0.3, 1e-2),
        oracles.power(0.3, 1e-2),
        lambda x: 0.3 * (x + 1e-2) ** -0.7,
    ),
    (
        mig_jax.Exponential(0.3),
        oracles.exponential(0.3),
        lambda x: 0.3 * np.exp(-0.3 * x),
    ),
    (mig_jax.Log(2.0), oracles.log(2.0), lambda x: 2 / (1 + 2 * x)),
    (
        mig_jax.Saturating(0.5),
        oracles.saturating(0.5),
        lambda x: 2 / (x + 2) ** 2,
    ),
]


@dataclasses.dataclass(frozen=True)
class Case:
    """A pool with its graph, once for the library and once as lists for the oracles."""

    label_lists: list[list[int]]
    scores: list[float]
    num_labels: int
    edges: list[tuple[int, int, float]]
    alpha: float

    @property
    def pool(self) -> mig_jax.Pool:
        return mig_jax.pool_from_label_lists(self.label_lists, self.scores)

    @property
    def graph(self) -> mig_jax.LabelGraph:
        return mig_jax.label_graph_from_edges(self.num_labels, self.edges)

    @property
    def rows(self) -> np.ndarray:
        a = oracles.propagation_matrix(self.num_labels, self.edges, self.alpha)
        return oracles.propagated(self.label_lists, self.scores, a)


@st.composite
def cases(draw: st.DrawFn, max_records: int = 24, max_labels: int = 9) -> Case:
    """Pools with few distinct scores and labels, so that equal records and ties are common.

    All numbers are dyadic: float32 and float64 hold the same.
    """
    num_labels = draw(st.integers(1, max_labels))
    labels = st.lists(st.integers(0, num_labels - 1), max_size=5)
    label_lists = draw(st.lists(labels, max_size=max_records))
    score = st.sampled_from([0.0, 0.5, 1.0, 1.0, 2.25, 7.0])
    scores = draw(st.lists(score, min_size=len(label_lists), max_size=len(label_lists)))
    pairs = [(p, q) for p in range(num_labels) for q in range(p + 1, num_labels)]
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=12)) if pairs else []
    similarity = st.sampled_from([0.5, 0.75, 0.875, 1.0])
    edges = [(p, q, draw(similarity)) for p, q in chosen]
    return Case(label_lists, scores, num_labels, edges, draw(st.sampled_from([0.0, 0.5, 1.0, 2.0])))


def random_case(seed: int, records: int, labels: int = 30, edges: int = 40) -> Case:
    """A larger pool without deliberate ties: scores are continuous."""
    rng = np.random.default_rng(seed)
    lists = [rng.integers(0, labels, rng.integers(0, 7)).tolist() for _ in range(records)]
    pairs = [(p, q) for p in range(labels) for q in range(p + 1, labels)]
    chosen = rng.permutation(len(pairs))[:edges]
    weighted = [(*pairs[i], float(np.float32(rng.uniform(0.5, 1)))) for i in chosen]
    scores = rng.gamma(4, 1, records).astype(np.float32).tolist()
    return Case(lists, scores, labels, weighted, 1.0)


def to_float64(tree: Any) -> Any:
    """The same pytree with float64 leaves; call it and use it under `jax.enable_x64(True)`."""

    def widen(leaf: Any) -> Any:
        array = np.asarray(leaf)
        return array.astype(np.float64) if np.issubdtype(array.dtype, np.floating) else array

    return jax.tree_util.tree_map(widen, tree)
