# %% [markdown]
# # Choose the data that teaches the most
#
# You have a pool of conversations and room to train on a small part of it. The best-scored ones
# may say the same things again and again. Random ones are a bit of everything, good or not.
# [MIG](https://arxiv.org/abs/2504.13835) weighs both at once: labels
# form a graph, every record spreads its quality over its labels and their neighbours, and a label
# is worth less the more it already holds.
#
# This notebook goes from a pool to a selection, and then proves how good that selection is. It
# runs on whatever JAX finds: a CPU, a GPU or a TPU.

# %%
import os

import matplotlib.pyplot as plt
import numpy as np

import mig_jax
from mig_jax import data
from mig_jax.reports import plotting
from mig_jax.selection import selected_information
from mig_jax.synthetic import BuiltinPool

RECORDS = int(os.environ.get("MIG_JAX_NOTEBOOK_RECORDS", "20000"))
BUDGET = RECORDS // 40
plt.rcParams["figure.dpi"] = 110

# %% [markdown]
# ## A pool
#
# mig_jax brings a pool that behaves like a real one: a few labels are everywhere and most are
# rare, some records are near-copies of others, and scores are noisy. For your own data use
# `data.read_pool(["pool.jsonl.gz"])`; everything below stays the same.

# %%
source = BuiltinPool(records=RECORDS)
table = source.table()
pool = mig_jax.pool_from_table(table)

print(f"{pool.num_records:,} records, {table.num_labels:,} labels\n")
for line in source.lines(0, 2):
    print(line.decode())

# %% [markdown]
# ## The label graph
#
# Labels whose embeddings are similar are joined: a record about *algebra proofs* also tells
# something about *algebra puzzles*. The threshold says how similar they must be.

# %%
names, embeddings = source.label_embeddings()
row = {name: number for number, name in enumerate(names)}
embeddings = embeddings[[row[name] for name in table.label_names]]
graph = mig_jax.label_graph_from_embeddings(embeddings, threshold=0.9)

neighbours = np.bincount(graph.sources, minlength=graph.num_labels)
print(f"{graph.num_edges:,} edges; a label has {neighbours.mean():.1f} neighbours on average")
print(f"{(neighbours == 0).sum()} labels have none")

# %% [markdown]
# What does the pool hold, before anything is selected? Each dot is a label; the larger it is and
# the brighter, the more information lies on it. A few labels hold far more than the others.

# %%
measure = mig_jax.Measure(mig_jax.Power(exponent=0.8), propagation=1.0)
in_pool = selected_information(pool, graph, measure, np.arange(RECORDS))
positions = plotting.label_graph_positions(graph)
plotting.plot_label_graph(
    graph, positions, in_pool, names=table.label_names, title="Before: all records"
)
plt.show()

# %% [markdown]
# ## Select
#
# The greedy selection takes, again and again, the record that adds the most information. A
# `Measure` says what information is: ours, above, has the paper's score function, x to the power
# of 0.8.

# %%
selection = mig_jax.select(pool, graph, BUDGET, measure=measure)

print(f"{len(selection):,} picks, information {selection.information:,.1f}")
for rank, pick in enumerate(selection.picks[:5]):
    labels = table.labels[table.offsets[pick] : table.offsets[pick + 1]]
    print(
        f"{rank + 1}. record {pick}, score {table.scores[pick]:.1f}, gain "
        f"{selection.gains[rank]:.1f}: {', '.join(table.label_names[label] for label in labels)}"
    )

# %% [markdown]
# The same graph after: what the selection holds. Colours go from nothing to the most that one
# label holds, as above, so compare the patterns and not the amounts.

# %%
plotting.plot_label_graph(
    graph,
    positions,
    selection.z,
    names=table.label_names,
    title=f"After: {BUDGET:,} records",
)
plt.show()

# %% [markdown]
# Label by label: its share of the information in the pool, and in the selection. If the
# selection's dot is left of the pool's, we took less of what is common anyway.

# %%
plotting.plot_information_by_label(in_pool, selection.z, table.label_names)
plt.show()

# %% [markdown]
# ## The certificate
#
# Nobody can try all selections of this size. But information is concave, and that gives a number
# that no selection can exceed. The certificate is what we have over that number: at least this
# share of the best possible.

# %%
certificate = mig_jax.certify(pool, graph, measure, selection.picks)
print(f"no selection of {BUDGET:,} records holds more than {certificate.upper_bound:,.1f}")
# A certificate is not rounded up.
proven = np.floor(1e4 * certificate.certified_ratio) / 100
print(f"ours reaches at least {proven:.2f} % of the best possible")

# %% [markdown]
# On the left, what each pick adds. It never rises: that is what makes greedy selection good, and
# fast. On the right, the sum of it, and the line that no selection of this size can cross.

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(11, 3.8), layout="constrained")
plotting.plot_gains(selection.gains, ax=left)
plotting.plot_information(selection.increases, bound=certificate.upper_bound, ax=right)
plt.show()

# %% [markdown]
# Is that more than others would find? Three selections of the same size, by the same measure:
# random records, those with the highest scores, and the greedy selection with linear gains, which
# is what the paper's algorithm maximises.

# %%
random_picks = np.random.default_rng(0).choice(RECORDS, BUDGET, replace=False)
best_scored = np.argsort(-table.scores, kind="stable")[:BUDGET]
linear = mig_jax.select(pool, graph, BUDGET, measure=measure, gain=mig_jax.LINEAR)

for name, picks in (
    ("random", random_picks),
    ("highest scores", best_scored),
    ("linear gains", linear.picks),
    ("exact gains", selection.picks),
):
    z = selected_information(pool, graph, measure, picks)
    share = float(mig_jax.information(measure, z)) / certificate.upper_bound
    covered = len(np.unique(pool.labels[np.isin(pool.records, picks)])) / table.num_labels
    print(f"{name}: {np.floor(1e4 * share) / 100:.2f} % of the bound, {covered:.0%} of the labels")

# %% [markdown]
# ## Tokens and quotas
#
# Training is paid by the token, and no topic should take all of it. `Constraints` say so: what each
# record costs, what all may cost together, and how many records of each topic there must and may
# be. Here we spend as many tokens as above, counted roughly as four bytes each.

# %%
costs = data.costs_and_groups(table, count=data.bytes_over_4).costs
spent = costs[selection.picks].sum()

# "algebra proofs" is about algebra. A record is of the topic of its first label.
topics, of_label = np.unique(
    [name.rsplit(" ", 1)[0] for name in table.label_names], return_inverse=True
)
topic = of_label[table.labels[table.offsets[:-1]]]
quotas = mig_jax.Quotas(
    topic,
    minima=np.full(len(topics), BUDGET // 30),
    maxima=np.full(len(topics), BUDGET // 15),
)

tokens_only = mig_jax.Constraints(costs, most_cost=spent)
with_quotas = mig_jax.Constraints(costs, most_cost=spent, quotas=quotas)
for name, constraints in (("tokens", tokens_only), ("tokens and quotas", with_quotas)):
    found = mig_jax.select(pool, graph, None, measure=measure, constraints=constraints)
    proven = mig_jax.certify(pool, graph, measure, found.picks, constraints=constraints)
    print(
        f"{name}: {len(found):,} records, {costs[found.picks].sum():,} of {spent:,} tokens, "
        f"information {found.information:,.1f}, certified "
        f"{np.floor(1e4 * proven.certified_ratio) / 100:.2f} %"
    )

# %% [markdown]
# More information for the same tokens: short records count for what they are. And what does each
# quota cost? The certificate has a price for it. Above 0, one record more of the topic would bring
# about so much information; below 0, its minimum forces records in, and each costs so much.

# %%
counts = np.bincount(topic[found.picks], minlength=len(topics))
for group in np.argsort(-np.abs(proven.prices.groups))[:5]:
    print(
        f"{topics[group]}: {counts[group]} records of {quotas.minima[group]} to "
        f"{quotas.maxima[group]}, price {proven.prices.groups[group]:+.2f}"
    )

# %% [markdown]
# ## Try next
#
# - `mig_jax.Constraints(given=...)`: records that you have already, and that picks should complete.
# - An exponent of 0.3 instead of 0.8: labels saturate sooner, and the picks spread further.
# - `propagation=0.0`: no graph at all.
# - Your own pool: `data.read_pool` and `data.read_label_embeddings`.
# - `learn_parameters.ipynb`: what if labels are not worth the same?
