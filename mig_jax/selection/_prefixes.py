"""How good each beginning of a selection is: picks in order serve all smaller budgets."""

from __future__ import annotations

import dataclasses
from functools import partial

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float, Int

from mig_jax.devices import all_gather_parts, own_part, part_sizes
from mig_jax.measure import Indices, LabelGraph, Measure, Pool, information, propagate
from mig_jax.selection._certificate import Certificate, lowest_bound
from mig_jax.selection._constraints import UNCONSTRAINED, Constraints
from mig_jax.selection._first_gains import first_gains
from mig_jax.selection._gradient_steps import GradientSteps
from mig_jax.selection._linear_limits import check_allowed, linear_limits
from mig_jax.selection._number_range import widened
from mig_jax.selection._upper_bound import price_beside

__all__ = ["Prefix", "certify_prefixes"]

_MOST_PREFIXES = 12
# Steps begin near what the relaxed optimum of the next longer prefix leads to, as the picks
# themselves leave most labels without anything: of 20 picks among 200,000 records, 12 steps then
# prove 86 % and not 19 %.
_OF_LONGER = 0.9


@dataclasses.dataclass(frozen=True, eq=False)
class Prefix:
    """The first picks of a selection as one of their own."""

    records: int  #: How many picks.
    cost: int | None  #: What they cost together; None if costs are not limited.
    certificate: Certificate  #: Against every selection of no more records, or of no more cost.


def certify_prefixes(
    pool: Pool,
    graph: LabelGraph,
    measure: Measure,
    picks: Indices,
    *,
    budget: int | None = None,
    constraints: Constraints = UNCONSTRAINED,
    whole: Certificate | None = None,
    tolerance: float = 2e-3,
    max_steps: int = 16,
    mesh: Mesh | None = None,
) -> list[Prefix]:
    """Certifies a dozen beginnings of a selection: of 1, 2, 5, 10, 20, … picks, the longest of all.

    Each is held against the budget that it uses itself: as many records, or if costs are limited
    the same cost, and then as many records only if `budget` is given. The bounds are less tight
    than that of `certify`, and least for some ten to some hundred picks: too many for the gains
    of the first pick to bound what they add, and so few that many small parts of records, which
    the relaxed problem allows, hold more than any of so many records.

    Args:
      pool, graph, measure, picks, budget, constraints, mesh: as for `certify`; no quotas, which a
        beginning has no part of.
      whole: what `certify` found for all picks of the same pool, measure and records given,
        within all of the limits: its bounds hold for the others too. By default it is computed
        like the others.
      tolerance: of each, stop once the bound is within this share of the relaxed optimum.
      max_steps: of each, stop after so many steps in any case.

    Raises:
      ValueError: if there are quotas, or as `certify` does.

    >>> from mig_jax import label_graph_from_edges, pool_from_label_lists
    >>> pool = pool_from_label_lists([[0], [0], [1]], [1.0, 0.9, 0.8])
    >>> found = certify_prefixes(pool, label_graph_from_edges(2), Measure(), [0, 2, 1])
    >>> [(prefix.records, round(prefix.certificate.certified_ratio, 2)) for prefix in found]
    [(1, 1.0), (2, 1.0), (3, 1.0)]
    """
    if constraints.quotas is not None:
        raise ValueError("quotas: expected none, as they are of all picks and not of the first")
    chosen = np.asarray(picks, np.int64)
    check_allowed(pool, chosen, budget, constraints, mesh)
    lengths, has_costs = _lengths(len(chosen)), constraints.most_cost is not None
    with jax.enable_x64(True):
        pool, graph, measure = widened((pool, graph, measure))
        raw, spent = _held(pool, graph.num_labels, chosen, [0, *lengths], constraints, mesh)
        given, *held = np.asarray(jax.vmap(partial(propagate, graph, measure.propagation))(raw))
        gains = None if whole is None else whole.first_gains
        if gains is None:
            gains = first_gains(pool, graph, measure, given, constraints, mesh)
        steps = GradientSteps(pool, graph, measure, mesh)
        prefixes = list(zip(lengths, held, spent[1:], strict=True))
        found: list[Prefix] = []
        if whole is not None and prefixes:
            length, _, cost = prefixes.pop()
            found.append(Prefix(length, cost if has_costs else None, whole))
        # What the last one had to keep to.
        most, most_cost = budget or len(chosen), float(constraints.most_cost or 0)
        for length, z, cost in reversed(prefixes):
            within = dataclasses.replace(constraints, most_cost=cost) if has_costs else constraints
            records = None if budget is None and has_costs else length
            limits = linear_limits(pool, records, within, mesh=mesh)
            own, start, near = float(information(measure, z)), z, 0.0
            if found and (of_longer := found[-1].certificate).z is not None:
                share = min(length / most, cost / max(most_cost, 1) if has_costs else 1)
                longer = given + share * (np.asarray(of_longer.z) - given)
                start = (1 - _OF_LONGER) * z + _OF_LONGER * longer
                # If all picks use little of a limit, the others start from little, too.
                if of_longer is whole and float(information(measure, start)) < own:
                    start = z
                if of_longer.prices is not None:
                    near = float(price_beside(of_longer.prices, limits))
            certificate = lowest_bound(
                steps,
                own,
                start,
                limits,
                first=gains.at_most(records, cost if has_costs else None),
                tolerance=tolerance,
                max_steps=max_steps,
                near=near,
            )
            found.append(Prefix(length, cost if has_costs else None, certificate))
            most, most_cost = length, cost
    return found[::-1]


def _lengths(picks: int) -> list[int]:
    """1, 2, 5, 10, 20, 50, … below `picks`, and `picks` itself; the longest if they are many."""
    round_numbers = [digit * 10**power for power in range(19) for digit in (1, 2, 5)]
    shorter = [number for number in round_numbers if number < picks]
    return [*shorter[1 - _MOST_PREFIXES :], picks] if picks else []


def _held(
    pool: Pool,
    num_labels: int,
    picks: Int[np.ndarray, " picks"],
    lengths: list[int],
    constraints: Constraints,
    mesh: Mesh | None,
) -> tuple[Float[np.ndarray, "prefixes labels"], list[int]]:
    """Raw information (Eq. 5) of each prefix with what is given, and what the prefix costs."""
    sizes = part_sizes(pool, mesh)
    places = picks - sizes[: own_part(mesh)].sum()
    is_own = (places >= 0) & (places < sizes[own_part(mesh)])
    # The first prefix that has a record; none has what comes after the longest.
    first = np.full(pool.num_records, len(lengths))
    first[places[is_own]] = np.searchsorted(lengths, np.flatnonzero(is_own), side="right")
    if constraints.given is not None:
        first[np.asarray(constraints.given)] = 0
    shape = len(lengths) + 1, num_labels
    records = np.asarray(pool.records)
    cells = first[records] * num_labels + np.asarray(pool.labels)
    added = np.bincount(cells, np.asarray(pool.scores)[records], shape[0] * shape[1])
    costs = np.zeros(len(picks), np.int64)
    if constraints.costs is not None:
        costs[is_own] = np.asarray(constraints.costs)[places[is_own]]
    added = np.sum(all_gather_parts(added, mesh), axis=0).reshape(shape)[:-1]
    spent = np.cumsum(np.sum(all_gather_parts(costs, mesh), axis=0))
    return np.cumsum(added, axis=0), np.concatenate([[0], spent])[lengths].tolist()
