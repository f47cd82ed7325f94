"""A random sample of the pool, for taggers and scorers that look at it first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import numpy.typing as npt

from mig_jax.annotation.running._pipeline import Needs
from mig_jax.annotation.texts import Exchange, Looks, Sample, Scorer, Tagger
from mig_jax.data import RawRecord

__all__ = ["drawn_numbers", "drawn_samples", "looking"]

# What is kept of a text, and of all texts of a record, in characters: the sample stays in memory.
_OF_A_TEXT = 4_000
_OF_A_RECORD = 16_000


def looking(models: Iterable[Tagger | Scorer]) -> list[Looks]:
    """Those that look at the pool first."""
    return [model for model in models if isinstance(model, Looks)]


def drawn_numbers(records: int, most: int, seed: int) -> npt.NDArray[np.int64]:
    """The numbers of the records that are looked at, ascending: all, or `most` drawn at random.

    >>> drawn_numbers(3, 10, seed=0).tolist(), len(drawn_numbers(1000, 10, seed=0))
    ([0, 1, 2], 10)
    """
    if records <= most:
        return np.arange(records)
    return np.sort(np.random.default_rng(seed).choice(records, most, replace=False))


def drawn_samples(
    records: Iterable[RawRecord],
    needs: Needs,
    numbers: npt.NDArray[np.int64],
    progress: Callable[[int], object] = lambda _: None,
) -> Iterator[Sample]:
    """Yields the records of these numbers as taggers and scorers see them, long texts cut.

    Args:
      records: all that stay.
      needs: what they have.
      numbers: ascending.
      progress: gets 1 for each.
    """
    wanted = iter(numbers.tolist())
    number = next(wanted, None)
    # To the end, though nothing more may be wanted: a pool that has changed is told there.
    for place, record in enumerate(records):
        if place == number:
            yield _cut(needs.sample_of(record))
            progress(1)
            number = next(wanted, None)


def _cut(sample: Sample) -> Sample:
    """The beginning of each text of the first exchanges, one at least."""
    kept: list[Exchange] = []
    left = _OF_A_RECORD
    for exchange in sample.exchanges:
        if left <= 0:
            break
        # Of the same kind: a text that nobody asked for stays one.
        kept.append(type(exchange)(*(text[:_OF_A_TEXT] for text in exchange)))
        left -= sum(map(len, kept[-1]))
    return sample._replace(exchanges=tuple(kept))
