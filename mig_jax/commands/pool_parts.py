"""A pool that several processes hold together: each reads its part and knows what it must of all.

Every step that can meet bad input is taken together: where one process finds
some, all stop with its message.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
from jax.sharding import Mesh

from mig_jax import data
from mig_jax.devices import all_gather_parts, num_parts, own_part, together
from mig_jax.selection import Progress

__all__ = ["progress_of_first", "read_part", "table_of_picks"]


def read_part(mesh: Mesh, share: Callable[[int, int], data.PoolShare], **options: Any) -> Any:
    """This process's part of the pool; labels have the same ids in all parts.

    Args:
      mesh: its processes are those that read.
      share: `data.share_of_pool` for an index and a count.
      options: those of `PoolShare.read`.

    Returns:
      The `RecordTable` of the part. Its `label_names` and its counts (`records_read`,
      `records_skipped`, `labels_dropped`) are those of the whole pool.

    Raises:
      InputError: in all processes, as `data.read_pool` does in one.
    """
    index, count = own_part(mesh), num_parts(mesh)
    own = together(lambda: share(index, count), mesh)
    lines = all_gather_parts(together(own.count_lines, mesh), mesh)
    before = np.sum(lines[:index], axis=0, dtype=np.int64) * np.ones(len(own.files), np.int64)
    table = together(lambda: own.read(before, **options), mesh)
    used = np.bincount(table.file_index, minlength=len(own.files))
    own.check_all_used(np.sum(all_gather_parts(used, mesh), axis=0))
    return _unite_labels(table, mesh)


def table_of_picks(
    table: data.RecordTable, picks: np.ndarray, mesh: Mesh | None
) -> tuple[data.RecordTable, np.ndarray]:
    """A table that has all picks, and the picks as indices into it.

    Args:
      table: this process's part.
      picks: int64 [N], records of the whole pool.
      mesh: as for `read_part`; None where one process has the whole pool.
    """
    if num_parts(mesh) == 1:
        return table, picks
    sizes = all_gather_parts(np.array([table.num_records]), mesh)
    first = int(np.sum(sizes[: own_part(mesh)], dtype=np.int64))
    # Parts stand in the order of files and lines, as the picks do once they are sorted.
    own = np.sort(picks[(picks >= first) & (picks < first + table.num_records)]) - first
    columns: dict[str, Any] = {
        name: np.concatenate(all_gather_parts(getattr(table, name)[own], mesh))
        for name in ("scores", "file_index", "line", "position")
    }
    small = dataclasses.replace(
        table,
        labels=np.zeros(0, np.int32),
        offsets=np.zeros(len(picks) + 1, np.int64),
        **columns,
    )
    return small, np.searchsorted(np.sort(picks), picks)


def progress_of_first(progress: Progress | None, mesh: Mesh | None) -> Progress | None:
    """The first process's progress, which only it has read, in all processes."""
    if num_parts(mesh) == 1:
        return progress
    held = io.BytesIO()
    if progress is not None:
        table = {f"table{i}": leaf for i, leaf in enumerate(progress.table)}
        np.savez(held, **{**vars(progress), **table, "table": len(table)})
    told = all_gather_parts(np.frombuffer(held.getvalue(), np.uint8), mesh)[0]
    if not told.size:
        return None
    found = dict(np.load(io.BytesIO(told.tobytes())))
    leaves = tuple(found.pop(f"table{i}") for i in range(int(found["table"])))
    return Progress(**{**found, "table": leaves})


def _unite_labels(table: data.RecordTable, mesh: Mesh) -> data.RecordTable:
    own = np.frombuffer(msgspec.json.encode(table.label_names), np.uint8)
    every = [msgspec.json.decode(part.tobytes()) for part in all_gather_parts(own, mesh)]
    names = sorted(set().union(*every))
    place = {name: number for number, name in enumerate(names)}
    ids = np.array([place[name] for name in table.label_names], np.int32)
    counts: dict[str, Any] = {
        name: int(np.sum(all_gather_parts(np.array([getattr(table, name)]), mesh)))
        for name in ("records_read", "records_skipped", "labels_dropped")
    }
    labels = ids[table.labels] if len(table.labels) else table.labels
    return dataclasses.replace(table, labels=labels, label_names=names, **counts)
