"""Models of one base that learn at once, each on a selection of its own.

A small model leaves most of an accelerator idle. Its step is vmapped here: K models learn in
about the time of a few. On two cores it saves nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import numpy.typing as npt

from ._architecture import Architecture, Weights
from ._packing import Batch, with_room
from ._tuning import OPTIMIZER, Recipe, TunedModel, Tuning, programs_of

__all__ = ["fine_tune_side_by_side", "judged_side_by_side"]

Batches = Sequence[tuple[Batch, npt.NDArray[Any] | None]]


class _Programs(NamedTuple):
    """As for one model; what stays is shared, and so is what models are asked about."""

    step: Callable[..., Any]
    judged: Callable[..., tuple[jax.Array, jax.Array]]


@functools.cache
def _programs(architecture: Architecture, tuning: Tuning) -> _Programs:
    one = programs_of(architecture, tuning)
    step = jax.vmap(one.step, in_axes=(0, 0, None, 0, 0, 0))
    judged = jax.vmap(one.judged, in_axes=(0, *[None] * 5))
    return _Programs(jax.jit(step, donate_argnums=(0, 1)), jax.jit(judged))


def fine_tune_side_by_side(
    model: TunedModel,
    selections: Sequence[Batches],
    recipe: Recipe,
    keys: Sequence[jax.Array],
    progress: Callable[[int], None] | None = None,
) -> tuple[Weights, list[npt.NDArray[np.float32]]]:
    """What `fine_tune` gives for each of K selections: weights [K, ...], and losses.

    They may differ in how many steps they take: one that is done waits for the others, its
    weights stay as they are.

    Args:
      model: what learns, on each of them from the start.
      selections: K, each in batches of the same shape.
      recipe: the step sizes, by the steps of each.
      keys: K, for adapters.
      progress: gets the number of each step.

    Raises:
      ValueError: if one of them has no batch.
    """
    if not all(map(len, selections)):
        raise ValueError("selections: found one without batches, expected at least one in each")
    own = jax.vmap(model.start)(jax.numpy.stack(keys))
    moments = jax.vmap(OPTIMIZER.init)(own)
    step = _programs(model.architecture, model.tuning).step
    steps = max(map(len, selections))
    sizes = np.zeros((steps, len(selections)), np.float32)
    for k, batches in enumerate(selections):
        sizes[: len(batches), k] = recipe.step_sizes(len(batches))
    room = max(len(batch.at) for batches in selections for batch, _ in batches)
    losses = []
    for number in range(steps):
        parts = [batches[min(number, len(batches) - 1)] for batches in selections]
        batch, x = _stacked([with_room(one, room) for one, _ in parts], [x for _, x in parts])
        own, moments, loss = step(own, moments, model.fixed, batch, x, sizes[number])
        losses.append(loss)
        if progress is not None:
            if number:  # The device is always one step behind.
                losses[number - 1].block_until_ready()
            progress(number)
    found = np.array(losses, np.float32).reshape(steps, len(selections))
    return own, [found[: len(batches), k] for k, batches in enumerate(selections)]


def _stacked(
    batches: Sequence[Batch], activations: Sequence[npt.NDArray[Any] | None]
) -> tuple[Batch, npt.NDArray[Any] | None]:
    x = (
        None
        if activations[0] is None
        else np.stack([one for one in activations if one is not None])
    )
    return Batch(*map(np.stack, zip(*batches, strict=True))), x


def judged_side_by_side(
    model: TunedModel,
    own: Weights,
    batch: Batch,
    x: npt.NDArray[Any] | None,
    asked: npt.NDArray[np.int32],
    tokens: npt.NDArray[np.int32],
) -> tuple[jax.Array, jax.Array]:
    """What `TunedModel.judged` gives for each of K models: [K, M] and [K, choices, C]."""
    program = _programs(model.architecture, model.tuning).judged
    return program(own, model.fixed, batch, x, asked, tokens)
