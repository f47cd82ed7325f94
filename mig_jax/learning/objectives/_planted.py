"""A pool whose labels truly differ in worth and in how fast they saturate, and its generator.

The truth is a measure of its own: each label has a weight and an exponent that follow its
embedding in part, so that similar labels are alike, and are its own in part. The utility of a
selection is its information by the true measure. Learning never sees it: it sees two
estimates of it, one to descend and one that is held out, whose weights are off by noise of
their own for each label, as estimates from finite validation data are.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mig_jax.learning._parameters import LearnedMeasure
from mig_jax.learning.objectives._protocol import Objective, Outcome
from mig_jax.measure import (
    LabelGraph,
    Measure,
    Pool,
    Power,
    as_pytree,
    information,
    label_information,
)

__all__ = ["PlantedTruth", "PlantedUtility", "plant"]

_WEIGHT_SPREAD = 1.2  # Standard deviation of log weights.
_EXPONENT_LOGIT_SPREAD = 1.0  # Of the logits of exponents, around 0.5.
_OWN_SHARE = 0.3  # Of the variance that a label has on its own.
_NOISE = 0.3  # Standard deviation of the estimates' log weights.


@dataclasses.dataclass(frozen=True)
class PlantedTruth:
    """The true measure, and the objective that learning gets to see."""

    learned: LearnedMeasure
    objective: PlantedUtility


@as_pytree
class PlantedUtility(Objective):
    """The objective: how much of the planted utility the relaxed selection misses."""

    pool: Pool
    graph: LabelGraph
    measure: Measure  # Leaves float [2, K]: the fitted and the held-out estimate.
    scale: Any  # float [2]: utility of all records, so that losses are between 0 and 1.

    def losses(self, outcome: Outcome) -> tuple[jax.Array, jax.Array]:
        missed = self.missed(outcome.amounts)
        return missed[0], missed[1]

    def missed(self, amounts: Any) -> jax.Array:
        """Float [2]: by either estimate, for amounts float [P]."""
        z = label_information(self.pool, self.graph, _first(self.measure), amounts)
        reached = jax.vmap(lambda measure: information(measure, z))(self.measure)
        return 1 - reached / self.scale


def plant(pool: Pool, graph: LabelGraph, embeddings: np.ndarray, seed: int) -> PlantedTruth:
    """Plants a truth over the labels of a pool.

    Args:
      pool: P records.
      graph: K labels, the graph over which information truly spreads.
      embeddings: float [K, width].
      seed: another seed, another truth.
    """
    rng = np.random.default_rng([seed, 1])
    labels = graph.num_labels

    def draw(spread: float) -> np.ndarray:
        along = embeddings @ rng.standard_normal(embeddings.shape[1])
        along = (along - along.mean()) / max(along.std(), 1e-9)
        own = rng.standard_normal(labels)
        return spread * (np.sqrt(1 - _OWN_SHARE) * along + np.sqrt(_OWN_SHARE) * own)

    weight = np.exp(draw(_WEIGHT_SPREAD))
    exponent = 0.1 + 0.8 / (1 + np.exp(-draw(_EXPONENT_LOGIT_SPREAD)))
    truth = _measure(exponent, weight)
    estimates = [
        _measure(exponent, weight * np.exp(_NOISE * rng.standard_normal(labels))) for _ in range(2)
    ]
    both = jax.tree_util.tree_map(lambda *leaves: jnp.stack(leaves), *estimates)
    everything = label_information(pool, graph, truth, np.ones(pool.num_records, np.float32))
    scale = jax.vmap(lambda measure: information(measure, everything))(both)
    return PlantedTruth(
        LearnedMeasure(truth, jnp.asarray(0.0)), PlantedUtility(pool, graph, both, scale)
    )


def _measure(exponent: np.ndarray, weight: np.ndarray) -> Measure:
    shape = exponent.shape
    leaves = (exponent, np.full(shape, 1e-3), weight)
    function = Power(*(jnp.asarray(leaf, jnp.float32) for leaf in leaves))
    return Measure(function, jnp.asarray(1.0, jnp.float32))


def _first(measures: Measure) -> Measure:
    return jax.tree_util.tree_map(lambda leaf: leaf[0], measures)
