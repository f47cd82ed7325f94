"""Selections for a grid: every cell is what it is alone, and what `select` picks."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mig_jax
from mig_jax.measure import cut_edges
from mig_jax.selection import (
    EMPTY,
    Cell,
    fill_pages,
    lay_out_grid,
    lay_out_pages,
    select_grid,
    stack_cells,
)
from tests.strategies import SMALL, TIES, WIDE, Case, cases, random_case

FAMILIES = {
    "power": [mig_jax.Power(0.2), mig_jax.Power(0.8), mig_jax.Power(1.0)],
    "exponential": [mig_jax.Exponential(0.02), mig_jax.Exponential(0.3)],
    "log": [mig_jax.Log(0.1), mig_jax.Log(3.0)],
    "saturating": [mig_jax.Saturating(0.1), mig_jax.Saturating(0.7)],
}
PARTS = ("picks", "gains", "increases")


def graph_at(case: Case, threshold: float) -> mig_jax.LabelGraph:
    """The graph of a case without the edges that a threshold leaves out."""
    kept = [edge for edge in case.edges if np.float32(edge[2]) >= np.float32(threshold)]
    return mig_jax.label_graph_from_edges(case.num_labels, kept)


def assert_as_select(case: Case, cells: list[Cell], found, gain, budget: int) -> None:
    """Picks, gains and increases of every cell are those of `select`, to the last bit."""
    for number, cell in enumerate(cells):
        graph = graph_at(case, cell.threshold)
        # Pages in another order than the grid's, which saves compiling what orders them.
        pages = fill_pages(lay_out_pages(case.pool, graph), case.pool, graph, cell.measure)
        alone = mig_jax.select(
            case.pool, graph, budget, measure=cell.measure, gain=gain, pages=pages, chunk=budget
        )
        for part in PARTS:
            ours = np.asarray(getattr(found, part)[number])
            np.testing.assert_array_equal(ours, getattr(alone, part), err_msg=f"{cell}, {part}")
        np.testing.assert_allclose(found.information[number], alone.information, rtol=1e-5)


def assert_cells_pick_what_select_picks(case, function, gain, batch_size) -> None:
    budget = len(case.scores)
    cells = [Cell(mig_jax.Measure(function, case.alpha), t) for t in (0.5, 0.875)]
    found = select_grid(
        case.pool, case.graph, stack_cells(cells), budget, gain=gain, batch_size=batch_size
    )
    assert_as_select(case, cells, found, gain, budget)


@pytest.mark.parametrize(
    ("shape", "function", "batch_size"),
    [
        (TIES, mig_jax.Power(0.8, 1e-6), 1),
        (WIDE, mig_jax.Exponential(0.3), 2),
        (TIES, mig_jax.Log(2.0), 2),
        (WIDE, mig_jax.Saturating(0.5), 1),
    ],
    ids=["Power", "Exponential", "Log", "Saturating"],
)
@given(data=st.data(), gain=st.sampled_from(list(mig_jax.GAIN_RULES.values())))
@settings(max_examples=6)
def test_cells_pick_what_select_picks_on_pools_full_of_ties(
    shape, function, batch_size, data, gain
):
    case = data.draw(cases(shape, structures=1), label="case")
    assert_cells_pick_what_select_picks(case, function, gain, batch_size)


@pytest.mark.parametrize("name", ["one record", "no labels", "worthless records"])
def test_cells_pick_what_select_picks_on_small_pools(name):
    assert_cells_pick_what_select_picks(SMALL[name], mig_jax.Power(), mig_jax.LINEAR, 1)


@pytest.mark.parametrize("family", FAMILIES)
def test_cells_equal_select_bit_for_bit_on_a_larger_pool(family):
    """Similarities and α as they come: rows shrink with the threshold, and nothing is dyadic."""
    case = random_case(7, 400, edges=160)
    cells = [
        Cell(mig_jax.Measure(function, alpha), threshold)
        for function, (alpha, threshold) in zip(
            itertools.cycle(FAMILIES[family]),
            [(0.3, 0.5), (1.0, 0.72), (0.7, 0.72)],
            strict=False,
        )
    ]
    for gain in mig_jax.GAIN_RULES.values():
        found = select_grid(case.pool, case.graph, stack_cells(cells), 120, gain=gain)
        assert_as_select(case, cells, found, gain, 120)
        assert len(np.unique(found.picks, axis=0)) == len(cells)


def test_neither_batches_nor_neighbours_change_a_cell():
    case = random_case(8, 300, edges=160)
    cells = [
        Cell(mig_jax.Measure(mig_jax.Power(exponent), alpha), threshold)
        for exponent, alpha, threshold in [(0.3, 1.0, 0.5), (0.8, 0.4, 0.7), (0.9, 1.0, 0.8)]
    ]
    expected = select_grid(case.pool, case.graph, stack_cells(cells), 60)
    for batch_size in (2, 99):
        found = select_grid(case.pool, case.graph, stack_cells(cells), 60, batch_size=batch_size)
        for part in PARTS:
            np.testing.assert_array_equal(getattr(found, part), getattr(expected, part))
    for number, cell in enumerate(cells):
        layout = lay_out_grid(case.pool, case.graph, cell, 60, area=256)
        alone = select_grid(case.pool, case.graph, stack_cells([cell]), 60, layout=layout)
        for part in PARTS:
            np.testing.assert_array_equal(getattr(alone, part)[0], getattr(expected, part)[number])


def test_one_trace_a_family_whatever_the_values_and_the_gain():
    traced = []

    def counted(family: type) -> type:
        """The family, which JAX cannot trace without leaving a mark."""

        @mig_jax.as_pytree
        class Counted(family):
            def prepare(self, x):
                traced.append(family)
                return super().prepare(x)

        return Counted

    case = random_case(9, 60)
    layout = lay_out_grid(case.pool, case.graph, Cell(mig_jax.Measure()), 10)
    for family, values in ((mig_jax.Power, (0.2, 0.8, 1.0)), (mig_jax.Log, (0.1, 3.0))):
        own = counted(family)
        first = 0
        for value, alpha, threshold, gain in itertools.product(
            values, (0.5, 1.0), (0.5, 0.9), mig_jax.GAIN_RULES.values()
        ):
            cells = stack_cells([Cell(mig_jax.Measure(own(value), alpha), threshold)] * 2)
            select_grid(case.pool, case.graph, cells, 10, gain=gain, layout=layout)
            first = first or traced.count(family)
        assert first > 0
        assert traced.count(family) == first


def test_parameters_may_be_one_value_a_label():
    case = random_case(10, 80)
    rng = np.random.default_rng(0)
    exponents = rng.uniform(0.2, 0.9, (2, case.num_labels)).astype(np.float32)
    cells = [Cell(mig_jax.Measure(mig_jax.Power(row)), 0.6) for row in exponents]
    found = select_grid(case.pool, case.graph, stack_cells(cells), 20)
    assert_as_select(case, cells, found, mig_jax.EXACT, 20)


def test_budgets_from_none_to_all_and_what_does_not_fit():
    case = random_case(11, 12)
    cells = stack_cells([Cell(mig_jax.Measure())])
    assert select_grid(case.pool, case.graph, cells, 0).picks.shape == (1, 0)
    everything = np.asarray(select_grid(case.pool, case.graph, cells, 12).picks[0])
    assert sorted(everything.tolist()) == list(range(12))
    for budget in (-1, 13):
        with pytest.raises(ValueError, match=f"0 to 12, got {budget}"):
            select_grid(case.pool, case.graph, cells, budget)
    with pytest.raises(ValueError, match="batch size"):
        select_grid(case.pool, case.graph, cells, 1, batch_size=0)
    with pytest.raises(ValueError, match="at least one cell"):
        stack_cells([])
    with pytest.raises(ValueError, match=r"Log|Power"):
        stack_cells([Cell(mig_jax.Measure(mig_jax.Log())), Cell(mig_jax.Measure())])


@pytest.mark.parametrize("alpha", [0.0, 0.7])
def test_a_cut_graph_shares_what_the_smaller_graph_shares(alpha):
    """Rows are equal, and in a cut graph zeros stand behind all else."""
    case = random_case(13, 60)
    threshold = case.edges[20][2]  # Of an edge that stays.
    measure = mig_jax.Measure(propagation=alpha)
    smaller = graph_at(case, threshold)
    rows = []
    for graph, laid_out in ((cut_edges(case.graph, threshold), case.graph), (smaller, smaller)):
        pages = fill_pages(lay_out_pages(case.pool, laid_out, area=64), case.pool, graph, measure)
        found = {}
        for page in range(pages.num_pages):
            width = 1 << int(pages.width_log2[page])
            labels, values = (
                np.asarray(part[page]).reshape(width, -1).T for part in (pages.labels, pages.values)
            )
            first = int(pages.starts[page])
            records = pages.records[first : first + len(labels)].tolist()
            for record, own, held in zip(records, labels, values, strict=True):
                count = np.count_nonzero(held)
                assert np.all(held[:count] > 0)
                found[record] = (own[:count].tolist(), held[:count].tolist())
        found.pop(EMPTY, None)
        rows.append(found)
    assert rows[0] == rows[1]


def test_gradients_pass_the_guard_against_fused_sums():
    """α = 0 is where a guard by a maximum with 0 would halve the gradient."""
    case = random_case(12, 30)
    raw = jnp.ones(case.num_labels).at[3].set(5.0)

    def total(alpha):
        held = mig_jax.label_information(
            case.pool, case.graph, mig_jax.Measure(propagation=alpha), jnp.ones(30)
        )
        return jnp.vdot(held, raw)

    h = 1e-2
    expected = (-3 * total(0.0) + 4 * total(h) - total(2 * h)) / (2 * h)
    np.testing.assert_allclose(jax.grad(total)(0.0), expected, rtol=2e-2)
