"""The data of a study: records that fit a row, what they cost, and who judges."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
import numpy.typing as npt

from mig_jax import data
from mig_jax.commands.terminal import progress_bar, say
from mig_jax.errors import InputError
from mig_jax.language_models import (
    BaseModel,
    Choices,
    EncodedRecords,
    JudgedRecords,
    Losses,
    ReadPool,
    Recipe,
    Teller,
    TunedModel,
    Tuning,
    Weights,
    choices_of,
    encode,
    fine_tune_side_by_side,
    shared_candidates,
)
from mig_jax.runs import digest

__all__ = [
    "Encoder",
    "Evaluated",
    "Study",
    "chosen_per_task",
    "judgeable",
]

Encoder = Callable[[Sequence[tuple[str, str]]], EncodedRecords]
"""Instructions and responses as token ids."""


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluated:
    """Records that models are judged on: those of a file that fit, so many of each task."""

    losses: Callable[[TunedModel, Weights], Losses]
    losses_side_by_side: Callable[[TunedModel, Weights], list[Losses]]
    groups: npt.NDArray[np.str_]  #: [n].
    records: npt.NDArray[np.int64]  #: [n], in the file.


class Study(ReadPool):
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
        self._counted, self.model = counted, model
        self.table, self.validation, self.test = table, validation, test
        say("encoding the pool")
        self.conversations = list(data.read_texts(table))
        encoded, counts = self._encode(self.conversations)
        self.response_costs = counts.lengths - counts.starts
        tested = set(test.conversations)
        is_tested = np.array([one in tested for one in self.conversations], bool)
        if is_tested.any():
            say(f"{is_tested.sum():,} records of the pool are test records, too: left out")
        super().__init__(
            folder,
            model,
            tuning,
            encoded,
            row=row,
            rows=rows,
            costs=None if counted is None else counts.lengths,
            allowed=~is_tested,
            activations=activations,
            teller=Teller(say, progress_bar),
        )
        self.prepare(self.fits[:0])  # Activations of another run are refused now, not later.
        self.judged = self._evaluated("test", test, test_records, validation.conversations)

    def identity_of_judges(self) -> dict[str, Any]:
        """Which records judge, and what the whole file says: choices are made of all of it."""
        return {
            "test": digest([self.judged.records]),
            "test_file": self.test.digest,
        }

    def count(self, conversations: Sequence[Sequence[str]]) -> list[int]:
        """The tokens of conversations, as budgets count them."""
        return self._encode([(asked, said) for asked, said in conversations])[1].lengths.tolist()

    def validated(self, records: int) -> Evaluated:
        """Validation records, so many of each task, to choose by."""
        return self._evaluated("validation", self.validation, records)

    def read_validation(self) -> tuple[EncodedRecords, npt.NDArray[np.bool_]]:
        """The validation records as the model reads them, and which of them fit."""
        encoded, counts = self._encode(self.validation.conversations)
        return encoded, counts.lengths <= self.limit

    def train_side_by_side(
        self,
        picks: Sequence[npt.NDArray[np.int64]],
        recipe: Recipe,
        seeds: Sequence[int],
        epochs: int = 1,
    ) -> tuple[Weights, list[npt.NDArray[np.float32]]]:
        """The same for K selections at once: weights [K, ...]."""
        batches = [
            self.training_batches(one, seed, epochs) for one, seed in zip(picks, seeds, strict=True)
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

    def _encode(
        self, conversations: list[tuple[str, str]]
    ) -> tuple[EncodedRecords, EncodedRecords]:
        """Records as the base reads them, and as budgets count them."""
        read = encode(self.model.tokenizer, self.model.template, conversations)
        return read, read if self._counted is None else self._counted(conversations)

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
        row = max(self.row, self.row_of(encoded.lengths[records]))
        activations = self.activations(name, encoded, row)
        if activations is not None:
            left = int(encoded.lengths[activations.missing(records)].sum())
            with progress_bar(f"{name} records", left, unit=" tokens", leave=False) as bar:
                activations.ensure(records, lambda done: bar.update(done - bar.n))
        choices = self._choices(judged)
        laid_out = JudgedRecords(encoded, records, row, activations, choices, self.sizes)
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
