"""Heat maps of tables over the same parameters, as one PNG file."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np

__all__ = ["HeatMap", "draw_heat_maps"]

_DARK = 0.55  # Of the colour scale: numbers on darker cells are white.


@dataclasses.dataclass(frozen=True)
class HeatMap:
    """A number for each combination of two parameters, in panels for values of a third."""

    title: str
    panels: Sequence[tuple[str, np.ndarray]]  # Title and float [rows, columns], NaN if none.
    limits: tuple[float, float]  # What the ends of the colour scale stand for.
    format: str  # How numbers are written, such as ".1f".


def draw_heat_maps(
    stream: BinaryIO,
    title: str,
    maps: Sequence[HeatMap],
    *,
    row_axis: tuple[str, Sequence[str]],
    column_axis: tuple[str, Sequence[str]],
) -> None:
    """Draws heat maps over the same parameters, two beside each other, and writes a PNG file.

    Args:
      stream: where the file goes.
      title: stands above all.
      maps: what to draw, all with the same number of panels.
      row_axis: name and values of the parameter that changes from row to row of a panel.
      column_axis: that of its columns.
    """
    # A figure of its own, without pyplot: no display, and no state is left behind.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = len(maps[0].panels)
    width = max(panels * (0.8 * len(column_axis[1]) + 0.5) + 1.2, 4.2)
    height = 0.38 * len(row_axis[1]) + 1.3
    beside = min(len(maps), 2)
    rows = -(-len(maps) // beside)
    figure = Figure(figsize=(beside * width, rows * height + 0.4), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=12)
    places = figure.subfigures(rows, beside, squeeze=False, wspace=0.04, hspace=0.04).ravel()
    for place, one in zip(places, maps, strict=False):
        place.suptitle(one.title, fontsize=10)
        axes = place.subplots(1, panels, squeeze=False, sharey=True)[0]
        for ax, (name, values) in zip(axes, one.panels, strict=True):
            image = _draw(ax, values, one)
            ax.set_title(name, fontsize=9)
            ax.set_xticks(range(len(column_axis[1])), column_axis[1], fontsize=8)
            ax.set_yticks(range(len(row_axis[1])), row_axis[1], fontsize=8)
            ax.set_xlabel(column_axis[0], fontsize=8)
        axes[0].set_ylabel(row_axis[0], fontsize=8)
        place.colorbar(image, ax=list(axes), pad=0.02).ax.tick_params(labelsize=8)
    figure.savefig(stream, format="png", dpi=130)


def _draw(ax: Any, values: np.ndarray, one: HeatMap) -> Any:
    low, high = one.limits
    high = high if high > low else low + 1
    image = ax.imshow(values, vmin=low, vmax=high, cmap="viridis", aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            dark = (value - low) / (high - low) < _DARK
            ax.text(
                column,
                row,
                format(value, one.format),
                ha="center",
                va="center",
                fontsize=8,
                color="white" if dark else "black",
            )
    for side in ax.spines.values():
        side.set_visible(False)
    ax.tick_params(length=0)
    return image
