"""When a pass has lost against the best one that is finished.

A record of group g takes t_d = a_g + b_g·c_d, and R is the most that records within the limits can
take together. For any z and any price λ ≥ 0 of that, a selection S within the limits has

    E(G ∪ S) ≤ Σ_k [φ_k(z_k) − z_k·φ'_k(z_k)] + φ'(z)·z_G + λ·R + Σ_{d∈S} (w_d − λ·t_d)

with w = φ'(z)·ê, as every φ is concave. The last sum is at most that of its positive terms over
all records; and if S holds records whose terms are negative, it is less by these. So with what
the finished pass leads to for z, and the price at which R is used up there, each record that is
dear for what it brings lowers what another pass can still reach. Mostly a few dozen picks
prove that it cannot win.
"""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float, Int

from mig_jax.devices import all_gather_parts, part_of_picks
from mig_jax.measure import Array, LabelGraph, Measure, Pool, information
from mig_jax.selection._constraints import NO_MAXIMUM
from mig_jax.selection._feasibility import Limits
from mig_jax.selection._passes import Progress
from mig_jax.selection._pool_gains import gains_of_pool
from mig_jax.selection._rates import Rates

__all__ = ["has_lost"]

# Far more than rounding: whoever finishes the pass all the same comes to the same end.
_MARGIN = 1e-4
_HALVINGS = 30  # Of the interval in which the price lies; any price gives a bound.


def has_lost(
    pool: Pool,
    graph: LabelGraph,
    measure: Measure,
    limits: Limits,
    rates: Rates,
    finished: Progress,
    given: Float[np.ndarray, " labels"],
    sizes: Int[np.ndarray, " parts"],
    mesh: Mesh | None,
) -> Callable[[Progress], bool]:
    """Tells of a pass under way whether it is proven to end below the one that is finished.

    Args:
      pool: P records; if the mesh is of several processes, this one's part.
      graph: K labels.
      measure: score functions and α.
      limits: with costs.
      rates: of the first pass; a and b.
      finished: the best pass so far, at its end.
      given: z_G.
      sizes: of the parts of the pool.
      mesh: devices of all processes, which decide alike.
    """
    start, groups = limits.start, 0 if limits.groups is None else limits.groups
    of_groups = (np.asarray(part, np.float64) for part in (start.due, start.room))
    quotas = np.stack(list(of_groups))
    none = np.stack([0 * quotas[0], np.full_like(quotas[1], NO_MAXIMUM)])
    of_records, of_costs = (none, quotas) if start.of_costs else (quotas, none)
    a, room_of_records = _most_taken(rates.records, int(start.records), *of_records)
    b, room_of_costs = _most_taken(rates.costs, int(start.cost), *of_costs)
    room = room_of_records + room_of_costs
    if limits.costs is None or not room:
        return lambda _: False
    taken = a[groups] + b[groups] * limits.costs
    z = np.asarray(finished.z, np.float64)
    slopes = np.asarray(measure.score_function.derivative(jnp.asarray(finished.z)), np.float64)
    worth = gains_of_pool(pool, graph, measure, finished.z[: graph.num_labels], mesh)
    worth = worth.astype(np.float64)
    if limits.taken is not None:
        worth = np.where(limits.taken, 0, worth)

    def total(values: np.ndarray) -> float:
        return float(np.sum(all_gather_parts(values.sum(keepdims=True), mesh)))

    least = taken[taken > 0].min(initial=np.inf)
    dearest = (worth / np.maximum(taken, least)).max(initial=0.0, keepdims=True)
    low, high = 0.0, float(np.max(all_gather_parts(dearest, mesh)))
    for _ in range(_HALVINGS):
        price = (low + high) / 2
        over = total(np.where(worth > price * taken, taken, 0)) > room
        low, high = (price, high) if over else (low, price)
    rest = worth - high * taken
    own = float(information(measure, finished.z))
    bound = own + float(np.dot(slopes, given.astype(np.float64) - z))
    bound += high * room + total(np.maximum(rest, 0))
    gap = bound - own + _MARGIN * abs(bound)

    def lost(other: Progress) -> bool:
        picks = part_of_picks(other.picks, sizes, mesh)
        return total(np.maximum(-rest[picks], 0)) > gap

    return lost


def _most_taken(
    rates: Array, total: int, minima: np.ndarray, maxima: np.ndarray
) -> tuple[Float[np.ndarray, " groups"], float]:
    """The rates, 0 if nothing limits a group, and the most that amounts within limits take."""
    rates = np.asarray(rates, np.float64)
    if total == NO_MAXIMUM:
        rates = np.where(maxima == NO_MAXIMUM, 0.0, rates)
    most, left = float(rates @ minima), total - float(minima.sum())
    for group in np.argsort(-rates, kind="stable"):
        more = min(maxima[group] - minima[group], max(left, 0.0))
        most, left = most + float(rates[group] * more), left - more
    return rates, most
