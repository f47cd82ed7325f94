"""Information score functions as curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mig_jax.measure import ScoreFunction
from mig_jax.reports.plotting._style import plain, short_name, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_score_functions", "score_function_of_label"]


def plot_score_functions(
    before: ScoreFunction | None,
    after: ScoreFunction,
    labels: Sequence[int],
    names: Sequence[str],
    *,
    end: float = 20.0,
    share: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """Draws φ of some labels, and the one that all started from.

    Args:
      before: what all labels shared, dashed; of several values, that of the first label.
      after: parameters are scalars or float [K].
      labels: those to draw, in the order of their colours.
      names: what each of them is called, as many as `labels`.
      end: the largest information held.
      share: whether each is drawn as a share of its own value at the end: its shape alone.
      ax: where to draw.
    """
    import matplotlib

    ax = styled(ax)
    held = np.linspace(0, end, 301)
    colours = matplotlib.colormaps["viridis"](np.linspace(0, 0.88, max(len(labels), 1)))
    curves = [
        (short_name(name), score_function_of_label(after, label, held), {"color": colour})
        for label, name, colour in zip(labels, names, colours, strict=False)
    ]
    if before is not None:
        first = labels[0] if len(labels) else 0
        dashed = {"color": "black", "linestyle": "--"}
        curves.append(("before", score_function_of_label(before, first, held), dashed))
    for name, values, style in curves:
        scale = max(values[-1], 1e-30) if share else 1.0
        ax.plot(held, values / scale, linewidth=1.6, label=name, **style)
    ax.set(
        xlabel="information held",
        ylabel=f"φ / φ({end:g})" if share else "φ",
        xlim=(0, end),
        title="Score functions",
    )
    if curves:
        plain(ax.legend(frameon=False, fontsize=8).get_texts())
    return ax


def score_function_of_label(phi: ScoreFunction, label: int, held: Any) -> np.ndarray:
    """φ of one label at amounts of information, float [n]; parameters are scalars or float [K]."""
    return np.asarray(phi.at(np.int32(label)).value(np.asarray(held, np.float32)))
