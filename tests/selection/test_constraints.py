"""Selection under constraints against greedy loops in float64 and against all subsets."""

from __future__ import annotations

import dataclasses
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mig_jax
from mig_jax import Cell, Constraints, Quotas
from mig_jax.devices import pool_mesh
from mig_jax.errors import InputError
from mig_jax.selection import (
    NO_MAXIMUM,
    Checkpoints,
    InfeasibleError,
    SetSize,
    by_cost,
    by_gain,
    fill_pages,
    fingerprint,
    full_scan_greedy,
    given_information,
    initial_state,
    lay_out_pages,
    lazy_greedy,
    limits_of,
    rates_of_prices,
    select_grid,
    stack_cells,
)
from tests import oracles
from tests.selection.padded_pages import pages_at_most, with_empty_pages
from tests.strategies import FUNCTIONS, TINY, Case, Shape, cases, random_case, to_float64

SMALL = Shape(24, 3, 36, 0)
OURS, PHI, SLOPE = FUNCTIONS[0]
PARTS = ("picks", "gains", "increases", "z", "information", "rates")
NONE = int(NO_MAXIMUM)


# The same rules as plain loops, told by what must stay possible rather than by reserves.


def costs_of(limits: Constraints, records: int) -> list[int]:
    return [0] * records if limits.costs is None else np.asarray(limits.costs).tolist()


def amounts(limits: Constraints, records: int) -> list[int]:
    """What each record counts in the quotas."""
    return costs_of(limits, records) if limits.quotas and limits.quotas.of_costs else [1] * records


def is_feasible(picks, budget: int | None, limits: Constraints, records: int) -> bool:
    """Whether the picks keep to all limits."""
    picks, costs, counted = list(picks), costs_of(limits, records), amounts(limits, records)
    if len(set(picks)) < len(picks) or (budget is not None and len(picks) > budget):
        return False
    if limits.given is not None and np.asarray(limits.given)[picks].any():
        return False
    if limits.most_cost is not None and sum(costs[d] for d in picks) > limits.most_cost:
        return False
    if limits.quotas is None:
        return True
    got = [0] * limits.quotas.num_groups
    for d in picks:
        got[int(limits.quotas.groups[d])] += counted[d]
    pairs = zip(np.asarray(limits.quotas.minima), np.asarray(limits.quotas.maxima), strict=True)
    return all(low <= g <= high for g, (low, high) in zip(got, pairs, strict=True))


def leaves_enough(picks, budget, limits: Constraints, records: int, candidates) -> bool:
    """Whether the minima can still be met, by the rule of the quotas, from the start on."""
    costs, counted = costs_of(limits, records), amounts(limits, records)
    rest = math.inf if limits.most_cost is None else limits.most_cost
    rest -= sum(costs[d] for d in picks)
    open_picks = math.inf if budget is None else budget - len(picks)
    quotas = limits.quotas
    if quotas is None:
        return rest >= 0 and open_picks >= 0
    reserved, all_due = 0, 0
    for group in range(quotas.num_groups):
        own = sorted(costs[d] for d in candidates if quotas.groups[d] == group)
        got = sum(counted[d] for d in picks if quotas.groups[d] == group)
        if got > quotas.maxima[group]:
            return False
        least = int(quotas.minima[group])
        due = max(least - got, 0)
        if quotas.of_costs and due:
            sums = np.cumsum(own)
            reserved += due + own[int(np.flatnonzero(sums >= least)[0])] - 1
        elif due:
            reserved += sum(sorted(own[:least])[-due:])
        all_due += due
    return rest >= reserved and (quotas.of_costs or open_picks >= all_due)


def greedy(rows, budget, limits: Constraints, rates, gain="exact", function=None):
    """Picks, and E of them and of what is given."""
    phi, derivative = function or (PHI, SLOPE)
    records = len(rows)
    taken = np.zeros(records, bool) if limits.given is None else np.asarray(limits.given)
    z = rows[taken].sum(axis=0) if taken.any() else np.zeros(rows.shape[1])
    candidates = np.flatnonzero(~taken).tolist()
    costs, picks = costs_of(limits, records), []
    of_quotas = None if limits.quotas is None else np.asarray(limits.quotas.groups)
    counted = amounts(limits, records)
    of_costs = limits.most_cost is not None or (limits.quotas and limits.quotas.of_costs)
    while budget is None or len(picks) < budget:
        allowed = [
            d
            for d in candidates
            if d not in picks and leaves_enough([*picks, d], budget, limits, records, candidates)
        ]
        worth = oracles.gains(phi, derivative, rows, z, gain)
        if rates is not None:
            worth = worth / rates.of_rows(of_quotas, np.asarray(costs))
        best = max((worth[d] for d in allowed), default=0.0)
        if best > 0:
            chosen = min(d for d in allowed if worth[d] >= best * (1 - 1e-9))
        else:
            if of_costs:
                got = dict.fromkeys(range(limits.quotas.num_groups), 0) if limits.quotas else {}
                for d in picks if limits.quotas else ():
                    got[int(limits.quotas.groups[d])] += counted[d]
                due = {g for g in got if got[g] < limits.quotas.minima[g]}
                allowed = [d for d in allowed if due and int(limits.quotas.groups[d]) in due]
            if not allowed:
                break
            chosen = min(allowed)
        picks.append(chosen)
        z = z + rows[chosen]
    return picks, oracles.total_information(phi, z)


def best_of_all(rows, budget, limits: Constraints, exactly: bool) -> float | None:
    """The largest E of a selection that keeps to all limits; None if there is none."""
    records = len(rows)
    taken = np.zeros(records, bool) if limits.given is None else np.asarray(limits.given)
    sizes = [budget] if exactly else range((records if budget is None else budget) + 1)
    found = [
        oracles.total_information(PHI, rows[[*chosen, *np.flatnonzero(taken)]].sum(axis=0))
        for size in sizes
        for chosen in itertools.combinations(range(records), size)
        if is_feasible(chosen, budget, limits, records)
    ]
    return max(found, default=None)


@st.composite
def problems(draw: st.DrawFn, shape: Shape, kind: str) -> tuple[Case, int | None, Constraints]:
    """A pool with a budget and constraints, which may be impossible to keep."""
    case, records = draw(cases(shape, structures=1)), shape.records
    each = st.lists(st.sampled_from([0, 1, 1, 2, 3, 5, 20]), min_size=records, max_size=records)
    costs = np.array(draw(each), np.int32) if kind != "records" else None
    most = None if costs is None else draw(st.integers(0, 12))
    budget = draw(st.integers(0, records)) if kind in ("records", "both") else None
    quotas = None
    if kind != "costs":
        number = st.integers(0, 3)
        groups = np.array(draw(st.lists(number, min_size=records, max_size=records)), np.int32)
        minima = np.array(draw(st.lists(st.integers(0, 2), min_size=4, max_size=4)), np.int32)
        rooms = st.sampled_from([0, 1, 2, 6, NONE])
        more = draw(st.lists(rooms, min_size=4, max_size=4))
        maxima = np.array([NONE if r == NONE else m + r for m, r in zip(minima, more, strict=True)])
        quotas = Quotas(groups, minima, maxima.astype(np.int32), of_costs=kind == "quotas of costs")
    held = draw(st.sampled_from([None, 0, 3, records]))
    given_records = None if held is None else np.arange(records) % max(records // 3, 1) < held
    if held == records and draw(st.booleans()):
        given_records = None
    return case, budget, Constraints(costs, most, quotas, given_records)


KINDS = ("records", "costs", "records and costs", "both", "quotas of costs")


def select_wide(case: Case, budget, limits: Constraints, gain=mig_jax.EXACT, **options):
    with jax.enable_x64(True):
        measure = mig_jax.Measure(OURS, case.alpha)
        pool, graph, measure = to_float64((case.pool, case.graph, measure))
        return mig_jax.select(
            pool, graph, budget, constraints=limits, measure=measure, gain=gain, **options
        )


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data(), gain=st.sampled_from(list(mig_jax.GAIN_RULES)))
@settings(max_examples=40)
def test_selections_are_feasible_good_and_those_of_the_loop(kind, data, gain):
    case, budget, limits = data.draw(problems(TINY, kind))
    rows, records = case.rows, TINY.records
    try:
        found = select_wide(case, budget, limits, mig_jax.GAIN_RULES[gain])
    except InfeasibleError:
        if kind != "quotas of costs":  # Its conditions are sufficient ones.
            exactly = limits.most_cost is None
            assert best_of_all(rows, budget, limits, exactly) is None
        return
    except ValueError as error:
        assert "the budget must be in 0 to" in str(error)  # noqa: PT017
        return
    assert is_feasible(found.picks.tolist(), budget, limits, records)
    of_costs = limits.most_cost is not None
    assert of_costs or len(found) == budget
    own, held = greedy(rows, budget, limits, found.rates, gain)
    assert found.picks.tolist() == own
    np.testing.assert_allclose(found.information, held, rtol=1e-9, atol=1e-12)
    if found.rates is not None:  # No pass that any selection makes is better.
        groups = 1 if limits.quotas is None else limits.quotas.num_groups
        for other in (by_cost(groups), by_gain(groups)):
            assert held >= greedy(rows, budget, limits, other, gain)[1] * (1 - 1e-9)
    best = best_of_all(rows, budget, limits, not of_costs)
    assert found.information <= best * (1 + 1e-9)
    gained, before = best - found.given_information, found.given_information
    if gain == "exact" and kind == "costs":
        assert found.information - before >= (1 - 1 / math.e) / 2 * gained - 1e-9
    if gain == "exact" and kind == "records" and not limits.quotas.minima.any():
        assert found.information - before >= gained / 2 - 1e-9


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data(), gain=st.sampled_from(list(mig_jax.GAIN_RULES)))
@settings(max_examples=25)
def test_lazy_equals_full_scan(kind, data, gain):
    case, budget, limits = data.draw(problems(SMALL, kind))
    area, chunk = data.draw(st.sampled_from([(8, 24), (16, 7)]))
    try:
        limited = limits_of(case.pool, budget, limits)
    except ValueError:
        return
    rule, measure = mig_jax.GAIN_RULES[gain], mig_jax.Measure(OURS, case.alpha)
    order = np.random.default_rng(area).uniform(size=SMALL.records)
    layout = lay_out_pages(case.pool, case.graph, priority=order, area=area)
    pages = fill_pages(layout, case.pool, case.graph, measure)
    pages = with_empty_pages(pages, pages_at_most(case, layout.area))
    place = np.minimum(np.asarray(pages.records), SMALL.records)
    columns = {
        name: None if values is None else jnp.asarray(np.append(values, np.int32(0))[place])
        for name, values in (("costs", limited.costs), ("groups", limited.groups))
    }
    taken = np.append(np.zeros(SMALL.records, bool), False)
    if limited.taken is not None:
        taken[:-1] = limited.taken
    records = jnp.where(taken[place], np.int32(NO_MAXIMUM), pages.records)
    pages = dataclasses.replace(pages, records=records, **columns)
    groups = len(limited.start.due)
    prices = np.array(data.draw(st.lists(st.floats(0, 9), min_size=groups, max_size=groups)))
    rates = [by_cost(groups), by_gain(groups), rates_of_prices(prices, prices[::-1], 20)]
    left = dataclasses.replace(limited.start, rates=data.draw(st.sampled_from(rates)))
    found = []
    some = SetSize(3, 7, 8, full=gain == "linear")
    for way, size in ((full_scan_greedy, None), (lazy_greedy, None), (lazy_greedy, some)):
        z = jnp.zeros(case.num_labels)
        state = initial_state(rule, measure, pages, z, left=left, size=size)
        picks: list[int] = []
        most = jnp.int32(limited.most_picks)
        for _ in range(0, SMALL.records + chunk, chunk):
            state, chosen = way(rule, measure, pages, state, most, chunk)
            picks += [int(record) for record in chosen.records if record >= 0]
        found.append((picks, np.asarray(state.z).tobytes()))
    assert found[0] == found[1] == found[2]


CASE = random_case(3, 300, labels=40, edges=80)
RNG = np.random.default_rng(0)
COSTS = RNG.integers(0, 50, 300).astype(np.int32)
GROUPS = RNG.integers(0, 3, 300).astype(np.int32)
GIVEN = np.arange(300) % 15 == 0
QUOTAS = Quotas(GROUPS, np.array([3, 0, 5], np.int32), np.array([10, 4, NONE], np.int32))
OF_COSTS = Quotas(
    GROUPS, np.array([100, 0, 50], np.int32), np.array([400, 90, NONE], np.int32), of_costs=True
)
LARGER = {
    "quotas": (30, Constraints(quotas=QUOTAS)),
    "costs and given": (None, Constraints(COSTS, 600, given=GIVEN)),
    "both budgets and quotas": (25, Constraints(COSTS, 600, QUOTAS)),
    "quotas of costs": (None, Constraints(COSTS, 600, OF_COSTS, GIVEN)),
    "given": (30, Constraints(given=GIVEN)),
}


def assert_same(found, expected) -> None:
    for part in PARTS:
        a, b = (np.asarray(getattr(one, part)) for one in (found, expected))
        assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes()), part


@pytest.mark.parametrize("kind", LARGER)
def test_chunks_areas_devices_and_every_cut_give_the_same_bits(kind):
    budget, limits = LARGER[kind]
    # Each rule by half of the kinds, as every program is compiled for its own.
    gain = mig_jax.LINEAR if "quotas" in kind else mig_jax.EXACT
    options = {"constraints": limits, "gain": gain}
    pool, graph, seen = CASE.pool, CASE.graph, []
    whole = mig_jax.select(pool, graph, budget, **options)
    assert is_feasible(whole.picks.tolist(), budget, limits, 300)
    chunked = mig_jax.select(pool, graph, budget, chunk=16, on_chunk=seen.append, **options)
    assert_same(chunked, whole)
    for progress in seen:
        again = mig_jax.select(pool, graph, budget, chunk=16, resume=progress, **options)
        assert_same(again, whole)
    if jax.device_count() < 8:
        return
    mesh = pool_mesh(4)
    options["mesh"] = mesh
    if "given" in kind or "both" in kind:
        options["working_set"] = SetSize(2, 12, 64)
    options["pages"] = mig_jax.lay_out(
        pool, graph, mig_jax.Measure(), budget, constraints=limits, area=64, mesh=mesh
    )
    for resume in (None, seen[0], seen[-1]):
        sharded = mig_jax.select(pool, graph, budget, chunk=16, resume=resume, **options)
        assert_same(sharded, whole)


def test_a_second_pass_that_may_win_is_finished_and_resumed():
    """One dear record is worth more than all that fits beside the cheap one."""
    lists = [[0], [1], *[[2]] * 40]
    pool = mig_jax.pool_from_label_lists(lists, [1.0, 9.0, *[0.01] * 40])
    graph = mig_jax.label_graph_from_edges(3)
    limits = Constraints(np.array([1, 50, *[1] * 40], np.int32), 50)
    seen: list[mig_jax.Progress] = []
    whole = mig_jax.select(pool, graph, None, constraints=limits, chunk=8, on_chunk=seen.append)
    assert (whole.picks.tolist(), whole.rates.told()) == ([1], by_gain(1).told())
    assert seen[-1].finished == 41
    for progress in seen:
        again = mig_jax.select(pool, graph, None, constraints=limits, chunk=8, resume=progress)
        assert_same(again, whole)


def test_a_pass_by_prices_uses_both_budgets():
    """By gain over cost the cheapest records fill N; by gain T is used up by a few."""
    rng = np.random.default_rng(1)
    costs = np.exp(rng.normal(3, 1.2, 300)).astype(np.int32) + 1
    scores = CASE.pool.scores * costs**0.7  # Dear records bring more.
    pool = dataclasses.replace(CASE.pool, scores=scores.astype(np.float32))
    limits, budget = Constraints(costs, 1500), 40
    found = mig_jax.select(pool, CASE.graph, budget, constraints=limits)
    assert found.rates.has_costs
    assert found.rates.records.any()
    assert len(found) == budget
    assert 1350 < costs[found.picks].sum() <= 1500
    measure = mig_jax.Measure()
    proven = mig_jax.certify(
        pool, CASE.graph, measure, found.picks, budget=budget, constraints=limits
    )
    assert proven.certified_ratio > 0.97
    cheap = mig_jax.select(pool, CASE.graph, None, constraints=limits)
    assert cheap.increases[:budget].sum() < 0.9 * found.information
    dear = mig_jax.select(pool, CASE.graph, budget)
    fitting = np.cumsum(costs[dear.picks]) <= 1500
    assert dear.increases[fitting].sum() < 0.9 * found.information


@pytest.mark.parametrize("kind", LARGER)
def test_cells_of_a_grid_pick_what_select_picks(kind):
    budget, limits = LARGER[kind]
    batch_size = 1 + kind.startswith("both")
    cells = [
        Cell(mig_jax.Measure(mig_jax.Power(exponent), alpha), threshold)
        for exponent, alpha, threshold in ((0.8, 1.0, 0.5), (0.3, 0.3, 0.75))
    ]
    found = select_grid(
        CASE.pool,
        CASE.graph,
        stack_cells(cells),
        budget,
        constraints=limits,
        batch_size=batch_size,
    )
    for number, cell in enumerate(cells):
        kept = [e for e in CASE.edges if np.float32(e[2]) >= np.float32(cell.threshold)]
        graph = mig_jax.label_graph_from_edges(CASE.num_labels, kept)
        alone = mig_jax.select(CASE.pool, graph, budget, constraints=limits, measure=cell.measure)
        for part in ("picks", "gains", "increases"):
            ours = np.asarray(getattr(found, part)[number])
            np.testing.assert_array_equal(ours[: len(alone)], getattr(alone, part), part)
            assert np.all(ours[len(alone) :] == (-1 if part == "picks" else 0))
        np.testing.assert_allclose(found.information[number], alone.information, rtol=1e-5)


def test_without_constraints_that_say_anything_picks_stay_as_they_are():
    plain = mig_jax.select(CASE.pool, CASE.graph, 60)
    for limits in (
        Constraints(COSTS),
        Constraints(COSTS, 10**6),
        Constraints(given=np.zeros(300, bool)),
        Constraints(quotas=Quotas(GROUPS, np.zeros(3, np.int32), np.full(3, NONE, np.int32))),
    ):
        found = mig_jax.select(CASE.pool, CASE.graph, 60, constraints=limits)
        assert found.rates is None or not found.rates.has_costs
        np.testing.assert_array_equal(found.picks, plain.picks)
        np.testing.assert_array_equal(found.gains, plain.gains)


def test_given_records_count_in_z_and_are_not_picked():
    found = mig_jax.select(CASE.pool, CASE.graph, 40, constraints=Constraints(given=GIVEN))
    assert not GIVEN[found.picks].any()
    z = given_information(CASE.pool, CASE.graph, mig_jax.Measure(), GIVEN)
    np.testing.assert_allclose(z, CASE.rows[GIVEN].sum(axis=0), rtol=1e-6)
    held = oracles.total_information(PHI, CASE.rows[GIVEN].sum(axis=0))
    np.testing.assert_allclose(found.given_information, held, rtol=1e-5)
    both = CASE.rows[GIVEN].sum(axis=0) + CASE.rows[found.picks].sum(axis=0)
    np.testing.assert_allclose(found.information, oracles.total_information(PHI, both), rtol=1e-5)
    everything = Constraints(given=np.ones(300, bool))
    assert len(mig_jax.select(CASE.pool, CASE.graph, 0, constraints=everything)) == 0
    with pytest.raises(ValueError, match="0 to 0, got 1"):
        mig_jax.select(CASE.pool, CASE.graph, 1, constraints=everything)


def test_numbers_beyond_float32_and_constraints():
    big = dataclasses.replace(CASE, scores=[score * 2.0**110 for score in CASE.scores])
    for budget, limits in LARGER.values():
        found = mig_jax.select(big.pool, big.graph, budget, constraints=limits)
        assert found.z.dtype == np.float64
        assert is_feasible(found.picks.tolist(), budget, limits, 300)
        near = mig_jax.select(CASE.pool, CASE.graph, budget, constraints=limits)
        assert abs(len(found) - len(near)) <= len(near) // 4 + 1


QUOTAS_OF = {  # Minima, maxima, budget of records, of costs, then the group and amounts told.
    "too few candidates": ([5, 0], [9, 9], 6, None, (0, 5, 2)),
    "crossed": ([2, 0], [1, 9], 4, None, (0, 2, 1)),
    "minima over the budget": ([2, 2], [9, 9], 3, None, (None, 4, 3)),
    "maxima under the budget": ([0, 0], [1, 2], 4, None, (None, 4, 3)),
    "minima too dear": ([2, 2], [9, 9], None, 13, (None, 14, 13)),
}


@pytest.mark.parametrize(
    ("minima", "maxima", "budget", "most", "told"), QUOTAS_OF.values(), ids=QUOTAS_OF
)
def test_what_is_missing_is_told_at_the_start(minima, maxima, budget, most, told):
    pool = mig_jax.pool_from_label_lists([[0]] * 6, [1.0] * 6)
    graph = mig_jax.label_graph_from_edges(1)
    costs = None if most is None else np.array([4, 5, 3, 2, 8, 9], np.int32)
    quotas = Quotas(np.array([0, 0, 1, 1, 1, 1], np.int32), np.array(minima), np.array(maxima))
    with pytest.raises(InfeasibleError) as caught:
        mig_jax.select(pool, graph, budget, constraints=Constraints(costs, most, quotas))
    error = caught.value
    assert (error.group, error.asked, error.found) == told
    assert ("code" in error.told(["code", "chat"], "tokens")) == (error.group == 0)
    if most is not None:  # Just enough.
        found = mig_jax.select(pool, graph, None, constraints=Constraints(costs, 14, quotas))
        assert sorted(found.picks.tolist()) == [0, 1, 2, 3]


def test_numbers_out_of_range_are_refused():
    pool = mig_jax.pool_from_label_lists([[0]] * 2, [1.0] * 2)
    graph = mig_jax.label_graph_from_edges(1)
    few = np.array([1, 2], np.int32)
    of_costs = Quotas(np.zeros(2, np.int32), few[:1], few[1:], of_costs=True)
    wrong = [
        (None, Constraints(), "expected a budget of records, or of costs"),
        (None, Constraints(quotas=Quotas(few - 1, few, few)), "of records, or of costs"),
        (None, Constraints(-few, 3), "costs must be in 0 to"),
        (None, Constraints(few.astype(np.int64) << 31, 3), "costs must be in 0 to"),
        (None, Constraints(few, 2**31), "most_cost must be in 0 to"),
        (None, Constraints(few, -1), "most_cost must be in 0 to"),
        (1, Constraints(quotas=Quotas(few, few, few)), "groups must be in 0 to 1, got 2"),
        (1, Constraints(quotas=Quotas(few - 1, -few, few)), "minima must be in 0 to"),
        (1, Constraints(few, 3, of_costs), "minima of costs beside a budget of records"),
    ]
    for budget, limits, told in wrong:
        with pytest.raises(ValueError, match=told):
            mig_jax.select(pool, graph, budget, constraints=limits)


def test_checkpoints_of_other_constraints_are_refused(tmp_path):
    budget, limits = LARGER["both budgets and quotas"]
    seen: list[mig_jax.Progress] = []
    whole = mig_jax.select(
        CASE.pool, CASE.graph, budget, constraints=limits, chunk=8, on_chunk=seen.append
    )
    problem = CASE.pool, CASE.graph, mig_jax.Measure(), mig_jax.EXACT

    def run(budget, limits):
        return fingerprint(*problem, budget=budget, constraints=limits)

    for number, progress in enumerate(seen):
        folder = tmp_path / str(number)
        with Checkpoints(folder, run(budget, limits)) as checkpoints:
            checkpoints.restore(budget)
            checkpoints.save(progress, now=True)
        with Checkpoints(folder, run(budget, limits)) as checkpoints:
            found = checkpoints.restore(budget)
        again = mig_jax.select(
            CASE.pool, CASE.graph, budget, constraints=limits, chunk=8, resume=found
        )
        assert_same(again, whole)
    changed = dataclasses.replace
    others = {
        "budget (25; now 26)": (26, limits),
        "budget of costs (600; now 601)": (budget, changed(limits, most_cost=601)),
        "costs": (budget, changed(limits, costs=COSTS + 1)),
        "quotas": (budget, changed(limits, quotas=OF_COSTS)),
        "given records": (budget, changed(limits, given=GIVEN)),
    }
    for part, other in others.items():
        with pytest.raises(InputError) as caught:
            Checkpoints(folder, run(*other))
        assert f"belongs to another run: {part}" in str(caught.value)
    with pytest.raises(InputError, match="belongs to another run"):
        Checkpoints(folder, run(budget, Constraints()))
    assert run(5, Constraints(given=GIVEN)) == run(50, Constraints(given=GIVEN))
