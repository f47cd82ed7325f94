"""What the pictures show, read back from matplotlib's own objects."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

import mig_jax
from mig_jax.reports import plotting

matplotlib.use("Agg")


@pytest.fixture
def ax():
    return Figure().subplots()


def edges(*joined: tuple[int, int], count: int) -> mig_jax.LabelGraph:
    return mig_jax.label_graph_from_edges(count, [(a, b, 0.9) for a, b in joined])


def test_joined_labels_stand_together():
    graph = edges((0, 1), (1, 2), (3, 4), (4, 5), (6, 7), count=9)
    places = plotting.label_graph_positions(graph)
    np.testing.assert_array_equal(places, plotting.label_graph_positions(graph))
    assert np.abs(places).max() == pytest.approx(1)
    groups = [[0, 1, 2], [3, 4, 5], [6, 7], [8]]
    centres = np.array([places[group].mean(axis=0) for group in groups])
    for number, group in enumerate(groups):
        gaps = np.linalg.norm(places[group][:, None] - centres, axis=2)
        assert np.all(np.argmin(gaps, axis=1) == number)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_graphs_without_edges(ax, count):
    graph = edges(count=count)
    places = plotting.label_graph_positions(graph)
    assert places.shape == (count, 2)
    assert len(np.unique(places, axis=0)) == count
    plotting.plot_label_graph(graph, places, np.zeros(count), names=["x"] * count, ax=ax)


def test_the_graph_shows_values_edges_and_names(ax):
    graph = edges((0, 1), (1, 2), count=4)
    places = plotting.label_graph_positions(graph)
    places[3] = np.nan
    values = [0.0, 1.0, 4.0, 9.0]
    plotting.plot_label_graph(graph, places, values, names=["a", "b", "$c", "d"], ax=ax)
    lines, dots = ax.collections
    assert len(lines.get_segments()) == 2  # Each edge once.
    np.testing.assert_allclose(dots.get_array(), [0, 1, 4])
    np.testing.assert_allclose(dots.get_offsets(), places[:3])
    assert np.all(np.diff(dots.get_sizes()) > 0)
    assert {text.get_text() for text in ax.texts} == {"a", "b", "$c"}
    assert dots.get_clim() == (0.0, 4.0)


def test_names_stand_neither_on_one_another_nor_on_dots_that_are_named(ax):
    places = np.array([[-1.0, -1.0], [0.0, 0.0], [0.01, 0.0], [0.02, 0.0], [0.0, 0.2], [1.0, 1.0]])
    names = ["least", "larger", "large", "middling", "small", "largest"]
    values = [1.0, 5.0, 4.0, 3.0, 2.0, 6.0]
    plotting.plot_label_graph(edges(count=6), places, values, names=names, ax=ax)
    # Above or below the dot; where there is room in neither, a name is left out.
    written = {text.get_text(): text.get_window_extent() for text in ax.texts}
    assert list(written) == ["largest", "larger", "large", "small", "least"]
    boxes = list(written.values())
    for number, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[number + 1 :])
        for place in ax.transData.transform(places):
            assert not box.contains(*place)


def test_labels_with_the_most_are_shown():
    graph = edges(count=5)
    assert plotting.shown_labels(graph, [1.0, 5.0, 5.0, 0.0, 2.0], most=2).tolist() == [1, 2]


def test_gains_and_information(ax):
    plotting.plot_gains([3.0, 2.0, 1.0], ax=ax)
    np.testing.assert_allclose(ax.lines[0].get_xydata(), [(1, 3), (2, 2), (3, 1)])
    other = Figure().subplots()
    plotting.plot_information([3.0, 2.0, 1.0], bound=6.001, ax=other)
    np.testing.assert_allclose(other.lines[0].get_ydata(), [0, 3, 5, 6])
    np.testing.assert_allclose(other.lines[1].get_ydata(), 6.001)
    assert other.get_title() == "99.98 % of the upper bound"  # Never rounded up.
    plotting.plot_gains([], ax=Figure().subplots())
    plotting.plot_information([], ax=Figure().subplots())
    mixed = Figure().subplots()
    plotting.plot_gains([4.0, 1.0] * 200, ax=mixed)
    each, mean = mixed.lines
    assert len(each.get_ydata()) == 400
    np.testing.assert_allclose(mean.get_xydata()[[0, -1]], [(2.5, 2.5), (398.5, 2.5)])


def test_information_starts_with_what_was_given(ax):
    plotting.plot_information([3.0, 2.0], bound=9.0, start=2.0, ax=ax)
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [2, 5, 7])
    assert ax.get_title() == "77.77 % of the upper bound"


def test_what_smaller_budgets_are_certified_for_has_a_scale_of_its_own(ax):
    plotting.plot_information([3.0, 2.0], bound=9.0, certified=[(1, 0.98), (2, 0.995)], ax=ax)
    (other,) = [each for each in ax.figure.axes if each is not ax]
    np.testing.assert_allclose(other.lines[0].get_xydata(), [(1, 98), (2, 99.5)])
    assert other.get_ylim() == pytest.approx((96, 100))
    assert len(ax.get_legend().get_texts()) == 3


def test_information_by_label_in_shares(ax):
    plotting.plot_information_by_label([1, 3, 0], [5, 0, 5], ["a", "b", "c"], most=2, ax=ax)
    assert [text.get_text() for text in ax.get_yticklabels()] == ["b", "a"]
    pool, selection = ax.collections[-2:]
    np.testing.assert_allclose(pool.get_offsets(), [(75, 0), (25, 1)])
    np.testing.assert_allclose(selection.get_offsets(), [(0, 0), (50, 1)])


@pytest.mark.parametrize("share", [False, True])
def test_score_functions_are_drawn(ax, share):
    after = mig_jax.Power(np.array([0.5, 1.0]), 0.0, np.array([1.0, 2.0]))
    plotting.plot_score_functions(
        mig_jax.Power(0.8, 0.0), after, [1, 0], ["one", "zero"], end=4.0, share=share, ax=ax
    )
    ends = [line.get_ydata()[-1] for line in ax.lines]
    expected = [1.0, 1.0, 1.0] if share else [8.0, 2.0, 4**0.8]
    np.testing.assert_allclose(ends, expected, rtol=1e-5)
    middle = ax.lines[1].get_ydata()[75]  # At a quarter of the way, √ has come half as far.
    assert middle == pytest.approx(0.5 if share else 1.0, rel=1e-5)


def test_each_way_is_a_curve_with_its_name_at_the_end(ax):
    def way(method, end):
        curve = {"records": [1.0, 2.0], "information": [end / 2, end], "tokens": [5.0, 9.0]}
        return {"method": method, "curve": curve}

    told = {"unit": "tokens", "start": 1.0, "ways": [way("mig", 8.0), way("random", 7.9)]}
    plotting.plot_ways(told, ax=ax)
    ours, other = (np.array(line.get_xydata()) for line in ax.lines)
    np.testing.assert_array_equal(ours, [[0, 1], [5, 4], [9, 8]])
    np.testing.assert_array_equal(other, [[0, 1], [5, 3.95], [9, 7.9]])
    assert ax.get_xlabel() == "tokens"
    names = {text.get_text(): text for text in ax.texts}
    assert [*names] == ["random", "mig"]
    assert names["mig"].get_color() == ax.lines[0].get_color()
    # Ends that lie near each other are named apart.
    heights = [text.xyann[1] for text in ax.texts]
    assert heights[1] - heights[0] > 0.05
