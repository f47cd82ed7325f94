"""The flags of what is maximised: how labels are joined, and the information score function."""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags

from mig_jax.commands.flag_groups import (
    LARGEST_PARAMETER,
    SMALLEST_EXPONENT,
    SMALLEST_RATE,
)
from mig_jax.commands.flag_sections import Section
from mig_jax.commands.flag_values import AddFlag, Folder, ThresholdParser
from mig_jax.measure import FAMILIES, GAIN_RULES, PAPER, USUAL_NEIGHBOURS

__all__ = ["define_measure_flags"]


def define_measure_flags(add: AddFlag, presets: Sequence[str]) -> None:
    """Adds the label graph, the score function and its parameters; `presets` name several."""
    essential, graph, add = map(add.under, (Section.ESSENTIAL, Section.GRAPH, Section.MEASURE))
    graph(
        ThresholdParser,
        "similarity_threshold",
        "auto",
        "Labels whose embeddings are this similar (cosine) are joined; auto takes the threshold "
        "at which they have --neighbours in the mean.",
    )
    graph(
        flags.DEFINE_float,
        "neighbours",
        USUAL_NEIGHBOURS,
        "Labels that a label is joined with in the mean, at most a tenth of all.",
        lower_bound=0.0,
    )
    add(
        flags.DEFINE_float,
        "propagation",
        PAPER.propagation,
        "Strength of propagation between joined labels, alpha of the paper.",
        lower_bound=0.0,
        upper_bound=LARGEST_PARAMETER,
    )
    add(
        flags.DEFINE_enum,
        "gain",
        "exact",
        list(GAIN_RULES),
        "What each pick maximises: the true increase, or the paper's linearised one.",
    )
    essential(flags.DEFINE_enum, "preset", None, list(presets), "The settings of the paper.")
    add(
        flags.DEFINE_enum,
        "score_function",
        PAPER.family,
        list(FAMILIES),
        "Family of the information score function.",
    )
    add(
        flags.DEFINE_float,
        "exponent",
        PAPER.exponent,
        "Exponent of the power function, up to 1.",
        lower_bound=SMALLEST_EXPONENT,
        upper_bound=1.0,
    )
    add(
        flags.DEFINE_float,
        "rate",
        1.0,
        "Rate a of 1 - exp(-ax), log(1 + ax) and x / (x + 1/a).",
        lower_bound=SMALLEST_RATE,
        upper_bound=LARGEST_PARAMETER,
    )
    add(
        flags.DEFINE_float,
        "epsilon",
        PAPER.epsilon,
        "Shift of the power function: (x + epsilon)^exponent.",
        lower_bound=0.0,
        upper_bound=LARGEST_PARAMETER,
    )
    essential(
        Folder,
        "params",
        None,
        "Directory with learned parameters, as `mig-jax learn` writes it. They take the place of "
        "--score_function, --exponent, --rate, --epsilon, --propagation and "
        "--similarity_threshold.",
    )
