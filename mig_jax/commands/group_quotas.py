"""Quotas of the groups that a pool has: checked against it, and what the manifest tells of them."""

from __future__ import annotations

import dataclasses
import difflib
import itertools
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from mig_jax import data
from mig_jax.commands.budget_flags import BY_FILE, BudgetOptions
from mig_jax.commands.pool_parts import own_picks
from mig_jax.commands.quotas import RECORDS, SHARES, TOKENS, Bound, Quota
from mig_jax.commands.terminal import say
from mig_jax.devices import Hosts
from mig_jax.errors import InputError
from mig_jax.measure import Array
from mig_jax.selection import NO_MAXIMUM, Quotas

__all__ = ["GroupQuotas", "read_group_quotas"]

_MOST_NAMES: Final = 5  # That are told.
_WIDEST: Final = 60  # Symbols of such a name.
_MOST_COMPARED: Final = 10_000


@dataclasses.dataclass(frozen=True, eq=False)
class GroupQuotas:
    """The quotas of G groups, in one unit; records of no such group are one more, without limit."""

    unit: str  #: RECORDS or TOKENS.
    by: str  #: The field whose values the groups are, or `file`.
    names: list[str]  #: [G].
    pool: npt.NDArray[np.int64]  #: [G]: what the pool has of each, in the unit.
    bounds: list[tuple[int | None, int | None]]  #: [G]: minimum and maximum, in the unit.
    limits: Quotas  #: For the core; this process's part of the records.

    def told_of(
        self,
        picks: np.ndarray,
        costs: Array | None,
        prices: Array | None,
        hosts: Hosts,
    ) -> dict[str, Any]:
        """What the manifest tells of the groups, after picking.

        Args:
          picks: int64 [N], records of the whole pool.
          costs: int32 [P], those of this process's part, if the unit is tokens.
          prices: those of the certificate, a group each.
          hosts: the processes that hold the pool.
        """
        groups = np.asarray(self.limits.groups)
        own = own_picks(len(groups), picks, hosts)
        weights = np.asarray(costs) if self.unit == TOKENS else np.ones(len(groups), np.int64)
        selected = _sums(groups[own], weights[own], len(self.names), hosts)
        rows = []
        for place, (name, (minimum, maximum)) in enumerate(
            zip(self.names, self.bounds, strict=True)
        ):
            row = {
                "name": name,
                "pool": int(self.pool[place]),
                "minimum": minimum,
                "maximum": maximum,
                "selected": int(selected[place]),
            }
            rows.append(row if prices is None else {**row, "price": float(prices[place])})
        return {"unit": self.unit, "by": self.by, "groups": rows}


def read_group_quotas(
    options: BudgetOptions,
    table: data.RecordTable,
    candidates: npt.NDArray[np.bool_],
    found: data.CostsAndGroups,
    budget: int | None,
    hosts: Hosts,
) -> GroupQuotas | None:
    """The quotas that the flags describe for the pool; None without any.

    Args:
      options: the flags.
      table: this process's part of the pool.
      candidates: which of its records may be picked.
      found: the costs of these, if they count, and the values of their group field.
      budget: what shares are of.
      hosts: the processes that hold the pool.

    Raises:
      InputError: in all processes, if no selection keeps to them, as far as one can tell before
        picking.
    """
    if options.quota_unit is None:
        return None
    quotas, by = options.all_quotas, str(options.group_field)
    values, groups = found.names, found.groups
    if by == BY_FILE:
        values, groups = _names_of_first(table.files, hosts), table.file_index[candidates]
    assert groups is not None
    place = {quota.name: number for number, quota in enumerate(quotas)}
    of_value = np.array([place.get(value, len(quotas)) for value in values], np.int32)
    groups = of_value[groups]
    sizes = _sums(groups, np.ones(len(groups), np.int64), len(quotas) + 1, hosts)
    if unknown := [
        quota.name for quota, size in zip(quotas, sizes.tolist(), strict=False) if not size
    ]:
        _refuse_unknown(unknown[0], values, by, table, hosts)
    pool = sizes
    if options.quota_unit == TOKENS:
        assert found.costs is not None
        pool = _sums(groups, found.costs, len(quotas) + 1, hosts)
    bounds = [quota.numbers(0 if budget is None else budget) for quota in quotas]
    for quota, of_quota, has in zip(quotas, bounds, pool.tolist(), strict=False):
        _check_quota(quota, of_quota, has, options.quota_unit, budget or 0)
    _check_together(options, bounds, pool, budget)
    num_others, num_all = int(sizes[-1]), int(np.sum(sizes))
    say(
        f"quotas of {by}: {len(quotas)} group{'s' * (len(quotas) > 1)} in {options.quota_unit}; "
        f"{num_others:,} of {num_all:,} records are of none"
    )
    every = np.full(len(candidates), len(quotas), np.int32)
    every[candidates] = groups
    limits = Quotas(
        every,
        np.array([minimum or 0 for minimum, _ in bounds] + [0], np.int32),
        np.array(
            [*(NO_MAXIMUM if most is None else most for _, most in bounds), NO_MAXIMUM], np.int32
        ),
        of_costs=options.quota_unit == TOKENS,
    )
    names = [quota.name for quota in quotas]
    return GroupQuotas(options.quota_unit, by, names, pool[: len(names)], bounds, limits)


def _check_quota(
    quota: Quota, bounds: tuple[int | None, int | None], has: int, unit: str, budget: int
) -> None:
    """Raises InputError if one group cannot have what is asked of it; shares are of the budget."""
    minimum, maximum = bounds
    if minimum is not None and maximum is not None and minimum > maximum:
        _refuse_between(quota, budget, unit)
        raise InputError(
            f"--quota: {quota.name}: the minimum {_told(quota.minimum, minimum)} is above the "
            f"maximum {_told(quota.maximum, maximum)}; expected {unit} between them"
        )
    if minimum is not None and minimum > has:
        raise InputError(
            f"--quota: {quota.name}: the pool has {has:,} {unit} of it, and at least "
            f"{_told(quota.minimum, minimum)} are asked for; expected a minimum up to {has:,}"
        )


def _refuse_between(quota: Quota, budget: int, unit: str) -> None:
    """Raises InputError if the bounds are shares: right ones, with no whole number between them."""
    if not quota.minimum or not quota.maximum or {SHARES} != {each.unit for each in quota.bounds}:
        return
    low, high = (float(bound.amount * budget) for bound in (quota.minimum, quota.maximum))
    raise InputError(
        f"--quota: {quota.name}: {quota.minimum} to {quota.maximum} of {budget:,} {unit} is "
        f"{low:g} to {high:g}, with no whole number between; expected a wider span, or one share "
        f"({quota.name}={quota.minimum}), which is rounded down or up"
    )


def _check_together(
    options: BudgetOptions,
    bounds: Sequence[tuple[int | None, int | None]],
    pool: npt.NDArray[np.int64],
    budget: int | None,
) -> None:
    """Raises InputError if the quotas leave no selection of the budget's size."""
    least = sum(minimum or 0 for minimum, _ in bounds)
    in_budget_unit = (options.quota_unit == RECORDS) == (options.budget is not None)
    if budget is None or not in_budget_unit:
        return
    flag = "--budget" if options.budget is not None else "--budget_tokens"
    if least > budget:
        raise InputError(
            f"--quota: the minima are {least:,} {options.quota_unit} together, and {flag} is "
            f"{budget:,}; expected minima up to the budget"
        )
    if options.quota_unit == RECORDS and options.budget_tokens is None:
        capped = [
            has if most is None else min(has, most)
            for (_, most), has in zip(bounds, pool.tolist(), strict=False)
        ]
        if (room := sum(capped) + int(pool[len(bounds)])) < budget:
            raise InputError(
                f"--quota: the maxima allow {room:,} records of the pool together, and {flag} is "
                f"{budget:,}; expected larger maxima, or a budget up to {room:,}"
            )


def _told(bound: Bound | None, number: int) -> str:
    """A bound as it was given, and what it comes to."""
    return f"{number:,}" if bound is None or bound.amount == number else f"{number:,} ({bound})"


def _refuse_unknown(
    name: str, values: Sequence[str], by: str, table: data.RecordTable, hosts: Hosts
) -> None:
    """Raises InputError for a group that no record is of: in all processes."""
    own = np.frombuffer(msgspec.json.encode(values), np.uint8)
    every = dict.fromkeys(
        v for part in hosts.gather(own) for v in msgspec.json.decode(part.tobytes())
    )
    if by != BY_FILE and [*every] == [data.counted_value({}, by)]:
        raise InputError(f"--group_field: no record has the field {by}{_like(by, table)}")
    some = itertools.islice(every, _MOST_COMPARED)  # Of many, which takes long.
    near = difflib.get_close_matches(name, some, n=_MOST_NAMES)
    near += [value for value in every if name and name.lower() in value.lower()]
    of = "from a file of that name" if by == BY_FILE else f"with that value of {by}"
    raise InputError(
        f"--quota: {name or 'nothing'}: no record is {of}; expected one such as "
        f"{_listed(dict.fromkeys(near or every))}"
    )


def _like(field: str, table: data.RecordTable) -> str:
    """What is said of the fields of the first record, which has not this one."""
    fields: list[str] = []
    for line in itertools.islice(data.each_record(table), 1):
        for name, value in data.parse_record(line).items():
            inner = value if isinstance(value, dict) else {}
            fields += [name, *(f"{name}.{below}" for below in inner)]
    near = difflib.get_close_matches(field, fields, n=1)
    if near:
        return f"; expected one that they have, such as --group_field={near[0]}"
    return f"; expected one that they have, such as {_listed(fields)}" if fields else ""


def _listed(names: Iterable[str]) -> str:
    every = [*names]
    some = every[:_MOST_NAMES]
    told = ", ".join(name if len(name) <= _WIDEST else name[:_WIDEST] + "…" for name in some)
    rest = len(every) - len(some)
    return f"{told} or {rest:,} other{'s' * (rest > 1)}" if rest else told


def _names_of_first(files: Sequence[str], hosts: Hosts) -> list[str]:
    """The files as the first process names them: hosts may have them in other folders."""
    own = np.frombuffer(msgspec.json.encode(list(files)), np.uint8)
    names: list[str] = msgspec.json.decode(hosts.gather(own)[0].tobytes())
    return names


def _sums(
    groups: npt.NDArray[np.int32], amounts: npt.NDArray[Any], count: int, hosts: Hosts
) -> npt.NDArray[np.int64]:
    """The sum of the amounts of each of the first `count` groups, in all processes together."""
    own = np.zeros(max(count, int(np.max(groups, initial=-1)) + 1), np.int64)
    np.add.at(own, groups, amounts.astype(np.int64))
    return np.sum(hosts.gather(own[:count]), axis=0)
