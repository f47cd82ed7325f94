"""The flags of a budget: records, tokens and how they are counted, quotas of groups."""

from __future__ import annotations

import dataclasses
import functools
from typing import Final

from mig_jax import data
from mig_jax.commands.flag_sections import Section
from mig_jax.commands.flag_values import (
    AddFlag,
    Amount,
    AmountParser,
    Field,
    File,
    Name,
    Text,
    several,
)
from mig_jax.commands.quotas import (
    RECORDS,
    TOKENS,
    Quota,
    parse_quota,
    read_quotas,
    refuse_repeats,
    unit_of,
)
from mig_jax.errors import InputError

__all__ = ["BY_FILE", "BudgetOptions", "check_budget_options", "define_budget_flags"]

#: The value of --group_field by which records are grouped by their files.
BY_FILE: Final = "file"


@dataclasses.dataclass(frozen=True)
class BudgetOptions:
    """The flags of `define_budget_flags`."""

    budget: Amount | None
    budget_tokens: Amount | None
    cost_field: str | None
    tokenizer: str | None
    group_field: str | None
    quota: list[str]
    quotas: str | None

    @property
    def budget_files(self) -> list[str]:
        """What is read for the budget, besides the pool."""
        return [path for path in (self.quotas, self.tokenizer) if path is not None]

    @functools.cached_property
    def all_quotas(self) -> list[Quota]:
        """Those of --quota, then those of --quotas.

        Raises:
          InputError: if one cannot be used, or the file cannot be read.
        """
        of_file = [] if self.quotas is None else read_quotas(self.quotas)
        every = [*map(parse_quota, self.quota), *of_file]
        refuse_repeats(every)
        return every

    @functools.cached_property
    def token_counter(self) -> data.TokenCounter | None:
        """What counts tokens; None if they are read, estimated or not needed.

        Raises:
          InputError: if there is no such tokenizer.
        """
        return None if self.tokenizer is None else data.TokenCounter(self.tokenizer)

    @property
    def group_path(self) -> str | None:
        """The field whose values are the groups; None if they are files, or there are none."""
        is_field = self.group_field is not None and self.group_field != BY_FILE
        return str(self.group_field).removeprefix(".") if is_field else None

    @property
    def quota_unit(self) -> str | None:
        """RECORDS or TOKENS; None without quotas.

        Raises:
          InputError: if they differ in unit.
        """
        shared = RECORDS if self.budget is not None else TOKENS
        return unit_of(self.all_quotas, shared) if self.all_quotas else None

    @property
    def costs_count(self) -> bool:
        """Whether the tokens of records are limited."""
        return self.budget_tokens is not None or self.quota_unit == TOKENS


class _QuotaText(Text):
    shown = "NAME=MIN..MAX"


def define_budget_flags(add: AddFlag) -> None:
    """Adds how much is selected, and of what."""
    essential, add = add.under(Section.ESSENTIAL), add.under(Section.BUDGET)
    essential(
        AmountParser,
        "budget",
        None,
        "How many records to select: a number (5000, 5k), or a share of the pool, as in "
        "--budget=10% (rounded down). It or --budget_tokens must be given, or both.",
    )
    essential(
        AmountParser,
        "budget_tokens",
        None,
        "How many tokens the selected records may have together: a number, or a share of the "
        "pool's. Without --cost_field and --tokenizer, a record's tokens are taken to be the UTF-8 "
        "bytes of its turns over 4.",
    )
    add(
        Field,
        "cost_field",
        None,
        "Field that has the tokens of a record, or any other cost: a whole number; dots lead into "
        "objects.",
    )
    add(
        Name,
        "tokenizer",
        None,
        "Hugging Face tokenizer that counts the tokens of a record's turns: a tokenizer.json, a "
        "folder that has one, or the name of a model on the hub. Needs the extra tokens.",
    )
    add(
        Field,
        "group_field",
        None,
        "Field whose values are the groups of --quota, as in --group_field=meta.source; dots lead "
        "into objects. `file` is the file that a record comes from; `.file` is a field of that "
        "name.",
    )
    add(
        several(_QuotaText),
        "quota",
        [],
        "NAME=MIN..MAX: how much of a group must and may be selected, as in --quota=maths=5%..20%; "
        "also MIN.., ..MAX and EXACT. In records (100) or tokens (20000t), the same for "
        "all, or per cent of the budget (5%). May be repeated.",
    )
    add(
        File,
        "quotas",
        None,
        'JSON file with more of them: {"maths": "5%..20%"}.',
    )


def check_budget_options(options: BudgetOptions, *, grouped: bool = False) -> None:
    """Raises InputError if the flags contradict each other, whatever the pool is.

    `grouped` tells that groups have a use without quotas.
    """
    if options.budget is None and options.budget_tokens is None:
        raise InputError(
            "--budget: missing, expected --budget=RECORDS, --budget_tokens=TOKENS, or both"
        )
    if options.cost_field is not None and options.tokenizer is not None:
        raise InputError("--cost_field: does not go with --tokenizer; give one of them")
    for flag, path in (("cost_field", options.cost_field), ("group_field", options.group_path)):
        if path is not None and not all(path.split(".")):
            raise InputError(f"--{flag}: found {getattr(options, flag)}, expected a field")
    if options.all_quotas and options.group_field is None:
        raise InputError(
            "--quota: goes with --group_field=FIELD, whose values are the groups, or "
            "--group_field=file"
        )
    if options.group_field is not None and not options.all_quotas and not grouped:
        raise InputError("--group_field: goes with --quota=NAME=MIN..MAX or --quotas=FILE")
    for name in ("cost_field", "tokenizer"):
        if getattr(options, name) is not None and not options.costs_count:
            raise InputError(f"--{name}: goes with --budget_tokens, or quotas in tokens")
    if options.budget is not None and options.quota_unit == TOKENS:
        for quota in options.all_quotas:
            if quota.minimum is not None and quota.minimum.amount > 0:
                raise InputError(
                    f"--quota: {quota.name}: a minimum in tokens does not go with --budget; "
                    "expected it in records, or --budget_tokens alone"
                )
