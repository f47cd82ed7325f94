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

from mig_jax.methods._candidates import Candidates, Limits
from mig_jax.methods._cosines import rounded

__all__ = ["rds"]


def rds(candidates: Candidates, rng: np.random.Generator, limits: Limits) -> Iterator[int]:
    """Records in turn for each wanted one, or for each task if there are several.

    Tasks come by name, wanted records as they are; ties go to the lowest index.

    Raises:
      ValueError: if nothing is wanted.
    """
    wanted = candidates.wanted
    if wanted is None or not len(wanted.groups):
        raise ValueError("rds: nothing is wanted; expected at least one wanted record")
    rows = rounded(candidates.embeddings())
    aims = rounded(wanted.embeddings())
    tasks = np.unique(wanted.groups)
    if len(tasks) == 1:
        nearness = aims @ rows.T
    else:
        of_tasks = [(rows @ aims[wanted.groups == task].T).max(axis=1) for task in tasks]
        nearness = np.stack(of_tasks)
    turns = itertools.cycle(range(len(nearness)))
    for turn in itertools.islice(turns, len(rows)):
        record = int(nearness[turn].argmax())
        nearness[:, record] = -np.inf
        yield record
