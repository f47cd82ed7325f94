"""Gain rules: how much a record raises E, exact (Eq. 9) or linear (Eq. 10–11).

A gain rule is a pair of functions: `prepare` turns z into one row of numbers a
label, `of_slot` turns those numbers and a slot's ê into the slot's share of
the gain. A pick changes few labels, so selection keeps the prepared table and
renews only their rows.

A rule of your own is a `GainRule` of two functions; a line in `GAIN_RULES` gives
it a name for the commands.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from mig_jax.measure._arrays import Array, Numbers
from mig_jax.measure._information import Measure
from mig_jax.measure._score_function import ScoreFunction

__all__ = ["EXACT", "GAIN_RULES", "LINEAR", "GainRule", "GainTable", "prepare"]


@dataclasses.dataclass(frozen=True)
class GainRule:
    """How the gain of a record is computed; see the module's docstring.

    Selection is lazy: it keeps gains of earlier picks as bounds. So a share must not be below
    0, and must not rise if z rises.
    """

    name: str
    #: Of φ and z: a pytree whose leaves broadcast to [K].
    prepare: Callable[[ScoreFunction, Float[Array, " labels"]], Any]
    #: Of φ, the table's rows of the slots' labels and the slots' ê: shares of the slots.
    #: φ's own parameters may be those of other labels: what is needed of them is in the table.
    of_slot: Callable[[ScoreFunction, Any, Float[Array, " slots"]], Float[Array, " slots"]]
    #: Whether gains are what picks raise E by. If not, selection computes that as well.
    is_exact: bool = False


# Functions that have names, so that rules can be pickled.
def _prepared(score_function: ScoreFunction, z: Numbers) -> Any:
    return score_function.prepare(z)


def _increase(score_function: ScoreFunction, prepared: Any, step: Numbers) -> Array:
    return score_function.increase(prepared, step)


def _slope(score_function: ScoreFunction, z: Numbers) -> Array:
    return score_function.derivative(z)


def _by_slope(score_function: ScoreFunction, slope: Any, step: Numbers) -> Any:
    return slope * step


EXACT = GainRule("exact", _prepared, _increase, is_exact=True)
LINEAR = GainRule("linear", _slope, _by_slope)
GAIN_RULES = {rule.name: rule for rule in (EXACT, LINEAR)}


class GainTable(NamedTuple):
    """What selection knows of z, a row a label: pytrees of float [K]."""

    gains: Any  #: What the rule itself prepares.
    increases: Any  #: What `EXACT` prepares; None if the rule is exact.


def prepare(
    rule: GainRule,
    measure: Measure,
    z: Float[Array, " labels"],
    labels: Int[Array, " n"] | None = None,
) -> GainTable:
    """The table for z: of all labels, or of the n that `labels` names, with n rows."""
    score_function = measure.score_function
    if labels is not None:
        score_function, z = score_function.at(labels), z[labels]
    table = GainTable(
        rule.prepare(score_function, z),
        None if rule.is_exact else EXACT.prepare(score_function, z),
    )
    return jax.tree_util.tree_map(lambda leaf: jnp.broadcast_to(leaf, jnp.shape(z)), table)
