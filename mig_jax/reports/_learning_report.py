"""What is told of a run of learning, as numbers: for report.json, the page and the pictures."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from mig_jax.learning import Evaluation, KnownShapes, LearnedMeasure
from mig_jax.measure import Pool, amounts_of_picks, family_name
from mig_jax.reports._learning_plots import LabelChanges

__all__ = [
    "LearningReport",
    "PastRunsReport",
    "label_changes",
    "most_changed",
    "quantiles",
    "report_content",
    "shared_parameters",
]

_QUANTILES = {"lowest": 0.0, "5 %": 0.05, "median": 0.5, "95 %": 0.95, "highest": 1.0}
_LISTED = 15  # Labels in the table of those that changed most.
# What is learned of rarer labels rests on little: they are named only if all are rare.
_RECORDS_TO_BE_NAMED = 10


@dataclasses.dataclass(frozen=True)
class PastRunsReport:
    """How past runs that were left out one by one are placed by what is learned from the others."""

    runs: int
    correlations: dict[str, float]  # Spearman's, with the results, by what labels differ in.
    kept: str  # Which of them is learned.
    chance: float  # The standard deviation of that correlation for runs unlike each other.


@dataclasses.dataclass(frozen=True)
class LearningReport:
    """What one run of learning started from, what it came to, and how that was judged."""

    settings: dict[str, Any]  # Of the run, as JSON has them.
    objective: str
    label_names: list[str]  # K
    label_counts: np.ndarray  # int [K]: records that have the label.
    before: LearnedMeasure  # The starting parameters: scalars, or float [K].
    after: LearnedMeasure
    history: list[Evaluation]
    pool: Pool
    picks_before: np.ndarray  # int [N]: the selection with the starting parameters.
    picks_after: np.ndarray  # int [N]
    # One object a method: `method`, `test_loss`, `low`, `high`, `seconds`; also
    # `validation_loss`, `detail` and, for the paired difference to `learned`,
    # `over_learned`, `over_learned_low` and `over_learned_high` if they are known; `is_part` of
    # what is learned as well, and less of it.
    comparison: list[dict[str, Any]]
    best_step: int
    stopped_early: bool
    seconds: float  # Of learning.
    #: For how many records it was learned; none of no selections.
    budgets: list[int] = dataclasses.field(default_factory=list)
    matched: bool = False  # Whether gains were matched first.
    past_runs: PastRunsReport | None = None  # If it was learned from any.
    known: KnownShapes | None = None  # How well the shapes of labels are, if that was found out.
    truth: LearnedMeasure | None = None  # What would be learned without noise, where it is known.
    notes: list[str] = dataclasses.field(default_factory=list)  # `learning_notes`.
    about: str = ""  # What selections are to be good for, in a sentence.
    seen: str = ""  # How much of what is judged on was learned from as well, if any was.
    selected: dict[str, Any] | None = None  # The manifest of what was selected and written.


def label_changes(report: LearningReport) -> LabelChanges:
    """What learning changed, label by label."""
    count = len(report.label_names)

    def of_labels(learned: LearnedMeasure) -> tuple[np.ndarray, np.ndarray]:
        phi: Any = learned.measure.score_function
        # Nothing but the weight is learned of a family without a shape.
        leaves = getattr(phi, phi.shape_name) if phi.shape_name else 1.0, phi.weight
        shapes, weights = (np.broadcast_to(np.asarray(x, np.float64), count) for x in leaves)
        return shapes, weights

    def picked(picks: np.ndarray) -> np.ndarray:
        chosen = np.asarray(amounts_of_picks(report.pool, picks)) > 0
        labels = np.asarray(report.pool.labels)[chosen[np.asarray(report.pool.records)]]
        return np.bincount(labels, minlength=count)

    known, truth = report.known, report.truth
    after, true_shapes, true_weights = report.after.measure.score_function, None, None
    # Shapes of one family are none of another's.
    if truth is not None and type(truth.measure.score_function) is type(after):
        true_shapes, true_weights = of_labels(truth)
    return LabelChanges(
        list(report.label_names),
        np.asarray(report.label_counts, np.int64),
        after.shape_name or "shape",
        *of_labels(report.before),
        *of_labels(report.after),
        picked(report.picks_before),
        picked(report.picks_after),
        shape_low=None if known is None else known.low,
        shape_high=None if known is None else known.high,
        determined=None if known is None else known.determined,
        true_shapes=true_shapes,
        true_weights=true_weights,
    )


def most_changed(changes: LabelChanges) -> list[int]:
    """Labels by how far their parameters moved, farthest first; none that did not move.

    Shape and weight count on log scales and from their median move: if all labels
    double their weight, the selection stays the same. Ties go to the lowest label.
    """

    def moved(before: np.ndarray, after: np.ndarray) -> np.ndarray:
        ratio = np.log(after) - np.log(before)
        return ratio - (np.median(ratio[own]) if own.any() else 0.0)

    own = changes.records >= _RECORDS_TO_BE_NAMED
    if not own.any():
        own = changes.records > 0
    distance = np.hypot(
        moved(changes.shape_before, changes.shape_after),
        moved(changes.weight_before, changes.weight_after),
    )
    distance = np.where(own, distance, 0.0)
    order = np.argsort(-distance, kind="stable")
    # Below that it is rounding.
    return [int(label) for label in order if distance[label] > 1e-5][:_LISTED]


def shared_parameters(learned: LearnedMeasure) -> dict[str, float]:
    """What all labels share, by name."""
    return {
        "propagation": float(learned.measure.propagation),
        "threshold": float(learned.threshold),
        "score_exponent": float(learned.score_exponent),
    }


def quantiles(values: np.ndarray) -> dict[str, float]:
    """From the lowest to the highest, by name."""
    return {name: float(np.quantile(values, share)) for name, share in _QUANTILES.items()}


def report_content(report: LearningReport) -> dict[str, Any]:
    """What report.json holds; None for numbers that are not finite."""
    changes = label_changes(report)
    before, after = set(np.asarray(report.picks_before)), set(np.asarray(report.picks_after))
    learned = {
        "family": family_name(report.after.measure.score_function),
        "shared": {
            "before": shared_parameters(report.before),
            "after": shared_parameters(report.after),
        },
        f"{changes.shape}s": {
            "before": quantiles(changes.shape_before),
            "after": quantiles(changes.shape_after),
        },
        "weights": {
            "before": quantiles(changes.weight_before),
            "after": quantiles(changes.weight_after),
        },
        "most_changed": [changes.of(label) for label in most_changed(changes)],
        "by_label": _by_label(report, changes),
    }
    return _finite(
        {
            "objective": report.objective,
            "settings": report.settings,
            "budgets": report.budgets,
            "comparison": report.comparison,
            "notes": report.notes,
            "seen": report.seen,
            "learned": learned,
            "selection": {
                "records": len(after),
                "in_common": len(before & after),
                "labels_before": int(np.count_nonzero(changes.picks_before)),
                "labels_after": int(np.count_nonzero(changes.picks_after)),
            },
            "history": [dataclasses.asdict(evaluation) for evaluation in report.history],
            "best_step": report.best_step,
            "stopped_early": report.stopped_early,
            "seconds": report.seconds,
            "past_runs": (
                None if report.past_runs is None else dataclasses.asdict(report.past_runs)
            ),
        }
    )


def _by_label(report: LearningReport, changes: LabelChanges) -> dict[str, Any]:
    """Every label's parameters after learning, and how well its shape is known."""
    found: dict[str, Any] = {
        "labels": changes.names,
        changes.shape: changes.shape_after.tolist(),
        "weight": changes.weight_after.tolist(),
    }
    if report.known is not None:
        found[f"{changes.shape}_low"] = report.known.low.tolist()
        found[f"{changes.shape}_high"] = report.known.high.tolist()
        found["determined"] = report.known.determined.tolist()
    return found


def _finite(value: Any) -> Any:
    """The same with null for each NaN or infinity, which JSON has not."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float | np.floating) and not math.isfinite(value):
        return None
    return value
