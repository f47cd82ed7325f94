"""Work of the host in threads, for what NumPy does without holding the interpreter's lock."""

from __future__ import annotations

import collections
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["ahead_in_threads", "cores", "over_threads"]

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


def ahead_in_threads(
    work: Callable[[Part], Result], parts: Iterable[Part], ahead: int | None = None
) -> Iterator[Result]:
    """Yields what `work` gives for each part, in order, while threads work on the next few.

    No more than `ahead` are worked on or wait to be taken, as many as there are cores by default:
    what all parts give need not be held at once.

    >>> list(ahead_in_threads(abs, [-1, 2, -3]))
    [1, 2, 3]
    """
    rest = iter(parts)
    with ThreadPoolExecutor(cores()) as threads:
        under_way: collections.deque[Future[Result]] = collections.deque(
            threads.submit(work, part) for part in itertools.islice(rest, ahead or cores())
        )
        while under_way:
            found = under_way.popleft().result()
            under_way.extend(threads.submit(work, part) for part in itertools.islice(rest, 1))
            yield found
