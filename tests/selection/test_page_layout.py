"""Where the propagated pool stands in pages, against loops over its definition."""

from __future__ import annotations

from unittest import mock

import jax
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import mig_jax
from mig_jax import selection
from mig_jax.selection import EMPTY, _page_layout, _propagated_rows, fill_pages, lay_out_pages
from tests import oracles
from tests.strategies import Case, cases, random_case


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


def tiny_chunks():
    """A few contributions at once, and a page a block: many chunks of a small pool."""
    return (
        mock.patch.multiple(_propagated_rows, _RECORDS_LOG2=1, _CONTRIBUTIONS_LOG2=2),
        mock.patch.object(_page_layout, "_SLOTS_A_BLOCK", 1),
    )


@given(case=cases(), chunked=st.booleans())
@settings(max_examples=40)
def test_rows_are_closed_neighbourhoods_in_the_order_of_similarity(case, chunked):
    rows_in_chunks, _ = tiny_chunks()
    if chunked:
        with rows_in_chunks:
            rows = selection.propagated_rows(case.pool, case.graph)
    else:
        rows = selection.propagated_rows(case.pool, case.graph)
    found: list[dict[int, list[int]]] = []
    for start, length in zip(rows.starts.tolist(), rows.lengths.tolist(), strict=True):
        here = slice(start, start + length)
        entries = [[entry] for entry in rows.entries[here].tolist()]
        found.append(dict(zip(rows.labels[here].tolist(), entries, strict=True)))
        assert len(found[-1]) == length
    for number in range(len(rows.more)):
        for record, place, entry in zip(*(x.tolist() for x in rows.extra(number)), strict=True):
            found[record][list(found[record])[place]].append(entry)
    expected = closed_neighbourhoods(case)
    assert [list(row) for row in found] == [list(row) for row in expected]
    assert found == [{k: sorted(v) for k, v in row.items()} for row in expected]


@given(case=cases(), area=st.sampled_from([4, 64]), seed=st.integers(0, 9))
@settings(max_examples=30)
def test_layouts_do_not_depend_on_chunks(case, area, seed):
    priority = np.random.default_rng(seed).integers(0, 3, len(case.scores)).astype(np.float32)
    whole = lay_out_pages(case.pool, case.graph, priority=priority, area=area)
    of_rows, of_pages = tiny_chunks()
    with of_rows, of_pages:
        chunked = lay_out_pages(case.pool, case.graph, priority=priority, area=area)
    assert jax.tree_util.tree_structure(whole) == jax.tree_util.tree_structure(chunked)
    for ours, theirs in zip(*map(jax.tree_util.tree_leaves, (chunked, whole)), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_host_shares_its_layout_with_its_device():
    case = random_case(3, 50)
    for area in (4, 8, 16, 32, 64, 128, 256, 512):  # By chance, some arrays are aligned.
        layout = lay_out_pages(case.pool, case.graph, area=area)
        pages = fill_pages(layout, case.pool, case.graph, mig_jax.Measure())
        np.testing.assert_array_equal(pages.labels, layout.labels)
        if jax.default_backend() == "cpu":
            assert pages.labels.unsafe_buffer_pointer() == layout.labels.ctypes.data


@given(case=cases(), area=st.sampled_from([4, 64]))
@settings(max_examples=30)
def test_pages_hold_every_propagated_row(case, area):
    layout = lay_out_pages(case.pool, case.graph, area=area)
    pages = fill_pages(layout, case.pool, case.graph, mig_jax.Measure(propagation=case.alpha))
    rows = np.zeros((len(case.scores), case.num_labels))
    seen = []
    for page in range(pages.num_pages):
        page_area = pages.labels.shape[1]
        per_page = page_area >> int(pages.width_log2[page])
        for row in range(pages.records.shape[1]):
            record = int(pages.records[page, row])
            if record == EMPTY:
                continue
            seen.append(record)
            slots = np.arange(row, page_area, per_page)
            np.add.at(rows[record], pages.labels[page, slots], pages.values[page, slots])
    assert sorted(seen) == list(range(len(case.scores)))
    np.testing.assert_allclose(rows, case.rows, rtol=1e-5)


def test_a_record_with_very_many_labels_gets_a_wider_page():
    case = Case([list(range(700)), [3]], [1.0, 2.0], 700, [], 1.0)
    selection = mig_jax.select(case.pool, case.graph, 2)
    assert selection.picks.tolist() == [0, 1]
    np.testing.assert_allclose(
        selection.information,
        oracles.total_information(oracles.power(0.8, 1e-6), case.rows.sum(axis=0)),
        rtol=1e-5,
    )
