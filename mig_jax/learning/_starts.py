"""Learning from one or several starts, which goes on where it was stopped."""

from __future__ import annotations

import dataclasses
import pathlib
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mig_jax.learning._gain_matching import GainMatch, match_gains
from mig_jax.learning._label_features import FeatureBasis, fit_feature_basis, label_features
from mig_jax.learning._learn import Learned, LearningState, initial_state, learn
from mig_jax.learning._learning_states import LearningStates, learning_run
from mig_jax.learning._normalised_momentum import default_optimiser
from mig_jax.learning._parameterisations import (
    WEIGHTS_AND_SHAPES,
    ByLabel,
    Free,
    FromFeatures,
    typically_held,
)
from mig_jax.learning._parameters import (
    Parameterisation,
    Params,
    even_information,
    shared_start,
)
from mig_jax.learning._tasks import Inputs, Prior, Task
from mig_jax.learning.objectives import Objective
from mig_jax.measure import FAMILIES, ScoreFunction, family_name

__all__ = [
    "HIGHEST_THRESHOLD",
    "LOWEST_THRESHOLD",
    "START_THRESHOLD",
    "START_THRESHOLDS",
    "BestStart",
    "LearningStep",
    "learn_from_starts",
    "matched_start",
    "parameters_of_features",
    "parameters_of_labels",
]

# T is learned between the first two. Edges below the lowest are not in the graph at all.
LOWEST_THRESHOLD, HIGHEST_THRESHOLD = 0.6, 0.97
START_THRESHOLD = 0.65
#: Where gains are matched, to learn from the one where they match best.
START_THRESHOLDS = (0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
_STEPS_TO_COMPARE = 8  # Of matching at each of several thresholds, in their first round.
_ROUNDS, _STEPS_OF_ROUND = 3, 15  # At the best of them, the first included.
_SAVE_EVERY_SECONDS = 5.0


def parameters_of_labels(
    inputs: Inputs,
    start_threshold: float = START_THRESHOLD,
    *,
    lowest_threshold: float = LOWEST_THRESHOLD,
    prior: Prior = Task.prior,
    by_label: ByLabel = WEIGHTS_AND_SHAPES,
) -> Free:
    """A value for each label of the pool, which also moves along the labels' features.

    Args:
      inputs: the pool, and its graph from `lowest_threshold`.
      start_threshold: where T starts; α and β start at the paper's settings.
      lowest_threshold: T stays above.
      prior: the family of score functions, and how strongly labels are pulled towards one. Powers
        start at the paper's; rates at one over what a label typically holds of an even choice; all
        else at its defaults.
      by_label: what labels differ in; all else they share.
    """
    basis = fit_feature_basis(inputs.pool, inputs.graph, inputs.embeddings)
    return Free(
        num_labels=inputs.graph.num_labels,
        directions=label_features(basis, inputs.pool, inputs.graph, inputs.embeddings),
        **_common(inputs, start_threshold, lowest_threshold, prior, by_label),
    )


def parameters_of_features(
    inputs: Inputs,
    start_threshold: float = START_THRESHOLD,
    *,
    basis: FeatureBasis | None = None,
    lowest_threshold: float = LOWEST_THRESHOLD,
    prior: Prior = Task.prior,
    by_label: ByLabel = WEIGHTS_AND_SHAPES,
) -> FromFeatures:
    """A function of label features, for any pool; arguments as in `parameters_of_labels`.

    `basis` is what features are computed with: by default it is fitted to this pool.
    """
    if basis is None:
        basis = fit_feature_basis(inputs.pool, inputs.graph, inputs.embeddings)
    return FromFeatures(
        features=label_features(basis, inputs.pool, inputs.graph, inputs.embeddings),
        basis=basis,
        anchor_records=_in_midst(inputs),
        **_common(inputs, start_threshold, lowest_threshold, prior, by_label),
    )


def _common(
    inputs: Inputs, threshold: float, lowest_threshold: float, prior: Prior, by_label: ByLabel
) -> dict[str, Any]:
    start = shared_start(threshold=threshold)
    anchor = even_information(start, inputs.pool, inputs.graph, _in_midst(inputs))
    return {
        "start": shared_start(
            _first(prior.family, float(typically_held(anchor))), threshold=threshold
        ),
        "anchor": anchor,
        "lowest_threshold": jnp.asarray(lowest_threshold),
        "highest_threshold": jnp.asarray(HIGHEST_THRESHOLD),
        "prior": jnp.asarray(prior.strength),
        "by_label": ByLabel(*map(float, by_label)),
    }


def _first(family: str, held: float) -> ScoreFunction | None:
    """The score function that all labels start with, for labels that typically hold so much."""
    if family == family_name(shared_start().measure.score_function):
        return None  # What `shared_start` has.
    given = {"rate": 1 / held}
    names = {field.name for field in dataclasses.fields(FAMILIES[family])}
    return FAMILIES[family](**{name: given[name] for name in given if name in names})


def _in_midst(inputs: Inputs) -> float:
    return float(np.exp(np.mean(np.log(inputs.budgets))))


@dataclasses.dataclass(frozen=True)
class BestStart:
    """The start that was learned from, of several the best, and what was learned there."""

    number: int  # Of the starts.
    parameterisation: Parameterisation
    found: Learned
    seconds: float  # Of matching and learning, also those before a stop.


@dataclasses.dataclass(frozen=True)
class LearningStep:
    """How far learning is."""

    done: int  # Steps taken, from all starts.
    fitted: float  # The losses last recorded.
    held_out: float
    temperature: float
    spared: int = 0  # Steps that starts which stopped early did not need.


def learn_from_starts(
    inputs: Inputs,
    task: Task,
    starts: Sequence[Parameterisation],
    folder: pathlib.Path,
    settings: dict[str, Any],
    steps: int,
    on_step: Callable[[LearningStep], None] | None = None,
    on_match: Callable[[int, int], None] | None = None,
) -> BestStart:
    """Learns from the start at which gains match best, from the parameters by which they do.

    The loss of a threshold T has more than one valley, and steps are too small to leave one. Where
    there are no gains to match (`Task.matches_gains`), it is learned from each start, and the one
    with the lowest held-out loss is kept.

    Args:
      inputs: the pool, the budgets and the seed.
      task: the objective.
      starts: of the same number of labels; the first of equals is kept.
      folder: for the states of each start; the same call with the same folder goes on.
      settings: of the program, by which another program's states are told apart.
      steps: most steps from each start.
      on_step: called after each step, and at the end of each start.
      on_match: called after each round of matching, before the steps: how many are done, of all.
    """
    tell = on_step or (lambda step: None)
    if task.matches_gains:
        match = _Match(inputs, task.objective, starts, on_match)
        groups = [(folder, list(range(len(starts))))]
    else:
        # The first in the folder itself: it refuses what is of another run.
        folders = [folder, *(folder / f"start_{number}" for number in range(1, len(starts)))]
        match, groups = None, [(own, [number]) for number, own in enumerate(folders)]
    runs: list[BestStart] = []
    for place, (own, numbers) in enumerate(groups):
        before = sum(int(run.found.state.step) for run in runs)
        spared = place * steps - before

        def on_state(
            state: LearningState, temperature: float, before: int = before, spared: int = spared
        ) -> None:
            tell(_progress(before, spared, state, temperature))

        run = _learn(
            inputs, task, [(n, starts[n]) for n in numbers], match, own, settings, steps, on_state
        )
        runs.append(run)
        spared += steps - int(run.found.state.step)
        tell(_progress(before, spared, run.found.state, run.found.history[-1].temperature))
    best = min(runs, key=lambda run: float(run.found.state.best_loss))
    return dataclasses.replace(best, seconds=sum(run.seconds for run in runs))


def matched_start(
    inputs: Inputs,
    objective: Objective,
    starts: Sequence[Parameterisation],
    on_match: Callable[[int, int], None] | None = None,
) -> tuple[Parameterisation, Params]:
    """The start at which gains match best after a first round, and the parameters after all.

    Args:
      inputs: the pool, the budgets and the seed.
      objective: of selections (`needs_selection`).
      starts: of the same number of labels; the first of equals is taken.
      on_match: called with the number of rounds done, and of all.
    """
    number, params = _Match(inputs, objective, starts, on_match).best()
    return starts[number], params


class _Match:
    """Gains matched at each of several starts, and how far that is."""

    def __init__(
        self,
        inputs: Inputs,
        objective: Objective,
        starts: Sequence[Parameterisation],
        on_match: Callable[[int, int], None] | None,
    ) -> None:
        self._inputs, self._objective = inputs, objective
        self._starts, self._on_match = starts, on_match
        self._total, self._done = len(starts) + _ROUNDS - 1, 0

    def best(self) -> tuple[int, Params]:
        """The start with the lowest residual after one round, and its parameters after all."""
        best, number = None, 0
        alone = len(self._starts) == 1
        steps = _STEPS_OF_ROUND if alone else _STEPS_TO_COMPARE
        for place in range(len(self._starts)):
            match = self._match(place, 1, steps)
            if np.isfinite(match.residual) and (best is None or match.residual < best.residual):
                best, number = match, place
        if best is None:
            raise FloatingPointError("gains cannot be matched: they are not finite")
        return number, self._match(number, _ROUNDS - 1, _STEPS_OF_ROUND, after=best).params

    def _match(
        self, number: int, rounds: int, steps: int, after: GainMatch | None = None
    ) -> GainMatch:
        inputs = self._inputs
        return match_gains(
            inputs.pool,
            inputs.graph,
            self._starts[number],
            self._objective,
            _spread(inputs.budgets),
            jax.random.key(inputs.seed),
            rounds=rounds,
            steps=steps,
            after=after,
            on_round=self._on_round,
        )

    def _on_round(self, _: int) -> None:
        self._done += 1
        if self._on_match is not None:
            self._on_match(self._done, self._total)


def _spread(budgets: Sequence[int]) -> list[int]:
    """The least, the middle one and the most: three sizes tell a shape, more take longer."""
    ordered = sorted(budgets)
    return sorted({ordered[0], ordered[len(ordered) // 2], ordered[-1]})


def _progress(before: int, spared: int, state: LearningState, temperature: float) -> LearningStep:
    losses = np.asarray(state.history)
    fitted, held_out = losses[~np.isnan(losses[:, 0])][-1].tolist()
    return LearningStep(before + int(state.step), fitted, held_out, temperature, spared)


def _learn(
    inputs: Inputs,
    task: Task,
    starts: Sequence[tuple[int, Parameterisation]],
    match: _Match | None,
    folder: pathlib.Path,
    settings: dict[str, Any],
    steps: int,
    on_state: Callable[[LearningState, float], None],
) -> BestStart:
    """What is learned from one start: the only one, or the best by matching."""
    key, budgets = jax.random.key(inputs.seed), inputs.budgets
    of_pool, objective = (inputs.pool, inputs.graph), task.objective
    settings = settings | {"budgets": budgets}
    numbers, parameterisations = zip(*starts, strict=True)
    run = learning_run(*of_pool, parameterisations, objective, settings)
    with LearningStates(folder, run) as states:
        optimiser = default_optimiser(task.learning_rate)
        make = partial(
            initial_state, inputs.graph, key=key, steps=steps, budgets=budgets, optimiser=optimiser
        )
        # Of all starts, parameters are of the same shapes.
        state = states.restore(
            make(parameterisations[0]),
            on_damaged=lambda step: inputs.say(f"passed over a damaged state after {step} steps"),
        )
        number = numbers[0] if state is None else states.start
        start = time.perf_counter() - states.seconds
        if state is None and match is not None:
            number, params = match.best()
            state = make(dict(starts)[number], params=params)
            states.save(state, seconds=time.perf_counter() - start, start=number)
        parameterisation = dict(starts)[number]
        saved_at = time.perf_counter()

        def save(state: LearningState) -> None:
            states.save(state, seconds=time.perf_counter() - start, start=number)

        def on_step(state: LearningState, temperature: float) -> None:
            nonlocal saved_at
            on_state(state, temperature)
            if time.perf_counter() - saved_at > _SAVE_EVERY_SECONDS:
                save(state)
                saved_at = time.perf_counter()

        found = learn(
            *of_pool,
            parameterisation,
            objective,
            budgets,
            key,
            steps=steps,
            optimiser=optimiser,
            resume=state,
            on_step=on_step,
        )
        seconds = time.perf_counter() - start
        save(found.state)
    return BestStart(number, parameterisation, found, seconds)
