"""How long the stages of a command take."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

__all__ = ["timed"]


@contextlib.contextmanager
def timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Within, the stage runs; if it ends well, `seconds[stage]` is the time that it took.

    >>> seconds = {}
    >>> with timed(seconds, "reading"):
    ...     pass
    >>> list(seconds)
    ['reading']
    """
    start = time.perf_counter()
    yield
    seconds[stage] = round(time.perf_counter() - start, 3)
