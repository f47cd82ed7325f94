"""The pictures of the report of learning. No global state: matplotlib's figures only.

matplotlib takes half a second to import, so it is imported in the functions that draw.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from mig_jax.learning import Evaluation
from mig_jax.measure import ScoreFunction
from mig_jax.reports.plotting import (
    plain,
    score_function_of_label,
    short_name,
    spread_apart,
    uncrossed,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "DPI",
    "LabelChanges",
    "loss_figure",
    "parameters_figure",
    "score_functions_figure",
    "selected_figure",
]

DPI = 120
_WIDTH = 10.0  # Inches: 1,200 pixels.
_BEFORE, _AFTER, _NAMED, _QUIET = "#8a8f98", "#2f5d8a", "#b4552d", "#b9bec6"
_CURVES = 12
_DUMBBELLS = 20
_ALIKE = 1e-3  # Labels that differ by no more have one value.
_MARGIN = 1.03  # Where names stand beside a panel, in its widths.


@dataclasses.dataclass(frozen=True)
class LabelChanges:
    """What learning changed of K labels; each array is [K]."""

    names: list[str]
    records: np.ndarray  # int: records of the pool that have the label.
    shape: str  # What the shape parameter is called: exponent or rate.
    shape_before: np.ndarray  # float
    weight_before: np.ndarray  # float
    shape_after: np.ndarray  # float
    weight_after: np.ndarray  # float
    picks_before: np.ndarray  # int: selected records that have the label.
    picks_after: np.ndarray  # int
    shape_low: np.ndarray | None = None  # float: of a plain interval, where it is known.
    shape_high: np.ndarray | None = None  # float
    determined: np.ndarray | None = None  # bool: the data tell the shape.
    true_shapes: np.ndarray | None = None  # float: where the truth is known.
    true_weights: np.ndarray | None = None  # float

    def of(self, label: int) -> dict[str, Any]:
        """The changes of one label, by name."""
        return {
            "label": self.names[label],
            "records": int(self.records[label]),
            f"{self.shape}_before": float(self.shape_before[label]),
            f"{self.shape}_after": float(self.shape_after[label]),
            "weight_before": float(self.weight_before[label]),
            "weight_after": float(self.weight_after[label]),
            "picks_before": int(self.picks_before[label]),
            "picks_after": int(self.picks_after[label]),
        }


def loss_figure(history: list[Evaluation], best_step: int) -> Figure:
    """Fitted and held-out loss by step, the step whose parameters are kept, the temperature."""
    figure = _figure(5.2)
    axes = _style(figure.add_subplot())
    axes.set(xlabel="steps", ylabel="loss", title="Loss while learning")
    if not history:
        _remark(axes, "no losses were recorded")
        return figure
    steps = [evaluation.step for evaluation in history]
    # One evaluation is a point and no line.
    style: dict[str, Any] = {"marker": "o", "markersize": 4, "zorder": 3}
    axes.plot(steps, [e.fitted for e in history], color=_AFTER, label="fitted", **style)
    axes.plot(steps, [e.held_out for e in history], color=_NAMED, label="held out", **style)
    axes.axvline(
        best_step, color="#444444", linestyle=":", linewidth=1.2, label=f"kept: step {best_step}"
    )
    right = axes.twinx()
    right.plot(
        steps, [e.temperature for e in history], color=_QUIET, linewidth=1, label="temperature"
    )
    right.set_ylabel("temperature", color=_BEFORE)
    right.set_ylim(0, 1.15 * max(max(e.temperature for e in history), 1e-9))
    right.tick_params(axis="y", colors=_BEFORE, labelsize=8)
    right.spines[["top", "left"]].set_visible(False)
    right.spines["right"].set_color(_QUIET)
    # The losses are drawn over the temperature.
    axes.set_zorder(right.get_zorder() + 1)
    axes.patch.set_visible(False)
    _whole_numbers(axes)
    handles = [*axes.get_legend_handles_labels()[0], *right.get_legend_handles_labels()[0]]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False)
    return figure


def parameters_figure(changes: LabelChanges, named: list[int]) -> Figure:
    """Learned shapes and weights against the labels' frequency; `named` are told by name.

    Shapes that the data do not determine are grey. Where the truth is known, a second column has
    it on its axis.
    """
    figure = _figure(9.0)
    known_truth = changes.true_shapes is not None
    columns = figure.subplots(2, 1 + known_truth, sharey="row", squeeze=False)
    columns[0, 0].sharex(columns[1, 0])
    there = changes.records > 0
    told = there if changes.determined is None else there & changes.determined
    for (axes, *beside), name, before, after, truth in (
        (columns[0], changes.shape, changes.shape_before, changes.shape_after, changes.true_shapes),
        (columns[1], "weight", changes.weight_before, changes.weight_after, changes.true_weights),
    ):
        shape_low, shape_high = changes.shape_low, changes.shape_high
        between = (shape_low, shape_high) if name == changes.shape else (None, None)
        _scatter(axes, changes.records, after, there, told, *(() if beside else between))
        low, high = before.min(), before.max()
        axes.axhspan(low, high, color=_BEFORE, alpha=0.15, linewidth=0)
        axes.axhline(
            float(np.median(before)),
            color=_BEFORE,
            linestyle="--",
            linewidth=1.2,
            label="before" if low == high else "before, median",
        )
        axes.set(ylabel=name, xscale="log")
        axes.xaxis.set_major_formatter("{x:,.0f}")
        values = np.concatenate([before, after[there]])
        if name == "exponent":
            bottom, top = values.min(), values.max()
            margin = max(0.05 * (top - bottom), 0.01)
            axes.set_ylim(bottom - margin, top + margin)
        else:
            _log_scale(axes, values)
        if there.any() and np.ptp(after[there]) <= _ALIKE * np.abs(after[there]).max():
            _remark(axes, f"{after[there][0]:.3g} for every label")
        axes.scatter(
            changes.records[named],
            after[named],
            s=26,
            color=_NAMED,
            zorder=4,
            linewidths=0,
            label="changed most",
        )
        if not beside:
            _name_in_margin(axes, changes, named, after)
        for right in beside:
            assert truth is not None
            if not there.any():
                continue
            # Weights have no unit of their own: as large in the mean as those learned.
            unit = np.exp(np.mean(np.log(after[there]) - np.log(truth[there])))
            own = truth * (1.0 if name == changes.shape else unit)
            _scatter(right, own, after, there, told, *between)
            ends = np.array([after[there].min(), after[there].max()])
            right.plot(ends, ends, color="#444444", linestyle=":", linewidth=1.2)
            right.set(xlabel=f"true {name}", xscale=axes.get_yscale())
    columns[0, 0].set_title("Learned parameters of the labels")
    columns[1, 0].set_xlabel("records of the pool that have the label")
    handles, labels = columns[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    return figure


def _scatter(
    axes: Axes,
    x: np.ndarray,
    y: np.ndarray,
    there: np.ndarray,
    told: np.ndarray,
    low: np.ndarray | None = None,
    high: np.ndarray | None = None,
) -> None:
    """A point a label: in colour if the data tell its shape, with its interval if there is one."""
    _style(axes)
    size = 14 if there.sum() < 2000 else 7
    open_too = bool((there & ~told).any())
    if low is not None and high is not None:  # Of the others it would be as long as the panel.
        rows = there & told
        axes.vlines(x[rows], low[rows], high[rows], color=_AFTER, alpha=0.25, linewidth=0.7)
    for rows, colour, name in (
        (there & ~told, _QUIET, "label whose shape the data do not determine"),
        (there & told, _AFTER, "label" + (" whose shape they determine" if open_too else "")),
    ):
        if rows.any():
            points = axes.scatter(x[rows], y[rows], s=size, color=colour, label=name)
            points.set(alpha=0.6, linewidths=0)


def score_functions_figure(
    before: ScoreFunction, after: ScoreFunction, changes: LabelChanges
) -> Figure:
    """φ of a dozen labels after learning, frequent to rare, and the one they started from.

    Left with its weight, on a log scale; right its shape alone, as the share of what it is
    worth at the right end.
    """
    import matplotlib

    figure = _figure(5.6)
    worth, share = map(_style, figure.subplots(1, 2))
    picked = changes.picks_after[changes.picks_after > 0]
    end = max(float(np.quantile(picked, 0.9)) if picked.size else 0.0, 10.0)
    x = np.linspace(0, end, 301)
    shown = _frequent_to_rare(changes.records)
    colours = matplotlib.colormaps["viridis"](np.linspace(0, 0.88, max(len(shown), 1)))
    # If labels started apart, the median one stands for them.
    median = int(np.argsort(changes.shape_before, kind="stable")[len(changes.names) // 2])
    curves = [
        (
            f"{short_name(changes.names[label])} ({changes.records[label]:,})",
            score_function_of_label(after, label, x),
            {"color": colour},
        )
        for label, colour in zip(shown, colours, strict=False)
    ]
    dashed = {"color": "black", "linestyle": "--"}
    curves.append(("before", score_function_of_label(before, median, x), dashed))
    for name, values, style in curves:
        worth.plot(x[1:], values[1:], linewidth=1.6, label=name, **style)
        share.plot(x, values / max(values[-1], 1e-30), linewidth=1.6, **style)
    # From a twentieth of the way on: nearer 0 every curve goes down without end.
    inner = np.concatenate([values[15:] for _, values, _ in curves])
    _log_scale(worth, np.maximum(inner, 1e-30))
    worth.set(ylabel="φ", title="What the label's information is worth")
    share.set(
        ylabel=f"φ / φ({end:g})",
        title="The same as a share of its value at the end",
        ylim=(0, 1.02),
    )
    for axes in (worth, share):
        axes.set(xlim=(0, end), xlabel="information held, in records of mean score")
    legend = figure.legend(
        loc="outside lower center",
        ncols=3,
        frameon=False,
        fontsize=8.5,
        title="label (records), frequent to rare",
        title_fontsize=8.5,
    )
    plain(legend.get_texts())
    return figure


def selected_figure(changes: LabelChanges) -> Figure:
    """How many selected records have a label, before and after: the labels that changed most."""
    gap = changes.picks_after - changes.picks_before
    order = np.argsort(-np.abs(gap), kind="stable")
    shown = [int(label) for label in order if gap[label]][:_DUMBBELLS]
    shown.sort(key=lambda label: (-gap[label], label))
    figure = _figure(max(2.2 + 0.3 * len(shown), 3.6))
    axes = _style(figure.add_subplot())
    axes.set(xlabel="selected records that have the label", title="Selected by label")
    if not shown:
        axes.set_yticks([])
        _remark(axes, "as many records of every label as before")
        return figure
    rows = np.arange(len(shown))
    before, after = changes.picks_before[shown], changes.picks_after[shown]
    axes.hlines(rows, before, after, color=_QUIET, linewidth=2)
    for values, colour, name in ((before, _BEFORE, "before"), (after, _AFTER, "after")):
        axes.scatter(values, rows, s=36, color=colour, zorder=3, clip_on=False, label=name)
    axes.set_yticks(rows, [short_name(changes.names[label]) for label in shown])
    plain(axes.get_yticklabels())
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    _whole_numbers(axes)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return figure


def _figure(height: float) -> Figure:
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1)
    return Figure(figsize=(_WIDTH, height), layout=layout)


def _whole_numbers(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 2.5, 5, 10], integer=True))


def _style(axes: Axes) -> Axes:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e6e8eb", linewidth=0.8)
    axes.set_axisbelow(True)
    return axes


def _log_scale(axes: Axes, values: np.ndarray) -> None:
    """A log scale with plain numbers on it, of half a factor of two at least."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = float(values.min()), float(values.max())
    margin = max((high / low) ** 0.06, 1.25)
    axes.set_yscale("log")
    axes.set_ylim(low / margin, high * margin)
    wide = high / low > 30
    axes.yaxis.set_major_locator(LogLocator(subs=(1,) if wide else (1, 2, 5), numticks=20))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _name_in_margin(
    axes: Axes, changes: LabelChanges, named: list[int], values: np.ndarray
) -> None:
    """Names in a column right of the panel, each joined to its point by a thin line.

    In a column of their own, at least a line apart, names cannot hide each other.
    """
    if not named:
        return
    points = np.array([(changes.records[label], values[label]) for label in named], float)
    axes.get_xlim()  # Asking scales the axis to what is drawn, which else waits.
    places = (axes.transData + axes.transAxes.inverted()).transform(points)
    heights = spread_apart(np.sort(places[:, 1]), 0.06)
    for place, height in zip(uncrossed(places, heights, _MARGIN), heights, strict=True):
        axes.annotate(
            short_name(changes.names[named[place]]),
            (points[place, 0], points[place, 1]),
            xytext=(_MARGIN, height),
            textcoords="axes fraction",
            va="center",
            fontsize=9,
            color="#333333",
            parse_math=False,
            arrowprops={
                "arrowstyle": "-",
                "color": _NAMED,
                "linewidth": 0.6,
                "alpha": 0.6,
                "relpos": (0, 0.5),
                "shrinkA": 1,
            },
        )


def _frequent_to_rare(records: np.ndarray) -> list[int]:
    """A dozen labels, their ranks by frequency evenly spaced on a log scale."""
    order = np.argsort(-records, kind="stable")[: np.count_nonzero(records)]
    if not len(order):
        return []
    ranks = np.geomspace(1, len(order), min(_CURVES, len(order))).round().astype(int) - 1
    return [int(label) for label in order[np.unique(ranks)]]


def _remark(axes: Axes, text: str) -> None:
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=_BEFORE)
