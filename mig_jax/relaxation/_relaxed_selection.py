"""Differentiable selection: amounts between 0 and 1 that sum to the budget.

The relaxed problem maximises, over w in [0, 1]^P with Σ w = N,

    Σ_k φ_k(z_k) + τ · Σ_d entropy(w_d),    z = Σ_d w_d·ê_d,

where entropy(w) = −w·log w − (1 − w)·log(1 − w). It is strictly concave. At its
one solution

    w_d = sigmoid((φ'(z)·ê_d − λ)/τ),

the soft top N (`soft_top`) of the linear gains, so that z is a fixed
point: the information R(z) of the amounts that z calls for is z itself.

Its dual function is smooth, and never below the maximum, for every z ≥ 0:

    D(z) = Σ_k [φ_k(z_k) − z_k·φ'_k(z_k)] + min over λ of
           λ·N + τ·Σ_d softplus((φ'(z)·ê_d − λ)/τ).

D falls along Newton's direction for R(z) = z, which is what makes the solver
safe. With C = diag(−φ''(z)) and G = Σ_d c_d·(ê_d − ē)(ê_d − ē)ᵀ, where
c = w·(1 − w)/τ and ē is the mean of the ê weighted by c, the Jacobian of R is
−G·C. So (I + G·C) is self-adjoint in the inner product weighted by C, its
eigenvalues there are 1 or more, and conjugate gradients solve with it, forwards
and backwards, by passes over the entries of the pool.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float

from mig_jax.measure import (
    Array,
    Count,
    LabelGraph,
    Measure,
    Pool,
    Scalar,
    as_pytree,
    is_known,
    label_information,
    linear_gains,
    propagation_weights,
    worth_of_records,
)
from mig_jax.relaxation._soft_top import soft_top

__all__ = ["LEAST_INFORMATION", "RelaxedSelection", "relaxed_selection", "typical_gain"]

# A label holds this much at least when slopes are taken: at 0 they may be infinite.
LEAST_INFORMATION = 1e-12
# A label loses at most this part of its information in one step.
_LARGEST_LOSS = 0.99
_MAX_HALVINGS = 20
_MAX_CONJUGATE_STEPS = 100


@as_pytree
class RelaxedSelection:
    """The solution of the relaxed problem, or how close to it the solver came."""

    amounts: Float[Array, " records"]  #: w, how much of each record is selected; of sum N.
    z: Float[Array, " labels"]  #: Information held by each label, that of the amounts.
    threshold: Scalar  #: λ, the linear gain of a record selected by half.
    residual: Scalar  #: ‖R(z) − z‖₁ / ‖R(z)‖₁; solved if within the tolerance.
    steps: Count  #: Newton steps taken.


def relaxed_selection(
    pool: Pool,
    graph: LabelGraph,
    measure: Measure,
    budget: Scalar,
    temperature: Scalar,
    *,
    start: Float[Array, " labels"] | None = None,
    tolerance: Scalar = 1e-4,
    max_steps: Scalar = 100,
) -> RelaxedSelection:
    """Selects `budget` records softly, differentiably in all that is float.

    Gradients of `amounts`, `z` and `threshold` flow, in reverse mode, to the
    measure, the graph's similarities, the pool's scores and the temperature, by
    the implicit function theorem: the memory does not grow with the steps taken.
    They are those of the exact solution up to an error of the residual's order.
    Nothing of size P×K or K×K is made.

    Args:
      pool: P records.
      graph: K labels.
      measure: score functions and α.
      budget: N, from 0 to P; may be traced.
      temperature: above 0, in units of `typical_gain`: τ is their product, so that
        it means the same whatever the scale of scores and weights. At 1 amounts are
        spread over most of the pool; at 0.01 almost all are near 0 or 1.
      start: the z of a similar problem, from which fewer steps are needed;
        no gradient flows to it. By default the information if each record is
        selected by N/P.
      tolerance: stop at a residual of this much.
      max_steps: stop after so many Newton steps in any case. Nothing is raised then:
        compare the `residual` with the tolerance.

    Raises:
      ValueError: if the temperature is not above 0 and finite, or the budget not in 0 to P; told
        of numbers, not of tracers.

    >>> from mig_jax import label_graph_from_edges, pool_from_label_lists
    >>> pool = pool_from_label_lists([[0], [0], [1]], [1.0, 0.9, 0.8])
    >>> graph = label_graph_from_edges(2)
    >>> found = relaxed_selection(pool, graph, Measure(), 2, 0.01)
    >>> [round(float(amount), 1) for amount in found.amounts]
    [1.0, 0.2, 0.8]
    """
    if is_known(temperature) and not _is_within(temperature, np.inf, above=True):
        raise ValueError(f"temperature: found {temperature}, expected a finite number above 0")
    if is_known(budget) and not _is_within(budget, pool.num_records):
        raise ValueError(f"budget: found {budget}, expected 0 to {pool.num_records}")
    return _compiled(*(pool, graph, measure, budget, temperature, start, tolerance, max_steps))


def _is_within(number: Scalar, most: float, *, above: bool = False) -> bool:
    """Whether it is from 0 to `most`, or between them."""
    found = np.asarray(number)  # Within jit, a comparison of an array of JAX would be traced.
    return bool(np.all((found > 0) & (found < most) if above else (found >= 0) & (found <= most)))


@jax.jit
def _compiled(
    pool: Pool,
    graph: LabelGraph,
    measure: Measure,
    budget: Scalar,
    temperature: Scalar,
    start: Float[Array, " labels"] | None,
    tolerance: Scalar,
    max_steps: Scalar,
) -> RelaxedSelection:
    message = "budget, temperature: expected scalars"
    chex.assert_rank([budget, temperature], 0, custom_message=message)
    if start is not None:
        message = "start: expected a number for each label"
        chex.assert_shape(start, (graph.num_labels,), custom_message=message)
    tau = temperature * typical_gain(pool, graph, measure, budget)
    even = _even_information(pool, graph, measure, budget)
    start = even if start is None else jnp.where(start > 0, start, even)
    problem = _Problem(pool, graph, measure, tau)
    # The type that all that is float has in common.
    dtype = jax.eval_shape(_respond, problem, budget, start).z.dtype
    start = jnp.maximum(start, LEAST_INFORMATION).astype(dtype)
    budget = jnp.asarray(budget, dtype)
    return _solve(problem, *lax.stop_gradient((budget, tolerance, max_steps, start)))


def typical_gain(
    pool: Pool, graph: LabelGraph, measure: Measure, budget: Scalar
) -> Float[jax.Array, ""]:
    """The mean linear gain of all records if each is selected by N/P: the unit of temperatures.

    1 if no record gains anything, because then amounts are N/P at every temperature.
    """
    even = _even_information(pool, graph, measure, budget)
    gains = linear_gains(pool, graph, measure, jnp.maximum(even, LEAST_INFORMATION))
    total = jnp.sum(gains)
    return jnp.where(total > 0, total / max(pool.num_records, 1), 1)


def _even_information(
    pool: Pool, graph: LabelGraph, measure: Measure, budget: Scalar
) -> Float[jax.Array, " labels"]:
    share = jnp.asarray(budget, jnp.result_type(pool.scores)) / max(pool.num_records, 1)
    return label_information(pool, graph, measure, jnp.full(pool.num_records, share))


@as_pytree
class _Problem:
    """All that the solution depends on, but for the budget."""

    pool: Pool
    graph: LabelGraph
    measure: Measure
    tau: Float[Array, ""]


@as_pytree
class _Response:
    """What some z calls for."""

    odds: Float[jax.Array, " records"]  # Log-odds of the amounts.
    threshold: Float[jax.Array, ""]  # λ
    z: Float[jax.Array, " labels"]  # R(z), the information of the amounts.


def _respond(
    problem: _Problem, budget: Scalar, z: jax.Array, guess: jax.Array | None = None
) -> _Response:
    pool, graph, measure = problem.pool, problem.graph, problem.measure
    gains = linear_gains(pool, graph, measure, z)
    odds, threshold = soft_top(gains, budget, problem.tau, guess)
    amounts = jax.nn.sigmoid(odds)
    return _Response(odds, threshold, label_information(pool, graph, measure, amounts))


def _dual(problem: _Problem, budget: Scalar, z: jax.Array, response: _Response) -> jax.Array:
    """D(z) of the module's docstring."""
    phi = problem.measure.score_function
    spread = problem.tau * jnp.sum(jax.nn.softplus(response.odds))
    return jnp.sum(phi.value(z) - z * phi.derivative(z)) + response.threshold * budget + spread


@dataclasses.dataclass(frozen=True)
class _Linearisation:
    """R around z: its Jacobian is −G·C."""

    curvature: Float[jax.Array, " labels"]  # C, −φ''(z).
    spread: Callable[[jax.Array], jax.Array]  # G.
    #: The diagonal of (I + G·C), but for ē, inverted.
    preconditioner: Float[jax.Array, " labels"]

    def solve(self, right: jax.Array, tolerance: Scalar) -> jax.Array:
        """x with (I + G·C)·x = right, by preconditioned conjugate gradients."""
        curvature, preconditioner = self.curvature, self.preconditioner

        def dot(a: jax.Array, b: jax.Array) -> jax.Array:
            return jnp.sum(curvature * a * b)

        def unsolved(state: Any) -> jax.Array:
            step, *_, size = state
            return (step < _MAX_CONJUGATE_STEPS) & (size > tolerance**2 * first)

        def improve(state: Any) -> Any:
            step, x, left, direction, size = state
            image = direction + self.spread(curvature * direction)
            length = size / dot(direction, image)
            x, left = x + length * direction, left - length * image
            scaled = preconditioner * left
            new_size = dot(left, scaled)
            return step + 1, x, left, scaled + new_size / size * direction, new_size

        # The start is exact if the curvature is 0, which the weighted residual is blind to.
        x = preconditioner * right
        left = right - x - self.spread(curvature * x)
        direction = preconditioner * left
        first = dot(right, x)
        state = (jnp.int32(0), x, left, direction, dot(left, direction))
        return lax.while_loop(unsolved, improve, state)[1]


def _linearise(problem: _Problem, z: jax.Array, odds: jax.Array) -> _Linearisation:
    pool, graph, measure = problem.pool, problem.graph, problem.measure
    slope = measure.score_function.derivative
    curvature = jnp.maximum(-jax.jvp(slope, (z,), (jnp.ones_like(z),))[1], 0)
    share = jax.nn.sigmoid(odds) * jax.nn.sigmoid(-odds)
    total = jnp.sum(share)
    total = jnp.where(total > 0, total, 1)

    def spread(slopes: jax.Array) -> jax.Array:
        worth = worth_of_records(pool, graph, measure, slopes)
        moved = share * (worth - jnp.vdot(share, worth) / total) / problem.tau
        return label_information(pool, graph, measure, moved)

    kept, carried = propagation_weights(graph, measure.propagation)
    squares = share * pool.scores**2 / problem.tau
    own = jax.ops.segment_sum(squares[pool.records], pool.labels, graph.num_labels)
    arriving = jax.ops.segment_sum(carried**2 * own[graph.sources], graph.targets, graph.num_labels)
    diagonal = 1 + curvature * (kept**2 * own + arriving)
    return _Linearisation(curvature, spread, 1 / diagonal)


def _along(z: jax.Array, step: jax.Array, t: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The point t of the path that leaves z in the direction `step`, and its velocity.

    Straight if a label gains. If it loses, information falls hyperbolically:
    it stays above 0, and slopes, which are steep there, do not overshoot.
    """
    gain = jnp.maximum(step, 0)
    loss = jnp.minimum(jnp.maximum(-step, 0) / z, _LARGEST_LOSS / (1 - _LARGEST_LOSS))
    shrink = 1 / (1 + t * loss)
    point = jnp.maximum(z * shrink + t * gain, LEAST_INFORMATION)
    return point, gain - z * loss * shrink**2


def _newton(
    problem: _Problem, budget: Array, tolerance: Scalar, max_steps: Scalar, start: jax.Array
) -> tuple[jax.Array, _Response, jax.Array, jax.Array]:
    """z, its response, the residual and the number of steps."""
    phi = problem.measure.score_function
    noise = 10 * jnp.finfo(start.dtype).eps

    def away(z: jax.Array, response: _Response) -> jax.Array:
        return jnp.maximum(response.z, LEAST_INFORMATION) - z

    def residual(z: jax.Array, response: _Response) -> jax.Array:
        size = jnp.sum(jnp.maximum(response.z, LEAST_INFORMATION))
        return jnp.sum(jnp.abs(away(z, response))) / jnp.where(size > 0, size, 1)

    def unsolved(state: Any) -> jax.Array:
        step, z, response, _, moved = state
        return (residual(z, response) > tolerance) & (step < max_steps) & moved

    def improve(state: Any) -> Any:
        step, z, response, height, _ = state
        linear = _linearise(problem, z, response.odds)
        residue = away(z, response)
        # The nearer, the more exactly: few passes early, and still fast convergence in the end.
        exactness = jnp.minimum(jnp.sqrt(residual(z, response)), 0.1)
        direction = linear.solve(residue, exactness)
        slope = -jnp.sum(linear.curvature * residue * direction)

        def attempt(state: Any) -> Any:
            halvings, *_ = state
            t = 0.5**halvings
            new_z, velocity = _along(z, direction, t)
            new = _respond(problem, budget, new_z, response.threshold)
            new_height = _dual(problem, budget, new_z, new)
            bend = jax.jvp(phi.derivative, (new_z,), (velocity,))[1]
            new_slope = jnp.sum(away(new_z, new) * bend)
            # If rounding hides the fall of D, its slope still tells (Hager and Zhang 2005).
            falls = new_height <= height + 1e-4 * t * slope
            level = new_height <= height + noise * jnp.abs(height)
            good = falls | (level & (new_slope <= 0.8 * jnp.abs(slope)))
            return halvings + 1, new_z, new, new_height, good

        _, new_z, new, new_height, good = lax.while_loop(
            lambda state: ~state[-1] & (state[0] <= _MAX_HALVINGS),
            attempt,
            (jnp.zeros((), z.dtype), z, response, height, False),
        )
        # If no step is good enough, stay: rounding allows no more.
        kept = jax.tree_util.tree_map(
            partial(jnp.where, good), (new_z, new, new_height), (z, response, height)
        )
        return step + 1, *kept, good

    response = _respond(problem, budget, start)
    state = (jnp.int32(0), start, response, _dual(problem, budget, start, response), True)
    steps, z, response, _, _ = lax.while_loop(unsolved, improve, state)
    return z, response, residual(z, response), steps


@jax.custom_vjp
def _solve(
    problem: _Problem, budget: Array, tolerance: Scalar, max_steps: Scalar, start: jax.Array
) -> RelaxedSelection:
    return _solve_forward(problem, budget, tolerance, max_steps, start)[0]


def _solve_forward(
    problem: _Problem, budget: Array, tolerance: Scalar, max_steps: Scalar, start: jax.Array
) -> tuple[RelaxedSelection, Any]:
    z, response, residual, steps = _newton(problem, budget, tolerance, max_steps, start)
    amounts = jax.nn.sigmoid(response.odds)
    solution = RelaxedSelection(amounts, response.z, response.threshold, residual, steps)
    return solution, (problem, budget, z, response.threshold)


def _solve_backward(kept: Any, cotangent: RelaxedSelection) -> tuple[Any, ...]:
    """With z = R(z, θ) solved, dz = (I + G·C)⁻¹·R_θ·dθ: one solve, then one ordinary gradient."""
    problem, budget, z, guess = kept

    def outputs(problem: _Problem, z: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        response = _respond(problem, budget, z, guess)
        return response.odds, response.z, response.threshold

    (odds, _, _), pull = jax.vjp(outputs, problem, z)
    amounts = jax.nn.sigmoid(odds)
    of_odds = cotangent.amounts * amounts * jax.nn.sigmoid(-odds)
    _, of_z = pull((of_odds, cotangent.z, cotangent.threshold))
    # (I + C·G)⁻¹·x = x − C·(I + G·C)⁻¹·G·x.
    linear = _linearise(problem, z, odds)
    exactness = jnp.finfo(z.dtype).eps ** 0.75
    through = of_z - linear.curvature * linear.solve(linear.spread(of_z), exactness)
    of_problem, _ = pull((of_odds, cotangent.z + through, cotangent.threshold))
    return of_problem, None, None, None, None


_solve.defvjp(_solve_forward, _solve_backward)
