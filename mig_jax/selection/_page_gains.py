"""Marginal gains of the records of pages, by any gain rule."""

from __future__ import annotations

from functools import partial
from typing import Any

import chex
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Float, Int, Integer

from mig_jax.measure import Array, GainRule, Measure, prepare
from mig_jax.selection._page_layout import EMPTY, NARROWEST_LOG2
from mig_jax.selection._pages import Page, Pages, page_sums, row_sums

__all__ = ["marginal_gains", "page_gains", "row_gain", "row_gains"]


def page_gains(
    rule: GainRule,
    measure: Measure,
    table: Any,
    page: Page,
) -> Float[jax.Array, " page_rows"]:
    """Gains of the rows of one page, −1 if a row has no record.

    Args:
      rule: any; of an exact one gains are increases of E.
      measure: its score function's family matters here; parameters are in `table`.
      table: what the rule prepares for the current z: `gains` of what `prepare` gives.
      page: its records may be fewer than the pool's, EMPTY once picked.
    """
    shares = _shares(rule, measure, table, page.labels, page.values)
    sums = page_sums(shares, page.width_log2, page.records.shape[0])
    return jnp.where(page.records == EMPTY, -1, sums)


def _shares(
    rule: GainRule,
    measure: Measure,
    table: Any,
    labels: Integer[jax.Array, "*n slots"],
    values: Float[jax.Array, "*n slots"],
) -> Float[jax.Array, "*n slots"]:
    """What each slot adds to the gain of its row."""
    # Places are computed in the type of the indices, and stored labels may have too few bits.
    labels = labels.astype(jnp.int32)
    prepared = jax.tree_util.tree_map(lambda leaf: leaf[labels], table)
    # A share is never negative. Saying so also keeps compilers from fusing the last product
    # into the first addition, which would round differently from program to program.
    return jnp.maximum(rule.of_slot(measure.score_function, prepared, values), 0)


def row_gains(
    rule: GainRule,
    measure: Measure,
    table: Any,
    labels: Integer[jax.Array, "n width"],
    values: Float[jax.Array, "n width"],
) -> Float[jax.Array, " n"]:
    """The same gains, bit for bit, of n rows of one width, all computed at once."""
    return row_sums(_shares(rule, measure, table, labels, values))


def row_gain(
    rule: GainRule,
    measure: Measure,
    table: Any,
    rows: Pages,
    widths_log2: Int[jax.Array, " n"],
    row: Int[jax.Array, ""],
) -> Float[jax.Array, ""]:
    """The same gain of one of n pages that are one row each, with its own width."""

    def of_width(width_log2: int, row: jax.Array) -> jax.Array:
        labels, values = (
            lax.dynamic_slice(leaf, (row, jnp.int32(0)), (1, 1 << width_log2))
            for leaf in (rows.labels, rows.values)
        )
        return row_gains(rule, measure, table, labels, values)[0]

    widest = rows.labels.shape[1].bit_length() - 1
    branches = [partial(of_width, width) for width in range(NARROWEST_LOG2, widest + 1)]
    width_log2 = lax.dynamic_index_in_dim(widths_log2, row, keepdims=False)
    return lax.switch(width_log2 - NARROWEST_LOG2, branches, row)


def marginal_gains(
    rule: GainRule,
    measure: Measure,
    pages: Pages,
    z: Float[Array, " labels"],
    num_records: int,
) -> Float[jax.Array, " records"]:
    """Gains of all records at z (Eq. 9, or 10–11), 0 for records not in the pages.

    Args:
      rule: exact or linear.
      measure: score functions and α.
      pages: the propagated pool, for the same α.
      z: information held by each label.
      num_records: static, P.

    >>> from mig_jax import EXACT, Log, label_graph_from_edges, lay_out, pool_from_label_lists
    >>> pool = pool_from_label_lists([[0], [1]], [1.0, 3.0])
    >>> measure = Measure(Log())
    >>> pages = lay_out(pool, label_graph_from_edges(2), measure, 1)
    >>> gains = marginal_gains(EXACT, measure, pages, jnp.zeros(2), 2)
    >>> [round(float(gain), 4) for gain in gains]  # log(1 + 1) and log(1 + 3)
    [0.6931, 1.3863]
    """
    chex.assert_rank(z, 1, custom_message="z: expected a number for each label")
    table = prepare(rule, measure, jnp.asarray(z)).gains
    together = pages.together(pages.records)
    gains = jax.vmap(partial(page_gains, rule, measure, table))(together)
    return jnp.zeros(num_records, gains.dtype).at[together.records].set(gains, mode="drop")
