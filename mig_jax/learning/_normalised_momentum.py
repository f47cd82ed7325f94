"""Steps of the size that one learning rate says, for all kinds of parameters."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import optax

__all__ = ["FROM_AFAR", "default_optimiser", "normalised_momentum"]


def normalised_momentum(
    learning_rate: float | optax.Schedule = 0.05, *, decay: float = 0.7, clip: float = 5.0
) -> optax.GradientTransformation:
    """Steps whose size does not depend on that of the gradient, leaf by leaf.

    Each leaf of the gradient is divided by its root mean square, averaged over about
    1/(1 − decay) steps, and clipped. Within a leaf, labels keep their proportions:
    those that matter little move little, unlike under Adam.
    """

    def normalise(updates: Any, params: Any = None) -> Any:
        def leaf(gradient: jax.Array) -> jax.Array:
            square = jnp.mean(gradient**2)
            return gradient * jnp.where(square > 0, jax.lax.rsqrt(square), 0)

        return jax.tree_util.tree_map(leaf, updates)

    return optax.chain(
        optax.stateless(normalise),
        optax.ema(decay, debias=False),
        optax.clip(clip),
        optax.scale_by_learning_rate(learning_rate),
    )


#: Learning rate where no gains are matched first, and few parameters have far to go.
FROM_AFAR = 0.2
default_optimiser = lru_cache(normalised_momentum)  # The same object, so that it compiles once.
