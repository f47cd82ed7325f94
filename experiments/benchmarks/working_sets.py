"""The working set of the library, as far as it has one.

Which shape of it suits a device is what benchmarks are to find: they need its name.
"""

from __future__ import annotations

from typing import Any

import mig_jax
from mig_jax import selection

__all__ = ["SET_SIZE", "first_state"]

#: The class that tells the shape of a working set; None if the library knows none.
SET_SIZE: Any = getattr(selection, "SetSize", None)

_suitable: Any = getattr(selection, "set_size", None)


def first_state(measure: mig_jax.Measure, pages: Any, z: Any, picks: int) -> Any:
    """The state that `select` begins with, for so many picks by exact gains."""
    if _suitable is None:
        return selection.initial_state(mig_jax.EXACT, measure, pages, z)
    size = _suitable(pages, picks)
    return selection.initial_state(mig_jax.EXACT, measure, pages, z, size=size)
