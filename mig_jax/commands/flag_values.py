"""Values of flags: how numbers are read, and the one line that is said of nonsense."""

from __future__ import annotations

import decimal
import difflib
import fractions
import math
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from absl import flags

from mig_jax.errors import InputError

__all__ = [
    "AddFlag",
    "Amount",
    "AmountParser",
    "ThresholdParser",
    "WholeNumber",
    "adder",
    "amount_of",
    "read_flags",
    "read_share",
    "refuse_empty",
]

#: Defines a flag: `add(flags.DEFINE_integer, "budget", None, "What it is.", lower_bound=1)`.
AddFlag = Callable[..., None]

#: A number of records or tokens; or a share of them, as text such as "10%".
Amount = int | str

_LARGEST_WHOLE: Final = 2**31 - 1  # What an index of the core can hold.
_WITH_COMMAS: Final = re.compile(r"[+-]?\d{1,3}(,\d{3})+")
_SHARE: Final = re.compile(r"\s*(\d+\.?\d*|\.\d+)\s*%\s*", re.ASCII)
_DIGITS: Final = 18  # Of a whole number with an exponent, at most.
_NO_VALUE: Final = "Missing value for flag "  # As absl says it.
_SHOWN: Final = 60  # Characters of a value that are told.


class WholeNumber(flags.IntegerParser):
    """As absl's, and 1e4, 10,000 and 10_000, which are exact; no larger than the core holds."""

    def __init__(self, lower_bound: int | None = None, upper_bound: int = _LARGEST_WHOLE) -> None:
        super().__init__(lower_bound, upper_bound)

    def convert(self, argument: int | str) -> int:
        if not isinstance(argument, str):
            return super().convert(argument)
        if _WITH_COMMAS.fullmatch(argument.strip()):
            return int(argument.replace(",", ""))
        try:
            return super().convert(argument)
        except ValueError:
            exact = decimal.Decimal(argument)  # What it refuses is an ArithmeticError.
            if not exact.is_finite() or exact.adjusted() > _DIGITS or exact % 1:
                raise
            return int(exact)

    def parse(self, argument: int | str) -> int:
        try:
            return super().parse(argument)
        except ArithmeticError as error:
            raise ValueError(str(error)) from None


class _Number(flags.FloatParser):
    """As absl's, but finite."""

    def convert(self, argument: float | str) -> float:
        number = super().convert(argument)
        if not math.isfinite(number):
            raise ValueError("not finite")
        return number


class AmountParser(flags.ArgumentParser[Amount]):
    """A whole number of at least 1, or a share of what there is, above 0 and at most 100%."""

    expected = "a whole number of at least 1, or a share above 0% and at most 100%"

    def parse(self, argument: Amount) -> Amount:
        if isinstance(argument, str) and (share := read_share(argument)) is not None:
            if not 0 < share <= 1:
                raise ValueError("no share")
            return argument.replace(" ", "")
        return WholeNumber(1).parse(argument)

    def flag_type(self) -> str:
        return "amount"


class ThresholdParser(flags.ArgumentParser[Any]):
    """A similarity above 0 and at most 1, or `auto`."""

    expected = "auto, or a number above 0 and at most 1"

    def parse(self, argument: float | str) -> float | str:
        if argument == "auto":
            return "auto"
        threshold = _Number().parse(argument)
        if not 0 < threshold <= 1:
            raise ValueError("no similarity to share information at")
        return threshold

    def flag_type(self) -> str:
        return "similarity"


def read_share(text: str) -> fractions.Fraction | None:
    """The share that text such as "12.5%" says, as it is; None if it says none.

    >>> read_share("12.5%"), read_share("12")
    (Fraction(1, 8), None)
    """
    found = _SHARE.fullmatch(text)
    return None if found is None else fractions.Fraction(decimal.Decimal(found[1])) / 100


def amount_of(amount: Amount, total: int) -> int:
    """How many of `total` an amount is: a share is rounded down, and at least 1.

    >>> amount_of(12, 30), amount_of("10%", 39), amount_of("1%", 30)
    (12, 3, 1)
    """
    share = None if isinstance(amount, int) else read_share(amount)
    return int(amount) if share is None else max(1, int(share * total))


_PARSERS: Final[dict[Callable[..., Any], type[Any]]] = {
    flags.DEFINE_integer: WholeNumber,
    flags.DEFINE_float: _Number,
}


def adder(values: flags.FlagValues) -> AddFlag:
    """What defines flags in `values`; a kind is a function of absl's, or a class of parsers."""

    def add(
        kind: Callable[..., Any],
        name: str,
        default: Any,
        help_text: str,
        *more: Any,
        **options: Any,
    ) -> None:
        if kind in _PARSERS or isinstance(kind, type):
            parser = _PARSERS.get(kind, kind)(**options)
            serializer: Any = flags.ArgumentSerializer()
            flags.DEFINE(parser, name, default, help_text, values, serializer)
        elif more:  # The choices of an enum stand before the help.
            kind(name, default, help_text, *more, flag_values=values, **options)
        else:
            kind(name, default, help_text, flag_values=values, **options)

    return add


def read_flags(values: flags.FlagValues, words: Sequence[str]) -> list[str]:
    """Reads the flags that a user gave; returns the words that are none.

    Args:
      values: the flags that there are.
      words: how the command is called, then what the user gave.

    Raises:
      InputError: if a flag is not known, or has a value that it cannot have, or none.
      flags.Error: if it cannot be read in another way.
    """
    try:
        left_over = values(words)[1:]
    except flags.UnrecognizedFlagError as error:
        raise InputError(_unknown(values, error.flagname)) from None
    except flags.IllegalFlagValueError as error:
        raise InputError(_refusal(values, error)) from None
    except ValueError as error:
        raise InputError(str(error)) from None
    except flags.Error as error:
        name = str(error).removeprefix(_NO_VALUE).lstrip("-")
        if str(error).startswith(_NO_VALUE) and name in values:
            expected = _expected(values[name])
            raise InputError(f"--{name}: found nothing, expected {expected}") from None
        raise
    return left_over


def refuse_empty(values: flags.FlagValues) -> None:
    """Raises InputError if a flag is given, but no text, or an empty list."""
    for name in values:
        flag = values[name]
        if not flag.present:
            continue
        given = flag.value if isinstance(flag.value, list) else [flag.value]
        is_text = type(flag.parser) is flags.ArgumentParser
        if (is_text and "" in given) or (isinstance(flag.parser, flags.ListParser) and not given):
            raise InputError(f"--{name}: found nothing, expected {_expected(flag)}")


def _unknown(values: flags.FlagValues, name: str) -> str:
    near = difflib.get_close_matches(name, list(values), n=1)
    expected = f"--{near[0]}" if near else "one of those that --help lists"
    return f"--{name}: no such flag, expected {expected}"


def _refusal(values: flags.FlagValues, error: flags.IllegalFlagValueError) -> str:
    """What was found and what is expected; absl says `flag --NAME=VALUE: REASON`."""
    name, is_of_value, rest = str(error).removeprefix("flag --").partition("=")
    if not is_of_value or name not in values:
        return str(error)
    found = rest.removesuffix(f": {error.__context__}")
    shown = found if len(found) <= _SHOWN else found[:_SHOWN] + "..."
    return f"--{name}: found {shown or 'nothing'}, expected {_expected(values[name])}"


def _expected(flag: flags.Flag[Any]) -> str:
    parser = flag.parser
    if choices := getattr(parser, "enum_values", None):
        return f"one of {', '.join(choices)}"
    if isinstance(parser, AmountParser | ThresholdParser):
        return parser.expected
    if isinstance(parser, flags.BooleanParser):
        return "true or false"
    if isinstance(parser, flags.ListParser):
        return "values separated by commas"
    if not isinstance(parser, flags.IntegerParser | flags.FloatParser):
        return "a value"
    is_whole = isinstance(parser, flags.IntegerParser)
    noun = "a whole number" if is_whole else "a finite number"

    def told(bound: float) -> str:
        return f"{bound:,}" if is_whole else f"{bound:g}"

    low, high = parser.lower_bound, parser.upper_bound
    if low is None:
        return noun if high is None else f"{noun} up to {told(high)}"
    return f"{noun} of at least {told(low)}" + (
        "" if high is None else f" and at most {told(high)}"
    )
