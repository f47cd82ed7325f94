"""The picture in the README: what labels hold of random, of best-scored and of selected records.

python -m experiments.readme_picture --output=docs/images/selections.png
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import app, flags

import mig_jax
from mig_jax.measure import PAPER
from mig_jax.reports import plotting
from mig_jax.selection import labels_covered, selected_information
from mig_jax.synthetic import BuiltinPool

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_OUTPUT = flags.DEFINE_string("output", None, "Where the PNG file goes.", required=True)
_BUDGET = flags.DEFINE_integer("budget", 200, "Records to select.", lower_bound=1)

_MAP, _NOTHING = "YlGnBu", "#d1495b"  # Red: a label that neither has a pick nor is similar to one.
_FULL = 0.95  # The share of labels, of those selected for, that the colours tell apart.


def main(_: list[str]) -> None:
    """Selects, and draws the three side by side on one colour scale."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import PowerNorm
    from matplotlib.figure import Figure
    from PIL import Image  # Which matplotlib needs.

    generator = BuiltinPool()
    table = generator.table()
    names, vectors = generator.label_embeddings()
    place = {name: row for row, name in enumerate(names)}
    vectors = vectors[[place[name] for name in table.label_names]]
    graph = mig_jax.label_graph_from_embeddings(vectors, PAPER.threshold)
    pool = mig_jax.pool_from_table(table)
    measure = mig_jax.Measure()
    selection = mig_jax.select(pool, graph, _BUDGET.value, measure=measure)
    best = mig_jax.certify(pool, graph, measure, selection.picks).upper_bound
    choices = {
        "random": np.random.default_rng(0).choice(pool.num_records, _BUDGET.value, replace=False),
        "top score": np.argsort(-np.asarray(pool.scores), kind="stable")[: _BUDGET.value],
        "mig_jax": np.asarray(selection.picks),
    }
    held = [
        np.asarray(selected_information(pool, graph, measure, picks)) for picks in choices.values()
    ]
    scale = PowerNorm(0.5, vmin=0, vmax=float(np.quantile(held[-1], _FULL)))
    positions = plotting.label_graph_positions(graph)
    figure = Figure(figsize=(10, 4.7))
    places = {"left": 0.01, "right": 0.99, "bottom": 0.27, "top": 0.9, "wspace": 0.05}
    axes = figure.subplots(1, len(choices), gridspec_kw=places)
    for ax, (name, picks), information in zip(axes, choices.items(), held, strict=True):
        _draw(ax, positions, information, scale)
        reached = float(np.sum(measure.score_function.value(information))) / best
        covered = labels_covered(pool, graph, picks)
        ax.set_title(name, fontsize=20, fontweight="bold")
        text = f"{np.floor(reached * 1e3) / 10:.1f} % of the best\n{covered} of {len(names)} labels"
        ax.text(0.5, -0.02, text, transform=ax.transAxes, ha="center", va="top", fontsize=17)
    bar = figure.colorbar(
        ScalarMappable(scale, _MAP),
        cax=figure.add_axes((0.4, 0.045, 0.4, 0.03)),
        orientation="horizontal",
        ticks=[],
    )
    bar.outline.set_visible(False)
    words: dict[str, Any] = {"va": "center", "fontsize": 16, "transform": bar.ax.transAxes}
    bar.ax.text(-0.02, 0.4, "red: a label holds nothing;  little", ha="right", **words)
    bar.ax.text(1.02, 0.4, "much", ha="left", **words)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=120)
    Image.open(stream).convert("RGB").quantize(256).save(_OUTPUT.value)  # A third of the size.


def _draw(ax: Axes, positions: np.ndarray, information: np.ndarray, scale: Any) -> None:
    """A dot a label: its colour says what it holds."""
    ax.set_axis_off()
    ax.set_aspect("equal")
    has = information > 0
    across, up = positions.T
    ax.scatter(across[has], up[has], 26, information[has], norm=scale, cmap=_MAP, linewidths=0)
    ax.scatter(across[~has], up[~has], 26, _NOTHING, linewidths=0)
    ax.margins(0.02)


if __name__ == "__main__":
    app.run(main)
