"""What the model of a study would learn from each record: kept in the workdir, block by block.

What the gradients say of the tasks is kept beside them, for readers elsewhere.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from experiments.finetuning.influences import Influences, keep_influences, run_of_influences
from experiments.finetuning.study import Study, digest_of_records
from mig_jax.commands.terminal import progress_bar, say
from mig_jax.language_models import (
    Projections,
    Recipe,
    Weights,
    gradients_of,
    main_directions,
)
from mig_jax.methods import influences
from mig_jax.runs import RunFolder

__all__ = ["RecordGradients"]

_DIRECTIONS = 64  # Of states and of errors, at most: products are 4,096 numbers a record.
_BLOCK = 1000  # Records kept at once.
_WARM_UP = 30_000  # Tokens that the model is trained on before it is asked.
_OF_DIRECTIONS = 4  # Every so many batches of validation records tell the main directions.


class RecordGradients:
    """Gradients of some random records of the pool, and of the validation records that fit.

    The model is warmed up first, on random records of its own: what every record teaches alike,
    such as how an answer begins, is then learned and tells no records apart.
    """

    def __init__(self, study: Study, records: int, step_size: float) -> None:
        """Nothing is computed before `of` is called.

        Args:
          study: whose model, pool and validation records they are of.
          records: how many of the pool's are asked about, at most.
          step_size: of the warm-up.
        """
        self._study, self._recipe = study, Recipe(step_size)
        order = np.random.default_rng(0).permutation(study.fits)
        self._asked, self._warm_up = order[:records], order[::-1]
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
            "step_size": self._recipe.step_size,
            "warm_up": _WARM_UP,
            "asked": len(self._asked),
        }
        folder, asked = self._study.folder, run | {"gradient_records": self.records}
        influences_are_kept = run_of_influences(folder) == asked
        with RunFolder(folder / "gradients", "gradients", run, ".npz") as kept:
            blocks = [
                self._asked[start : start + _BLOCK] for start in range(0, len(self._asked), _BLOCK)
            ]
            left = [n for n in range(len(blocks) + 1) if n not in kept.numbers()]
            if left:
                self._compute(kept, blocks, left)
            parts = dict(kept.whole(range(len(blocks) + 1), _read))
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
        groups = self._study.validation.groups
        tasks = np.unique(groups).tolist()
        means = np.stack([wanted[groups == task].mean(axis=0) for task in tasks])
        taught = influences(own, means, np.maximum(self._study.costs[self._asked], 1))
        return Influences(self._asked, tasks, taught.astype(np.float32), losses)

    def _compute(
        self, kept: RunFolder, blocks: list[npt.NDArray[np.int64]], left: list[int]
    ) -> None:
        study = self._study
        say("warming the model up, to ask it for gradients")
        tokens = np.cumsum(study.costs[self._warm_up])
        warm_up = self._warm_up[: int(np.searchsorted(tokens, _WARM_UP, "right"))]
        own, _ = study.train(warm_up, self._recipe, 0)
        if 0 in left:
            self._put(kept, 0, self._of_wanted(own))
        [(_, first)] = kept.whole([0], _read)
        projections = Projections(first["states"], first["errors"])
        count = sum(len(blocks[n - 1]) for n in left if n)
        with progress_bar("gradients", count, unit=" records") as bar:
            for number in (n for n in left if n):
                block = blocks[number - 1]
                batches = study.batches(block)
                parts = [gradients_of(study.tuned, own, projections, *b, True) for b in batches]
                records, found, losses = map(np.concatenate, zip(*parts, strict=True))
                values = {"records": records, "gradients": found, "losses": losses}
                self._put(kept, number, values)
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
        return {"wanted": wanted, "states": projections.states, "errors": projections.errors}

    @staticmethod
    def _put(kept: RunFolder, number: int, values: dict[str, Any]) -> None:
        def write(path: str) -> None:
            with open(path, "wb") as stream:  # Given a name, NumPy adds an ending.
                np.savez(stream, **values)

        kept.put(number, write)


def _read(path: str) -> dict[str, Any]:
    with np.load(path) as arrays:
        return dict(arrays)
