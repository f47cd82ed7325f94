"""Learning from one or several starts, with progress, that goes on where it was stopped."""

from __future__ import annotations

import dataclasses
import pathlib
import sys
import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import tqdm

from mig_jax.learning._learn import Learned, LearningState, initial_state, learn
from mig_jax.learning._learning_states import LearningStates, learning_run
from mig_jax.learning._parameters import Parameterisation
from mig_jax.learning._tasks import Inputs, Task

__all__ = ["BestStart", "learn_from_starts"]

_SAVE_EVERY_SECONDS = 5.0


@dataclasses.dataclass(frozen=True)
class BestStart:
    """The start from which the held-out loss came to be lowest, and what was learned there."""

    parameterisation: Parameterisation
    found: Learned
    seconds: float  # Of learning from all starts, also those before a stop.


def learn_from_starts(
    inputs: Inputs,
    task: Task,
    starts: Sequence[Parameterisation],
    folder: pathlib.Path,
    settings: dict[str, Any],
    steps: int,
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
    """
    runs = []
    with tqdm.tqdm(
        desc="learning", total=steps * len(starts), unit="steps", file=sys.stderr
    ) as bar:
        for number, parameterisation in enumerate(starts):
            found, seconds = _learn(
                inputs, task, parameterisation, folder / str(number), settings, steps, bar
            )
            bar.update(steps * (number + 1) - bar.n)  # Where learning has stopped early.
            runs.append((found, seconds))
    best = min(range(len(starts)), key=lambda number: float(runs[number][0].state.best_loss))
    return BestStart(starts[best], runs[best][0], sum(seconds for _, seconds in runs))


def _learn(
    inputs: Inputs,
    task: Task,
    parameterisation: Parameterisation,
    folder: pathlib.Path,
    settings: dict[str, Any],
    steps: int,
    bar: tqdm.tqdm,
) -> tuple[Learned, float]:
    key = jax.random.key(inputs.seed)
    parts = (inputs.pool, inputs.graph, parameterisation, task.objective)
    clock = folder.with_suffix(".seconds")  # Beside the states, whose folder is theirs alone.
    with LearningStates(folder, learning_run(*parts, settings)) as states:
        resume = states.restore(
            initial_state(inputs.graph, parameterisation, key, steps=steps),
            on_damaged=lambda step: inputs.say(f"passed over a damaged state after {step} steps"),
        )
        before = bar.n
        bar.update(0 if resume is None else int(resume.step))
        spent = float(clock.read_text()) if resume is not None and clock.exists() else 0.0
        saved_at = time.perf_counter()
        start = saved_at - spent

        def on_step(state: LearningState, temperature: float) -> None:
            nonlocal saved_at
            losses = np.asarray(state.history)
            fitted, held_out = losses[~np.isnan(losses[:, 0])][-1]
            bar.set_postfix_str(
                f"loss {fitted:.4f}, held out {held_out:.4f}, temperature {temperature:.3f}",
                refresh=False,
            )
            bar.update(before + int(state.step) - bar.n)
            if time.perf_counter() - saved_at > _SAVE_EVERY_SECONDS:
                states.save(state)
                clock.write_text(str(time.perf_counter() - start))
                saved_at = time.perf_counter()

        found = learn(*parts, inputs.budget, key, steps=steps, resume=resume, on_step=on_step)
        seconds = time.perf_counter() - start
        states.save(found.state)
        clock.write_text(str(seconds))
    return found, seconds
