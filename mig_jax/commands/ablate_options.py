"""The flags of `mig-jax ablate`, and the grid that they stand for."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

from absl import flags

from mig_jax.commands.family_flags import check_family
from mig_jax.commands.flag_groups import (
    LARGEST_PARAMETER,
    SMALLEST_EXPONENT,
    SMALLEST_RATE,
    InputOptions,
    check_input_flags,
    define_input_flags,
)
from mig_jax.commands.flag_sections import Section
from mig_jax.commands.flag_values import Folder, ThresholdParser, adder
from mig_jax.errors import InputError
from mig_jax.measure import FAMILIES, GAIN_RULES, PAPER, USUAL_NEIGHBOURS
from mig_jax.selection import Point, grid_points, paper_point

__all__ = ["AblateOptions", "ablate_options", "define_ablate_flags"]

_BUILTIN_THRESHOLDS = ["0.8", "0.9"]
_NUMBERS: dict[str, tuple[Callable[[float], bool], str]] = {
    "exponents": (
        lambda x: SMALLEST_EXPONENT <= x <= 1,
        f"of at least {SMALLEST_EXPONENT:g} and at most 1",
    ),
    "rates": (
        lambda x: SMALLEST_RATE <= x <= LARGEST_PARAMETER,
        f"of at least {SMALLEST_RATE:g} and at most {LARGEST_PARAMETER:g}",
    ),
    "propagations": (
        lambda x: 0 <= x <= LARGEST_PARAMETER,
        f"of at least 0 and at most {LARGEST_PARAMETER:g}",
    ),
    "thresholds": (lambda x: 0 < x <= 1, "above 0 and up to 1, or auto"),
}


@dataclasses.dataclass(frozen=True)
class AblateOptions(InputOptions):
    """The flags of the command; `--help` explains each."""

    workdir: str
    budget: int
    families: list[str]
    exponents: list[float]
    rates: list[float]
    propagations: list[float]
    thresholds: list[Any]  # Numbers, or "auto" until the labels are read.
    gains: list[str]
    paper_threshold: Any
    batch_size: int | None
    heat_maps: bool

    def at_usual(self, threshold: Callable[[], float]) -> AblateOptions:
        """With this threshold in the place of "auto"."""
        if "auto" not in (*self.thresholds, self.paper_threshold):
            return self
        usual = threshold()
        numbers = [usual if at == "auto" else at for at in (*self.thresholds, self.paper_threshold)]
        *thresholds, paper = numbers
        thresholds = list(dict.fromkeys(thresholds))
        return dataclasses.replace(self, thresholds=thresholds, paper_threshold=paper)

    def points(self) -> list[Point]:
        """All settings; the paper's stands first if the grid has it not."""
        points = self.grid()
        paper = paper_point(self.paper_threshold)
        return points if paper in points else [paper, *points]

    def grid(self) -> list[Point]:
        return grid_points(
            self.families,
            {"exponent": self.exponents, "rate": self.rates},
            self.propagations,
            self.thresholds,
            self.gains,
        )


def define_ablate_flags(values: flags.FlagValues) -> None:
    """Defines all flags of the command."""
    add = adder(values)
    grid = add.under(Section.GRID)
    define_input_flags(add)
    add(Folder, "workdir", None, "Directory of this grid, for all that is written.")
    add(flags.DEFINE_integer, "budget", 500, "Records that each setting selects.", lower_bound=1)
    families = ", ".join(FAMILIES)
    add(flags.DEFINE_list, "families", ["power", "log"], f"Score functions: {families}.")
    add(flags.DEFINE_list, "exponents", ["0.2", "0.5", "0.8", "0.95"], "Of the power function.")
    add(flags.DEFINE_list, "rates", ["0.01", "0.03", "0.1", "0.3"], "Of all other families.")
    add(flags.DEFINE_list, "propagations", ["0.5", "1"], "Alpha of the paper.")
    add(
        flags.DEFINE_list,
        "thresholds",
        None,
        "Labels whose embeddings are this similar (cosine) are joined; auto takes the threshold at "
        f"which they have {USUAL_NEIGHBOURS:g} neighbours in the mean, the default with --pool; "
        f"{','.join(_BUILTIN_THRESHOLDS)} on the built-in pool.",
    )
    add(flags.DEFINE_list, "gains", ["exact", "linear"], "What picks maximise: exact, linear.")
    grid(
        ThresholdParser,
        "paper_threshold",
        None,
        "Threshold of the paper's setting, with which all others are compared: a number, or auto, "
        f"the default with --pool; {PAPER.threshold:g} on the built-in pool.",
    )
    grid(
        flags.DEFINE_integer,
        "batch_size",
        None,
        "Settings that go through vmap together; by default one on a CPU and all on an "
        "accelerator. Never changes what is picked.",
        lower_bound=1,
    )
    grid(flags.DEFINE_boolean, "heat_maps", True, "Draw heat maps.")


def ablate_options(values: flags.FlagValues) -> AblateOptions:
    """What was given.

    Raises:
      InputError: if flags cannot be used, or contradict each other.
    """
    check_input_flags(values)
    given = values.flag_values_dict()
    if given["thresholds"] is None:
        given["thresholds"] = ["auto"] if values.pool else _BUILTIN_THRESHOLDS
    if given["paper_threshold"] is None:
        given["paper_threshold"] = "auto" if values.pool else PAPER.threshold
    for name, (accepts, expected) in _NUMBERS.items():
        given[name] = [
            text
            if (name, text) == ("thresholds", "auto")
            else _number(name, text, accepts, expected)
            for text in given[name]
        ]
    for name, known in (("families", FAMILIES), ("gains", GAIN_RULES)):
        for word in given[name]:
            if word not in known:
                raise InputError(f"--{name}: found {word}, expected some of {', '.join(known)}")
    for flag, parameter in (("exponents", "exponent"), ("rates", "rate")):
        if values[flag].present:
            check_family(flag, parameter, "families", values.families)
    for name in (*_NUMBERS, "families", "gains"):
        twice = [value for value in given[name] if given[name].count(value) > 1]
        if twice:
            raise InputError(f"--{name}: {twice[0]} is given twice")
    return AblateOptions(**given)


def _number(name: str, text: Any, accepts: Callable[[float], bool], expected: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or not accepts(number):
        raise InputError(f"--{name}: found {text}, expected numbers {expected}")
    return number
