"""When the second pass, which compares by the gain alone, has lost against the first.

For any z and any price λ ≥ 0 of a unit of cost, a selection S of cost at most T has

    E(G ∪ S) ≤ Σ_k [φ_k(z_k) − z_k·φ'_k(z_k)] + φ'(z)·z_G + λ·T + Σ_{d∈S} (w_d − λ·c_d)

with w = φ'(z)·ê, as every φ is concave. The last sum is at most that of its positive terms over
all records; and if S holds records whose terms are negative, it is less by these. So with what
the first pass leads to for z, and the price at which T is used up there, each record that is
dear for what it brings lowers what the second pass can still reach. Mostly a few dozen picks
prove that it cannot win.
"""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float, Int

from mig_jax.devices import all_gather_parts, part_of_picks
from mig_jax.measure import LabelGraph, Measure, Pool, information
from mig_jax.selection._constraints import NO_MAXIMUM
from mig_jax.selection._feasibility import Limits
from mig_jax.selection._passes import Progress
from mig_jax.selection._pool_gains import gains_of_pool

__all__ = ["has_lost"]

# Far more than rounding: whoever finishes the pass all the same comes to the same end.
_MARGIN = 1e-4
_HALVINGS = 30  # Of the interval in which the price lies; any price gives a bound.


def has_lost(
    pool: Pool,
    graph: LabelGraph,
    measure: Measure,
    limits: Limits,
    first: Progress,
    given: Float[np.ndarray, " labels"],
    sizes: Int[np.ndarray, " parts"],
    mesh: Mesh | None,
) -> Callable[[Progress], bool]:
    """Tells of a second pass under way whether it is proven to end below the first.

    Args:
      pool: P records; if the mesh is of several processes, this one's part.
      graph: K labels.
      measure: score functions and α.
      limits: with a limit of costs.
      first: the first pass, at its end.
      given: z_G.
      sizes: of the parts of the pool.
      mesh: devices of all processes, which decide alike.
    """
    most_cost = int(limits.start.cost)
    if most_cost == NO_MAXIMUM or limits.costs is None:
        return lambda _: False
    z = np.asarray(first.z, np.float64)
    slopes = np.asarray(measure.score_function.derivative(jnp.asarray(first.z)), np.float64)
    worth = gains_of_pool(pool, graph, measure, first.z[: graph.num_labels], mesh)
    worth, costs = worth.astype(np.float64), limits.costs.astype(np.float64)
    if limits.taken is not None:
        worth = np.where(limits.taken, 0, worth)

    def total(values: np.ndarray) -> float:
        return float(np.sum(all_gather_parts(values.sum(keepdims=True), mesh)))

    dearest = (worth / np.maximum(costs, 1)).max(initial=0.0, keepdims=True)
    low, high = 0.0, float(np.max(all_gather_parts(dearest, mesh)))
    for _ in range(_HALVINGS):
        price = (low + high) / 2
        over = total(np.where(worth > price * costs, costs, 0)) > most_cost
        low, high = (price, high) if over else (low, price)
    rest = worth - high * costs
    own = float(information(measure, first.z))
    bound = own + float(np.dot(slopes, given.astype(np.float64) - z))
    bound += high * most_cost + total(np.maximum(rest, 0))
    gap = bound - own + _MARGIN * abs(bound)

    def lost(second: Progress) -> bool:
        picks = part_of_picks(second.picks, sizes, mesh)
        return total(np.maximum(-rest[picks], 0)) > gap

    return lost
