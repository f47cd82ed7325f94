"""What a model loses on records it was not trained on, token by token."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
import numpy.typing as npt

from ._activations import Activations
from ._architecture import Weights
from ._choices import NO_CHOICES, Choices
from ._encoding import EncodedRecords
from ._packing import SIZES, Batch, lay_out, pack, with_room
from ._side_by_side import judged_side_by_side
from ._tuning import TunedModel

__all__ = ["JudgedRecords", "Losses", "batches_of"]

_ROWS = 8  # Of a batch.


@dataclasses.dataclass(frozen=True, eq=False)
class Losses:
    """Nats of N records: of what an answer says, and of the token that ends it."""

    content: npt.NDArray[np.float32]  #: [N]: mean over the response's tokens but the last one.
    end: npt.NDArray[np.float32]  #: [N]: of the last token.
    tokens: npt.NDArray[np.int32]  #: [N]: of the response, the last one included.
    #: [N]: how much likelier the right answer is than the best other, in nats, at the token that
    #: tells them apart; above 0 the model is right. NaN where a record is no choice.
    margins: npt.NDArray[np.float32]

    @property
    def right(self) -> npt.NDArray[np.bool_]:
        """Whether the right answer is the likeliest, [N]; False where a record is no choice."""
        return self.margins > 0

    @property
    def all(self) -> npt.NDArray[np.float32]:
        """Mean over all tokens of the response, float32 [N]."""
        said = self.tokens - 1
        return ((self.content * said + self.end) / self.tokens).astype(np.float32)


class JudgedRecords:
    """Records in batches, to be judged again and again by models that differ above."""

    def __init__(
        self,
        encoded: EncodedRecords,
        records: npt.NDArray[np.int64],
        row: int,
        activations: Activations | None,
        choices: Choices | None = None,
        sizes: int = SIZES,
    ) -> None:
        """Lays the records out; what the layers below make of them is read once.

        Args:
          encoded: all records of a file.
          records: those that are judged.
          row: tokens of a row.
          activations: of the same records, ensured; None if all weights of the models learn.
          choices: of the same file; those among the records are judged by choice, too.
          sizes: as for `batches_of`.
        """
        self.records = records
        self._batches = list(batches_of(encoded, records, row, _ROWS, activations, sizes=sizes))
        if choices is None:
            choices = NO_CHOICES
        own = [_asked(encoded, choices, batch) for batch, _ in self._batches]
        most = max((len(asked.records) for asked in own), default=0)
        self._choices = [asked.padded(most) for asked in own]

    def losses(
        self,
        model: TunedModel,
        own: Weights,
        progress: Callable[[int], None] | None = None,
    ) -> Losses:
        """The losses of each record, in the order of `records`; `progress` counts batches."""

        def ask(batch: Batch, x: Any, choice: _Choice) -> tuple[jax.Array, jax.Array]:
            nats, logits = model.judged(own, batch, x, choice.asked, choice.tokens)
            return nats[None], logits[None]

        return self._losses(ask, 1, progress)[0]

    def losses_side_by_side(
        self,
        model: TunedModel,
        own: Weights,
        progress: Callable[[int], None] | None = None,
    ) -> list[Losses]:
        """The same of K models of one base: `own` is [K, ...]."""
        room = max((len(batch.at) for batch, _ in self._batches), default=0)

        def ask(batch: Batch, x: Any, choice: _Choice) -> tuple[jax.Array, jax.Array]:
            wide = with_room(batch, room)  # One shape: the program is dear to compile.
            nats, logits = judged_side_by_side(model, own, wide, x, choice.asked, choice.tokens)
            return nats[:, : len(batch.at)], logits

        return self._losses(ask, len(jax.tree.leaves(own)[0]), progress)

    def _losses(
        self,
        ask: Callable[[Batch, Any, _Choice], tuple[jax.Array, jax.Array]],
        models: int,
        progress: Callable[[int], None] | None,
    ) -> list[Losses]:
        """Of K models, by their nats [K, M] and logits [K, choices, C] on each batch."""
        totals = [_Totals(int(self.records.max(initial=-1)) + 1) for _ in range(models)]
        parts = zip(self._batches, self._choices, strict=True)
        waiting = [(batch, choice, ask(batch, x, choice)) for (batch, x), choice in parts]
        for number, (batch, choice, found) in enumerate(waiting):
            nats, logits = map(np.asarray, found)
            for k, total in enumerate(totals):
                total.add(batch, choice, nats[k], logits[k])
            if progress is not None:
                progress(number + 1)
        return [total.of(self.records) for total in totals]

    def __len__(self) -> int:
        """The number of batches."""
        return len(self._batches)


class _Totals:
    """What one model lost on records, added up batch by batch."""

    def __init__(self, count: int) -> None:
        self._content, self._end = np.zeros(count), np.zeros(count)
        self._tokens = np.zeros(count, np.int32)
        self._margins = np.full(count, np.nan, np.float32)

    def add(
        self,
        batch: Batch,
        choice: _Choice,
        nats: npt.NDArray[np.float32],
        logits: npt.NDArray[np.float32],
    ) -> None:
        count = len(self._tokens)
        asked = batch.owners >= 0
        found, owners = nats[asked].astype(np.float64), batch.owners[asked]
        last = np.append(owners[1:] != owners[:-1], True)
        self._content += np.bincount(owners[~last], found[~last], count)
        self._end[owners[last]] = found[last]
        self._tokens += np.bincount(owners, minlength=count).astype(np.int32)
        self._margins[choice.records] = choice.margins(logits)

    def of(self, records: npt.NDArray[np.int64]) -> Losses:
        tokens = self._tokens[records]
        said = np.maximum(tokens - 1, 1)
        return Losses(
            (self._content[records] / said).astype(np.float32),
            self._end[records].astype(np.float32),
            tokens,
            self._margins[records],
        )


@dataclasses.dataclass(frozen=True, eq=False)
class _Choice:
    """The records of one batch that are judged by choice."""

    records: npt.NDArray[np.int64]  #: [K].
    asked: npt.NDArray[np.int32]  #: [K or more]: the questions of the batch; padded with 0.
    tokens: npt.NDArray[np.int32]  #: [K or more, C]: as in `Choices`.

    def padded(self, most: int) -> _Choice:
        """The same, with room for `most`: all batches are to be of one shape."""
        more = most - len(self.records)
        return _Choice(
            self.records,
            np.pad(self.asked, (0, more)),
            np.pad(self.tokens, ((0, more), (0, 0)), constant_values=-1),
        )

    def margins(self, logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The right answer's logit less the highest other one, [K]."""
        own, tokens = logits[: len(self.records)], self.tokens[: len(self.records)]
        others = np.where(tokens[:, 1:] >= 0, own[:, 1:], -np.inf)
        return own[:, 0] - others.max(axis=1, initial=-np.inf)


def _asked(encoded: EncodedRecords, choices: Choices, batch: Batch) -> _Choice:
    """Which of a batch's questions decide which choices."""
    here = np.flatnonzero(np.isin(choices.records, batch.owners))
    records = choices.records[here]
    first = [np.argmax(batch.owners == record) for record in records]
    asked = np.array(first, np.int32) + choices.places[here] - encoded.starts[records]
    return _Choice(records, asked.astype(np.int32), choices.tokens[here])


def batches_of(
    encoded: EncodedRecords,
    records: npt.NDArray[np.int64],
    row: int,
    rows: int,
    activations: Activations | None,
    rng: np.random.Generator | None = None,
    sizes: int = SIZES,
) -> Iterator[tuple[Batch, npt.NDArray[Any] | None]]:
    """Yields batches of records, each with what the layers below make of it.

    Args:
      encoded: all records.
      records: those that are wanted.
      row: tokens of a row.
      rows: of a batch.
      activations: of the same records, ensured; None if all weights of the model learn.
      rng: gives the order of the rows, as for training; by default the longest records are first.
      sizes: how many shapes batches may have. Few compute more, and compile less: an accelerator
        is best served by one.
    """
    packed = pack(encoded.lengths, records, row)
    if rng is not None:
        packed = [packed[n] for n in rng.permutation(len(packed))]
    for first in range(0, len(packed), rows):
        part = packed[first : first + rows]
        x = None if activations is None else activations.of(part, rows)
        yield lay_out(encoded, part, rows, row, sizes), x
