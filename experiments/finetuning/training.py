"""Cells of a study: which there are, in which order, and several of them trained at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from experiments.finetuning.comparison import Result
from experiments.finetuning.study import Evaluated, Study
from mig_jax.language_models import Losses, Recipe
from mig_jax.methods import Limits

__all__ = ["Cell", "Trained", "groups_of", "one_ahead", "result_of", "train_and_judge"]

Trained = tuple["Cell", dict[str, Any]]
"""A cell, and what is kept of it."""


@dataclasses.dataclass(frozen=True)
class Cell:
    """A method at a budget with a seed: one selection, one model trained on it."""

    method: str
    budget: str
    limits: Limits
    seed: int

    @property
    def key(self) -> str:
        """By which it is kept."""
        return f"{self.method} | {self.budget} | {self.seed}"


def groups_of(cells: Sequence[Cell], at_once: int) -> list[list[Cell]]:
    """The cells in groups that are trained at once: those of a budget have as many steps.

    One at a time they keep their order.
    """
    if at_once == 1:
        return [[cell] for cell in cells]
    groups = []
    for budget in dict.fromkeys(cell.budget for cell in cells):
        own = [cell for cell in cells if cell.budget == budget]
        groups += [own[first : first + at_once] for first in range(0, len(own), at_once)]
    return groups


def one_ahead(
    groups: list[list[Cell]], prepare: Callable[[Cell], npt.NDArray[np.int64]]
) -> Iterator[tuple[list[Cell], list[npt.NDArray[np.int64]]]]:
    """Each group with what is prepared of its cells; the next one is prepared meanwhile."""

    def prepared(group: list[Cell]) -> list[npt.NDArray[np.int64]]:
        return [prepare(cell) for cell in group]

    thread = ThreadPoolExecutor(1)
    try:
        ahead = [thread.submit(prepared, group) for group in groups[:1]]
        for number, group in enumerate(groups):
            picks = ahead.pop().result()
            ahead += [thread.submit(prepared, after) for after in groups[number + 1 : number + 2]]
            yield group, picks
    finally:  # An interrupt does not wait for what is prepared, which may take long.
        thread.shutdown(wait=False, cancel_futures=True)


def train_and_judge(
    study: Study,
    judged: Evaluated,
    cells: Sequence[Cell],
    picks: Sequence[npt.NDArray[np.int64]],
    recipe: Recipe,
    epochs: int,
    at_once: int,
) -> list[Trained]:
    """What is kept of some cells, by the picks of each; several learn side by side."""
    seeds = [cell.seed for cell in cells]
    if at_once == 1:
        [one], [seed] = picks, seeds
        own, _ = study.train(one, recipe, seed, epochs)
        found = [judged.losses(study.tuned, own)]
    else:  # A group that is not full trains its last cell several times: one program for all.
        more = at_once - len(cells)
        own, _ = study.train_side_by_side(
            [*picks, *[picks[-1]] * more], recipe, [*seeds, *[seeds[-1]] * more], epochs
        )
        found = judged.losses_side_by_side(study.tuned, own)[: len(cells)]
    kept = [_kept(study, losses, one) for losses, one in zip(found, picks, strict=True)]
    return list(zip(cells, kept, strict=True))


def _kept(study: Study, losses: Losses, picks: npt.NDArray[np.int64]) -> dict[str, Any]:
    return {
        "content": np.round(losses.content, 5).tolist(),
        "end": np.round(losses.end, 5).tolist(),
        "right": [None if np.isnan(m) else bool(m > 0) for m in losses.margins],
        "records": len(picks),
        "tokens": int(study.costs[picks].sum()),
        "response_tokens": int(study.response_costs[picks].sum()),
    }


def result_of(kept: dict[str, Any]) -> Result:
    """A cell as the table takes it, from what is kept of it."""
    arrays = {name: np.array(kept[name], float) for name in ("content", "end", "right")}
    return Result(**(kept | arrays))
