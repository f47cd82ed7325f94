"""Learning: it finds what was planted, stops in time, and goes on as if it had never stopped."""

from __future__ import annotations

import dataclasses
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mig_jax
from mig_jax import learning
from mig_jax.errors import InputError
from mig_jax.learning import objectives

KEY = jax.random.key(0)
LABELS, RECORDS, BUDGET = 12, 240, 40
SETTINGS = {"steps": 30, "temperatures": (0.3, 0.1)}


def _case():
    rng = np.random.default_rng(0)
    rows = [rng.choice(LABELS, 2, replace=False).tolist() for _ in range(RECORDS)]
    pool = mig_jax.pool_from_label_lists(rows, rng.uniform(0.5, 1.5, RECORDS))
    edges = [(0, 1, 0.8), (4, 5, 0.7), (8, 9, 0.6)]
    return pool, mig_jax.label_graph_from_edges(LABELS, edges)


POOL, GRAPH = _case()
FREE = learning.Free(
    learning.shared_start(threshold=0.75), LABELS, lowest_threshold=0.5, highest_threshold=1.0
)
# Labels 0 to 5 are wanted, three times as much as what the others get.
WANTED = [[label] for label in range(LABELS) for _ in range(30 if label < 6 else 2)]
TARGET = objectives.target(WANTED, POOL, GRAPH, seed=0)


def _learn(objective=TARGET, budget=BUDGET, **more):
    return learning.learn(POOL, GRAPH, FREE, objective, budget, KEY, **{**SETTINGS, **more})


def _share_of_wanted(learned):
    pool, graph, measure = learning.harden(learned, POOL, GRAPH)
    picks = mig_jax.select(pool, graph, BUDGET, measure=measure).picks
    return np.isin(POOL.labels[np.isin(POOL.records, picks)], range(6)).mean()


def test_learns_what_the_target_wants():
    found = _learn()
    before = FREE.learned(FREE.init(KEY))
    assert found.history[0].step == 0
    assert min(e.held_out for e in found.history) < 0.5 * found.history[0].held_out
    weights = np.asarray(found.learned.measure.score_function.weight)
    assert weights[:6].min() > 1.5 * weights[6:].max()
    assert _share_of_wanted(found.learned) > _share_of_wanted(before) + 0.2


def test_gives_the_parameters_of_the_best_evaluation_and_stops_once_none_is_better():
    states = []
    overfitting = objectives.imitation(range(0, 40), POOL, GRAPH, seed=0)  # Picked at random.
    found = _learn(overfitting, evaluate_every=2, patience=2, on_step=lambda s, _: states.append(s))
    held_out = [evaluation.held_out for evaluation in found.history]
    best = found.history[int(np.argmin(held_out))]
    assert found.best_step == best.step
    assert found.stopped_early
    assert [e.step for e in found.history] == list(range(0, best.step + 5, 2))
    assert int(found.state.step) == best.step + 4 == len(states)
    expected = FREE.init(KEY) if best.step == 0 else states[best.step - 1].params
    jax.tree_util.tree_map(np.testing.assert_array_equal, found.params, expected)


def test_resumed_equals_uninterrupted_through_files(tmp_path):
    """With a stop at a step that is no evaluation, and one that is."""
    seen = []
    whole = _learn(on_step=lambda state, temperature: seen.append((state, temperature)))
    assert [round(t, 6) for _, t in seen] == [round(0.3 * 3 ** (-n / 30), 6) for n in range(30)]
    run = learning.learning_run(POOL, GRAPH, FREE, TARGET, SETTINGS)
    like = learning.initial_state(GRAPH, FREE, KEY, steps=30)
    for stop in (7, 10):
        with learning.LearningStates(tmp_path / str(stop), run) as states:
            assert states.restore(like) is None
            for state, _ in seen[:stop]:
                states.save(state)
        with learning.LearningStates(tmp_path / str(stop), run) as states:
            state = states.restore(like)
            assert int(state.step) == stop
            resumed = _learn(resume=state)
        jax.tree_util.tree_map(np.testing.assert_array_equal, resumed.state, whole.state)
        jax.tree_util.tree_map(np.testing.assert_array_equal, resumed.params, whole.params)
        assert resumed.history == whole.history


def test_states_of_another_run_are_refused_and_damaged_ones_passed_over(tmp_path):
    seen = []
    _learn(steps=3, on_step=lambda state, _: seen.append(state))
    like = learning.initial_state(GRAPH, FREE, KEY, steps=3)
    run = learning.learning_run(POOL, GRAPH, FREE, TARGET, {"steps": 3})
    with learning.LearningStates(tmp_path, run) as states:
        for state in seen:
            states.save(state)
    other = objectives.target(WANTED, POOL, GRAPH, seed=1)
    for objective, steps, told in (
        (other, 3, "objective"),
        (TARGET, 4, r"setting steps \(3; now 4\)"),
    ):
        changed = learning.learning_run(POOL, GRAPH, FREE, objective, {"steps": steps})
        with pytest.raises(InputError, match=f"another run: {told} differs"):
            learning.LearningStates(tmp_path, changed)
    for folder, _, files in os.walk(tmp_path / "00003.state"):
        for name in files:
            with open(os.path.join(folder, name), "r+b") as stream:
                stream.truncate(1)
    with learning.LearningStates(tmp_path, run) as states:
        damaged = []
        assert int(states.restore(like, on_damaged=damaged.append).step) == 2
    assert damaged == [3]
    assert not (tmp_path / "00003.state").exists()


def test_a_strong_prior_keeps_labels_alike():
    free, held = (
        learning.learn(
            POOL,
            GRAPH,
            dataclasses.replace(FREE, prior=prior),
            TARGET,
            BUDGET,
            KEY,
            **{**SETTINGS, "steps": 10},
        ).state.params["weights"]
        for prior in (1e-3, 1e3)
    )
    assert np.abs(held).max() < 0.3 * np.abs(free).max()


@mig_jax.as_pytree
class _Alternating(objectives.Objective):
    """An objective of one's own: it wants more propagation and less of it in turn."""

    needs_selection = False

    def losses(self, outcome):
        assert outcome.relaxed is None
        sign = 0.0 if outcome.turn is None else jnp.where(outcome.turn % 2 == 0, -1.0, 1.0)
        return sign * outcome.measure.propagation, outcome.measure.propagation


def test_objectives_of_ones_own_get_the_step_as_their_turn():
    found = []
    _learn(_Alternating(), steps=2, on_step=lambda state, _: found.append(state.params))
    first, second = (float(params["propagation"]) for params in found)
    np.testing.assert_allclose([first, second], [0.015, 0.015 + 0.05 * (0.21 - 0.3)], rtol=1e-4)


def test_a_finished_run_resumes_to_its_result():
    whole = _learn(steps=4)
    again = _learn(steps=4, resume=whole.state, on_step=lambda *_: pytest.fail("a step was taken"))
    assert again.history == whole.history


def test_the_size_of_the_loss_changes_nothing():
    optimiser = learning.normalised_momentum(0.1)
    params = {"a": jnp.zeros(3), "b": jnp.zeros(()), "c": jnp.zeros(2)}
    gradient = {"a": jnp.array([3.0, -4.0, 0.0]), "b": jnp.array(-2.0), "c": jnp.zeros(2)}
    updates, _ = optimiser.update(gradient, optimiser.init(params), params)
    # A first step is 1 − 0.7 of a whole one.
    rms = np.sqrt(25 / 3)
    np.testing.assert_allclose(updates["a"], -0.03 * np.array([3, -4, 0]) / rms, rtol=1e-5)
    np.testing.assert_allclose(updates["b"], 0.03, rtol=1e-5)
    np.testing.assert_array_equal(updates["c"], np.zeros(2))
    tiny = jax.tree_util.tree_map(lambda leaf: 1e-12 * leaf, gradient)
    again, _ = optimiser.update(tiny, optimiser.init(params), params)
    jax.tree_util.tree_map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4), again, updates)


def test_measured_subsets_are_ranked_by_leaving_one_out():
    """Results come from a measure with other weights; by the shared one they are not ranked."""
    rng = np.random.default_rng(2)
    weight = np.where(np.arange(LABELS) < 6, 3.0, 0.1)
    planted = learning.LearnedMeasure(
        mig_jax.Measure(mig_jax.Power(0.6, 1e-3, weight), 1.0), 0.75, 1.0
    )
    picks = [rng.choice(RECORDS, 30, replace=False) for _ in range(9)]
    every = objectives.subsets(picks, np.arange(9.0), POOL, seed=0)

    def values(learned):
        return np.asarray(
            objectives.subset_information(every, *learning.soften(learned, POOL, GRAPH, 0.02))
        )

    results = values(planted)
    # Weights only: they are enough, and few.
    before = objectives.spearman(values(FREE.learned(FREE.init(KEY))), results)
    done = []
    settings = {"steps": 20, "optimiser": learning.normalised_momentum(0.1)}
    correlation, predictions = learning.leave_one_out(
        POOL, GRAPH, FREE, picks, results, KEY, seed=0, on_subset=done.append, **settings
    )
    assert correlation > max(before, 0.7)
    assert correlation == objectives.spearman(predictions, results)
    assert done == list(range(1, 10))


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"budget": 0}, "budget must be in 1 to 240, got 0"),
        ({"budget": 241}, "got 241"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"evaluate_every": 0}, "^evaluate_every must be at least 1"),
        ({"patience": 0}, "patience must be at least 1"),
    ],
)
def test_what_makes_no_sense_is_refused(more, told):
    with pytest.raises(ValueError, match=told):
        _learn(**more)


def test_a_state_of_another_length_and_a_loss_that_is_not_finite_are_refused():
    state = learning.initial_state(GRAPH, FREE, KEY, steps=300)
    with pytest.raises(ValueError, match="from a run of other `steps`"):
        _learn(resume=state)
    broken = dataclasses.replace(TARGET, fitted=np.full(LABELS, np.nan, np.float32))
    with pytest.raises(FloatingPointError, match="after 0 steps"):
        _learn(broken)
