"""Rows of a benchmark: what takes turns with others, round by round, and what a round gave."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

__all__ = ["COLUMNS", "MEDIANS", "Measured", "Row", "common", "medians", "run_rounds", "timed"]

#: Of a line for each measurement.
COLUMNS = (
    "records",
    "labels",
    "edges",
    "budget",
    "row",
    "round",
    "seconds",
    "peak_mb",
    "bytes_a_record",
    "common_picks",
)
#: Of a line for each row, over all rounds.
MEDIANS = (
    "records",
    "labels",
    "edges",
    "budget",
    "row",
    "median_s",
    "min_s",
    "max_s",
    "ratio_to_ours",
    "peak_mb",
    "bytes_a_record",
    "common_picks",
)


class Measured(NamedTuple):
    """What a row gave in a round."""

    seconds: float | None = None
    picks: np.ndarray | None = None  #: Of rows that select.
    peak_mb: float | None = None  #: Of rows that are processes.
    bytes_a_record: float | None = None
    #: What else is known of the same round, by the name of its row.
    more: Mapping[str, Measured] = {}


class Row(NamedTuple):
    """Something to measure."""

    measure: Callable[[], Measured]
    same_picks_as: str | None = None  #: The row whose picks this one must have.
    warms_up: bool = True  #: Whether a round before the first one is worth while: it compiles.


def timed(function: Callable[[], Any]) -> tuple[Any, float]:
    """What a function gives, computed to its end, and the seconds it took."""
    start = time.perf_counter()
    given = jax.block_until_ready(function())
    return given, time.perf_counter() - start


def run_rounds(
    rows: Mapping[str, Row],
    repeats: int,
    on_measured: Callable[[int, str, Measured, str], None],
) -> dict[str, list[Measured]]:
    """All rows in turn, for some rounds.

    Args:
      rows: by their names.
      repeats: rounds; one more before them, which does not count, for rows that warm up.
      on_measured: called at once with the round, the row, what it gave, and the share of picks
        in common with the row that must have the same.
    """
    found: dict[str, list[Measured]] = {name: [] for name in rows}
    picks: dict[str, np.ndarray | None] = {}
    for turn in range(repeats + 1):
        for name, row in rows.items():
            if turn == 0 and not row.warms_up:
                continue
            given = row.measure()
            picks[name] = given.picks
            told = "" if given.seconds is None else f"{given.seconds:.3f} s"
            print(f"  round {turn} {name}: {told}", file=sys.stderr)
            if not turn:
                continue
            for each, measured in {name: given._replace(more={}), **given.more}.items():
                expected = picks.get(row.same_picks_as or "")
                on_measured(turn, each, measured, common(measured.picks, expected))
                found.setdefault(each, []).append(measured)
    return found


def common(picks: np.ndarray | None, expected: np.ndarray | None) -> str:
    """The share of picks in common with what must agree, as a set; empty if nothing must."""
    if picks is None or expected is None:
        return ""
    return f"{len(set(picks.tolist()) & set(expected.tolist())) / len(expected):.4%}"


def medians(
    found: Mapping[str, Sequence[Measured]], shares: Mapping[str, str], base: str
) -> list[dict[str, Any]]:
    """A line for each row: medians over rounds, and their ratios to those of `base`.

    Args:
      found: what each row gave in each round.
      shares: of picks in common, by row.
      base: the row that others are compared with; if it is not there, nothing is.
    """
    seconds = {
        name: [m.seconds for m in each if m.seconds is not None] for name, each in found.items()
    }
    ours = statistics.median(seconds[base]) if seconds.get(base) else None
    lines = []
    for name, each in found.items():
        line: dict[str, Any] = {"row": name, "common_picks": shares.get(name, "")}
        if times := seconds[name]:
            median = statistics.median(times)
            line |= {
                "median_s": round(median, 4),
                "min_s": round(min(times), 4),
                "max_s": round(max(times), 4),
                "ratio_to_ours": "" if ours is None else round(median / ours, 3),
            }
        for field in ("peak_mb", "bytes_a_record"):
            told = [getattr(measured, field) for measured in each]
            if largest := max((number for number in told if number is not None), default=None):
                line[field] = round(largest, 1)
        lines.append(line)
    return lines
