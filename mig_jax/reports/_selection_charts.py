"""The charts of a selection's page: its picks, its label graph, its labels."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from jaxtyping import Float, Int
from markupsafe import Markup

from mig_jax.measure import LabelGraph
from mig_jax.reports import plotting
from mig_jax.reports._limits import is_limited
from mig_jax.reports._record_texts import as_utf8, cut
from mig_jax.reports._selected import Selected
from mig_jax.reports._svg import Dots, Series, dots_chart, line_chart, thinned
from mig_jax.selection import (
    Selection,
    in_range,
    information_curve,
    random_choices,
    random_curve,
    selected_information,
)

__all__ = ["Chart", "LabelBar", "SelectionCharts", "selection_charts"]

_LABELS: Final = 20  # With bars.
_MOST_EDGES: Final = 1_500
_SMALLEST, _LARGEST = 2.5, 11.0  # Radii of dots.
# From which share of rises on many gains are told by means and range; over at most how many parts,
# and of at least how many picks. Fewer gains than that of parts are drawn as they are.
_OFTEN, _PARTS, _FEWEST = 0.05, 100, 10
_LONGEST_NAME = 120
# Ends of the scale of colours: a label has 4 times the share that it has in the pool, or a fourth.
_STEPS: Final = np.log2([1 / 3, 1 / 1.7, 1 / 1.2, 1.2, 1.7, 3])
_OTHERS: Final = 5  # Colours of further ways to select.


@dataclasses.dataclass(frozen=True)
class Chart:
    """A chart and what to read in it."""

    title: str
    text: str
    svg: Markup


@dataclasses.dataclass(frozen=True)
class LabelBar:
    """A label's share of all information, in the pool and in what is held: per cent."""

    name: str
    pool: float
    held: float
    widest: float  #: The largest share of all that are shown.


@dataclasses.dataclass(frozen=True)
class SelectionCharts:
    """What the page draws."""

    picks: list[Chart]
    graph: Chart
    bars: list[LabelBar]
    held_name: str  #: "the selection", or with what is given.


def selection_charts(selected: Selected) -> SelectionCharts:
    """All charts of a selection. The same selection has the same."""
    graph, about = selected.graph, selected.about
    names = [cut(as_utf8(name), _LONGEST_NAME) for name in selected.table.label_names]
    given = np.flatnonzero([] if selected.given is None else selected.given)
    with in_range(selected.pool, graph, selected.measure) as problem:
        of_pool, held = (
            np.asarray(selected_information(*problem, some), np.float64)
            for some in (
                np.arange(selected.pool.num_records),
                np.concatenate([given, selected.selection.picks]),
            )
        )
    pool_share, held_share = (each / (each.sum() or 1.0) for each in (of_pool, held))
    held_name = "the selection and what is given" if len(given) else "the selection"
    return SelectionCharts(
        [
            Chart(
                "What each pick adds",
                _told_picks(about, selected.selection),
                _gains_chart(selected.selection),
            ),
            Chart("Information of the picks so far", _told_bound(about), _information(selected)),
        ],
        _graph_chart(graph, pool_share, held_share, names, held_name),
        _bars(pool_share, held_share, names),
        held_name,
    )


def _gains_chart(selection: Selection) -> Markup:
    gains = np.asarray(selection.gains, np.float64)
    ranks = np.arange(1, len(gains) + 1, dtype=np.float64)
    rises = np.count_nonzero(np.diff(gains) > 0)
    if len(gains) > _PARTS and rises > len(gains) * _OFTEN:
        parts = np.array_split(np.arange(len(gains)), min(_PARTS, -(-len(gains) // _FEWEST)))
        middle = np.array([ranks[part].mean() for part in parts])
        series = [
            Series(name, kind, middle, np.array([float(of(gains[part])) for part in parts]))
            for name, kind, of in (
                ("mean", "selected", np.mean),
                ("largest", "other-0", np.max),
                ("smallest", "random", np.min),
            )
        ]
    else:
        shown = thinned(len(gains))
        series = [Series("gain", "selected", ranks[shown], gains[shown])]
    log = bool(0 < gains.min() < gains.max() / 20)
    y_name = "marginal gain, logarithmic" if log else "marginal gain"
    return line_chart("The gain of each pick", series, "pick", y_name, log=log)


def _information(selected: Selected) -> Markup:
    """E so far, what random choices and others have by then, and the bounds.

    By picks; by tokens if these are limited, as the same number of picks is then another share of
    the budget from way to way. Each line ends where the last one does: what a way holds within so
    many tokens it holds within more, too.
    """
    about, limits = selected.about, selected.constraints
    costs = None if limits.most_cost is None else np.asarray(limits.costs, np.int64)
    start = float((about.get("given") or {}).get("information", 0.0))
    reached = start + np.cumsum(np.asarray(selected.selection.increases, np.float64))
    own = _curve("selected", "selected", reached, start, _spent(selected.selection.picks, costs))
    series = [own, *_other_curves(selected, start, costs, own.x)]
    if about["upper_bound"] is not None:
        series += _bounds(about, own.x[-1], "records" if costs is None else "tokens")
    if costs is None:
        return line_chart("Information so far", series, "picks", "information E")
    end = max(one.x[-1] for one in series if one.joined)
    series = [_up_to(one, end) if one.joined else one for one in series]
    return line_chart("Information so far", series, "tokens", "information E")


def _spent(
    picks: Int[np.ndarray, " n"], costs: Int[np.ndarray, " records"] | None
) -> Float[np.ndarray, " n_and_1"]:
    """Picks or tokens before the first pick and after each."""
    each = np.ones(len(picks), np.int64) if costs is None else costs[np.asarray(picks)]
    return np.append(0, np.cumsum(each)).astype(np.float64)


def _curve(
    name: str,
    kind: str,
    reached: Float[np.ndarray, " n"],
    start: float,
    across: Float[np.ndarray, " n_and_1"],
) -> Series:
    values = np.append(start, reached)
    shown = thinned(len(values))
    return Series(name, kind, across[shown], values[shown])


def _up_to(one: Series, end: float) -> Series:
    if one.x[-1] >= end:
        return one
    return dataclasses.replace(one, x=np.append(one.x, end), y=np.append(one.y, one.y[-1]))


def _other_curves(
    selected: Selected,
    start: float,
    costs: Int[np.ndarray, " records"] | None,
    at: Float[np.ndarray, " n"],
) -> Iterator[Series]:
    """What other ways to choose hold, the random choice last."""
    about, problem = selected.about, (selected.pool, selected.graph, selected.measure)
    limits, most = selected.constraints, len(selected.selection)
    ways = [(way["method"], way["curve"]) for way in (about.get("compare") or {}).get("ways", [])]
    ways = [way for way in ways[1:] if way[0] != "random"]  # The first is this selection.
    kinds = (f"other-{number % _OTHERS}" for number in itertools.count())
    has_limits = any(about.get(name) for name in ("tokens", "quotas", "changes"))
    if not has_limits and not any(name == "top_score" for name, _ in ways):
        order = np.argsort(-np.asarray(selected.table.scores), kind="stable")
        if selected.given is not None:
            order = order[~selected.given[order]]
        order = order[:most]
        curve = information_curve(*problem, order, given=limits.given)
        yield _curve("highest scores", next(kinds), curve, start, _spent(order, None))
    for name, told in ways:
        x = [0.0, *told["records" if costs is None else "tokens"]]
        y = [start, *told["information"]]
        yield Series(name.replace("_", " "), next(kinds), np.array(x), np.array(y))
    if costs is None:
        random = random_curve(*problem, about["budget"], constraints=limits)
        across = np.arange(len(random) + 1, dtype=np.float64)
        yield _curve("a random choice", "random", random, start, across)
    else:
        yield _random_by_tokens(selected, start, costs, at)


def _random_by_tokens(
    selected: Selected,
    start: float,
    costs: Int[np.ndarray, " records"],
    at: Float[np.ndarray, " n"],
) -> Series:
    """What random choices hold by so many tokens, on average."""
    problem, limits = (selected.pool, selected.graph, selected.measure), selected.constraints
    held, ends = [], []
    for picks in random_choices(len(costs), selected.about["budget"], limits):
        curve = information_curve(*problem, picks, given=limits.given)
        held.append((_spent(picks, costs), np.append(start, curve)))
        ends.append(held[-1][0][-1])
    at = np.append(at[at < max(ends)], max(ends))
    each = [values[np.searchsorted(across, at, side="right") - 1] for across, values in held]
    return Series("a random choice", "random", at, np.mean(each, axis=0))


def _bounds(about: dict[str, Any], end: float, unit: str) -> Iterator[Series]:
    """What no selection passes, and what none of a smaller budget does, where that is known."""
    yield Series("proven bound", "bound", np.array([0, end]), np.full(2, about["upper_bound"]))
    points = [
        (float(row[unit]), row["information"] / row["certified_ratio"])
        for row in about.get("prefixes") or ()
        if row["certified_ratio"] > 0 and row["records"] < about["records_selected"]
    ]
    if points:
        x, bounds = np.array(points).T
        yield Series("bounds of smaller budgets", "bound", x, bounds, joined=False)


def _told_picks(about: dict[str, Any], selection: Selection) -> str:
    """What to read in the chart of the gains."""
    if selection.rates is not None and selection.rates.has_costs:
        return (
            "Each pick is the record that gains most for what it takes of the limits, such as its "
            "tokens, so the gains rise and fall; what is left adds ever less for that."
        )
    if any(about.get(name) for name in ("tokens", "quotas", "changes")):
        return (
            "Each pick is the record that gains most of those that the limits allow; what is left "
            "adds ever less."
        )
    return (
        "Each pick is the record that gains most, so the gains fall: what is left adds ever less."
    )


def _told_bound(about: dict[str, Any]) -> str:
    by_tokens = (about.get("tokens") or {}).get("budget") is not None
    so_far = "E by the tokens of the picks so far" if by_tokens else "E after each pick"
    if about["upper_bound"] is None:
        unit = "tokens" if by_tokens else "records"
        return f"{so_far}, beside what other choices of as many {unit} hold."
    choice = "within these limits" if is_limited(about) else "of as many records"
    return f"{so_far}, beside what other choices hold; none {choice} can pass the bound."


def _graph_chart(
    graph: LabelGraph,
    pool: Float[np.ndarray, " labels"],
    held: Float[np.ndarray, " labels"],
    names: list[str],
    held_name: str,
) -> Chart:
    shown = plotting.shown_labels(graph, np.maximum(pool, held))
    part, places = _part_of_graph(graph, shown)
    ends = np.stack([np.asarray(part.sources), np.asarray(part.targets)], axis=1)
    once = np.flatnonzero(ends[:, 0] < ends[:, 1])
    strongest = np.argsort(-np.asarray(part.similarities)[once], kind="stable")[:_MOST_EDGES]
    largest = float(pool[shown].max(initial=0.0)) or 1.0
    dots = Dots(
        places,
        _SMALLEST + (_LARGEST - _SMALLEST) * np.sqrt(np.clip(pool[shown] / largest, 0, 1)),
        [f"step-{step}" for step in _steps(pool[shown], held[shown])],
        [names[label] for label in shown],
        [
            f"{names[label]}: {held[label]:.2%} of the information of {held_name}, "
            f"{pool[label]:.2%} of the pool's"
            for label in shown
        ],
        ends[once[strongest]],
    )
    text = (
        f"Each dot is a label, joined to those of similar meaning, and larger if the pool has more "
        f"information on it; the {len(shown):,} with most are drawn. The colour tells whether a "
        f"label has more or less of the information of {held_name} than of the pool's."
    )
    return Chart("The label graph", text, dots_chart("The label graph", dots))


def _steps(pool: Float[np.ndarray, " n"], held: Float[np.ndarray, " n"]) -> list[int]:
    """Steps of the scale of colours: 0 is much less than in the pool, 3 as much, 6 much more."""
    tiny = np.finfo(np.float64).tiny
    ratio = np.log2(np.maximum(held, tiny)) - np.log2(np.maximum(pool, tiny))
    return np.searchsorted(_STEPS, ratio).tolist()


def _part_of_graph(graph: LabelGraph, labels: np.ndarray) -> tuple[LabelGraph, np.ndarray]:
    """The graph of these labels alone, and where each stands."""
    place = np.full(graph.num_labels, -1)
    place[labels] = np.arange(len(labels))
    sources, targets = place[np.asarray(graph.sources)], place[np.asarray(graph.targets)]
    kept = (sources >= 0) & (targets >= 0)
    part = LabelGraph(
        sources[kept].astype(np.int32),
        targets[kept].astype(np.int32),
        np.asarray(graph.similarities)[kept],
        len(labels),
    )
    return part, plotting.label_graph_positions(part)


def _bars(
    pool: Float[np.ndarray, " labels"], held: Float[np.ndarray, " labels"], names: list[str]
) -> list[LabelBar]:
    """The labels with the largest share in either."""
    most = np.maximum(pool, held)
    shown = np.argsort(-most, kind="stable")[:_LABELS].tolist()
    widest = float(100 * most.max(initial=0.0)) or 1.0
    return [
        LabelBar(names[label], float(100 * pool[label]), float(100 * held[label]), widest)
        for label in shown
    ]
