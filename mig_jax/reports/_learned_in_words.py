"""What learning moved and what it did not, in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mig_jax.measure import USUAL_NEIGHBOURS
from mig_jax.reports._learning_plots import LabelChanges
from mig_jax.reports._learning_report import LearningReport, shared_parameters

__all__ = ["hardly_joined", "moved"]

_STAYED = 0.1  # A parameter that changed by less, relative to itself, stayed as good as it was.
_NOTHING = 0.1  # Propagation and score exponents below do next to nothing.


def moved(report: LearningReport, changes: LabelChanges) -> list[str]:
    """A sentence or two for each kind of parameter: shapes, weights, α, T and β."""
    if not changes.records.any():
        return _shared(report)
    return [_shapes(report, changes), _weights(changes), *_shared(report)]


def _middle(values: np.ndarray) -> tuple[float, float, float]:
    low, middle, high = np.quantile(values, [0.05, 0.5, 0.95])
    return float(low), float(middle), float(high)


def _shapes(report: LearningReport, changes: LabelChanges) -> str:
    there = changes.records > 0
    low, middle, high = _middle(changes.shape_after[there])
    before = float(np.median(changes.shape_before))
    if report.after.measure.score_function.shape_name is None:
        return "**Shapes**: this family of score functions has none."
    name = f"{changes.shape}s"
    if high - low < 0.01 * middle:
        text = f"**{name.capitalize()} stay together**: {middle:.3g} for all labels"
        return f"{text}, {before:.3g} before."
    text = (
        f"**{name.capitalize()} of labels differ**: {low:.2g} to {high:.2g} for nine labels of "
        f"ten, {middle:.2g} in the middle; {before:.3g} before."
    )
    known = report.known
    if known is None:
        return text
    told = there & known.determined
    text += f" The data determine {told.sum():,} of {there.sum():,}"
    if told.any():
        half = float(np.median((known.high - known.low)[told])) / 2
        text += f", to ±{half:.2g} in the median"
    return text + "; the others stay near what all share, and say nothing of their labels."


def _weights(changes: LabelChanges) -> str:
    weights = changes.weight_after[changes.records > 0]
    low, _, high = _middle(weights)
    if high / low < 1 + _STAYED:
        return "**Weights stay together**."
    return (
        f"**Weights of labels differ** by a factor of {high / low:,.3g}, if the twentieth part at "
        "either end is left out."
    )


def _shared(report: LearningReport) -> list[str]:
    before, after = shared_parameters(report.before), shared_parameters(report.after)
    alpha, beta = after["propagation"], after["score_exponent"]
    joined = "next to nothing" if alpha < _NOTHING else "information"
    few = hardly_joined(report.selected)
    hardly = f"; hardly any are: {few}" if few else ""
    found = [
        _went("α", before["propagation"], alpha)
        + f": labels that are joined share {joined}{hardly}.",
        _went("β", before["score_exponent"], beta)
        + (": scores hardly count." if beta < _NOTHING else ": scores count."),
    ]
    low, high = before["threshold"], after["threshold"]
    return [*found, f"**T** started at {low:.3g} and is {high:.3g}: so similar labels are joined."]


def hardly_joined(about: Mapping[str, Any] | None) -> str | None:
    """How few neighbours labels have in a selection, if under a tenth of the usual."""
    if about is None or not about.get("labels"):
        return None
    found = 2 * about["edges"] / about["labels"]
    return f"{found:.2g} neighbours a label" if found < USUAL_NEIGHBOURS / 10 else None


def _went(name: str, before: float, after: float) -> str:
    if abs(after - before) < _STAYED * before:
        return f"**{name}** stays near {before:.3g}"
    return f"**{name}** went from {before:.3g} to {after:.3g}"
