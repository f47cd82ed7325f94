"""What may still be picked under constraints: one number a group, and what a pick takes of it.

All constraints come down to the largest cost that a record of each group may have now. It leaves
enough for the minima that are still due: of the records that a group has left, one is always
allowed while the group's minimum is due, and so every minimum is met in the end.

- Quotas of records: R_g(k) is the sum of the k largest costs among the min_g cheapest candidates
  of g, 0 if costs are not limited. A record of g may cost what is left less Σ R_g(due_g), and
  R_g(due_g) − R_g(due_g − 1) more if one is due. Other groups than those with a minimum due are
  closed once as many records are left as are due.
- Quotas of costs: s_g is the smallest cost such that the candidates of g of at most that cost
  meet min_g together. r_g = due_g + s_g − 1 is kept for g until its minimum is met.

A minimum may be met at less cost than is kept for it, and what is not allowed now may be allowed
later. So there is a second number a group, which no later one exceeds: it keeps for the minima
only what they cost at the least. Those are S_g(due_g), the sum of the due_g smallest of the same
costs, or due_g itself. For any n records of g, S_g(n + k) is at most what they cost and R_g(k).
Bounds that leave out what is above that number stay bounds.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from mig_jax.measure import Array, as_pytree
from mig_jax.selection._constraints import NO_MAXIMUM
from mig_jax.selection._page_layout import EMPTY
from mig_jax.selection._rates import Rates

__all__ = [
    "Allowance",
    "MostCosts",
    "allowed_rows",
    "due_rows",
    "fills_up",
    "most_costs",
    "spend",
    "worths",
]


@as_pytree
class Allowance:
    """What may still be picked; `NO_MAXIMUM` stands for any amount, and is not used up."""

    rates: Rates  #: Records are compared by their gains over these.
    records: Int[Array, ""]
    cost: Int[Array, ""]
    due: Int[Array, " groups"]  #: What is missing to each minimum, in the unit of the quotas.
    room: Int[Array, " groups"]  #: What is missing to each maximum.
    #: Quotas of records: R_g(0), …, R_g(min_g) of each group from its start on. Of costs: s_g − 1.
    reserves: Int[Array, " _reserves"]
    starts: Int[Array, " groups"]
    minima: Int[Array, " groups"]
    of_costs: bool = dataclasses.field(default=False, metadata={"static": True})


class MostCosts(NamedTuple):
    """The largest cost that a record of each group may have; −1 if none may be picked."""

    now: Int[jax.Array, " groups"]
    ever: Int[jax.Array, " groups"]  #: At least what is allowed now or after any further picks.


def most_costs(left: Allowance) -> MostCosts:
    """The largest cost that a record of each group may have, now and at any later time."""
    if left.of_costs:
        kept = jnp.where(left.due > 0, left.due + left.reserves, 0)
        closed = left.records <= 0
        now, ever = (
            jnp.minimum(left.room, left.cost - _sum(part) + part)
            for part in (kept, jnp.asarray(left.due))
        )
    else:
        reserves, first = jnp.asarray(left.reserves), left.starts
        after = jnp.maximum(left.due - 1, 0)
        dearest = [reserves[first + due] for due in (left.due, after)]
        last = first + left.minima
        cheapest = [reserves[last] - reserves[last - due] for due in (left.due, after)]
        only_due = left.records <= _sum(left.due)
        closed = (left.records <= 0) | (left.room <= 0) | (only_due & (left.due == 0))
        now, ever = (
            jnp.asarray(left.cost) - _sum(kept) + (kept - then)
            for kept, then in (dearest, cheapest)
        )
    return MostCosts(jnp.where(closed, -1, now), jnp.where(closed, -1, ever))


def _sum(amounts: Int[Array, " groups"]) -> Int[jax.Array, ""]:
    return jnp.sum(amounts, dtype=jnp.int32)  # As float64 is enabled, it would be int64.


def spend(
    left: Allowance, group: Int[Array, ""], cost: Int[Array, ""], picked: Bool[Array, ""]
) -> Allowance:
    """What is left after a record is picked, or the same if `picked` is false."""
    amount = cost if left.of_costs else jnp.int32(1)
    due, room = jnp.asarray(left.due), jnp.asarray(left.room)
    place = jnp.where(picked, group, left.due.shape[0])

    def less(available: Array, amount: Array) -> jax.Array:
        return jnp.where(picked & (available != NO_MAXIMUM), available - amount, available)

    return dataclasses.replace(
        left,
        records=less(left.records, jnp.int32(1)),
        cost=less(left.cost, cost),
        due=due.at[place].set(jnp.maximum(due[group] - amount, 0), mode="drop"),
        room=room.at[place].set(less(room[group], amount), mode="drop"),
    )


def fills_up(left: Allowance) -> Bool[Array, ""]:
    """Whether records are picked that gain nothing: if costs are not limited, exactly N are."""
    return jnp.bool_(False) if left.of_costs else left.cost == NO_MAXIMUM


def allowed_rows(
    most: Int[jax.Array, " groups"],
    records: Int[Array, "*pages rows"],
    costs: Int[Array, "*pages rows"] | None,
    groups: Int[Array, "*pages rows"] | None,
) -> Bool[jax.Array, "*pages rows"]:
    """Which rows of one page, or of several, may be picked."""
    limit = most[0] if groups is None else most[groups]
    return (records != EMPTY) & ((0 if costs is None else costs) <= limit)


def due_rows(
    left: Allowance, groups: Int[Array, "*pages rows"] | None
) -> Bool[jax.Array, "*#pages #rows"]:
    """Which rows, if allowed, are picked though nothing gains anything."""
    due = jnp.asarray(left.due > 0)
    return jnp.asarray(fills_up(left)) | (due[:1] if groups is None else due[groups])


def worths(
    left: Allowance,
    gains: Float[jax.Array, "*pages rows"],
    allowed: Bool[jax.Array, "*pages rows"],
    costs: Int[Array, "*pages rows"] | None,
    groups: Int[Array, "*pages rows"] | None,
) -> Float[jax.Array, "*pages rows"]:
    """What records are compared by: gains, over rates if costs are limited; −1 if not allowed."""
    if costs is not None:
        divisors = left.rates.of_rows(groups, costs)
        gains = gains / divisors.astype(gains.dtype)
    return jnp.where(allowed, gains, -1)
