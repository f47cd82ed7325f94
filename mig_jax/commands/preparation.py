"""All that stands before a selection: the pool is read, its limits and its problem are known."""

from __future__ import annotations

import dataclasses
import functools

from mig_jax import data
from mig_jax.commands.budgets import Budget, read_budget
from mig_jax.commands.extension import Changes, Extension, read_extension
from mig_jax.commands.given_records import GivenRecords, read_given
from mig_jax.commands.pool_inputs import (
    Outputs,
    check_budget,
    check_worth,
    read_table,
    say_if_one_outweighs,
    say_read,
)
from mig_jax.commands.pool_passes import check_dataset_info
from mig_jax.commands.problem import Problem, read_problem
from mig_jax.commands.select_options import SelectOptions
from mig_jax.commands.timing import timed
from mig_jax.devices import Hosts
from mig_jax.measure import pool_from_table

__all__ = ["Prepared", "prepare_selection"]


@dataclasses.dataclass(frozen=True, eq=False)
class Prepared:
    """What a selection is made of and must keep to; of this process's part of the pool."""

    table: data.RecordTable
    num_records: int  #: Of the whole pool.
    given: GivenRecords
    budget: Budget
    earlier: Extension | Changes | None
    problem: Problem


def _check_most(options: SelectOptions, records: int) -> None:
    """Raises InputError if so many records, or fewer, are too few; a share of them never is."""
    if isinstance(options.budget, int):
        check_budget(options.budget, records)


def prepare_selection(
    options: SelectOptions, outputs: Outputs | None, hosts: Hosts, seconds: dict[str, float]
) -> Prepared:
    """Reads what the flags name, and refuses what cannot be used.

    Args:
      options: the flags.
      outputs: get the records that are rejected; None to keep them nowhere.
      hosts: the processes that select together.
      seconds: gets the time of each stage.

    Raises:
      InputError: for anything given that cannot be used.
    """
    with timed(seconds, "reading"):
        form = options.written_form
        table = read_table(
            options,
            outputs,
            options.stem,
            fits=form,
            hosts=hosts,
            check=functools.partial(_check_most, options),
        )
        if options.form == "parquet":
            hosts.together(lambda: data.check_one_table(table.sources))
    pool = pool_from_table(table)
    num_records = hosts.sum(table.num_records)
    say_read(table, hosts)
    check_worth(table, hosts)
    if hosts.count == 1:  # None of several has all scores.
        say_if_one_outweighs(table)
    given = read_given(options, table, hosts)
    budget = read_budget(options, table, hosts, given.own if len(given) else None)
    earlier = read_extension(options, table, given.records, hosts)
    if isinstance(earlier, Changes):
        budget = earlier.limit(budget, table, hosts)
    joined_at = earlier.joined_at if isinstance(earlier, Extension) else None
    if options.dataset_info is not None:
        with timed(seconds, "checking"):
            as_rows = options.form == "parquet"
            check_dataset_info(table, form, options.fields, hosts, as_rows=as_rows)
    with timed(seconds, "graph"):
        problem = hosts.together(lambda: read_problem(options, table, pool, joined_at=joined_at))
    return Prepared(table, num_records, given, budget, earlier, problem)
