"""What learning needs of a pool that a user names."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mig_jax import data
from mig_jax.commands.flag_groups import InputOptions
from mig_jax.commands.pool_inputs import check_budget, check_worth, label_embeddings
from mig_jax.commands.terminal import say
from mig_jax.errors import InputError
from mig_jax.learning import LOWEST_THRESHOLD, Inputs, around
from mig_jax.measure import Measure, label_graph_from_embeddings, pool_from_table
from mig_jax.selection import needs_float64

__all__ = ["check_budgets", "inputs_of_table", "needed_label_embeddings"]


def check_budgets(budget: int, budgets: Sequence[int], num_records: int) -> None:
    """Raises InputError if the pool has fewer records than are to be selected."""
    check_budget(budget, num_records)
    for one in budgets:
        check_budget(one, num_records, flag="budgets")


def needed_label_embeddings(
    options: InputOptions, table: data.RecordTable
) -> tuple[np.ndarray, np.ndarray | None]:
    """As `label_embeddings`, of a table that is worth it.

    Raises:
      InputError: if there are none, or they cannot be used.
    """
    check_worth(table)
    embeddings = label_embeddings(options, table)
    if embeddings is None:
        raise InputError(
            "--label_embeddings: missing, expected --label_embeddings=EMB.npz or "
            "--embedding_model=NAME"
        )
    return embeddings


def inputs_of_table(
    options: InputOptions,
    table: data.RecordTable,
    *,
    embeddings: tuple[np.ndarray, np.ndarray | None] | None = None,
    budget: int,
    budgets: tuple[int, ...] = (),
    seed: int = 0,
    lowest_threshold: float = LOWEST_THRESHOLD,
    validation: str | None = None,
    test: str | None = None,
    task: str | None = None,
) -> Inputs:
    """The pool of a table, with the embeddings and the graph of its labels.

    Without `budgets`, what is learned for is a range around the budget (`around`). Without
    `embeddings`, they are those of `needed_label_embeddings`.

    Raises:
      InputError: if there are no embeddings, they cannot be used, or the budget is larger than
        the pool.
    """
    check_budgets(budget, budgets, table.num_records)
    vectors, present = embeddings or needed_label_embeddings(options, table)
    pool = pool_from_table(table)
    graph = label_graph_from_embeddings(vectors, lowest_threshold, present=present)
    if needs_float64(pool, graph, Measure()):
        low, high = (find(table.scores[table.scores > 0]) for find in (np.min, np.max))
        raise InputError(
            f"--pool: its scores above 0 go from {low:g} to {high:g}, which float32, that learning "
            "computes in, cannot hold with their sums; expected scores near 1 (divide all by one "
            "number)"
        )
    return Inputs(
        table=table,
        pool=pool,
        graph=graph,
        embeddings=np.asarray(vectors, np.float32),
        budget=budget,
        budgets=budgets or around(budget, table.num_records),
        seed=seed,
        validation=validation,
        test=test,
        task=task,
        say=say,
    )
