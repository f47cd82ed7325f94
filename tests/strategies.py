"""Random pools, graphs and score functions for hypothesis."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any, NamedTuple

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


class Shape(NamedTuple):
    """What a compiled program depends on: arrays of one shape share their programs."""

    records: int
    labels: int
    entries: int  # Pairs of a record and one of its labels.
    edges: int


# Few labels, so that equal records are common; then wider rows, of which some overlap.
TIES, WIDE = Shape(24, 3, 36, 2), Shape(16, 8, 40, 10)
SHAPES = (TIES, WIDE)
# Small enough for all subsets to be tried.
TINY = Shape(9, 4, 14, 4)

# What the shapes above leave out, by name.
SMALL = {
    "no records": Case([], [], 3, [(0, 1, 0.5)], 1.0),
    "one record": Case([[0]], [2.25], 1, [], 1.0),
    "no labels": Case([[], [], []], [1.0, 7.0, 7.0], 1, [], 1.0),
    "equal records": Case([[1, 0, 1]] * 5, [0.5] * 5, 2, [(0, 1, 1.0)], 2.0),
    "worthless records": Case([[0], [1], []], [0.0] * 3, 2, [(0, 1, 0.5)], 0.5),
}


@st.composite
def cases(draw: st.DrawFn, *shapes: Shape, structures: int | None = 3) -> Case:
    """Pools of few shapes with few distinct scores, so that equal records and ties are common.

    Some records are empty, some scores 0, some labels given twice. All numbers are dyadic:
    float32 and float64 hold the same.

    What sums a layout needs, and with it its shape, depends on which labels go together and
    which are joined. So `structures` of each shape are drawn, with all records and labels in
    any order, or any structure for None.
    """
    records, labels, entries, edges = draw(st.sampled_from(shapes or SHAPES))
    pairs = [(p, q) for p in range(labels) for q in range(p + 1, labels)]
    if structures is None:
        places = st.integers(0, records * labels - 1)
        chosen = draw(st.lists(places, min_size=entries, max_size=entries, unique=True))
        some = st.sampled_from(pairs or [()])
        joined = draw(st.lists(some, min_size=edges, max_size=edges, unique=True)) if edges else []
        names, order = list(range(labels)), list(range(records))
    else:
        rng = np.random.default_rng(draw(st.integers(0, structures - 1)))
        chosen = rng.choice(records * labels, entries, replace=False).tolist()
        joined = [pairs[i] for i in rng.choice(len(pairs), edges, replace=False)]
        names, order = draw(st.permutations(range(labels))), draw(st.permutations(range(records)))
    again = draw(st.lists(st.sampled_from(chosen), max_size=3)) if chosen else []
    lists: list[list[int]] = [[] for _ in range(records)]
    for place in chosen + again:
        lists[order[place // labels]].append(names[place % labels])
    score = st.sampled_from([0.0, 0.5, 1.0, 1.0, 2.25, 7.0])
    scores = draw(st.lists(score, min_size=records, max_size=records))
    similarity = st.sampled_from([0.5, 0.75, 0.875, 1.0])
    weighted = [(names[p], names[q], draw(similarity)) for p, q in joined]
    return Case(lists, scores, labels, weighted, draw(st.sampled_from([0.0, 0.5, 1.0, 2.0])))


def problems(*shapes: Shape) -> st.SearchStrategy[tuple[Any, Case]]:
    """An entry of `FUNCTIONS` and a pool; a family of functions always meets the same shape."""
    pairs = list(zip(FUNCTIONS, itertools.cycle(shapes or SHAPES), strict=False))
    return st.sampled_from(pairs).flatmap(lambda pair: st.tuples(st.just(pair[0]), cases(pair[1])))


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
