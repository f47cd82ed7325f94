"""What each record would teach a model, as a short vector: its gradient, projected.

The gradient of a record's loss with respect to a matrix that is added to the last hidden state is
a sum over tokens of an outer product: the state, and the gradient with respect to the logits
times the head. Both are projected to few dimensions before the product is taken. Inner products
of such vectors tell, to first order, by how much a step on one record lowers the loss of another
(TracIn, arXiv 2002.08484; LESS, arXiv 2402.04333, which takes the gradients of adapters).
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
import numpy.typing as npt

from ._architecture import Weights
from ._packing import Batch
from ._tuning import TunedModel

__all__ = ["Projections", "gradients_of", "main_directions"]

_RECORDS_A_ROW = 32  # As many as most rows hold.


class Projections(NamedTuple):
    """Where states and errors are projected to: float32 [d, a] and [d, b]."""

    states: npt.NDArray[np.float32]
    errors: npt.NDArray[np.float32]


def gradients_of(
    model: TunedModel,
    own: Weights,
    projections: Projections,
    batch: Batch,
    x: npt.NDArray[Any] | None,
    with_ends: bool,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """The records of a batch, their gradients [R, a · b], and their mean losses [R].

    A gradient is a sum over a response's tokens, as training adds them up; without ends the
    token that ends the answer is left out of both.
    """
    asked = batch.owners >= 0
    if not with_ends:
        asked &= np.append(batch.owners[1:] == batch.owners[:-1], False)
    records, numbers = np.unique(batch.owners[asked], return_inverse=True)
    place = np.zeros(len(batch.owners), np.int32)
    place[asked] = numbers
    count = _RECORDS_A_ROW * len(batch.tokens)  # One shape for most batches.
    while count < len(records):
        count *= 2
    states, errors, nats = model.errors(own, batch, x)
    sums, losses = _sums(projections, states, errors, nats, asked, place, count)
    tokens = np.bincount(numbers, minlength=len(records))
    found = np.asarray(sums)[: len(records)].reshape(len(records), -1)
    means = np.asarray(losses)[: len(records)] / tokens
    return records, found, means.astype(np.float32)


@partial(jax.jit, static_argnames="count")
def _sums(
    projections: Projections,
    states: jax.Array,
    errors: jax.Array,
    nats: jax.Array,
    asked: jax.Array,
    place: jax.Array,
    count: int,
) -> tuple[jax.Array, jax.Array]:
    """The sums over tokens of each record, by its place: [count, a, b] and [count]."""
    a = states @ projections.states
    b = (errors @ projections.errors) * asked[:, None]
    sums = jax.ops.segment_sum(a[:, :, None] * b[:, None, :], place, count)
    return sums, jax.ops.segment_sum(nats * asked, place, count)


def main_directions(rows: npt.NDArray[np.float32], count: int) -> npt.NDArray[np.float32]:
    """The first principal directions of rows [n, d], not centred: float32 [d, count]."""
    covariance = rows.T.astype(np.float64) @ rows
    _, vectors = np.linalg.eigh(covariance)
    return np.ascontiguousarray(vectors[:, ::-1][:, :count], np.float32)
