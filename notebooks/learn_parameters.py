# %% [markdown]
# # Learn what each label is worth
#
# The paper gives every label the same score function and finds its parameters by trying out a
# grid. But is one more record about *proofs* worth as much as one more about *small talk*? And is
# the tenth worth as much as the first? mig_jax learns a weight and a shape for every label, by
# gradient descent *through* the selection.
#
# Here we know the answer beforehand: we plant a truth, show learning only noisy glimpses of it,
# and see how much of it comes back.

# %%
import dataclasses
import os

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import mig_jax
from mig_jax.learning import (
    Free,
    LearnedMeasure,
    even_information,
    fit_feature_basis,
    harden,
    label_features,
    learn,
    match_gains,
    shared_start,
)
from mig_jax.learning.objectives import Objective, spearman
from mig_jax.measure import label_information
from mig_jax.reports import plotting
from mig_jax.selection import selected_information
from mig_jax.synthetic import BuiltinPool

RECORDS = int(os.environ.get("MIG_JAX_NOTEBOOK_RECORDS", "10000"))
STEPS = int(os.environ.get("MIG_JAX_NOTEBOOK_STEPS", "120"))
BUDGET = RECORDS // 40
plt.rcParams["figure.dpi"] = 110

# %%
source = BuiltinPool(records=RECORDS, labels=240, topics=24)
table = source.table()
pool = mig_jax.pool_from_table(table)
names, embeddings = source.label_embeddings()
row = {name: number for number, name in enumerate(names)}
embeddings = embeddings[[row[name] for name in table.label_names]]
# With edges down to 0.6: learning may move the threshold, and closes those below it softly.
LOWEST, HIGHEST = 0.6, 0.97
graph = mig_jax.label_graph_from_embeddings(embeddings, LOWEST)
K = graph.num_labels
print(f"{RECORDS:,} records, {K} labels, {graph.num_edges:,} edges; {BUDGET} records to choose")

# %% [markdown]
# ## Plant a truth
#
# Each label gets a weight and an exponent. Both follow a random direction of the embeddings in
# part, so that similar labels are worth alike, and are the label's own in part. A weight says how
# much the label matters, an exponent how fast we have enough of it.

# %%
rng = np.random.default_rng(0)


def draw(spread):
    along = embeddings @ rng.standard_normal(embeddings.shape[1])
    along = (along - along.mean()) / along.std()
    return spread * (np.sqrt(0.7) * along + np.sqrt(0.3) * rng.standard_normal(K))


weight = jnp.asarray(np.exp(draw(1.2)), jnp.float32)
exponent = jnp.asarray(0.1 + 0.8 / (1 + np.exp(-draw(1.0))), jnp.float32)
truth = LearnedMeasure(
    mig_jax.Measure(mig_jax.Power(exponent, jnp.full(K, 1e-3), weight), jnp.asarray(1.0)),
    threshold=jnp.asarray(0.9),
)
true_pool, true_graph, true_measure = harden(truth, pool, graph)

for label in np.argsort(-weight)[[0, 1, -2, -1]]:
    print(f"{table.label_names[label]}: weight {weight[label]:.2f}, exponent {exponent[label]:.2f}")

# %% [markdown]
# ## An objective of your own
#
# An objective is a class that turns a relaxed selection, an amount between 0 and 1 for every
# record, into two losses: one to descend, and one held out that says when to stop. Ours sees two
# estimates of the truth whose weights are off by noise, as estimates from finite data are. mig_jax
# brings objectives for validation records, target labels, past runs and curated sets
# (`mig_jax.learning.objectives`).


# %%
@mig_jax.as_pytree
class MissedWorth(Objective):
    """The share of what all records together are worth that the selection misses."""

    estimates: mig_jax.Measure  # Leaves [2, ...]: fitted and held out.
    everything: jax.Array  # [2]: worth of all records.

    def losses(self, outcome):
        z = label_information(true_pool, true_graph, true_measure, outcome.amounts)
        worth = jax.vmap(lambda estimate: mig_jax.information(estimate, z))(self.estimates)
        return tuple(1 - worth / self.everything)


def estimate():
    noisy = weight * np.exp(0.3 * rng.standard_normal(K)).astype(np.float32)
    function = dataclasses.replace(true_measure.score_function, weight=noisy)
    return dataclasses.replace(true_measure, score_function=function)


estimates = jax.tree_util.tree_map(lambda *leaves: jnp.stack(leaves), estimate(), estimate())
z = label_information(true_pool, true_graph, true_measure, jnp.ones(RECORDS))
everything = jax.vmap(lambda measure: mig_jax.information(measure, z))(estimates)
objective = MissedWorth(estimates, everything)

# %% [markdown]
# ## Learn
#
# All labels start with the paper's score function. Each then has a price and a shape of its own,
# and also moves with labels of similar meaning (`directions`), so that rare labels learn at all.
# A price is the slope of φ at `anchor`, what a label holds of an even choice.
#
# One selection tells the price of each label at what it then holds, and any shape has it with some
# weight. **Selections of several sizes tell the shape.** So gains are matched first, at three sizes
# and at each of three similarity thresholds; learning goes on from the best. The propagation, the
# threshold and the exponent of the scores are learned for all labels at once.

# %%
basis = fit_feature_basis(pool, graph, embeddings)
directions = label_features(basis, pool, graph, embeddings)
BUDGETS = (BUDGET // 4, BUDGET, 4 * BUDGET)
key = jax.random.key(0)


def learner(threshold):
    shared = shared_start(threshold=threshold)
    return Free(
        start=shared,
        num_labels=K,
        directions=directions,
        lowest_threshold=jnp.asarray(LOWEST),
        highest_threshold=jnp.asarray(HIGHEST),
        prior=1e-5,
        anchor=even_information(shared, pool, graph, BUDGET),
    )


matches = {
    threshold: match_gains(pool, graph, learner(threshold), objective, BUDGETS, key)
    for threshold in (0.7, 0.8, 0.9)
}
for threshold, match in matches.items():
    print(f"gains missed by {match.residual:.6f} (mean square, relative) at threshold {threshold}")
threshold = min(matches, key=lambda threshold: matches[threshold].residual)
parameterisation = learner(threshold)
found = learn(
    pool,
    graph,
    parameterisation,
    objective,
    BUDGETS,
    key,
    steps=STEPS,
    params=matches[threshold].params,
)
before = parameterisation.learned(parameterisation.init(key))
after = found.learned
print(f"{int(found.state.step)} steps of learning")
print(f"the held-out loss was lowest after {found.best_step} steps")
for name, one, other, true in (
    ("propagation", before.measure.propagation, after.measure.propagation, 1.0),
    ("threshold", before.threshold, after.threshold, 0.9),
    ("score exponent", before.score_exponent, after.score_exponent, 1.0),
):
    print(f"{name}: {one:.2f} at the start, {other:.2f} learned, {true:.2f} true")

# %% [markdown]
# Matching has done nearly all of it: what is left to descend is little, and once the held-out loss
# rises, learning has begun to fit noise. The step where that loss was lowest is kept.

# %%
steps = [evaluation.step for evaluation in found.history]
ax = plotting.styled(None, (6.4, 3))
for name, colour in (("fitted", plotting.BEFORE), ("held_out", plotting.AFTER)):
    losses = [getattr(evaluation, name) for evaluation in found.history]
    ax.plot(steps, losses, ".-", color=colour, label=name.replace("_", " "))
ax.axvline(found.best_step, color="black", linestyle=":", label="kept")
ax.set(xlabel="steps", ylabel="share of worth missed", title="While learning", ylim=(0, 1))
ax.legend(frameon=False, loc="lower right")
plt.show()

# %% [markdown]
# ## What it changes
#
# The judge is the truth itself, which learning never saw. The best that one can do is to select
# with the true measure; the bars are shares of that.


# %%
def choose(learned):
    return mig_jax.select(*harden(learned, pool, graph)[:2], BUDGET, measure=learned.measure).picks


def true_worth(picks):
    z = selected_information(true_pool, true_graph, true_measure, picks)
    return float(mig_jax.information(true_measure, z))


picks_before, picks_after = choose(before), choose(after)
worths = {
    "random": true_worth(rng.choice(RECORDS, BUDGET, replace=False)),
    "highest scores": true_worth(np.argsort(-table.scores, kind="stable")[:BUDGET]),
    "before learning": true_worth(picks_before),
    "after learning": true_worth(picks_after),
    "the truth": true_worth(choose(truth)),
}
for name, worth in worths.items():
    print(f"{name}: {worth / worths['the truth']:.1%}")
print(f"{len(np.intersect1d(picks_before, picks_after))} of {BUDGET} picks stayed the same")

# %% [markdown]
# ## Learned score functions
#
# Dashed is what every label started from. Six labels, from the least to the most worth by the
# truth: their learned functions on the left, the true ones on the right. Which of them does
# learning tell apart, and which not? Heights are only known up to a factor: twice the worth of
# everything selects the same. On this logarithmic scale a factor moves all curves alike.

# %%
counts = np.bincount(pool.labels, minlength=K)
common = np.flatnonzero(counts >= np.median(counts))
by_weight = common[np.argsort(np.asarray(weight)[common], kind="stable")]
shown = by_weight[np.linspace(0, len(by_weight) - 1, 6).astype(int)]
shown_names = [table.label_names[label] for label in shown]

fig, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
start_function = before.measure.score_function
for ax, learned, title in zip(axes, (after, truth), ("learned", "true"), strict=True):
    function = learned.measure.score_function
    plotting.plot_score_functions(start_function, function, shown, shown_names, ax=ax)
    least = min(plotting.score_function_of_label(function, label, 1.0) for label in shown)
    ax.set(title=f"Score functions, {title}", yscale="log", ylim=(least / 2, None))
axes[0].get_legend().remove()  # It is the same for both.
axes[1].legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()

# %% [markdown]
# ## How close?
#
# Every label, true against learned. Large dots are labels of many records. What no pick ever sees
# is not told: shapes of labels with little weight stay near what all share. `mig-jax learn` says
# which shapes the data determine.

# %%
truth_function = true_measure.score_function
learned_function = after.measure.score_function
fig, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
for ax, name, scale in zip(axes, ("weight", "exponent"), ("log", "linear"), strict=True):
    plotting.styled(ax)
    true, ours = (np.asarray(getattr(f, name)) for f in (truth_function, learned_function))
    ax.scatter(true, ours, s=10 + 70 * counts / counts.max(), color=plotting.AFTER, alpha=0.6, lw=0)
    correlation = spearman(true, ours)
    ax.set(xscale=scale, yscale=scale, xlabel=f"true {name}", ylabel=f"learned {name}")
    ax.set_title(f"rank correlation {correlation:.2f}")
plt.show()

# %% [markdown]
# ## Where the picks went
#
# The information that the selections hold, before and after learning, on the same label graph.

# %%
positions = plotting.label_graph_positions(true_graph)
fig, axes = plt.subplots(1, 2, figsize=(13, 5.4), layout="constrained")
held = [
    selected_information(true_pool, true_graph, true_measure, picks)
    for picks in (picks_before, picks_after)
]
limits = 0.0, float(max(z.max() for z in held))
for ax, z, title in zip(axes, held, ("before learning", "after learning"), strict=True):
    plotting.plot_label_graph(true_graph, positions, z, limits=limits, ax=ax, title=title)
plt.show()

# %% [markdown]
# ## Try next
#
# - Less noise in `estimate`, or more: how much does learning need to be told?
# - `FromFeatures` for `Free`: a function of a label's features, for pools never seen.
# - Real data: `mig-jax learn` learns from validation records; `docs/guides/learn.md` says how.
