"""How long each stage of a command takes, for its manifest."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

__all__ = ["timed"]


@contextlib.contextmanager
def timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    """Puts the seconds that the block took into `seconds`, under its name."""
    start = time.perf_counter()
    yield
    seconds[name] = round(time.perf_counter() - start, 3)
