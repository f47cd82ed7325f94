"""What was learned against what a user would do instead: same budget, same data."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mig_jax.learning._parameters import LearnedMeasure, harden
from mig_jax.learning._tasks import Candidate, Inputs, Task
from mig_jax.measure import (
    GAIN_RULES,
    PAPER,
    USUAL_NEIGHBOURS,
    Measure,
    Power,
    information,
    label_graph_from_embeddings,
    threshold_of_neighbours,
)
from mig_jax.selection import (
    Cell,
    lay_out_grid,
    select,
    select_grid,
    selected_information,
    stack_cells,
)

__all__ = [
    "RIVAL_THRESHOLDS",
    "Chosen",
    "RivalThresholds",
    "bootstrap",
    "chosen_by_grid",
    "compare",
    "grid_cells",
    "paper_measure",
    "select_learned",
    "thresholds_that_fit",
]

_RANDOM_SEEDS = 5
_BOOTSTRAP_SAMPLES = 2000
# Of the mean label, in a grid whose thresholds fit: the usual number, and each twice the next.
_GRID_NEIGHBOURS = tuple(USUAL_NEIGHBOURS * factor for factor in (4, 2, 1, 0.5))


@dataclasses.dataclass(frozen=True)
class Chosen:
    """The selections of one method: one, or several that differ by seed."""

    method: str
    candidates: list[Candidate]
    seconds: float  # Of choosing and selecting, validation included; not of the test.
    detail: str = ""
    is_part: bool = False  # Learned as well, and less of it: what the rest brings, it tells.


class RivalThresholds(NamedTuple):
    """From which similarity on labels are joined by what nothing was learned for."""

    paper: float  #: With the paper's settings.
    grid: tuple[float, ...]  #: The grid tries each.


#: Those of the built-in pool, whose embeddings are on the scale of the paper's.
RIVAL_THRESHOLDS: Final = RivalThresholds(PAPER.threshold, (0.6, 0.7, 0.8, 0.9))


def thresholds_that_fit(embeddings: np.ndarray) -> RivalThresholds:
    """Thresholds for embeddings of any scale: where labels have so many neighbours in the mean.

    The paper's settings take the usual number, as `mig-jax select` does; the grid tries that,
    half, twice and four times as many, and of thresholds that are the same only one.

    Args:
      embeddings: float [K, width], rows of unit length, or of zeros for labels that have none.
    """
    present = np.any(embeddings, axis=1)
    found = {n: threshold_of_neighbours(embeddings, n, present=present) for n in _GRID_NEIGHBOURS}
    return RivalThresholds(found[USUAL_NEIGHBOURS], tuple(sorted(set(found.values()))))


def grid_cells(
    thresholds: Sequence[float] = RIVAL_THRESHOLDS.grid,
) -> Iterator[tuple[float, float, float, str]]:
    """16 cells a threshold: exponent, threshold, α and gain."""
    exponents = (0.2, 0.4, 0.6, 0.8)
    return itertools.product(exponents, thresholds, (0.5, 1.0), ("exact", "linear"))


def grid_picks(
    inputs: Inputs, thresholds: Sequence[float] = RIVAL_THRESHOLDS.grid
) -> list[np.ndarray]:
    """The picks of each cell of `grid_cells`, all of one gain in one compiled call."""
    cells = list(grid_cells(thresholds))
    made = [
        Cell(Measure(Power(exponent, PAPER.epsilon, 1.0), propagation), threshold)
        for exponent, threshold, propagation, _ in cells
    ]
    layout = lay_out_grid(inputs.pool, inputs.graph, made[len(made) // 2], inputs.budget)
    picks: dict[int, np.ndarray] = {}
    for name, rule in GAIN_RULES.items():
        rows = [row for row, cell in enumerate(cells) if cell[3] == name]
        found = select_grid(
            inputs.pool,
            inputs.graph,
            stack_cells([made[row] for row in rows]),
            inputs.budget,
            gain=rule,
            layout=layout,
        )
        picks.update(zip(rows, np.asarray(found.picks), strict=True))
    return [picks[row] for row in range(len(cells))]


def select_learned(inputs: Inputs, learned: LearnedMeasure, gain: str = "exact") -> Candidate:
    """The hard selection of a measure."""
    pool, graph, measure = harden(learned, inputs.pool, inputs.graph)
    rule = GAIN_RULES[gain]
    picks = select(pool, graph, inputs.budget, measure=measure, gain=rule).picks
    return Candidate(picks, _value(inputs, learned))


def _value(inputs: Inputs, learned: LearnedMeasure) -> Callable[[np.ndarray], float]:
    def value(chosen: np.ndarray) -> float:
        pool, graph, measure = harden(learned, inputs.pool, inputs.graph)
        return float(information(measure, selected_information(pool, graph, measure, chosen)))

    return value


def chosen_by_grid(
    inputs: Inputs,
    task: Task,
    thresholds: Sequence[float],
    on_cell: Callable[[int, int], None],
) -> tuple[Chosen, list[dict[str, Any]]]:
    """The cell with the lowest validation loss, and the loss of every cell."""
    start = time.perf_counter()
    cells = list(grid_cells(thresholds))
    candidates: list[Candidate] = []
    table: list[dict[str, Any]] = []
    for number, (cell, picks) in enumerate(
        zip(cells, grid_picks(inputs, thresholds), strict=True), 1
    ):
        exponent, threshold, propagation, gain = cell
        measure = _cell(exponent, threshold, propagation)
        candidates.append(Candidate(picks, _value(inputs, measure)))
        table.append(
            {
                "exponent": exponent,
                "threshold": threshold,
                "propagation": propagation,
                "gain": gain,
                "validation_loss": task.validation_loss(candidates[-1]),
            }
        )
        on_cell(number, len(cells))
    best = min(range(len(cells)), key=lambda number: table[number]["validation_loss"])
    about = table[best]
    detail = (
        f"exponent {about['exponent']}, threshold {about['threshold']}, "
        f"alpha {about['propagation']}, {about['gain']} gains"
    )
    return Chosen("grid", [candidates[best]], time.perf_counter() - start, detail), table


def compare(
    inputs: Inputs,
    task: Task,
    learned: LearnedMeasure,
    learning_seconds: float,
    others: Sequence[Chosen],
    on_method: Callable[[str, int, int], None],
    on_cell: Callable[[int, int], None],
    thresholds: RivalThresholds = RIVAL_THRESHOLDS,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Judges all methods on the test data.

    Args:
      inputs: the pool and the budget.
      task: what selections are to be good for.
      learned: what was learned.
      learning_seconds: how long that took.
      others: to be compared beside a random choice, the top scores, the paper and the grid.
      on_method: called once a method is judged, with its name, how many are, and of how many.
      on_cell: called with the number of cells of the grid that are validated, and of how many.
      thresholds: of the paper and of the grid.

    Returns:
      One object for each method: its test loss with the 95 % bootstrap interval, its
      loss less that of `learned` with the interval of the paired difference, its
      validation loss and its seconds. And the validation losses of the grid.
    """
    start = time.perf_counter()
    own = select_learned(inputs, learned)
    ours = Chosen("learned", [own], learning_seconds + time.perf_counter() - start)
    joined = _joined_from(inputs, min(thresholds.paper, *thresholds.grid))
    grid, table = chosen_by_grid(joined, task, thresholds.grid, on_cell)
    found = [*_without_search(joined, thresholds.paper), grid, *others, ours]
    losses = {}
    for number, chosen in enumerate(found, 1):
        losses[chosen.method] = np.mean([task.test_losses(c) for c in chosen.candidates], axis=0)
        on_method(chosen.method, number, len(found))
    rows = []
    for chosen in found:
        mean, low, high = bootstrap(losses[chosen.method], task.groups)
        gap = bootstrap(losses[chosen.method] - losses["learned"], task.groups)
        validated = [task.validation_loss(candidate) for candidate in chosen.candidates]
        rows.append(
            {
                "method": chosen.method,
                "test_loss": mean,
                "low": low,
                "high": high,
                "over_learned": gap[0],
                "over_learned_low": gap[1],
                "over_learned_high": gap[2],
                "validation_loss": float(np.mean(validated)),
                "seconds": chosen.seconds,
                "detail": chosen.detail,
                "is_part": chosen.is_part,
            }
        )
    return rows, table


def bootstrap(losses: np.ndarray, groups: np.ndarray) -> tuple[float, float, float]:
    """The mean over groups of their items' mean losses, and its 95 % interval.

    Items are drawn within their groups, always with the same draws, so that
    differences between methods are paired.
    """
    rng = np.random.default_rng(0)
    means, samples = [], []
    for group in np.unique(groups):
        own = losses[groups == group]
        means.append(own.mean())
        draws = rng.integers(0, len(own), (_BOOTSTRAP_SAMPLES, len(own)))
        samples.append(own[draws].mean(axis=1))
    low, high = np.percentile(np.mean(samples, axis=0), [2.5, 97.5])
    return float(np.mean(means)), float(low), float(high)


def _joined_from(inputs: Inputs, lowest: float) -> Inputs:
    """The same with a graph that has all edges of this similarity or more.

    That of what is learned has those from the lowest threshold that may be learned, which may be
    higher where embeddings are less similar.
    """
    if np.min(np.asarray(inputs.graph.similarities), initial=np.inf) <= lowest:
        return inputs
    vectors = inputs.embeddings
    graph = label_graph_from_embeddings(vectors, lowest, present=np.any(vectors, axis=1))
    return dataclasses.replace(inputs, graph=graph)


def _without_search(inputs: Inputs, threshold: float) -> Iterator[Chosen]:
    start = time.perf_counter()
    rng = np.random.default_rng([inputs.seed, 7])
    records = inputs.pool.num_records
    several = [
        Candidate(rng.choice(records, inputs.budget, replace=False), lambda picks: 0.0)
        for _ in range(_RANDOM_SEEDS)
    ]
    yield Chosen("random", several, time.perf_counter() - start, f"{_RANDOM_SEEDS} seeds")
    start = time.perf_counter()
    scores = np.asarray(inputs.pool.scores)
    top = np.argsort(-scores, kind="stable")[: inputs.budget]
    candidate = Candidate(top, lambda picks: float(scores[picks].mean()))
    yield Chosen("top_score", [candidate], time.perf_counter() - start)
    start = time.perf_counter()
    paper = select_learned(inputs, paper_measure(threshold), PAPER.gain)
    seconds = time.perf_counter() - start
    detail = (
        f"exponent {PAPER.exponent}, threshold {threshold}, alpha {PAPER.propagation:g}, "
        f"{PAPER.gain} gains"
    )
    yield Chosen("paper", [paper], seconds, detail)


def paper_measure(threshold: float = PAPER.threshold) -> LearnedMeasure:
    """The paper's settings; its gains are those of `PAPER.gain`."""
    return _cell(PAPER.exponent, threshold, PAPER.propagation)


def _cell(exponent: float, threshold: float, propagation: float) -> LearnedMeasure:
    numbers = (exponent, PAPER.epsilon, 1.0)
    function = Power(*(jnp.asarray(x, jnp.float32) for x in numbers))
    measure = Measure(function, jnp.asarray(propagation, jnp.float32))
    return jax.tree_util.tree_map(
        jnp.asarray, LearnedMeasure(measure, np.float32(threshold), np.float32(1.0))
    )
