"""The selection with what was learned, and the files that tell of it.

They are those of `mig-jax select --params` on the same pool.
"""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any, BinaryIO, NamedTuple, Self

from mig_jax import data
from mig_jax.commands.budgets import Budget
from mig_jax.commands.enough import told_if_enough
from mig_jax.commands.pool_passes import counted
from mig_jax.commands.selection_steps import (
    certify_with_bar,
    select_with_bar,
    told_of_learned,
    write_selection,
)
from mig_jax.commands.timing import timed
from mig_jax.devices import ALONE
from mig_jax.learning import Inputs, LearnedMeasure, harden
from mig_jax.measure import GAIN_RULES
from mig_jax.reports import manifest
from mig_jax.selection import Selection, labels_covered, random_choice

__all__ = ["SelectedFiles", "select_learned_records"]


class SelectedFiles(NamedTuple):
    """What is written of a selection."""

    outputs: data.OutputFiles
    output: pathlib.Path
    records: BinaryIO
    manifest: BinaryIO
    table: BinaryIO

    @classmethod
    def opened(cls, outputs: data.OutputFiles, folder: pathlib.Path) -> Self:
        """`selected.jsonl` in the folder, with its manifest and its table of picks."""
        output = folder / "selected.jsonl"
        return cls(
            outputs,
            output,
            records=outputs.open(output),
            manifest=outputs.open_manifest(folder / "selected.manifest.json", output),
            table=outputs.open(folder / "selected.selection.parquet"),
        )


def select_learned_records(
    inputs: Inputs,
    learned: LearnedMeasure,
    budgets: Sequence[int],
    parameters: dict[str, Any],
    files: SelectedFiles,
) -> tuple[Selection, dict[str, Any]]:
    """Selects by a learned measure, certifies and writes; returns the manifest too.

    Args:
      inputs: the pool, and its graph from the lowest threshold.
      learned: what was learned of its labels.
      budgets: for how many records it was learned.
      parameters: of the command, for the manifest; `budget`, `gain` and `parameters` are used.
      files: to write to.
    """
    pool, graph, measure = harden(learned, inputs.pool, inputs.graph)
    budget, gain = Budget(parameters["budget"]), GAIN_RULES[parameters["gain"]]
    labels = inputs.table.num_labels if parameters["parameters"] == "free" else None
    seconds: dict[str, float] = {}
    with timed(seconds, "selection"):
        selection = select_with_bar(pool, graph, budget, measure=measure, gain=gain)
    with timed(seconds, "certificate"):
        certificate = certify_with_bar(pool, graph, measure, selection, budget)
    about = {
        **manifest(parameters, inputs.table, graph, selection, certificate, ALONE),
        "records_used": pool.num_records,
        "labels_covered": labels_covered(pool, graph, selection.picks),
        "random_choice": random_choice(pool, graph, measure, len(selection)),
        **counted(inputs.table, selection.picks, None, ALONE),
        **told_if_enough(pool, graph, measure, selection, budget),
        "learned": told_of_learned(learned, measure, budgets, labels),
        "seconds": seconds,
    }
    write_selection(inputs.table, selection.picks, selection, files.records, files.table)
    of = [files.records, files.table]
    files.outputs.write_manifest(files.manifest, about, files.output, of)
    return selection, about
