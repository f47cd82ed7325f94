"""Pages of one shape for all pools of one shape, so that they share a compiled program."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mig_jax.selection import EMPTY
from tests.strategies import Case


def pages_at_most(case: Case, area: int) -> int:
    """How many pages of that area a pool of this shape can need, whatever its rows are."""
    widest = 1 << max(case.num_labels - 1, 3).bit_length()
    return -(-len(case.scores) * widest // area) + 3  # The last of each width may not be full.


def with_empty_pages(pages: Any, count: int) -> Any:
    """Pages that hold the same, and empty ones, `count` together: so all pools have one shape."""

    def padded(array: Any, empty: int, length: int = count) -> jax.Array:
        array = np.asarray(array)
        missing = [(0, length - len(array)), *[(0, 0)] * (array.ndim - 1)]
        return jnp.asarray(np.pad(array, missing, constant_values=empty))

    return dataclasses.replace(
        pages,
        labels=padded(pages.labels, 0),
        values=padded(pages.values, 0),
        records=padded(pages.records, EMPTY, (count + 1) * pages.page_rows),
        # Empty pages have the rows behind the last.
        starts=padded(pages.starts, len(pages.records) - pages.page_rows),
        width_log2=padded(pages.width_log2, 2),
    )
