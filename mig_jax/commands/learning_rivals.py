"""What else sees the same validation records: to be compared with what is learned."""

from __future__ import annotations

import time

import numpy as np

from mig_jax.commands.candidates import candidates_of_table
from mig_jax.learning import Candidate, Chosen, Inputs, Task
from mig_jax.methods import Limits, choose

__all__ = ["rivals"]

_RIVALS = {
    "dsir": "words likely among the validation records, task by task",
    "rds": "the nearest to the validation records by their words, task by task",
}


def rivals(inputs: Inputs, task: Task) -> list[Chosen]:
    """The selections of DSIR and RDS+ for conversations that are wanted, if the task has any."""
    if task.wanted is None:
        return []
    costs = np.zeros(inputs.table.num_records)
    candidates = candidates_of_table(inputs.table, costs, validation=task.wanted)
    found = []
    for name, about in _RIVALS.items():
        start = time.perf_counter()
        picks = choose(name, candidates, Limits(records=inputs.budget), seed=inputs.seed)
        candidate = Candidate(picks, lambda picks: 0.0)
        found.append(Chosen(name, [candidate], time.perf_counter() - start, about))
    return found
