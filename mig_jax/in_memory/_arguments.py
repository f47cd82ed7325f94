"""Messages about flags and files, told as those of a Python function: arguments and their items."""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Mapping
from typing import Final

__all__ = ["Arguments"]

# A command that a message names stays as it is; a flag outside of one is an argument here, and one
# whose value is NAME=VALUE a dict.
_FLAG: Final = re.compile(
    r"`mig-jax[^`]*`|(?<![\w-])--(?P<flag>[a-z]\w*)(?:=(?P<name>\w+)=(?P<value>\w[\w.%]*))?"
)
# So are they written: who holds NaN, and is told of null, looks for it in vain.
_NULL: Final = re.compile(r"(?<=: found null)(?=, expected a finite number)")
_TWICE: Final = re.compile(r"^(\w+): \1: ")


class Arguments:
    """What flags and files are called where a function was called with arguments.

    >>> told = Arguments(["budget", "pool"], {"pool": "records"})
    >>> told.name("/tmp/x.jsonl", "records")
    >>> told("/tmp/x.jsonl, line 3, field score: --budget=5 of --pool (`mig-jax explain --pool`)")
    'records[2], field score: budget=5 of records (`mig-jax explain --pool`)'
    >>> Arguments(["field"], {"field": "fields"})("expected --field=labels=NAME")
    "expected fields={'labels': 'NAME'}"
    >>> told = Arguments(["quota"], {"quota": "quotas"})
    >>> told.name("/tmp/quotas.json", "quotas")
    >>> told("--quota: /tmp/quotas.json: found a list")
    'quotas: found a list'
    """

    def __init__(self, flags: Collection[str], names: Mapping[str, str]) -> None:
        """`flags` are those known; `names` are of those whose arguments have other names."""
        self._flags = {flag: names.get(flag, flag) for flag in flags}
        self._places: dict[str, str] = {}

    def name(self, place: str, argument: str) -> None:
        """From now on a file is called by the argument that it was made of."""
        self._places[place] = argument

    def __call__(self, text: str) -> str:
        if self._places:
            text = _NULL.sub(" (or NaN, or an infinity)", text)
        for place, argument in self._places.items():
            of_lines = re.compile(re.escape(place) + r", line (\d(?:[\d,]*\d)?)")
            text = of_lines.sub(functools.partial(_item, argument), text)
            text = text.replace(place, argument)
        # A flag and its file are one argument, which is named once.
        return _TWICE.sub(r"\1: ", _FLAG.sub(self._argument, text))

    def _argument(self, found: re.Match[str]) -> str:
        argument = self._flags.get(found["flag"])
        if argument is None:
            return found[0]
        if found["name"] is None:
            return argument
        return f"{argument}={{{found['name']!r}: {found['value']!r}}}"


def _item(argument: str, line: re.Match[str]) -> str:
    return f"{argument}[{int(line[1].replace(',', '')) - 1}]"
