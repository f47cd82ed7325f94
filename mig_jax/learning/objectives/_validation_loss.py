"""The loss on validation responses of models fitted to the selection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mig_jax.errors import InputError
from mig_jax.learning._count_model import CountModel, ResponseBags, response_losses
from mig_jax.learning.objectives._protocol import Objective, Outcome, hold_out
from mig_jax.measure import Array, as_pytree

__all__ = ["Validation", "validation"]


@as_pytree
class Validation(Objective):
    """Loss on validation responses of models fitted to the selection, as built by `validation`."""

    models: tuple[CountModel, ...]  #: Of the pool; each has its own hashes and clusters.
    #: Of each model, the validation records, and their shares in the loss, float [n] of sum 1.
    fitted: tuple[tuple[ResponseBags, Array], ...]
    held_out: tuple[tuple[ResponseBags, Array], ...]

    def losses(self, outcome: Outcome) -> tuple[jax.Array, jax.Array]:

        def of_model(number: int, amounts: jax.Array) -> tuple[jax.Array, jax.Array]:
            tables = self.models[number].fit(amounts)
            fitted, held_out = (
                jnp.vdot(shares, response_losses(tables, bags))
                for bags, shares in (self.fitted[number], self.held_out[number])
            )
            return fitted, held_out

        count = len(self.models)
        branches = [lambda amounts, n=n: of_model(n, amounts) for n in range(count)]
        if outcome.turn is not None:
            return lax.switch(outcome.turn % count, branches, outcome.amounts)
        losses = [branch(outcome.amounts) for branch in branches]
        fitted, held_out = (sum(part) / count for part in zip(*losses, strict=True))
        return fitted, held_out


def validation(
    models: Sequence[CountModel],
    bags: Sequence[ResponseBags],
    groups: Any,
    *,
    held_out: float = 0.3,
    seed: int,
) -> Validation:
    """The objective to select what teaches the responses of the validation records.

    Args:
      models: count models of the pool, of several seeds: learning takes them in turn.
      bags: of each model, the n validation records.
      groups: n names; every group (a task, say) has the same part in the loss.
      held_out: share of each group that is held out.
      seed: says which.

    Raises:
      InputError: if there are fewer than two validation records.
    """
    groups = np.asarray(groups)
    if len(groups) < 2:
        raise InputError(f"{len(groups)} validation records; expected at least 2")
    held = hold_out(groups, held_out, seed)
    if not held.any():  # Groups of one each.
        held = hold_out(np.zeros(len(groups)), held_out, seed)

    def part(kept: np.ndarray) -> tuple[tuple[ResponseBags, Array], ...]:
        names, group, counts = np.unique(groups[kept], return_inverse=True, return_counts=True)
        shares = (1 / counts[group] / len(names)).astype(np.float32)
        rows = np.flatnonzero(kept)
        return tuple((jax.tree_util.tree_map(lambda x: x[rows], b), shares) for b in bags)

    return Validation(tuple(models), part(~held), part(held))
