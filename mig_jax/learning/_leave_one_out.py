"""How well past runs are placed by what was learned from the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from mig_jax.learning._learn import learn
from mig_jax.learning._normalised_momentum import FROM_AFAR, default_optimiser
from mig_jax.learning._parameters import LearnedMeasure, Parameterisation, soften
from mig_jax.learning.objectives import Subsets, spearman, subset_information, subsets
from mig_jax.measure import LabelGraph, Pool

__all__ = ["leave_one_out"]


def leave_one_out(
    pool: Pool,
    graph: LabelGraph,
    parameterisation: Parameterisation,
    picks: list[Any],
    results: Any,
    key: jax.Array,
    *,
    seed: int,
    on_subset: Callable[[int], None] | None = None,
    **settings: Any,
) -> tuple[float, np.ndarray]:
    """How well E, learned from all measured subsets but one, places the one left out.

    Args:
      pool: P records.
      graph: K labels.
      parameterisation: of the same K labels.
      picks: for each of S subsets the record indices in it.
      results: float [S], as measured; the higher the better.
      key: for the initial parameters.
      seed: of what is held out, for early stopping, in each of the S runs.
      on_subset: called with the number of subsets done.
      **settings: of `learn`; steps are larger than there without an `optimiser`.

    Returns:
      Spearman's rank correlation with the results of the predictions; and these, float
      [S]: E of the subset left out, less the mean of the others' and over their spread.
    """
    results = np.asarray(results, np.float64)
    settings = {"optimiser": default_optimiser(FROM_AFAR)} | settings
    # Compiled for all runs at once, so the runs differ in data alone and not in shape.
    every = subsets(picks, results, pool, seed=seed)
    predictions = np.zeros(len(picks))
    for left_out in range(len(picks)):
        others = [number for number in range(len(picks)) if number != left_out]
        objective = subsets([picks[n] for n in others], results[others], pool, seed=seed)
        found = learn(pool, graph, parameterisation, objective, 1, key, **settings)
        values = np.asarray(_values_of_subsets(every, found.learned, pool, graph))
        spread = values[others].std()
        predictions[left_out] = (values[left_out] - values[others].mean()) / (spread or 1.0)
        if on_subset is not None:
            on_subset(left_out + 1)
    return spearman(predictions, results), predictions


@jax.jit
def _values_of_subsets(
    objective: Subsets, learned: LearnedMeasure, pool: Pool, graph: LabelGraph
) -> jax.Array:
    return subset_information(objective, *soften(learned, pool, graph, 0.02))
