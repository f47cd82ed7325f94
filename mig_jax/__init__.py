"""mig_jax chooses instruction-tuning data: information over a label graph, maximised greedily.

    picked = mig_jax.select_records(records, 5000)

takes records as you hold them (a Dataset, a DataFrame, a list of dicts, a path) and gives the most
informative ones: `help(mig_jax.select_records)`. The parts that it is made of:

    table = mig_jax.data.read_pool("pool.jsonl")           records with labels and scores
    pool = mig_jax.pool_from_table(table)                  as arrays
    graph = mig_jax.label_graph_from_embeddings(vectors)   labels, joined by similarity
    measure = mig_jax.Measure(mig_jax.Power(0.8))          what a selection is worth
    selection = mig_jax.select(pool, graph, 5000)          greedy, exact
    mig_jax.certify(pool, graph, measure, selection.picks) how close to the best it is

Beside them: `select_grid` for many settings at once, `relaxed_selection` for gradients through a
selection, `mig_jax.learning` for parameters from data, `mig_jax.annotation` for labels and scores,
`mig_jax.methods` for what others choose by, `mig_jax.data` for files.

Importing this package touches no file and starts no device. Names are imported when they are
first used, JAX with them; `__init__.pyi` says from which room each comes.
"""

import lazy_loader

from mig_jax._version import __version__ as __version__

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
