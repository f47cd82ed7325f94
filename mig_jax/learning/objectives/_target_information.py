"""Information spread over labels as a target set has it."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from mig_jax.errors import InputError
from mig_jax.learning.objectives._protocol import Objective, Outcome, hold_out
from mig_jax.measure import (
    Array,
    LabelGraph,
    Measure,
    Pool,
    as_pytree,
    label_information,
    pool_from_label_lists,
)

__all__ = ["Target", "target"]

# The part of a selection's information that counts as spread evenly over all labels, so that
# the divergence stays finite if the target has a label that the selection has not.
_EVEN_SHARE = 1e-3


@as_pytree
class Target(Objective):
    """KL divergence of the selected information from a target's, as built by `target`.

    Both are compared over one fixed graph: over the learned one, propagation
    could make them alike by spreading both over everything.
    """

    pool: Pool  #: As read.
    graph: LabelGraph
    propagation: Array
    fitted: Array  #: float [K], of sum 1: share of the target's information on each label.
    held_out: Array

    def losses(self, outcome: Outcome) -> tuple[jax.Array, jax.Array]:
        fixed = Measure(propagation=self.propagation)
        z = label_information(self.pool, self.graph, fixed, outcome.amounts)
        total = jnp.sum(z)
        selected = z / jnp.where(total > 0, total, 1)
        even = 1 / self.graph.num_labels
        log_share = jnp.log((1 - _EVEN_SHARE) * selected + _EVEN_SHARE * even)

        def divergence(wanted: Array) -> jax.Array:
            log_wanted = jnp.log(jnp.where(wanted > 0, wanted, 1))
            return jnp.sum(wanted * (log_wanted - log_share))

        return divergence(self.fitted), divergence(self.held_out)


def target(
    label_lists: Sequence[Sequence[int]],
    pool: Pool,
    graph: LabelGraph,
    *,
    propagation: float = 1.0,
    held_out: float = 0.3,
    seed: int,
) -> Target:
    """The objective to select as much of each label's information as target records have.

    Args:
      label_lists: ids of the pool's labels that each target record has.
      pool: P records, as read.
      graph: K labels, over which the two are compared.
      propagation: α with which they are compared.
      held_out: share of the target records that is held out.
      seed: says which.

    Raises:
      InputError: if fewer than two target records have labels of the pool.
    """
    labelled = [list(labels) for labels in label_lists if len(labels)]
    if len(labelled) < 2:
        raise InputError(
            f"{len(labelled)} of {len(label_lists)} target records have labels of the pool; "
            "expected at least 2 with `labels`"
        )
    held = hold_out(np.zeros(len(labelled)), held_out, seed)

    def shares(part: np.ndarray) -> np.ndarray:
        rows = [labels for labels, wanted in zip(labelled, part, strict=True) if wanted]
        records = pool_from_label_lists(rows, np.ones(len(rows)))
        fixed = Measure(propagation=propagation)
        z = np.asarray(label_information(records, graph, fixed, np.ones(len(rows))), np.float64)
        return (z / z.sum()).astype(np.float32)

    return Target(pool, graph, jnp.asarray(float(propagation)), shares(~held), shares(held))
