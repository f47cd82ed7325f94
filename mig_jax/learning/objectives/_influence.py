"""What a language model would learn from the selection, by its own gradients."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from mig_jax.learning.objectives._protocol import Objective, Outcome
from mig_jax.measure import Array, as_pytree

__all__ = ["Influence", "influence"]


@as_pytree
class Influence(Objective):
    """How little a token of the selection teaches, mean over tasks; as built by `influence`."""

    fitted: Array  #: float [P, T]: what each record teaches of each task, over the task's scale.
    held_out: Array  #: The same by other wanted records.
    tokens: Array  #: float [P].

    def losses(self, outcome: Outcome) -> tuple[jax.Array, jax.Array]:
        tokens = jnp.maximum(jnp.dot(outcome.amounts, self.tokens), 1e-6)

        def loss(taught: Array) -> jax.Array:
            return -jnp.mean(outcome.amounts @ taught) / tokens

        return loss(self.fitted), loss(self.held_out)


def influence(fitted: Array, held_out: Array, tokens: Array) -> Influence:
    """The objective to teach most with each token, to first order: linear in amounts.

    Args:
      fitted: [P, T], by how much a step on each record lowers the loss of each task's wanted
        records (`mig_jax.methods.influences`); its spread over records is what tasks are
        weighed by.
      held_out: the same, by wanted records of the same tasks that `fitted` has not seen.
      tokens: [P], at least 1: what each record costs.

    >>> taught = np.array([[2.0], [0.0], [1.0]])
    >>> found = influence(taught, taught, np.array([10, 10, 10])).fitted
    >>> [round(float(one), 2) for one in found.ravel()]
    [2.45, 0.0, 1.22]
    """
    fitted, held_out = np.asarray(fitted, np.float64), np.asarray(held_out, np.float64)
    # A task whose records are harder to teach would count for less.
    spread = fitted.std(axis=0)
    scale = np.where(spread > 0, spread, 1.0)
    cost = float(np.mean(tokens))
    return Influence(
        fitted=(fitted / scale).astype(np.float32),
        held_out=(held_out / scale).astype(np.float32),
        tokens=np.asarray(tokens / cost, np.float32),
    )
