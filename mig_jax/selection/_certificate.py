"""How good a selection is at least: an upper bound on E of every selection that is allowed.

At the greedy's own z the bound of `upper_bound` is loose. It is lowered by steps on the relaxed
problem, where a record may be selected in part (`GradientSteps`), and the lowest bound met on the
way is kept. Every iterate is feasible for the relaxed problem, so that its E tells how far the
bound can still fall. For few picks the bound of `first_gains` is lower than any of these, and
holds from the start.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float

from mig_jax.devices import part_sizes
from mig_jax.measure import (
    Array,
    Count,
    Indices,
    LabelGraph,
    Measure,
    Pool,
    Scalar,
    check_measure,
    check_pool,
    information,
    whole_picks,
)
from mig_jax.selection._constraints import UNCONSTRAINED, Constraints
from mig_jax.selection._evaluation import selected_information, with_given
from mig_jax.selection._first_gains import FirstGains, SumOfGains, first_gains
from mig_jax.selection._given import given_information
from mig_jax.selection._gradient_steps import GradientSteps
from mig_jax.selection._linear_limits import LinearLimits, check_allowed, linear_limits
from mig_jax.selection._number_range import check_finite, widened
from mig_jax.selection._upper_bound import Prices, on_host, price_beside

__all__ = ["Certificate", "certify", "lowest_bound"]


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Certificate:
    """What is proven of a selection: E(best that is allowed) ≤ `upper_bound`."""

    information: float  #: E of the selection, with what is given.
    upper_bound: float
    steps: int  #: Conditional gradient steps taken.
    prices: Prices | None = None  #: At the lowest bound; None if nothing was selected.
    #: Where the steps ended, in float64: near the relaxed optimum.
    z: Float[Array, " labels"] | None = None
    #: What records add to what is given alone, which bounds prefixes too; None if not computed.
    first_gains: FirstGains | None = None

    @property
    def certified_ratio(self) -> float:
        """E of the selection over the bound: the best possible E is at most 1/ratio of it.

        1 if the bound is 0: no selection holds any information, and so this one is as good.
        """
        return self.information / self.upper_bound if self.upper_bound > 0 else 1.0

    def __repr__(self) -> str:
        # Rounded down, as what is told must be proven.
        share = np.floor(self.certified_ratio * 1e4) / 1e2
        return (
            f"Certificate(information {self.information:.6g} of at most {self.upper_bound:.6g}: "
            f"at least {share:.2f} % of the best)"
        )


def certify(
    pool: Pool,
    graph: LabelGraph,
    measure: Measure,
    picks: Indices,
    *,
    budget: int | None = None,
    constraints: Constraints = UNCONSTRAINED,
    tolerance: float = 1e-5,
    max_steps: int = 200,
    mesh: Mesh | None = None,
    on_step: Callable[[int, float], None] | None = None,
) -> Certificate:
    """Certifies a selection, in float64, so that rounding cannot make the bound too low.

    Args:
      pool: P records; if the mesh is of several processes, this one's part.
      graph: K labels.
      measure: score functions and α.
      picks: the records selected, each at most once; indices as in `Selection`.
      budget: N, how many might be picked; by default as many as there are picks, or if costs are
        limited any number.
      constraints: what else a selection must keep to; E is then that of the picks and what is
        given, and the prices tell what each limit costs.
      tolerance: stop once the bound is within this share of the relaxed optimum.
      max_steps: stop after so many steps in any case; each costs a pass over the pool at most.
      mesh: devices to shard the pool over, from `pool_mesh`; one device by default. The number
        of picks being all that is limited, one process makes the steps on its host.
      on_step: called after each step with its number and the lowest bound so far.

    Raises:
      ValueError: if `picks` names a record twice or one that the pool does not have, or does not
        keep to the budget and the constraints, or the pool has a label that the graph has not.
      InputError: if E or the bound is not finite in float64.

    >>> from mig_jax import label_graph_from_edges, pool_from_label_lists
    >>> pool = pool_from_label_lists([[0], [0], [1]], [1.0, 0.9, 0.8])
    >>> graph = label_graph_from_edges(2)
    >>> best, worse = (certify(pool, graph, Measure(), picks) for picks in ([0, 2], [0, 1]))
    >>> round(best.certified_ratio, 2), round(worse.certified_ratio, 2)
    (1.0, 0.91)
    """
    check_pool(pool, graph)
    check_measure(measure, graph)
    chosen = whole_picks(picks, int(part_sizes(pool, mesh).sum()))
    if budget is None and constraints.most_cost is None:
        budget = chosen.size
    with jax.enable_x64(True):
        pool, graph, measure = widened((pool, graph, measure))
        check_allowed(pool, chosen, budget, constraints, mesh)
        held = with_given(pool, chosen, constraints, mesh)
        z = selected_information(pool, graph, measure, held, mesh=mesh)
        own = float(information(measure, z))
        if budget == 0:
            return Certificate(own, own, 0)
        limits = linear_limits(pool, budget, constraints, mesh=mesh)
        given = np.zeros_like(z)
        if constraints.given is not None:
            given = given_information(pool, graph, measure, constraints.given, mesh)
        first = first_gains(pool, graph, measure, given[: graph.num_labels], constraints, mesh)
        found = lowest_bound(
            GradientSteps(pool, graph, measure, mesh),
            own,
            z,
            limits,
            first=first.at_most(budget, constraints.most_cost),
            tolerance=tolerance,
            max_steps=max_steps,
            on_step=on_step,
        )
        return dataclasses.replace(found, first_gains=first)


def lowest_bound(
    steps_of_pool: GradientSteps,
    own: float,
    z: Float[Array, " labels"],
    limits: Count | LinearLimits,
    *,
    first: SumOfGains,
    tolerance: float,
    max_steps: int,
    near: Scalar = 0.0,
    on_step: Callable[[int, float], None] | None = None,
) -> Certificate:
    """The certificate of a selection with E of `own`, by steps from z.

    Args as for `certify` and `GradientSteps`; z is what amounts within the limits hold, in the
    dtype of all, and `first` is a bound at hand already.
    """
    lowest, steps = first.bound, 0
    # It holds whatever the quotas are, and so rises with none of them.
    num_groups = limits.num_groups if isinstance(limits, LinearLimits) else 0
    prices = Prices(first.record, first.cost, np.zeros(num_groups))
    near = np.asarray(near, z.dtype)
    while steps < max_steps:
        step = steps_of_pool(z, limits, near)
        check_finite(own, step.bound)
        z, near, steps = step.z, price_beside(step.prices, limits), steps + 1
        if step.bound < lowest:
            lowest, prices = float(step.bound), step.prices
        if on_step is not None:
            on_step(steps, lowest)
        if lowest - float(step.information) <= tolerance * lowest:
            break
    return Certificate(own, max(lowest, own), steps, on_host(prices), np.asarray(z))
