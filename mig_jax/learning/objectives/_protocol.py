"""What an objective is, and how its data are divided."""

from __future__ import annotations

from typing import Any, Protocol

import jax
import numpy as np

from mig_jax.measure import Array, LabelGraph, Measure, Pool
from mig_jax.relaxation import RelaxedSelection

__all__ = ["Objective", "hold_out"]


class Objective(Protocol):
    """What a softened pool, graph and measure are judged by. Members are pytrees."""

    @property
    def needs_selection(self) -> bool:
        """Whether `losses` looks at the relaxed selection; it gets None where not."""
        ...

    def losses(
        self,
        pool: Pool,
        graph: LabelGraph,
        measure: Measure,
        selection: RelaxedSelection | None,
        turn: Array | None = None,
    ) -> tuple[jax.Array, jax.Array]:
        """The loss on the fitted and on the held-out part of the data, scalars to be small.

        Args:
          pool: P records, their scores as the parameters make them.
          graph: K labels, edges below the threshold softly gated.
          measure: what is learned.
          selection: of the budget, under this measure.
          turn: int scalar, the step of learning. An objective that averages over several
            models may look at one of them a turn; without a turn it looks at all.
        """
        ...


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
