"""Charts as SVG that stands in a page: text is text, and colours are the page's.

Each is 400 wide, so that its text is of a readable size on a phone as in half a window, and names
its colours by classes, which the page's style gives by light and by dark.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from jaxtyping import Float, Int
from markupsafe import Markup

__all__ = ["Dots", "Series", "dots_chart", "line_chart", "thinned", "ticks", "told_tick"]

_WIDTH, _HEIGHT = 400, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 10, 8, 36
_READINGS = 40  # Places of a line chart that tell their values.
_POINTS = 200  # Of a line.
_MARGIN = 16  # Of a chart of dots.
_NAMED = 10
_NARROW, _WIDE, _HIGH = 6.2, 11.0, 12.0  # Of a symbol of a name.


@dataclasses.dataclass(frozen=True)
class Series:
    """A line, and how the page's style knows it."""

    name: str
    kind: str  #: The class: its colour and dashes.
    x: Float[np.ndarray, " n"]
    y: Float[np.ndarray, " n"]
    joined: bool = True  #: Whether its points are; else each is a dot.


@dataclasses.dataclass(frozen=True)
class Dots:
    """Dots, and the lines that join some."""

    places: Float[np.ndarray, "n 2"]  #: In −1 to 1.
    radii: Float[np.ndarray, " n"]
    kinds: Sequence[str]  #: The class of each: its colour.
    names: Sequence[str]
    told: Sequence[str]  #: What each says when it is pointed at.
    joined: Int[np.ndarray, "m 2"]


def line_chart(
    title: str, series: Sequence[Series], x_name: str, y_name: str, *, log: bool = False
) -> Markup:
    """Lines over numbers of picks; places along them tell what they are there.

    Args:
      title: what a screen reader says it is.
      series: at least one of at least one point; finite.
      x_name: under the axis.
      y_name: above the axis.
      log: whether heights are logarithms; all must be above 0 then.
    """
    lowest = 0.0 if not log else min(float(one.y.min()) for one in series if len(one.y))
    highest = max(float(one.y.max(initial=lowest)) for one in series) or 1.0
    most = max(float(one.x.max(initial=1)) for one in series)
    across = _scale(0.0, most, _LEFT, _WIDTH - _RIGHT)
    up: Callable[[float], float] = _scale(0.0, highest, _HEIGHT - _BOTTOM, _TOP)
    heights = ticks(highest)
    if log:
        low, high = math.log10(lowest), math.log10(highest)
        of_log = _scale(low, high if high > low else low + 1, _HEIGHT - _BOTTOM, _TOP)
        up = lambda y: of_log(math.log10(y))  # noqa: E731
        heights = _log_ticks(lowest, highest)
    parts = [
        *_axes([(across(x), x) for x in ticks(most)], [(up(y), y) for y in heights]),
        Markup('<text class="name" x="{}" y="{}">{}</text>').format(
            (_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 4, x_name
        ),
        *(part for one in series for part in _line(one, across, up)),
        *_readings(series, across, x_name),
    ]
    legend = [Markup("<li>{}{}</li>").format(_key(one), one.name) for one in series]
    listed = Markup('<ul class="legend">{}</ul>').format(Markup("").join(legend))
    return Markup(
        '<p class="axis">{}</p><svg class="chart" viewBox="0 0 {} {}" role="img" '
        'aria-label="{}">{}</svg>{}'
    ).format(
        *(y_name, _WIDTH, _HEIGHT, title, Markup("").join(parts)),
        listed if len(series) > 1 else "",
    )


def dots_chart(title: str, dots: Dots) -> Markup:
    """Dots with lines between them; those of the largest have their names beside them."""
    size = _WIDTH / 2 - _MARGIN
    places = np.round(_WIDTH / 2 + size * dots.places, 1)
    ends = Markup("").join(
        Markup("M{} {}L{} {}").format(*places[a].tolist(), *places[b].tolist())
        for a, b in dots.joined.tolist()
    )
    # The small ones last: none is hidden behind a large one.
    order = np.argsort(-dots.radii, kind="stable").tolist()
    drawn = [
        Markup(
            '<circle class="dot {}" cx="{}" cy="{}" r="{}" data-label="{}">'
            "<title>{}</title></circle>"
        ).format(
            dots.kinds[at],
            *places[at].tolist(),
            round(float(dots.radii[at]), 1),
            dots.names[at],
            dots.told[at],
        )
        for at in order
    ]
    names = _names_beside(dots, places, order)
    return Markup(
        '<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">'
        '<path class="edges" d="{}"/>{}{}</svg>'
    ).format(_WIDTH, _WIDTH, title, ends, Markup("").join(drawn), Markup("").join(names))


def thinned(count: int) -> Int[np.ndarray, " n"]:
    """Places, from 0, of a line of so many points that show its shape: more at the beginning.

    >>> thinned(5).tolist(), len(thinned(1_000_000)) < 300
    ([0, 1, 2, 3, 4], True)
    """
    if count <= _POINTS:
        return np.arange(count)
    evenly = np.linspace(0, count - 1, _POINTS * 3 // 4)
    early = np.geomspace(1, count, _POINTS // 4) - 1
    return np.unique(np.round(np.concatenate([evenly, early])).astype(np.int64))


def ticks(highest: float) -> list[float]:
    """Round numbers from 0 to at most this, some four steps.

    >>> ticks(500.0), ticks(0.07)
    ([0.0, 100.0, 200.0, 300.0, 400.0, 500.0], [0.0, 0.02, 0.04, 0.06])
    """
    size = 10.0 ** math.floor(math.log10(highest / 4))
    step = next(each * size for each in (1, 2, 5, 10) if each * size >= highest / 5.01)
    return [float(f"{step * k:.6g}") for k in range(int(highest / step + 1e-9) + 1)]


def told_tick(x: float) -> str:
    """A number beside an axis, short.

    >>> told_tick(0.0), told_tick(12000.0), told_tick(2.5e6), told_tick(0.02), told_tick(3e20)
    ('0', '12k', '2.5M', '0.02', '3e+20')
    """
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if size <= abs(x) < 1e12:
            return f"{x / (1e3 if unit == 'k' else size):g}{unit}"
    return f"{x:,g}" if abs(x) < 1e6 else f"{x:.3g}"


def _told_value(x: float) -> str:
    return f"{x:,.0f}" if 1000 <= abs(x) < 1e15 else f"{x:.4g}"


def _log_ticks(lowest: float, highest: float) -> list[float]:
    low, high = math.floor(math.log10(lowest)), math.ceil(math.log10(highest))
    every = max(1, (high - low) // 5)
    decades = [10.0**at for at in range(low, high + 1, every)]
    among = decades if highest > 50 * lowest else [k * ten for ten in decades for k in (1, 2, 5)]
    return [tick for tick in among if lowest <= tick <= highest]


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    # Divided first: numbers near the largest do not overflow.
    return lambda x: round(start + (end - start) * ((x / high - low / high) / (1 - low / high)), 1)


def _axes(
    across: Sequence[tuple[float, float]], up: Sequence[tuple[float, float]]
) -> Iterator[Markup]:
    for y, value in up:
        yield Markup('<path class="grid" d="M{} {}H{}"/>').format(_LEFT, y, _WIDTH - _RIGHT)
        yield Markup('<text class="tick end" x="{}" y="{}">{}</text>').format(
            _LEFT - 5, y + 4, told_tick(value)
        )
    for x, value in across:
        yield Markup('<text class="tick" x="{}" y="{}">{}</text>').format(
            min(x, _WIDTH - 16), _HEIGHT - _BOTTOM + 15, told_tick(value)
        )


def _line(
    one: Series, across: Callable[[float], float], up: Callable[[float], float]
) -> Iterator[Markup]:
    points = [(across(x), up(y)) for x, y in zip(one.x.tolist(), one.y.tolist(), strict=True)]
    if one.joined and len(points) > 1:
        path = "L".join(f"{x} {y}" for x, y in points)
        yield Markup('<path class="line {}" d="M{}"/>').format(one.kind, path)
        return
    for x, y in points:
        yield Markup('<circle class="mark {}" cx="{}" cy="{}" r="3"/>').format(one.kind, x, y)


def _key(one: Series) -> Markup:
    shape = '<path class="line {}" d="M0 4H24"/>'
    if not one.joined:
        shape = '<circle class="mark {}" cx="12" cy="4" r="3"/>'
    svg = Markup('<svg class="key" viewBox="0 0 24 8" aria-hidden="true">{}</svg>')
    return svg.format(Markup(shape).format(one.kind))


def _readings(
    series: Sequence[Series], across: Callable[[float], float], x_name: str
) -> Iterator[Markup]:
    """Strips over the chart; what the lines are there is said when one is pointed at."""
    first = max(series, key=lambda one: len(one.x))
    if len(first.x) < 2:
        return
    edges = np.linspace(first.x[0], first.x[-1], min(_READINGS, len(first.x)) + 1)
    for low, high in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        at = first.x[np.abs(first.x - high).argmin()]
        told = [
            f"{one.name} {_told_value(float(np.interp(at, one.x, one.y)))}"
            for one in series
            if one.joined and len(one.x) and one.x[0] <= at <= one.x[-1]
        ]
        yield Markup(
            '<rect class="reading" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>'
        ).format(
            across(low),
            _TOP,
            round(across(high) - across(low), 1),
            _HEIGHT - _BOTTOM - _TOP,
            f"{x_name} {at:,.0f}: {', '.join(told)}",
        )


def _names_beside(
    dots: Dots, places: Float[np.ndarray, "n 2"], order: Sequence[int]
) -> Iterator[Markup]:
    """The names of the largest dots, but those that would stand on a larger one's."""
    taken: list[tuple[float, float, float, float]] = []
    for at in order[: 4 * _NAMED]:
        name = " ".join(dots.names[at].split()) or "(no name)"
        name = name if len(name) <= 22 else name[:21] + "…"
        half = sum(_NARROW if ord(sign) < 0x1100 else _WIDE for sign in name) / 2
        x, y = places[at].tolist()
        x = min(max(x, half + 2), _WIDTH - half - 2)
        y = y - dots.radii[at] - 3 if y - dots.radii[at] > _HIGH + 4 else y + dots.radii[at] + 11
        box = (x - half, y - _HIGH, x + half, y + 2)
        if any(
            box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3]
            for other in taken
        ):
            continue
        taken.append(box)
        yield Markup('<text class="on-dot" x="{}" y="{}">{}</text>').format(
            round(x, 1), round(float(y), 1), name
        )
        if len(taken) == _NAMED:
            return
