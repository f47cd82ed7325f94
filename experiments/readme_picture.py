"""The picture in the README: the label graph of the built-in pool before and after selection.

python -m experiments.readme_picture --output=docs/images/label_graph.png
"""

from __future__ import annotations

import io

import numpy as np
from absl import app, flags

import mig_jax
from mig_jax.measure import PAPER
from mig_jax.reports import plotting
from mig_jax.selection import selected_information
from mig_jax.synthetic import BuiltinPool

_OUTPUT = flags.DEFINE_string("output", None, "Where the PNG file goes.", required=True)
_BUDGET = flags.DEFINE_integer("budget", 500, "Records to select.", lower_bound=1)


def main(_: list[str]) -> None:
    """Selects, and draws both graphs with one colour scale."""
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
    ratio = mig_jax.certify(pool, graph, measure, selection.picks).certified_ratio
    held = [
        np.asarray(selected_information(pool, graph, measure, chosen))
        for chosen in (np.arange(pool.num_records), selection.picks)
    ]
    positions = plotting.label_graph_positions(graph)
    figure = Figure(figsize=(11, 4.7), layout="constrained")
    titles = (
        f"the pool: {pool.num_records:,} records",
        f"selected: {_BUDGET.value:,}, at least {np.floor(ratio * 1e4) / 1e2:.2f} % of the best",
    )
    for ax, values, title in zip(figure.subplots(1, 2), held, titles, strict=True):
        plotting.plot_label_graph(
            graph,
            positions,
            values / values.max(),
            names=table.label_names,
            sizes=held[0],
            limits=(0.0, 1.0),
            value_name="information held, share of the largest",
            ax=ax,
            title=title,
        )
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=90)
    # Few colours: a third of the size.
    Image.open(stream).convert("P", palette=Image.Palette.ADAPTIVE).save(_OUTPUT.value)


if __name__ == "__main__":
    app.run(main)
