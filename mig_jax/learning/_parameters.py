"""What is learned of a measure, and two ways to write it down as parameters.

A `LearnedMeasure` is made of numbers that mean something: for each label the
shape of its score function (the exponent of `Power`, the rate of the other
families) and its weight; the propagation α; the similarity threshold T; and the
score exponent β, with which a record brings e_d = (s_d / mean s)^β · v_d instead
of s_d · v_d (Eq. 5). Scores are taken relative to the pool's mean, so that what is
learned on one pool fits another whose scores have another unit.

A `Parameterisation` maps unbounded parameters, a pytree that an optimiser may move
freely, to a `LearnedMeasure`. A step of 0.1 on any leaf is a small one. There
are two: `Free`, with parameters for each label of one pool, and `FromFeatures`, a
flax module from label features, which fits labels and pools never seen.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from mig_jax.learning._label_features import FeatureBasis
from mig_jax.measure import (
    FAMILIES,
    PAPER,
    Array,
    LabelGraph,
    Measure,
    Pool,
    Power,
    ScoreFunction,
    as_pytree,
    drop_edges,
    gate_edges,
    safe_base,
)

__all__ = [
    "Free",
    "FromFeatures",
    "LearnedMeasure",
    "Parameterisation",
    "Params",
    "harden",
    "shape_name",
    "shared_start",
    "soften",
]

# How far a parameter of 1 moves what it stands for, at the start: with these, one
# learning rate suits all leaves.
_SHAPE_UNIT = 0.5  # Of the logit of an exponent, or the log of a rate, shared by all labels.
_LABEL_SHAPE_UNIT = 0.2  # The same, of one label.
_SCORE_UNIT = 0.5  # Of log β.
_THRESHOLD_UNIT = 0.03  # Of T.


@as_pytree
@dataclasses.dataclass(frozen=True)
class LearnedMeasure:
    """A measure, and how the pool and the graph are changed before it is applied."""

    measure: Measure  #: Shape and weight of its score function: float [K] each, or scalars.
    threshold: Array  #: T: scalar, the smallest similarity of an edge.
    score_exponent: Array = 1.0  #: β: scalar, at least 0.


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


def soften(
    learned: LearnedMeasure, pool: Pool, graph: LabelGraph, width: Array
) -> tuple[Pool, LabelGraph, Measure]:
    """The pool, graph and measure to learn with: differentiable in all of `learned`.

    Args:
      learned: parameters of K labels.
      pool: P records.
      graph: K labels, with edges from well below the threshold (see `gate_edges`).
      width: scalar above 0, of the soft gate around the threshold.
    """
    return _scored(learned, pool), gate_edges(graph, learned.threshold, width), learned.measure


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
    pool = dataclasses.replace(pool, scores=np.asarray(_scored(learned, pool).scores))
    return pool, drop_edges(graph, learned.threshold), learned.measure


def _scored(learned: LearnedMeasure, pool: Pool) -> Pool:
    scores = jnp.asarray(pool.scores)
    mean = jnp.sum(scores) / max(pool.num_records, 1)
    relative = scores / jnp.where(mean > 0, mean, 1)
    powered = safe_base(relative) ** learned.score_exponent
    return dataclasses.replace(pool, scores=jnp.where(relative > 0, powered, 0))


Params = dict[str, Any]  # A pytree of float arrays.


class Parameterisation(Protocol):
    """How parameters stand for a `LearnedMeasure`. Members are pytrees themselves."""

    def init(self, key: jax.Array) -> Params:
        """Parameters at the start; nearly all labels alike."""
        ...

    def learned(self, params: Params) -> LearnedMeasure:
        """What the parameters stand for, differentiably; float [K] for each label."""
        ...

    def penalty(self, params: Params) -> jax.Array:
        """Scalar to add to the loss: how far the labels are from sharing their values."""
        ...


@as_pytree
@dataclasses.dataclass(frozen=True)
class Free:
    """One shape and one weight a label, pulled towards the values that all share.

    Besides its own parameters, a label moves with others along `directions`: so
    labels of similar meaning learn from each other, and rare ones at all.
    """

    start: LearnedMeasure  #: Scalars: where all labels start, from `shared_start`.
    num_labels: int = dataclasses.field(metadata={"static": True})  #: K
    directions: Array | None = None  #: float [K, F]: label features; or none.
    lowest_threshold: Array = 0.0  #: T stays above: that of the graph's own edges.
    highest_threshold: Array = 1.0
    prior: Array = 1e-3  #: How strongly labels are pulled towards the shared values.
    #: How strongly neighbours in `graph` are pulled towards each other.
    smoothing: Array = 0.0
    graph: LabelGraph | None = None

    def init(self, key: jax.Array) -> Params:
        del key  # Labels start alike.
        params = {**_shared_params(), "weights": jnp.zeros(self.num_labels)}
        params["shapes"] = jnp.zeros(self.num_labels)
        if self.directions is not None:
            width = jnp.shape(self.directions)[1]
            params |= {"common_weights": jnp.zeros(width), "common_shapes": jnp.zeros(width)}
        return params

    def learned(self, params: Params) -> LearnedMeasure:
        weights, shapes = self._offsets(params)
        return _learned(self, params, weights, shapes)

    def penalty(self, params: Params) -> jax.Array:
        total = self.prior * sum(
            jnp.mean(params[name] ** 2)
            for name in ("weights", "shapes", "common_weights", "common_shapes")
            if name in params
        )
        if self.graph is not None and self.graph.num_edges:
            similarities = jnp.asarray(self.graph.similarities)
            for values in self._offsets(params):
                gaps = values[self.graph.sources] - values[self.graph.targets]
                roughness = jnp.sum(similarities * gaps**2) / jnp.sum(similarities)
                total = total + self.smoothing * roughness
        return total

    def _offsets(self, params: Params) -> tuple[jax.Array, jax.Array]:
        weights, shapes = params["weights"], params["shapes"]
        if self.directions is not None:
            directions = jnp.asarray(self.directions)
            weights = weights + directions @ params["common_weights"]
            shapes = shapes + directions @ params["common_shapes"]
        return weights, shapes


@as_pytree
@dataclasses.dataclass(frozen=True)
class FromFeatures:
    """Each label's shape and weight from its features, by a flax module.

    At the start the module gives 0 for every label. Without hidden units it is linear.
    """

    start: LearnedMeasure  #: Scalars: where all labels start, from `shared_start`.
    features: Array  #: float [K, F], from `label_features`.
    basis: FeatureBasis  #: What they were computed with: saved with the parameters.
    hidden: int = dataclasses.field(default=0, metadata={"static": True})
    lowest_threshold: Array = 0.0  #: T stays above: that of the graph's own edges.
    highest_threshold: Array = 1.0
    prior: Array = 1e-3  #: How strongly labels are pulled towards the shared values.

    def init(self, key: jax.Array) -> Params:
        return {**_shared_params(), "network": self._network().init(key, self.features)["params"]}

    def learned(self, params: Params) -> LearnedMeasure:
        weights, shapes = self._offsets(params)
        return _learned(self, params, weights, shapes)

    def penalty(self, params: Params) -> jax.Array:
        return self.prior * sum(jnp.mean(values**2) for values in self._offsets(params))

    def _offsets(self, params: Params) -> tuple[jax.Array, jax.Array]:
        weights, shapes = self._network().apply({"params": params["network"]}, self.features)
        return weights, shapes

    def _network(self) -> Any:
        from mig_jax.learning._label_network import LabelNetwork

        return LabelNetwork(self.hidden)


def shape_name(score_function: ScoreFunction) -> str:
    """The name of a family's shape parameter: `exponent` or `rate`."""
    return "exponent" if isinstance(score_function, Power) else "rate"


def _shared_params() -> Params:
    return {name: jnp.zeros(()) for name in ("shape", "propagation", "threshold", "score_exponent")}


def _learned(
    parameterisation: Free | FromFeatures, params: Params, weights: jax.Array, shapes: jax.Array
) -> LearnedMeasure:
    """The measure at these offsets from the start; float [K] of labels, scalars otherwise."""
    start = parameterisation.start
    phi: Any = start.measure.score_function
    name = shape_name(phi)
    offsets = _SHAPE_UNIT * params["shape"] + _LABEL_SHAPE_UNIT * shapes
    first = getattr(phi, name)
    if name == "exponent":
        shape = jax.nn.sigmoid(_logit(first) + offsets)
    else:
        shape = first * jnp.exp(offsets)
    phi = dataclasses.replace(phi, **{name: shape}, weight=phi.weight * jnp.exp(weights))
    low, high = parameterisation.lowest_threshold, parameterisation.highest_threshold
    place = (start.threshold - low) / (high - low)
    unit = _THRESHOLD_UNIT / ((high - low) * place * (1 - place))
    return LearnedMeasure(
        Measure(phi, start.measure.propagation * jnp.exp(params["propagation"])),
        low + (high - low) * jax.nn.sigmoid(_logit(place) + unit * params["threshold"]),
        start.score_exponent * jnp.exp(_SCORE_UNIT * params["score_exponent"]),
    )


def _logit(share: Array) -> jax.Array:
    return jnp.log(share) - jnp.log1p(-share)
