"""How much information each of several ways to choose holds, pick by pick."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mig_jax.reports.plotting._names_in_margin import spread_apart
from mig_jax.reports.plotting._style import AFTER, BEFORE, QUIET, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_ways"]

# Told apart by the colour-blind, and by their dashes in grey.
_COLOURS = ("#b4552d", "#4d7f3a", "#8458a5", "#b58a1d", "#3f8f9b", "#a54a6c", "#6b6b3a", "#5b6d8a")
_DASHES = ("-", "--", "-.", ":")


def plot_ways(told: Mapping[str, Any], *, ax: Axes | None = None) -> Axes:
    """Draws a curve for each way against records or tokens, its name at its end.

    Args:
      told: what a manifest has as `compare`.
      ax: where to draw.
    """
    ax = styled(ax, (7.2, 4.4))
    unit, rows = told["unit"], told["ways"]
    others = iter(range(len(rows)))
    ends = []
    for number, row in enumerate(rows):
        across = [0.0, *row["curve"][unit]]
        up = [told["start"], *row["curve"]["information"]]
        if number == 0:
            colour, dashes, width = AFTER, "-", 2.4
        elif row["method"] == "random":
            colour, dashes, width = BEFORE, "--", 1.6
        else:
            place = next(others)
            colour, dashes, width = _COLOURS[place % 8], _DASHES[place % 4], 1.6
        ax.plot(across, up, color=colour, linestyle=dashes, linewidth=width, zorder=3 - number / 99)
        ends.append((across[-1], up[-1], row["method"], colour))
    ax.set(xlabel=unit, ylabel="information E", xlim=(0, None), ylim=(0, None))
    ax.set_title("Information by the way to choose")
    _name(ax, ends)
    return ax


def _name(ax: Axes, ends: list[tuple[float, float, str, str]]) -> None:
    """Writes each name right of the panel, near the end of its curve."""
    right, top = ax.get_xlim()[1], ax.get_ylim()[1]
    order = np.argsort([end[1] for end in ends], kind="stable")
    heights = spread_apart([ends[place][1] / top for place in order], 0.062)
    for place, height in zip(order.tolist(), heights, strict=True):
        x, y, name, colour = ends[place]
        ax.annotate(
            name,
            xy=(x, y),
            xytext=(1.03, height),
            textcoords="axes fraction",
            color=colour,
            va="center",
            fontweight="bold" if place == 0 else "normal",
            arrowprops={"arrowstyle": "-", "color": QUIET, "linewidth": 0.8, "shrinkA": 1},
            annotation_clip=False,
        )
    ax.set_xlim(0, right)
