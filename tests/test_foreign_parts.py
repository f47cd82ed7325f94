"""Parts of one's own, as a user writes them: one class each, and a line to have a name."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mig_jax
from mig_jax import learning
from mig_jax.errors import InputError
from mig_jax.learning.objectives import Objective
from mig_jax.selection import full_scan_greedy, grid_points, initial_state, lay_out
from tests import oracles
from tests.strategies import Case, random_case

CASE = random_case(21, 60, labels=12, edges=16)
NAMES = [f"label {number}" for number in range(CASE.num_labels)]


@mig_jax.as_pytree
class Root(mig_jax.ScoreFunction):
    """A family that gives nothing but its value."""

    shape_name = "scale"

    scale: Any = 1.0
    weight: Any = 1.0

    def value(self, x):
        return self.weight * (jnp.sqrt(self.scale * x + 0.01) - 0.1)


def root(scale: float) -> tuple[oracles.Phi, oracles.Phi]:
    """φ and φ' of `Root`."""
    return (
        lambda x: math.sqrt(scale * x + 0.01) - 0.1,
        lambda x: scale / 2 / math.sqrt(scale * x + 0.01),
    )


# A gain rule: half of the way from the exact to the linear gain.
HALFWAY = mig_jax.GainRule(
    "halfway",
    lambda phi, z: (phi.derivative(z), phi.prepare(z)),
    lambda phi, table, step: (table[0] * step + phi.increase(table[1], step)) / 2,
)
RULES = [mig_jax.EXACT, mig_jax.LINEAR, HALFWAY]


@mig_jax.as_pytree
class WeightsOnly(learning.Parameterisation):
    """A parameterisation: a weight for each label, and all else as it was."""

    start: learning.LearnedMeasure
    ones: Any  # float [K]

    def init(self, key):
        return {"weights": jnp.zeros(len(self.ones))}

    def learned(self, params):
        phi = self.start.measure.score_function.moved(0 * self.ones, params["weights"])
        measure = mig_jax.Measure(phi, self.start.measure.propagation)
        return learning.LearnedMeasure(measure, self.start.threshold, self.start.score_exponent)

    def penalty(self, params):
        return 1e-3 * jnp.mean(params["weights"] ** 2)


@mig_jax.as_pytree
class Missed(Objective):
    """An objective: the share of the wanted records that the relaxed selection misses."""

    fitted: Any  # float [P], of sum 1
    held_out: Any

    def losses(self, outcome):
        return tuple(1 - jnp.vdot(share, outcome.amounts) for share in (self.fitted, self.held_out))


def gains(rule: mig_jax.GainRule, case: Case, scale: float, z: np.ndarray) -> np.ndarray:
    kinds = {"exact": ["exact"], "linear": ["linear"], "halfway": ["exact", "linear"]}[rule.name]
    return np.mean([oracles.gains(*root(scale), case.rows, z, kind) for kind in kinds], axis=0)


@pytest.mark.parametrize("x", [0.0, 1e-3, 1.0, 1e3, 1e5])
@pytest.mark.parametrize("step", [1e-4, 0.3, 20.0])
def test_a_family_needs_its_value_only(x, step):
    phi, slope = root(2.0)
    x, step = float(np.float32(x)), float(np.float32(step))
    ours = Root(2.0)
    np.testing.assert_allclose(ours.derivative(jnp.float32(x)), slope(x), rtol=1e-6)
    increase = ours.increase(ours.prepare(jnp.float32(x)), jnp.float32(step))
    np.testing.assert_allclose(increase, phi(x + step) - phi(x), rtol=1e-5)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_foreign_families_and_rules_are_selected_by(rule):
    budget, measure = 25, mig_jax.Measure(Root(2.0))
    pages = lay_out(CASE.pool, CASE.graph, measure, budget)
    found = mig_jax.select(
        CASE.pool, CASE.graph, budget, measure=measure, gain=rule, pages=pages, chunk=budget
    )
    z = np.zeros(CASE.num_labels)
    left = np.ones(len(CASE.scores), bool)
    for pick, gain, increase in zip(found.picks, found.gains, found.increases, strict=True):
        expected = np.where(left, gains(rule, CASE, 2.0, z), -np.inf)
        assert expected[pick] >= expected.max() * (1 - 1e-5)
        np.testing.assert_allclose(gain, expected[pick], rtol=1e-5)
        exact = gains(mig_jax.EXACT, CASE, 2.0, z)[pick]
        np.testing.assert_allclose(increase, exact, rtol=1e-5)
        left[pick] = False
        z += CASE.rows[pick]
    state = initial_state(rule, measure, pages, np.zeros(CASE.num_labels, np.float32))
    _, scanned = full_scan_greedy(rule, measure, pages, state, np.int32(budget), budget)
    np.testing.assert_array_equal(scanned.records, found.picks)


def test_a_foreign_family_is_certified():
    case = random_case(22, 9, labels=5, edges=4)
    measure = mig_jax.Measure(Root(0.5))
    picks = mig_jax.select(case.pool, case.graph, 3, measure=measure).picks
    certificate = mig_jax.certify(case.pool, case.graph, measure, picks)
    phi, _ = root(0.5)
    own = oracles.total_information(phi, case.rows[picks].sum(axis=0))
    best = oracles.best_subset(case.rows, 3, phi)
    np.testing.assert_allclose(certificate.information, own, rtol=1e-6)
    assert best * (1 - 1e-9) <= certificate.upper_bound <= 1.2 * best


def test_grids_of_a_foreign_family_and_rule_are_what_select_picks():
    scales = (0.1, 1.0, 5.0)
    cells = [mig_jax.Cell(mig_jax.Measure(Root(scale)), 0.7) for scale in scales]
    graph = mig_jax.label_graph_from_edges(
        CASE.num_labels, [edge for edge in CASE.edges if np.float32(edge[2]) >= np.float32(0.7)]
    )
    together = mig_jax.stack_cells(cells)
    found = mig_jax.select_grid(CASE.pool, CASE.graph, together, 10, gain=HALFWAY)
    for number, cell in enumerate(cells):
        alone = mig_jax.select(CASE.pool, graph, 10, measure=cell.measure, gain=HALFWAY, chunk=10)
        for part in ("picks", "gains", "increases"):
            ours = np.asarray(getattr(found, part)[number])
            np.testing.assert_array_equal(ours, getattr(alone, part), err_msg=part)


def test_a_foreign_family_is_a_point_of_a_grid_by_its_name(monkeypatch):
    monkeypatch.setitem(mig_jax.FAMILIES, "root", Root)
    (point,) = grid_points(["root"], {"scale": [3.0]}, [0.5], [0.9], ["exact"])
    assert point.parameter == "scale"
    assert point.cell().measure.score_function.scale == 3.0
    with pytest.raises(InputError, match="root: found no values for its scale"):
        grid_points(["root"], {"exponent": [3.0]}, [0.5], [0.9], ["exact"])


def test_relaxed_selection_of_a_foreign_family_is_the_soft_top_of_its_gains():
    measure = mig_jax.Measure(Root(2.0))
    found = mig_jax.relaxed_selection(CASE.pool, CASE.graph, measure, 20, 0.1)
    assert found.residual <= 1e-4
    np.testing.assert_allclose(np.sum(found.amounts), 20, rtol=1e-4)
    z = np.asarray(found.z, np.float64)
    np.testing.assert_allclose(z, np.asarray(found.amounts) @ CASE.rows, rtol=1e-4)
    linear = oracles.gains(*root(2.0), CASE.rows, z, "linear")
    even = CASE.rows.sum(axis=0) * 20 / 60
    tau = 0.1 * oracles.gains(*root(2.0), CASE.rows, even, "linear").mean()
    amounts = 1 / (1 + np.exp(-(linear - float(found.threshold)) / tau))
    np.testing.assert_allclose(found.amounts, amounts, atol=2e-3)


def test_softened_greedy_goes_by_a_foreign_rule():
    measure = mig_jax.Measure(Root(2.0))
    amounts, _ = mig_jax.softened_greedy(CASE.pool, CASE.graph, measure, 8, 1e-4, gain=HALFWAY)
    picks = mig_jax.select(CASE.pool, CASE.graph, 8, measure=measure, gain=HALFWAY).picks
    np.testing.assert_array_equal(np.flatnonzero(np.asarray(amounts) > 0.5), np.sort(picks))


@pytest.fixture
def wanted() -> np.ndarray:
    """float [P]: records with one of the first four labels, of sum 1."""
    found = np.array([any(label < 4 for label in row) for row in CASE.label_lists], np.float32)
    return found / found.sum()


def _learn(wanted: np.ndarray) -> tuple[WeightsOnly, learning.Params]:
    start = learning.shared_start(Root(2.0), threshold=0.5)
    parameterisation = WeightsOnly(start, jnp.ones(CASE.num_labels))
    found = learning.learn(
        CASE.pool,
        CASE.graph,
        parameterisation,
        Missed(wanted, wanted),
        15,
        jax.random.key(0),
        steps=6,
    )
    assert found.history[-1].fitted < found.history[0].fitted
    return parameterisation, found.params


def test_what_is_learned_of_foreign_parts_is_saved_and_restored(wanted, monkeypatch, tmp_path):
    monkeypatch.setitem(mig_jax.FAMILIES, "root", Root)
    monkeypatch.setitem(learning.PARAMETERISATIONS, "weights", WeightsOnly)
    parameterisation, params = _learn(wanted)
    learned = parameterisation.learned(params)
    weights = np.asarray(learned.measure.score_function.weight)
    assert weights[:4].mean() > weights[4:].mean()
    learning.save_learned(tmp_path / "params", parameterisation, params, NAMES)
    threshold = learning.learned_threshold(tmp_path / "params")
    assert threshold == learned.threshold
    new = [NAMES[3], "never seen", NAMES[0]]
    found = learning.restore_learned(tmp_path / "params", new, None, CASE.pool, CASE.graph)
    phi = found.measure.score_function
    assert type(phi) is Root
    np.testing.assert_allclose(phi.weight, [weights[3], weights.mean(), weights[0]], rtol=1e-6)
    np.testing.assert_allclose(phi.scale, [2, 2, 2], rtol=1e-6)

    same = learning.restore_learned(tmp_path / "params", NAMES, None, CASE.pool, CASE.graph)
    picks = [
        mig_jax.select(pool, graph, 10, measure=measure).picks
        for pool, graph, measure in (
            learning.harden(each, CASE.pool, CASE.graph) for each in (learned, same)
        )
    ]
    np.testing.assert_array_equal(*picks)
    monkeypatch.delitem(learning.PARAMETERISATIONS, "weights")
    with pytest.raises(InputError, match="the parameterisation weights, which is not registered"):
        learning.restore_learned(tmp_path / "params", NAMES, None, CASE.pool, CASE.graph)


def test_what_has_no_name_is_not_saved(monkeypatch, tmp_path):
    start = learning.shared_start(Root(2.0), threshold=0.5)
    parameterisation = WeightsOnly(start, jnp.ones(CASE.num_labels))
    params = parameterisation.init(jax.random.key(0))

    def refusal() -> str:
        with pytest.raises(ValueError, match="has no name") as refused:
            learning.save_learned(tmp_path / "params", parameterisation, params, NAMES)
        return str(refused.value)

    assert "WeightsOnly" in refusal()
    assert "PARAMETERISATIONS" in refusal()
    monkeypatch.setitem(learning.PARAMETERISATIONS, "weights", WeightsOnly)
    assert "Root" in refusal()
    assert "FAMILIES" in refusal()
    assert not (tmp_path / "params").exists()


class _Duck:
    def value(self, x):
        return x


class _Leaf(mig_jax.ScoreFunction):
    def value(self, x):
        return x


@pytest.mark.usefixtures("annotations_unchecked")
@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("power", "found str"),
        (mig_jax.Power, "found the class Power"),
        (_Duck(), "found _Duck"),
        (0.8, "found float"),
        (_Leaf(), "_Leaf is no pytree; expected @as_pytree"),
    ],
)
def test_what_is_no_score_function_is_refused_by_name(given: Any, told: str):
    with pytest.raises(TypeError, match=f"score_function: {told}"):
        mig_jax.Measure(given)


def test_jax_may_put_anything_in_the_place_of_parameters():
    measure = mig_jax.Measure(Root(2.0), 0.5)
    shapes = jax.eval_shape(lambda: jax.tree_util.tree_map(jnp.float32, measure))
    assert shapes.score_function.scale.shape == ()
    names = jax.tree_util.tree_map(str, measure)
    assert names.score_function.scale == "2.0"
    structure = jax.tree_util.tree_structure(mig_jax.Measure(), is_leaf=_is_score_function)
    assert structure.unflatten([None, 1.0]).score_function is None
    gradient: Callable[..., Any] = jax.grad(lambda m: mig_jax.information(m, jnp.ones(3)))
    floats = jax.tree_util.tree_map(jnp.float32, measure)
    assert np.isfinite(gradient(floats).score_function.scale)


def _is_score_function(node: Any) -> bool:
    return isinstance(node, mig_jax.ScoreFunction)
