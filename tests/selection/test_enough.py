"""When fewer picks would do, and when they would not."""

from __future__ import annotations

import numpy as np
import pytest

import mig_jax
from mig_jax.selection import Enough, enough_picks, information_curve
from tests.strategies import random_case


def test_picks_behind_which_nothing_is_added():
    assert enough_picks(np.array([5.0, 3.0, 0.0, 0.0, 0.0])) == Enough(2, 1.0, "pool")
    assert enough_picks(np.zeros(3)) == Enough(0, 1.0, "pool")
    assert enough_picks(np.zeros(0)) is None


def test_usual_picks_are_worth_it():
    """Gains that fall as those of real pools do."""
    for exponent in (0.3, 0.5, 0.8):
        curve = np.arange(1001.0) ** exponent
        assert enough_picks(np.diff(curve), curve[-1] * 3) is None
    assert enough_picks(np.array([1.0, 1e-9])) is None


def test_nearly_all_of_the_pool():
    increases = np.full(100, 10.0)
    increases[50:] = 0.01
    assert enough_picks(increases, 500.5) == Enough(50, 500 / 500.5, "pool")
    # The last hold nearly all as well as fewer do: nothing is told of a few less.
    assert enough_picks(np.full(1000, 1.0), 1000.0) is None


def test_a_last_half_that_adds_next_to_nothing():
    increases = 0.5 ** np.arange(40)
    found = enough_picks(increases, 100.0)
    assert found is not None
    assert (found.records, found.of) == (7, "picks")
    assert found.share == pytest.approx(1 - 0.5**7)
    # A few that add nothing at all are no reason to name more than these.
    assert enough_picks(np.append(increases, 0.0)) == found


def test_what_is_told_of_a_pool_is_so():
    case = random_case(5, 60)
    measure = mig_jax.Measure(mig_jax.Exponential(3.0), case.alpha)
    selection = mig_jax.select(case.pool, case.graph, 60, measure=measure)
    everything = information_curve(case.pool, case.graph, measure, np.arange(60))[-1]
    found = enough_picks(selection.increases, everything)
    assert found is not None
    assert found.records < 55
    held = information_curve(case.pool, case.graph, measure, selection.picks[: found.records])
    assert held[-1] == pytest.approx(found.share * everything, rel=1e-5)
