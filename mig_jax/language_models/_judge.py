"""What a model loses on records it was not trained on, token by token."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ._activations import Activations
from ._architecture import Weights
from ._choices import Choices
from ._encoding import EncodedRecords
from ._packing import Batch, lay_out, pack
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
    ) -> None:
        """Lays the records out; what the layers below make of them is read once.

        Args:
          encoded: all records of a file.
          records: those that are judged.
          row: tokens of a row.
          activations: of the same records, ensured; None if all weights of the models learn.
          choices: of the same file; those among the records are judged by choice, too.
        """
        self.records = records
        self._batches = list(batches_of(encoded, records, row, _ROWS, activations))
        self._choices = None
        if choices is not None:
            self._choices = [_asked(encoded, choices, batch) for batch, _ in self._batches]
            most = max((len(asked.records) for asked in self._choices), default=0)
            self._choices = [asked.padded(most) for asked in self._choices]

    def losses(
        self,
        model: TunedModel,
        own: Weights,
        progress: Callable[[int], None] | None = None,
    ) -> Losses:
        """The losses of each record, in the order of `records`."""
        count = int(self.records.max(initial=-1)) + 1
        content, end = np.zeros(count), np.zeros(count)
        tokens = np.zeros(count, np.int32)
        margins = np.full(count, np.nan, np.float32)
        for number, (batch, x) in enumerate(self._batches):
            asked = batch.owners >= 0
            if self._choices is None:
                nats = model.losses(own, batch, x)
            else:
                choice = self._choices[number]
                nats, logits = model.judged(own, batch, x, choice.asked, choice.tokens)
                margins[choice.records] = choice.margins(np.asarray(logits))
            found = np.asarray(nats)[asked].astype(np.float64)
            owners = batch.owners[asked]
            last = np.append(owners[1:] != owners[:-1], True)
            content += np.bincount(owners[~last], found[~last], count)
            end[owners[last]] = found[last]
            tokens += np.bincount(owners, minlength=count).astype(np.int32)
            if progress is not None:
                progress(number + 1)
        own_tokens = tokens[self.records]
        said = np.maximum(own_tokens - 1, 1)
        return Losses(
            (content[self.records] / said).astype(np.float32),
            end[self.records].astype(np.float32),
            own_tokens,
            margins[self.records],
        )

    def __len__(self) -> int:
        """The number of batches."""
        return len(self._batches)


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
) -> Iterator[tuple[Batch, npt.NDArray[Any] | None]]:
    """Yields batches of records, each with what the layers below make of it.

    Args:
      encoded: all records.
      records: those that are wanted.
      row: tokens of a row.
      rows: of a batch.
      activations: of the same records, ensured; None if all weights of the model learn.
      rng: gives the order of the rows, as for training; by default the longest records are first.
    """
    packed = pack(encoded.lengths, records, row)
    if rng is not None:
        packed = [packed[n] for n in rng.permutation(len(packed))]
    for first in range(0, len(packed), rows):
        part = packed[first : first + rows]
        x = None if activations is None else activations.of(part, rows)
        yield lay_out(encoded, part, rows, row), x
