"""What a method of selection may look at, and how many records or tokens it may take."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt

__all__ = ["Candidates", "Limits", "Method", "Texts", "Wanted", "take"]


@dataclasses.dataclass(frozen=True)
class Texts:
    """The conversations of N records, each as what was asked and what was answered."""

    instructions: list[str]  #: [N]: what was said before the last response.
    responses: list[str]  #: [N]: the last response.

    @property
    def whole(self) -> list[str]:
        """[N]: the instruction, a line break and the response."""
        pairs = zip(self.instructions, self.responses, strict=True)
        return [f"{instruction}\n{response}" for instruction, response in pairs]

    def only(self, kept: npt.NDArray[np.bool_]) -> Texts:
        """Those of the mask [N]."""
        instructions, responses = (
            list(itertools.compress(texts, kept)) for texts in (self.instructions, self.responses)
        )
        return Texts(instructions, responses)


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What is selected for: records that nobody will be tested on, with their tasks."""

    texts: Texts  #: Of V records.
    groups: npt.NDArray[np.str_]  #: [V]: the task of each.
    embeddings: Callable[[], npt.NDArray[np.float32]]  #: [V, D], unit length; of the same model.
    costs: npt.NDArray[np.int64] | None = None  #: [V]: tokens, counted as the candidates' are.


@dataclasses.dataclass(frozen=True, eq=False)
class Candidates:
    """N records that a method chooses from. What is dear to make is made when it is asked for.

    `labels[offsets[n]:offsets[n + 1]]` are the labels of record n.
    """

    labels: npt.NDArray[np.int32]  #: [entries], ids from 0, ascending in a record.
    offsets: npt.NDArray[np.int64]  #: [N + 1].
    num_labels: int
    scores: npt.NDArray[np.float32]  #: [N], at least 0: quality, the higher the better.
    costs: npt.NDArray[np.int64]  #: [N]: tokens of each record.
    texts: Callable[[], Texts]  #: Of the N records; made once.
    embeddings: Callable[[], npt.NDArray[np.float32]]  #: [N, D], unit length; made once.
    #: Nats a response token of each record, by a language model: float32 [N] with the
    #: instruction before the response, and [N] without. None where no model is at hand.
    response_losses: Callable[[], tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]] | None
    wanted: Wanted | None  #: None where nobody said what the records are wanted for.
    groups: npt.NDArray[np.int32] | None = None  #: [N], from 0; None where there are none.
    #: What a language model would learn from each record, and from each wanted one: gradients
    #: [N, F] and [V, F], projected; rows of zeros for records that it was not asked about.
    gradients: Callable[[], tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]] | None = None

    @property
    def num_records(self) -> int:
        return len(self.scores)

    def only(self, kept: npt.NDArray[np.bool_]) -> Candidates:
        """Those of the mask [N]; what is dear to make is still made of all, and then taken from."""
        counts = np.diff(self.offsets)
        texts, embeddings = self.texts, self.embeddings
        losses, gradients = self.response_losses, self.gradients

        def kept_losses() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
            assert losses is not None
            behind, alone = losses()
            return behind[kept], alone[kept]

        def kept_gradients() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
            assert gradients is not None
            of_records, of_wanted = gradients()
            return of_records[kept], of_wanted

        return dataclasses.replace(
            self,
            labels=self.labels[np.repeat(kept, counts)],
            offsets=np.concatenate([np.zeros(1, np.int64), np.cumsum(counts[kept])]),
            scores=self.scores[kept],
            costs=self.costs[kept],
            texts=lambda: texts().only(kept),
            embeddings=lambda: embeddings()[kept],
            response_losses=None if losses is None else kept_losses,
            gradients=None if gradients is None else kept_gradients,
            groups=None if self.groups is None else self.groups[kept],
        )


@dataclasses.dataclass(frozen=True)
class Limits:
    """How much is taken: records, tokens or both."""

    records: int | None = None
    tokens: int | None = None


class Method(Protocol):
    """A way to choose: yields records, the best first, no one twice, until the caller stops."""

    def __call__(
        self, candidates: Candidates, rng: np.random.Generator, limits: Limits
    ) -> Iterator[int]: ...


def take(
    order: Iterable[int],
    costs: npt.NDArray[np.int64],
    limits: Limits,
    *,
    on_pick: Callable[[int], None] | None = None,
) -> npt.NDArray[np.int64]:
    """The picks: records in their order, those left out that no longer fit the tokens left.

    It stops when the records are had, when no record could still fit, or at the order's end.
    Records without tokens cost nothing. `on_pick` is called with each record picked. int64.
    """
    least = int(costs.min(initial=0))
    left = limits.tokens
    picks: list[int] = []
    for record in order:
        if limits.records is not None and len(picks) >= limits.records:
            break
        if left is not None:
            if left < least:
                break
            if costs[record] > left:
                continue
            left -= int(costs[record])
        picks.append(record)
        if on_pick is not None:
            on_pick(record)
    return np.array(picks, np.int64)
