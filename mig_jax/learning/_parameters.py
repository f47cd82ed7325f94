"""What is learned of a measure, and how it is written down as parameters.

A `LearnedMeasure` is made of numbers that mean something: for each label the
shape of its score function (the exponent of `Power`, the rate of other families)
and its weight; the propagation α; the similarity threshold T; and the
score exponent β, with which a record brings e_d = (s_d / mean s)^β · v_d instead
of s_d · v_d (Eq. 5). Scores are taken relative to the pool's mean, so that what is
learned on one pool fits another whose scores have another unit.

A `Parameterisation` maps unbounded parameters, a pytree that an optimiser may move
freely, to a `LearnedMeasure`. A step of 0.1 on any leaf is a small one. One of your
own is a class with `init`, `learned` and `penalty`, and a line in `PARAMETERISATIONS`
to have what it learns saved.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mig_jax.measure import (
    FAMILIES,
    PAPER,
    LabelGraph,
    Measure,
    Pool,
    Scalar,
    ScoreFunction,
    as_pytree,
    cut_edges,
    drop_edges,
    gate_edges,
    label_information,
    safe_base,
)

__all__ = [
    "Labels",
    "LearnedMeasure",
    "Parameterisation",
    "Params",
    "Saved",
    "arrays_of",
    "cut",
    "even_information",
    "harden",
    "learned_from",
    "scored",
    "shared_start",
    "soften",
]


@as_pytree
class LearnedMeasure:
    """A measure, and how the pool and the graph are changed before it is applied."""

    measure: Measure  #: Shape and weight of its score function: float [K] each, or scalars.
    threshold: Scalar  #: T: the smallest similarity of an edge.
    score_exponent: Scalar = 1.0  #: β: at least 0.


def shared_start(
    score_function: ScoreFunction | None = None,
    *,
    propagation: float = PAPER.propagation,
    threshold: float = PAPER.threshold,
    score_exponent: float = 1.0,
) -> LearnedMeasure:
    """The values that all labels share before anything is learned; by default the paper's.

    Args:
      score_function: its leaves are scalars. ε of a power is in units of a mean score
        here; the default of 1e-3 keeps slopes of labels that hold nothing moderate.
      propagation: α, above 0.
      threshold: T.
      score_exponent: β, above 0.

    >>> start = shared_start(propagation=0.5)
    >>> float(start.measure.propagation), float(start.score_exponent)
    (0.5, 1.0)
    """
    phi: Any = FAMILIES["power"](epsilon=1e-3) if score_function is None else score_function
    phi = jax.tree_util.tree_map(jnp.asarray, phi)
    alpha, *others = (
        jnp.asarray(x, jnp.result_type(float)) for x in (propagation, threshold, score_exponent)
    )
    return LearnedMeasure(Measure(phi, alpha), *others)


def even_information(
    start: LearnedMeasure, pool: Pool, graph: LabelGraph, records: Scalar
) -> jax.Array:
    """What labels hold of an even choice of so many records: float [K], above 0.

    Where prices are meant: a label's slope there says what more of it is worth, whatever its shape.

    Args:
      start: scalars; its threshold is applied as a hard one.
      pool: P records.
      graph: K labels.
      records: above 0; may be traced.
    """
    share = jnp.asarray(records, jnp.result_type(float)) / max(pool.num_records, 1)
    amounts = jnp.full(pool.num_records, share)
    graph = cut_edges(graph, start.threshold)
    held = label_information(scored(start, pool), graph, start.measure, amounts)
    # A label that no record has is given what a hundredth of a record brings.
    return jnp.maximum(held, _LEAST_HELD)


def soften(
    learned: LearnedMeasure, pool: Pool, graph: LabelGraph, width: Scalar
) -> tuple[Pool, LabelGraph, Measure]:
    """The pool, graph and measure to learn with: differentiable in all of `learned`.

    Args:
      learned: parameters of K labels.
      pool: P records.
      graph: K labels, with edges from well below the threshold (see `gate_edges`).
      width: scalar above 0, of the soft gate around the threshold.
    """
    return scored(learned, pool), gate_edges(graph, learned.threshold, width), learned.measure


def harden(
    learned: LearnedMeasure, pool: Pool, graph: LabelGraph
) -> tuple[Pool, LabelGraph, Measure]:
    """What `mig_jax.select` gets: as `soften`, with edges below the threshold left out.

    On the host, as the number of edges depends on the threshold.

    >>> from mig_jax import label_graph_from_edges, pool_from_label_lists
    >>> pool = pool_from_label_lists([[0], [1]], [1.0, 3.0])
    >>> graph = label_graph_from_edges(3, [(0, 1, 0.9), (1, 2, 0.6)])
    >>> pool, graph, _ = harden(shared_start(threshold=0.7), pool, graph)
    >>> pool.scores.tolist(), graph.sources.tolist()
    ([0.5, 1.5], [0, 1])
    """
    pool = dataclasses.replace(pool, scores=np.asarray(scored(learned, pool).scores))
    return pool, drop_edges(graph, learned.threshold), learned.measure


def cut(learned: LearnedMeasure, pool: Pool, graph: LabelGraph) -> tuple[Pool, LabelGraph, Measure]:
    """As `harden`, under jit: edges below the threshold stay, and count for nothing."""
    return scored(learned, pool), cut_edges(graph, learned.threshold), learned.measure


def scored(learned: LearnedMeasure, pool: Pool) -> Pool:
    """The pool with scores (s_d / mean s)^β, those of 0 left at 0."""
    scores = jnp.asarray(pool.scores)
    mean = jnp.sum(scores) / max(pool.num_records, 1)
    relative = scores / jnp.where(mean > 0, mean, 1)
    powered = safe_base(relative) ** learned.score_exponent
    return dataclasses.replace(pool, scores=jnp.where(relative > 0, powered, 0))


Params = dict[str, Any]  # A pytree of float arrays.
_LEAST_HELD = 0.01  # In mean scores.


class Labels(NamedTuple):
    """Labels to have parameters for, and what may be asked of them."""

    names: Sequence[str]  #: K names.
    embeddings: Any  #: float [K, width], or None.
    pool: Pool  #: P records, as read.
    graph: LabelGraph  #: K labels, built at the parameterisation's `graph_threshold`.


class Saved(NamedTuple):
    """What a file keeps of learned parameters."""

    about: dict[str, Any]  #: Anything that JSON can say.
    arrays: dict[str, Any]  #: A tree of dictionaries, with arrays as leaves.


class Parameterisation(abc.ABC):
    """How parameters stand for a `LearnedMeasure`. Members are pytrees themselves.

    What was learned is saved label by label, under the labels' names. A member that can say
    more of labels never seen than what all share saves itself in another way, and restores it.
    """

    @abc.abstractmethod
    def init(self, key: jax.Array) -> Params:
        """Parameters at the start; nearly all labels alike."""

    @abc.abstractmethod
    def learned(self, params: Params) -> LearnedMeasure:
        """What the parameters stand for, differentiably; float [K] for each label."""

    @abc.abstractmethod
    def penalty(self, params: Params) -> jax.Array:
        """Scalar to add to the loss: how far the labels are from sharing their values."""

    def shared(self, params: Params) -> LearnedMeasure:
        """What a label never seen gets, scalars all: by default the means over all labels."""
        return jax.tree_util.tree_map(jnp.mean, self.learned(params))

    def saved(self, params: Params, label_names: Sequence[str]) -> Saved:
        """What to save of parameters of the K labels; `save_learned` adds the family of φ."""
        values, common = self.learned(params), self.shared(params)
        arrays = {"learned": arrays_of(values), "shared": arrays_of(common)}
        return Saved({"labels": list(label_names)}, arrays)

    @classmethod
    def restored(cls, saved: Saved, labels: Labels) -> LearnedMeasure:
        """What was learned, for these labels.

        Raises:
          ValueError: if the labels lack what it takes.
        """
        learned = learned_from(saved.arrays["learned"], saved.about)
        shared = learned_from(saved.arrays["shared"], saved.about)
        row_of = {label: row for row, label in enumerate(saved.about["labels"])}
        rows = np.array([row_of.get(label, -1) for label in labels.names], np.int64)

        def of_labels(values: jax.Array, common: jax.Array) -> jax.Array:
            return jnp.where(rows >= 0, values[rows], common) if values.ndim else values

        return jax.tree_util.tree_map(of_labels, learned, shared)

    @classmethod
    def graph_threshold(cls, about: dict[str, Any]) -> float:
        """The threshold to build the graph with that the learned parameters are applied to."""
        return float(about["threshold"])


def arrays_of(learned: LearnedMeasure) -> dict[str, Any]:
    """A learned measure as a tree of dictionaries; fields of φ that are static are left out."""
    phi: Any = learned.measure.score_function
    fields = (field.name for field in dataclasses.fields(phi) if not field.metadata.get("static"))
    score_function = {name: getattr(phi, name) for name in fields}
    measure = {"score_function": score_function, "propagation": learned.measure.propagation}
    return {
        "measure": measure,
        "threshold": learned.threshold,
        "score_exponent": learned.score_exponent,
    }


def learned_from(arrays: dict[str, Any], about: dict[str, Any]) -> LearnedMeasure:
    """The inverse of `arrays_of`: `about` has the name of the family, and its static fields."""
    measure = arrays["measure"]
    settings = about.get("family_settings", {})
    phi = FAMILIES[about["family"]](**measure["score_function"], **settings)
    return LearnedMeasure(
        Measure(phi, measure["propagation"]), arrays["threshold"], arrays["score_exponent"]
    )
