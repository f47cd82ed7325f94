"""What a selection that was made in another way holds by the measure."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from mig_jax.measure import EXACT, LabelGraph, Measure, Pool, information
from mig_jax.selection._evaluation import selected_information
from mig_jax.selection._number_range import in_range
from mig_jax.selection._select import Selection
from mig_jax.selection._trajectories import Trajectories

__all__ = ["selection_of_picks"]


def selection_of_picks(
    pool: Pool, graph: LabelGraph, measure: Measure, picks: Int[np.ndarray, " picks"]
) -> Selection:
    """The picks as a `Selection`: what each adds behind those before it, and what all hold.

    Nobody chose by these gains, which are exact, so they rise and fall.

    Args:
      pool: P records.
      graph: K labels.
      measure: score functions and α.
      picks: records, in order, each at most once.

    Raises:
      ValueError: if `picks` names a record twice or one that the pool does not have, or the pool
        has a label that the graph has not.

    >>> from mig_jax import label_graph_from_edges, pool_from_label_lists
    >>> pool = pool_from_label_lists([[0], [0], [1]], [1.0, 1.0, 2.0])
    >>> found = selection_of_picks(pool, label_graph_from_edges(2), Measure(), np.array([0, 1, 2]))
    >>> found.gains.round(2).tolist()
    [1.0, 0.74, 1.74]
    """
    with in_range(pool, graph, measure) as problem:
        z = np.asarray(selected_information(*problem, picks))
        held = float(information(problem[2], z))
    gains = Trajectories.of(pool, graph, measure, EXACT, picks).gains
    return Selection(np.asarray(picks, np.int64), gains, gains, z, held)
