"""The report of a run of learning: report.json, report.md and its pictures."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import mig_jax
from mig_jax import data
from mig_jax.learning import Evaluation
from mig_jax.parameters import LearnedMeasure, shape_name

__all__ = ["LearningReport", "write_report"]

_METHODS = {
    "learned": "learned",
    "grid": "best of the grid",
    "paper": "the paper's defaults",
    "top_score": "top score",
    "random": "random",
}
_NAMED = 8  # Labels named in a picture.
_CURVES = 12
_NAME_HEIGHT = 0.05  # Of a name in a picture, as part of its height.
_MOVED = 20
_BLUE, _ORANGE, _GREY = "#1f5fa8", "#d9730d", "#8a8a8a"


@dataclasses.dataclass(frozen=True)
class LearningReport:
    """All that is told of a run."""

    settings: dict[str, Any]
    objective: str
    loss_name: str
    label_names: list[str]
    label_counts: np.ndarray  # int [K]: records with each label.
    before: LearnedMeasure
    after: LearnedMeasure
    history: list[Evaluation]
    pool: mig_jax.Pool
    picks_before: np.ndarray
    picks_after: np.ndarray
    comparison: list[dict[str, Any]]
    grid: list[dict[str, Any]]  # Validation loss of every cell.
    best_step: int
    stopped_early: bool
    seconds: float


def write_report(folder: pathlib.Path, report: LearningReport) -> None:
    """Writes report.json, report.md and four pictures that it shows."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "report.json").open("wb") as stream:
        data.write_json(stream, _json(report))
    pictures = {
        "loss": _loss(report),
        "parameters": _parameters(report),
        "score_functions": _score_functions(report),
        "selected": _selected(report),
    }
    for name, figure in pictures.items():
        figure.savefig(folder / f"{name}.png", dpi=120)
    (folder / "report.md").write_text(_text(report), encoding="utf-8")


def _shape(report: LearningReport, learned: LearnedMeasure) -> np.ndarray:
    function = learned.measure.score_function
    return np.broadcast_to(getattr(function, shape_name(function)), len(report.label_names))


def _weight(report: LearningReport, learned: LearnedMeasure) -> np.ndarray:
    return np.broadcast_to(learned.measure.score_function.weight, len(report.label_names))


def _most_changed(report: LearningReport) -> np.ndarray:
    """Labels in the order of how much their weight changed."""
    change = np.log(_weight(report, report.after)) - np.log(_weight(report, report.before))
    return np.argsort(-np.abs(change), kind="stable")


def _json(report: LearningReport) -> dict[str, Any]:
    after = report.after
    return {
        "objective": report.objective,
        "loss": report.loss_name,
        "settings": report.settings,
        "comparison": report.comparison,
        "learned": {
            "propagation": float(after.measure.propagation),
            "threshold": float(after.threshold),
            "score_exponent": float(after.score_exponent),
            shape_name(after.measure.score_function): _quantiles(_shape(report, after)),
            "weight": _quantiles(_weight(report, after)),
        },
        "history": [dataclasses.asdict(evaluation) for evaluation in report.history],
        "best_step": report.best_step,
        "stopped_early": report.stopped_early,
        "seconds": report.seconds,
        "grid": report.grid,
        "picks": report.picks_after.tolist(),
    }


def _quantiles(values: np.ndarray) -> dict[str, float]:
    shares = (0.05, 0.25, 0.5, 0.75, 0.95)
    return {f"{share:g}": float(np.quantile(values, share)) for share in shares}


def _text(report: LearningReport) -> str:
    after, history = report.after, report.history
    shape = shape_name(after.measure.score_function)
    first, best = history[0], min(history, key=lambda evaluation: evaluation.held_out)
    lines = [
        f"# Learned by the objective `{report.objective}`",
        "",
        f"Loss: {report.loss_name}; the lower the better. Intervals are 95 % bootstrap intervals "
        "over the test data; differences are paired.",
        "",
        "| method | test loss | 95 % interval | more than learned | validation loss | seconds | |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in sorted(report.comparison, key=lambda row: row["test_loss"]):
        gap = "" if row["method"] == "learned" else _gap(row)
        lines.append(
            f"| {_METHODS.get(row['method'], row['method'])} | {row['test_loss']:.4f} "
            f"| {row['low']:.4f} to {row['high']:.4f} | {gap} | {row['validation_loss']:.4f} "
            f"| {row['seconds']:.1f} | {row['detail']} |"
        )
    stopped = "stopped early, " if report.stopped_early else ""
    lines += [
        "",
        f"Learning took {report.seconds:.0f} s ({stopped}best after {report.best_step} steps by "
        f"the held-out part of the validation data: {first.held_out:.4f} before, "
        f"{best.held_out:.4f} then).",
        "",
        "![losses](loss.png)",
        "",
        "## What was learned",
        "",
        f"Propagation {float(after.measure.propagation):.3f}, similarity threshold "
        f"{float(after.threshold):.3f}, score exponent {float(after.score_exponent):.3f}. "
        f"The median label has {shape} {np.median(_shape(report, after)):.3f} and weight "
        f"{np.median(_weight(report, after)):.3f}.",
        "",
        f"| most changed label | records | {shape} | weight |",
        "|---|---|---|---|",
    ]
    for label in _most_changed(report)[:_MOVED]:
        name = report.label_names[label].replace("|", "\\|")
        lines.append(
            f"| {name} | {report.label_counts[label]:,} | {_shape(report, after)[label]:.3f} "
            f"| {_weight(report, after)[label]:.3f} |"
        )
    pictures = ("parameters", "score_functions", "selected")
    lines += [line for name in pictures for line in ("", f"![{name}]({name}.png)")]
    return "\n".join(lines) + "\n"


def _gap(row: dict[str, Any]) -> str:
    low, high = row["over_learned_low"], row["over_learned_high"]
    return f"{row['over_learned']:+.4f} ({low:+.4f} to {high:+.4f})"


def _loss(report: LearningReport) -> Figure:
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    steps = [evaluation.step for evaluation in report.history]
    axes.plot(steps, [e.fitted for e in report.history], color=_BLUE, label="fitted")
    axes.plot(steps, [e.held_out for e in report.history], color=_ORANGE, label="held out")
    axes.axvline(report.best_step, color=_GREY, linestyle=":", label="best")
    axes.set(xlabel="step", ylabel="loss on validation data")
    axes.legend(frameon=False)
    heat = axes.twinx()
    heat.plot(steps, [e.temperature for e in report.history], color=_GREY, linewidth=0.8)
    heat.set_ylabel("temperature of the relaxed selection", color=_GREY)
    heat.tick_params(colors=_GREY)
    heat.set_ylim(bottom=0)
    return figure


def _parameters(report: LearningReport) -> Figure:
    figure = Figure(figsize=(10, 4.8), layout="constrained")
    name = shape_name(report.after.measure.score_function)
    named = _most_changed(report)[:_NAMED]
    for axes, title, of in zip(
        figure.subplots(1, 2), (name, "weight"), (_shape, _weight), strict=True
    ):
        values, start = of(report, report.after), of(report, report.before)
        count = np.maximum(report.label_counts, 0.8)
        axes.scatter(count, values, s=7, color=_BLUE, alpha=0.35, linewidths=0)
        axes.axhline(np.median(start), color=_GREY, linestyle="--", linewidth=1, label="before")
        axes.set(xscale="log", xlabel="records with the label", title=f"learned {title}")
        if title == "weight":
            axes.set_yscale("log")
        # At the right, each at its own height where the one below leaves room.
        low, high = axes.get_ylim()
        scaled = np.log(values) - np.log(low) if title == "weight" else values - low
        room = np.log(high / low) if title == "weight" else high - low
        order, above = named[np.argsort(values[named])], 0.0
        for place, label in enumerate(order):
            highest = 1 - _NAME_HEIGHT * (len(order) - place)
            above = max(above, min(float(scaled[label] / room), highest))
            axes.annotate(
                report.label_names[label][:28],
                (count[label], values[label]),
                xytext=(1.02, above),
                textcoords="axes fraction",
                fontsize=8,
                va="center",
                annotation_clip=False,
                arrowprops={"arrowstyle": "-", "color": _ORANGE, "linewidth": 0.5},
            )
            above += _NAME_HEIGHT
        axes.legend(frameon=False, loc="lower left")
    return figure


def _score_functions(report: LearningReport) -> Figure:
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    held = np.zeros(len(report.label_names))
    chosen = np.isin(np.asarray(report.pool.records), report.picks_after)
    np.add.at(held, np.asarray(report.pool.labels)[chosen], 1.0)
    x = np.geomspace(0.1, max(np.quantile(held, 0.99), 1.0), 200)
    order = np.argsort(-report.label_counts, kind="stable")
    picked = order[np.linspace(0, len(order) - 1, min(_CURVES, len(order))).astype(int)]
    colours = _colours(len(picked))
    for colour, label in zip(colours, picked, strict=True):
        function = report.after.measure.score_function.at(np.array(label))
        name = f"{report.label_names[label][:24]} ({report.label_counts[label]:,})"
        axes.plot(x, np.asarray(function.value(x)), color=colour, linewidth=1.4, label=name)
    before = report.before.measure.score_function.at(np.array(picked[0]))
    axes.plot(x, np.asarray(before.value(x)), "--", color="black", label="all labels, before")
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="information that a label holds (records of mean score)",
        ylabel="what it is worth",
        title="score functions, from frequent labels to rare ones",
    )
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _colours(count: int) -> list[Any]:
    from matplotlib import colormaps

    return [colormaps["viridis"](place) for place in np.linspace(0, 0.9, count)]


def _selected(report: LearningReport) -> Figure:
    def picked(picks: np.ndarray) -> np.ndarray:
        chosen = np.isin(np.asarray(report.pool.records), picks)
        labels = np.asarray(report.pool.labels)[chosen]
        return np.bincount(labels, minlength=len(report.label_names))

    before, after = picked(report.picks_before), picked(report.picks_after)
    moved = np.argsort(-np.abs(after - before), kind="stable")[:_MOVED]
    moved = moved[np.argsort(after[moved] - before[moved], kind="stable")]
    figure = Figure(figsize=(8, 1.2 + 0.27 * len(moved)), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(moved))
    axes.hlines(places, before[moved], after[moved], color=_GREY, linewidth=1)
    axes.plot(before[moved], places, "o", color=_GREY, markersize=5, label="before")
    axes.plot(after[moved], places, "o", color=_BLUE, markersize=6, label="learned")
    axes.set_yticks(places, [report.label_names[label][:34] for label in moved], fontsize=8)
    axes.set(xlabel="records selected", title="labels whose records were selected more, or less")
    axes.legend(frameon=False)
    return figure
