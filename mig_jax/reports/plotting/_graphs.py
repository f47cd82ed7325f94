"""The label graph as a picture."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mig_jax.measure import LabelGraph
from mig_jax.reports.plotting._style import MAP, QUIET, plain, short_name, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["label_graph_positions", "plot_label_graph", "shown_labels"]

_NAMED, _ASKED = 8, 40  # Names written, and labels that are asked for theirs.
_ROOM = 1.7  # Between components; 1 would have discs of as many labels touch.
_SMALLEST, _LARGEST = 12.0, 220.0  # Areas of nodes, in square points.


def shown_labels(graph: LabelGraph, values: Any, most: int = 250) -> np.ndarray:
    """The labels worth drawing: int [n], those with the largest values, ascending.

    Args:
      graph: K labels.
      values: float [K].
      most: how many at most; a picture of thousands shows none of them.
    """
    order = np.argsort(-np.asarray(values), kind="stable")[: min(most, graph.num_labels)]
    return np.sort(order)


def label_graph_positions(graph: LabelGraph, *, seed: int = 0) -> np.ndarray:
    """Where each label stands, so that joined labels stand together: float [K, 2] in −1 to 1.

    Within a component of the graph by forces (Fruchterman and Reingold); components
    stand in a spiral, the largest in the middle. In seconds for some hundred labels.
    The same graph and seed give the same positions. Needs networkx.

    >>> from mig_jax import label_graph_from_edges
    >>> label_graph_positions(label_graph_from_edges(3, [(0, 1, 0.9)])).shape
    (3, 2)
    """
    import networkx

    drawn = networkx.Graph()
    drawn.add_nodes_from(range(graph.num_labels))
    ends = (np.asarray(x).tolist() for x in (graph.sources, graph.targets, graph.similarities))
    drawn.add_weighted_edges_from(zip(*ends, strict=True))
    positions = np.zeros((graph.num_labels, 2))
    components = sorted(map(sorted, networkx.connected_components(drawn)), key=_largest_first)
    room = 0.0  # That the components so far take, in labels.
    for number, members in enumerate(components):
        centre = np.zeros(2)
        if number:
            angle = number * np.pi * (3 - np.sqrt(5))  # The golden angle fills a disc evenly.
            distance = _ROOM * np.sqrt(room + len(members) / 2)
            centre = distance * np.array([np.cos(angle), np.sin(angle)])
        room += len(members)
        positions[members] = centre
        if len(members) > 1:
            places = networkx.spring_layout(drawn.subgraph(members), iterations=80, seed=seed)
            own = np.array([places[label] for label in members])
            positions[members] += np.sqrt(len(members)) * own / np.abs(own).max()
    return positions / max(np.abs(positions).max(initial=0.0), 1e-9)


def _largest_first(members: list[int]) -> tuple[int, int]:
    return -len(members), members[0]


def plot_label_graph(
    graph: LabelGraph,
    positions: Any,
    values: Any,
    *,
    names: Sequence[str] | None = None,
    sizes: Any = None,
    limits: tuple[float, float] | None = None,
    value_name: str = "information held",
    ax: Axes | None = None,
    title: str | None = None,
) -> Axes:
    """Draws labels as dots, coloured by a value, and similarities as lines between them.

    Args:
      graph: K labels.
      positions: float [K, 2], of `label_graph_positions`; NaN for labels not drawn.
      values: float [K], such as the information that each holds; not negative.
      names: of the K labels; the few with the largest sizes are written down,
        without those that would stand on a larger one's.
      sizes: float [K], by default the values.
      limits: values at the ends of the colour scale, to compare pictures.
      value_name: what the colour bar says.
      ax: where to draw.
      title: above the picture.
    """
    from matplotlib.collections import LineCollection
    from matplotlib.colors import PowerNorm

    ax = styled(ax, (6.4, 5.4))
    ax.grid(False)
    ax.set_axis_off()
    places, values = np.asarray(positions, float), np.asarray(values, float)
    sizes = values if sizes is None else np.asarray(sizes, float)
    drawn = np.isfinite(places).all(axis=1)
    sources, targets = np.asarray(graph.sources), np.asarray(graph.targets)
    both = drawn[sources] & drawn[targets] & (sources < targets)
    ends = np.stack([places[sources[both]], places[targets[both]]], axis=1)
    ax.add_collection(LineCollection(list(ends), colors=QUIET, linewidths=0.6, alpha=0.7, zorder=1))
    low, high = limits or (0.0, float(values[drawn].max(initial=0.0)))
    largest = float(sizes[drawn].max(initial=0.0)) or 1.0
    dots = ax.scatter(
        places[drawn, 0],
        places[drawn, 1],
        s=_SMALLEST + (_LARGEST - _SMALLEST) * np.clip(sizes[drawn] / largest, 0, 1),
        c=values[drawn],
        # Few labels hold most: a square root keeps the others apart.
        norm=PowerNorm(0.5, vmin=low, vmax=high if high > low else low + 1),
        cmap=MAP,
        linewidths=0.4,
        edgecolors="white",
        zorder=2,
    )
    ax.figure.colorbar(dots, ax=ax, shrink=0.7, pad=0.02, label=value_name)
    ax.margins(0.06)
    if title is not None:
        ax.set_title(title)
    if names is not None:
        order = [int(k) for k in np.argsort(-np.where(drawn, sizes, -1), kind="stable")]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # Of missing signs: drawing tells.
            _write_names(
                ax, [(names[k], places[k]) for k in order[: min(_ASKED, int(drawn.sum()))]]
            )
    return ax


def _write_names(ax: Axes, candidates: Sequence[tuple[str, np.ndarray]]) -> None:
    """Writes the first few names that stand neither on one another nor on the dots of these."""
    from matplotlib.transforms import Bbox

    # The layout decides where the texts will stand.
    ax.figure.canvas.figure.draw_without_rendering()
    points = ax.figure.canvas.figure.dpi / 72  # In pixels.
    centres = ax.transData.transform([place for _, place in candidates])
    dots = [Bbox([centre - 4 * points, centre + 4 * points]) for centre in centres]
    written: list[Any] = []
    for name, place in candidates:
        for below in (False, True):
            text = ax.annotate(
                short_name(name),
                tuple(place),
                xytext=(0, -8 if below else 8),
                textcoords="offset points",
                ha="center",
                va="top" if below else "bottom",
                fontsize=8,
                zorder=3,
                bbox={"boxstyle": "round,pad=0.1", "fc": "white", "ec": "none", "alpha": 0.75},
            )
            plain([text])
            box = text.get_window_extent()
            if not any(box.overlaps(other) for other in (*written, *dots)):
                written.append(box)
                break
            text.remove()
        if len(written) == _NAMED:
            return
