"""What the page of a selection is made of."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Bool

from mig_jax import data
from mig_jax.measure import LabelGraph, Measure, Pool
from mig_jax.selection import UNCONSTRAINED, Constraints, Selection

__all__ = ["Selected"]


@dataclasses.dataclass(frozen=True)
class Selected:
    """All that the page is made of."""

    about: dict[str, Any]  # The manifest.
    table: data.RecordTable
    pool: Pool
    graph: LabelGraph
    measure: Measure
    selection: Selection
    fields: data.FieldNames
    constraints: Constraints = UNCONSTRAINED  # That it had to keep to.

    @property
    def given(self) -> Bool[np.ndarray, " records"] | None:
        """Records that z holds from the start."""
        return None if self.constraints.given is None else np.asarray(self.constraints.given)
