"""The steps of learning, and what is shown meanwhile."""

from __future__ import annotations

import math
import pathlib
from collections.abc import Callable
from typing import Any

import jax

from mig_jax.commands.terminal import progress_bar, say
from mig_jax.learning import (
    WEIGHTS_AND_SHAPES,
    BestStart,
    ByLabel,
    Chosen,
    Free,
    Inputs,
    KnownShapes,
    LearningStep,
    Parameterisation,
    Task,
    known_shapes,
    learn_from_starts,
    leave_one_out,
    refuse_other_settings,
    select_learned,
)
from mig_jax.reports import PastRunsReport

__all__ = ["Learning", "kept_in_words", "refuse_others"]

_NAMES: dict[ByLabel, str] = {
    ByLabel(0, 0): "shared alone",
    ByLabel(1, 0): "weights alone",
    ByLabel(0, 1): "shapes alone",
    WEIGHTS_AND_SHAPES: "weights and shapes",
}
_PARTS = (ByLabel(0, 0), ByLabel(1, 0), ByLabel(0, 1))
_FROM_FEWEST = (ByLabel(0, 0), ByLabel(1, 0), WEIGHTS_AND_SHAPES)


class Learning:
    """What is learned for a task, and of less freedom beside it; goes on where it was stopped."""

    def __init__(
        self,
        inputs: Inputs,
        task: Task,
        starts: Callable[[ByLabel], list[Parameterisation]],
        folder: pathlib.Path,
        *,
        settings: dict[str, Any],
        steps: int,
        with_parts: bool = False,
    ) -> None:
        """Takes what learning starts from.

        Args:
          inputs: the pool, the budgets and the seed.
          task: what is learned for.
          starts: by what labels may differ in, what is learned, at each threshold to start from.
          folder: for the states.
          settings: of the program, by which another program's states are told apart.
          steps: most steps from each start.
          with_parts: whether `parts` will be asked for.
        """
        self._inputs, self._task, self._starts, self._folder = inputs, task, starts, folder
        self._settings, self._steps = settings, steps
        #: How runs left out were placed, after `best`; none if nothing is learned from runs.
        self.past_runs: PastRunsReport | None = None
        # How often it learns, which is told: of how many this is one.
        self._begun = 0
        self._total = 1 if task.past_runs is None else len(_FROM_FEWEST)
        if with_parts and task.objective.needs_selection:
            self._total += len(_PARTS)

    def best(self) -> BestStart:
        """What is learned: of past runs as little as need be, of all else weights and shapes."""
        if self._task.past_runs is None:
            return self._learn(WEIGHTS_AND_SHAPES)
        return self._from_past_runs(len(self._task.past_runs.picks))

    def known_shapes(self, best: BestStart) -> KnownShapes | None:
        """How well the shape of each label is known, if each has its own and selections tell."""
        parameterisation, task, inputs = best.parameterisation, self._task, self._inputs
        phi = best.found.learned.measure.score_function
        if (
            not isinstance(parameterisation, Free)
            or not task.objective.needs_selection
            or phi.shape_name is None
        ):
            return None
        with progress_bar("finding which shapes the data determine", None, leave=False):
            known = known_shapes(
                inputs.pool,
                inputs.graph,
                parameterisation,
                best.found.params,
                task.objective,
                inputs.budgets,
                jax.random.key(inputs.seed),
            )
        say(f"the data determine the shapes of {known.determined.sum():,} of {len(known.open):,}")
        return known

    def parts(self, best: BestStart) -> list[Chosen]:
        """What is selected if less is learned by label, at the best threshold."""
        if not self._task.objective.needs_selection:
            return []
        found = []
        for by_label in _PARTS:
            part = self._learn(by_label, only=best.number)
            candidate = select_learned(self._inputs, part.found.learned)
            name = _NAMES[by_label]
            found.append(Chosen(name, [candidate], part.seconds, is_part=True))
        return found

    def _from_past_runs(self, runs: int) -> BestStart:
        """The fewest parameters that place runs left out as well as more do.

        More are taken only where they place the runs better by more than chance does: the standard
        deviation of a rank correlation of S runs that have nothing to do with each other.
        """
        chance = 1 / math.sqrt(max(runs - 1, 1))
        best: BestStart | None = None
        kept = _FROM_FEWEST[0]
        placed: dict[ByLabel, float] = {}
        for by_label in _FROM_FEWEST:
            found = self._learn(by_label)
            placed[by_label] = self._leave_one_out(by_label, found.parameterisation)
            if best is None or placed[by_label] > placed[kept] + chance:
                best, kept = found, by_label
        assert best is not None
        correlations = {_NAMES[by_label]: value for by_label, value in placed.items()}
        self.past_runs = PastRunsReport(runs, correlations, _NAMES[kept], chance)
        say(
            f"kept: {_NAMES[kept]}; rank correlation of runs left out "
            + ", ".join(f"{value:+.2f} with {name}" for name, value in correlations.items())
        )
        return best

    def _learn(self, by_label: ByLabel, only: int | None = None) -> BestStart:
        inputs, task, steps = self._inputs, self._task, self._steps
        starts = self._starts(by_label)
        if only is not None:
            starts = [starts[only]]
        total = steps * (1 if task.matches_gains else len(starts))
        folder = _folder_of(self._folder, _NAMES[by_label])
        self._begun += 1
        which = f" ({self._begun} of {self._total})" if self._total > 1 else ""
        name = f"learning {_NAMES[by_label]}{which}"

        def at(done: int) -> str:
            if total == steps:
                return name
            return f"{name}, start {max(-(-done // steps), 1)} of {len(starts)}"

        with progress_bar(at(0), total, unit="steps") as bar:

            def on_match(done: int, rounds: int) -> None:
                bar.set_postfix_str(f"finding where to start, {done} of {rounds} tries")

            def on_step(step: LearningStep) -> None:
                if bar.n == 0:  # Before came matching, compiling, and steps of earlier runs.
                    bar.is_ready(step.done)
                bar.rename(at(step.done + step.spared))
                losses = f"loss {step.fitted:.4f}, on held-out data {step.held_out:.4f}"
                stopped = ", which falls no more" if total - step.spared < (bar.total or 0) else ""
                bar.set_postfix_str(losses + stopped, refresh=False)
                bar.total = total - step.spared
                bar.update(step.done - bar.n)

            return learn_from_starts(
                inputs, task, starts, folder, self._settings, steps, on_step, on_match
            )

    def _leave_one_out(self, by_label: ByLabel, parameterisation: Parameterisation) -> float:
        """How well past runs are placed by what is learned from the others."""
        past_runs = self._task.past_runs
        assert past_runs is not None
        inputs = self._inputs
        title = f"leaving out one past run each, {_NAMES[by_label]}"
        with progress_bar(title, len(past_runs.picks), unit="runs") as bar:
            correlation, _ = leave_one_out(
                inputs.pool,
                inputs.graph,
                parameterisation,
                past_runs.picks,
                past_runs.results,
                jax.random.key(inputs.seed),
                seed=inputs.seed,
                steps=self._steps,
                on_subset=lambda done: bar.update(done - bar.n),
            )
        return correlation


def kept_in_words(best: BestStart, task: Task) -> str:
    """What the steps came to, and what is kept: without a better one it is the start."""
    found = best.found
    first, steps = found.history[0].held_out, int(found.state.step)
    matched = " with the weights and shapes by which gains match" if task.matches_gains else ""
    text = f"loss on held-out data: {first:.4f}{matched or ' at the start'}"
    if found.best_step:
        lowest = float(found.state.best_loss)
        return f"{text}, {lowest:.4f} with what is kept, that of step {found.best_step} of {steps}"
    if matched:
        return f"{text}; {steps} steps from there did not improve it: these are kept"
    return f"{text}; the start was not improved in {steps} steps, and is kept"


def refuse_others(folder: pathlib.Path, settings: dict[str, Any]) -> None:
    """Refuses the folder of another `Learning`, by the settings that are known before its pool.

    Raises:
      InputError: if the states in it are of other settings.
    """
    for name in _NAMES.values():
        refuse_other_settings(_folder_of(folder, name), settings)


def _folder_of(folder: pathlib.Path, name: str) -> pathlib.Path:
    return folder / name.replace(" ", "_")
