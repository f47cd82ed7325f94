"""The records of --given: which of those read they are, and what a selection with them tells."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from mig_jax import data
from mig_jax.commands.select_options import SelectOptions
from mig_jax.commands.terminal import say
from mig_jax.devices import ALONE, Hosts
from mig_jax.errors import InputError
from mig_jax.measure import Array, LabelGraph, Measure, Pool
from mig_jax.selection import in_range, selected_information

__all__ = ["GivenRecords", "own_records", "read_given"]


@dataclasses.dataclass(frozen=True, eq=False)
class GivenRecords:
    """Records that are there already; without any, all of this changes nothing."""

    records: np.ndarray  #: int64 [G]: of the whole pool, in the order given.
    own: np.ndarray  #: bool, of the records of this process's part.
    files: list[str]  #: As --given names them.
    included: bool  #: Whether they are written, before the picks.

    def __len__(self) -> int:
        return len(self.records)

    def held(self, pool: Pool, graph: LabelGraph, measure: Measure, hosts: Hosts = ALONE) -> Array:
        """z of these records alone."""
        with in_range(pool, graph, measure, hosts.mesh) as problem:
            return selected_information(*problem, self.records, mesh=hosts.mesh)

    def with_picks(self, picks: np.ndarray) -> np.ndarray:
        """These records and then the picks."""
        return np.concatenate([self.records, picks])

    def told(self, held: float) -> dict[str, Any]:
        """What the manifest tells of them, who hold so much alone."""
        if not len(self):
            return {}
        about = {"files": self.files, "records": len(self), "information": held}
        return {"given": {**about, "included": self.included}}


def read_given(options: SelectOptions, table: data.RecordTable, hosts: Hosts) -> GivenRecords:
    """The records of --given among those read, each once.

    Raises:
      InputError: in all processes, if a selection cannot be read, or the pool lacks one of its
        records.
    """
    found = []
    for path in options.given_places:
        rows = hosts.together(lambda path=path: _rows(path, table))  # type: ignore[misc]
        if rows is None:
            [index] = _files_named(path, table.files)
            found.append(_gathered(np.flatnonzero(table.file_index == index), table, hosts))
            continue
        records = own_records(rows, table, hosts)
        if lacking := int(np.count_nonzero(records < 0)):
            raise InputError(
                f"--given: {path}: {lacking:,} of its {len(records):,} records are not in --pool; "
                "expected a selection of files of --pool, or another file with records"
            )
        found.append(records)
    records = np.concatenate([np.zeros(0, np.int64), *found])
    _, first = np.unique(records, return_index=True)
    records = records[np.sort(first)]
    own = np.zeros(table.num_records, bool)
    start = _first_of_part(table, hosts)
    here = (records >= start) & (records < start + table.num_records)
    own[records[here] - start] = True
    if len(records):
        if len(records) == hosts.sum(table.num_records):
            raise InputError(
                "--given: all records of --pool are given; expected some that can be picked"
            )
        say(f"{len(records):,} records are given")
    return GivenRecords(records, own, list(options.given), options.include_given)


def _rows(path: str, table: data.RecordTable) -> np.ndarray | None:
    """The rows of the table that a selection is of; None if the path is a file of the table."""
    if _files_named(path, table.files):
        return None
    return data.read_selection(path).rows_in(table)


def _files_named(path: str, files: Sequence[str]) -> list[int]:
    real = os.path.realpath(path)
    return [i for i, name in enumerate(files) if name == path or os.path.realpath(name) == real]


def own_records(rows: np.ndarray, table: data.RecordTable, hosts: Hosts) -> np.ndarray:
    """Rows of this process's part, −1 for what others have, as records of the whole pool."""
    start = _first_of_part(table, hosts)
    return np.max(hosts.gather(np.where(rows >= 0, rows + start, -1)), axis=0)


def _gathered(rows: np.ndarray, table: data.RecordTable, hosts: Hosts) -> np.ndarray:
    return np.concatenate(hosts.gather(rows + _first_of_part(table, hosts)))


def _first_of_part(table: data.RecordTable, hosts: Hosts) -> int:
    sizes = hosts.gather(np.array([table.num_records]))
    return int(np.sum(sizes[: hosts.index], dtype=np.int64))
