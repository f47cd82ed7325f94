"""How long a selection is expected to take on a CPU, and how much memory.

By what docs/background/benchmarks.md tells of two idle cores, stage by stage, scaled by how fast
this machine runs just now.
"""

from __future__ import annotations

import dataclasses
import time

__all__ = ["Expected", "Work", "expected_cost", "told_bytes", "told_seconds"]

# Seconds of `_slowness` on the machine of the benchmarks, idle.
_LOOP, _TURNS, _LOOPS = 0.008, 300_000, 7
_START = 1.5  # Until Python and JAX are there, and the end.
_COMPILING = 6.0  # Of programs that no run before has kept.


@dataclasses.dataclass(frozen=True)
class Work:
    """What a selection is made of."""

    records: int
    entries: int  #: Pairs of a record and one of its labels.
    contributions: int  #: Of these, each once for the label and for each of its neighbours.
    picks: int
    of_costs: bool  #: Whether tokens are limited: several passes are then made.
    certified: bool
    prefixes: bool


@dataclasses.dataclass(frozen=True)
class Expected:
    """What a run would take."""

    seconds: float  #: If its programs are kept from an earlier run of these sizes.
    first_seconds: float  #: If not.
    bytes: float  #: The most at a time.
    slower: float  #: How many times longer this machine takes just now than that of the benchmarks.


def expected_cost(work: Work, *, read_and_joined: float, slower: float | None = None) -> Expected:
    """The time and memory of a selection.

    Args:
      work: its sizes.
      read_and_joined: seconds that reading the pool and joining its labels has just taken.
      slower: how many times longer this machine takes than that of the benchmarks; measured by
        default.
    """
    slower = _slowness() if slower is None else slower
    passes = 3 if work.of_costs else 1
    selecting = 0.5 + 1e-7 * work.contributions + passes * 2e-5 * work.picks
    certifying = 0.2 + 3e-8 * work.entries if work.certified else 0.0
    prefixes = 0.4 + 9e-8 * work.entries if work.prefixes else 0.0
    telling = 0.2 + 1.5e-5 * work.picks + 1e-7 * work.entries
    seconds = read_and_joined + slower * (_START + selecting + certifying + prefixes + telling)
    space = 450e6 + 25 * work.contributions
    return Expected(seconds, seconds + slower * _COMPILING, space, slower)


def _slowness() -> float:
    """How many times longer than on the machine of the benchmarks a loop takes just now."""
    start = time.perf_counter()
    for _ in range(_LOOPS):
        total = 0
        for number in range(_TURNS):
            total += number & 7
    return max((time.perf_counter() - start) / (_LOOPS * _LOOP), 0.2)


def told_seconds(seconds: float) -> str:
    """A time as people say it.

    >>> told_seconds(4.4), told_seconds(83), told_seconds(5400)
    ('4 s', '1 min 20 s', '1 h 30 min')
    """
    if seconds < 10:
        return f"{max(round(seconds), 1)} s"
    if seconds < 59:
        return f"{5 * round(seconds / 5)} s"
    tens = round(seconds / 10)
    if tens < 60:
        return f"{tens // 6} min" + (f" {10 * (tens % 6)} s" if tens % 6 else "")
    minutes = round(seconds / 60)
    return f"{minutes // 60} h" + (f" {minutes % 60} min" if minutes % 60 else "")


def told_bytes(size: float) -> str:
    """Bytes as people say them.

    >>> told_bytes(3.4e8), told_bytes(4.25e9)
    ('340 MB', '4.2 GB')
    """
    return f"{round(size / 1e7) * 10} MB" if size < 1e9 else f"{size / 1e9:.1f} GB"
