"""Values of flags: how flags are defined, what they take, and what is expected of nonsense."""

from __future__ import annotations

import decimal
import fractions
import math
import re
from collections.abc import Callable
from typing import Any, Final

from absl import flags

from mig_jax.commands.flag_sections import Section

__all__ = [
    "AddFlag",
    "Address",
    "Amount",
    "AmountParser",
    "Field",
    "File",
    "Folder",
    "Name",
    "Text",
    "ThresholdParser",
    "WholeNumber",
    "adder",
    "amount_of",
    "expected_of",
    "read_share",
    "several",
    "shown_value",
]

#: A number of records or tokens; or a share of them, as text such as "10%".
Amount = int | str

_LARGEST_WHOLE: Final = 2**31 - 1  # What an index of the core can hold.
_WITH_COMMAS: Final = re.compile(r"[+-]?\d{1,3}(,\d{3})+")
_SHARE: Final = re.compile(r"\s*(\d+\.?\d*|\.\d+)\s*%\s*", re.ASCII)
_DIGITS: Final = 18  # Of a whole number with an exponent, at most.
_MULTIPLE: Final = re.compile(r"\s*(\d+\.?\d*|\.\d+)([kKmMbB])\s*", re.ASCII)
_MULTIPLES: Final = {"k": 10**3, "m": 10**6, "b": 10**9}


class WholeNumber(flags.IntegerParser):
    """As absl's, and 1e4, 10k, 1.5M, 10,000 and 10_000; exact, no larger than the core holds."""

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
            exact = _decimal(argument)
            if not exact.is_finite() or exact.adjusted() > _DIGITS or exact % 1:
                raise
            return int(exact)

    def parse(self, argument: int | str) -> int:
        try:
            return super().parse(argument)
        except ArithmeticError as error:
            raise ValueError(str(error)) from None


def _decimal(text: str) -> decimal.Decimal:
    """Raises ArithmeticError if the text is no number."""
    if found := _MULTIPLE.fullmatch(text):
        return decimal.Decimal(found[1]) * _MULTIPLES[found[2].lower()]
    return decimal.Decimal(text)


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


class Text(flags.ArgumentParser[str]):
    """Any text; `shown` stands for it in the help."""

    shown = "TEXT"


class File(Text):
    """The path of a file, which shells complete."""

    shown = "FILE"


class Folder(Text):
    """The path of a folder, which shells complete."""

    shown = "DIR"


class Field(Text):
    """A field of records."""

    shown = "FIELD"


class Address(Text):
    """Where another process or a server is met."""

    shown = "ADDRESS"


class Name(Text):
    """The name of a model, or of anything else."""

    shown = "NAME"


def several(kind: type[Text]) -> Callable[..., None]:
    """Defines a flag that may be repeated and has a list of such values."""

    def define(name: str, default: list[str], help_text: str, **options: Any) -> None:
        flags.DEFINE_multi(kind(), flags.ArgumentSerializer(), name, default, help_text, **options)

    return define


def shown_value(flag: flags.Flag[Any]) -> str:
    """What stands for the value of a flag in its help, such as FILE."""
    parser = flag.parser
    if choices := getattr(parser, "enum_values", None):
        return "|".join(choices)
    for kind, shown in (
        (Text, getattr(parser, "shown", "")),
        (AmountParser, "N|P%"),
        (ThresholdParser, "X|auto"),
        (flags.IntegerParser, "N"),
        (flags.FloatParser, "X"),
        (flags.ListParser, "A,B,..."),
    ):
        if isinstance(parser, kind):
            return shown
    return Text.shown


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


class AddFlag:
    """Defines flags: `add(flags.DEFINE_integer, "budget", None, "What it is.", lower_bound=1)`."""

    def __init__(self, values: flags.FlagValues, section: Section) -> None:
        """They are defined in `values`, and told of under `section` in the help."""
        self._values = values
        self._section = section

    def under(self, section: Section) -> AddFlag:
        """What defines flags of another section of the help."""
        return AddFlag(self._values, section)

    def __call__(
        self,
        kind: Callable[..., Any],
        name: str,
        default: Any,
        *told: Any,
        **options: Any,
    ) -> None:
        """Defines a flag; its kind is a function of absl's, a class of parsers, or `several`.

        Args:
          kind: decides what values the flag has.
          name: of the flag.
          default: its value if it is not given.
          told: what it is for; the choices of an enum stand before it.
          options: of the kind.
        """
        common: dict[str, Any] = {"flag_values": self._values, "module_name": self._section}
        if kind in _PARSERS or isinstance(kind, type):
            parser = _PARSERS.get(kind, kind)(**options)
            serializer: Any = flags.ArgumentSerializer()
            [about] = told
            flags.DEFINE(parser, name, default, about, serializer=serializer, **common)
        else:
            kind(name, default, *told, **options, **common)


def adder(values: flags.FlagValues) -> AddFlag:
    """What defines flags in `values`, under Section.ESSENTIAL unless another is asked for."""
    return AddFlag(values, Section.ESSENTIAL)


def expected_of(flag: flags.Flag[Any]) -> str:
    """What a flag takes, in words."""
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
