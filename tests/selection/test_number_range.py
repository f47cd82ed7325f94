"""Numbers that float32 cannot hold: picks are those of exact arithmetic all the same."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from decimal import Decimal, localcontext
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mig_jax
from mig_jax.errors import InputError
from mig_jax.selection import Checkpoints, fingerprint, needs_float64, random_choice
from tests import oracles
from tests.strategies import Case, random_case

CASE = random_case(31, 26, labels=9, edges=8)
BUDGET = 15

# φ and φ' in exact arithmetic, of x and the family's parameter.
DECIMALS: dict[str, tuple[Any, Any, Any]] = {
    "saturating": (
        mig_jax.Saturating,
        lambda x, rate: x / (x + 1 / rate),
        lambda x, rate: (1 / rate) / (x + 1 / rate) ** 2,
    ),
    "log": (
        mig_jax.Log,
        lambda x, rate: (1 + rate * x).ln(),
        lambda x, rate: rate / (1 + rate * x),
    ),
    "exponential": (
        mig_jax.Exponential,
        lambda x, rate: 1 - (-rate * x).exp(),
        lambda x, rate: rate * (-rate * x).exp(),
    ),
}


def scaled(case: Case, scale: float) -> Case:
    return dataclasses.replace(case, scores=[score * scale for score in case.scores])


def check_in_exact_arithmetic(
    picks: list[int], case: Case, phi: Callable[..., Any], slope: Callable[..., Any], gain: str
) -> None:
    """Asserts that each pick gains most, but for what float64 cannot hold."""
    with localcontext() as context:
        context.prec = 120
        rows = [[Decimal(float(entry)) for entry in row] for row in case.rows]
        z, left = [Decimal(0)] * case.num_labels, set(range(len(rows)))

        def gain_of(row: list[Decimal]) -> Decimal:
            parts = [(held, step) for held, step in zip(z, row, strict=True) if step]
            if gain == "linear":
                return sum((slope(held) * step for held, step in parts), Decimal(0))
            return sum((phi(held + step) - phi(held) for held, step in parts), Decimal(0))

        for pick in picks:
            gains = {d: gain_of(rows[d]) for d in left}
            best = max(gains.values())
            assert gains[pick] >= best * (1 - Decimal("1e-9")) or best < Decimal("1e-300")
            left.remove(pick)
            z = [held + step for held, step in zip(z, rows[pick], strict=True)]


@pytest.mark.parametrize("log2", [-120, -60, 0, 30, 123])
@pytest.mark.parametrize("epsilon", [0.0, 1e-6])
@pytest.mark.parametrize("gain", ["exact", "linear"])
def test_a_power_picks_the_same_at_every_scale(log2, epsilon, gain):
    """(c·x + c·ε)^γ is c^γ times (x + ε)^γ, so that the oracle may compute near 1."""
    scale = 2.0**log2
    big = scaled(CASE, scale)
    measure = mig_jax.Measure(mig_jax.Power(0.8, epsilon * scale))
    rule = mig_jax.GAIN_RULES[gain]
    found = mig_jax.select(big.pool, big.graph, BUDGET, measure=measure, gain=rule)
    # Where nothing is held yet, a slope without ε is as large as the smallest base makes it.
    if epsilon or gain == "exact":
        phi = oracles.power(0.8, epsilon)
        small = max(epsilon, 1e-30)
        slope = lambda x: 0.8 * (x + small) ** -0.2  # noqa: E731
        oracles.check_greedy(found.picks, BUDGET, CASE.rows, phi, slope, gain, 1e-5)
        z, left = np.zeros(CASE.num_labels), CASE.rows
        for pick, told in zip(found.picks, found.gains, strict=True):
            expected = oracles.gains(phi, slope, left[[pick]], z, gain)[0]
            np.testing.assert_allclose(told / scale**0.8, expected, rtol=2e-5)
            z = z + CASE.rows[pick]
    own = oracles.total_information(oracles.power(0.8, epsilon), CASE.rows[found.picks].sum(axis=0))
    np.testing.assert_allclose(found.information / scale**0.8, own, rtol=1e-5)
    certificate = mig_jax.certify(big.pool, big.graph, measure, found.picks)
    np.testing.assert_allclose(certificate.information / scale**0.8, own, rtol=1e-6)
    assert certificate.information <= certificate.upper_bound < 2 * certificate.information


@pytest.mark.parametrize("gain", ["exact", "linear"])
@pytest.mark.parametrize("rate", [1e-30, 1e30])
@pytest.mark.parametrize("family", DECIMALS)
def test_steep_and_flat_functions_pick_as_in_exact_arithmetic(family, rate, gain):
    kind, phi, slope = DECIMALS[family]
    exact = Decimal(rate)
    found = mig_jax.select(
        CASE.pool,
        CASE.graph,
        BUDGET,
        measure=mig_jax.Measure(kind(rate)),
        gain=mig_jax.GAIN_RULES[gain],
    )
    assert found.gains[0] > 0
    picks = found.picks.tolist()
    check_in_exact_arithmetic(picks, CASE, lambda x: phi(x, exact), lambda x: slope(x, exact), gain)


@pytest.mark.parametrize("alpha", [1e20, 1e39, 1e100])
def test_propagation_that_leaves_a_label_next_to_nothing(alpha):
    """Labels then hold the mean of their neighbours."""
    case = dataclasses.replace(CASE, alpha=alpha)
    measure = mig_jax.Measure(propagation=alpha)
    found = mig_jax.select(case.pool, case.graph, BUDGET, measure=measure)
    phi = oracles.power(0.8, 1e-6)
    slope = lambda x: 0.8 * (x + 1e-6) ** -0.2  # noqa: E731
    oracles.check_greedy(found.picks, BUDGET, case.rows, phi, slope, "exact", 1e-5)
    own = oracles.total_information(phi, case.rows[found.picks].sum(axis=0))
    np.testing.assert_allclose(found.information, own, rtol=1e-5)


def test_the_smallest_float32_numbers_are_told_apart():
    tiny = float(np.finfo(np.float32).smallest_subnormal)
    scores = [3 * tiny, tiny, 7 * tiny, 5 * tiny]
    pool = mig_jax.pool_from_label_lists([[0], [1], [2], [3]], scores)
    graph = mig_jax.label_graph_from_edges(4)
    for epsilon in (0.0, 1e-6):
        measure = mig_jax.Measure(mig_jax.Power(0.8, epsilon))
        found = mig_jax.select(pool, graph, 4, measure=measure)
        assert found.picks.tolist() == [2, 3, 0, 1]
        assert np.all(np.diff(found.gains) < 0)
        assert found.gains[-1] > 0


def test_sums_of_the_largest_scores():
    top = float(np.finfo(np.float32).max)
    pool = mig_jax.pool_from_label_lists([[0], [0, 1], [0], [0]], [top, top, top / 2, top])
    graph = mig_jax.label_graph_from_edges(2, [(0, 1, 0.5)])
    measure = mig_jax.Measure(mig_jax.Power(1.0, 0.0))
    found = mig_jax.select(pool, graph, 3, measure=measure)
    assert found.picks.tolist() == [1, 0, 3]
    np.testing.assert_allclose(found.information, 4 * top, rtol=1e-6)
    assert random_choice(pool, graph, measure, 3)["information"] > top
    certificate = mig_jax.certify(pool, graph, measure, found.picks)
    np.testing.assert_allclose(certificate.certified_ratio, 1)


def test_what_float32_holds_stays_there():
    for scale in (1e-6, 1.0, 1e5, 3e7):
        case = scaled(CASE, scale)
        found = mig_jax.select(case.pool, case.graph, 5)
        assert found.gains.dtype == found.z.dtype == np.float32
        assert not needs_float64(case.pool, case.graph, mig_jax.Measure())


def test_parameters_of_labels_beyond_float32_are_probed_with_those_that_all_share():
    """As learned ones are: an exponent and a weight a label, one ε for all."""
    exponents = np.linspace(0.3, 0.9, CASE.num_labels).astype(np.float32)
    for weight in (1.0, 1e25):
        weights = np.full(CASE.num_labels, weight, np.float32)
        measure = mig_jax.Measure(mig_jax.Power(exponents, np.float32(1e-3), weights))
        found = mig_jax.select(CASE.pool, CASE.graph, BUDGET, measure=measure)
        if weight == 1.0:
            expected = found.picks
        np.testing.assert_array_equal(found.picks, expected)


def test_a_grid_picks_what_select_picks():
    big = scaled(CASE, 2.0**110)
    cells = [mig_jax.Cell(mig_jax.Measure(mig_jax.Power(e)), 0.0) for e in (0.25, 0.875)]
    together = mig_jax.select_grid(big.pool, big.graph, mig_jax.stack_cells(cells), BUDGET)
    for number, exponent in enumerate((0.25, 0.875)):
        measure = mig_jax.Measure(mig_jax.Power(exponent))
        alone = mig_jax.select(big.pool, big.graph, BUDGET, measure=measure)
        np.testing.assert_array_equal(together.picks[number], alone.picks)
        np.testing.assert_allclose(together.gains[number], alone.gains, rtol=1e-6)


def test_devices_and_chunks_change_nothing():
    big = scaled(CASE, 2.0**110)
    whole = mig_jax.select(big.pool, big.graph, BUDGET)
    mesh = mig_jax.pool_mesh(4)
    for how in ({"chunk": 4}, {"mesh": mesh}):
        found = mig_jax.select(big.pool, big.graph, BUDGET, **how)
        np.testing.assert_array_equal(found.picks, whole.picks)
        np.testing.assert_array_equal(found.gains, whole.gains)


def test_a_checkpoint_keeps_all_digits(tmp_path):
    big = scaled(CASE, 2.0**110)
    measure = mig_jax.Measure()
    kept = []
    whole = mig_jax.select(big.pool, big.graph, BUDGET, chunk=6, on_chunk=kept.append)
    run = fingerprint(big.pool, big.graph, measure, mig_jax.EXACT)
    with Checkpoints(tmp_path / "run", run) as checkpoints:
        checkpoints.restore(BUDGET)
        checkpoints.save(kept[0], now=True)
    with Checkpoints(tmp_path / "run", run) as checkpoints:
        resume = checkpoints.restore(BUDGET)
    assert len(resume) == 6
    found = mig_jax.select(big.pool, big.graph, BUDGET, resume=resume)
    np.testing.assert_array_equal(found.picks, whole.picks)
    np.testing.assert_array_equal(found.gains, whole.gains)
    assert found.information == whole.information


@mig_jax.as_pytree
class Undefined(mig_jax.ScoreFunction):
    """A family that is no number from some x on."""

    end: Any = 2.0

    def value(self, x):
        return jnp.where(x < self.end, x, jnp.nan)


@pytest.mark.parametrize(
    "function", [mig_jax.Power(1.0, 0.0, weight=1e306), Undefined(0.0), Undefined(30.0)]
)
def test_what_is_no_number_ends_the_selection(function):
    measure = mig_jax.Measure(function)
    with pytest.raises(InputError, match="not a finite number"):
        mig_jax.select(CASE.pool, CASE.graph, 20, measure=measure)
    cells = jax.tree_util.tree_map(lambda leaf: np.asarray([leaf]), mig_jax.Cell(measure))
    with pytest.raises(InputError, match="not a finite number"):
        mig_jax.select_grid(CASE.pool, CASE.graph, cells, 20)
    with pytest.raises(InputError, match="not a finite number"):
        mig_jax.certify(CASE.pool, CASE.graph, measure, list(range(20)))


def test_a_certificate_of_nothing():
    """No selection holds anything: this one is as good as the best."""
    pool = mig_jax.pool_from_label_lists([[0], [1]], [0.0, 0.0])
    graph = mig_jax.label_graph_from_edges(2)
    certificate = mig_jax.certify(pool, graph, mig_jax.Measure(), [1])
    assert (certificate.information, certificate.upper_bound) == (0, 0)
    assert certificate.certified_ratio == 1
