"""The two parameterisations that are known by name.

`Free` has parameters for each label of one pool. `FromFeatures` is a flax module from
label features, which fits labels and pools never seen.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mig_jax.learning._label_features import FeatureBasis, label_features
from mig_jax.learning._parameters import (
    Labels,
    LearnedMeasure,
    Parameterisation,
    Params,
    Saved,
    arrays_of,
    even_information,
    learned_from,
)
from mig_jax.measure import Array, LabelGraph, Measure, Parameter, Scalar, as_pytree

__all__ = [
    "PARAMETERISATIONS",
    "WEIGHTS_AND_SHAPES",
    "ByLabel",
    "Free",
    "FromFeatures",
    "typically_held",
]


class ByLabel(NamedTuple):
    """What labels differ in: 1 where each has its own, 0 where all share one. May be traced."""

    weights: Scalar = 1.0
    shapes: Scalar = 1.0


WEIGHTS_AND_SHAPES = ByLabel()

# How far a parameter of 1 moves what it stands for, at the start: with these, one
# learning rate suits all leaves.
_SHAPE_UNIT = 0.5  # Of the logit of an exponent, or the log of a rate, shared by all labels.
_LABEL_SHAPE_UNIT = 1.0  # The same, of one label.
_SCORE_UNIT = 0.5  # Of log β.
_THRESHOLD_UNIT = 0.03  # Of T.
_FARTHEST = 8.0  # Of the logit of an exponent, and of the logs of a rate, of α and of β.
# The parameters that all labels share.
_SHARED = ("shape", "propagation", "threshold", "score_exponent")


@as_pytree
class Free(Parameterisation):
    """One shape and one price a label, pulled towards the values that all share.

    A price is the slope of φ at `anchor`: shapes and prices are told apart by it, as weights and
    shapes are not.

    Besides its own parameters, a label moves with others along `directions`: so
    labels of similar meaning learn from each other, and rare ones at all.
    """

    start: LearnedMeasure  #: Scalars: where all labels start, from `shared_start`.
    num_labels: int = dataclasses.field(metadata={"static": True})  #: K
    directions: Array | None = None  #: float [K, F]: label features; or none.
    lowest_threshold: Scalar = 0.0  #: T stays above: that of the graph's own edges.
    highest_threshold: Scalar = 1.0
    prior: Scalar = 1e-3  #: How strongly labels are pulled towards the shared values.
    #: How strongly neighbours in `graph` are pulled towards each other.
    smoothing: Scalar = 0.0
    graph: LabelGraph | None = None
    #: float [K] or a scalar, above 0: what a label holds where its price is meant.
    anchor: Parameter = 1.0
    #: What labels differ in.
    by_label: ByLabel = WEIGHTS_AND_SHAPES

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
        total = jnp.asarray(self.prior) * sum(
            jnp.mean(params[name] ** 2)
            for name in ("weights", "shapes", "common_weights", "common_shapes")
            if name in params
        )
        total = total + self.prior * _shared_penalty(params, self.num_labels)
        if self.graph is not None and self.graph.num_edges:
            similarities = jnp.asarray(self.graph.similarities)
            for values in self._offsets(params):
                gaps = values[self.graph.sources] - values[self.graph.targets]
                roughness = jnp.sum(similarities * gaps**2) / jnp.sum(similarities)
                total = total + self.smoothing * roughness
        return total

    def shared(self, params: Params) -> LearnedMeasure:
        """The values of a label at all offsets 0, which holds what is typical."""
        nothing = jax.tree_util.tree_map(jnp.zeros_like, params)
        typical = dataclasses.replace(self, anchor=typically_held(self.anchor))
        learned = typical.learned(nothing | {name: params[name] for name in _SHARED})
        return jax.tree_util.tree_map(lambda leaf: leaf[0] if jnp.ndim(leaf) else leaf, learned)

    def shape_offsets(self, params: Params) -> jax.Array:
        """By how much each label's shape has moved, on the scale of its logit or log: [K]."""
        return _shape_offsets(params, self._offsets(params)[1])

    def _offsets(self, params: Params) -> tuple[jax.Array, jax.Array]:
        weights, shapes = params["weights"], params["shapes"]
        if self.directions is not None:
            directions = jnp.asarray(self.directions)
            weights = weights + directions @ params["common_weights"]
            shapes = shapes + directions @ params["common_shapes"]
        return _differing(self.by_label, weights, shapes)


@as_pytree
class FromFeatures(Parameterisation):
    """Each label's shape and weight from its features, by a flax module.

    At the start the module gives 0 for every label. Without hidden units it is linear.
    """

    start: LearnedMeasure  #: Scalars: where all labels start, from `shared_start`.
    features: Array  #: float [K, F], from `label_features`.
    basis: FeatureBasis  #: What they were computed with: saved with the parameters.
    hidden: int = dataclasses.field(default=0, metadata={"static": True})
    lowest_threshold: Scalar = 0.0  #: T stays above: that of the graph's own edges.
    highest_threshold: Scalar = 1.0
    prior: Scalar = 1e-3  #: How strongly labels are pulled towards the shared values.
    anchor: Parameter = 1.0  #: As of `Free`.
    #: Of how many records, chosen evenly, it is what labels hold; a scalar if it is of none.
    anchor_records: float | None = dataclasses.field(default=None, metadata={"static": True})
    by_label: ByLabel = WEIGHTS_AND_SHAPES

    def init(self, key: jax.Array) -> Params:
        return {**_shared_params(), "network": self._network().init(key, self.features)["params"]}

    def learned(self, params: Params) -> LearnedMeasure:
        weights, shapes = self._offsets(params)
        return _learned(self, params, weights, shapes)

    def penalty(self, params: Params) -> jax.Array:
        of_labels = sum(jnp.mean(values**2) for values in self._offsets(params))
        return jnp.asarray(self.prior) * (of_labels + _shared_penalty(params, len(self.features)))

    def saved(self, params: Params, label_names: Sequence[str]) -> Saved:
        """The module's own parameters and the basis of its features, for labels of any pool."""
        del label_names
        about = {
            "hidden": self.hidden,
            "lowest_threshold": float(self.lowest_threshold),
            "highest_threshold": float(self.highest_threshold),
            "anchor_records": self.anchor_records,
            "by_label": [float(one) for one in self.by_label],
        }
        if self.anchor_records is None:
            about["anchor"] = float(self.anchor)
        arrays = {
            "params": params,
            "start": arrays_of(self.start),
            "basis": dataclasses.asdict(self.basis),  # type: ignore[call-overload]
        }
        return Saved(about, arrays)

    @classmethod
    def restored(cls, saved: Saved, labels: Labels) -> LearnedMeasure:
        """What the saved module gives for the features of these labels."""
        about, arrays = saved
        if "by_label" not in about:
            raise ValueError("these parameters are of an earlier version; learn them again")
        if labels.embeddings is None:
            raise ValueError(
                "these parameters are of label features; "
                "expected --label_embeddings, which they are computed from"
            )
        basis = FeatureBasis(**arrays["basis"])
        features = label_features(basis, labels.pool, labels.graph, labels.embeddings)
        start = learned_from(arrays["start"], about)
        records = about["anchor_records"]
        if records is None:
            anchor: Parameter = about["anchor"]
        else:
            anchor = even_information(start, labels.pool, labels.graph, records)
        return cls(
            start,
            features,
            basis,
            about["hidden"],
            about["lowest_threshold"],
            about["highest_threshold"],
            anchor=anchor,
            by_label=ByLabel(*about["by_label"]),
        ).learned(arrays["params"])

    @classmethod
    def graph_threshold(cls, about: dict[str, Any]) -> float:
        """The lowest that could be learned, exactly: the degree of a label is a feature."""
        return float(about["lowest_threshold"])

    def _offsets(self, params: Params) -> tuple[jax.Array, jax.Array]:
        weights, shapes = self._network().apply({"params": params["network"]}, self.features)
        return _differing(self.by_label, weights, shapes)

    def _network(self) -> Any:
        from mig_jax.learning._label_network import LabelNetwork

        return LabelNetwork(self.hidden)


#: A line for each subclass of `Parameterisation`; add yours to have what it learns saved.
PARAMETERISATIONS: dict[str, type[Parameterisation]] = {"free": Free, "features": FromFeatures}


def _shared_penalty(params: Params, num_labels: int) -> jax.Array:
    """As if each shared parameter were one of a label: what no data tell goes nowhere."""
    squares = jnp.stack([params[name] ** 2 for name in _SHARED])
    return jnp.sum(squares) / max(num_labels, 1)


def _shared_params() -> Params:
    return {name: jnp.zeros(()) for name in _SHARED}


def _differing(
    by_label: ByLabel, weights: jax.Array, shapes: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The offsets of labels, none in what labels do not differ in."""
    return weights * by_label.weights, shapes * by_label.shapes


def _learned(
    parameterisation: Free | FromFeatures, params: Params, weights: jax.Array, shapes: jax.Array
) -> LearnedMeasure:
    """The measure at these offsets from the start; float [K] of labels, scalars otherwise."""
    start = parameterisation.start
    offsets = _bounded(_shape_offsets(params, shapes))
    # One place for all without weights of their own: labels of one shape have one score function.
    own = jnp.asarray(parameterisation.by_label.weights) > 0
    anchor = jnp.where(own, parameterisation.anchor, typically_held(parameterisation.anchor))
    phi = start.measure.score_function.priced(offsets, weights, anchor)
    low, high = parameterisation.lowest_threshold, parameterisation.highest_threshold
    place = (start.threshold - low) / (high - low)
    unit = _THRESHOLD_UNIT / ((high - low) * place * (1 - place))
    return LearnedMeasure(
        Measure(phi, start.measure.propagation * jnp.exp(_bounded(params["propagation"]))),
        low + (high - low) * jax.nn.sigmoid(_logit(place) + unit * params["threshold"]),
        start.score_exponent * jnp.exp(_bounded(_SCORE_UNIT * params["score_exponent"])),
    )


def _shape_offsets(params: Params, shapes: jax.Array) -> jax.Array:
    return _SHAPE_UNIT * params["shape"] + _LABEL_SHAPE_UNIT * shapes


def _bounded(offset: jax.Array) -> jax.Array:
    """Farther off nothing changes but numbers, which come to be too large for floats."""
    return jnp.clip(offset, -_FARTHEST, _FARTHEST)


def typically_held(anchor: Parameter) -> jax.Array:
    """The geometric mean, over labels, of what each holds."""
    return jnp.exp(jnp.mean(jnp.log(jnp.asarray(anchor))))


def _logit(share: Scalar) -> jax.Array:
    return jnp.log(share) - jnp.log1p(-share)
