"""What a selection is made on: the pool, the label graph and the measure that flags describe."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from mig_jax import data
from mig_jax.commands.pool_inputs import label_embeddings, read_label_graph
from mig_jax.commands.select_options import SelectOptions
from mig_jax.commands.selection_steps import told_of_learned
from mig_jax.commands.terminal import listed, say
from mig_jax.measure import LabelGraph, Measure, Pool

__all__ = ["Problem", "read_problem", "say_if_beyond"]

# What --similarity_threshold would do where --params takes its place.
_LEARN_AGAIN: Final = (
    "learn again with --start_thresholds={:g} (and --lowest_threshold below it), or select without "
    "--params"
)


class Problem(NamedTuple):
    """Pool, graph and measure to select with."""

    pool: Pool
    graph: LabelGraph
    measure: Measure
    about: dict[str, Any]  # What of them is learned, for the manifest.
    threshold: float | None = None  # The similarity that joins labels, where flags decide it.


def read_problem(
    options: SelectOptions,
    table: data.RecordTable,
    pool: Pool,
    *,
    joined_at: float | None = None,
    is_new: bool = True,
) -> Problem:
    """What a selection of the table is made on, by the flags or by what was learned.

    `joined_at` is the similarity that joins labels where --similarity_threshold is auto: that of an
    earlier run, say. Without `is_new`, for a selection that is made, no other threshold is advised.

    Raises:
      InputError: if embeddings or learned parameters cannot be used.
    """
    if options.params is None:
        wanted = options.similarity_threshold
        if wanted == "auto" and joined_at is not None:
            wanted = joined_at
        remedy = "--similarity_threshold={:g}" if is_new else None
        graph, threshold = read_label_graph(
            options, table, wanted, neighbours=options.neighbours, remedy=remedy
        )
        return Problem(pool, graph, options.measure(), {}, threshold)
    # Not at the top: only who has learned parameters needs optax, flax and orbax here.
    from mig_jax.learning import (
        harden,
        learned_budgets,
        learned_labels,
        learned_threshold,
        restore_learned,
    )

    graph, _ = read_label_graph(
        options, table, learned_threshold(options.params), remedy=_LEARN_AGAIN if is_new else None
    )
    embeddings = label_embeddings(options, table)
    vectors = None if embeddings is None else embeddings[0]
    learned = restore_learned(options.params, table.label_names, vectors, pool, graph)
    pool, graph, measure = harden(learned, pool, graph)
    budgets = learned_budgets(options.params)
    known = learned_labels(options.params)
    number = None if known is None else len({*known} & {*table.label_names})
    about = told_of_learned(learned, measure, budgets, number)
    told = [f"{budget:,}" for budget in budgets]
    learned_for = f"; learned for {listed(told)} records" if told else ""
    edges = f"{graph.num_edges:,} edge{'s' * (graph.num_edges != 1)}"
    say(
        f"learned parameters of {options.params}: propagation {about['propagation']:.3g}, score "
        f"exponent {about['score_exponent']:.3g}, {edges} at similarity "
        f"{about['threshold']:g} or more{learned_for}"
    )
    if number is not None:
        _say_of_labels(number, table.num_labels)
    return Problem(pool, graph, measure, {"learned": about})


def _say_of_labels(learned: int, labels: int) -> None:
    """Says how many labels of the pool have values of their own."""
    text = f"{learned:,} of {labels:,} labels of the pool were learned"
    if not learned:
        say(
            f"warning: {text}: all of them have one value, that of a typical label of the pool "
            "that was learned on; expected a pool whose labels have names that were learned"
        )
    else:
        others = ": the others have the value of a typical label that was learned"
        say(text + others * (learned < labels))


def say_if_beyond(learned: dict[str, Any], picks: int) -> None:
    """Says that a selection is of another size than what its measure was learned for.

    Args:
      learned: what `read_problem` tells for the manifest.
      picks: how many records were selected.
    """
    budgets = learned.get("learned", {}).get("budgets") or [picks]
    if not min(budgets) <= picks <= max(budgets):
        side = "fewer" if picks < min(budgets) else "more"
        known = " to ".join(f"{budget:,}" for budget in sorted({min(budgets), max(budgets)}))
        say(
            f"{picks:,} records are {side} than the parameters were learned for ({known}): they "
            "are used beyond what they were tried on"
        )
