"""Gradients of a study's records; what they say of the tasks is kept, for readers elsewhere."""

from __future__ import annotations

import functools

import numpy as np

from experiments.finetuning.influences import Influences, keep_influences, run_of_influences
from experiments.finetuning.study import Study
from mig_jax.language_models import AskedRecords, RecordGradients
from mig_jax.methods import influences, means_of_groups

__all__ = ["StudyGradients"]


class StudyGradients(RecordGradients):
    """Of records of the study's pool, and of its validation records."""

    def __init__(self, study: Study, records: int, step_size: float) -> None:
        """Nothing is computed before `of` is called.

        Args:
          study: whose model, pool and validation records they are of.
          records: how many of the pool's are asked about, at most.
          step_size: of the warm-up.
        """
        super().__init__(study, study.validation, *study.read_validation(), records, step_size)
        self._study = study

    @functools.cached_property
    def found(self) -> AskedRecords:
        """As it is asked for the first time, influences are kept in the study's folder."""
        folder, asked = self._study.folder, self.run() | {"gradient_records": self.records}
        influences_are_kept = run_of_influences(folder) == asked
        found = super().found
        if not influences_are_kept:
            keep_influences(folder, asked, self._influences(found))
        return found

    def _influences(self, found: AskedRecords) -> Influences:
        """On the mean gradient of each task, with the curvature over all records asked about."""
        known = found.wanted.any(axis=1)
        wanted, groups = found.wanted[known], self._study.validation.groups[known]
        means = means_of_groups(wanted, groups)
        taught = influences(found.gradients, means, np.maximum(self._study.costs[self.asked], 1))
        tasks = np.unique(groups).tolist()
        return Influences(self.asked, tasks, taught.astype(np.float32), found.losses)
