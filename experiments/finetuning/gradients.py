"""What the model of a study would learn from each record: kept in the workdir, block by block.

What the gradients say of the tasks is kept beside them, for readers elsewhere.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from experiments.finetuning.influences import Influences, keep_influences, run_of_influences
from experiments.finetuning.study import WARM_UP, Study, digest_of_records
from mig_jax.commands.terminal import progress_bar
from mig_jax.language_models import (
    Projections,
    Weights,
    gradients_of,
    main_directions,
)
from mig_jax.methods import influences
from mig_jax.runs import RunArrays

__all__ = ["RecordGradients"]

_DIRECTIONS = 64  # Of states and of errors, at most: products are 4,096 numbers a record.
_BLOCK = 1000  # Records kept at once.
_OF_WANTED = ("wanted", "states", "errors")
_OF_BLOCK = ("records", "gradients", "losses")
_OF_DIRECTIONS = 4  # Every so many batches of validation records tell the main directions.


class RecordGradients:
    """Gradients of some random records of the pool, and of the validation records that fit.

    The model is warmed up first (`Study.warmed_up`): what every record teaches alike then tells
    no records apart.
    """

    def __init__(self, study: Study, records: int, step_size: float) -> None:
        """Nothing is computed before `of` is called.

        Args:
          study: whose model, pool and validation records they are of.
          records: how many of the pool's are asked about, at most.
          step_size: of the warm-up.
        """
        self._study, self._step_size = study, step_size
        self._asked = np.random.default_rng(0).permutation(study.fits)[:records]
        self.records = records

    def of(
        self, seen: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Gradients of records of the pool, [n, F], and of the validation records, [V, F].

        Rows of zeros are records that were not asked about, and validation records that do not
        fit.
        """
        own, wanted = self._all
        found = np.zeros((len(seen), wanted.shape[1]), np.float32)
        asked = np.isin(seen, self._asked)
        place = {record: row for row, record in enumerate(self._asked.tolist())}
        found[asked] = own[[place[record] for record in seen[asked].tolist()]]
        return found, wanted

    @functools.cached_property
    def _all(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        run = self._study.identity() | {
            "validation": digest_of_records(self._study.validation),
            "step_size": self._step_size,
            "warm_up": WARM_UP,
            "asked": len(self._asked),
        }
        folder, asked = self._study.folder, run | {"gradient_records": self.records}
        influences_are_kept = run_of_influences(folder) == asked
        with RunArrays(folder / "gradients", "gradients", run) as kept:
            blocks = [
                self._asked[start : start + _BLOCK] for start in range(0, len(self._asked), _BLOCK)
            ]
            parts = kept.restore([0], _OF_WANTED)
            parts |= kept.restore(range(1, len(blocks) + 1), _OF_BLOCK)
            if len(parts) <= len(blocks):
                self._compute(kept, blocks, parts)
            wanted = parts[0]["wanted"]
            own = np.zeros((len(self._asked), wanted.shape[1]), np.float32)
            losses = np.zeros(len(self._asked), np.float32)
            for number, block in enumerate(blocks, 1):
                part = parts[number]
                place = {record: row for row, record in enumerate(part["records"].tolist())}
                start = (number - 1) * _BLOCK
                rows = [place[record] for record in block.tolist()]
                own[start : start + len(block)] = part["gradients"][rows]
                losses[start : start + len(block)] = part["losses"][rows]
            if not influences_are_kept:
                keep_influences(folder, asked, self._influences(own, wanted, losses))
        return own, wanted

    def _influences(
        self,
        own: npt.NDArray[np.float32],
        wanted: npt.NDArray[np.float32],
        losses: npt.NDArray[np.float32],
    ) -> Influences:
        """On the mean gradient of each task, with the curvature over all records asked about."""
        known = wanted.any(axis=1)
        wanted, groups = wanted[known], self._study.validation.groups[known]
        tasks = np.unique(groups).tolist()
        means = np.stack([wanted[groups == task].mean(axis=0) for task in tasks])
        taught = influences(own, means, np.maximum(self._study.costs[self._asked], 1))
        return Influences(self._asked, tasks, taught.astype(np.float32), losses)

    def _compute(
        self,
        kept: RunArrays,
        blocks: list[npt.NDArray[np.int64]],
        parts: dict[int, dict[str, npt.NDArray[Any]]],
    ) -> None:
        """Adds the parts that are missing."""
        study = self._study
        own = study.warmed_up(self._step_size)
        if 0 not in parts:
            parts[0] = self._of_wanted(own)
            kept.save(0, parts[0])
        projections = Projections(parts[0]["states"], parts[0]["errors"])
        left = {n: block for n, block in enumerate(blocks, 1) if n not in parts}
        with progress_bar("gradients", sum(map(len, left.values())), unit=" records") as bar:
            for number, block in left.items():
                batches = study.batches(block)
                found = [gradients_of(study.tuned, own, projections, *b, True) for b in batches]
                arrays = map(np.concatenate, zip(*found, strict=True))
                parts[number] = dict(zip(_OF_BLOCK, arrays, strict=True))
                kept.save(number, parts[number])
                bar.update(len(block))

    def _of_wanted(self, own: Weights) -> dict[str, Any]:
        """Projections, and the gradients of the validation records' content: a mean over tokens."""
        study = self._study
        batches = list(study.validation_batches())
        states, errors = [], []
        for batch, x in batches[::_OF_DIRECTIONS]:
            state, error, _ = study.tuned.errors(own, batch, x)
            asked = batch.weights > 0
            states.append(np.asarray(state)[asked])
            errors.append(np.asarray(error)[asked])
        projections = Projections(
            main_directions(np.concatenate(states), _DIRECTIONS),
            main_directions(np.concatenate(errors), _DIRECTIONS),
        )
        size = projections.states.shape[1] * projections.errors.shape[1]
        wanted = np.zeros((len(study.validation), size), np.float32)
        for batch, x in batches:
            records, found, _ = gradients_of(study.tuned, own, projections, batch, x, False)
            tokens = np.bincount(batch.owners[batch.owners >= 0], minlength=len(wanted))
            wanted[records] = found / np.maximum(tokens[records] - 1, 1)[:, None]
        return dict(zip(_OF_WANTED, (wanted, *projections), strict=True))
