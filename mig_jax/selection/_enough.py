"""How many of a selection's first picks hold nearly all that it could."""

from __future__ import annotations

from typing import Literal, NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from mig_jax.measure import Array, LabelGraph, Measure, Pool, information
from mig_jax.selection._given import spread

__all__ = ["Enough", "enough_picks", "information_of_pool"]

# The pool counts as held from this share on; and picks as too many if the last half of them adds
# less than the rest of this one.
_OF_POOL, _OF_PICKS = 0.999, 0.99
_FEWEST = 10  # Picks of which halves say anything.
_AT_ONCE = 1 << 20  # Entries of a pool.


class Enough(NamedTuple):
    """The first picks that would do, and what they hold."""

    records: int  #: How many; fewer than all.
    share: float  #: What they add, as a share of what there is to add.
    #: What that is: all that the pool could add to what is given, or what all picks add.
    of: Literal["pool", "picks"]


def enough_picks(
    increases: Float[Array, " picks"], left_in_pool: float | None = None
) -> Enough | None:
    """The first picks of a selection that hold nearly all; None if further ones are worth it.

    They are those behind which every pick adds nothing; or those that hold 99.9 % of the pool, if
    they are nine tenths of all at most; or, if the last half of the picks adds less than 1 %, those
    that hold 99 % of what all add. Of several it is the fewest, but the first by preference, if it
    is not twice as many.

    Args:
      increases: what each pick raises E by, in the order picked, and without limits that force
        or forbid any.
      left_in_pool: what all records of the pool would add; None if it is not known.

    >>> import numpy as np
    >>> enough_picks(np.array([4.0, 2.0, 0.0, 0.0]))
    Enough(records=2, share=1.0, of='pool')
    >>> enough_picks(np.array([4.0, 2.0, 1.0]), 20.0) is None
    True
    """
    sums = np.cumsum(np.asarray(increases, np.float64))
    raised = np.flatnonzero(np.asarray(increases) > 0)
    count = len(sums)
    useful = int(raised[-1]) + 1 if len(raised) else 0
    if not count:
        return None
    # Where the best adds nothing, by concavity nothing does.
    found = Enough(useful, 1.0, "pool") if useful < count else None
    if not useful:
        return found

    def first(of: Literal["pool", "picks"], total: float, share: float) -> Enough:
        records = int(np.searchsorted(sums, share * total)) + 1
        return Enough(records, float(sums[records - 1] / total), of)

    fewer = []
    if left_in_pool is not None and 0 < _OF_POOL * left_in_pool <= sums[-1]:
        of_pool = first("pool", left_in_pool, _OF_POOL)
        fewer += [of_pool] if of_pool.records <= 0.9 * count else []
    if count >= _FEWEST and sums[-1] - sums[(count + 1) // 2 - 1] < (1 - _OF_PICKS) * sums[-1]:
        fewer.append(first("picks", sums[-1], _OF_PICKS))
    least = min(fewer, key=lambda one: one.records, default=None)
    if found is None or (least is not None and 2 * least.records <= found.records):
        return least
    return found


def information_of_pool(pool: Pool, graph: LabelGraph, measure: Measure) -> float:
    """E of all records of a pool (Eqs. 5 to 7), summed in float64 on the host.

    A part of the entries at a time: a large pool is not copied.

    >>> from mig_jax import label_graph_from_edges, pool_from_label_lists
    >>> pool = pool_from_label_lists([[0], [1]], [1.0, 3.0])
    >>> graph = label_graph_from_edges(2, [(0, 1, 1.0)])
    >>> round(information_of_pool(pool, graph, Measure()), 3)  # Both labels hold 2.
    3.482
    """
    records, labels = np.asarray(pool.records), np.asarray(pool.labels)
    scores = np.asarray(pool.scores)
    raw = np.zeros(max(graph.num_labels, 1))
    for start in range(0, len(records), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        raw += np.bincount(labels[part], scores[records[part]], len(raw))
    z = spread(graph, measure.propagation, raw)
    with jax.enable_x64(True):
        return float(information(measure, z[: graph.num_labels]))
