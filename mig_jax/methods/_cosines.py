"""Cosines that come out the same in whatever order and in whatever blocks they are added up.

A product of matrices in float32 differs in its last bits from one block size, thread count or
library to the next; then ties, of which a pool with copies is full, fall either way. Rounded to
multiples of 2⁻¹¹, numbers of at most 1 have products that are multiples of 2⁻²², and sums of
these below 4 are exact in float32. The rounding moves a cosine by some 2e-4.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["rounded"]

_STEPS = 2.0**11
_LONGEST = 1.01  # Of unit length, up to the rounding of whoever made them.


def rounded(embeddings: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Embeddings [n, D] on the grid: inner products of two rows are exact in float32.

    Raises:
      ValueError: if a row is longer than 1 or not finite. Rows of zeros are let through: a text
        without words is like no other.

    >>> rounded(np.array([[0.6, 0.8]], np.float32)) * 2048
    array([[1229., 1638.]], dtype=float32)
    """
    squares = np.einsum("nd,nd->n", embeddings, embeddings)
    wrong = np.flatnonzero(~(squares <= _LONGEST**2))
    if wrong.size:
        length = float(np.sqrt(squares[wrong[0]]))
        raise ValueError(
            f"embeddings: row {wrong[0]} has length {length:g}; expected rows of unit length"
        )
    return (np.rint(embeddings * _STEPS) / _STEPS).astype(np.float32)
