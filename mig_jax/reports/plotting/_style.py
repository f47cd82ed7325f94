"""What the pictures share: colours, axes, names of labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["AFTER", "BEFORE", "MAP", "QUIET", "plain", "short_name", "styled"]

# Told apart by the colour-blind, and on white as on dark grey.
BEFORE, AFTER, QUIET = "#8a8f98", "#2f6da8", "#b9bec6"
MAP = "viridis"
_LONGEST_NAME = 28


def short_name(name: str) -> str:
    """A label's name on one line, cut if it is long.

    >>> short_name(" two\\nlines ")
    'two lines'
    """
    name = " ".join(name.split()) or "(no name)"
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"


def styled(ax: Axes | None, size: tuple[float, float] = (6.4, 3.8)) -> Axes:
    """The axes given, or those of a new figure, without frame and with a quiet grid."""
    if ax is None:
        import matplotlib.pyplot as plt

        ax = plt.subplots(figsize=size, layout="constrained")[1]
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(color=QUIET, alpha=0.35, linewidth=0.8)
    ax.set_axisbelow(True)
    return ax


def plain(texts: Any) -> None:
    """A dollar in a label's name begins no formula."""
    for text in texts:
        text.set_parse_math(False)
