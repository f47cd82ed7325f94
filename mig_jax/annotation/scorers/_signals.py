"""A score of cheap signals of the texts: the scorer that needs no model."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from mig_jax.annotation.texts import (
    Exchange,
    PairMatch,
    Sample,
    Substance,
    Text,
    soundness,
    substance_of,
)

__all__ = ["SignalValues", "SignalWeights", "Signals"]

_Floats = npt.NDArray[np.float64]

# Pairs that the match is learned from, at most; more make it better by less than its noise.
_PAIRS: Final = 20_000

# Words of a text that nobody asked for: as many as fitting responses have, in spreads of chance.
_FITS: Final = 10.0


class SignalValues(NamedTuple):
    """What is measured of n exchanges."""

    #: Words and topics, see `PairMatch`, [n, 2].
    match: _Floats
    #: As `Substance` has them, [n, 6].
    substance: _Floats
    #: From 0 to 1, [n].
    soundness: _Floats


@dataclasses.dataclass(frozen=True)
class SignalWeights:
    """How signals become a score, from 0 to 1: what the answer is worth, and what was asked.

    An answer is worth match times richness times soundness.

    With s(x) = 1 / (1 + exp(-x)), evidence = words + `topics` * topics and a response of n
    distinct terms,

    * match = least + (1 - least) s((evidence - `centre`) / `width`), where
      least = 0.1 + 0.2 / 2^(n / 8), as a short answer that is right may share no word;
    * richness = 0.5 + 0.5 s(sum of `weights` * (signal - `means`) / `spreads`), where signals
      are five of `Substance` and log(1 + evidence).

    The score is this times the square root of a tenth of `Substance.asked`, 1 at most: 0.4 for
    an instruction of one term, 1 for one of a thousand. An answer to a long question is no
    better for it, and readers vote for it less; but a record that asks for more teaches more.
    Among scores of the same answers, with and without, this one was chosen on validation records
    of five tasks, by what networks learn from selections of `sft_mix`; see
    docs/background/annotation_quality.md.

    The bounds are set, with both pools in view, for the use of a score as a quality that is summed:
    what does not belong together counts a tenth (of a short answer up to three tenths), and the
    richest response twice as much as the poorest. So is the length of `weights`, 1: longer ones
    make two steps of the richness, which tells a little more swaps and puts all short answers
    level. The other numbers were chosen by `python -m experiments.score_signals`: `means` and
    `spreads` are those of answers that readers voted on; the direction of `weights` by least
    squares on ranks of votes within sites; the rest on a grid, by the sum of how well swapped
    responses are told (AUC) and how well votes are ranked (Spearman). What they tell of sources
    that they were not chosen on is in docs/background/annotation_quality.md.
    """

    topics: float = 0.5
    centre: float = 1.5
    width: float = 0.5
    #: Of terms, new, listed, paragraphs, asking and evidence.
    weights: tuple[float, ...] = (0.238, 0.708, 0.13, 0.33, -0.111, 0.552)
    means: tuple[float, ...] = (6.27, 0.701, 0.0483, 1.73, 0.0272, 1.74)
    spreads: tuple[float, ...] = (0.996, 0.12, 0.12, 1.16, 0.0624, 0.435)

    def evidence(self, values: SignalValues) -> _Floats:
        """Words and weighted topics of each exchange, float64 [n]."""
        return np.asarray(values.match[:, 0] + self.topics * values.match[:, 1])

    def signals(self, values: SignalValues) -> _Floats:
        """What is summed to richness, in its own units: float64 [n, 6]."""
        evidence = np.log1p(np.maximum(self.evidence(values), 0))
        return np.column_stack([values.substance[:, :5], evidence])

    def score(self, values: SignalValues) -> _Floats:
        """The score of each exchange, float64 [n]."""
        asked = np.sqrt(np.minimum(values.substance[:, 5] / 10, 1))
        return np.asarray(self.of_answers(values) * asked)

    def of_answers(self, values: SignalValues) -> _Floats:
        """What each answer is worth, whatever was asked: float64 [n]."""
        # Sums, not products of matrices, whose rounding depends on the number of rows.
        least = 0.1 + 0.2 * np.exp2(-(np.exp2(values.substance[:, 0]) - 1) / 8)
        fits = _logistic((self.evidence(values) - self.centre) / self.width)
        match = least + (1 - least) * fits
        standard = (self.signals(values) - np.array(self.means)) / np.array(self.spreads)
        total = np.sum(standard * np.array(self.weights), axis=1)
        richness = 0.5 + 0.5 * _logistic(total)
        return np.asarray(match * richness * values.soundness)


class Signals:
    """How well a response fits its instruction, how much it holds, and whether it is sound.

    A value from 0 to 1 for each exchange, from the texts alone. Whether a response fits is
    judged by a sample of the pool (`look`): whether the two share rare words and topics that
    responses put in its place would not. What is asked before counts as part of an instruction.
    A text that nobody asked for fits.
    """

    in_processes = True

    def __init__(self, weights: SignalWeights | None = None, *, seed: int = 0) -> None:
        """`weights` are those of `SignalWeights()` if there are none."""
        self._weights = SignalWeights() if weights is None else weights
        self._seed = seed
        self._match: PairMatch | None = None

    def look(self, samples: Sequence[Sample]) -> None:
        """Learns from a sample of the pool what belongs together."""
        pairs = [pair for sample in samples for pair in _pairs(sample) if pair.is_whole]
        if len(pairs) > _PAIRS:
            random = np.random.default_rng(self._seed)
            drawn = np.sort(random.choice(len(pairs), _PAIRS, replace=False))
            pairs = [pairs[place] for place in drawn.tolist()]
        asked, answered = ([pair[side] for pair in pairs] for side in (0, 1))
        self._match = PairMatch.fit(asked, answered, seed=self._seed)

    def measure(self, samples: Sequence[Sample]) -> SignalValues:
        """The signals of all exchanges, one after another.

        Raises:
          RuntimeError: if `look` was not called.
        """
        if self._match is None:
            raise RuntimeError("look at a sample of the pool first")
        pairs = [pair for sample in samples for pair in _pairs(sample)]
        match = self._match([pair.instruction for pair in pairs], [pair.response for pair in pairs])
        match[[isinstance(pair, Text) for pair in pairs]] = (_FITS, 0.0)
        return SignalValues(
            match,
            np.array([_substance(pair) for pair in pairs], np.float64).reshape(-1, 6),
            np.array([soundness(*pair) for pair in pairs], np.float64),
        )

    def score(self, samples: Sequence[Sample]) -> list[list[float]]:
        """Raises RuntimeError if `look` was not called."""
        scores = self._weights.score(self.measure(samples)).tolist()
        ends = np.cumsum([len(sample.exchanges) for sample in samples]).tolist()
        return [
            scores[end - len(sample.exchanges) : end]
            for sample, end in zip(samples, ends, strict=True)
        ]


def _pairs(sample: Sample) -> list[Exchange]:
    """The exchanges, each with the instruction before it, which it may refer to."""
    pairs = list(sample.exchanges)
    for place in range(1, len(pairs)):
        before, exchange = sample.exchanges[place - 1 : place + 1]
        pairs[place] = exchange._replace(
            instruction=f"{exchange.instruction}\n{before.instruction}"
        )
    return pairs


def _substance(pair: Exchange) -> Substance:
    """That of a text as if the text had asked for itself."""
    found = substance_of(*pair)
    return found._replace(asked=np.log2(1 + 2**found.terms)) if isinstance(pair, Text) else found


def _logistic(values: _Floats) -> _Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(values, -60, 60))))
