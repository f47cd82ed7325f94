"""Several orders of the same records, of which each has its share: by records or by tokens."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["take_turns"]


def take_turns(
    orders: Sequence[Iterable[int]], amounts: npt.NDArray[np.int64] | None = None
) -> Iterator[int]:
    """Yields records of several orders in turn, no one twice, until all orders are at their ends.

    Next is always the order that has had the least so far, of several the first; it gives its
    first record that is not taken yet. That counts as had, also if the caller passes over it, as
    `take` does with what no longer fits the tokens left.

    Args:
      orders: records, the best first.
      amounts: [N], what each record counts for, as its tokens; 1 by default, which makes it
        round robin.

    >>> list(take_turns([[0, 1, 2], [1, 0, 3]]))
    [0, 1, 2, 3]
    >>> list(take_turns([[0, 1], [2, 3, 4]], np.array([3, 1, 1, 1, 1])))
    [0, 2, 3, 4, 1]
    """
    left = {place: iter(order) for place, order in enumerate(orders)}
    had = dict.fromkeys(left, 0)
    taken: set[int] = set()
    while left:
        place = min(left, key=lambda place: (had[place], place))
        record = next((one for one in left[place] if one not in taken), None)
        if record is None:
            del left[place]
            continue
        taken.add(record)
        had[place] += 1 if amounts is None else int(amounts[record])
        yield record
