"""Selections for a grid of hyperparameters, all of them in one compiled call.

Score-function parameters, α, the similarity threshold and which of the rules in `GAIN_RULES`
counts are traced: a family of score functions is compiled once, whatever the values. The label
graph is that of the lowest threshold and is gated in each cell, so that all cells share one
layout of pages. Zeros of gated edges change no sum (see `pages`): every cell picks what `select`
picks on the graph of its own threshold.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Bool, Float, Int

from mig_jax.measure import (
    EXACT,
    GAIN_RULES,
    Array,
    GainRule,
    LabelGraph,
    Measure,
    Pool,
    Scalar,
    as_pytree,
    check_pool,
    cut_edges,
    information,
    unchecked,
)
from mig_jax.selection._allowance import Allowance
from mig_jax.selection._constraints import UNCONSTRAINED, Constraints
from mig_jax.selection._feasibility import Limits, limits_of
from mig_jax.selection._given import raw_of_given, spread
from mig_jax.selection._greedy import initial_state, lazy_greedy
from mig_jax.selection._number_range import check_finite, in_range
from mig_jax.selection._page_layout import AREA, PageLayout, lay_out_pages
from mig_jax.selection._pages import fill_pages
from mig_jax.selection._passes import holds_more, of_rows, without
from mig_jax.selection._rates import Rates
from mig_jax.selection._select import page_priority
from mig_jax.selection._selection_state import SetSize
from mig_jax.selection._typical_rates import rates_of_passes
from mig_jax.selection._working_set import set_size

__all__ = ["Cell", "CellSelection", "lay_out_grid", "select_cell", "select_grid", "stack_cells"]


@as_pytree
class Cell:
    """The hyperparameters of one selection. With a leading axis [n] on every leaf: of n."""

    measure: Measure
    threshold: Scalar = 0.0  #: Labels less similar than this share nothing, T of section 3.1.


@as_pytree
class CellSelection:
    """What one cell selects; with a leading axis [n] on every leaf, what n cells do."""

    picks: Int[Array, " picks"]  #: In order; −1 after the last, if costs are limited.
    gains: Float[Array, " picks"]  #: Each pick's gain at its moment, exact or linear.
    increases: Float[Array, " picks"]  #: By how much each pick raised E; the gains if exact.
    #: E of all picks, and of the records given, by the cell's own measure.
    information: Float[Array, ""]
    #: Pages whose gains were computed for the pick; those of a working set count for its first.
    pages_read: Int[Array, " picks"]


@as_pytree
class CellLimits:
    """What every cell keeps to: see `Allowance`."""

    costs: Int[Array, " rows"] | None
    groups: Int[Array, " rows"] | None
    start: Allowance


def stack_cells(cells: Sequence[Cell]) -> Cell:
    """Cells of one family as one `Cell` with a leading axis.

    Raises:
      ValueError: if there are none, or they differ in family or in the shapes of leaves.

    >>> cells = [Cell(Measure(propagation=alpha), 0.9) for alpha in (0.5, 1.0)]
    >>> stack_cells(cells).measure.propagation.tolist()
    [0.5, 1.0]
    """
    if not cells:
        raise ValueError("a grid has at least one cell")
    return jax.tree_util.tree_map(
        lambda *leaves: jnp.stack([jnp.asarray(leaf, float) for leaf in leaves]), *cells
    )


def lay_out_grid(
    pool: Pool,
    graph: LabelGraph,
    cell: Cell,
    budget: int | None,
    *,
    constraints: Constraints = UNCONSTRAINED,
    area: int = AREA,
) -> PageLayout:
    """The layout that all cells of a grid share, on the device.

    Args:
      pool: P records.
      graph: K labels, built at the lowest threshold of the grid.
      cell: one cell; the records that it likely picks come first. Picks never depend on it.
      budget: N; None if only costs are limited.
      constraints: as for `select`.
      area: slots a page has, as in `lay_out_pages`.

    Raises:
      ValueError: if the pool is not over the labels of the graph, or not as `Pool` says.
    """
    check_pool(pool, graph)
    with in_range(pool, graph, cell.measure) as (wide_pool, wide_graph, measure):
        cut = cut_edges(wide_graph, cell.threshold)
        priority = page_priority(wide_pool, cut, measure, budget, constraints)
    layout = lay_out_pages(pool, graph, priority=priority, area=area)
    return jax.tree_util.tree_map(jnp.asarray, layout)


def select_cell(
    rule: GainRule,
    pool: Pool,
    graph: LabelGraph,
    layout: PageLayout,
    z: Float[Array, " labels"],
    budget: int,
    limits: CellLimits | None,
    rates: Rates | None,
    size: SetSize | None,
    cell: Cell,
) -> CellSelection:
    """The selection of one cell, as a pure function.

    Args:
      rule: exact or linear gains.
      pool: P records.
      graph: K labels.
      layout: what `lay_out_grid` gives.
      z: information held by each label before the first pick. Traced even if it
        is zero: XLA rounds otherwise with a constant, and gains would not be those of `select`.
      budget: static, N ≤ P: no selection has more.
      limits: None if there are no others; without the records given, as is the layout.
      rates: of each pass [passes, groups], if there are limits.
      size: static, of the working set.
      cell: hyperparameters, traced.
    """
    pages = fill_pages(layout, pool, cut_edges(graph, cell.threshold), cell.measure)
    if limits is not None:
        pages = dataclasses.replace(pages, costs=limits.costs, groups=limits.groups)

    def one_pass(left: Allowance | None) -> CellSelection:
        state = initial_state(rule, cell.measure, pages, z, left=left, size=size)
        state, picks = lazy_greedy(rule, cell.measure, pages, state, jnp.int32(budget), budget)
        return CellSelection(
            picks.records,
            picks.gains,
            picks.increases,
            information(cell.measure, state.z),
            picks.pages_read,
        )

    if limits is None or rates is None:
        return one_pass(None)
    start = limits.start
    passes = lax.map(lambda of: one_pass(dataclasses.replace(start, rates=of)), rates)
    best = jnp.int32(0)
    for number in range(1, len(rates.records)):
        is_better = holds_more(passes.increases[best], passes.increases[number])
        best = jnp.where(is_better, number, best)
    return jax.tree_util.tree_map(lambda leaf: leaf[best], passes)


def select_grid(
    pool: Pool,
    graph: LabelGraph,
    cells: Cell,
    budget: int | None,
    *,
    constraints: Constraints = UNCONSTRAINED,
    gain: GainRule = EXACT,
    layout: PageLayout | None = None,
    batch_size: int | None = None,
    working_set: SetSize | None = None,
) -> CellSelection:
    """Selects `budget` records for each of n cells, or as many as the constraints allow.

    The picks and gains of a cell are those of `select` with the cell's measure and the graph
    of the cell's threshold, bit for bit, whatever the other cells are; but if float32 cannot
    hold one of them, all are in float64.

    Args:
      pool: P records.
      graph: K labels, built at a threshold no higher than the lowest of the grid.
      cells: n cells of one family; each leaf has a leading axis [n].
      budget: N, from 0 to P; static. None if only costs are limited.
      constraints: what every cell keeps to.
      gain: any rule. Those in `GAIN_RULES` share one compiled program; another has its own.
      layout: what `lay_out_grid` gives; by default for the cell in the middle.
      batch_size: how many cells go through `vmap` together, the others waiting. By default one
        on a CPU, where lazy searches of different length would wait for each other, and all on
        an accelerator.
      working_set: as for `select`.

    Returns:
      A `CellSelection` whose leaves have a leading axis [n].

    Raises:
      InfeasibleError: a ValueError, if no selection keeps to all limits.
      ValueError: if the budget is negative or larger than the pool, or the batch size is
        not positive.
      AssertionError: if leaves of `cells` differ in their leading axis.
      InputError: if what records gain is not finite in float64.

    >>> from mig_jax import Power, label_graph_from_edges, pool_from_label_lists
    >>> pool = pool_from_label_lists([[0, 1], [2], [0]], [1.0, 1.0, 1.5])
    >>> cells = stack_cells([Cell(Measure(Power(e))) for e in (0.1, 1.0)])
    >>> select_grid(pool, label_graph_from_edges(3), cells, 2).picks.tolist()
    [[0, 1], [0, 2]]
    """
    limits = None if constraints.is_empty else limits_of(pool, budget, constraints)
    most = budget if limits is None else limits.most_picks
    if most is None or not 0 <= most <= pool.num_records:
        raise ValueError(f"the budget must be in 0 to {pool.num_records}, got {budget}")
    num_cells = jnp.shape(cells.threshold)[0]
    message = "cells: expected one leading axis on every leaf, as `stack_cells` gives"
    chex.assert_tree_shape_prefix(cells, (num_cells,), custom_message=message)
    if batch_size is None:
        batch_size = 1 if jax.default_backend() == "cpu" else num_cells
    if batch_size < 1:
        raise ValueError(f"the batch size must be at least 1, got {batch_size}")
    if layout is None:
        middle = jax.tree_util.tree_map(lambda leaf: leaf[num_cells // 2], cells)
        layout = lay_out_grid(pool, graph, middle, budget, constraints=constraints)
    rules = tuple(GAIN_RULES.values())
    rules = rules if gain in rules else (gain,)
    rule = jnp.int32(rules.index(gain))
    batch_size = min(batch_size, num_cells)
    size = working_set or set_size(layout, most)
    with in_range(pool, graph, cells.measure) as (pool, graph, measure):
        z = jnp.zeros(max(graph.num_labels, 1))  # Gathers need a row, though there be no label.
        cells = unchecked(Cell, measure=measure, threshold=cells.threshold)
        if constraints.given is not None:
            z = _held_of_given(pool, graph, constraints.given, cells)
        of_cells, rates = None, None
        if limits is not None:
            of_cells = _cell_limits(limits, layout)
            rates = _rates_of_cells(pool, graph, cells, budget, constraints, limits)
            z = jnp.broadcast_to(z, (num_cells, z.shape[-1]))
        if limits is not None and limits.taken is not None:
            kept = without(np.flatnonzero(limits.taken), np.asarray(layout.records))
            layout = dataclasses.replace(layout, records=jnp.asarray(kept))
        found = _select_grid(
            rule, pool, graph, layout, z, of_cells, rates, cells, rules, most, size, batch_size
        )
    if not isinstance(found.information, jax.core.Tracer):
        check_finite(found.gains, found.increases, found.information)
    return found


def _held_of_given(
    pool: Pool, graph: LabelGraph, given: Bool[Array, " records"], cells: Cell
) -> Float[jax.Array, "cells labels"]:
    """z_G of each cell, as `select` has it."""
    raw = raw_of_given(pool, graph, given)
    held = [
        spread(cut_edges(graph, threshold), alpha, raw)
        for threshold, alpha in zip(
            np.asarray(cells.threshold), np.asarray(cells.measure.propagation), strict=True
        )
    ]
    return jnp.asarray(np.stack(held), float)


def _cell_limits(limits: Limits, layout: PageLayout) -> CellLimits:
    records = np.asarray(layout.records)
    costs, groups = (
        None if values is None else of_rows(values, records)
        for values in (limits.costs, limits.groups)
    )
    return CellLimits(costs, groups, limits.start)


def _rates_of_cells(
    pool: Pool,
    graph: LabelGraph,
    cells: Cell,
    budget: int | None,
    constraints: Constraints,
    limits: Limits,
) -> Rates:
    """Those of all passes, [cells, passes, groups]; a cell with fewer has its last one again."""
    found = []
    for number in range(np.shape(cells.threshold)[0]):
        cell = jax.tree_util.tree_map(lambda leaf, number=number: leaf[number], cells)
        cut = cut_edges(graph, cell.threshold)
        found.append(rates_of_passes(pool, cut, cell.measure, budget, constraints, limits))
    most = max(map(len, found))
    rows = [passes + passes[-1:] * (most - len(passes)) for passes in found]
    return Rates(
        *(
            jnp.asarray([[getattr(rates, name) for rates in passes] for passes in rows])
            for name in Rates._fields
        )
    )


@partial(jax.jit, static_argnames=("rules", "budget", "size", "batch_size"))
def _select_grid(
    rule: Int[Array, ""],
    pool: Pool,
    graph: LabelGraph,
    layout: PageLayout,
    z: Float[Array, "*cells labels"],
    limits: CellLimits | None,
    rates: Rates | None,
    cells: Cell,
    rules: tuple[GainRule, ...],
    budget: int,
    size: SetSize | None,
    batch_size: int,
) -> CellSelection:
    def by_rule(rule: GainRule, cells: Cell) -> CellSelection:
        # A batch of one is no batch: under `vmap` every branch would be taken.
        batch = batch_size if batch_size > 1 else None
        select_one = partial(select_cell, rule, pool, graph, layout)
        if limits is None:
            return lax.map(
                partial(select_one, z, budget, None, None, size), cells, batch_size=batch
            )

        def each(of_cell: tuple[jax.Array, Rates, Cell]) -> CellSelection:
            held, rates, cell = of_cell
            return select_one(held, budget, limits, rates, size, cell)

        return lax.map(each, (z, rates, cells), batch_size=batch)

    # One rule for all cells: the branch is a real one, and the other rule costs nothing.
    return lax.switch(rule, [partial(by_rule, rule) for rule in rules], cells)
