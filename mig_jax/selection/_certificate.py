"""How good a selection is at least: an upper bound on E of every selection of its size.

For any z, concavity of every φ gives, for each selection S of N records,

    E(S) ≤ Σ_k [φ_k(z_k) − z_k·φ'_k(z_k)] + the sum of the N largest φ'(z)·ê_d.

At the greedy's own z the bound is loose. It is lowered by conditional gradient
(Frank–Wolfe) steps on the relaxed problem, where a record may be selected in
part: z moves towards the information of the N records with the largest linear
gains, by exact line search, and the lowest bound met on the way is kept. Every
iterate is feasible for the relaxed problem, so that its E tells how far the
bound can still fall.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh
from jaxtyping import Float

from mig_jax.devices import POOL_AXIS, REPLICATED, SHARDED, over_shards, shard_pool
from mig_jax.measure import (
    Array,
    Count,
    Indices,
    LabelGraph,
    Measure,
    Pool,
    information,
    label_information,
    linear_gains,
)
from mig_jax.selection._constraints import UNCONSTRAINED, Constraints
from mig_jax.selection._evaluation import selected_information
from mig_jax.selection._number_range import check_finite, widened

__all__ = ["Certificate", "Prices", "certify", "conditional_gradient_step", "upper_bound"]


@dataclasses.dataclass(frozen=True, eq=False)
class Prices:
    """How much the bound would rise with each limit: the dual of its linear problem at z."""

    record: float  #: A further record of the budget; 0 if there is room or no budget of records.
    cost: float  #: A further unit of cost, such as a token; 0 if there is room or no such budget.
    #: A further record, or unit of cost, of each group: above 0 at a maximum, below at a minimum.
    groups: Float[np.ndarray, " groups"]


@dataclasses.dataclass(frozen=True, eq=False)
class Certificate:
    """What is proven of a selection: E(best of this size) ≤ `upper_bound`."""

    information: float  #: E of the selection.
    upper_bound: float
    steps: int  #: Conditional gradient steps taken.
    prices: Prices | None = None  #: None if nothing was selected.

    @property
    def certified_ratio(self) -> float:
        """E of the selection over the bound: the best possible E is at most 1/ratio of it.

        1 if the bound is 0: no selection holds any information, and so this one is as good.
        """
        return self.information / self.upper_bound if self.upper_bound > 0 else 1.0


def upper_bound(
    pool: Pool,
    graph: LabelGraph,
    measure: Measure,
    z: Float[Array, " labels"],
    budget: Count,
    *,
    axis: str | None = None,
) -> tuple[Float[jax.Array, ""], Float[jax.Array, " records"]]:
    """The bound of the module's docstring at z.

    Args:
      pool: P records.
      graph: K labels.
      measure: score functions and α.
      z: at least 0.
      budget: N ≤ P; may be traced.
      axis: name of the mesh axis that the pool is sharded over, inside `shard_map`.

    Returns:
      The bound and the amounts: 1 for the N records with the
      largest linear gains (the lowest index among equals), else 0.
    """
    gains = linear_gains(pool, graph, measure, z)
    amounts = _largest(gains, budget, axis)
    function = measure.score_function
    held = jnp.sum(function.value(z) - z * function.derivative(z))
    chosen = jnp.vdot(gains, amounts)
    return held + (chosen if axis is None else lax.psum(chosen, axis)), amounts


def _largest(values: jax.Array, count: Count, axis: str | None) -> jax.Array:
    """1 for the `count` largest of values ≥ 0, the lowest index among equals, else 0.

    The smallest value that belongs to them is found bit by bit: floats of one
    sign are ordered as their bits are. That takes a pass a bit, and no sort.
    """
    width = values.dtype.itemsize * 8
    unsigned = jnp.dtype(f"uint{width}")
    bits = lax.bitcast_convert_type(jnp.maximum(values, 0), unsigned)

    def number(found: jax.Array) -> jax.Array:
        # No more than is asked for: 32 bits can count the records of a shard, not of all.
        here = jnp.minimum(jnp.sum(found), count)
        return here if axis is None else lax.psum(here, axis)

    def set_bit(i: jax.Array, smallest: jax.Array) -> jax.Array:
        candidate = smallest | (unsigned.type(1) << (width - 1 - i).astype(unsigned))
        return jnp.where(number(bits >= candidate) >= count, candidate, smallest)

    smallest = lax.fori_loop(0, width, set_bit, unsigned.type(0))
    above, equal = bits > smallest, bits == smallest
    room = count - number(above)
    if axis is not None:
        on_each = lax.all_gather(jnp.minimum(jnp.sum(equal), count), axis)
        before = jnp.arange(on_each.shape[0]) < lax.axis_index(axis)
        room -= jnp.sum(jnp.where(before, on_each, 0))
    return (above | (equal & (jnp.cumsum(equal) <= room))).astype(values.dtype)


@partial(jax.jit, static_argnames="mesh")
def conditional_gradient_step(
    pool: Pool,
    graph: LabelGraph,
    measure: Measure,
    z: Float[Array, " labels"],
    budget: Count,
    mesh: Mesh | None = None,
) -> tuple[Float[jax.Array, ""], Float[jax.Array, ""], Float[jax.Array, " labels"]]:
    """One conditional gradient step of the relaxed problem, where amounts lie between 0 and 1.

    Args as for `upper_bound`, and `mesh` if the pool is one from `shard_pool`.

    Returns:
      The bound at z, E at z, and z after the step.
    """
    step = over_shards(
        partial(_step, None if mesh is None else POOL_AXIS),
        mesh,
        (SHARDED, REPLICATED, REPLICATED, REPLICATED, REPLICATED),
        REPLICATED,
    )
    return step(pool, graph, measure, z, budget)


def _step(
    axis: str | None,
    pool: Pool,
    graph: LabelGraph,
    measure: Measure,
    z: jax.Array,
    budget: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    bound, amounts = upper_bound(pool, graph, measure, z, budget, axis=axis)
    direction = label_information(pool, graph, measure, amounts, axis=axis) - z

    def halve(_: jax.Array, ends: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = ends
        middle = (low + high) / 2
        slope = jnp.vdot(measure.score_function.derivative(z + middle * direction), direction)
        return jnp.where(slope > 0, middle, low), jnp.where(slope > 0, high, middle)

    low, high = lax.fori_loop(0, 40, halve, (jnp.zeros_like(bound), jnp.ones_like(bound)))
    return bound, information(measure, z), z + (low + high) / 2 * direction


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
      picks: the N records selected, each at most once; indices as in `Selection`.
      tolerance: stop once the bound is within this share of the relaxed optimum.
      max_steps: stop after so many steps in any case; each costs a pass over the pool.
      mesh: devices to shard the pool over, from `pool_mesh`; one device by default.
      on_step: called after each step with its number and the lowest bound so far.

    Raises:
      ValueError: if `picks` names a record twice or one that the pool does not have, or the
        pool has a label that the graph has not.
      InputError: if E or the bound is not finite in float64.

    >>> from mig_jax import label_graph_from_edges, pool_from_label_lists
    >>> pool = pool_from_label_lists([[0], [0], [1]], [1.0, 0.9, 0.8])
    >>> graph = label_graph_from_edges(2)
    >>> best, worse = (certify(pool, graph, Measure(), picks) for picks in ([0, 2], [0, 1]))
    >>> round(best.certified_ratio, 2), round(worse.certified_ratio, 2)
    (1.0, 0.91)
    """
    if not constraints.is_empty:
        raise NotImplementedError
    chosen = np.asarray(picks, np.int64)
    with jax.enable_x64(True):
        pool, graph, measure = widened((pool, graph, measure))
        z = selected_information(pool, graph, measure, chosen, mesh=mesh)
        if mesh is not None:
            pool = shard_pool(pool, mesh)
        own = float(information(measure, z))
        if not chosen.size:
            return Certificate(own, own, 0)
        lowest, steps = np.inf, 0
        while steps < max_steps:
            bound, relaxed, z = conditional_gradient_step(
                pool, graph, measure, z, np.int32(chosen.size), mesh
            )
            check_finite(own, bound)
            lowest, steps = min(lowest, float(bound)), steps + 1
            if on_step is not None:
                on_step(steps, lowest)
            if lowest - float(relaxed) <= tolerance * lowest:
                break
    return Certificate(own, max(lowest, own), steps)
