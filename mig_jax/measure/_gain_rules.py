"""Gain rules: how much a record raises E, exact (Eq. 9) or linear (Eq. 10–11).

A gain rule is a pair of functions: `prepare` turns z into one row of numbers a
label, `of_slot` turns those numbers and a slot's ê into the slot's share of
the gain. A pick changes few labels, so selection keeps the prepared table and
renews only their rows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from mig_jax.measure._arrays import Array
from mig_jax.measure._information import Measure
from mig_jax.measure._score_functions import ScoreFunction

__all__ = ["EXACT", "GAIN_RULES", "LINEAR", "GainRule", "prepare"]


@dataclasses.dataclass(frozen=True)
class GainRule:
    """How the gain of a record is computed; see the module's docstring."""

    name: str
    prepare: Callable[[ScoreFunction, Array], Any]
    of_slot: Callable[[ScoreFunction, Any, Array], jax.Array]


EXACT = GainRule(
    "exact",
    lambda score_function, z: score_function.prepare(z),
    lambda score_function, prepared, step: score_function.increase(prepared, step),
)
# Its table holds that of the exact rule as well: it tells by how much a pick raises E.
LINEAR = GainRule(
    "linear",
    lambda score_function, z: (score_function.derivative(z), score_function.prepare(z)),
    lambda score_function, prepared, step: prepared[0] * step,
)
GAIN_RULES = {rule.name: rule for rule in (EXACT, LINEAR)}


def prepare(rule: GainRule, measure: Measure, z: Array, labels: Array | None = None) -> Any:
    """The rule's table for z: a pytree of float [K], or float [n] for `labels` int32 [n]."""
    score_function = measure.score_function
    if labels is not None:
        score_function, z = score_function.at(labels), z[labels]
    return jax.tree_util.tree_map(
        lambda leaf: jnp.broadcast_to(leaf, jnp.shape(z)), rule.prepare(score_function, z)
    )
