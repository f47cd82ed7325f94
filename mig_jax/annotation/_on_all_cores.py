"""Work on texts in Python, which one interpreter does on one core, done on all of them."""

from __future__ import annotations

import collections
import contextlib
import functools
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Final, Generic, TypeVar

import threadpoolctl

from mig_jax.devices import cores, over_processes

__all__ = ["on_all_cores", "with_found"]

Item = TypeVar("Item")
Result = TypeVar("Result")
Owner = TypeVar("Owner")

# Work in seconds from which on processes are started, each of which takes about so long.
_PAYS: Final = 1.0
# Items that go to a process at once, and bytes from which on there are fewer.
_BATCH: Final = 128
_LARGE: Final = 1 << 19


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


def with_found(
    work: Callable[[Item], Result],
    owners: Iterable[Owner],
    of: Callable[[Owner], Item],
    *,
    size: Callable[[Owner], int],
    workers: int | None = None,
) -> Generator[tuple[Owner, Result]]:
    """Yields each owner of an item, in order, with what `work` gives for its item.

    Owners are taken some hundreds ahead for each process; fewer if they are large.

    Args:
      work: as for `on_all_cores`, but it may give None.
      owners: of the items.
      of: gives the item of an owner, which goes to a process.
      size: about how many bytes are held for an owner.
      workers: as for `on_all_cores`.
    """
    waiting: collections.deque[Owner] = collections.deque()

    def batches() -> Iterator[list[Item]]:
        batch: list[Item] = []
        held = 0
        try:
            for owner in owners:
                waiting.append(owner)
                batch.append(of(owner))
                held += size(owner)
                if len(batch) == _BATCH or held > _LARGE:
                    yield batch
                    batch, held = [], 0
        except Exception:
            yield batch  # An error comes behind what was there before it.
            raise
        yield batch

    with contextlib.closing(on_all_cores(_Each(work), batches(), workers)) as results:
        for batch in results:
            for found in batch:
                yield waiting.popleft(), found


class _Each(Generic[Item, Result]):
    def __init__(self, work: Callable[[Item], Result]) -> None:
        self._work = work

    def __call__(self, items: list[Item]) -> list[Result]:
        return [self._work(item) for item in items]


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
