"""Arrays of a wrong shape are refused by name at the doors of the core, compiled or not."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import TypeCheckError

import mig_jax
from mig_jax import measure, relaxation, selection
from mig_jax.selection import Cell

RECORDS, LABELS = 5, 3
POOL = mig_jax.pool_from_label_lists([[0], [1], [0, 2], [2], [1]], np.arange(1.0, 6.0))
GRAPH = mig_jax.label_graph_from_edges(LABELS, [(0, 1, 0.9)])
MEASURE = mig_jax.Measure()

# Of each function the name of an argument, and calls with what is one too long.
DOORS = {
    "information of labels": (
        "amounts",
        lambda x: measure.label_information(POOL, GRAPH, MEASURE, x),
        RECORDS,
    ),
    "linear gains": ("z", lambda x: measure.linear_gains(POOL, GRAPH, MEASURE, x), LABELS),
    "upper bound": ("z", lambda x: selection.upper_bound(POOL, GRAPH, MEASURE, x, 2), LABELS),
    "propagate": ("raw", lambda x: measure.propagate(GRAPH, 1.0, x), LABELS),
    "back propagate": ("slopes", lambda x: measure.back_propagate(GRAPH, 1.0, x), LABELS),
    "relaxed selection": (
        "start",
        lambda x: relaxation.relaxed_selection(POOL, GRAPH, MEASURE, 2, 0.1, start=x).z,
        LABELS,
    ),
}


@pytest.mark.parametrize("compiled", [False, True], ids=["as it is", "jit"])
@pytest.mark.parametrize(("name", "door", "size"), DOORS.values(), ids=DOORS)
def test_one_number_too_many_or_too_few_is_refused_by_name(name, door, size, compiled):
    door = jax.jit(door) if compiled else door
    jax.block_until_ready(door(jnp.ones(size)))
    for wrong in (size + 1, size - 1, 1):
        with pytest.raises(AssertionError, match=rf"{name}: expected"):
            door(jnp.ones(wrong))


@pytest.mark.usefixtures("annotations_unchecked")
def test_parts_of_pools_and_graphs_belong_together():
    with pytest.raises(AssertionError, match="labels, records: expected"):
        mig_jax.Pool(POOL.labels, POOL.records[1:], POOL.scores)
    with pytest.raises(AssertionError, match="sources, targets, similarities: expected"):
        dataclasses.replace(GRAPH, similarities=np.ones(1, np.float32))


def test_what_a_selection_is_given_fits_the_pool_and_the_graph():
    with pytest.raises(AssertionError, match="priority: expected a number for each record"):
        selection.lay_out_pages(POOL, GRAPH, priority=np.ones(RECORDS - 1, np.float32))
    seen = []
    mig_jax.select(POOL, GRAPH, 2, on_chunk=seen.append)
    other = mig_jax.label_graph_from_edges(LABELS + 1)
    with pytest.raises(AssertionError, match="resume: expected a z"):
        mig_jax.select(POOL, other, 3, resume=seen[0])


def test_cells_of_a_grid_are_as_many_in_every_leaf():
    cells = selection.stack_cells([Cell(MEASURE, 0.5)] * 3)
    longer = measure.unchecked(Cell, measure=cells.measure, threshold=jnp.zeros(4))
    with pytest.raises(AssertionError, match="cells: expected one leading axis"):
        selection.select_grid(POOL, GRAPH, longer, 2)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (lambda: mig_jax.information(MEASURE, np.ones((2, 3), np.float32)), "'z'"),
        (lambda: mig_jax.information(MEASURE, [1.0]), "'z'"),
        (lambda: mig_jax.Measure(propagation=np.ones(2)), "'propagation'"),
        (lambda: mig_jax.Power(exponent="steep"), "'exponent'"),
        (lambda: selection.certify(POOL, GRAPH, MEASURE, np.array([0.0, 1.0])), "'picks'"),
    ],
)
def test_the_tests_check_annotations(wrong, told):
    """That is what conftest.py has the import hook for."""
    with pytest.raises(TypeCheckError, match=told):
        wrong()
