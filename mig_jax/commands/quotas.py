"""Quotas as users write them: how much of each group of records must and may be picked."""

from __future__ import annotations

import collections
import json
import math
from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Any, Final, NamedTuple

from mig_jax import data
from mig_jax.commands.flag_values import WholeNumber, read_share
from mig_jax.errors import InputError

__all__ = [
    "RECORDS",
    "SHARES",
    "TOKENS",
    "Bound",
    "Quota",
    "parse_quota",
    "read_quotas",
    "refuse_repeats",
    "unit_of",
]

RECORDS: Final = "records"
TOKENS: Final = "tokens"
SHARES: Final = "per cent"

_LARGEST: Final = 2**31 - 2  # The core has the next number for no maximum.
_EXPECTED: Final = (
    "expected NAME=MIN..MAX, NAME=MIN.., NAME=..MAX or NAME=EXACT, with bounds in records (100) or "
    "tokens (20000t), or per cent of the budget (5%)"
)


class Bound(NamedTuple):
    """A minimum or a maximum."""

    amount: int | Fraction  # Fraction of the budget if the unit is per cent.
    unit: str  # RECORDS, TOKENS or SHARES.

    def __str__(self) -> str:
        if self.unit == SHARES:
            return f"{float(self.amount * 100):g}%"
        return f"{self.amount:,}{'t' if self.unit == TOKENS else ''}"


class Quota(NamedTuple):
    """What is asked of one group."""

    name: str
    minimum: Bound | None
    maximum: Bound | None

    @property
    def is_exact(self) -> bool:
        return self.minimum == self.maximum

    @property
    def bounds(self) -> list[Bound]:
        """Those that are there, the minimum first."""
        return [bound for bound in (self.minimum, self.maximum) if bound is not None]

    def numbers(self, budget: int) -> tuple[int | None, int | None]:
        """The minimum and the maximum as numbers, of which a share is one of the budget.

        A minimum is rounded up and a maximum down, so that both hold for the shares, too. An exact
        share is seldom a whole number: it may be rounded down or up.

        >>> parse_quota("a=10%..30%").numbers(25), parse_quota("a=10%").numbers(25)
        ((3, 7), (2, 3))
        """
        up, down = (math.floor, math.ceil) if self.is_exact else (math.ceil, math.floor)
        return _number(self.minimum, budget, up), _number(self.maximum, budget, down)


def parse_quota(word: str, flag: str = "--quota") -> Quota:
    """The quota that a word such as `maths=5%..20%` says; the name ends at the last =.

    Raises:
      InputError: if it says none; `flag` is what the error names.

    >>> parse_quota("a=b=..1,000t")
    Quota(name='a=b', minimum=None, maximum=Bound(amount=1000, unit='tokens'))
    """
    name, separator, span = word.rpartition("=")
    low, dots, high = span.partition("..")
    try:
        if not separator or not (low or high):
            raise ValueError(word)
        minimum = _bound(low) if low else None
        maximum = minimum if not dots else _bound(high) if high else None
    except ValueError:
        raise InputError(f"{flag}: found {word or 'nothing'}, {_EXPECTED}") from None
    for bound in (minimum, maximum):
        if bound and bound.unit == SHARES and bound.amount > 1:
            raise InputError(f"{flag}: {name}: {bound} is above 100%; expected at most that")
    if minimum and maximum and minimum.unit == maximum.unit and minimum.amount > maximum.amount:
        raise InputError(
            f"{flag}: {name}: the minimum {minimum} is above the maximum {maximum}; expected "
            "MIN..MAX with MIN up to MAX"
        )
    return Quota(name, minimum, maximum)


def read_quotas(path: str) -> list[Quota]:
    """The quotas of a JSON file: an object of names and what `parse_quota` has after the =.

    Raises:
      InputError: if it cannot be read or is anything else.
    """
    try:
        stamp = data.stamp_of(path)
    except InputError as error:
        raise InputError(f"--quotas: {error}{_as_quota(path)}") from None
    expected = 'expected a JSON object of names and quotas, such as {"maths": "5%..20%"}'
    try:
        with open(stamp.local, encoding="utf-8-sig") as stream:
            found = json.load(stream, object_pairs_hook=_Pairs)
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"--quotas: {path}: {error}; {expected}") from None
    if not isinstance(found, _Pairs) or not found:
        raise InputError(f"--quotas: {path}: found {_shown(found)}; {expected}")
    quotas = []
    for name, span in found:
        if isinstance(span, bool) or not isinstance(span, int | str):
            raise InputError(f"--quotas: {path}: {name}: found {_shown(span)}; {expected}")
        quotas.append(parse_quota(f"{name}={span}", f"--quotas: {path}"))
    return quotas


def _as_quota(path: str) -> str:
    """What is said of a quota where a file was expected."""
    try:
        parse_quota(path)
    except InputError:
        return ""
    return f", or --quota={path}"


def unit_of(quotas: Iterable[Quota], of_shares: str) -> str:
    """The one unit of all quotas, RECORDS or TOKENS, where shares are in `of_shares`.

    A share is so many records, or tokens, and goes with numbers of the same.

    Raises:
      InputError: if they differ.
    """
    names: dict[str, str] = {}
    for quota in quotas:
        for bound in quota.bounds:
            names.setdefault(of_shares if bound.unit == SHARES else bound.unit, quota.name)
    if len(names) > 1:
        raise InputError(
            f"--quota: {names[RECORDS]} has a bound in records and {names[TOKENS]} one in tokens "
            f"(per cent are of the {of_shares} of the budget here); expected records or tokens in "
            "all, with per cent beside them or not"
        )
    return next(iter(names))


def refuse_repeats(quotas: Iterable[Quota]) -> None:
    """Raises InputError if a group has two quotas."""
    counts = collections.Counter(quota.name for quota in quotas)
    if twice := [name for name, count in counts.items() if count > 1]:
        raise InputError(f"--quota: {twice[0]} has {counts[twice[0]]} quotas; expected one a group")


class _Pairs(list[tuple[str, Any]]):
    """A JSON object with all its names, also those that repeat."""


def _bound(text: str) -> Bound:
    """Raises ValueError if the text is none."""
    share = read_share(text)
    if share is not None:
        return Bound(share, SHARES)
    number = text.strip()
    unit = TOKENS if number[-1:] == "t" else RECORDS
    return Bound(WholeNumber(0, _LARGEST).parse(number.removesuffix("t")), unit)


def _number(bound: Bound | None, budget: int, whole: Callable[[Any], int]) -> int | None:
    if bound is None:
        return None
    return whole(bound.amount * budget) if bound.unit == SHARES else int(bound.amount)


def _shown(value: Any) -> str:
    if isinstance(value, _Pairs):
        return "an object" if value else "an empty object"
    if isinstance(value, list):
        return "a list"
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:60] + "..."
