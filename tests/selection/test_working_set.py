"""Picks from a working set are those from all pages, bit for bit, whatever its size and form."""

from __future__ import annotations

import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mig_jax
from mig_jax.devices import pool_mesh
from mig_jax.selection import (
    Cell,
    SetSize,
    fill_pages,
    full_scan_greedy,
    initial_state,
    lay_out_pages,
    lazy_greedy,
    next_chunk,
    select_grid,
    set_size,
    stack_cells,
)
from tests.selection.padded_pages import pages_at_most, with_empty_pages
from tests.strategies import TIES, WIDE, Case, Shape, cases, random_case

# Each with one rule, as every program is compiled for its own.
SIZES = {
    "one row of one page": (SetSize(1, 1, 16), "linear"),
    "narrow rows alone": (SetSize(2, 3, 4), "exact"),
    "some": (SetSize(3, 6, 16), "linear"),
    "everything": (SetSize(512, 1024, 16), "exact"),
    "full form": (SetSize(3, 6, 16, full=True), "exact"),
    "full form, narrow rows alone": (SetSize(2, 9, 4, full=True), "linear"),
}
SMALL = SetSize(4, 24, 32)


def picked(rule, measure, pages, num_labels, budget, chunk, *, z=None, size=None, mesh=None):
    """What is picked in chunks: records, gains, increases, z, and the pages read."""
    z = jnp.zeros(num_labels) if z is None else z
    state = initial_state(rule, measure, pages, z, mesh, size=size)
    found = []
    for _ in range(0, budget, chunk):
        state, picks = lazy_greedy(rule, measure, pages, state, jnp.int32(budget), chunk, mesh)
        found.append(jax.device_get(picks))
    together = jax.tree_util.tree_map(lambda *parts: np.concatenate(parts)[:budget], *found)
    assert int(state.count) == np.count_nonzero(together.records >= 0)
    read, of_picks = together.pages_read, together._replace(pages_read=None)
    return of_picks, np.asarray(state.z), int(read.sum())


@pytest.mark.parametrize(("size", "gain"), SIZES.values(), ids=SIZES)
@given(data=st.data())
@settings(max_examples=30)
def test_any_size_picks_what_pages_and_a_full_scan_do(size, gain, data):
    shape, area, chunk = (TIES, 8, 7) if gain == "exact" else (WIDE, 16, 64)
    case = data.draw(cases(shape), label="case")
    rule, measure = mig_jax.GAIN_RULES[gain], mig_jax.Measure(mig_jax.Log(2.0), case.alpha)
    order = np.random.default_rng(area).uniform(size=shape.records)
    layout = lay_out_pages(case.pool, case.graph, priority=order, area=area)
    pages = fill_pages(layout, case.pool, case.graph, measure)
    pages = with_empty_pages(pages, pages_at_most(case, layout.area))
    everything = shape.records
    with_set = picked(rule, measure, pages, case.num_labels, everything, chunk, size=size)
    by_pages = picked(rule, measure, pages, case.num_labels, everything, chunk)
    chex.assert_trees_all_equal(with_set[:2], by_pages[:2])
    state = initial_state(rule, measure, pages, jnp.zeros(case.num_labels))
    _, scanned = full_scan_greedy(rule, measure, pages, state, jnp.int32(everything), everything)
    assert with_set[0].records.tolist() == scanned.records.tolist()


LARGE = random_case(3, 3000, labels=150, edges=400)


@pytest.mark.parametrize("full", [False, True], ids=["lazy", "full"])
@pytest.mark.parametrize("gain", ["exact", "linear"])
def test_a_larger_pool_whatever_is_held_before(gain, full):
    measure, rule = mig_jax.Measure(), mig_jax.GAIN_RULES[gain]
    pages = mig_jax.lay_out(LARGE.pool, LARGE.graph, measure, 400, area=64)
    z = jnp.asarray(np.random.default_rng(0).exponential(size=150), jnp.float32)
    expected = picked(rule, measure, pages, 150, 400, 400, z=z)
    found = picked(rule, measure, pages, 150, 400, 90, z=z, size=SetSize(16, 32, 64, full))
    chex.assert_trees_all_equal(found[:2], expected[:2])


def test_under_float64():
    measure, rule = mig_jax.Measure(), mig_jax.EXACT
    with jax.enable_x64(True):
        pages = mig_jax.lay_out(LARGE.pool, LARGE.graph, measure, 100, area=64)
        pages = jax.tree_util.tree_map(jnp.asarray, pages)
        z = jnp.zeros(150, pages.values.dtype)
        expected = picked(rule, measure, pages, 150, 100, 100, z=z)
        found = picked(rule, measure, pages, 150, 100, 40, z=z, size=SMALL)
    chex.assert_trees_all_equal(found[:2], expected[:2])


@pytest.mark.skipif(jax.device_count() < 8, reason="needs 8 (virtual) devices")
@pytest.mark.parametrize(
    ("devices", "gain", "size"),
    [
        (2, "exact", SetSize(2, 5, 16)),
        (4, "linear", SetSize(1, 3, 16)),
        (8, "exact", SetSize(512, 1024, 16, full=True)),  # More devices than pages.
        (8, "linear", SetSize(3, 2, 4)),
    ],
)
@given(data=st.data())
@settings(max_examples=12)
def test_devices_share_a_set(devices, gain, size, data):
    case = data.draw(cases(Shape(40, 4, 70, 0)), label="case")
    rule, measure = mig_jax.GAIN_RULES[gain], mig_jax.Measure(mig_jax.Saturating(0.5))
    budget, mesh = 39, pool_mesh(devices)
    alone, apart = (
        mig_jax.lay_out(case.pool, case.graph, measure, budget, area=8, mesh=of)
        for of in (None, mesh)
    )
    expected = picked(rule, measure, alone, case.num_labels, budget, 40)
    found = picked(rule, measure, apart, case.num_labels, budget, 20, size=size, mesh=mesh)
    chex.assert_trees_all_equal(found[:2], expected[:2])


@pytest.mark.skipif(jax.device_count() < 8, reason="needs 8 (virtual) devices")
@pytest.mark.parametrize("gain", ["exact", "linear"])
def test_a_selection_stopped_within_a_set_goes_on_anywhere(gain):
    """On one device, on four, with a set and without: the bits are those of pages alone."""
    rule = mig_jax.GAIN_RULES[gain]
    pool, graph = LARGE.pool, LARGE.graph
    straight = mig_jax.select(pool, graph, 600, gain=rule, chunk=64)
    ways = [
        {"working_set": SetSize(8, 128, 32)},
        {"mesh": pool_mesh(4), "working_set": SetSize(2, 64, 32)},
        {},
        {"working_set": SetSize(8, 128, 32, full=True)},
    ]
    resume = None
    for budget, way in zip((150, 300, 450, 600), ways, strict=True):
        seen: list[mig_jax.Progress] = []
        selection = mig_jax.select(
            pool, graph, budget, gain=rule, resume=resume, chunk=64, on_chunk=seen.append, **way
        )
        resume = seen[-1]
    for name in ("picks", "gains", "increases", "z"):
        np.testing.assert_array_equal(getattr(selection, name), getattr(straight, name), name)


def test_a_grid_picks_with_sets_what_it_picks_without():
    case = random_case(7, 200, labels=40, edges=90)
    cells = stack_cells(
        [Cell(mig_jax.Measure(mig_jax.Power(e), a)) for e, a in ((0.3, 1.0), (0.8, 0.25))]
    )
    alone = select_grid(case.pool, case.graph, cells, 60)
    for size, batch in ((SMALL, 1), (SetSize(4, 24, 32, full=True), 2)):
        found = select_grid(case.pool, case.graph, cells, 60, working_set=size, batch_size=batch)
        for name in ("picks", "gains", "increases", "information"):
            np.testing.assert_array_equal(getattr(found, name), getattr(alone, name), name)


def test_every_page_read_for_a_set_is_told_of():
    """Of a pool of which one set holds all: its pages are read once, and no other."""
    measure = mig_jax.Measure()
    pages = mig_jax.lay_out(LARGE.pool, LARGE.graph, measure, 400, area=64)
    size = SetSize(pages.num_pages, 4096, 64)
    for chunk in (1, 30, 100):
        *_, read = picked(mig_jax.EXACT, measure, pages, 150, 100, chunk, size=size)
        assert read == pages.num_pages


def test_a_set_saves_reading_pages():
    measure = mig_jax.Measure()
    pages = mig_jax.lay_out(LARGE.pool, LARGE.graph, measure, 800, area=256)
    *_, without = picked(mig_jax.EXACT, measure, pages, 150, 800, 800)
    *_, read = picked(mig_jax.EXACT, measure, pages, 150, 800, 800, size=SetSize(96, 128, 64))
    assert read < without / 2


def test_ties_without_end_are_searched_page_by_page():
    """Few distinct rows: a set gives few picks, and so ever fewer sets are taken."""
    rng = np.random.default_rng(0)
    lists = [[int(label)] for label in rng.integers(0, 20, 4000)]
    case = Case(lists, rng.integers(1, 3, 4000).astype(float).tolist(), 20, [], 1.0)
    measure = mig_jax.Measure()
    pages = mig_jax.lay_out(case.pool, case.graph, measure, 1000, area=64)
    alone, z, without = picked(mig_jax.EXACT, measure, pages, 20, 1000, 1000)
    found, with_set, read = picked(
        mig_jax.EXACT, measure, pages, 20, 1000, 250, size=SetSize(64, 64, 16)
    )
    chex.assert_trees_all_equal((found, with_set), (alone, z))
    assert read < 1.5 * without


def test_a_set_is_taken_where_it_pays_and_is_as_wide_as_the_rows():
    pages = mig_jax.lay_out(LARGE.pool, LARGE.graph, mig_jax.Measure(), 400)
    assert set_size(pages, 100, full=False) is None
    size = set_size(pages, 10_000, full=False)
    assert size is not None
    assert size.width == 1 << int(np.max(pages.width_log2))
    assert set_size(pages, 1, full=True) == SetSize(size.pages, size.rows, size.width, full=True)
    wide = mig_jax.pool_from_label_lists([list(range(700)), [1]], [1.0, 1.0])
    pages = mig_jax.lay_out(wide, mig_jax.label_graph_from_edges(700), mig_jax.Measure(), 1)
    size = set_size(pages, 10_000, full=False)
    assert size is not None
    assert size.width == 256


@pytest.mark.parametrize("sizes", [(0, 1, 4), (1, 0, 4), (1, 1, 2), (1, 1, 12), (1, 1, 0)])
def test_what_cannot_be_a_set_is_an_error(sizes):
    with pytest.raises(ValueError, match="at least"):
        SetSize(*sizes)


def test_a_set_of_pages_that_are_traced_is_as_wide_as_a_page():
    pages = mig_jax.lay_out(LARGE.pool, LARGE.graph, mig_jax.Measure(), 400, area=128)
    sizes = []
    jax.jit(lambda pages: sizes.append(set_size(pages, 10_000, full=False)))(pages)
    assert [size.width for size in sizes] == [128]


def test_a_full_scan_takes_no_set():
    measure = mig_jax.Measure()
    pages = mig_jax.lay_out(LARGE.pool, LARGE.graph, measure, 400)
    state = initial_state(mig_jax.EXACT, measure, pages, jnp.zeros(150), size=SMALL)
    with pytest.raises(ValueError, match="without a working set"):
        full_scan_greedy(mig_jax.EXACT, measure, pages, state, jnp.int32(1), 1)


def test_no_chunk_copies_what_grows_with_the_pool():
    measure = mig_jax.Measure()
    pages = mig_jax.lay_out(LARGE.pool, LARGE.graph, measure, 400, area=64)
    state = initial_state(mig_jax.EXACT, measure, pages, jnp.zeros(150), size=SMALL)
    lowered = next_chunk.lower(mig_jax.EXACT, measure, pages, state, jnp.int32(30), 10, None)
    compiled = lowered.compile()
    in_place = compiled.memory_analysis().alias_size_in_bytes
    assert in_place == sum(leaf.nbytes for leaf in jax.tree_util.tree_leaves(state))
    shapes = {",".join(map(str, np.shape(leaf))) for leaf in (state.records, pages.values)}
    copies = re.findall(r"\w+\[([\d,]+)\]\S* copy\(", compiled.as_text())
    assert not shapes & set(copies)
