"""What a model would learn from each record of a pool: kept on disk, block by block."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mig_jax.data import ValidationSet
from mig_jax.errors import InputError
from mig_jax.runs import RunArrays

from ._architecture import Weights
from ._encoding import EncodedRecords
from ._gradients import Projections, gradients_of, main_directions
from ._read_pool import WARM_UP, ReadPool

__all__ = ["AskedRecords", "RecordGradients"]

_DIRECTIONS = 64  # Of states and of errors, at most: products are 4,096 numbers a record.
_BLOCK = 1000  # Records kept at once.
_OF_WANTED = ("wanted", "states", "errors")
_OF_BLOCK = ("records", "gradients", "losses")
_OF_DIRECTIONS = 4  # Every so many batches of validation records tell the main directions.


class AskedRecords(NamedTuple):
    """What a model said of n records of a pool, and of V validation records."""

    gradients: npt.NDArray[np.float32]  #: [n, F].
    losses: npt.NDArray[np.float32]  #: [n]: nats a token of the response.
    wanted: npt.NDArray[np.float32]  #: [V, F]: rows of zeros for those that do not fit.


class RecordGradients:
    """Gradients of some random records of the pool, and of the validation records that fit.

    The model is warmed up first (`ReadPool.warmed_up`): what every record teaches alike then tells
    no records apart.
    """

    def __init__(
        self,
        pool: ReadPool,
        validation: ValidationSet,
        encoded: EncodedRecords,
        fits: npt.NDArray[np.bool_],
        records: int,
        step_size: float,
        *,
        block: int = _BLOCK,
    ) -> None:
        """Nothing is computed before it is asked for; then it is kept in the pool's folder.

        Args:
          pool: whose records they are of.
          validation: V records that are wanted.
          encoded: the same as the model reads them.
          fits: [V], which of them are asked about.
          records: how many of the pool's are asked about, at most.
          step_size: of the warm-up.
          block: how many records are kept at once; a killed run loses less than that.
        """
        self._pool, self._validation, self._step_size = pool, validation, step_size
        self._encoded, self._wanted = encoded, np.flatnonzero(fits)
        #: The records of the pool that are asked about, in the order in which they are.
        self.asked = np.random.default_rng(0).permutation(pool.fits)[:records]
        self.records, self._block = records, block

    def of(
        self, seen: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Gradients of records of the pool, [n, F], and of the validation records, [V, F].

        Rows of zeros are records that were not asked about, and validation records that do not
        fit.
        """
        own, _, wanted = self.found
        found = np.zeros((len(seen), wanted.shape[1]), np.float32)
        asked = np.isin(seen, self.asked)
        place = {record: row for row, record in enumerate(self.asked.tolist())}
        found[asked] = own[[place[record] for record in seen[asked].tolist()]]
        return found, wanted

    def check(self) -> None:
        """Raises InputError if no validation record fits: before the work, not after."""
        if not len(self._wanted):
            raise InputError(
                f"{self._validation.path}: no record has at most {self._pool.limit} tokens; "
                "expected --row larger"
            )

    def run(self) -> dict[str, Any]:
        """What decides them, in types that JSON has."""
        run = self._pool.identity() | {
            "validation": self._validation.digest,
            "step_size": self._step_size,
            "warm_up": WARM_UP,
            "asked": len(self.asked),
        }
        # Studies that were kept before there were blocks of other sizes do not tell theirs.
        return run if self._block == _BLOCK else run | {"block": self._block}

    @functools.cached_property
    def found(self) -> AskedRecords:
        """All of them, records in the order of `asked`.

        Raises:
          InputError: if no validation record fits, or the folder cannot be used.
        """
        self.check()
        with RunArrays(self._pool.folder / "gradients", "gradients", self.run()) as kept:
            starts = range(0, len(self.asked), self._block)
            blocks = [self.asked[start : start + self._block] for start in starts]
            parts = kept.restore([0], _OF_WANTED)
            if parts:  # Else the blocks are along other directions than new ones would be.
                parts |= kept.restore(range(1, len(blocks) + 1), _OF_BLOCK)
            if len(parts) <= len(blocks):
                self._compute(kept, blocks, parts)
        wanted = parts[0]["wanted"]
        own = np.zeros((len(self.asked), wanted.shape[1]), np.float32)
        losses = np.zeros(len(self.asked), np.float32)
        for number, (start, block) in enumerate(zip(starts, blocks, strict=True), 1):
            part = parts.pop(number)
            place = {record: row for row, record in enumerate(part["records"].tolist())}
            rows = [place[record] for record in block.tolist()]
            own[start : start + len(block)] = part["gradients"][rows]
            losses[start : start + len(block)] = part["losses"][rows]
        return AskedRecords(own, losses, wanted)

    def _compute(
        self,
        kept: RunArrays,
        blocks: list[npt.NDArray[np.int64]],
        parts: dict[int, dict[str, npt.NDArray[Any]]],
    ) -> None:
        """Adds the parts that are missing."""
        pool = self._pool
        own = pool.warmed_up(self._step_size)
        if 0 not in parts:
            parts[0] = self._of_wanted(own)
            kept.save(0, parts[0])
        projections = Projections(parts[0]["states"], parts[0]["errors"])
        left = {n: block for n, block in enumerate(blocks, 1) if n not in parts}
        done = len(self.asked) - sum(map(len, left.values()))
        with pool.teller.bar(
            "gradients of records", len(self.asked), unit=" records", initial=done
        ) as bar:
            for number, block in left.items():
                found = []
                for batch, x in pool.batches(block):
                    found.append(gradients_of(pool.tuned, own, projections, batch, x, True))
                    bar.update(len(found[-1][0]))
                arrays = map(np.concatenate, zip(*found, strict=True))
                parts[number] = dict(zip(_OF_BLOCK, arrays, strict=True))
                kept.save(number, parts[number])

    def _of_wanted(self, own: Weights) -> dict[str, Any]:
        """Projections, and the gradients of the validation records' content: a mean over tokens."""
        tuned = self._pool.tuned
        with self._pool.reading("validation", self._encoded, self._wanted) as reading:
            batches = list(reading(self._wanted))
        states, errors = [], []
        for batch, x in batches[::_OF_DIRECTIONS]:
            state, error, _ = tuned.errors(own, batch, x)
            asked = batch.weights > 0
            states.append(np.asarray(state)[asked])
            errors.append(np.asarray(error)[asked])
        projections = Projections(
            main_directions(np.concatenate(states), _DIRECTIONS),
            main_directions(np.concatenate(errors), _DIRECTIONS),
        )
        size = projections.states.shape[1] * projections.errors.shape[1]
        wanted = np.zeros((len(self._encoded), size), np.float32)
        total = len(self._wanted)
        with self._pool.teller.bar(
            "gradients of validation records", total, unit=" records", leave=False
        ) as bar:
            for batch, x in batches:
                records, found, _ = gradients_of(tuned, own, projections, batch, x, False)
                tokens = np.bincount(batch.owners[batch.owners >= 0], minlength=len(wanted))
                wanted[records] = found / np.maximum(tokens[records] - 1, 1)[:, None]
                bar.update(len(records))
        return dict(zip(_OF_WANTED, (wanted, *projections), strict=True))
