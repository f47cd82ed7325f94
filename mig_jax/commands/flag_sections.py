"""The sections that the help of a command is in, in the order in which it shows them."""

from __future__ import annotations

import enum

__all__ = ["Section"]


class Section(enum.StrEnum):
    """A section of a help text. A flag is defined under one: `add.under(Section.INPUT)(...)`."""

    ESSENTIAL = "Essential"  #: What --help shows; --help_all has the others, too.
    INPUT = "Input"
    GRAPH = "Label graph"
    MEASURE = "Measure"
    BUDGET = "Budget and quotas"
    EARLIER = "Data that is there already"
    OUTPUT = "Output"
    METHODS = "Other methods"
    MODELS = "Language models that methods ask"
    FILTERS = "Filters"
    LABELS = "Labels"
    SCORES = "Scores"
    SERVERS = "Models on a server"
    LEARNING = "Learning"
    GRID = "Grid"
    LONG_RUNS = "Long runs"
    TOGETHER = "Several devices and hosts"
