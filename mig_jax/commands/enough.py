"""Whether fewer picks would do: what the manifest tells of it."""

from __future__ import annotations

from typing import Any

import numpy as np

from mig_jax.commands.budgets import Budget
from mig_jax.devices import ALONE, Hosts
from mig_jax.measure import LabelGraph, Measure, Pool
from mig_jax.selection import Selection, enough_picks, information_of_pool

__all__ = ["told_if_enough"]


def told_if_enough(
    pool: Pool,
    graph: LabelGraph,
    measure: Measure,
    selection: Selection,
    budget: Budget,
    hosts: Hosts = ALONE,
) -> dict[str, Any]:
    """What the manifest tells if picks add nothing or next to nothing; else nothing.

    Under quotas fewer picks are another selection: then only those that add nothing are counted.
    """
    idle = int(np.count_nonzero(selection.increases == 0))
    told: dict[str, Any] = {"picks": len(selection), "idle": idle}
    if budget.constraints.quotas is not None:
        return {"enough": told} if idle else {}
    left = None
    # Nobody has all entries of a pool that several processes hold.
    if hosts.count == 1:
        left = information_of_pool(pool, graph, measure) - selection.given_information
    found = enough_picks(selection.increases, left)
    if found is None:
        return {}
    tokens = None
    if budget.most_cost is not None:
        tokens = budget.tokens(selection.picks[: found.records], hosts)
    return {"enough": {**told, **found._asdict(), "tokens": tokens}}
