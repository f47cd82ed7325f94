"""Work on texts in Python, which one interpreter does on one core, done on all of them."""

from __future__ import annotations

import contextlib
import functools
import sys
import time
from collections.abc import Callable, Generator, Iterable
from typing import Final, Generic, TypeVar

import threadpoolctl

from mig_jax.devices import cores, over_processes

__all__ = ["on_all_cores"]

Item = TypeVar("Item")
Result = TypeVar("Result")

# Work in seconds from which on processes are started, each of which takes about so long.
_PAYS: Final = 1.0


def on_all_cores(
    work: Callable[[Item], Result], items: Iterable[Item], workers: int | None = None
) -> Generator[Result]:
    """Yields what `work` gives for each item, in order, as `over_processes` does.

    Args:
      work: depends on the item alone, and never gives None.
      items: such as batches of records; some are taken before their results are.
      workers: processes; None for one a core, as soon as a second of work was done here.
    """
    rest = iter(items)
    alone = _InOneThread(work)
    if workers is None:
        spent = 0.0
        for item in rest:
            start = time.perf_counter()
            found = alone(item)
            spent += time.perf_counter() - start
            yield found
            if spent > _PAYS:
                break
        workers = cores()
    with contextlib.closing(over_processes(alone, rest, workers)) as results:
        yield from results


class _InOneThread(Generic[Item, Result]):
    """As it is done in a process of its own: threads of linear algebra round differently."""

    def __init__(self, work: Callable[[Item], Result]) -> None:
        self._work = work

    def __call__(self, item: Item) -> Result:
        with _libraries(len(sys.modules)).limit(limits=1):
            return self._work(item)


@functools.lru_cache(maxsize=1)
def _libraries(modules: int) -> threadpoolctl.ThreadpoolController:
    """Those that have threads; looked for again, in some milliseconds, if more is imported."""
    return threadpoolctl.ThreadpoolController()
