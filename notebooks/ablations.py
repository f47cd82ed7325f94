# %% [markdown]
# # A grid of selections in one call
#
# What does each hyperparameter do? In mig_jax they are all traced numbers: the exponent of the
# score function, the propagation and the similarity threshold. So a whole grid of selections is one
# compiled call, and another grid of the same size does not compile again.
#
# This notebook selects for each combination and shows in heat maps what changes.

# %%
import itertools
import os
import time

import jax
import matplotlib.pyplot as plt
import numpy as np

import mig_jax
from mig_jax import data, plotting
from mig_jax.label_graph import cut_edges

RECORDS = int(os.environ.get("MIG_JAX_NOTEBOOK_RECORDS", "20000"))
BUDGET = RECORDS // 40
plt.rcParams["figure.dpi"] = 110

# %%
source = data.BuiltinPool(records=RECORDS)
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
# One call. Then a second one with other numbers: what it saves is the compilation.

# %%
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
