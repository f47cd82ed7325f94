# %% [markdown]
# # A grid of selections in one call
#
# What does each hyperparameter do? In mig_jax they are all traced numbers: the exponent of the
# score function, the propagation and the similarity threshold. So a whole grid of selections is one
# compiled call, and another grid of the same size does not compile again.
#
# This notebook selects for each combination and shows what changes, a heat map for each number.

# %%
import io
import itertools
import os
import time

import jax
import numpy as np
from IPython.display import Image, display

import mig_jax
from mig_jax.reports import plotting
from mig_jax.selection import selected_information
from mig_jax.synthetic import BuiltinPool

RECORDS = int(os.environ.get("MIG_JAX_NOTEBOOK_RECORDS", "20000"))
BUDGET = RECORDS // 40

# %%
source = BuiltinPool(records=RECORDS)
table = source.table()
pool = mig_jax.pool_from_table(table)
names, embeddings = source.label_embeddings()
row = {name: number for number, name in enumerate(names)}
embeddings = embeddings[[row[name] for name in table.label_names]]
print(f"{pool.num_records:,} records, {table.num_labels:,} labels, on {jax.devices()[0]}")

# %% [markdown]
# ## The grid
#
# - A low **exponent** says that a label is soon held well enough: breadth counts. At 1 more is
#   always as good as before, and nothing speaks against more of the same.
# - **Propagation** says how much a record tells about the labels next to its own; 0 is no graph.
# - The **threshold** says how similar two labels must be to be neighbours.
#
# The graph is built once, for the lowest threshold; each cell cuts its own edges.

# %%
exponents = [0.2, 0.4, 0.6, 0.8, 0.95]
propagations = [0.0, 0.5, 1.0, 2.0]
thresholds = [0.8, 0.9]
graph = mig_jax.label_graph_from_embeddings(embeddings, min(thresholds))


def lay_grid(exponents, propagations, thresholds):
    """All combinations, as one pytree whose leaves have the cells in front."""
    return mig_jax.stack_cells(
        [
            mig_jax.Cell(mig_jax.Measure(mig_jax.Power(exponent), propagation), threshold)
            for threshold, propagation, exponent in itertools.product(
                thresholds, propagations, exponents
            )
        ]
    )


cells = lay_grid(exponents, propagations, thresholds)
shape = len(thresholds), len(propagations), len(exponents)
print(jax.tree_util.tree_map(np.shape, cells))

# %% [markdown]
# One call. Then a second one with other numbers: what it saves is the compilation. How long each
# takes depends on the machine: run the cell to see.

# %% tags=["times"]
start = time.perf_counter()
found = jax.block_until_ready(mig_jax.select_grid(pool, graph, cells, BUDGET))
first = time.perf_counter() - start

others = lay_grid([0.3, 0.5, 0.7, 0.85, 0.9], [0.25, 0.75, 1.5, 3.0], [0.82, 0.88])
start = time.perf_counter()
jax.block_until_ready(mig_jax.select_grid(pool, graph, others, BUDGET))
second = time.perf_counter() - start
number = len(found.information)
print(f"{number} selections of {BUDGET:,} records: {first:.2f} s with compiling")
print(f"{number} others: {second:.2f} s, {1e3 * second / number:.1f} ms each")

# %% [markdown]
# A cell picks what `select` picks with its settings, record for record. Here is the paper's cell.

# %%
paper = 1, propagations.index(1.0), exponents.index(0.8)
picks = np.asarray(found.picks).reshape(*shape, BUDGET)
paper_measure = mig_jax.Measure(mig_jax.Power(0.8), 1.0)
paper_graph = mig_jax.label_graph_from_embeddings(embeddings, thresholds[paper[0]])
alone = mig_jax.select(pool, paper_graph, BUDGET, measure=paper_measure)
print("the same picks:", np.array_equal(alone.picks, picks[paper]))

# %% [markdown]
# ## What the hyperparameters do
#
# Three numbers for each cell: how many of the pool's labels the picks have, the mean score of the
# picks, and how many picks are those of the paper's cell. Labels covered and mean score pull
# against each other: breadth costs score. Watch how strongly the exponent moves both, from top to
# bottom, and what propagation does to it, from left to right.

# %%
scores = np.asarray(pool.scores)
has_label = np.zeros((RECORDS, table.num_labels), bool)
has_label[pool.records, pool.labels] = True

covered, mean_score, shared = (np.zeros(shape) for _ in range(3))
for cell in np.ndindex(shape):
    covered[cell] = 100 * has_label[picks[cell]].any(axis=0).mean()
    mean_score[cell] = scores[picks[cell]].mean()
    shared[cell] = 100 * len(np.intersect1d(picks[cell], picks[paper])) / BUDGET


def heat_map(title, values, digits):
    # Rows are exponents and columns propagations.
    panels = [(f"threshold {t:g}", v.T) for t, v in zip(thresholds, values, strict=True)]
    return plotting.HeatMap(title, panels, (values.min(), values.max()), digits)


def show_heat_map(title, shown):
    picture = io.BytesIO()
    plotting.draw_heat_maps(
        picture,
        title,
        [shown],
        row_axis=("exponent", [f"{exponent:g}" for exponent in exponents]),
        column_axis=("propagation", [f"{propagation:g}" for propagation in propagations]),
    )
    display(Image(data=picture.getvalue()))


of = f"{BUDGET:,} of {RECORDS:,} records"
show_heat_map(of, heat_map("labels covered, %", covered, ".0f"))
show_heat_map(of, heat_map("mean score of the picks", mean_score, ".1f"))

# %% [markdown]
# Which settings matter at all? If the picks are nearly those of the paper's cell, a change of
# the hyperparameters changes little.

# %%
by_paper = np.zeros(shape)
for cell in np.ndindex(shape):
    z = selected_information(pool, paper_graph, paper_measure, picks[cell])
    by_paper[cell] = 100 * mig_jax.information(paper_measure, z) / alone.information

against = "Against the paper's cell (exponent 0.8, propagation 1, threshold 0.9)"
show_heat_map(against, heat_map("picks shared, %", shared, ".0f"))
show_heat_map(against, heat_map("information by the paper's measure, %", by_paper, ".1f"))
low = np.unravel_index(shared.argmin(), shape)
print(f"fewest picks shared: {shared.min():.0f} %, at exponent {exponents[low[2]]:g}")
print(f"least information by the paper's measure: {by_paper.min():.1f} %")

# %% [markdown]
# ## Try next
#
# - Another family: `mig_jax.Log(rate)` for `mig_jax.Power(exponent)`. A grid has one family.
# - `gain=mig_jax.LINEAR` in `select_grid`: what the paper's algorithm maximises.
# - On a GPU or TPU all cells go through `vmap` together; `batch_size` says how many at a time.
# - Instead of a grid, learn a weight and a shape for every label: `learn_parameters.ipynb`.
