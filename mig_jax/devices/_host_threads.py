"""Work of the host in threads, for what NumPy does without holding the interpreter's lock."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["cores", "over_threads"]

Part = TypeVar("Part")
Result = TypeVar("Result")


def cores() -> int:
    """The cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # Not on Linux.
        return os.cpu_count() or 1


def over_threads(work: Callable[[Part], Result], parts: Iterable[Part]) -> list[Result]:
    """What `work` gives for each part, in order; as many at once as there are cores.

    >>> over_threads(abs, [-1, 2])
    [1, 2]
    """
    parts = list(parts)
    if len(parts) < 2:  # A thread would take longer to start than most work takes.
        return [work(part) for part in parts]
    with ThreadPoolExecutor(cores()) as threads:
        return list(threads.map(work, parts))
