"""What learning is for: an objective, and how selections are judged on data that it never saw.

A task gives each selection a loss on the validation data, by which the grid's best cell is
chosen, and a loss for each of n test items, of which comparisons draw bootstrap samples.
"""

from __future__ import annotations

import csv
import dataclasses
import math
import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow.parquet as pq

from mig_jax import data
from mig_jax.data import ValidationSet, check_outputs, read_texts, read_validation
from mig_jax.errors import InputError
from mig_jax.learning import objectives
from mig_jax.learning._held_apart import seen_and_judged
from mig_jax.learning._judges import CountModels, Judges, mean_over_groups
from mig_jax.learning._normalised_momentum import FROM_AFAR
from mig_jax.learning._parameters import LearnedMeasure
from mig_jax.learning._token_bags import conversation_bags
from mig_jax.learning.objectives import plant
from mig_jax.measure import (
    PAPER,
    Array,
    LabelGraph,
    Measure,
    Pool,
    amounts_of_picks,
    drop_edges,
    label_information,
)
from mig_jax.selection import select

__all__ = [
    "FROM_WORDS",
    "OBJECTIVES",
    "Candidate",
    "Inputs",
    "PastRuns",
    "Prior",
    "Task",
    "around",
    "make_task",
]


_FEWEST_RUNS = 5
_FACTOR = 4  # Between the budgets learned for and the one in their midst.


def around(budget: int, num_records: int) -> tuple[int, ...]:
    """Budgets to learn for, of which one measure then serves any between: N/4, N and 4N.

    None is more than half of the pool, unless the budget is.

    >>> around(500, 20000), around(3, 20), around(15, 20)
    ((125, 500, 2000), (1, 3, 10), (3, 15))
    """
    most = max(budget, num_records // 2)
    every = (max(budget // _FACTOR, 1), budget, min(budget * _FACTOR, most))
    return tuple(sorted(set(every)))


@dataclasses.dataclass(frozen=True)
class Inputs:
    """The pool, and the data that the flags name."""

    table: data.RecordTable
    pool: Pool
    graph: LabelGraph  # From the lowest threshold that may be learned.
    embeddings: np.ndarray  # float [K, width]
    budget: int  # What is selected with what was learned.
    budgets: tuple[int, ...]  # That are learned for.
    seed: int
    validation: str | None
    test: str | None
    task: str | None
    say: Callable[[str], None]

    def for_budget(self, budget: int) -> Inputs:
        """The same pool, to learn for a range around this budget, and to select as many."""
        return dataclasses.replace(
            self, budget=budget, budgets=around(budget, self.pool.num_records)
        )

    def amounts(self, picks: np.ndarray) -> jax.Array:
        """float32 [P]: 1 for the records picked, 0 for all others."""
        return jnp.asarray(amounts_of_picks(self.pool, picks))


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A selection to be judged, and how its method values any other selection."""

    picks: np.ndarray
    value: Callable[[np.ndarray], float]


@dataclasses.dataclass(frozen=True)
class PastRuns:
    """What was selected in past runs, and what was measured of each."""

    picks: list[np.ndarray]
    results: np.ndarray  # float [S]: the higher the better.


class Prior(NamedTuple):
    """What the score functions of labels are taken for before there are data."""

    family: str = "power"  #: The name of their family in `mig_jax.measure.FAMILIES`.
    strength: float = 1e-3  #: Of the pull towards what all share: the more, the noisier the data.


_PRIOR = Prior()
#: Of what models of words say: measured on a real pool (docs/background/benchmarks.md).
FROM_WORDS = Prior("log", 0.1)


@dataclasses.dataclass(frozen=True)
class Task:
    """An objective to learn by, and how selections are judged."""

    objective: objectives.Objective
    validation_loss: Callable[[Candidate], float]
    test_losses: Callable[[Candidate], np.ndarray]  # float [n], one an item.
    groups: np.ndarray  # [n]: the loss is the mean over groups of their items' means.
    loss_name: str
    about: str  # What selections are to be good for, in a sentence for people.
    past_runs: PastRuns | None = None  # That the objective learns from.
    wanted: ValidationSet | None = None  # Conversations that are learned from, with their texts.
    truth: LearnedMeasure | None = None  # What would be learned without noise, where it is known.
    prior: Prior = _PRIOR  # If nobody says.
    learning_rate: float = 0.05
    noisy: bool = False  # What it says of a single label is mostly noise.
    seen: str = ""  # Of what is judged on, how much is learned from as well, in words.

    @property
    def matches_gains(self) -> bool:
        """Whether learning starts where gains match: there are some, and they are no noise."""
        return self.objective.needs_selection and not self.noisy


def make_task(name: str, inputs: Inputs) -> Task:
    """The task of an objective.

    Raises:
      InputError: if the objective needs data that is not given, or cannot use it.
    """
    return OBJECTIVES[name](inputs)


def _planted(inputs: Inputs) -> Task:
    if inputs.validation or inputs.test:
        raise InputError("--objective=planted: brings its own data; give no --validation or --test")
    truth = plant(
        inputs.pool, drop_edges(inputs.graph, PAPER.threshold), inputs.embeddings, inputs.seed
    )
    objective = truth.objective
    measure = truth.learned.measure
    best = select(inputs.pool, objective.graph, inputs.budget, measure=measure)
    of_best = np.asarray(_utility_of_labels(objective, measure, inputs.amounts(best.picks)))

    def test_losses(candidate: Candidate) -> np.ndarray:
        reached = _utility_of_labels(objective, measure, inputs.amounts(candidate.picks))
        return (of_best - np.asarray(reached)) / of_best.mean()

    def validation_loss(candidate: Candidate) -> float:
        return float(np.mean(_missed(objective, inputs.amounts(candidate.picks))))

    return Task(
        objective,
        validation_loss,
        test_losses,
        np.zeros(len(of_best), np.int32),
        "share of the true utility missed",
        "the labels of the pool were given a hidden true worth each. Learning sees two noisy "
        "estimates of what a selection is truly worth; the truth alone is the judge",
        truth=truth.learned,
        prior=Prior(strength=1e-5),
    )


@jax.jit
def _utility_of_labels(
    objective: objectives.PlantedUtility, measure: Measure, amounts: jax.Array
) -> Array:
    z = label_information(objective.pool, objective.graph, measure, amounts)
    return measure.score_function.value(z)


@jax.jit
def _missed(objective: objectives.PlantedUtility, amounts: jax.Array) -> jax.Array:
    return objective.missed(amounts)


def _validation(inputs: Inputs) -> Task:
    dev, test, seen = _two_sets(inputs, "validation")
    inputs.say("reading the texts of the pool")
    pool = conversation_bags(read_texts(inputs.table))
    models = CountModels(pool, inputs.seed, inputs.say)
    judges = Judges(pool, conversation_bags(test.conversations))

    def validation_loss(candidate: Candidate) -> float:
        losses = models.losses(dev, inputs.amounts(candidate.picks))
        return mean_over_groups(losses, dev.groups)

    return Task(
        models.objective(dev, inputs.seed),
        validation_loss,
        lambda candidate: judges.losses(candidate.picks),
        test.groups,
        "nats a token of the test responses",
        "the validation records are to be answered well. Learning sees the loss on their answers "
        "of a simple model of fine-tuning; the judges are networks of another kind, trained "
        "afresh on each selection",
        wanted=dev,
        prior=FROM_WORDS,
        noisy=True,
        seen=seen,
    )


def _target(inputs: Inputs) -> Task:
    dev, test, seen = _two_sets(inputs, "target")
    names = inputs.table.label_names
    wanted, judged = dev.label_ids(names), test.label_ids(names)
    objective = objectives.target(wanted, inputs.pool, inputs.graph, seed=inputs.seed)

    def cross_entropies(candidate: Candidate, rows: Sequence[Sequence[int]]) -> np.ndarray:
        log_share = np.asarray(_log_shares(objective, inputs.amounts(candidate.picks)))
        return np.array([-np.mean(log_share[list(row)]) for row in rows if row])

    return Task(
        objective,
        lambda candidate: float(np.mean(cross_entropies(candidate, wanted))),
        lambda candidate: cross_entropies(candidate, judged),
        np.zeros(sum(bool(row) for row in judged), np.int32),
        "cross-entropy of the test labels under the selected information, in nats",
        "the information selected is to be spread over labels as the labels of the validation "
        "records are",
        seen=seen,
    )


@jax.jit
def _log_shares(objective: objectives.Target, amounts: jax.Array) -> jax.Array:
    fixed = Measure(propagation=objective.propagation)
    z = label_information(objective.pool, objective.graph, fixed, amounts)
    return jnp.log(0.999 * z / jnp.sum(z) + 0.001 / z.shape[0])


def _imitation(inputs: Inputs) -> Task:
    given, hidden = (
        _record_set(inputs, path, flag) for path, flag in _two_paths(inputs, "imitation")
    )
    objective = objectives.imitation(given, inputs.pool, inputs.graph, seed=inputs.seed)

    def missed(candidate: Candidate, wanted: np.ndarray) -> np.ndarray:
        return 1.0 - np.isin(wanted, candidate.picks)

    return Task(
        objective,
        lambda candidate: float(np.mean(missed(candidate, given))),
        lambda candidate: missed(candidate, hidden),
        np.zeros(len(hidden), np.int32),
        "share of the test records that the selection misses",
        "the records that the validation table names are to be selected",
        learning_rate=FROM_AFAR / 2,
        seen=seen_and_judged(given.tolist(), hidden.tolist(), "records"),
    )


def _subsets(inputs: Inputs) -> Task:
    known, judged = (_measured(inputs, path) for path, _ in _two_paths(inputs, "subsets"))
    if len(known.picks) < _FEWEST_RUNS:
        raise InputError(
            f"{inputs.validation}: found {len(known.picks)} runs, expected at least "
            f"{_FEWEST_RUNS}: each is left out once"
        )
    objective = objectives.subsets(known.picks, known.results, inputs.pool, seed=inputs.seed)
    seen = seen_and_judged(map(frozenset, known.picks), [*map(frozenset, judged.picks)], "runs")
    better, worse = _ordered_pairs(judged.results)
    if not len(better):
        raise InputError(f"{inputs.test}: all results are the same; expected different ones")

    def wrong(
        candidate: Candidate, sets: list[np.ndarray], better: np.ndarray, worse: np.ndarray
    ) -> np.ndarray:
        values = np.array([candidate.value(picks) for picks in sets])
        gap = values[better] - values[worse]
        return np.where(gap > 0, 0.0, np.where(gap < 0, 1.0, 0.5))

    return Task(
        objective,
        lambda c: float(np.mean(wrong(c, known.picks, *_ordered_pairs(known.results)))),
        lambda c: wrong(c, judged.picks, better, worse),
        np.zeros(len(better), np.int32),
        "share of the pairs of test runs that are ranked the wrong way round",
        "past runs are to be ranked by the information of their records as by their results",
        known,
        learning_rate=FROM_AFAR,
        seen=seen,
    )


def _ordered_pairs(results: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The better and the worse one of each pair with different results."""
    better, worse = np.nonzero(results[:, None] > results[None, :])
    return better, worse


OBJECTIVES: dict[str, Callable[[Inputs], Task]] = {
    "planted": _planted,
    "target": _target,
    "validation": _validation,
    "subsets": _subsets,
    "imitation": _imitation,
}


def _two_paths(inputs: Inputs, name: str) -> list[tuple[str, str]]:
    paths = {"validation": inputs.validation, "test": inputs.test}
    for flag, path in paths.items():
        if not path:
            raise InputError(f"--objective={name}: needs --{flag}=FILE")
    return [(str(path), flag) for flag, path in paths.items()]


def _two_sets(inputs: Inputs, name: str) -> tuple[ValidationSet, ValidationSet, str]:
    """The validation and the test records, and how many of these are among those, in words."""
    sets = (read_validation(path) for path, _ in _two_paths(inputs, name))
    dev, test = (s.of_group(inputs.task) if inputs.task else s for s in sets)
    return dev, test, seen_and_judged(dev.conversations, test.conversations, "records")


def _record_set(inputs: Inputs, path: str, flag: str) -> np.ndarray:
    """Records of the pool that a table of picks names, as `mig-jax select` writes it."""
    stem = path.removesuffix(".selection.parquet")
    if stem != path:
        check_outputs(f"{stem}.manifest.json", path, may_tell_nothing=True)
    try:
        named = pq.read_table(path, columns=["file", "line"]).to_pydict()
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"{path}: {str(error).splitlines()[0]}; expected a Parquet table with the columns "
            "file and line, as mig-jax select writes it"
        ) from None
    table = inputs.table
    names = [os.path.basename(file) for file in table.files]
    place = {
        (names[file], line): row
        for row, (file, line) in enumerate(
            zip(table.file_index.tolist(), table.line.tolist(), strict=True)
        )
    }
    found = []
    for file, line in zip(named["file"], named["line"], strict=True):
        row = place.get((os.path.basename(file), line))
        if row is None:
            raise InputError(
                f"{path}: names line {line} of {file}, which is no record of the pool; expected "
                "records of --pool"
            )
        found.append(row)
    return np.array(found, np.int64)


def _measured(inputs: Inputs, path: str) -> PastRuns:
    """The subsets that a CSV table names, and what was measured of each."""
    expected = "expected a CSV table with the columns subset (a file) and score (a number)"
    try:
        with open(path, newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {error}; {expected}") from None
    if not rows or not {"subset", "score"} <= rows[0].keys():
        raise InputError(f"{path}: {expected}")
    scores, sets = [], []
    for line, row in enumerate(rows, 2):
        try:
            score = float(row["score"])
        except (TypeError, ValueError):
            score = math.nan
        if not math.isfinite(score):
            raise InputError(
                f"{path}, line {line}, score: found {row['score']}, expected a finite number"
            )
        scores.append(score)
        file = os.path.join(os.path.dirname(path), row["subset"] or "")
        sets.append(_record_set(inputs, file, "subset"))
    return PastRuns(sets, np.array(scores))
