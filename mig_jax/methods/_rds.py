"""RDS+: what is nearest to the records wanted, taking turns (2503.01807).

For one task its wanted records take turns, and each takes the pool's record that is nearest to
it of those not yet taken. For several, tasks take turns: a record is as near to a task as to
the nearest of its wanted records, so that no task with many of them, or with larger cosines, gets
more. The paper embeds instruction and response by the model to be trained, as the mean of its
last states, later tokens weighted more; here the candidates' embeddings stand for that.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from mig_jax.errors import InputError
from mig_jax.methods._candidates import Candidates, Limits
from mig_jax.methods._cosines import rounded
from mig_jax.methods._turns import take_turns

__all__ = ["rds"]


def rds(candidates: Candidates, rng: np.random.Generator, limits: Limits) -> Iterator[int]:
    """Records in turn for each wanted one, or for each task if there are several.

    Next is always the task that has had the least so far, in tokens if these are limited, else
    in records as in the paper; of several the first by name. Wanted records of a single task
    come one after the other. Ties go to the lowest index. Wanted records whose embeddings are
    zeros, as of texts without a word that the pool has, are left out: nothing is nearest to them.

    Raises:
      InputError: if a task has no other wanted records.
    """
    wanted = candidates.wanted
    assert wanted is not None
    rows = rounded(candidates.embeddings())
    aims = rounded(wanted.embeddings())
    known = aims.any(axis=1)
    aims, groups = aims[known], wanted.groups[known]
    tasks = np.unique(groups)
    for task in np.setdiff1d(wanted.groups, tasks):
        raise InputError(
            f"the records wanted{f' of task {task}' if task else ''} have no word that the pool "
            "has, so that nothing is nearest to them; expected records of the pool's language, or "
            "embeddings by a model"
        )
    if len(tasks) == 1:
        yield from _nearest_in_turn(aims @ rows.T)
    else:
        nearness = [(rows @ aims[groups == task].T).max(axis=1) for task in tasks]
        orders = [np.argsort(-of_task, kind="stable").tolist() for of_task in nearness]
        yield from take_turns(orders, None if limits.tokens is None else candidates.costs)


def _nearest_in_turn(nearness: npt.NDArray[np.float32]) -> Iterator[int]:
    """Each row takes its largest column not yet taken, row by row, until all are; overwrites it.

    >>> list(_nearest_in_turn(np.array([[3.0, 2.0, 1.0], [3.0, 0.0, 1.0]])))
    [0, 2, 1]
    """
    rows, columns = nearness.shape
    for row in itertools.islice(itertools.cycle(range(rows)), columns):
        best = int(nearness[row].argmax())
        nearness[:, best] = -np.inf
        yield best
