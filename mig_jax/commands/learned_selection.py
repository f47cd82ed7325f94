"""The selection with what was learned, and the files that tell of it.

They are those of `mig-jax select --params` on the same pool.
"""

from __future__ import annotations

import pathlib
from typing import Any, BinaryIO, NamedTuple, Self

import numpy as np

from mig_jax import data
from mig_jax.commands.terminal import progress_bar
from mig_jax.commands.timing import timed
from mig_jax.learning import Inputs, LearnedMeasure, harden
from mig_jax.measure import GAIN_RULES
from mig_jax.reports import at_least, manifest
from mig_jax.selection import Progress, Selection, certify, labels_covered, random_choice, select

__all__ = ["SelectedFiles", "select_learned_records"]


class SelectedFiles(NamedTuple):
    """What is written of a selection."""

    records: BinaryIO
    manifest: BinaryIO
    table: BinaryIO

    @classmethod
    def opened(cls, outputs: data.OutputFiles, folder: pathlib.Path) -> Self:
        """`selected.jsonl` in the folder, with its manifest and its table of picks."""
        endings = ("jsonl", "manifest.json", "selection.parquet")
        return cls(*(outputs.open(folder / f"selected.{ending}") for ending in endings))


def select_learned_records(
    inputs: Inputs, learned: LearnedMeasure, parameters: dict[str, Any], files: SelectedFiles
) -> tuple[Selection, dict[str, Any]]:
    """Selects by a learned measure, certifies and writes; returns the manifest too.

    Args:
      inputs: the pool, and its graph from the lowest threshold.
      learned: what was learned of its labels.
      parameters: of the command, for the manifest; `budget` and `gain` among them.
      files: to write to.
    """
    pool, graph, measure = harden(learned, inputs.pool, inputs.graph)
    budget, gain = parameters["budget"], GAIN_RULES[parameters["gain"]]
    seconds: dict[str, float] = {}
    with timed(seconds, "selection"), progress_bar("selecting", budget, unit="records") as bar:

        def on_chunk(progress: Progress) -> None:
            bar.update(len(progress) - bar.n)

        selection = select(pool, graph, budget, measure=measure, gain=gain, on_chunk=on_chunk)
    with timed(seconds, "certificate"), progress_bar("certifying", None, unit="steps") as bar:

        def on_step(step: int, bound: float) -> None:
            bar.set_postfix_str(at_least(selection.information / bound), refresh=False)
            bar.update(step - bar.n)

        certificate = certify(pool, graph, measure, selection.picks, on_step=on_step)
    about = {
        **manifest(parameters, inputs.table, graph, selection, certificate, None),
        "records_used": pool.num_records,
        "labels_covered": labels_covered(pool, graph, selection.picks, None),
        "random_choice": random_choice(pool, graph, measure, budget, None),
        "learned": {
            "propagation": float(measure.propagation),
            "threshold": float(learned.threshold),
            "score_exponent": float(learned.score_exponent),
        },
        "seconds": seconds,
    }
    data.write_records(inputs.table, selection.picks, files.records)
    so_far = np.cumsum(selection.increases, dtype=np.float64)
    data.write_selection_table(files.table, inputs.table, selection.picks, selection.gains, so_far)
    data.write_json(files.manifest, about)
    return selection, about
