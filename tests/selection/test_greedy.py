"""Full scan and lazy selection against a NumPy float64 greedy."""

from __future__ import annotations

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mig_jax
from mig_jax.selection import (
    fill_pages,
    full_scan_greedy,
    initial_state,
    lay_out_pages,
    lazy_greedy,
    next_chunk,
)
from tests import oracles
from tests.selection.padded_pages import pages_at_most, with_empty_pages
from tests.strategies import (
    FUNCTIONS,
    SMALL,
    TIES,
    WIDE,
    Case,
    cases,
    problems,
    random_case,
    to_float64,
)

GREEDIES = {"full scan": full_scan_greedy, "lazy": lazy_greedy}


def run(greedy, case, function, gain, budget, *, wide=False, area=16, chunk=5, pages=None):
    """Picks of one greedy, in chunks, as a list; where records stand is left to chance.

    `pages` is how many there are, empty ones included.
    """
    rule = mig_jax.GAIN_RULES[gain]
    pool, graph = case.pool, case.graph
    measure = mig_jax.Measure(function, case.alpha)
    with jax.enable_x64(wide):
        if wide:
            pool, graph, measure = to_float64((pool, graph, measure))
        priority = np.random.default_rng(area).uniform(size=len(case.scores))
        layout = lay_out_pages(pool, graph, priority=priority, area=area)
        filled = fill_pages(layout, pool, graph, measure)
        count = pages_at_most(case, layout.area) if pages is None else pages
        return picks_of(greedy, rule, measure, with_empty_pages(filled, count), case, budget, chunk)


def picks_of(greedy, rule, measure, pages, case, budget, chunk):
    state = initial_state(rule, measure, pages, jnp.zeros(case.num_labels))
    picks: list[int] = []
    for _ in range(0, budget + chunk, chunk):
        state, found = greedy(rule, measure, pages, state, jnp.int32(budget), chunk)
        picks += [int(record) for record in found.records if record >= 0]
    assert int(state.count) == len(picks)
    return picks


@pytest.mark.parametrize("name", GREEDIES)
@pytest.mark.parametrize("gain", ["exact", "linear"])
@given(problem=problems(), share=st.floats(0, 1))
@settings(max_examples=80)
def test_picks_are_those_of_the_oracle_on_pools_full_of_ties(name, gain, problem, share):
    (ours, phi, derivative), case = problem
    budget = round(share * len(case.scores))
    picks = run(GREEDIES[name], case, ours, gain, budget, wide=True)
    oracles.check_greedy(picks, budget, case.rows, phi, derivative, gain, 1e-9)


@pytest.mark.parametrize("gain", ["exact", "linear"])
@pytest.mark.parametrize("case", SMALL.values(), ids=SMALL)
def test_picks_from_small_pools_are_those_of_the_oracle(case, gain):
    ours, phi, derivative = FUNCTIONS[0]
    for budget in range(len(case.scores) + 1):
        for greedy in GREEDIES.values():
            picks = run(greedy, case, ours, gain, budget, wide=True)
            oracles.check_greedy(picks, budget, case.rows, phi, derivative, gain, 1e-9)


@pytest.mark.parametrize("gain", ["exact", "linear"])
@pytest.mark.parametrize("records", [0, 1, 2, 60])
@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: type(f[0]).__name__)
def test_float32_picks_are_the_oracles_up_to_rounding(function, records, gain):
    ours, phi, derivative = function
    case = random_case(records, records)
    picks = run(lazy_greedy, case, ours, gain, records, area=64, pages=33)
    oracles.check_greedy(picks, records, case.rows, phi, derivative, gain, 1e-5)


@pytest.mark.parametrize("gain", ["exact", "linear"])
@pytest.mark.parametrize(
    ("shape", "area", "chunk", "function"),
    [
        (TIES, 4, 1, mig_jax.Power(0.8, 1e-6)),
        (WIDE, 8, 7, mig_jax.Power(0.3, 1e-2)),
        (WIDE, 16, 64, mig_jax.Exponential(0.3)),
        (TIES, 32, 1, mig_jax.Log(2.0)),
        (WIDE, 512, 7, mig_jax.Saturating(0.5)),
    ],
    ids=["ties, area 4", "wide, area 8", "wide, area 16", "ties, area 32", "wide, area 512"],
)
@given(data=st.data())
@settings(max_examples=30)
def test_lazy_equals_full_scan_for_any_area_and_chunk(shape, area, chunk, function, gain, data):
    case = data.draw(cases(shape), label="case")
    everything = shape.records
    expected = run(full_scan_greedy, case, function, gain, everything)
    assert run(lazy_greedy, case, function, gain, everything, area=area, chunk=chunk) == expected
    assert run(full_scan_greedy, case, function, gain, everything, area=area) == expected


@pytest.mark.parametrize("gain", ["exact", "linear"])
def test_lazy_equals_full_scan_on_a_larger_pool(gain):
    case = random_case(3, 3000, labels=150, edges=400)
    measure, rule = mig_jax.Measure(), mig_jax.GAIN_RULES[gain]

    def picks(greedy, area, chunk):
        pages = mig_jax.lay_out(case.pool, case.graph, measure, 400, area=area)
        return picks_of(greedy, rule, measure, pages, case, 400, chunk)

    expected = picks(full_scan_greedy, 512, 400)
    assert len(expected) == 400
    for area in (64, 512, 2048):
        assert picks(lazy_greedy, area, 100) == expected


@given(case=cases(), seed=st.integers(0, 99))
@settings(max_examples=40)
def test_order_of_records_and_labels_does_not_matter_beyond_ties(case, seed):
    rng = np.random.default_rng(seed)
    # Distinct scores: no two records are tied for good.
    scores = [1 + d / 7 + rng.uniform(0, 0.05) for d in range(len(case.scores))]
    records = rng.permutation(len(scores))
    labels = rng.permutation(case.num_labels)
    edges = [(labels[p], labels[q], w) for p, q, w in case.edges]
    straight = Case(case.label_lists, scores, case.num_labels, case.edges, case.alpha)
    shuffled = Case(
        [[int(labels[k]) for k in case.label_lists[d]] for d in records],
        [scores[d] for d in records],
        case.num_labels,
        edges,
        case.alpha,
    )
    function = mig_jax.Power(0.8, 1e-6)
    first = run(lazy_greedy, straight, function, "exact", len(scores), wide=True)
    second = run(lazy_greedy, shuffled, function, "exact", len(scores), wide=True)
    rows = case.rows
    worthless = {d for d in range(len(scores)) if not rows[d].any() and not case.label_lists[d]}
    assert [d for d in first if d not in worthless] == [
        int(records[d]) for d in second if int(records[d]) not in worthless
    ]


def test_same_picks_as_the_published_implementation():
    golden = json.loads(
        pathlib.Path(__file__).parents[1].joinpath("reference_picks.json").read_text()
    )
    lists = [record["labels"] for record in golden["records"]]
    assert golden["self_weight"] == 1.0
    assert len(golden["cases"]) == 7
    for case in golden["cases"]:
        scores = [record["score"] for record in golden["records"]]
        if case["divide_score_by_label_count"]:
            scores = [s / len(row) for s, row in zip(scores, lists, strict=True)]
        functions = {
            "pow": mig_jax.Power(case["exponent"], case["epsilon"]),
            "exp": mig_jax.Exponential(case["rate"]),
        }
        selection = mig_jax.select(
            mig_jax.pool_from_label_lists(lists, scores),
            mig_jax.label_graph_from_edges(golden["num_labels"], golden["edges"]),
            len(case["picks"]),
            measure=mig_jax.Measure(functions[case["phi"]], case["propagation"]),
            gain=mig_jax.LINEAR,
        )
        assert selection.picks.tolist() == case["picks"]


def test_no_recompilation_between_budgets(compiled):
    case = random_case(5, 51)
    mig_jax.select(case.pool, case.graph, 1, chunk=9)
    assert "jit(next_chunk)" in compiled
    compiled.clear()
    for budget in (7, 30):
        mig_jax.select(case.pool, case.graph, budget, chunk=9)
    assert not compiled


def test_a_chunk_takes_the_place_of_the_last_ones_state():
    """All of the state is updated where it stands: no chunk copies a large pool's records."""
    case, measure = random_case(5, 50), mig_jax.Measure()
    pages = mig_jax.lay_out(case.pool, case.graph, measure, 30)
    state = initial_state(mig_jax.EXACT, measure, pages, jnp.zeros(case.num_labels))
    lowered = next_chunk.lower(mig_jax.EXACT, measure, pages, state, jnp.int32(30), 10, None)
    in_place = lowered.compile().memory_analysis().alias_size_in_bytes
    assert in_place == sum(leaf.nbytes for leaf in jax.tree_util.tree_leaves(state))
    first, second = (mig_jax.select(case.pool, case.graph, 30, pages=pages) for _ in range(2))
    assert first.picks.tolist() == second.picks.tolist()  # The pages are not given away.


def test_many_measures_at_once():
    """Selection under vmap picks, for each measure, what it picks alone."""
    case = random_case(11, 80)
    pool, graph = case.pool, case.graph
    exponents, alphas = jnp.array([0.3, 0.8, 0.8]), jnp.array([1.0, 1.0, 0.25])

    def picks(exponent, alpha):
        measure = mig_jax.Measure(mig_jax.Power(exponent), alpha)
        pages = fill(measure)
        state = initial_state(mig_jax.EXACT, measure, pages, jnp.zeros(graph.num_labels))
        return lazy_greedy(mig_jax.EXACT, measure, pages, state, jnp.int32(20), 20)[1].records

    layout = lay_out_pages(pool, graph, area=32)

    def fill(measure):
        return fill_pages(layout, pool, graph, measure)

    together = jax.vmap(picks)(exponents, alphas)
    for i in range(3):
        alone = picks(exponents[i], alphas[i])
        np.testing.assert_array_equal(together[i], alone)
    assert not np.array_equal(together[0], together[1])


def test_records_without_any_label_are_picked_in_order():
    pool = mig_jax.pool_from_label_lists([[], [], []], [1.0, 2.0, 3.0])
    graph = mig_jax.label_graph_from_edges(0)
    selection = mig_jax.select(pool, graph, 2)
    assert selection.picks.tolist() == [0, 1]
    assert selection.information == 0
    assert mig_jax.certify(pool, graph, mig_jax.Measure(), selection.picks).certified_ratio == 1


@pytest.mark.parametrize("greedy", GREEDIES.values(), ids=GREEDIES)
def test_equal_records_are_picked_lowest_first_wherever_they_stand(greedy):
    """One record a page, in random order: the tie rule must hold between pages."""
    measure = mig_jax.Measure()
    for seed in range(20):
        rng = np.random.default_rng(seed)
        lists = [[int(label)] for label in rng.integers(0, 3, 32)]
        scores = rng.integers(1, 3, 32).astype(float).tolist()
        case = Case(lists, scores, 3, [], 1.0)
        layout = lay_out_pages(case.pool, case.graph, priority=rng.uniform(size=32), area=4)
        pages = fill_pages(layout, case.pool, case.graph, measure)
        state = initial_state(mig_jax.EXACT, measure, pages, jnp.zeros(3))
        _, found = greedy(mig_jax.EXACT, measure, pages, state, jnp.int32(32), 32)
        picks = found.records.tolist()
        for labels, score in {(tuple(a), b) for a, b in zip(lists, scores, strict=True)}:
            equal = [d for d in range(32) if (tuple(lists[d]), scores[d]) == (labels, score)]
            assert [d for d in picks if d in equal] == equal
