# %% [markdown]
# # From raw conversations to a training file
#
# You have conversations and nothing else: no labels, no scores, no vocabulary. One command makes
# what is lacking and selects:
#
#     mig-jax select --pool=raw.jsonl --budget=500 --output=train.jsonl
#
# This notebook runs it on a pool that you can replace by your own, and looks at what it made:
# labels, scores, the selection, and the file for your trainer. Nothing is downloaded, and a CPU is
# enough.

# %%
import collections
import json
import os
import pathlib
import tempfile

import matplotlib.pyplot as plt
import numpy as np
import pyarrow.parquet as pq

import mig_jax
from mig_jax import data
from mig_jax.commands.main import main
from mig_jax.reports import plotting
from mig_jax.selection import selected_information
from mig_jax.synthetic import BuiltinPool

RECORDS = int(os.environ.get("MIG_JAX_NOTEBOOK_RECORDS", "10000"))
BUDGET = RECORDS // 20
plt.rcParams["figure.dpi"] = 110
os.chdir(tempfile.mkdtemp())  # What is written goes there.


def mig(*words):
    """Runs `mig-jax` as in a terminal."""
    if main(list(words)):
        raise SystemExit("the line above says what is wrong")


# %% [markdown]
# ## Raw conversations
#
# Here they are the texts of the built-in pool. For your own data let `raw` be the path of your
# file: JSON lines, CSV or Parquet, in any of the formats that trainers use.

# %%
raw = pathlib.Path("raw.jsonl")
with raw.open("w") as file:
    for line in BuiltinPool(records=RECORDS).lines(0, RECORDS):
        messages = json.loads(line)["messages"]
        file.write(json.dumps({"messages": messages}) + "\n")

print(f"{RECORDS:,} records; the first:\n")
print(raw.read_text().split("\n", 1)[0])

# %% [markdown]
# ## One command
#
# It finds groups of similar instructions (the labels), weighs how well each answer fits, how much
# it holds and whether it is sound (the score), joins similar labels, and picks the records that
# together carry the most information. All of it is kept in a cache: a second run starts from there.
#
# The texts of this pool are made from a few phrases, so the labels found in them are odd, few of
# them carry most, and the picks cover fewer labels than random ones.

# %%
mig("select", f"--pool={raw}", f"--budget={BUDGET}", "--output=train.jsonl", "--cache=cache")

# %% [markdown]
# ## What was selected
#
# Records come out as they went in, best first. A table beside them tells the labels and the score
# that were made for each, and what it added.

# %%
picks = pq.read_table("train.selection.parquet").to_pylist()
chosen = np.array([pick["line"] - 1 for pick in picks])
for pick in picks[:8]:
    print(
        f"{pick['rank']}. line {pick['line']}, score {pick['score']:.2f}, "
        f"gain {pick['gain']:.2f}: {', '.join(pick['labels'])}"
    )

# %% [markdown]
# ## The labels
#
# `mig-jax annotate` makes the same labels and scores as a file, to look at, to keep and to change.

# %%
mig("annotate", f"--pool={raw}", "--output=annotated.jsonl", "--cache=cache")
table = data.read_pool(["annotated.jsonl"])
vectors, _ = data.read_label_embeddings("annotated.labels.npz", table.label_names)
counts = np.bincount(table.labels, minlength=table.num_labels)
for label in np.argsort(-counts)[:10]:
    print(f"{counts[label]:6,} records: {table.label_names[label]}")

# %% [markdown]
# Are the scores spread? A score that is the same for all records tells nothing.

# %%
ax = plotting.styled(None, (6.4, 3))
for name, scores, colour in (
    ("pool", table.scores, plotting.BEFORE),
    ("selection", table.scores[chosen], plotting.AFTER),
):
    ax.hist(scores, bins=40, alpha=0.6, density=True, color=colour, label=name)
ax.set(xlabel="score", ylabel="density", title="Scores of the pool and of the selection")
ax.legend(frameon=False)
plt.show()

# %% [markdown]
# And is the selection spread? Each dot is a label; the brighter, the more information it holds.

# %%
threshold = mig_jax.threshold_of_neighbours(vectors, neighbours=3.5)
graph = mig_jax.label_graph_from_embeddings(vectors, threshold)
pool = mig_jax.pool_from_table(table)
measure = mig_jax.Measure(mig_jax.Power(exponent=0.8), propagation=1.0)
held = selected_information(pool, graph, measure, chosen)
plotting.plot_label_graph(
    graph,
    plotting.label_graph_positions(graph),
    held,
    names=table.label_names,
    title=f"{BUDGET:,} of {RECORDS:,} records",
)
plt.show()

# %% [markdown]
# ## For a trainer
#
# `--output_layout` writes what your trainer reads: `messages`, `sharegpt`, `alpaca`, or
# `prompt_completion`. Here is
# ShareGPT, with an entry for LLaMA-Factory.

# %%
mig(
    "select",
    f"--pool={raw}",
    f"--budget={BUDGET}",
    "--output=sharegpt.jsonl",
    "--output_layout=sharegpt",
    "--dataset_info=dataset_info.json",
    "--cache=cache",
)
print(pathlib.Path("dataset_info.json").read_text())
first = json.loads(pathlib.Path("sharegpt.jsonl").read_text().split("\n", 1)[0])
print(collections.Counter(turn["from"] for turn in first["conversations"]))

# %% [markdown]
# ## Try next
#
# - Your own file in place of `raw`.
# - `--embedding_model=sentence-transformers/all-MiniLM-L6-v2`: labels by meaning instead of words.
# - `mig-jax annotate --deduplicate=near --exclude_overlap=test.jsonl`: near copies and questions of
#   an evaluation left out.
# - `mig-jax annotate --endpoint=http://localhost:8000/v1 --model=NAME --tagger=llm --scorer=llm`:
#   labels and scores by a language model that you serve.
# - `quickstart.ipynb`: what the measure is, and how the certificate proves a selection.
