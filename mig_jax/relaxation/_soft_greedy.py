"""Greedy selection with soft picks: for small pools, and to check the relaxed selection.

A pick takes one record's worth in all, shared among the records by a softmax of
their gains in which none can give more than what is left of it:

    taken_d = left_d · sigmoid((gain_d − λ)/τ),    Σ_d taken_d = 1.

If every share is small this is the softmax of gain/τ weighted by what is
left. As τ → 0 the picks become the greedy's, up to ties. The scan is
differentiated as it is, so that memory grows with the budget.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from mig_jax.measure import EXACT, Array, GainRule, LabelGraph, Measure, Pool, propagate
from mig_jax.relaxation._relaxed_selection import LEAST_INFORMATION, typical_gain

__all__ = ["softened_greedy"]

_HALVINGS = 60


@partial(jax.jit, static_argnames=("budget", "gain"))
def softened_greedy(
    pool: Pool,
    graph: LabelGraph,
    measure: Measure,
    budget: int,
    temperature: Array,
    *,
    gain: GainRule = EXACT,
) -> tuple[jax.Array, jax.Array]:
    """Amounts of the records, and information of the labels, after `budget` soft picks.

    Differentiable in all that is float. Makes a P×K array, and reads it in every pick.

    Args:
      pool: P records, a few thousand at most.
      graph: K labels.
      measure: score functions and α.
      budget: static, N, from 0 to P.
      temperature: scalar above 0, in units of `typical_gain`.
      gain: the rule, such as `EXACT`: of a whole record, however much of it is left.

    Returns:
      float [P], in [0, 1], of sum N; and z, float [K].

    >>> from mig_jax import label_graph_from_edges, pool_from_label_lists
    >>> pool = pool_from_label_lists([[0], [0], [1]], [1.0, 0.9, 0.8])
    >>> amounts, z = softened_greedy(pool, label_graph_from_edges(2), Measure(), 2, 0.01)
    >>> amounts.round(1).tolist()
    [1.0, 0.0, 1.0]
    """
    shape = pool.num_records, graph.num_labels
    raw = jnp.zeros(shape, jnp.result_type(pool.scores))
    raw = raw.at[pool.records, pool.labels].set(jnp.asarray(pool.scores)[pool.records])
    rows = jax.vmap(partial(propagate, graph, measure.propagation))(raw)
    phi = measure.score_function
    tau = temperature * typical_gain(pool, graph, measure, budget)

    @jax.checkpoint
    def pick(
        state: tuple[jax.Array, jax.Array], _: None
    ) -> tuple[tuple[jax.Array, jax.Array], None]:
        left, z = state
        prepared = gain.prepare(phi, jnp.maximum(z, LEAST_INFORMATION))
        gains = jnp.sum(gain.of_slot(phi, prepared, rows), axis=1)
        taken = _share_out(gains / tau, left)
        return (left - taken, z + taken @ rows), None

    start = jnp.ones(shape[0], raw.dtype), jnp.zeros(shape[1], raw.dtype)
    (left, z), _ = lax.scan(pick, start, length=budget)
    return 1 - left, z


def _share_out(odds: jax.Array, left: jax.Array) -> jax.Array:
    """left · sigmoid(odds − λ), for the λ at which it sums to 1; `left` sums to 1 or more."""

    def taken(threshold: jax.Array) -> jax.Array:
        return left * jax.nn.sigmoid(odds - threshold)

    def halve(_: Array, ends: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = ends
        middle = (low + high) / 2
        enough = jnp.sum(taken(middle)) >= 1
        return jnp.where(enough, middle, low), jnp.where(enough, high, middle)

    fixed = lax.stop_gradient
    spread = jnp.log(odds.shape[0] + 1.0) + 40
    ends = fixed(jnp.min(odds)) - spread, fixed(jnp.max(odds)) + spread
    low, high = lax.fori_loop(0, _HALVINGS, halve, jax.tree_util.tree_map(fixed, ends))
    threshold = (low + high) / 2
    # One step of Newton's method makes the threshold depend on odds and left as it should.
    shares = taken(threshold)
    slope = jnp.sum(shares * jax.nn.sigmoid(threshold - odds))
    return taken(threshold + (jnp.sum(shares) - 1) / fixed(jnp.maximum(slope, 1e-30)))
