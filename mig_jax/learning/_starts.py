"""Learning from one or several starts, which goes on where it was stopped."""

from __future__ import annotations

import dataclasses
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mig_jax.learning._label_features import FeatureBasis, fit_feature_basis, label_features
from mig_jax.learning._learn import Learned, LearningState, initial_state, learn
from mig_jax.learning._learning_states import LearningStates, learning_run
from mig_jax.learning._parameterisations import Free, FromFeatures
from mig_jax.learning._parameters import Parameterisation, shared_start
from mig_jax.learning._tasks import Inputs, Task

__all__ = [
    "HIGHEST_THRESHOLD",
    "LOWEST_THRESHOLD",
    "PRIOR",
    "START_THRESHOLD",
    "BestStart",
    "LearningStep",
    "learn_from_starts",
    "parameters_of_features",
    "parameters_of_labels",
]

# T is learned between the first two. Edges below the lowest are not in the graph at all.
LOWEST_THRESHOLD, HIGHEST_THRESHOLD = 0.6, 0.97
START_THRESHOLD = 0.65
PRIOR = 1e-3
_SAVE_EVERY_SECONDS = 5.0


def parameters_of_labels(
    inputs: Inputs,
    start_threshold: float = START_THRESHOLD,
    *,
    lowest_threshold: float = LOWEST_THRESHOLD,
    prior: float = PRIOR,
) -> Free:
    """A value for each label of the pool, which also moves along the labels' features.

    Args:
      inputs: the pool, and its graph from `lowest_threshold`.
      start_threshold: where T starts; all else starts at the paper's settings.
      lowest_threshold: T stays above.
      prior: how strongly labels are pulled towards the values that they share.
    """
    basis = fit_feature_basis(inputs.pool, inputs.graph, inputs.embeddings)
    return Free(
        num_labels=inputs.graph.num_labels,
        directions=label_features(basis, inputs.pool, inputs.graph, inputs.embeddings),
        **_common(start_threshold, lowest_threshold, prior),
    )


def parameters_of_features(
    inputs: Inputs,
    start_threshold: float = START_THRESHOLD,
    *,
    basis: FeatureBasis | None = None,
    lowest_threshold: float = LOWEST_THRESHOLD,
    prior: float = PRIOR,
) -> FromFeatures:
    """A function of label features, for any pool; arguments as in `parameters_of_labels`.

    `basis` is what features are computed with: by default it is fitted to this pool.
    """
    if basis is None:
        basis = fit_feature_basis(inputs.pool, inputs.graph, inputs.embeddings)
    return FromFeatures(
        features=label_features(basis, inputs.pool, inputs.graph, inputs.embeddings),
        basis=basis,
        **_common(start_threshold, lowest_threshold, prior),
    )


def _common(start_threshold: float, lowest_threshold: float, prior: float) -> dict[str, Any]:
    return {
        "start": shared_start(threshold=start_threshold),
        "lowest_threshold": jnp.asarray(lowest_threshold),
        "highest_threshold": jnp.asarray(HIGHEST_THRESHOLD),
        "prior": jnp.asarray(prior),
    }


@dataclasses.dataclass(frozen=True)
class BestStart:
    """The start from which the held-out loss came to be lowest, and what was learned there."""

    parameterisation: Parameterisation
    found: Learned
    seconds: float  # Of learning from all starts, also those before a stop.


@dataclasses.dataclass(frozen=True)
class LearningStep:
    """How far learning is."""

    done: int  # Steps of all starts; if one stopped early, those it spared count too.
    fitted: float  # The losses last recorded.
    held_out: float
    temperature: float


def learn_from_starts(
    inputs: Inputs,
    task: Task,
    starts: Sequence[Parameterisation],
    folder: pathlib.Path,
    settings: dict[str, Any],
    steps: int,
    on_step: Callable[[LearningStep], None] | None = None,
) -> BestStart:
    """Learns from each start, and keeps the one with the lowest held-out loss.

    The loss of a threshold T has more than one valley, and steps are too small to leave one.

    Args:
      inputs: the pool and the seed.
      task: the objective.
      starts: of the same number of labels; the first of equals is kept.
      folder: for the states of each start; the same call with the same folder goes on.
      settings: of the program, by which another program's states are told apart.
      steps: most steps from each start.
      on_step: called after each step, and at the end of each start.
    """
    tell = on_step or (lambda step: None)
    runs = []
    for number, parameterisation in enumerate(starts):
        before = number * steps

        def on_state(state: LearningState, temperature: float, before: int = before) -> None:
            tell(_progress(before, state, temperature))

        found, seconds = _learn(
            inputs, task, parameterisation, folder / str(number), settings, steps, on_state
        )
        runs.append((found, seconds))
        last = _progress(before, found.state, found.history[-1].temperature)
        tell(dataclasses.replace(last, done=before + steps))  # It may have stopped early.
    best = min(range(len(starts)), key=lambda number: float(runs[number][0].state.best_loss))
    return BestStart(starts[best], runs[best][0], sum(seconds for _, seconds in runs))


def _progress(before: int, state: LearningState, temperature: float) -> LearningStep:
    losses = np.asarray(state.history)
    fitted, held_out = losses[~np.isnan(losses[:, 0])][-1].tolist()
    return LearningStep(before + int(state.step), fitted, held_out, temperature)


def _learn(
    inputs: Inputs,
    task: Task,
    parameterisation: Parameterisation,
    folder: pathlib.Path,
    settings: dict[str, Any],
    steps: int,
    on_state: Callable[[LearningState, float], None],
) -> tuple[Learned, float]:
    """What is learned from one start, and in how many seconds, stops left out."""
    key = jax.random.key(inputs.seed)
    parts = (inputs.pool, inputs.graph, parameterisation, task.objective)
    with LearningStates(folder, learning_run(*parts, settings)) as states:
        resume = states.restore(
            initial_state(inputs.graph, parameterisation, key, steps=steps),
            on_damaged=lambda step: inputs.say(f"passed over a damaged state after {step} steps"),
        )
        saved_at = time.perf_counter()
        start = saved_at - states.seconds

        def on_step(state: LearningState, temperature: float) -> None:
            nonlocal saved_at
            on_state(state, temperature)
            if time.perf_counter() - saved_at > _SAVE_EVERY_SECONDS:
                states.save(state, seconds=time.perf_counter() - start)
                saved_at = time.perf_counter()

        found = learn(*parts, inputs.budget, key, steps=steps, resume=resume, on_step=on_step)
        seconds = time.perf_counter() - start
        states.save(found.state, seconds=seconds)
    return found, seconds
