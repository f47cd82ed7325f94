"""Fine-tuning: which weights learn, and one step of them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import optax

from ._architecture import (
    Architecture,
    Weights,
    embed,
    last_states,
    layers_between,
    run_layers,
    token_logits,
    token_losses,
)
from ._packing import Batch

__all__ = [
    "OPTIMIZER",
    "Programs",
    "Recipe",
    "TunedModel",
    "Tuning",
    "fine_tune",
    "programs_of",
]

_MATRICES = ("query", "key", "value", "out", "gate", "up", "down")


@dataclasses.dataclass(frozen=True)
class Tuning:
    """Which weights learn: the layers from `first` on, whole or by adapters of `rank`.

    With `first` 0 and no rank all weights learn, the embedding, too. Else the layers below
    and the embedding stay, and what comes out of the layers below is cached (`Activations`).
    """

    first: int = 0
    rank: int = 0  #: Of the adapters (LoRA, arXiv 2106.09685); 0 trains the matrices.

    @property
    def whole(self) -> bool:
        """Whether all weights learn."""
        return not self.first and not self.rank


class TunedModel:
    """A model whose upper weights learn, and the programs that train and judge it."""

    def __init__(self, architecture: Architecture, weights: Weights, tuning: Tuning) -> None:
        self.architecture, self.tuning = architecture, tuning
        head = weights.get("head", weights["embedding"])
        upper = {
            "layers": layers_between(weights, tuning.first, architecture.layers),
            "norm": weights["norm"],
        }
        if tuning.whole:
            self._start = upper | {n: weights[n] for n in ("embedding", "head") if n in weights}
            fixed: Weights = {}
        elif tuning.rank:
            self._start, fixed = {}, upper | {"head": head}
        else:
            self._start, fixed = upper, {"head": head}
        #: What does not learn, on the device.
        self.fixed: Weights = jax.tree.map(jnp.asarray, fixed)
        self._programs = _programs(architecture, tuning)

    def start(self, key: jax.Array) -> Weights:
        """The weights that learn, before they have; the key is for adapters."""
        if not self.tuning.rank:
            return jax.tree.map(jnp.array, self._start)
        adapters = {}
        for name, k in zip(_MATRICES, jax.random.split(key, len(_MATRICES)), strict=True):
            layers, inputs, outputs = self.fixed["layers"][name].shape
            adapters[name] = {
                "a": jax.random.normal(k, (layers, inputs, self.tuning.rank)) * inputs**-0.5,
                "b": jnp.zeros((layers, self.tuning.rank, outputs)),
            }
        return {"adapters": adapters}

    def step(
        self,
        own: Weights,
        moments: Any,
        batch: Batch,
        x: npt.NDArray[Any] | None,
        step_size: float | np.floating,
    ) -> tuple[Weights, Any, jax.Array]:
        """Weights, the optimizer's moments and the loss after one step; `own` is used up."""
        return self._programs.step(own, moments, self.fixed, batch, x, step_size)

    def losses(self, own: Weights, batch: Batch, x: npt.NDArray[Any] | None) -> jax.Array:
        """Nats of each token that is asked for, float32 [M]."""
        return self._programs.losses(own, self.fixed, batch, x)

    def judged(
        self,
        own: Weights,
        batch: Batch,
        x: npt.NDArray[Any] | None,
        asked: npt.NDArray[np.int32],
        tokens: npt.NDArray[np.int32],
    ) -> tuple[jax.Array, jax.Array]:
        """As `losses`, and in the same pass the logits of other tokens.

        Args:
          own: what learned.
          batch: B rows with M questions.
          x: as for `step`.
          asked: int [K], numbers of questions.
          tokens: int [K, C], those whose logits are told.

        Returns:
          Nats, float32 [M], and logits, float32 [K, C].
        """
        return self._programs.judged(own, self.fixed, batch, x, asked, tokens)

    def logits(
        self, own: Weights, batch: Batch, x: npt.NDArray[Any] | None, at: npt.NDArray[np.int32]
    ) -> jax.Array:
        """Logits of the tokens after some places, float32 [M, V]."""
        return self._programs.logits(own, self.fixed, batch, x, at)

    def errors(
        self, own: Weights, batch: Batch, x: npt.NDArray[Any] | None
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Of each token that is asked for: the last state, the loss's gradient, and the loss.

        float32 [M, d], [M, d] and [M]. The state is what the head is applied to, and the
        gradient is with respect to it.
        """
        return self._programs.errors(own, self.fixed, batch, x)


class Programs(NamedTuple):
    """What is done with a model; each takes what learns, what does not, and a batch."""

    step: Callable[..., Any]
    errors: Callable[..., tuple[jax.Array, jax.Array, jax.Array]]
    losses: Callable[..., jax.Array]
    judged: Callable[..., tuple[jax.Array, jax.Array]]
    logits: Callable[..., jax.Array]


@functools.cache
def _programs(architecture: Architecture, tuning: Tuning) -> Programs:
    """Compiled once for all models of a shape."""
    one = programs_of(architecture, tuning)
    step = jax.jit(one.step, donate_argnums=(0, 1))
    return Programs(step, *map(jax.jit, one[1:]))


def programs_of(architecture: Architecture, tuning: Tuning) -> Programs:
    """Pure functions, not compiled. The weights that stay are an argument, too: a program that
    closes over them would hold a copy."""

    def end(own: Weights, fixed: Weights, batch: Batch, x: Any) -> tuple:
        """Head, norm, and what the last layer leaves, [B, S, d]."""
        both = fixed | own
        x = embed(architecture, both, batch.tokens) if tuning.whole else x.astype(jnp.float32)
        x = run_layers(
            architecture,
            both["layers"],
            x,
            batch.positions,
            batch.segments,
            tuning.first,
            own.get("adapters"),
        )
        return both["head"] if "head" in both else both["embedding"], both["norm"], x

    def losses(own: Weights, fixed: Weights, batch: Batch, x: Any) -> jax.Array:
        return token_losses(logits(own, fixed, batch, x, batch.at), batch.targets)

    def judged(
        own: Weights, fixed: Weights, batch: Batch, x: Any, asked: jax.Array, tokens: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        found = logits(own, fixed, batch, x, batch.at)
        return token_losses(found, batch.targets), found[asked[:, None], tokens]

    def step(
        own: Weights, moments: Any, fixed: Weights, batch: Batch, x: Any, step_size: jax.Array
    ) -> tuple:
        def loss(own: Weights) -> jax.Array:
            found = losses(own, fixed, batch, x) * batch.weights
            return jnp.sum(found) / jnp.maximum(jnp.sum(batch.weights), 1)

        value, gradient = jax.value_and_grad(loss)(own)
        change, moments = OPTIMIZER.update(gradient, moments)
        own = jax.tree.map(lambda w, c: w - step_size * c, own, change)
        return own, moments, value

    def logits(own: Weights, fixed: Weights, batch: Batch, x: Any, at: Any) -> jax.Array:
        head, norm, states = end(own, fixed, batch, x)
        return token_logits(architecture, head, norm, states, at)

    def errors(own: Weights, fixed: Weights, batch: Batch, x: Any) -> tuple:
        head, norm, states = end(own, fixed, batch, x)
        at, targets = jnp.asarray(batch.at), jnp.asarray(batch.targets)
        last = last_states(architecture, norm, states, at)
        logits = jnp.matmul(last, head.T, preferred_element_type=jnp.float32)
        top = jax.nn.logsumexp(logits, axis=-1, keepdims=True)
        chosen = jnp.take_along_axis(logits, targets[:, None], axis=-1)
        shares = jnp.exp(logits - top)
        return last, shares @ head - head[targets], (top - chosen)[:, 0]

    return Programs(step, errors, losses, judged, logits)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How it is trained: Adam, a short rise of the step size, and a straight way down."""

    step_size: float
    rise: float = 0.1  #: The share of the steps in which the step size rises.

    def step_sizes(self, steps: int) -> npt.NDArray[np.float32]:
        """The step size of each step, float32 [steps]; two have the whole of it.

        >>> Recipe(1.0, rise=0.4).step_sizes(5).tolist()
        [0.5, 1.0, 1.0, 0.75, 0.5]
        """
        rise = max(1, round(steps * self.rise))
        number = np.arange(steps)
        falling = (steps - number + 1) / (steps - rise + 1)
        return (self.step_size * np.minimum((number + 1) / rise, falling)).astype(np.float32)


OPTIMIZER = optax.chain(optax.clip_by_global_norm(1.0), optax.scale_by_adam(b2=0.95))


def fine_tune(
    model: TunedModel,
    batches: Iterable[tuple[Batch, npt.NDArray[Any] | None]],
    steps: int,
    recipe: Recipe,
    key: jax.Array,
    progress: Callable[[int, float], None] | None = None,
) -> tuple[Weights, npt.NDArray[np.float32]]:
    """The weights after one step a batch, and the loss of each batch, float32 [steps].

    The loss is the mean over a batch's response tokens, as trainers have it.

    Args:
      model: what learns.
      batches: each with what the layers below made of it, [B, S, d], or None if all learn.
      steps: how many batches there are.
      recipe: the step sizes.
      key: for adapters.
      progress: gets the number of each step, and its loss.
    """
    own = model.start(key)
    moments = OPTIMIZER.init(own)
    losses = []
    sizes = recipe.step_sizes(steps)
    for number, (batch, x) in enumerate(batches):
        own, moments, loss = model.step(own, moments, batch, x, sizes[number])
        losses.append(loss)
        if progress is not None:
            progress(number, float(loss))
    return own, np.array(losses, np.float32)
