"""The report of what was learned: report.json for programs, report.md and pictures for people."""

from __future__ import annotations

import dataclasses
import math
import os
import pathlib
from typing import Any

import numpy as np

from mig_jax import data
from mig_jax.learning import Evaluation, LearnedMeasure
from mig_jax.measure import Pool, family_name
from mig_jax.reports import _learning_plots as learning_plots
from mig_jax.reports._markdown import cell, counted, interval, number, or_infinite, table

__all__ = [
    "LearningReport",
    "label_changes",
    "most_changed",
    "report_content",
    "report_text",
    "write_report",
]

_QUANTILES = {"lowest": 0.0, "5 %": 0.05, "median": 0.5, "95 %": 0.95, "highest": 1.0}
_LISTED = 15  # Labels in the table of those that changed most.
_NAMED = 8  # Of them, in the picture.
# What is learned of rarer labels rests on little: they are named only where all are rare.
_RECORDS_TO_BE_NAMED = 10


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
    # `over_learned`, `over_learned_low` and `over_learned_high` where they are known.
    comparison: list[dict[str, Any]]
    best_step: int
    stopped_early: bool
    seconds: float  # Of learning.
    # Spearman's correlation of past runs' results with what E, learned from the others, says.
    leave_one_out: float | None = None


def write_report(folder: str | os.PathLike[str], report: LearningReport) -> None:
    """Writes report.json, report.md and the pictures it shows; all of them, or none.

    Args:
      folder: made where it does not exist; files of these names are replaced.
      report: what to tell.

    Raises:
      InputError: where the folder cannot be written to.
    """
    os.makedirs(folder, exist_ok=True)
    changes = label_changes(report)
    pictures = {
        "loss.png": learning_plots.loss_figure(report.history, report.best_step),
        "parameters.png": learning_plots.parameters_figure(changes, most_changed(changes)[:_NAMED]),
        "score_functions.png": learning_plots.score_functions_figure(
            report.before.measure.score_function, report.after.measure.score_function, changes
        ),
        "selected_by_label.png": learning_plots.selected_figure(changes),
    }
    with data.OutputFiles() as outputs:
        data.write_json(outputs.open(pathlib.Path(folder, "report.json")), report_content(report))
        text = outputs.open(pathlib.Path(folder, "report.md"))
        text.write(report_text(report).encode())
        for name, figure in pictures.items():
            stream = outputs.open(pathlib.Path(folder, name))
            figure.savefig(stream, format="png", dpi=learning_plots.DPI)


def label_changes(report: LearningReport) -> learning_plots.LabelChanges:
    """What learning changed, label by label."""
    count = len(report.label_names)

    def of_labels(learned: LearnedMeasure) -> tuple[np.ndarray, np.ndarray]:
        phi: Any = learned.measure.score_function
        # Nothing but the weight is learned of a family without a shape.
        leaves = getattr(phi, phi.shape_name) if phi.shape_name else 1.0, phi.weight
        shapes, weights = (np.broadcast_to(np.asarray(x, np.float64), count) for x in leaves)
        return shapes, weights

    def picked(picks: np.ndarray) -> np.ndarray:
        chosen = np.zeros(report.pool.num_records, bool)
        chosen[np.asarray(picks, np.int64)] = True
        labels = np.asarray(report.pool.labels)[chosen[np.asarray(report.pool.records)]]
        return np.bincount(labels, minlength=count)

    return learning_plots.LabelChanges(
        list(report.label_names),
        np.asarray(report.label_counts, np.int64),
        report.after.measure.score_function.shape_name or "shape",
        *of_labels(report.before),
        *of_labels(report.after),
        picked(report.picks_before),
        picked(report.picks_after),
    )


def most_changed(changes: learning_plots.LabelChanges) -> list[int]:
    """Labels by how far their parameters moved, farthest first; none that did not move.

    Shape and weight count on log scales and from their median move: where all labels
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


def _shared(learned: LearnedMeasure) -> dict[str, float]:
    return {
        "propagation": float(learned.measure.propagation),
        "threshold": float(learned.threshold),
        "score_exponent": float(learned.score_exponent),
    }


def _quantiles(values: np.ndarray) -> dict[str, float]:
    return {name: float(np.quantile(values, share)) for name, share in _QUANTILES.items()}


def report_content(report: LearningReport) -> dict[str, Any]:
    """What report.json holds; None for numbers that are not finite."""
    changes = label_changes(report)
    before, after = set(np.asarray(report.picks_before)), set(np.asarray(report.picks_after))
    learned = {
        "family": family_name(report.after.measure.score_function),
        "shared": {"before": _shared(report.before), "after": _shared(report.after)},
        f"{changes.shape}s": {
            "before": _quantiles(changes.shape_before),
            "after": _quantiles(changes.shape_after),
        },
        "weights": {
            "before": _quantiles(changes.weight_before),
            "after": _quantiles(changes.weight_after),
        },
        "most_changed": [changes.of(label) for label in most_changed(changes)],
    }
    return _finite(
        {
            "objective": report.objective,
            "settings": report.settings,
            "comparison": report.comparison,
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
            "leave_one_out_spearman": report.leave_one_out,
        }
    )


def _finite(value: Any) -> Any:
    """The same with null for each NaN or infinity, which JSON has not."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float | np.floating) and not math.isfinite(value):
        return None
    return value


def report_text(report: LearningReport) -> str:
    """What report.md says, in Markdown; pictures are named by their file beside it."""
    changes = label_changes(report)
    parts = [
        "# What was learned",
        _opening(report, changes),
        "## Compared with what one would do instead",
        *_comparison(report.comparison),
        "## Learning",
        "![Loss](loss.png)",
        "What is learned descends the *fitted* loss. The *held-out* loss is of data that "
        "learning does not descend on; the parameters kept are those where it was lowest. Where "
        "the fitted loss falls on and the held-out loss rises, learning overfits.",
        *_losses(report),
        *_left_out(report),
        "## Parameters",
        *_parameters(report, changes),
        "![Parameters](parameters.png)",
        "![Score functions](score_functions.png)",
        "### The labels that changed most",
        *_labels(changes, most_changed(changes)),
        "## What was selected",
        _selection(report, changes),
        "![Selected by label](selected_by_label.png)",
        "## Settings",
        table(
            ["setting", "value"],
            [
                [cell(name), cell(value)]
                for name, value in sorted(report.settings.items())
                # The rest, as the cells of the grid, is in report.json.
                if not (isinstance(value, dict) or (isinstance(value, list) and len(value) > 5))
            ],
        ),
        "All numbers are in `report.json`.",
    ]
    return "\n\n".join(parts) + "\n"


def _opening(report: LearningReport, changes: learning_plots.LabelChanges) -> str:
    steps = report.history[-1].step if report.history else 0
    why = ", as the held-out loss had stopped falling" if report.stopped_early else ""
    return (
        f"Objective `{cell(report.objective)}`: the parameters of {len(changes.names):,} labels "
        f"were learned for selecting {len(report.picks_after):,} of "
        f"{report.pool.num_records:,} records. Learning took {report.seconds:.1f} s and "
        f"{counted(steps, 'step')}{why}; the parameters kept are those after "
        f"{counted(report.best_step, 'step')}."
    )


def _comparison(rows: list[dict[str, Any]]) -> list[str]:
    if not rows:
        return ["Nothing was compared."]
    order = sorted(range(len(rows)), key=lambda i: or_infinite(rows[i].get("test_loss")))
    rows = [rows[i] for i in order]
    header = ["method", "test loss", "95 % interval"]
    paired = any("over_learned" in row for row in rows)
    validated = any("validation_loss" in row for row in rows)
    header += ["more than learned"] * paired + ["validation loss"] * validated
    header += ["seconds", "detail"]
    lines = []
    for row in rows:
        line = [cell(row["method"]), number(row["test_loss"]), interval(row, "low", "high")]
        if paired:
            gap = number(row.get("over_learned"), sign=True)
            between = interval(row, "over_learned_low", "over_learned_high", sign=True)
            line.append("" if row["method"] == "learned" else f"{gap} ({between})")
        if validated:
            line.append(number(row.get("validation_loss")))
        lines.append([*line, f"{row['seconds']:.1f}", cell(row.get("detail", ""))])
    meaning = (
        "All select as many records, with the same data for validation, and are judged on the "
        "same test data, which none of them saw. Lower is better; the best stands first. The "
        "interval is where the mean over such test data lies, by bootstrap. "
    )
    if paired:
        meaning += (
            "*More than learned* is the difference item by item, with its interval: one that "
            "holds 0 shows no difference. "
        )
    meaning += "Seconds are those of choosing and selecting, without the test."
    return [table(header, lines, numeric=range(1, len(header) - 1)), meaning, _verdict(rows)]


def _verdict(rows: list[dict[str, Any]]) -> str:
    """How what was learned stands to the best of the others; `rows` are best first."""
    others = [row for row in rows if row["method"] != "learned"]
    own = [row for row in rows if row["method"] == "learned"]
    if not own or not others:
        return f"Best: **{cell(rows[0]['method'])}**."
    best = others[0]
    low, high = (best.get(f"over_learned_{end}") for end in ("low", "high"))
    by = "the interval of the difference"
    if low is None or high is None:
        # Without the paired difference only intervals that do not overlap show one.
        low, high = best["low"] - own[0]["high"], best["high"] - own[0]["low"]
        by = "what the two intervals leave possible"
    text = f"Against the best other method, {cell(best['method'])}, what was learned is "
    if low > 0:
        return f"**{text}better**: {by} is clear of zero."
    if high < 0:
        return f"**{text}worse**: {by} is clear of zero."
    return f"**{text}neither better nor worse** beyond chance: {by} holds zero."


def _losses(report: LearningReport) -> list[str]:
    if not report.history:
        return ["The losses were not recorded."]
    first = report.history[0]
    best = min(report.history, key=lambda e: abs(e.step - report.best_step))
    last = report.history[-1]
    rows = [
        [name, str(e.step), number(e.fitted), number(e.held_out)]
        for name, e in (("start", first), ("kept", best), ("end", last))
    ]
    return [table(["", "step", "fitted loss", "held-out loss"], rows, numeric=range(1, 4))]


def _left_out(report: LearningReport) -> list[str]:
    if report.leave_one_out is None:
        return []
    return [
        "Each past run was left out once, and placed by the E that was learned from the others: "
        f"Spearman's rank correlation with the measured results is {report.leave_one_out:+.2f} "
        "(1: the same order; 0: no better than chance)."
    ]


def _parameters(report: LearningReport, changes: learning_plots.LabelChanges) -> list[str]:
    before, after = _shared(report.before), _shared(report.after)
    told = {
        "propagation": "propagation α between joined labels",
        "threshold": "similarity threshold T of an edge",
        "score_exponent": "score exponent β: a record brings (its score / the mean)^β",
    }
    shared = [[text, number(before[name]), number(after[name])] for name, text in told.items()]
    spread = [
        [f"{name}, {when}", *map(number, _quantiles(values).values())]
        for name, when, values in (
            (changes.shape, "before", changes.shape_before),
            (changes.shape, "after", changes.shape_after),
            ("weight", "before", changes.weight_before),
            ("weight", "after", changes.weight_after),
        )
    ]
    slow = (
        "The lower the exponent, the sooner a label has enough"
        if changes.shape == "exponent"
        else "The higher the rate, the sooner a label has enough"
    )
    return [
        table(["shared by all labels", "before", "after"], shared, numeric=range(1, 3)),
        table(["over the labels", *_QUANTILES], spread, numeric=range(1, 6)),
        f"{slow}; the weight is how much all of its information counts.",
    ]


def _labels(changes: learning_plots.LabelChanges, named: list[int]) -> list[str]:
    if not named:
        return ["No label's parameters moved away from those of the others."]
    rows = [
        [
            cell(changes.names[label]),
            f"{changes.records[label]:,}",
            f"{changes.shape_before[label]:.3f} → {changes.shape_after[label]:.3f}",
            f"{changes.weight_before[label]:.3f} → {changes.weight_after[label]:.3f}",
            f"{changes.picks_before[label]:,} → {changes.picks_after[label]:,}",
        ]
        for label in named
    ]
    return [table(["label", "records", changes.shape, "weight", "selected"], rows, range(1, 5))]


def _selection(report: LearningReport, changes: learning_plots.LabelChanges) -> str:
    before, after = set(np.asarray(report.picks_before)), set(np.asarray(report.picks_after))
    covered = [np.count_nonzero(p) for p in (changes.picks_before, changes.picks_after)]
    return (
        f"Of {len(after):,} records selected with the learned parameters, "
        f"{len(before & after):,} were selected with the starting ones too. They have "
        f"{covered[1]:,} of the {np.count_nonzero(changes.records):,} labels in the pool "
        f"(before: {covered[0]:,})."
    )
