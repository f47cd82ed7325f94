"""What a selection may hold: its budget and its constraints, from flags and the pool read."""

from __future__ import annotations

import dataclasses
from typing import Any

from mig_jax import data
from mig_jax.commands.pool_inputs import check_budget
from mig_jax.commands.select_options import SelectOptions
from mig_jax.devices import Hosts
from mig_jax.selection import UNCONSTRAINED, Constraints

__all__ = ["Budget", "read_budget"]


@dataclasses.dataclass(frozen=True, eq=False)
class Budget:
    """How much may be picked; of the constraints, what is told a record is of this part."""

    records: int | None  #: None if only costs are limited.
    constraints: Constraints = UNCONSTRAINED
    told: dict[str, Any] = dataclasses.field(default_factory=dict)  #: For the manifest.


def read_budget(options: SelectOptions, table: data.RecordTable, hosts: Hosts) -> Budget:
    """The budget that the flags describe for the pool.

    Raises:
      InputError: in all processes, if the pool has no selection that keeps to it.
    """
    check_budget(options.budget, hosts.sum(table.num_records))
    return Budget(options.budget)
