"""Marginal gains of the records of pages, by any gain rule."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from mig_jax.measure import Array, GainRule, Measure, prepare
from mig_jax.selection._page_layout import EMPTY
from mig_jax.selection._pages import Pages, page_sums

__all__ = ["marginal_gains", "page_gains"]


def page_gains(
    rule: GainRule,
    measure: Measure,
    table: Any,
    labels: Array,
    values: Array,
    records: Array,
    width_log2: Array,
) -> jax.Array:
    """Gains of the rows of one page: float [rows], −1 if a row has no record.

    Args:
      rule: any; of an exact one gains are increases of E.
      measure: its score function's family matters here; parameters are in `table`.
      table: what the rule prepares for the current z: `gains` of what `prepare` gives.
      labels: int32 [area].
      values: float [area].
      records: int32 [rows].
      width_log2: int32 scalar.
    """
    prepared = jax.tree_util.tree_map(lambda leaf: leaf[labels], table)
    shares = rule.of_slot(measure.score_function, prepared, values)
    # A share is never negative. Saying so also keeps compilers from fusing the last product
    # into the first addition, which would round differently from program to program.
    sums = page_sums(jnp.maximum(shares, 0), width_log2, records.shape[0])
    return jnp.where(records == EMPTY, -1, sums)


def marginal_gains(
    rule: GainRule, measure: Measure, pages: Pages, z: Array, num_records: int
) -> jax.Array:
    """Gains of all records at z (Eq. 9, or 10–11): float [P], 0 for records not in the pages.

    Args:
      rule: exact or linear.
      measure: score functions and α.
      pages: the propagated pool, for the same α.
      z: float [K].
      num_records: static, P.

    >>> from mig_jax import EXACT, Log, label_graph_from_edges, lay_out, pool_from_label_lists
    >>> pool = pool_from_label_lists([[0], [1]], [1.0, 3.0])
    >>> measure = Measure(Log())
    >>> pages = lay_out(pool, label_graph_from_edges(2), measure, 1)
    >>> gains = marginal_gains(EXACT, measure, pages, jnp.zeros(2), 2)
    >>> [round(float(gain), 4) for gain in gains]  # log(1 + 1) and log(1 + 3)
    [0.6931, 1.3863]
    """
    table = prepare(rule, measure, jnp.asarray(z)).gains
    gains = jax.vmap(partial(page_gains, rule, measure, table))(
        pages.labels, pages.values, pages.records, pages.width_log2
    )
    return jnp.zeros(num_records, gains.dtype).at[pages.records].set(gains, mode="drop")
