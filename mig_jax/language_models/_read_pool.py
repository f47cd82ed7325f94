"""A pool as one model reads it: what the model trains on, and is asked about."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
import numpy.typing as npt

from mig_jax.errors import InputError
from mig_jax.runs import digest

from ._activations import Activations
from ._architecture import Weights
from ._base_model import BaseModel
from ._encoding import EncodedRecords
from ._judge import batches_of
from ._packing import Batch
from ._teller import SILENT, Teller
from ._tuning import Recipe, TunedModel, Tuning, fine_tune

__all__ = ["WARM_UP", "Batches", "ReadPool"]

Batches = Iterator[tuple[Batch, npt.NDArray[Any] | None]]

WARM_UP = 30_000
"""Tokens that a model is trained on before it is asked about records."""

_ROWS = 8  # Of a batch that is only asked about.
_SIZES = {"cpu": 8}  # How many shapes batches have; elsewhere programs are dear to compile.
_ROWS_ARE = 64  # Rows of a model that counts otherwise than budgets do are a multiple of it.


class ReadPool:
    """One pool, one base model, one way to train it.

    Whatever is the same for all selections is computed once, as what the lower layers make of each
    record. Records that do not fit a row are neither trained on nor asked about.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        model: BaseModel,
        tuning: Tuning,
        encoded: EncodedRecords,
        *,
        row: int,
        rows: int,
        costs: npt.NDArray[np.int64] | None = None,
        allowed: npt.NDArray[np.bool_] | None = None,
        activations: pathlib.Path | None = None,
        teller: Teller = SILENT,
    ) -> None:
        """Computes nothing yet.

        Args:
          folder: for what is kept.
          model: the base.
          tuning: what of it learns.
          encoded: the pool, P records as the model reads them.
          row: longer records, by their costs, do not fit. It is the length of a row, too; rows are
            longer if costs are another model's tokens, and the longest record has more for this
            one.
          rows: of a training batch.
          costs: [P], tokens as budgets count them; the model's own by default.
          allowed: [P], records that may be looked at; all by default.
          activations: where they are kept; in `folder` by default.
          teller: tells what runs.

        Raises:
          InputError: if no record fits.
        """
        self.folder, self.model, self.tuning, self.encoded = folder, model, tuning, encoded
        self._kept = folder / "activations" if activations is None else activations
        self.limit, self.rows, self.teller = row, rows, teller
        self._warm: dict[float, Weights] = {}
        self._is_counted_apart = costs is not None
        self.costs = encoded.lengths if costs is None else costs
        self.tuned = TunedModel(model.architecture, model.weights, tuning)
        self.sizes = _SIZES.get(jax.default_backend(), 1)
        #: The records that fit, ascending.
        self.fits = np.flatnonzero((self.costs <= row) & (True if allowed is None else allowed))
        if not len(self.fits):
            raise InputError(f"--pool: no record has at most {row} tokens; expected --row larger")
        teller.say(
            f"{len(self.fits):,} of {len(encoded):,} records have at most {row} tokens: "
            f"{int(self.costs[self.fits].sum()):,} in all"
        )
        self.row = self.row_of(encoded.lengths[self.fits])

    def close(self) -> None:
        """Lets go of the activations, for others."""
        if "_activations" in self.__dict__ and self._activations is not None:
            self._activations.close()
            del self._activations

    def identity(self) -> dict[str, Any]:
        """What decides the weights after training on a selection, in types that JSON has."""
        return {
            "model": self.model.digest,
            "records": digest([self.encoded.ids]),
            "costs": digest([self.costs]),
            "tuning": dataclasses.asdict(self.tuning),
            "row": self.limit,
            "rows": self.rows,
        }

    def batches(self, records: npt.NDArray[np.int64]) -> Batches:
        """Records of the pool in batches, as models are asked about them."""
        below = self._activations
        self._ensure(below, records)
        return batches_of(self.encoded, records, self.row, _ROWS, below, sizes=self.sizes)

    @contextlib.contextmanager
    def reading(
        self, name: str, encoded: EncodedRecords, records: npt.NDArray[np.int64]
    ) -> Iterator[Callable[[npt.NDArray[np.int64]], Batches]]:
        """A function that gives some of these records in batches, as `batches` does.

        Args:
          name: of the folder of activations, which is held in the block.
          encoded: records that are not the pool's.
          records: those that may be asked for.
        """
        row = max(self.row, self.row_of(encoded.lengths[records]))
        activations = self.activations(name, encoded, row)

        def batches(some: npt.NDArray[np.int64]) -> Batches:
            self._ensure(activations, some)
            return batches_of(encoded, some, row, _ROWS, activations, sizes=self.sizes)

        with contextlib.nullcontext() if activations is None else activations:
            yield batches

    def prepare(self, records: npt.NDArray[np.int64]) -> None:
        """Computes what the lower layers make of records, where it is not there; tells nobody."""
        if self._activations is not None:
            self._activations.ensure(records)

    def train(
        self,
        picks: npt.NDArray[np.int64],
        recipe: Recipe,
        seed: int,
        epochs: int = 1,
        name: str = "training",
    ) -> tuple[Weights, npt.NDArray[np.float32]]:
        """The weights after some epochs on a selection, and the loss of each batch.

        `name` is what the bar is called.
        """
        batches = self.training_batches(picks, seed, epochs)
        with self.teller.bar(name, len(batches), unit=" steps", leave=False) as bar:

            def progress(number: int, loss: float) -> None:
                bar.update()

            return fine_tune(
                self.tuned,
                batches,
                len(batches),
                recipe,
                jax.random.key(seed),
                progress,
            )

    def training_batches(
        self, picks: npt.NDArray[np.int64], seed: int, epochs: int = 1
    ) -> list[tuple[Batch, npt.NDArray[Any] | None]]:
        """A selection in batches, rows in another order in each epoch."""
        self._ensure(self._activations, picks)
        rng = np.random.default_rng([seed, 1])
        return [
            batch
            for _ in range(epochs)
            for batch in batches_of(
                self.encoded, picks, self.row, self.rows, self._activations, rng, self.sizes
            )
        ]

    def warmed_up(self, step_size: float) -> Weights:
        """The weights after one epoch on random records of the pool, `WARM_UP` tokens.

        What every record teaches alike, such as how an answer begins, is learned then.
        """
        if step_size not in self._warm:
            self.teller.say(
                "warming the model up on random records, before it is asked about others"
            )
            order = np.random.default_rng(0).permutation(self.fits)[::-1]
            count = np.searchsorted(np.cumsum(self.costs[order]), WARM_UP, "right")
            own = self.train(order[:count], Recipe(step_size), 0, name="warming up")[0]
            self._warm = {step_size: own}  # Of the last step size alone: they are large.
        return self._warm[step_size]

    def row_of(self, lengths: npt.NDArray[np.int64]) -> int:
        """Tokens of a row for records of these lengths."""
        longest = -(-int(lengths.max(initial=1)) // _ROWS_ARE) * _ROWS_ARE
        return max(self.limit, longest) if self._is_counted_apart else self.limit

    def activations(self, name: str, encoded: EncodedRecords, row: int) -> Activations | None:
        """Those of some records, in a folder of their own; None if all weights learn."""
        if self.tuning.whole:
            return None
        run = {"model": self.model.digest, "records": digest([encoded.ids])}
        which = digest([self.tuning.first, *run.values()])[:12]
        return Activations(
            self._kept / f"{name}-{which}",
            run,
            encoded,
            self.model.architecture,
            self.model.weights,
            self.tuning.first,
            row,
        )

    def _ensure(self, activations: Activations | None, records: npt.NDArray[np.int64]) -> None:
        """As `prepare`, with a bar if any are missing."""
        if activations is None or not len(missing := activations.missing(records)):
            return
        left, done = int(activations.encoded.lengths[missing].sum()), 0
        with self.teller.bar("running the lower layers", left, unit=" tokens", leave=False) as bar:

            def progress(now: int) -> None:
                nonlocal done
                bar.update(now - done)
                done = now

            activations.ensure(missing, progress)

    @functools.cached_property
    def _activations(self) -> Activations | None:
        return self.activations("pool", self.encoded, self.row)
