"""Rows for whole commands: `mig-jax select` in a process of its own, without a cache and with."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import sys
from collections.abc import Sequence

import numpy as np
import pyarrow.parquet

from experiments.benchmarks.pools import GeneratedPool, write_files
from experiments.benchmarks.rows import Measured, Row
from experiments.benchmarks.watched import run_watched

__all__ = ["command_rows"]

_SELECTION = "selection"  # The command's own name of the stage, in its manifest.


def command_rows(
    generated: GeneratedPool,
    budget: int,
    folder: pathlib.Path,
    words: Sequence[str],
    same_picks_as: str | None,
) -> dict[str, Row]:
    """A row for the first run, and one for the second, whose caches the first has filled.

    Either also tells how long the command's own stage of selection took.

    Args:
      generated: what the pool's file is written from, when a row runs for the first time.
      budget: of the selection.
      folder: of this pool alone; it is the caller's to delete.
      words: further flags of the command.
      same_picks_as: the row whose picks they must have.
    """
    caches, output = folder / "caches", folder / "selected.jsonl"

    def run(name: str) -> Measured:
        pool, embeddings = folder / "pool.jsonl", folder / "emb.npz"
        if not pool.exists():
            folder.mkdir(parents=True, exist_ok=True)
            write_files(generated, folder)
        command = [
            sys.executable,
            "-m",
            "mig_jax",
            "select",
            f"--pool={pool}",
            f"--output={output}",
        ]
        command += [f"--label_embeddings={embeddings}", f"--budget={budget}", *words]
        # Its caches are those of this folder alone, and so are the programs that JAX keeps.
        of_jax = ("JAX_COMPILATION_CACHE", "JAX_ENABLE_COMPILATION_CACHE")
        others = {name: x for name, x in os.environ.items() if not name.startswith(of_jax)}
        watched = run_watched(command, {**others, "XDG_CACHE_HOME": str(caches)})
        peak = None if watched.peak_mb is None else watched.peak_mb + watched.children_mb
        told = json.loads(output.with_suffix(".manifest.json").read_text())["seconds"]
        table = pyarrow.parquet.read_table(output.with_suffix(".selection.parquet"))
        picks = table["line"].to_numpy() - 1
        return Measured(
            watched.seconds,
            np.asarray(picks),
            peak,
            more={f"{name}: its selection": Measured(told[_SELECTION])},
        )

    def first() -> Measured:
        shutil.rmtree(caches, ignore_errors=True)
        return run(_FIRST)

    return {
        _FIRST: Row(first, same_picks_as, warms_up=False),
        _SECOND: Row(lambda: run(_SECOND), same_picks_as, warms_up=False),
    }


_FIRST, _SECOND = "mig-jax select, first run", "mig-jax select, second run"
