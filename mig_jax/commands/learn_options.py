"""The flags of `mig-jax learn`, and what they stand for."""

from __future__ import annotations

import dataclasses
import filecmp
import math
import os
from collections.abc import Callable
from typing import Any

import numpy as np
from absl import flags

from mig_jax import data
from mig_jax.commands.flag_groups import (
    InputOptions,
    check_input_flags,
    define_input_flags,
)
from mig_jax.commands.flag_sections import Section
from mig_jax.commands.flag_values import File, Folder, Name, WholeNumber, adder
from mig_jax.commands.idle_flags import refuse_idle
from mig_jax.errors import InputError
from mig_jax.learning import (
    HIGHEST_THRESHOLD,
    LOWEST_THRESHOLD,
    OBJECTIVES,
    RIVAL_THRESHOLDS,
    START_THRESHOLDS,
    ByLabel,
    Inputs,
    Parameterisation,
    Prior,
    RivalThresholds,
    Task,
    parameters_of_features,
    parameters_of_labels,
    thresholds_that_fit,
)
from mig_jax.measure import FAMILIES, PAPER, USUAL_NEIGHBOURS, threshold_of_neighbours
from mig_jax.synthetic import BuiltinPool

__all__ = ["Options", "define_flags", "options_of"]

_PLANTED = "planted"
_STEPS = 120
_MARGIN = 0.01  # Of a start to the bounds of T, which it never reaches.
_MOST_NEIGHBOURS = 2 * USUAL_NEIGHBOURS  # T is not learned from where labels have more.
_DEFAULT_STARTS = ",".join(f"{threshold:g}" for threshold in START_THRESHOLDS)


@dataclasses.dataclass(frozen=True)
class Options(InputOptions):
    """The flags of the command; `--help` explains each."""

    workdir: str
    objective: str
    validation: str | None
    test: str | None
    task: str | None
    budget: int
    budgets: list[int]
    steps: int
    seed: int
    parameters: str
    ablation: bool
    score_function: str | None
    prior: float | None
    lowest_threshold: float | None  # None: `with_thresholds_that_fit` decides.
    start_thresholds: list[float]  # None of them: that or the task decides.

    @property
    def builtin_pool(self) -> BuiltinPool:
        return BuiltinPool(seed=self.seed)

    def files(self) -> list[str]:
        return [*super().files(), *data.local_files(filter(None, [self.validation, self.test]))]

    def settings(self) -> dict[str, Any]:
        """The flags that decide the result."""
        given = dataclasses.asdict(self)
        return {name: given[name] for name in given if name not in ("workdir", "cache")}

    def known_settings(self) -> dict[str, Any]:
        """Those of `settings` that the pool does not change any more."""
        known = self.settings()
        budgets = tuple(known.pop("budgets"))  # As they are learned for.
        if budgets:
            known["budgets"] = budgets
        if self.pool:
            open_ones = ["lowest_threshold"] * (self.lowest_threshold is None)
            open_ones += ["start_thresholds"] * (not self.start_thresholds)
            known = {name: known[name] for name in known if name not in open_ones}
        return known

    def prior_of(self, task: Task) -> Prior:
        """What the flags say, and the task where they say nothing."""
        strength = task.prior.strength if self.prior is None else self.prior
        return Prior(self.score_function or task.prior.family, strength)

    def thresholds(self, task: Task) -> list[float]:
        """Where T starts: as the flag says, or at each; near the paper's where gains are noise."""
        if self.start_thresholds:
            return self.start_thresholds
        assert self.lowest_threshold is not None
        every = [start for start in START_THRESHOLDS if start > self.lowest_threshold]
        return [min(every, key=lambda t: abs(t - PAPER.threshold))] if task.noisy else every

    def with_thresholds_that_fit(
        self,
        embeddings: np.ndarray,
        present: np.ndarray | None,
        say: Callable[[str], None],
    ) -> Options:
        """On a pool of one's own, T starts where labels have the usual number of neighbours.

        And it stays above 0.6, or above where they have twice as many, if from 0.6 on they have
        more, or T starts below. What the flags say counts.
        """
        if not self.pool:
            return self
        starts, lowest = self.start_thresholds, self.lowest_threshold
        if not starts:
            usual = threshold_of_neighbours(embeddings, present=present)
            above = (0 if lowest is None else lowest) + _MARGIN
            starts = [round(min(max(usual, above), HIGHEST_THRESHOLD - _MARGIN), 3)]
            beyond = "" if starts == [usual] else ", beyond where T is learned"
            lower = "; a lower --lowest_threshold lets it start there" if usual < above else ""
            say(
                f"labels have {USUAL_NEIGHBOURS:g} neighbours in the mean at similarity {usual:g}"
                f"{beyond}: T starts at {starts[0]:g}{lower}; --start_thresholds sets others"
            )
        if lowest is None:
            low = threshold_of_neighbours(embeddings, _MOST_NEIGHBOURS, present=present)
            start = min(starts) - _MARGIN
            fits = low < LOWEST_THRESHOLD <= start  # Learning was measured with it.
            lowest = LOWEST_THRESHOLD if fits else round(max(min(low, start), 0.0), 3)
        return dataclasses.replace(self, start_thresholds=starts, lowest_threshold=lowest)

    def rival_thresholds(self, inputs: Inputs) -> RivalThresholds:
        """From where on the paper and the grid join labels: as fits the embeddings of a pool."""
        return thresholds_that_fit(inputs.embeddings) if self.pool else RIVAL_THRESHOLDS

    def starts(self, inputs: Inputs, task: Task, by_label: ByLabel) -> list[Parameterisation]:
        """What is learned, at each threshold that learning starts from."""
        make: Any = parameters_of_labels if self.parameters == "free" else parameters_of_features
        common: dict[str, Any] = {"lowest_threshold": self.lowest_threshold, "by_label": by_label}
        common["prior"] = self.prior_of(task)
        return [make(inputs, start, **common) for start in self.thresholds(task)]


def define_flags(values: flags.FlagValues) -> None:
    add = adder(values)
    learning = add.under(Section.LEARNING)
    define_input_flags(add)
    add(Folder, "workdir", None, "Folder for all that is written.")
    add(
        flags.DEFINE_enum,
        "objective",
        _PLANTED,
        list(OBJECTIVES),
        "What the selection is to be good for.",
    )
    add(
        File,
        "validation",
        None,
        "What to learn from. target, validation: JSON lines with conversations (and labels, and "
        "task if records are of several); subsets: CSV with the columns subset (a table of picks, "
        "as mig-jax select writes it) and score; imitation: a table of picks.",
    )
    add(
        File,
        "test",
        None,
        "The same, to report on; never learned from. All objectives but planted need it.",
    )
    learning(Name, "task", None, "Only records of this `task` in both files.")
    add(flags.DEFINE_integer, "budget", 500, "Records to select.", lower_bound=1)
    learning(
        flags.DEFINE_list,
        "budgets",
        [],
        "The numbers of records that are learned for, in turn; one measure then serves any "
        "between. A quarter of --budget, itself and four times as many without.",
    )
    learning(flags.DEFINE_integer, "steps", _STEPS, "Most steps of learning.", lower_bound=1)
    learning(
        flags.DEFINE_integer,
        "seed",
        0,
        "Of all that is random, the built-in pool included.",
        lower_bound=0,
    )
    learning(
        flags.DEFINE_enum,
        "parameters",
        "free",
        ["free", "features"],
        "Learn values for the labels of this pool, or a function of label features for any pool.",
    )
    learning(
        flags.DEFINE_boolean,
        "ablation",
        True,
        "Learn once more with weights alone, shapes alone and neither by label, so that the report "
        "tells what each brings; not for subsets and imitation.",
    )
    learning(
        flags.DEFINE_enum,
        "score_function",
        None,
        list(FAMILIES),
        "The family of the score functions that are learned; log for validation, power for all "
        "else without.",
    )
    learning(
        flags.DEFINE_float,
        "prior",
        None,
        "How strongly labels are pulled towards the values they share: the more, the noisier the "
        "data. 1e-5 for planted, 0.1 for validation, 1e-3 for all else without.",
        lower_bound=0.0,
    )
    learning(
        flags.DEFINE_float,
        "lowest_threshold",
        None,
        f"Edges less similar are not considered, and T stays above. Without, {LOWEST_THRESHOLD:g}; "
        "on a pool of your own the similarity at which labels have "
        f"{_MOST_NEIGHBOURS:g} neighbours in the mean, if from {LOWEST_THRESHOLD:g} on they have "
        "more, or T starts below.",
        lower_bound=0.0,
        upper_bound=1.0,
    )
    learning(
        flags.DEFINE_list,
        "start_thresholds",
        None,
        "Where T may start. planted, target: gains are matched at each of these numbers, and "
        "learning goes on from the one where they match best. All else is learned from each, and "
        "the one with the lowest held-out loss is kept. Without, the one at which labels have "
        f"{USUAL_NEIGHBOURS:g} neighbours in the mean; on the built-in pool {_DEFAULT_STARTS}, of "
        "these those above --lowest_threshold.",
    )


def options_of(values: flags.FlagValues) -> Options:
    check_input_flags(values)
    has_files = values.validation is not None or values.test is not None
    refuse_idle(values, ["task"], has_files, "--validation=FILE")
    if values.objective == "validation" and not values.pool:
        raise InputError("--objective=validation: needs --pool=FILE with real conversations")
    _check_files(values)
    given = values.flag_values_dict()
    builtin = None if values.pool else LOWEST_THRESHOLD
    lowest = builtin if values.lowest_threshold is None else values.lowest_threshold
    given["lowest_threshold"] = lowest
    starts = values.start_thresholds or []
    if lowest is not None and not starts and lowest >= START_THRESHOLDS[-1]:
        raise InputError(
            f"--lowest_threshold: found {lowest:g}, expected below {START_THRESHOLDS[-1]:g}, or "
            "--start_thresholds above it"
        )
    given["start_thresholds"] = [_start(text, lowest) for text in starts]
    if values.objective in ("subsets", "imitation") and values.budgets:
        raise InputError(
            f"--budgets: --objective={values.objective} is not of selections; expected none"
        )
    given["budgets"] = [_budget(text) for text in values.budgets]
    return Options(**given)


def _check_files(values: flags.FlagValues) -> None:
    """Raises InputError if a file is missing, or there is one too many: before a pool is read."""
    for flag in ("validation", "test"):
        path = values[flag].value
        if values.objective == _PLANTED and path is not None:
            others = ", ".join(name for name in OBJECTIVES if name not in (_PLANTED, "validation"))
            raise InputError(
                f"--objective={_PLANTED}: brings its own data, and is the default; expected no "
                f"--{flag}, or --objective=validation (or {others}) to learn from yours"
            )
        if values.objective != _PLANTED and not path:
            raise InputError(f"--objective={values.objective}: needs --{flag}=FILE")
        if path and not any(map(_may_exist, data.local_files([path]))):
            raise InputError(f"--{flag}: found {path}, expected a file that exists")
    files = [path for path in (values.validation, values.test) if path and os.path.isfile(path)]
    if len(files) == 2 and filecmp.cmp(files[0], files[1], shallow=False):
        raise InputError(
            f"--test: {values.test} says the same as --validation={values.validation}; expected "
            "other data, which learning does not see"
        )


def _may_exist(path: str) -> bool:
    return ":" in path or path == "-" or os.path.exists(path)  # Addresses are looked at later.


def _budget(text: str) -> int:
    try:
        return WholeNumber(1).parse(text)
    except ValueError:
        told = f"--budgets: found {text}, expected whole numbers of at least 1"
        raise InputError(told) from None


def _start(text: str | float, lowest: float | None) -> float:
    above = 0.0 if lowest is None else lowest
    try:
        threshold = float(text)
    except ValueError:
        threshold = math.nan
    if not above < threshold < HIGHEST_THRESHOLD:
        least = f"{above:g}" if lowest is None else f"--lowest_threshold, which is {above:g},"
        raise InputError(
            f"--start_thresholds: found {text}, expected numbers between {least} and "
            f"{HIGHEST_THRESHOLD}"
        )
    return threshold
