"""The flax module that maps the features of labels to their parameters."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

__all__ = ["LabelNetwork"]


class LabelNetwork(nn.Module):
    """Linear in the features, and in hidden units beside them if there are any."""

    hidden: int = 0

    @nn.compact
    def __call__(self, features: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The log weights and the shape offsets, float [K] each, of labels with `features` [K, F].

        Both are 0 at initialisation.
        """
        if self.hidden:
            units = nn.tanh(nn.Dense(self.hidden, name="hidden")(features))
            features = jnp.concatenate([features, units], axis=1)
        heads = (
            nn.Dense(1, use_bias=False, kernel_init=nn.initializers.zeros, name=name)
            for name in ("weights", "shapes")
        )
        weights, shapes = (head(features)[:, 0] for head in heads)
        return weights, shapes
