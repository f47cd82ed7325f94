"""What an objective is, what it judges, and how its data are divided.

One of your own is a class with `losses`:

    @mig_jax.as_pytree
    class AlphaOf(Objective):
        wanted: float
        needs_selection = False

        def losses(self, outcome):
            away = (outcome.measure.propagation - self.wanted) ** 2
            return away, away
"""

from __future__ import annotations

import abc
from typing import Any, ClassVar

import jax
import numpy as np

from mig_jax.measure import Array, LabelGraph, Measure, Pool, as_pytree
from mig_jax.relaxation import RelaxedSelection

__all__ = ["Objective", "Outcome", "hold_out"]


@as_pytree
class Outcome:
    """What some parameters lead to: all that an objective may judge."""

    pool: Pool  #: P records, their scores as the parameters make them.
    graph: LabelGraph  #: K labels, edges below the threshold softly gated.
    measure: Measure  #: What is learned.
    relaxed: RelaxedSelection | None = None  #: Of the budget; None if none is needed.
    #: int scalar, the step of learning. An objective that averages over several models may look
    #: at one of them a turn; without a turn it looks at all.
    turn: Array | None = None

    @property
    def amounts(self) -> Array:
        """float [P]: how much of each record the relaxed selection selects.

        Raises:
          ValueError: if the objective has said that it needs no selection.
        """
        if self.relaxed is None:
            raise ValueError("there is no selection; expected an objective that needs one")
        return self.relaxed.amounts


class Objective(abc.ABC):
    """What the outcome of parameters is judged by. Members are pytrees."""

    #: Whether `losses` looks at the relaxed selection, which takes most of a step.
    needs_selection: ClassVar[bool] = True

    @abc.abstractmethod
    def losses(self, outcome: Outcome) -> tuple[jax.Array, jax.Array]:
        """The loss on the fitted and on the held-out part of the data, scalars to be small."""


def hold_out(groups: Any, share: float, seed: int) -> np.ndarray:
    """Which items are held out: bool [n], about `share` of each group, drawn at random.

    A group of two or more keeps one item on either side.

    >>> hold_out(["a", "a", "b"], 0.3, seed=0).sum()
    np.int64(1)
    """
    groups = np.asarray(groups)
    rng = np.random.default_rng(seed)
    held = np.zeros(len(groups), bool)
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        count = min(max(round(share * len(members)), 1), len(members) - 1)
        held[rng.permutation(members)[:count]] = True
    return held
