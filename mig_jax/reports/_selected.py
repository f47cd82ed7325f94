"""What the page of a selection is made of."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Bool

from mig_jax import data
from mig_jax.measure import LabelGraph, Measure, Pool
from mig_jax.selection import Selection

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
    given: Bool[np.ndarray, " records"] | None = None  # Records that z holds from the start.
