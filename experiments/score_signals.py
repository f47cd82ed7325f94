"""Choose how signals of texts become a score, and measure what it tells.

    python -m experiments.score_signals --swapped_pool=sft_mix.jsonl.gz \
        --voted_pool=stackexchange.jsonl.gz --embedding_model=NAME

Two targets, from texts alone:

* In the first pool some responses were put in the place of another's, and --swapped_field tells
  which: AUC, how often a score puts a whole record before such a one, over all records of some
  sources (what stands before a slash in --source_field).
* In the second readers voted (--voted_field): Spearman's rank correlation within each source
  (all of --source_field), its mean over sources.

The numbers of `SignalWeights` are chosen by the sum of both: the direction of its weights by
least squares on ranks of votes, match on a grid. They are chosen on half of the sources of
each pool and measured on the other half, for the halves that the seed draws and both ways round,
with 95 % bootstrap intervals over records; and so for 20 drawn halves, of which the mean is told.
Beside it stand the length of the response, parts of the score, and the similarity of embeddings
(on --relevance_records of each pool, as it is slow). Then the numbers chosen on all sources, for
`SignalWeights`, and what the score makes of responses that were damaged on purpose.
"""

from __future__ import annotations

import dataclasses
import itertools
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from absl import flags

from mig_jax import data
from mig_jax.annotation import (
    Exchange,
    Relevance,
    Sample,
    SentenceEncoder,
    Signals,
    SignalValues,
    SignalWeights,
    exchanges_of,
    ranks,
)
from mig_jax.commands.command import Command, main_of
from mig_jax.commands.flag_values import adder
from mig_jax.commands.terminal import progress_bar
from mig_jax.data.records import value_at
from mig_jax.errors import InputError

_SAMPLES = 200
_HALVES = 20
_GRID = {
    "topics": (0.5, 0.75, 1.0, 1.5),
    "centre": (1.0, 1.5, 2.0, 2.5, 3.0, 3.5),
    "width": (0.5, 1.0, 2.0),
}


class Pool(NamedTuple):
    """Single exchanges, what is known of them, and their signals."""

    samples: list[Sample]
    target: np.ndarray  # Whether swapped, bool [n]; or votes, float [n].
    source: np.ndarray  # [n]
    values: SignalValues

    def of(self, sources: Sequence[str]) -> Pool:
        """Its records of some sources."""
        rows = np.flatnonzero(np.isin(self.source, sources))
        return self.take(rows)

    def take(self, rows: np.ndarray) -> Pool:
        """Its records of these numbers."""
        return Pool(
            [self.samples[row] for row in rows.tolist()],
            self.target[rows],
            self.source[rows],
            SignalValues(*(values[rows] for values in self.values)),
        )


def auc(scores: np.ndarray, is_bad: np.ndarray) -> float:
    """How often a good record has the higher score of the two; half if they are equal.

    >>> auc(np.array([0.9, 0.1, 0.5]), np.array([False, True, False]))
    1.0
    """
    good = int(np.sum(~is_bad))
    bad = len(is_bad) - good
    rank = ranks(scores) * (len(scores) - 1) + 1
    return float((rank[~is_bad].sum() - good * (good + 1) / 2) / (good * bad))


def rank_correlation(scores: np.ndarray, votes: np.ndarray, source: np.ndarray) -> float:
    """Spearman's correlation within each source, its mean over sources.

    >>> rank_correlation(np.arange(4.0), np.array([1.0, 2.0, 2.0, 1.0]), np.array(list("aabb")))
    0.0
    """
    found = []
    for one in np.unique(source):
        rows = source == one
        pair = np.stack([_standard(ranks(of[rows])) for of in (scores, votes)])
        found.append(np.mean(pair[0] * pair[1]))
    return float(np.mean(found))


def gain_of(weights: SignalWeights, swapped: Pool, voted: Pool) -> float:
    """What numbers are chosen by: AUC and correlation of what answers are worth, summed."""
    told = auc(weights.of_answers(swapped.values), swapped.target)
    return told + rank_correlation(weights.of_answers(voted.values), voted.target, voted.source)


def choose(swapped: Pool, voted: Pool) -> SignalWeights:
    """The numbers that suit these records best."""
    best, most = SignalWeights(), -np.inf
    for numbers in itertools.product(*_GRID.values()):
        topics, centre, width = numbers
        weights = SignalWeights(topics, centre, width)
        signals = weights.signals(voted.values)
        weights = dataclasses.replace(
            weights, means=_rounded(signals.mean(axis=0)), spreads=_rounded(signals.std(axis=0))
        )
        direction = _least_squares(weights, voted)
        weights = dataclasses.replace(
            weights, weights=_rounded(direction / np.linalg.norm(direction))
        )
        if (found := gain_of(weights, swapped, voted)) > most:
            best, most = weights, found
    return best


def _least_squares(weights: SignalWeights, voted: Pool) -> np.ndarray:
    """Of ranks of votes within sources on the signals, each source counting the same: [6]."""
    columns = (weights.signals(voted.values) - np.array(weights.means)) / np.array(weights.spreads)
    rows, target = [], []
    for one in np.unique(voted.source):
        of_one = voted.source == one
        each = 1 / np.sqrt(of_one.sum())
        rows.append(each * (columns[of_one] - columns[of_one].mean(axis=0)))
        target.append(each * _standard(ranks(voted.target[of_one])))
    found, *_ = np.linalg.lstsq(np.concatenate(rows), np.concatenate(target))
    return np.asarray(found)


def _standard(values: np.ndarray) -> np.ndarray:
    return np.asarray((values - values.mean()) / max(values.std(), 1e-12))


def _rounded(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(f"{value:.3g}") for value in values)


def parts(weights: SignalWeights) -> dict[str, Callable[[Pool], np.ndarray]]:
    """The score, what it is made of, and what it is compared with."""
    return {
        "signals": lambda pool: weights.score(pool.values),
        "of answers": lambda pool: weights.of_answers(pool.values),
        "match alone": lambda pool: weights.evidence(pool.values),
        "words alone": lambda pool: pool.values.match[:, 0],
        "topics alone": lambda pool: pool.values.match[:, 1],
        "richness alone": lambda pool: np.sum(
            weights.signals(pool.values) / weights.spreads * weights.weights, axis=1
        ),
        "length": lambda pool: np.array(
            [float(len(sample.exchanges[0].response)) for sample in pool.samples]
        ),
    }


def damaged(exchange: Exchange) -> dict[str, Exchange]:
    """The exchange with its response spoiled in every way that the score should see."""
    response = exchange.response
    lines = response.split("\n")
    return {
        "empty": exchange._replace(response=" "),
        "the instruction again": exchange._replace(response=exchange.instruction),
        "last line ten times more": exchange._replace(response="\n".join(lines + lines[-1:] * 10)),
        "UTF-8 read as Latin-1": exchange._replace(
            response=response.replace("'", "’").replace("e", "é").encode().decode("latin-1")
        ),
        "remains of HTML": exchange._replace(response=f"<p>{response}</p>".replace(" ", "&nbsp;")),
        "a refusal": exchange._replace(response="I'm sorry, but I can't help with that."),
        "cut in the middle": exchange._replace(response=response[: len(response) // 2]),
    }


def _interval(measure: Callable[[Pool], float], pool: Pool, seed: int) -> str:
    """The measure and its 95 % bootstrap interval over the records."""
    random = np.random.default_rng(seed)
    found = [
        measure(pool.take(random.integers(len(pool.samples), size=len(pool.samples))))
        for _ in range(_SAMPLES)
    ]
    low, high = np.quantile(found, [0.025, 0.975])
    return f"{measure(pool):.3f} ({low:.3f} to {high:.3f})"


def _halves(sources: Sequence[str]) -> list[tuple[str, ...]]:
    """All halves, and for an odd number all that are one more or less."""
    count = len(sources)
    sizes = sorted({count // 2, count - count // 2})
    return [half for size in sizes for half in itertools.combinations(sources, size)]


def _other(half: Sequence[str], sources: Sequence[str]) -> list[str]:
    return [one for one in sources if one not in half]


def report_halves(swapped: Pool, voted: Pool, seed: int) -> None:
    """Prints what numbers chosen on half of the sources tell on the other half."""
    random = np.random.default_rng(seed)
    all_of = [sorted(set(pool.source.tolist())) for pool in (swapped, voted)]
    drawn = [
        [choices[place] for place in random.permutation(len(choices)).tolist()]
        for choices in map(_halves, all_of)
    ]
    first = [halves[0] for halves in drawn]
    print("\n| chosen on | measured on | score | AUC | correlation |\n|---|---|---|---|---|")
    for turn in range(2):
        here = [
            _other(half, of) if turn else list(half) for half, of in zip(first, all_of, strict=True)
        ]
        there = [_other(half, of) for half, of in zip(here, all_of, strict=True)]
        weights = choose(swapped.of(here[0]), voted.of(here[1]))
        for name, score in parts(weights).items():
            _print_row(
                (", ".join(here[0] + here[1]), ", ".join(there[0] + there[1]), name),
                score, swapped.of(there[0]), voted.of(there[1]), seed,
            )  # fmt: skip
    found: dict[str, list[tuple[float, float]]] = {}
    for half, sites in list(zip(*drawn, strict=False))[:_HALVES]:
        weights = choose(swapped.of(half), voted.of(sites))
        rest = swapped.of(_other(half, all_of[0])), voted.of(_other(sites, all_of[1]))
        for name, score in parts(weights).items():
            told = auc(score(rest[0]), rest[0].target)
            ranked = rank_correlation(score(rest[1]), rest[1].target, rest[1].source)
            found.setdefault(name, []).append((told, ranked))
    print(f"\nmean over {_HALVES} halves (least of them)")
    print("\n| score | AUC | correlation |\n|---|---|---|")
    for name, values in found.items():
        mean, least = np.mean(values, axis=0), np.min(values, axis=0)
        print(f"| {name} | {mean[0]:.3f} ({least[0]:.3f}) | {mean[1]:.3f} ({least[1]:.3f}) |")


def _print_row(
    told: Sequence[str],
    score: Callable[[Pool], np.ndarray],
    swapped: Pool,
    voted: Pool,
    seed: int,
) -> None:
    tells = _interval(lambda pool: auc(score(pool), pool.target), swapped, seed)
    ranked = _interval(
        lambda pool: rank_correlation(score(pool), pool.target, pool.source), voted, seed
    )
    print(f"| {' | '.join(told)} | {tells} | {ranked} |", flush=True)


def report_all(weights: SignalWeights, swapped: Pool, voted: Pool) -> None:
    """Prints what one choice of numbers tells of each source, and how it is spread."""
    print("\n| source | records | signals | length | quantiles 5, 50, 95 % of signals |")
    print("|---|---|---|---|---|")
    for pool, is_swapped in ((swapped, True), (voted, False)):
        for source in sorted(set(pool.source.tolist())):
            some = pool.of([source])
            told = []
            for name in ("signals", "length"):
                scores = parts(weights)[name](some)
                found = (
                    auc(scores, some.target)
                    if is_swapped
                    else rank_correlation(scores, some.target, some.source)
                )
                told.append(f"{'AUC' if is_swapped else 'correlation'} {found:.3f}")
            spread = np.quantile(weights.score(some.values), [0.05, 0.5, 0.95])
            numbers = ", ".join(f"{value:.2f}" for value in spread)
            print(f"| {source} | {len(some.samples):,} | {' | '.join(told)} | {numbers} |")


def report_damage(weights: SignalWeights, pool: Pool, signals: Signals, seed: int) -> None:
    """Prints how scores change when responses are damaged, over 1,000 records."""
    rows = np.random.default_rng(seed).permutation(len(pool.samples))[:1000]
    some = pool.take(rows)
    whole = weights.score(some.values)
    kinds: dict[str, list[Sample]] = {}
    for sample in some.samples:
        for kind, exchange in damaged(sample.exchanges[0]).items():
            kinds.setdefault(kind, []).append(Sample((exchange,)))
    print(
        "\n| damage | share of the score that is left, median | lower than before |\n|---|---|---|"
    )
    for kind, samples in kinds.items():
        left = weights.score(signals.measure(samples)) / whole
        print(f"| {kind} | {np.median(left):.2f} | {np.mean(left < 1):.1%} |")


def report_relevance(
    model: str, weights: SignalWeights, pools: Sequence[Pool], records: int, seed: int
) -> None:
    """Prints both targets of similarity by embeddings, and of the score, on the same records."""
    random = np.random.default_rng(seed)
    some = [pool.take(np.sort(random.permutation(len(pool.samples))[:records])) for pool in pools]
    relevance = Relevance(SentenceEncoder(model))
    scores: dict[int, np.ndarray] = {}
    for pool in some:
        found: list[float] = []
        with progress_bar("embedding", len(pool.samples), unit="records") as bar:
            for start in range(0, len(pool.samples), 64):
                part = pool.samples[start : start + 64]
                found += [value for [value] in relevance.score(part)]
                bar.update(len(part))
        scores[len(scores)] = np.array(found)
    swapped, voted = some
    print(f"\non {records:,} records of each pool\n\n| score | AUC | correlation |\n|---|---|---|")
    for name, of_both in (
        ("relevance", [scores[0], scores[1]]),
        *((name, [score(swapped), score(voted)]) for name, score in parts(weights).items()),
    ):
        told = auc(of_both[0], swapped.target)
        ranked = rank_correlation(of_both[1], voted.target, voted.source)
        print(f"| {name} | {told:.3f} | {ranked:.3f} |")


def _pool(
    paths: Sequence[str],
    field: str,
    kind: Callable[[Any], bool | float],
    source_field: str,
    seed: int,
    *,
    whole: bool,
) -> tuple[Pool, Signals]:
    samples, target, source = [], [], []
    for record in data.read_conversations(paths):
        exchanges = exchanges_of(record.turns)
        value = value_at(record.record, field)
        where = value_at(record.record, source_field)
        where = where[0] if isinstance(where, list) and where else where
        if len(exchanges) != 1 or value is None or not isinstance(where, str):
            continue
        samples.append(Sample(exchanges))
        target.append(kind(value))
        source.append(where if whole else where.partition("/")[0])
    if len(set(source)) < 2:
        raise InputError(f"{', '.join(paths)}: found {len(set(source))} sources, expected several")
    signals = Signals(seed=seed)
    signals.look(samples)
    values = signals.measure(samples)
    return Pool(samples, np.array(target), np.array(source), values), signals


def _define_flags(values: flags.FlagValues) -> None:
    add = adder(values)
    multi, text, number = flags.DEFINE_multi_string, flags.DEFINE_string, flags.DEFINE_integer
    add(multi, "swapped_pool", [], "Files in which responses were swapped.")
    add(multi, "voted_pool", [], "Files of records with votes.")
    add(text, "swapped_field", "corrupted", "Whether a record was swapped.")
    add(text, "voted_field", "score", "The votes; more are better.")
    add(text, "source_field", "source", "Where a record is from.")
    add(text, "embedding_model", None, "Sentence-transformers model to compare.")
    add(number, "relevance_records", 2000, "Records of a pool that it embeds.", lower_bound=1)
    add(number, "seed", 0, "Of halves, of records drawn, of the bootstrap.", lower_bound=0)


def _run(values: flags.FlagValues) -> None:
    about = (values.source_field, values.seed)
    swapped, _ = _pool(values.swapped_pool, values.swapped_field, bool, *about, whole=False)
    voted, of_voted = _pool(values.voted_pool, values.voted_field, float, *about, whole=True)
    print(f"{len(swapped.samples):,} records with swaps, {len(voted.samples):,} with votes")
    report_halves(swapped, voted, values.seed)
    chosen = choose(swapped, voted)
    print(f"\nchosen on all: {chosen}")
    report_all(chosen, swapped, voted)
    report_damage(chosen, voted, of_voted, values.seed)
    if values.embedding_model is not None:
        both = (swapped, voted)
        report_relevance(
            values.embedding_model, chosen, both, values.relevance_records, values.seed
        )


COMMAND = Command(
    name="score_signals",
    summary="choose how signals become a score, and measure what it tells",
    define_flags=_define_flags,
    run=_run,
    required=("swapped_pool", "voted_pool"),
    interrupted="nothing was kept",
)

if __name__ == "__main__":
    sys.exit(main_of(COMMAND, sys.argv[1:], called="score_signals"))
