"""The likelihood of picking what was picked by hand."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mig_jax.errors import InputError
from mig_jax.learning.objectives._protocol import Objective, Outcome, hold_out
from mig_jax.measure import EXACT, Array, LabelGraph, Pool, as_pytree, label_information
from mig_jax.selection import PageLayout, fill_pages, lay_out_pages, marginal_gains

__all__ = ["Imitation", "imitation"]

_MOST_PREFIXES = 32


@as_pytree
class Imitation(Objective):
    """Likelihood of picking what was picked by hand, as built by `imitation`."""

    layout: PageLayout
    rank: Array  #: int32 [P]: which pick by hand a record is, from 0; P if it is none.
    lengths: Array  #: int32 [T]: picks by hand before each of the picks judged.
    fitted: Array  #: bool [P]: picked by hand.
    held_out: Array  #: bool [P]: picked by hand, and held out.
    temperature: Array  #: Of the softmax, in units of the mean gain.

    needs_selection = False

    def losses(self, outcome: Outcome) -> tuple[jax.Array, jax.Array]:
        pool, graph, measure = outcome.pool, outcome.graph, outcome.measure
        pages = fill_pages(self.layout, pool, graph, measure)

        @jax.checkpoint
        def of_pick(length: jax.Array) -> tuple[jax.Array, jax.Array]:
            left = self.rank >= length
            z = label_information(pool, graph, measure, ~left)
            gains = marginal_gains(EXACT, measure, pages, z, pool.num_records)
            mean = jnp.mean(gains)
            odds = gains / (self.temperature * jnp.where(mean > 0, mean, 1))

            def surprise(wanted: jax.Array, other: jax.Array) -> jax.Array:
                among = left & ~other
                of_wanted = jax.nn.logsumexp(jnp.where(among & wanted, odds, -jnp.inf))
                return jax.nn.logsumexp(jnp.where(among, odds, -jnp.inf)) - of_wanted

            # What the other part wants is no wrong pick: it is taken out.
            fitted, held_out = jnp.asarray(self.fitted), jnp.asarray(self.held_out)
            return surprise(fitted, held_out), surprise(held_out, fitted)

        fitted, held_out = lax.map(of_pick, jnp.asarray(self.lengths))
        return jnp.mean(fitted), jnp.mean(held_out)


def imitation(
    picks: Any,
    pool: Pool,
    graph: LabelGraph,
    *,
    temperature: float = 1.0,
    held_out: float = 0.3,
    seed: int,
) -> Imitation:
    """The objective to pick as was picked by hand, by greedy selection with a softmax.

    Teacher-forced: each pick judged starts from picks made by hand, not by the
    measure. A set has no order, so a pick is right if it is any record of the set
    that is left; at most 32 picks are judged, evenly spread over a random order.

    Args:
      picks: int [n], the records picked by hand.
      pool: P records.
      graph: K labels, with all the edges that the learned measure may use.
      temperature: of the softmax over gains, in units of their mean.
      held_out: share of the picks that is held out: never picked before a pick judged.
      seed: says which, and the order.

    Raises:
      InputError: if fewer than 4 records are picked, or all, or one is not there.
    """
    chosen = np.unique(np.asarray(picks, np.int64))
    if len(chosen) < 4 or len(chosen) >= pool.num_records:
        raise InputError(
            f"{len(chosen)} records of {pool.num_records} are picked by hand; expected at least "
            "4, and not all"
        )
    if chosen[0] < 0 or chosen[-1] >= pool.num_records:
        raise InputError(
            f"a record picked by hand is outside the pool; expected 0 to {pool.num_records - 1}"
        )
    held = hold_out(np.zeros(len(chosen)), held_out, seed)
    order = np.random.default_rng([seed, 1]).permutation(chosen[~held])
    lengths = np.unique(np.linspace(0, len(order) - 1, _MOST_PREFIXES).astype(np.int64))
    rank = np.full(pool.num_records, pool.num_records, np.int32)
    rank[order] = np.arange(len(order))
    masks = np.zeros((2, pool.num_records), bool)
    masks[0, chosen[~held]] = masks[1, chosen[held]] = True
    layout = lay_out_pages(pool, graph)
    parts = masks[0], masks[1]
    return Imitation(
        layout, rank, lengths.astype(np.int32), *parts, jnp.asarray(float(temperature))
    )
