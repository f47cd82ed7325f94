"""Rates by the prices of a relaxed problem that is small and the same for any mesh."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from jax.sharding import Mesh

from mig_jax.devices import all_gather_parts, all_reduce_max, own_part, part_sizes
from mig_jax.measure import Array, Count, LabelGraph, Measure, Pool
from mig_jax.selection._constraints import NO_MAXIMUM, Constraints, Quotas
from mig_jax.selection._feasibility import Limits
from mig_jax.selection._gradient_steps import conditional_gradient_step
from mig_jax.selection._linear_limits import LinearLimits, linear_limits
from mig_jax.selection._rates import Rates, by_cost, by_gain, rates_of_prices
from mig_jax.selection._upper_bound import on_host, price_beside

__all__ = ["rates_of_passes", "typical_rates"]

# So many records tell the prices to about a per cent, and twelve steps lead near enough to them.
_SAMPLE, _STEPS = 1 << 16, 12


def rates_of_passes(
    pool: Pool,
    graph: LabelGraph,
    measure: Measure,
    budget: int | None,
    constraints: Constraints,
    limits: Limits | None,
    mesh: Mesh | None = None,
) -> list[Rates]:
    """What each pass compares gains over; what holds most information in the end counts.

    One pass by gain if costs do not differ; else one by gain over cost, too; and if more than a
    limit of costs is there, a first one by the prices of all limits. Arguments as for
    `typical_rates`, and the limits as the picks keep to them.
    """
    num_groups = 1 if limits is None else len(limits.start.due)
    if limits is None or not limits.costs_differ:
        return [by_gain(num_groups)]
    passes = [by_cost(num_groups), by_gain(num_groups)]
    if budget is not None or constraints.quotas is not None:
        passes.insert(0, typical_rates(pool, graph, measure, budget, constraints, mesh))
    told = [rates.told() for rates in passes]
    return [rates for place, rates in enumerate(passes) if told[place] not in told[:place]]


def typical_rates(
    pool: Pool,
    graph: LabelGraph,
    measure: Measure,
    budget: int | None,
    constraints: Constraints,
    mesh: Mesh | None = None,
) -> Rates:
    """Rates by the prices of the relaxed problem, of all records or of every n-th.

    Args:
      pool: P records; if the mesh is of several processes, this one's part.
      graph: K labels.
      measure: score functions and α.
      budget: N; None if only costs are limited.
      constraints: something keeps to them; with costs.
      mesh: devices of all processes.
    """
    num_groups = 1 if constraints.quotas is None else constraints.quotas.num_groups
    sample, limits = _sample(pool, budget, constraints, mesh)
    if not isinstance(limits, LinearLimits) or not sample.num_records:
        return by_gain(num_groups)
    z = np.zeros(graph.num_labels, np.result_type(pool.scores, np.float32))
    lowest, prices, near = np.inf, None, z.dtype.type(0)
    for _ in range(_STEPS):
        step = conditional_gradient_step(sample, graph, measure, z, limits, None, near)
        z, near = step.z, price_beside(step.prices, limits)
        if prices is None or step.bound < lowest:
            lowest, prices = float(step.bound), on_host(step.prices)
    if prices is None:
        return by_gain(num_groups)
    records, costs = np.full(num_groups, prices.record), np.full(num_groups, prices.cost)
    if prices.groups.size:
        of_groups = costs if limits.of_costs else records
        of_groups += prices.groups
    own = np.asarray(constraints.costs)
    most_cost = NO_MAXIMUM if constraints.most_cost is None else constraints.most_cost
    fitting = own[own <= most_cost]
    return rates_of_prices(records, costs, all_reduce_max(int(fitting.max(initial=0)), mesh))


def _sample(
    pool: Pool, budget: int | None, constraints: Constraints, mesh: Mesh | None
) -> tuple[Pool, Any]:
    """Every n-th record, each for n of them, and the limits in proportion."""
    sizes = part_sizes(pool, mesh)
    every = max(-(-int(sizes.sum()) // _SAMPLE), 1)
    first = int(sizes[: own_part(mesh)].sum())
    own = np.flatnonzero((first + np.arange(pool.num_records)) % every == 0)
    chosen = np.zeros(pool.num_records, bool)
    chosen[own] = True
    entries = chosen[np.asarray(pool.records)]
    counts = np.bincount(np.asarray(pool.records)[entries], minlength=pool.num_records)[own]

    def gathered(values: Array) -> np.ndarray:
        return np.concatenate(all_gather_parts(np.asarray(values), mesh))

    def of_sample(values: Array | None) -> np.ndarray | None:
        return None if values is None else gathered(np.asarray(values)[own])

    counts = gathered(counts)
    sample = Pool(
        gathered(np.asarray(pool.labels)[entries]),
        np.repeat(np.arange(len(counts), dtype=np.int32), counts),
        gathered(np.asarray(pool.scores)[own]) * every,
    )
    quotas = constraints.quotas
    if quotas is not None:
        maxima = np.asarray(quotas.maxima)
        quotas = Quotas(
            gathered(np.asarray(quotas.groups)[own]),
            np.asarray(quotas.minima) // every,
            np.where(maxima == NO_MAXIMUM, maxima, -(-maxima // every)),
            quotas.of_costs,
        )
    part = dataclasses.replace(
        constraints,
        costs=of_sample(constraints.costs),
        most_cost=_share(constraints.most_cost, every),
        quotas=quotas,
        given=of_sample(constraints.given),
    )
    most = _share(budget, every)
    try:
        return sample, linear_limits(sample, most, part)
    except ValueError:  # The sample happens to have too few of a group.
        free = dataclasses.replace(part, quotas=None)
        return sample, linear_limits(sample, most, free)


def _share(amount: Count | None, every: int) -> int | None:
    return None if amount is None else -(-int(amount) // every)
