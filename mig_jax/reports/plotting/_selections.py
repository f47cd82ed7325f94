"""What a selection gained, pick by pick and label by label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mig_jax.reports.plotting._style import AFTER, BEFORE, QUIET, plain, short_name, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_gains", "plot_information", "plot_information_by_label"]

_BOUND, _PROVEN = "#b4552d", "#4d7f3a"
# From which share of rises on gains are dots, and how many means there are then.
_OFTEN, _MEANS = 0.05, 100


def plot_gains(gains: Any, *, ax: Axes | None = None) -> Axes:
    """Draws the marginal gain of each pick against its rank.

    Gains that rise and fall, as of picks by gain over cost, are dots, with a line of their means.

    Args:
      gains: float [N], in the order picked.
      ax: where to draw.
    """
    ax = styled(ax)
    gains = np.asarray(gains, float)
    ranks = np.arange(1, len(gains) + 1)
    if np.count_nonzero(np.diff(gains) > 0) > len(gains) * _OFTEN:
        ax.plot(ranks, gains, ".", color=QUIET, markersize=2, label="each")
        parts = np.array_split(np.arange(len(gains)), min(_MEANS, len(gains)))
        means = [[ranks[part].mean(), gains[part].mean()] for part in parts]
        ax.plot(*np.transpose(means), color=AFTER, linewidth=1.6, label="mean")
        ax.legend(frameon=False, loc="upper right")
    else:
        ax.plot(ranks, gains, color=AFTER, linewidth=1.6)
    if len(gains) and gains.min() > 0 and gains.max() > 20 * gains.min():
        ax.set_yscale("log")
    else:
        ax.set_ylim(bottom=0)
    ax.set(xlabel="pick", ylabel="marginal gain", title="What each pick adds")
    return ax


def plot_information(
    increases: Any,
    *,
    bound: float | None = None,
    start: float = 0.0,
    certified: Sequence[tuple[int, float]] = (),
    ax: Axes | None = None,
) -> Axes:
    """Draws E after each pick, and the certificate's bound on what any selection can reach.

    Args:
      increases: float [N]: by how much each pick raised E.
      bound: the bound for N records; `Certificate.upper_bound`.
      start: E before the first pick, of records that were given.
      certified: numbers of picks and the certified ratio of each, drawn on a scale of its own.
      ax: where to draw.
    """
    ax = styled(ax)
    reached = start + np.cumsum([0.0, *np.asarray(increases, np.float64)])
    ax.plot(np.arange(len(reached)), reached, color=AFTER, linewidth=1.8, label="selected")
    title = "Information of the picks so far"
    if bound is not None:
        ax.axhline(bound, color=_BOUND, linestyle="--", linewidth=1.3, label="upper bound")
        if len(reached) > 1 and bound > 0:
            title = f"{100 * np.floor(1e4 * reached[-1] / bound) / 1e4:.2f} % of the upper bound"
    ax.set(xlabel="picks", ylabel="information E", title=title, ylim=(0, None), xlim=(0, None))
    lines = list(ax.lines)
    if certified:
        lines += _plot_certified(ax, certified)
    if len(lines) > 1:
        ax.legend(handles=lines, frameon=False, loc="lower right")
    return ax


def _plot_certified(ax: Axes, certified: Sequence[tuple[int, float]]) -> list[Any]:
    """Draws what is proven of smaller budgets, in per cent, in the upper half of the axes."""
    budgets, ratios = np.array(certified, float).T
    other = ax.twinx()
    other.spines[["top", "left"]].set_visible(False)
    lines = other.plot(
        *(budgets, 100 * ratios),
        color=_PROVEN,
        marker="o",
        markersize=3.5,
        linewidth=1.2,
        label="certified at this budget (right)",
    )
    lowest = 100 * float(ratios.min())
    other.set_ylabel("certified, % of the best possible", color=_PROVEN)
    other.tick_params(axis="y", colors=_PROVEN)
    other.set_ylim(100 - 2 * max(100 - lowest, 0.05), 100)
    other.ticklabel_format(useOffset=False)
    return lines


def plot_information_by_label(
    before: Any, after: Any, names: Sequence[str], *, most: int = 20, ax: Axes | None = None
) -> Axes:
    """Draws each label's share of the information in the pool, and in the selection.

    Args:
      before: float [K]: information of the whole pool on each label.
      after: float [K]: that of the selection.
      names: of the K labels.
      most: how many labels, those with the largest share in either.
      ax: where to draw.
    """
    shares = [
        np.asarray(values, float) / max(float(np.sum(np.asarray(values))), 1e-30)
        for values in (before, after)
    ]
    shown = np.argsort(-np.maximum(*shares), kind="stable")[:most]
    ax = styled(ax, (6.4, 0.6 + 0.26 * max(len(shown), 4)))
    rows = np.arange(len(shown))
    ax.hlines(rows, 100 * shares[0][shown], 100 * shares[1][shown], color=BEFORE, linewidth=1.5)
    for share, colour, name in zip(shares, (BEFORE, AFTER), ("pool", "selection"), strict=True):
        ax.scatter(100 * share[shown], rows, color=colour, s=34, zorder=3, label=name)
    ax.set_yticks(rows, [short_name(names[label]) for label in shown])
    plain(ax.get_yticklabels())
    ax.invert_yaxis()
    ax.set(xlabel="share of the information, %", xlim=(0, None), title="Where the information lies")
    if len(shown):
        ax.legend(frameon=False, loc="lower right")
    return ax
