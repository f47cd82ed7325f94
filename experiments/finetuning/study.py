"""The data of a study: records that fit a row, what they cost, and who judges."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
import numpy.typing as npt

from mig_jax import data
from mig_jax.commands.terminal import progress_bar, say
from mig_jax.errors import InputError
from mig_jax.language_models import (
    Activations,
    Architecture,
    Batch,
    ChatTemplate,
    Choices,
    EncodedRecords,
    JudgedRecords,
    Losses,
    Recipe,
    TunedModel,
    Tuning,
    Weights,
    batches_of,
    choices_of,
    encode,
    fine_tune,
    fine_tune_side_by_side,
    shared_candidates,
)
from mig_jax.runs import digest

Batches = Iterator[tuple[Batch, npt.NDArray[Any] | None]]

__all__ = [
    "WARM_UP",
    "BaseModel",
    "Encoder",
    "Evaluated",
    "Study",
    "chosen_per_task",
    "digest_of_records",
    "judgeable",
]

Encoder = Callable[[Sequence[tuple[str, str]]], EncodedRecords]
"""Instructions and responses as token ids."""

WARM_UP = 30_000
"""Tokens that a model is trained on before it is asked about records."""

_ROWS = 8  # Of a batch that is only asked about.
_SIZES = {"cpu": 8}  # How many shapes batches have; elsewhere programs are dear to compile.
_ROWS_ARE = 64  # Rows of a model that counts otherwise than budgets do are a multiple of it.


@dataclasses.dataclass(frozen=True, eq=False)
class BaseModel:
    """What is fine-tuned."""

    name: str
    digest: str
    architecture: Architecture
    weights: Weights
    tokenizer: Any
    template: ChatTemplate


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluated:
    """Records that models are judged on: those of a file that fit, so many of each task."""

    losses: Callable[[TunedModel, Weights], Losses]
    losses_side_by_side: Callable[[TunedModel, Weights], list[Losses]]
    groups: npt.NDArray[np.str_]  #: [n].
    records: npt.NDArray[np.int64]  #: [n], in the file.


class Study:
    """One pool, one base model, one way to train, one set of test records.

    Whatever is the same for all selections is computed once: token ids, what the lower layers
    make of each record, the layout of the test records.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        model: BaseModel,
        tuning: Tuning,
        *,
        row: int,
        rows: int,
        table: data.RecordTable,
        validation: data.ValidationSet,
        test: data.ValidationSet,
        test_records: int,
        counted: Encoder | None = None,
        activations: pathlib.Path | None = None,
    ) -> None:
        """Reads and encodes everything.

        Args:
          folder: the study's own.
          model: the base.
          tuning: what of it learns.
          row: longer records, in tokens as budgets count them, are left out, of the pool and of
            the test alike. It is the length of a row, too; rows are longer if another model
            counts, and the longest record has more tokens for this one.
          rows: of a training batch.
          table: the pool.
          validation: what methods may look at.
          test: what nothing looks at before models are judged.
          test_records: how many are judged of each task, at most.
          counted: of the model whose tokens budgets count; the base by default. Studies with one
            of them have the same selections, and the same records judge.
          activations: where they are kept, those of several studies side by side; in `folder` by
            default.

        Raises:
          InputError: if no record fits, or activations are of another run.
        """
        self.folder, self.model, self.tuning = folder, model, tuning
        self._kept = folder / "activations" if activations is None else activations
        self.limit, self.rows, self._counted = row, rows, counted
        self.table, self.validation, self.test = table, validation, test
        self.tuned = TunedModel(model.architecture, model.weights, tuning)
        self._sizes = _SIZES.get(jax.default_backend(), 1)
        say("encoding the pool")
        self.conversations = list(data.read_texts(table))
        self.encoded, counts = self._encode(self.conversations)
        self.costs = counts.lengths
        self.response_costs = counts.lengths - counts.starts
        tested = set(test.conversations)
        fits = self.costs <= row
        is_tested = np.array([one in tested for one in self.conversations], bool)
        if is_tested.any():
            say(f"{is_tested.sum():,} records of the pool are test records, too: left out")
        self.fits = np.flatnonzero(fits & ~is_tested)
        if not len(self.fits):
            raise InputError(f"--pool: no record has at most {row} tokens; expected --row larger")
        say(
            f"{len(self.fits):,} of {len(self.encoded):,} records have at most {row} tokens: "
            f"{int(self.costs[self.fits].sum()):,} in all"
        )
        self.row = self._row(self.encoded.lengths[self.fits])
        self._pool_activations = self._activations("pool", self.encoded, self.row)
        self.judged = self._evaluated("test", test, test_records, validation.conversations)

    def close(self) -> None:
        """Lets go of the activations, for other studies."""
        if self._pool_activations is not None:
            self._pool_activations.close()

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

    def identity_of_judges(self) -> dict[str, Any]:
        """Which records judge, and what the whole file says: choices are made of all of it."""
        return {
            "test": digest([self.judged.records]),
            "test_file": digest_of_records(self.test),
        }

    def count(self, conversations: Sequence[Sequence[str]]) -> list[int]:
        """The tokens of conversations, as budgets count them."""
        return self._encode([(asked, said) for asked, said in conversations])[1].lengths.tolist()

    def validated(self, records: int) -> Evaluated:
        """Validation records, so many of each task, to choose by."""
        return self._evaluated("validation", self.validation, records)

    def batches(self, records: npt.NDArray[np.int64]) -> Batches:
        """Records of the pool in batches, as models are asked about them."""
        self.prepare(records)
        below = self._pool_activations
        return batches_of(self.encoded, records, self.row, _ROWS, below, sizes=self._sizes)

    def validation_batches(self) -> Batches:
        """All validation records that fit, in batches."""
        encoded, counts = self._encode(self.validation.conversations)
        records = np.flatnonzero(counts.lengths <= self.limit)
        with self.reading("validation", encoded, records) as batches:
            yield from batches(records)

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
        row = max(self.row, self._row(encoded.lengths[records]))
        activations = self._activations(name, encoded, row)

        def batches(some: npt.NDArray[np.int64]) -> Batches:
            if activations is not None:
                activations.ensure(some)
            return batches_of(encoded, some, row, _ROWS, activations, sizes=self._sizes)

        with contextlib.nullcontext() if activations is None else activations:
            yield batches

    def prepare(self, picks: npt.NDArray[np.int64]) -> None:
        """Computes what the lower layers make of a selection, where it is not there."""
        if self._pool_activations is not None:
            self._pool_activations.ensure(picks)

    def train(
        self,
        picks: npt.NDArray[np.int64],
        recipe: Recipe,
        seed: int,
        epochs: int = 1,
    ) -> tuple[Weights, npt.NDArray[np.float32]]:
        """The weights after some epochs on a selection, and the loss of each batch."""
        batches = self._training_batches(picks, seed, epochs)
        with progress_bar("training", len(batches), unit=" steps", leave=False) as bar:
            return fine_tune(
                self.tuned,
                batches,
                len(batches),
                recipe,
                jax.random.key(seed),
                lambda number, loss: bar.update(),
            )

    def train_side_by_side(
        self,
        picks: Sequence[npt.NDArray[np.int64]],
        recipe: Recipe,
        seeds: Sequence[int],
        epochs: int = 1,
    ) -> tuple[Weights, list[npt.NDArray[np.float32]]]:
        """The same for K selections at once: weights [K, ...]."""
        batches = [
            self._training_batches(one, seed, epochs)
            for one, seed in zip(picks, seeds, strict=True)
        ]
        steps = max(map(len, batches))
        with progress_bar("training", steps, unit=" steps", leave=False) as bar:
            return fine_tune_side_by_side(
                self.tuned,
                batches,
                recipe,
                [jax.random.key(seed) for seed in seeds],
                lambda number: bar.update(),
            )

    def _training_batches(
        self, picks: npt.NDArray[np.int64], seed: int, epochs: int
    ) -> list[tuple[Batch, npt.NDArray[Any] | None]]:
        self.prepare(picks)
        activations = self._pool_activations
        rng = np.random.default_rng([seed, 1])
        return [
            batch
            for _ in range(epochs)
            for batch in batches_of(
                self.encoded, picks, self.row, self.rows, activations, rng, self._sizes
            )
        ]

    def warmed_up(self, step_size: float) -> Weights:
        """The weights after one epoch on random records of the pool, `WARM_UP` tokens.

        What every record teaches alike, such as how an answer begins, is learned then.
        """
        say("warming the model up on random records, before it is asked about others")
        order = np.random.default_rng(0).permutation(self.fits)[::-1]
        count = np.searchsorted(np.cumsum(self.costs[order]), WARM_UP, "right")
        return self.train(order[:count], Recipe(step_size), 0)[0]

    def _encode(
        self, conversations: list[tuple[str, str]]
    ) -> tuple[EncodedRecords, EncodedRecords]:
        """Records as the base reads them, and as budgets count them."""
        read = encode(self.model.tokenizer, self.model.template, conversations)
        return read, read if self._counted is None else self._counted(conversations)

    def _row(self, lengths: npt.NDArray[np.int64]) -> int:
        longest = -(-int(lengths.max(initial=1)) // _ROWS_ARE) * _ROWS_ARE
        return self.limit if self._counted is None else max(self.limit, longest)

    def _activations(self, name: str, encoded: EncodedRecords, row: int) -> Activations | None:
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

    def _choices(self, judged: data.ValidationSet) -> Choices:
        """Records whose answers are one of few, by their source."""
        groups = judged.groups if judged.sources is None else judged.sources
        candidates = shared_candidates(judged.conversations, groups.tolist())
        model = self.model
        return choices_of(model.tokenizer, model.template, judged.conversations, candidates)

    def _evaluated(
        self,
        name: str,
        judged: data.ValidationSet,
        most: int,
        besides: Sequence[tuple[str, str]] = (),
    ) -> Evaluated:
        encoded, counts = self._encode(judged.conversations)
        allowed = judgeable(counts, self.limit, judged.conversations, besides)
        records = chosen_per_task(allowed, judged.groups, most)
        if not len(records):
            other = " and is no validation record" if besides else ""
            raise InputError(
                f"--{name}: no record has an answer, at most {self.limit} tokens{other}; expected "
                "others, or --row larger"
            )
        row = max(self.row, self._row(encoded.lengths[records]))
        activations = self._activations(name, encoded, row)
        if activations is not None:
            left = int(encoded.lengths[activations.missing(records)].sum())
            with progress_bar(f"{name} records", left, unit=" tokens", leave=False) as bar:
                activations.ensure(records, lambda done: bar.update(done - bar.n))
        choices = self._choices(judged)
        laid_out = JudgedRecords(encoded, records, row, activations, choices, self._sizes)
        if activations is not None:
            activations.close()
        say(
            f"{name}: {len(records)} records of {len(set(judged.groups[records]))} tasks judge; "
            f"{allowed.sum()} of {len(allowed)} can"
        )
        if lost := sorted(set(judged.groups) - set(judged.groups[records])):
            say(f"{name}: no record of {', '.join(lost)} fits: the task is left out")
        return Evaluated(
            laid_out.losses, laid_out.losses_side_by_side, judged.groups[records], records
        )


def judgeable(
    counts: EncodedRecords,
    limit: int,
    conversations: Sequence[tuple[str, str]],
    besides: Sequence[tuple[str, str]] = (),
) -> npt.NDArray[np.bool_]:
    """Records that fit, say something before they end, and are none of those `besides`: [n]."""
    seen = set(besides)
    is_other = np.array([one not in seen for one in conversations], bool)
    return (counts.lengths <= limit) & (counts.lengths - counts.starts > 1) & is_other


def digest_of_records(judged: data.ValidationSet) -> str:
    """A digest of what the records say, and of how they are grouped."""
    sources = judged.groups if judged.sources is None else judged.sources
    parts = [[*pair] for pair in judged.conversations]
    text = json.dumps([parts, judged.groups.tolist(), sources.tolist()])
    return digest([np.frombuffer(text.encode(), np.uint8)])


def chosen_per_task(
    allowed: npt.NDArray[np.bool_], groups: npt.NDArray[np.str_], most: int
) -> npt.NDArray[np.int64]:
    """So many allowed records of each task, by a fixed draw: ascending int64.

    The first of a draw are those of a smaller one.
    """
    chosen = []
    for group in np.unique(groups):
        own = np.flatnonzero(allowed & (groups == group))
        chosen.append(np.random.default_rng(5).permutation(own)[:most])
    return np.sort(np.concatenate(chosen)) if chosen else np.zeros(0, np.int64)
