"""What the core takes for an array."""

from __future__ import annotations

from typing import Any

__all__ = ["Array"]

Array = Any  # jax.Array or numpy.ndarray: the core takes either
