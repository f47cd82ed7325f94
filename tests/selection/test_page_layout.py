"""Where the propagated pool stands in pages, against loops over its definition."""

from __future__ import annotations

import dataclasses
import os
import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

import mig_jax
from mig_jax import selection
from mig_jax.devices import pool_mesh
from mig_jax.selection import EMPTY, PageLayout, SetSize, fill_pages, lay_out_pages
from mig_jax.synthetic import BuiltinPool
from tests import oracles
from tests.strategies import SMALL, TIES, WIDE, Case, cases, random_case


def closed_neighbourhoods(case: Case) -> list[dict[int, list[int]]]:
    """For each record the labels it reaches, the strongest first, each with its entries of A."""
    graph = case.graph
    edges = list(zip(graph.sources.tolist(), graph.targets.tolist(), strict=True))
    similarities = np.asarray(graph.similarities).tolist()
    rows = []
    for labels in case.label_lists:
        entries: dict[int, list[int]] = {}
        strength: dict[int, float] = {}
        for label in sorted(set(labels)):
            entries[label], strength[label] = [label], float("inf")
        for number, (source, target) in enumerate(edges):
            if source in labels:
                entries.setdefault(target, []).append(graph.num_labels + number)
                strength[target] = max(strength.get(target, 0.0), similarities[number])
        order = sorted(entries, key=lambda label: (-strength[label], label))
        rows.append({label: entries[label] for label in order})
    return rows


@given(case=cases(structures=None))
@example(case=SMALL["no records"])
@example(case=SMALL["no labels"])
@example(case=SMALL["equal records"])
@settings(max_examples=40)
def test_rows_are_closed_neighbourhoods_in_the_order_of_similarity(case):
    rows = selection.propagated_rows(case.pool, case.graph)
    found: list[dict[int, list[int]]] = []
    for start, length in zip(rows.starts.tolist(), rows.lengths.tolist(), strict=True):
        here = slice(start, start + length)
        entries = [[entry] for entry in rows.entries[here].tolist()]
        found.append(dict(zip(rows.labels[here].tolist(), entries, strict=True)))
        assert len(found[-1]) == length
    for extra in rows.more:
        for record, place, entry in zip(*(x.tolist() for x in extra), strict=True):
            found[record][list(found[record])[place]].append(entry)
    expected = closed_neighbourhoods(case)
    assert [list(row) for row in found] == [list(row) for row in expected]
    assert found == [{k: sorted(v) for k, v in row.items()} for row in expected]


def copies(pool: mig_jax.Pool, count: int) -> mig_jax.Pool:
    """The pool again and again: enough copies are worked on in several parts."""
    first = np.repeat(np.arange(count, dtype=np.int32) * pool.num_records, len(pool.labels))
    records = np.tile(pool.records, count) + first
    return mig_jax.Pool(np.tile(pool.labels, count), records, np.tile(pool.scores, count))


# Of the first, a part is as many records as it may have; of the second, as many labels reached.
@pytest.mark.parametrize(("shape", "count"), [(TIES, 7000), (WIDE, 10000)], ids=["ties", "wide"])
@given(data=st.data())
@settings(max_examples=4, phases=[Phase.generate])  # Shrinking so much takes minutes.
def test_rows_of_a_large_pool_are_those_of_its_parts(shape, count, data):
    case = data.draw(cases(shape, structures=None), label="case")
    rows = selection.propagated_rows(case.pool, case.graph)
    many = selection.propagated_rows(copies(case.pool, count), case.graph)
    np.testing.assert_array_equal(many.lengths, np.tile(rows.lengths, count))
    for name in ("labels", "entries"):
        ours, theirs = (getattr(found, name)[places_of(found)] for found in (many, rows))
        np.testing.assert_array_equal(ours, np.tile(theirs, count))
    assert len(many.more) == len(rows.more)
    for (records, *others), (found, *ours) in zip(rows.more, many.more, strict=True):
        first = np.repeat(np.arange(count) * shape.records, len(records))
        np.testing.assert_array_equal(found, np.tile(records, count) + first)
        for mine, theirs in zip(ours, others, strict=True):
            np.testing.assert_array_equal(mine, np.tile(theirs, count))


def places_of(rows) -> np.ndarray:
    """Where the nonzeros of all records stand, one after the other."""
    before = np.cumsum(rows.lengths) - rows.lengths
    return np.repeat(rows.starts - before, rows.lengths) + np.arange(rows.lengths.sum())


def rows_of_pages(layout: PageLayout, width_log2: int) -> np.ndarray:
    """The records of the rows of all pages of one width: [pages, rows]."""
    starts = np.asarray(layout.starts)[layout.width_log2 == width_log2]
    return np.asarray(layout.records)[starts[:, None] + np.arange(layout.area >> width_log2)]


def unpacked(layout: PageLayout, records: int) -> dict[str, np.ndarray]:
    """What a layout says of each record, wherever it stands."""
    found = {name: np.full((records, layout.area), -1) for name in ("labels", "entries")}
    for width_log2 in np.unique(layout.width_log2):
        pages = np.flatnonzero(layout.width_log2 == width_log2)
        width, rows = 1 << int(width_log2), layout.area >> int(width_log2)
        here = rows_of_pages(layout, int(width_log2))
        for name, array in found.items():
            slots = getattr(layout, name)[pages].reshape(len(pages), width, rows)
            array[here[here != EMPTY], :width] = slots.transpose(0, 2, 1)[here != EMPTY]
    for number, (page, slot, entry) in enumerate(layout.more):
        rows = layout.area >> layout.width_log2[page]
        record, place = layout.records[layout.starts[page] + slot % rows], slot // rows
        order = np.lexsort((place, record))
        found[f"extra {number}"] = np.stack([record, place, entry], axis=1)[order]
    return found


@pytest.mark.parametrize(("shape", "count"), [(TIES, 7000), (WIDE, 10000)], ids=["ties", "wide"])
@given(data=st.data(), seed=st.integers(0, 9))
@settings(max_examples=4, phases=[Phase.generate])  # Shrinking so much takes minutes.
def test_pages_of_a_large_pool_hold_the_rows_of_its_parts(shape, count, data, seed):
    case = data.draw(cases(shape, structures=None), label="case")
    records = shape.records * count
    priority = np.random.default_rng(seed).integers(0, 3, records).astype(np.float32)
    layout = lay_out_pages(copies(case.pool, count), case.graph, priority=priority, area=8)
    few = unpacked(lay_out_pages(case.pool, case.graph, area=8), shape.records)
    many = unpacked(layout, records)
    assert many.keys() == few.keys()
    for name in few:
        ours, theirs = many[name], np.tile(few[name], (count, 1))
        if name.startswith("extra"):
            theirs[:, 0] += np.repeat(np.arange(count) * shape.records, len(few[name]))
        np.testing.assert_array_equal(ours, theirs, name)
    for width_log2 in np.unique(layout.width_log2):
        stand = rows_of_pages(layout, int(width_log2))
        stand = stand[stand != EMPTY]
        np.testing.assert_array_equal(stand, stand[np.lexsort((stand, -priority[stand]))])


def test_the_host_shares_its_layout_with_its_device():
    case = random_case(3, 50)
    for area in (4, 8, 16, 32, 64, 128, 256, 512):  # By chance, some arrays are aligned.
        layout = lay_out_pages(case.pool, case.graph, area=area)
        pages = fill_pages(layout, case.pool, case.graph, mig_jax.Measure())
        for name in ("labels", "records"):
            ours, theirs = getattr(pages, name), getattr(layout, name)
            np.testing.assert_array_equal(ours, theirs)
            if jax.default_backend() == "cpu":
                assert ours.unsafe_buffer_pointer() == theirs.ctypes.data


@given(case=cases(), area=st.sampled_from([4, 64]))
@example(case=SMALL["no records"], area=4)
@example(case=SMALL["one record"], area=64)
@example(case=SMALL["no labels"], area=4)
@settings(max_examples=30)
def test_pages_hold_every_propagated_row(case, area):
    layout = lay_out_pages(case.pool, case.graph, area=area)
    measure = mig_jax.Measure(propagation=case.alpha)
    pages = jax.device_get(fill_pages(layout, case.pool, case.graph, measure))
    rows = np.zeros((len(case.scores), case.num_labels))
    seen = []
    for page in range(pages.num_pages):
        page_area = pages.labels.shape[1]
        per_page = page_area >> int(pages.width_log2[page])
        for row in range(per_page):
            record = int(pages.records[pages.starts[page] + row])
            if record == EMPTY:
                continue
            seen.append(record)
            slots = np.arange(row, page_area, per_page)
            np.add.at(rows[record], pages.labels[page, slots], pages.values[page, slots])
    assert sorted(seen) == list(range(len(case.scores)))
    np.testing.assert_allclose(rows, case.rows, rtol=1e-5)


@pytest.mark.parametrize("devices", [None, 1, 4])
@pytest.mark.parametrize("area", [32, 64])
def test_a_page_has_its_own_rows_and_no_others(area, devices):
    """Of all widths, the widest last: as an array of the most rows, it ends behind the pool's."""
    if devices is not None and jax.device_count() < devices:
        pytest.skip(f"needs {devices} (virtual) devices")
    rng = np.random.default_rng(area)
    lists = [list(range(n)) for n in rng.choice([1, 5, 9, 17, 32], 90)]
    pool, graph = (
        mig_jax.pool_from_label_lists(lists, [1.0] * 90),
        mig_jax.label_graph_from_edges(32),
    )
    mesh = None if devices is None else pool_mesh(devices)
    pages = mig_jax.lay_out(pool, graph, mig_jax.Measure(), 9, area=area, mesh=mesh)
    # Without a mesh, all pages are one shard.
    leaves, structure = jax.tree_util.tree_flatten(pages)
    count = devices or 1
    parts = zip(*(np.split(np.asarray(leaf), count) for leaf in leaves), strict=True)
    seen: list[int] = []
    for shard in map(structure.unflatten, parts):
        shard = jax.tree_util.tree_map(jnp.asarray, shard)
        places = np.arange(len(shard.records), dtype=np.int32)
        together = dataclasses.replace(shard, costs=places).together(shard.records)
        assert together.records.shape == (shard.num_pages, area // 4)
        for page, (records, costs) in enumerate(
            zip(np.asarray(together.records), np.asarray(together.costs), strict=True)
        ):
            start, rows = int(shard.starts[page]), area >> int(shard.width_log2[page])
            np.testing.assert_array_equal(records[:rows], shard.records[start : start + rows])
            np.testing.assert_array_equal(costs[:rows], start + np.arange(rows))
            assert np.all(records[rows:] == EMPTY)
            assert not costs[rows:].any()
            seen += records[records != EMPTY].tolist()
    assert sorted(seen) == list(range(90))


WAYS = {
    "pages": {},
    "set": {"working_set": SetSize(2, 4, 4)},
    "set, full form": {"working_set": SetSize(2, 4, 4, full=True)},
}


@pytest.mark.parametrize(
    ("num_labels", "way", "devices"),
    [
        (1 << 16, "pages", None),
        ((1 << 16) + 1, "pages", None),
        (70_000, "set", None),
        (70_000, "set, full form", None),
        (70_000, "set", 2),
    ],
)
def test_no_label_is_taken_for_another(num_labels, way, devices):
    """With one label more than 16 bits name, the last would be the first, were they 16 bits."""
    if devices is not None and jax.device_count() < devices:
        pytest.skip(f"needs {devices} (virtual) devices")
    last = num_labels - 1
    lists = [[0], [last], [last % (1 << 16)], [last, 1], [0, 1], [last]]
    scores = [4.0, 3.5, 3.0, 2.5, 2.0, 1.5]
    graph = mig_jax.label_graph_from_edges(num_labels)
    pool = mig_jax.pool_from_label_lists(lists, scores)
    mesh = None if devices is None else pool_mesh(devices)
    found = mig_jax.select(
        pool, graph, 6, measure=mig_jax.Measure(mig_jax.Log()), mesh=mesh, **WAYS[way]
    )
    z = np.zeros(num_labels)
    for pick, gain in zip(found.picks.tolist(), found.gains.tolist(), strict=True):
        before = np.log1p(z).sum()
        for label in set(lists[pick]):
            z[label] += scores[pick]
        np.testing.assert_allclose(gain, np.log1p(z).sum() - before, rtol=1e-5)
    np.testing.assert_allclose(found.z, z, rtol=1e-6)
    assert lay_out_pages(pool, graph).labels.itemsize == (2 if num_labels <= 1 << 16 else 4)


def test_a_record_needs_no_more_than_130_bytes_of_a_device():
    """Of the generated pool, at a threshold that gives a record 20 slots."""
    generated = BuiltinPool(100_000)
    pool = mig_jax.pool_from_table(generated.table())
    assert 3.3 < len(pool.labels) / pool.num_records < 3.5
    graph = mig_jax.label_graph_from_embeddings(generated.label_embeddings()[1], 0.87)
    pages = fill_pages(lay_out_pages(pool, graph), pool, graph, mig_jax.Measure())
    assert 19.5 < 1000 * pages.num_pages / pool.num_records < 20
    z = np.zeros(graph.num_labels, np.float32)
    state = jax.eval_shape(
        lambda pages: selection.initial_state(mig_jax.EXACT, mig_jax.Measure(), pages, z), pages
    )
    leaves = jax.tree_util.tree_leaves((pages, state))
    assert sum(leaf.size * leaf.dtype.itemsize for leaf in leaves) <= 130 * pool.num_records


def test_laying_out_needs_little_memory_beside_the_pages(monkeypatch):
    """NumPy's arrays at most, where a record reaches 23 labels in 36 ways; and the same bits."""
    # A core has some 10 MB of its own, which would count more with more of them.
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    generated = BuiltinPool(100_000)
    pool = mig_jax.pool_from_table(generated.table())
    graph = mig_jax.label_graph_from_embeddings(generated.label_embeddings()[1], 0.65)
    measure = mig_jax.Measure(propagation=0.7)
    tracemalloc.start()
    try:
        pages = mig_jax.lay_out(pool, graph, measure, 500)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 30 < pages.labels.size / pool.num_records < 32
    # Found are 430, a part of them of compilation; with all slots written at once it is 900.
    assert most <= 550 * pool.num_records
    # Many parts were filled, each with extras in several batches: as all at once.
    priority = selection.page_priority(pool, graph, measure, 500)
    layout = lay_out_pages(pool, graph, priority=priority)
    leaves = map(jax.tree_util.tree_leaves, (pages, fill_pages(layout, pool, graph, measure)))
    for ours, theirs in zip(*leaves, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_record_with_very_many_labels_gets_a_wider_page():
    case = Case([list(range(700)), [3]], [1.0, 2.0], 700, [], 1.0)
    selection = mig_jax.select(case.pool, case.graph, 2)
    assert selection.picks.tolist() == [0, 1]
    np.testing.assert_allclose(
        selection.information,
        oracles.total_information(oracles.power(0.8, 1e-6), case.rows.sum(axis=0)),
        rtol=1e-5,
    )
