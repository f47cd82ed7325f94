"""Records side by side in rows of one length, so that programs see few shapes."""

from __future__ import annotations

import heapq
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mig_jax.errors import InputError

from ._encoding import EncodedRecords

__all__ = ["SIZES", "Batch", "Rows", "lay_out", "pack", "with_room"]

SIZES = 8  #: How many sizes the questions of a batch are padded to, unless it is said.


class Batch(NamedTuple):
    """B rows of S tokens, and the M tokens that are asked for; padding has weight 0."""

    tokens: npt.NDArray[np.int32]  #: [B, S].
    positions: npt.NDArray[np.int32]  #: [B, S], from 0 within a record.
    segments: npt.NDArray[np.int32]  #: [B, S]: the record's number within its row, or -1.
    at: npt.NDArray[np.int32]  #: [M]: places in the B · S tokens; the next token is asked for.
    targets: npt.NDArray[np.int32]  #: [M].
    weights: npt.NDArray[np.float32]  #: [M]: 1, or 0 for padding.
    owners: npt.NDArray[np.int64]  #: [M]: the record of each; -1 for padding.


Rows = list[list[int]]
"""The records of each row."""


def pack(lengths: npt.NDArray[np.int64], records: npt.NDArray[np.int64], length: int) -> Rows:
    """Puts records into few rows: the longest first, each where least room is left over.

    Args:
      lengths: tokens of all records.
      records: those to be packed.
      length: tokens of a row.

    Raises:
      InputError: if a record is longer than a row.
    """
    order = records[np.argsort(-lengths[records], kind="stable")]
    if len(order) and lengths[order[0]] > length:
        raise InputError(
            f"record {order[0]} has {lengths[order[0]]} tokens; expected at most {length}, a row"
        )
    rows: Rows = []
    by_room: list[list[int]] = [[] for _ in range(length + 1)]  # Rows by what is left of them.
    for record in order.tolist():
        need = int(lengths[record])
        room = next((r for r in range(need, length + 1) if by_room[r]), None)
        if room is None:
            rows.append([])
            row, room = len(rows) - 1, length
        else:
            row = heapq.heappop(by_room[room])
        rows[row].append(record)
        heapq.heappush(by_room[room - need], row)
    return rows


def lay_out(
    encoded: EncodedRecords, rows: Rows, count: int, length: int, sizes: int = SIZES
) -> Batch:
    """One batch of `count` rows, those of `rows` and empty ones; all response tokens are asked.

    The number of questions is rounded up to one of `sizes`, so that batches have few shapes.
    """
    tokens = np.zeros((count, length), np.int32)
    positions = np.zeros((count, length), np.int32)
    segments = np.full((count, length), -1, np.int32)
    at, targets, owners = [], [], []
    for b, row in enumerate(rows):
        place = 0
        for number, record in enumerate(row):
            ids = encoded.of(record)
            span = slice(place, place + len(ids))
            tokens[b, span], positions[b, span] = ids, np.arange(len(ids))
            segments[b, span] = number
            asked = np.arange(encoded.starts[record] - 1, len(ids) - 1)
            at.append(b * length + place + asked)
            targets.append(ids[asked + 1])
            owners.append(np.full(len(asked), record))
            place += len(ids)
    found = sum(map(len, at))
    step = -(-count * length // sizes)

    def joined(parts: list, kind: type) -> np.ndarray:
        return np.concatenate([np.zeros(0, kind), *parts]).astype(kind)

    batch = Batch(
        tokens,
        positions,
        segments,
        joined(at, np.int32),
        joined(targets, np.int32),
        np.ones(found, np.float32),
        joined(owners, np.int64),
    )
    return with_room(batch, max(-(-found // step), 1) * step)


def with_room(batch: Batch, questions: int) -> Batch:
    """The same batch with room for so many questions: what is added is padding."""
    padding = questions - len(batch.at)

    def padded(values: npt.NDArray[Any], fill: int) -> npt.NDArray[Any]:
        return np.concatenate([values, np.full(padding, fill, values.dtype)])

    return batch._replace(
        at=padded(batch.at, 0),
        targets=padded(batch.targets, 0),
        weights=padded(batch.weights, 0),
        owners=padded(batch.owners, -1),
    )
