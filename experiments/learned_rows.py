"""The rows of a comparison of what is learned, from the selections that were judged."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import scipy.stats

from mig_jax.learning import bootstrap, mean_over_groups

__all__ = ["ALL_TASKS", "LEARNED", "kept_selection", "rows_of_setting"]

ALL_TASKS = "all"  # The setting whose validation records are of every task.
LEARNED = "learned"  # The method that all others are compared with.


def kept_selection(
    folder: pathlib.Path, setting: str, method: str, seed: int, budget: int
) -> pathlib.Path:
    """Where the picks of a method and the losses of its judges are kept."""
    return folder / f"{setting}_{method}_{seed}_{budget}.npz"


def rows_of_setting(
    folder: pathlib.Path,
    setting: str,
    budget: int,
    methods: Sequence[str],
    seeds: Sequence[int],
    groups: np.ndarray,
) -> Iterator[dict[str, Any]]:
    """A row a method: its loss, and its loss less that of what was learned, with intervals.

    `groups` are the tasks of all test records.
    """
    own = np.isin(groups, [setting]) | (setting == ALL_TASKS)
    groups = groups[own]
    found = {}
    for method in methods:
        paths = [kept_selection(folder, setting, method, seed, budget) for seed in seeds]
        kept = [np.load(path) for path in paths if path.exists()]
        losses = np.stack([one["losses"][own] for one in kept])
        found[method] = losses, float(np.median([one["seconds"] for one in kept]))
    for method, (losses, seconds) in found.items():
        row: dict[str, Any] = {"setting": setting, "budget": budget, "method": method}
        row["seeds"] = len(losses)
        row["test_loss"], row["low"], row["high"] = bootstrap(losses.mean(0), groups)
        if LEARNED in found:
            row |= _difference(losses, found[LEARNED][0], groups)
        yield row | {"seconds": seconds}


def _difference(losses: np.ndarray, learned: np.ndarray, groups: np.ndarray) -> dict[str, float]:
    """Less what was learned: over test records the seeds' mean, and over seeds the records'."""
    between = bootstrap(losses.mean(0) - learned.mean(0), groups)
    found = dict(zip(("over_learned", "records_low", "records_high"), between, strict=True))
    of_seeds = [
        mean_over_groups(mine - theirs, groups)
        for mine, theirs in zip(np.broadcast_to(losses, learned.shape), learned, strict=True)
    ]
    if len(of_seeds) > 1:
        error = scipy.stats.sem(of_seeds) * scipy.stats.t.ppf(0.975, len(of_seeds) - 1)
        middle = float(np.mean(of_seeds))
        found |= {"seeds_low": middle - error, "seeds_high": middle + error}
    return found
