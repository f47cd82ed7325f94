# %% [markdown]
# # Where the time goes
#
# Greedy selection sounds expensive: after each pick, every record's gain may have changed. Yet
# gains only ever fall. A gain computed earlier is a bound now, and a record whose bound is below
# the best gain found need not be looked at. mig_jax keeps records in pages with one bound each and
# reads only the pages that may matter. The picks are those of a full scan, exactly.
#
# This notebook counts how little is read, spreads a pool over devices, and takes the time of
# every stage.

# %%
import os
import time

import jax
import matplotlib.pyplot as plt
import numpy as np

import mig_jax
from mig_jax.reports import plotting
from mig_jax.selection import full_scan_greedy, initial_state, lazy_greedy
from mig_jax.synthetic import BuiltinPool

# On a CPU, two virtual devices to shard over. Does nothing on a GPU or TPU.
jax.config.update("jax_num_cpu_devices", 2)

RECORDS = int(os.environ.get("MIG_JAX_NOTEBOOK_RECORDS", "100000"))
BUDGET = min(1000, RECORDS // 10)
plt.rcParams["figure.dpi"] = 110
print(jax.devices())


# %%
def read(records):
    """A pool of so many records, and its label graph."""
    source = BuiltinPool(records=records)
    table = source.table()
    names, embeddings = source.label_embeddings()
    row = {name: number for number, name in enumerate(names)}
    embeddings = embeddings[[row[name] for name in table.label_names]]
    graph = mig_jax.label_graph_from_embeddings(embeddings, threshold=0.9)
    return mig_jax.pool_from_table(table), graph


pool, graph = read(RECORDS)
measure = mig_jax.Measure()
print(f"{pool.num_records:,} records, {graph.num_labels:,} labels, {BUDGET:,} picks")

# %% [markdown]
# ## How little is read
#
# `lay_out` cuts the pool into pages, those of promising records first. `lazy_greedy` is the core
# of `select`; it tells for each pick how many pages it read.

# %%
pages = mig_jax.lay_out(pool, graph, measure, BUDGET)
state = initial_state(mig_jax.EXACT, measure, pages, np.zeros(graph.num_labels, np.float32))
budget = np.int32(BUDGET)
_, lazy = lazy_greedy(mig_jax.EXACT, measure, pages, state, budget, BUDGET)
pages_read = np.asarray(lazy.pages_read)
records_a_page = RECORDS / pages.num_pages
print(f"{pages.num_pages:,} pages of about {records_a_page:.0f} records")
print(f"pages read for a pick: {pages_read.mean():.1f} on average, {pages_read.max()} at most")
print(f"so a pick looks at {pages_read.mean() / pages.num_pages:.2%} of the pool")

# %% [markdown]
# Each dot is a pick. The line on top is what a full scan reads every time; note the logarithmic
# scale.

# %%
ax = plotting.styled(None, (6.4, 3.4))
ax.semilogy(
    *(np.arange(1, BUDGET + 1), pages_read, "."), color=plotting.AFTER, markersize=3, label="lazy"
)
ax.axhline(pages.num_pages, color=plotting.BEFORE, label="full scan")
ax.set(xlabel="pick", ylabel="pages read", title="What a pick looks at")
ax.legend(frameon=False)
plt.show()

# %% [markdown]
# Is it worth it, and does it pick the same? A full scan of a few picks against the same picks made
# lazily, both compiled beforehand.

# %%
FEW = min(50, BUDGET)


def timed(function, *arguments):
    """What the function gives, and the seconds of its second call."""
    jax.block_until_ready(function(*arguments))
    start = time.perf_counter()
    result = jax.block_until_ready(function(*arguments))
    return result, time.perf_counter() - start


arguments = mig_jax.EXACT, measure, pages, state, np.int32(FEW), FEW
(_, scanned), full_seconds = timed(full_scan_greedy, *arguments)
(_, few), lazy_seconds = timed(lazy_greedy, *arguments)
print("the same picks:", np.array_equal(scanned.records, few.records))

# %% [markdown]
# Times depend on the machine: run this cell to see yours.

# %% tags=["times"]
print(f"a pick by full scan: {1e3 * full_seconds / FEW:.2f} ms")
print(f"a pick made lazily: {1e3 * lazy_seconds / FEW:.2f} ms, {full_seconds / lazy_seconds:.0f}x")

# %% [markdown]
# ## Shards
#
# A pool that is too large for one device is sharded over a mesh. Each device searches its own
# pages; a pick exchanges one gain and one record for each device and the row that was chosen. The
# picks do not depend on the number of devices. The two virtual devices of a CPU share its cores:
# they show that it works, not that it is faster.

# %%
mesh = mig_jax.pool_mesh()
alone = mig_jax.select(pool, graph, BUDGET, measure=measure, pages=pages)
sharded = mig_jax.select(pool, graph, BUDGET, measure=measure, mesh=mesh)
print(f"{mesh.size} devices: {[str(device) for device in mesh.devices.flat]}")
print("the same picks:", np.array_equal(alone.picks, sharded.picks))

# %% [markdown]
# ## Where the time goes
#
# Each stage of a selection, for pools that double in size. Compilation is left out: every
# stage runs twice, and the second run counts. These times, too, are those of the machine: run the
# cells to see.

# %% tags=["times"]
stages = {"make pool and graph": [], "lay out": [], "select": [], "certify": []}
sizes = [RECORDS // 8, RECORDS // 4, RECORDS // 2, RECORDS]
for size in sizes:
    (part, part_graph), seconds = timed(read, size)
    stages["make pool and graph"].append(seconds)
    part_pages, seconds = timed(mig_jax.lay_out, part, part_graph, measure, BUDGET)
    stages["lay out"].append(seconds)

    def select(part=part, part_graph=part_graph, part_pages=part_pages):
        return mig_jax.select(part, part_graph, BUDGET, measure=measure, pages=part_pages)

    selection, seconds = timed(select)
    stages["select"].append(seconds)
    _, seconds = timed(mig_jax.certify, part, part_graph, measure, selection.picks)
    stages["certify"].append(seconds)
    print(f"{size:>9,} records: " + ", ".join(f"{k} {v[-1]:.2f} s" for k, v in stages.items()))

# %% tags=["times"]
ax = plotting.styled(None, (6.4, 3.4))
colours = plt.get_cmap(plotting.MAP)(np.linspace(0.1, 0.9, len(stages)))
ax.stackplot(sizes, *stages.values(), labels=list(stages), colors=colours, alpha=0.85)
ax.set(xlabel="records in the pool", ylabel="seconds", title=f"{BUDGET:,} picks, stage by stage")
ax.legend(loc="upper left", frameon=False)
plt.show()

# %% [markdown]
# ## Try next
#
# - Another budget, or `chunk=100` and `on_chunk=...` in `select`, to watch a long run or save it.
# - The same from the command line: `mig-jax select --devices=all`, and several processes with
#   `--coordinator_address`. `docs/guides/scaling.md` has measurements up to ten million records.
