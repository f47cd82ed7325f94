"""A pool that several processes hold together: each reads its part and knows what it must of all.

Every step that can meet bad input is taken together: if one process finds
some, all stop with its message.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from mig_jax import data
from mig_jax.devices import Hosts
from mig_jax.selection import Progress

__all__ = ["own_picks", "progress_of_first", "read_part", "table_of_picks"]


def read_part(hosts: Hosts, share: Callable[[int, int], data.PoolShare], **options: Any) -> Any:
    """This process's part of the pool; labels have the same ids in all parts.

    Args:
      hosts: the processes that read.
      share: `data.share_of_pool` for an index and a count.
      options: those of `PoolShare.read`.

    Returns:
      The `RecordTable` of the part. Its `label_names` and its counts (`records_read`,
      `records_skipped`, `labels_dropped`) are those of the whole pool.

    Raises:
      InputError: in all processes, as `data.read_pool` does in one.
    """
    own = hosts.together(lambda: share(hosts.index, hosts.count))
    lines = hosts.gather(hosts.together(own.count_lines))
    earlier = np.sum(lines[: hosts.index], axis=0, dtype=np.int64)
    before = earlier * np.ones(len(own.files), np.int64)
    table = hosts.together(lambda: own.read(before, **options))
    used = np.bincount(table.file_index, minlength=len(own.files))
    own.check_all_used(np.sum(hosts.gather(used), axis=0))
    return _unite_labels(table, hosts)


def own_picks(num_records: int, picks: np.ndarray, hosts: Hosts) -> np.ndarray:
    """Of records of the whole pool, those of this process's part, as indices into it.

    `num_records` is how many records the part has.
    """
    sizes = hosts.gather(np.array([num_records]))
    first = int(np.sum(sizes[: hosts.index], dtype=np.int64))
    return picks[(picks >= first) & (picks < first + num_records)] - first


def table_of_picks(
    table: data.RecordTable, picks: np.ndarray, hosts: Hosts
) -> tuple[data.RecordTable, np.ndarray]:
    """A table that has all picks, and the picks as indices into it.

    Args:
      table: this process's part.
      picks: int64 [N], records of the whole pool.
      hosts: as for `read_part`.
    """
    if hosts.count == 1:
        return table, picks
    # Parts stand in the order of files and lines, as the picks do once they are sorted.
    own = np.sort(own_picks(table.num_records, picks, hosts))
    columns: dict[str, Any] = {
        name: np.concatenate(hosts.gather(getattr(table, name)[own]))
        for name in ("scores", "file_index", "line", "position")
    }
    counts = np.diff(table.offsets)
    is_own = np.zeros(table.num_records, bool)
    is_own[own] = True
    labels = np.concatenate(hosts.gather(table.labels[np.repeat(is_own, counts)]))
    counts = np.concatenate(hosts.gather(counts[own]))
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    small = dataclasses.replace(table, labels=labels, offsets=offsets, **columns)
    return small, np.searchsorted(np.sort(picks), picks)


def progress_of_first(progress: Progress | None, hosts: Hosts) -> Progress | None:
    """The first process's progress, which only it has read, in all processes."""
    if hosts.count == 1:
        return progress
    held = io.BytesIO()
    if progress is not None:
        table = {f"table{i}": leaf for i, leaf in enumerate(progress.table)}
        np.savez(held, **{**progress.arrays(), **table, "table": len(table)})
    told = hosts.gather(np.frombuffer(held.getvalue(), np.uint8))[0]
    if not told.size:
        return None
    found = dict(np.load(io.BytesIO(told.tobytes())))
    leaves = [found.pop(f"table{i}") for i in range(int(found["table"]))]
    return Progress.of({**found, "table": leaves})


def _unite_labels(table: data.RecordTable, hosts: Hosts) -> data.RecordTable:
    own = np.frombuffer(msgspec.json.encode(table.label_names), np.uint8)
    every = [msgspec.json.decode(part.tobytes()) for part in hosts.gather(own)]
    names = sorted(set().union(*every))
    place = {name: number for number, name in enumerate(names)}
    ids = np.array([place[name] for name in table.label_names], np.int32)
    counts: dict[str, Any] = {
        name: hosts.sum(getattr(table, name))
        for name in ("records_read", "records_skipped", "labels_dropped")
    }
    labels = ids[table.labels] if len(table.labels) else table.labels
    return dataclasses.replace(table, labels=labels, label_names=names, **counts)
