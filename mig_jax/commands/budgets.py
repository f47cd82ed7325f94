"""What a selection may hold: its budget and its constraints, from flags and the pool read."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from mig_jax import data
from mig_jax.commands.flag_values import amount_of
from mig_jax.commands.group_quotas import GroupQuotas, read_group_quotas
from mig_jax.commands.pool_inputs import check_budget
from mig_jax.commands.pool_parts import own_picks
from mig_jax.commands.quotas import RECORDS, TOKENS
from mig_jax.commands.select_options import SelectOptions
from mig_jax.commands.terminal import progress_bar, say
from mig_jax.devices import Hosts
from mig_jax.errors import InputError
from mig_jax.selection import UNCONSTRAINED, Certificate, Constraints, InfeasibleError

__all__ = ["Budget", "read_budget"]

_MOST_TOKENS = 2**31 - 2  # The core has the next number for no limit.


@dataclasses.dataclass(frozen=True, eq=False)
class Budget:
    """How much may be picked; of the constraints, what is told a record is of this part."""

    records: int | None  #: None if only costs are limited.
    constraints: Constraints = UNCONSTRAINED
    told: dict[str, Any] = dataclasses.field(default_factory=dict)  #: For the manifest.
    quotas: GroupQuotas | None = None

    @property
    def most_cost(self) -> int | None:
        """The tokens of the budget; None if only records are limited."""
        most = self.constraints.most_cost
        return None if most is None else int(most)

    @property
    def unit(self) -> str:
        """What the picking of is shown."""
        return RECORDS if self.most_cost is None else TOKENS

    @property
    def total(self) -> int | None:
        """How much may be picked, in the unit."""
        return self.records if self.most_cost is None else self.most_cost

    def spent(self, picks: np.ndarray, hosts: Hosts) -> int:
        """How much these records of the whole pool are, in the unit; all processes ask together."""
        return len(picks) if self.most_cost is None else self.tokens(picks, hosts)

    def tokens(self, picks: np.ndarray, hosts: Hosts) -> int:
        """The tokens of these records of the whole pool; all processes ask together."""
        costs = np.asarray(self.constraints.costs)
        own = own_picks(len(costs), picks, hosts)
        return hosts.sum(int(np.sum(costs[own], dtype=np.int64)))

    def refusal(self, error: InfeasibleError) -> InputError:
        """What is told if the core finds no selection that keeps to the quotas."""
        names = None if self.quotas is None else self.quotas.names
        return InputError(f"--quota: {error.told(names, TOKENS)}")

    def tokens_of(self, picks: np.ndarray, hosts: Hosts) -> np.ndarray | None:
        """int64 [N]: the tokens of each of these records; None if tokens do not count."""
        costs = self.constraints.costs
        if costs is None:
            return None
        own = np.sort(own_picks(len(costs), picks, hosts))
        of_sorted = np.concatenate(hosts.gather(np.asarray(costs, np.int64)[own]))
        return of_sorted[np.searchsorted(np.sort(picks), picks)]

    def told_of(
        self, picks: np.ndarray, certificate: Certificate | None, hosts: Hosts
    ) -> dict[str, Any]:
        """What the manifest tells of the budget, and of what was selected within it."""
        about = dict(self.told)
        prices = None if certificate is None else certificate.prices
        if prices is not None:
            about["prices"] = {"record": prices.record, "token": prices.cost}
        if "tokens" in about:
            about["tokens"] = {**about["tokens"], "used": self.tokens(picks, hosts)}
        if self.quotas is not None:
            of_groups = None if prices is None else prices.groups
            costs = self.constraints.costs
            about["quotas"] = self.quotas.told_of(picks, costs, of_groups, hosts)
        return about


def read_budget(
    options: SelectOptions,
    table: data.RecordTable,
    hosts: Hosts,
    given: npt.NDArray[np.bool_] | None = None,
) -> Budget:
    """The budget that the flags describe for the pool.

    Args:
      options: the flags.
      table: this process's part of the pool.
      hosts: the processes that hold the pool.
      given: of the records of this part, those that are in the selection anyway. They cost nothing
        and are of no group, and shares of the pool are of the others.

    Raises:
      InputError: in all processes, if the pool has no selection that keeps to it.
    """
    candidates = np.ones(table.num_records, bool) if given is None else ~given
    num_records = hosts.sum(int(np.count_nonzero(candidates)))
    records = None if options.budget is None else amount_of(options.budget, num_records)
    if records is not None:
        check_budget(records, num_records, beside_given=given is not None)
        if records != options.budget:
            say(f"budget: {records:,} of {num_records:,} records ({options.budget})")
    alone = hosts.count == 1
    found = hosts.together(lambda: _costs_and_groups(options, _only(table, candidates), alone))
    told: dict[str, Any] = {"budget": records}
    costs, most_cost = found.costs, None
    if costs is not None:
        most_cost, told["tokens"] = _token_budget(options, costs, hosts)
        spread = np.zeros(table.num_records, np.int32)
        spread[candidates] = costs
    shared = most_cost if records is None else records
    quotas = read_group_quotas(options, table, candidates, found, shared, hosts)
    constraints = Constraints(
        costs=None if costs is None else spread,
        most_cost=None if most_cost is None else np.int32(most_cost),
        quotas=None if quotas is None else quotas.limits,
        given=given,
    )
    return Budget(records, constraints, told, quotas)


def _only(table: data.RecordTable, wanted: npt.NDArray[np.bool_]) -> data.RecordTable:
    """The table with the wanted records only, as far as another pass over the files needs it."""
    if wanted.all():
        return table
    columns: dict[str, Any] = {
        name: getattr(table, name)[wanted] for name in ("scores", "file_index", "line", "position")
    }
    return dataclasses.replace(table, **columns)


def _token_budget(
    options: SelectOptions, costs: npt.NDArray[np.int64], hosts: Hosts
) -> tuple[int | None, dict[str, Any]]:
    """The tokens that may be selected, if they are limited; and what is told of tokens.

    Raises:
      InputError: if the pool has no more, or no record has as few.
    """
    in_pool = hosts.sum(int(np.sum(costs)))
    about = {"budget": None, "used": 0, "pool": in_pool, "counted_by": _counted_by(options)}
    if options.budget_tokens is None:
        return None, about
    most = amount_of(options.budget_tokens, in_pool)
    own_least = np.array([np.min(costs, initial=_MOST_TOKENS)])
    least = int(np.min(np.concatenate(hosts.gather(own_least))))
    expected = ""
    if not in_pool:
        expected = f"a pool that has any tokens ({about['counted_by']})"
    elif most > in_pool:
        expected = f"at most the pool's {in_pool:,} tokens"
    elif most < least:
        expected = f"at least the {least:,} tokens of the record that has fewest"
    elif most > _MOST_TOKENS:
        expected = f"at most {_MOST_TOKENS:,} tokens"
    if expected:
        shown = f"{most:,}" if most == options.budget_tokens else options.budget_tokens
        raise InputError(f"--budget_tokens: found {shown}, expected {expected}")
    say(f"budget: {most:,} of {in_pool:,} tokens ({about['counted_by']})")
    return most, {**about, "budget": most}


def _counted_by(options: SelectOptions) -> str:
    if options.cost_field is not None:
        return f"field {options.cost_field}"
    return "UTF-8 bytes over 4" if options.tokenizer is None else f"tokenizer {options.tokenizer}"


def _costs_and_groups(
    options: SelectOptions, table: data.RecordTable, alone: bool
) -> data.CostsAndGroups:
    """The costs and the groups of the records, as far as they count.

    Tokens that were counted before come from the cache, if the process is `alone`.
    """
    count: data.CountTexts | None = None
    kept, costs = None, None
    if options.costs_count and options.token_counter is not None:
        count = tokens = options.token_counter
        if alone and options.pool and options.cache_folder is not None:
            choices = [tokens.digest, options.fields.mapped]
            kept = data.KeptCosts(options.cache_folder, options.sources, table, choices)
            costs = kept.load()
    elif options.costs_count and options.cost_field is None:
        count = data.bytes_over_4
        say(
            "tokens are taken to be the UTF-8 bytes of a record's turns over 4, rounded up; "
            "--tokenizer counts them, --cost_field reads them"
        )
    if kept is not None and costs is not None:
        say(f"the tokens were counted before: read from {kept.path}")
        count = None
    if count is None and options.cost_field is None and options.group_path is None:
        return data.CostsAndGroups(costs, [], None)
    name = "counting tokens" if count is not None else "reading fields of the records"
    with progress_bar(name, table.num_records, unit="records") as bar:

        def progress(done: int) -> None:
            bar.update(done - bar.n)

        found = data.costs_and_groups(
            table,
            cost_field=options.cost_field,
            count=count,
            group_field=options.group_path,
            fields=options.fields,
            progress=progress,
        )
    if costs is not None:
        return found._replace(costs=costs)
    if kept is not None and found.costs is not None:
        try:
            kept.store(found.costs)
        except OSError as error:
            say(f"{kept.path.parent}: {error.strerror or error}; the counts are not kept there")
    return found
