"""Learns the parameters of a measure: gradient descent through the relaxed selection.

A step solves the relaxed selection of one budget for the current parameters, from the
last solution for that budget; takes the objective's loss on its fitted data; and moves the
parameters against the gradient. Budgets take turns: at one alone, a measure of other shapes
with the same prices would do as well. Every few steps the selection is made in earnest, and
the losses of its first records, as many as each budget says, are recorded on fitted and on
held-out data. A relaxed loss may fall where that of the hard selection rises, so the
parameters with the lowest held-out loss of the latter are what is learned.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mig_jax.learning._normalised_momentum import default_optimiser
from mig_jax.learning._observed_gains import greedy_picks, hardened, outcome_of_amounts
from mig_jax.learning._parameters import (
    LearnedMeasure,
    Parameterisation,
    Params,
    soften,
)
from mig_jax.learning.objectives import (
    Objective,
    Outcome,
)
from mig_jax.measure import (
    Array,
    LabelGraph,
    Measure,
    Pool,
    amounts_of_picks,
    as_pytree,
)
from mig_jax.relaxation import relaxed_selection

__all__ = [
    "Evaluation",
    "Learned",
    "LearningState",
    "initial_state",
    "learn",
]

# A held-out loss counts as lower if it is so by this part of itself.
_LEAST_IMPROVEMENT = 1e-5


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The losses of the hard selection after some steps, mean over budgets.

    Of an objective that needs no selection, its own.
    """

    step: int  #: Steps taken before.
    fitted: float
    held_out: float
    temperature: float  #: Of the step that follows.


@as_pytree
class LearningState:
    """Learning under way: all that is needed to go on as if it had never stopped."""

    params: Params
    optimiser: Any  #: The state of the optimiser.
    z: Array  #: float [B, K]: the last relaxed solution for each budget, to start from.
    step: Array  #: int32 scalar: steps taken.
    best: Params  #: With the lowest held-out loss so far.
    best_loss: Array  #: float scalar: that loss.
    best_step: Array  #: int32 scalar: steps taken then.
    #: float [n, 2]: fitted and held-out loss of each evaluation; NaN for those to come.
    history: jax.Array


@dataclasses.dataclass(frozen=True)
class Learned:
    """What was learned, and how."""

    params: Params  #: With the lowest held-out loss.
    learned: LearnedMeasure  #: What they stand for; `harden` applies it.
    history: list[Evaluation]
    best_step: int
    stopped_early: bool  #: No evaluation of the last `patience` was better.
    state: LearningState


@as_pytree
class _Problem:
    """All that a step looks at, besides the state."""

    pool: Pool
    graph: LabelGraph
    parameterisation: Parameterisation
    objective: Objective
    budgets: Array  # float [B]
    width: Array
    temperatures: tuple[Array, Array]
    steps: Array


def initial_state(
    graph: LabelGraph,
    parameterisation: Parameterisation,
    key: jax.Array,
    *,
    steps: int,
    budgets: int | Sequence[int] = 1,
    evaluate_every: int = 5,
    optimiser: optax.GradientTransformation | None = None,
    params: Params | None = None,
) -> LearningState:
    """The state before the first step; also the shape of any later one, to restore it.

    Arguments are those of `learn`.
    """
    optimiser = optimiser or default_optimiser()
    params = parameterisation.init(key) if params is None else params
    dtype = jnp.result_type(float)
    return LearningState(
        params,
        optimiser.init(params),
        jnp.zeros((np.size(budgets), graph.num_labels), dtype),
        jnp.int32(0),
        params,
        jnp.asarray(jnp.inf, dtype),
        jnp.int32(0),
        jnp.full((_evaluations(steps, evaluate_every), 2), jnp.nan, dtype),
    )


def learn(
    pool: Pool,
    graph: LabelGraph,
    parameterisation: Parameterisation,
    objective: Objective,
    budgets: int | Sequence[int],
    key: jax.Array,
    *,
    steps: int = 40,
    optimiser: optax.GradientTransformation | None = None,
    params: Params | None = None,
    temperatures: tuple[float, float] = (0.1, 0.03),
    gate_width: float = 0.02,
    evaluate_every: int = 5,
    patience: int = 4,
    resume: LearningState | None = None,
    on_step: Callable[[LearningState, float], None] | None = None,
) -> Learned:
    """Learns for so many steps, or until the held-out loss has stopped falling.

    Args:
      pool: P records.
      graph: K labels, with edges from the lowest threshold that may be learned.
      parameterisation: of the same K labels.
      objective: what to descend.
      budgets: B of them, N from 1 to P, which take turns; or one.
      key: for the initial parameters.
      steps: most steps to take.
      optimiser: by default `normalised_momentum()`.
      params: to start from, such as those by which gains match (`match_gains`); by default
        what the parameterisation starts with.
      temperatures: of the relaxed selection at the first step and from the last on; it
        falls geometrically between them. See `relaxed_selection` for the unit.
      gate_width: of the soft gate on similarities.
      evaluate_every: steps between two evaluations; there is one before the first step and
        one after the last.
      patience: evaluations without a lower held-out loss after which learning stops.
      resume: a state that `on_step` was given in a run with the same arguments; the result
        is then that of a run never stopped, bit for bit.
      on_step: called after each step with the state and the step's temperature.

    Raises:
      ValueError: if there is no budget or one is not in 1 to P, or steps, patience or
        evaluate_every are less than 1, or `resume` is from a run of another number of steps.
      FloatingPointError: if a loss is not finite.

    >>> from mig_jax import label_graph_from_edges, pool_from_label_lists
    >>> from mig_jax.learning.objectives import target
    >>> from mig_jax.learning import Free, shared_start
    >>> pool = pool_from_label_lists([[0], [0], [1], [1]], [1.0, 1.0, 1.0, 1.0])
    >>> graph = label_graph_from_edges(2)
    >>> objective = target([[1]] * 4, pool, graph, seed=0)  # Only the second label is wanted.
    >>> free = Free(shared_start(), num_labels=2)
    >>> found = learn(pool, graph, free, objective, 2, jax.random.key(0), steps=5)
    >>> weights = found.learned.measure.score_function.weight
    >>> bool(weights[1] > weights[0])
    True
    """
    budgets = [budgets] if isinstance(budgets, int) else list(budgets)
    if not budgets:
        raise ValueError("expected a budget at least")
    for budget in budgets:
        if not 1 <= budget <= pool.num_records:
            raise ValueError(f"the budget must be in 1 to {pool.num_records}, got {budget}")
    for name, value in (
        ("steps", steps),
        ("evaluate_every", evaluate_every),
        ("patience", patience),
    ):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    optimiser = optimiser or default_optimiser()
    problem = _Problem(
        pool,
        graph,
        parameterisation,
        objective,
        jnp.asarray(budgets, float),
        jnp.asarray(float(gate_width)),
        (jnp.asarray(float(temperatures[0])), jnp.asarray(float(temperatures[1]))),
        jnp.asarray(float(steps)),
    )
    # On the device once, and not at every step.
    problem = jax.device_put(problem)
    state = initial_state(
        graph,
        parameterisation,
        key,
        steps=steps,
        budgets=budgets,
        evaluate_every=evaluate_every,
        optimiser=optimiser,
        params=params,
    )
    if resume is not None:
        if resume.history.shape != state.history.shape:
            raise ValueError(
                f"the state has room for {len(resume.history)} evaluations, "
                f"expected {len(state.history)}: it is from a run of other `steps`"
            )
        state = jax.tree_util.tree_map(jnp.asarray, resume)

    stopped = False
    while True:
        step = int(state.step)
        index = -(-step // evaluate_every)
        if (step % evaluate_every == 0 or step == steps) and math.isnan(state.history[index, 0]):
            losses = _losses(problem, state.params, budgets)
            if not np.isfinite(losses).all():
                raise FloatingPointError(f"the loss is not finite after {step} steps")
            state = _evaluated(state, index, losses)
        # Judged from the state alone, so that a resumed run stops where this one does.
        waited = step // evaluate_every - -(-int(state.best_step) // evaluate_every)
        stopped = waited >= patience
        if stopped or step >= steps:
            break
        temperature = float(_temperature(problem, state.step))
        moving = state.params, state.optimiser, state.z, state.step
        params, optimiser_state, z = _update(problem, *moving, optimiser=optimiser)
        state = dataclasses.replace(
            state, params=params, optimiser=optimiser_state, z=z, step=state.step + 1
        )
        if on_step is not None:
            on_step(state, temperature)
    return Learned(
        state.best,
        jax.jit(lambda p, params: p.learned(params))(parameterisation, state.best),
        _history(problem, state, steps, evaluate_every),
        int(state.best_step),
        stopped,
        state,
    )


def _evaluations(steps: int, every: int) -> int:
    """How many evaluations there are: one before the first step, one after the last."""
    return -(-steps // every) + 1


def _temperature(problem: _Problem, step: Array) -> Array:
    first, last = problem.temperatures
    return first * (last / first) ** jnp.minimum(step / problem.steps, 1)


def _outcome(
    problem: _Problem, params: Params, z: Array, temperature: Array, turn: Array
) -> Outcome:
    learned = problem.parameterisation.learned(params)
    softened = soften(learned, problem.pool, problem.graph, problem.width)
    if not problem.objective.needs_selection:
        return Outcome(*softened, turn=turn)
    budget = problem.budgets[turn % len(problem.budgets)]
    relaxed = relaxed_selection(*softened, budget, temperature, start=z)
    # An objective with turns of its own has each of them at each budget.
    return Outcome(*softened, relaxed, turn // len(problem.budgets))


@partial(jax.jit, static_argnames="optimiser")
def _update(
    problem: _Problem,
    params: Params,
    optimiser_state: Any,
    z: Array,
    step: Array,
    *,
    optimiser: optax.GradientTransformation,
) -> tuple[Params, Any, Array]:
    """The parameters, the optimiser's state and the relaxed solutions after one step."""
    own = step % len(problem.budgets)

    def loss(params: Params) -> tuple[jax.Array, Array]:
        outcome = _outcome(problem, params, z[own], _temperature(problem, step), step)
        fitted, _ = problem.objective.losses(outcome)
        solution = z[own] if outcome.relaxed is None else outcome.relaxed.z
        return fitted + problem.parameterisation.penalty(params), solution

    gradient, solution = jax.grad(loss, has_aux=True)(params)
    updates, optimiser_state = optimiser.update(gradient, optimiser_state, params)
    return (
        optax.apply_updates(params, updates),
        optimiser_state,
        jnp.asarray(z).at[own].set(solution),
    )


def _losses(problem: _Problem, params: Params, budgets: Sequence[int]) -> np.ndarray:
    """Fitted and held-out loss of the hard selection, mean over budgets: float [2]."""
    if not problem.objective.needs_selection:
        return np.asarray(_losses_of_parameters(problem, params))
    pool, graph, measure = hardened(problem.parameterisation, params, problem.pool, problem.graph)
    picks = greedy_picks(pool, graph, measure, max(budgets))
    losses = [
        _losses_of_amounts(
            problem.objective, pool, graph, measure, amounts_of_picks(pool, picks[:budget])
        )
        for budget in budgets
    ]
    return np.mean(np.asarray(losses), axis=0)


@jax.jit
def _losses_of_parameters(problem: _Problem, params: Params) -> jax.Array:
    learned = problem.parameterisation.learned(params)
    softened = soften(learned, problem.pool, problem.graph, problem.width)
    return jnp.stack(problem.objective.losses(Outcome(*softened)))


@jax.jit
def _losses_of_amounts(
    objective: Objective, pool: Pool, graph: LabelGraph, measure: Measure, amounts: Array
) -> jax.Array:
    return jnp.stack(objective.losses(outcome_of_amounts(pool, graph, measure, amounts)))


def _evaluated(state: LearningState, index: int, losses: np.ndarray) -> LearningState:
    state = dataclasses.replace(state, history=state.history.at[index].set(losses))
    if not losses[1] < state.best_loss - _LEAST_IMPROVEMENT * abs(losses[1]):
        return state
    return dataclasses.replace(
        state, best=state.params, best_loss=jnp.asarray(losses[1]), best_step=state.step
    )


def _history(problem: _Problem, state: LearningState, steps: int, every: int) -> list[Evaluation]:
    found = []
    for index, (fitted, held_out) in enumerate(np.asarray(state.history, np.float64)):
        step = min(index * every, steps)
        if math.isnan(fitted):
            break
        temperature = float(_temperature(problem, jnp.int32(step)))
        found.append(Evaluation(step, float(fitted), float(held_out), temperature))
    return found
