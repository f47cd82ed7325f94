"""What was learned against the paper and a grid: from which similarity on these join labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import mig_jax
from mig_jax.learning import (
    OBJECTIVES,
    RIVAL_THRESHOLDS,
    Inputs,
    Task,
    compare,
    grid_cells,
    paper_measure,
    thresholds_that_fit,
)
from mig_jax.reports import learning_notes

LABELS, RECORDS, BUDGET = 150, 60, 12


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    """Labels of ten topics, none of which is as similar to another as 0.6; one has no embedding."""
    rng = np.random.default_rng(0)
    topics = unit(rng.normal(size=(10, 64)))[np.arange(LABELS) % 10]
    found = unit(topics + unit(rng.normal(size=(LABELS, 64))) * 1.6)
    similarity = found @ found.T - 2 * np.eye(LABELS)
    assert similarity.max() < 0.6
    found[-1] = 0
    return found


def neighbours(vectors: np.ndarray, threshold: float) -> float:
    """Of the mean label that has an embedding, counted pair by pair."""
    own = vectors[:-1].astype(np.float64)
    similar = own @ own.T >= threshold
    return float(similar.sum(axis=1).mean() - 1)


def test_thresholds_fit_embeddings_of_any_scale(vectors):
    paper, grid = thresholds_that_fit(vectors)
    assert neighbours(vectors, paper) == pytest.approx(3.5, rel=0.1)
    assert [neighbours(vectors, t) for t in grid] == pytest.approx([14, 7, 3.5, 1.75], rel=0.15)
    assert paper in grid
    # Of few labels most thresholds are the same, and each is tried once.
    _, few = thresholds_that_fit(vectors[:11])
    assert len(few) == 1
    assert len(list(grid_cells(few))) == 16
    assert len(list(grid_cells())) == 64


def test_the_paper_and_the_grid_join_labels_where_learning_may_not(vectors):
    rng = np.random.default_rng(1)
    rows = [rng.choice(LABELS - 1, 3, replace=False).tolist() for _ in range(RECORDS)]
    pool = mig_jax.pool_from_label_lists(rows, rng.random(RECORDS) + 0.1)
    told: dict[str, Any] = {"validation": None, "test": None, "task": None, "say": print}
    alone = mig_jax.label_graph_from_embeddings(vectors, 0.6)
    assert alone.num_edges == 0
    inputs = Inputs(
        table=None,  # type: ignore[arg-type]
        pool=pool,
        graph=alone,
        embeddings=vectors,
        budget=BUDGET,
        budgets=(BUDGET,),
        seed=0,
        **told,
    )
    # A selection is as good as it has labels of low numbers: anything that tells picks apart.
    worth = np.array([float(np.sum(row)) for row in rows])
    task = Task(
        None,  # type: ignore[arg-type]
        validation_loss=lambda candidate: float(worth[candidate.picks].mean()),
        test_losses=lambda candidate: worth[candidate.picks],
        groups=np.zeros(BUDGET, np.int32),
        loss_name="loss",
        about="",
    )
    thresholds = thresholds_that_fit(vectors)
    steps: list[int] = []
    compared, grid = compare(
        inputs,
        task,
        paper_measure(),
        0.0,
        [],
        lambda *given: None,
        lambda done, total: steps.append(total),
        thresholds=thresholds,
    )
    assert {cell["threshold"] for cell in grid} == set(thresholds.grid)
    assert set(steps) == {len(grid)} == {64}
    by_name = {row["method"]: row for row in compared}

    def loss(threshold: float, exponent: float, propagation: float, gain: str) -> float:
        picks = mig_jax.select(
            pool,
            mig_jax.label_graph_from_embeddings(
                vectors, threshold, present=np.arange(LABELS) < LABELS - 1
            ),
            BUDGET,
            measure=mig_jax.Measure(mig_jax.Power(exponent), propagation),
            gain=mig_jax.LINEAR if gain == "linear" else mig_jax.EXACT,
        ).picks
        return float(worth[picks].mean())

    assert f"threshold {thresholds.paper}," in by_name["paper"]["detail"]
    own = loss(thresholds.paper, 0.8, 1.0, "linear")
    assert by_name["paper"]["validation_loss"] == pytest.approx(own)
    assert own != pytest.approx(loss(0.9, 0.8, 1.0, "linear"))
    for cell in grid[::9]:
        names = ("threshold", "exponent", "propagation", "gain")
        assert cell["validation_loss"] == pytest.approx(loss(*(cell[name] for name in names)))


def test_notes_tell_thresholds_and_what_the_loss_does_not_tell(vectors):
    fitting = thresholds_that_fit(vectors)
    for objective in OBJECTIVES:
        thresholds, caveat = learning_notes(objective, fitting)
        assert f"similarity {fitting.paper:g} on" in thresholds
        assert all(f"{threshold:g}" in thresholds for threshold in fitting.grid)
        assert "3.5 neighbours" in thresholds
        assert caveat
    builtin, _ = learning_notes("planted", RIVAL_THRESHOLDS)
    assert "similarity 0.9 on, grid tries 0.6, 0.7, 0.8 and 0.9" in builtin
    assert "neighbours" not in builtin
    assert "not shown to learn more" in learning_notes("validation", fitting)[1]
