"""Flags that are parameters of score functions: of use only for families that have them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final

from mig_jax.commands.terminal import listed
from mig_jax.errors import InputError
from mig_jax.measure import FAMILIES

__all__ = ["PARAMETERS", "check_family"]

#: The parameters, which are flags of the same names.
PARAMETERS: Final = ("exponent", "epsilon", "rate")


def check_family(flag: str, parameter: str, of: str, families: Sequence[str]) -> None:
    """Raises InputError if none of the families has the parameter that a flag sets.

    Args:
      flag: its name.
      parameter: what it sets.
      of: the name of the flag that chooses the families.
      families: those chosen.
    """
    able = [
        family
        for family, kind in FAMILIES.items()
        if parameter in {field.name for field in dataclasses.fields(kind)}
    ]
    if set(families).isdisjoint(able):
        raise InputError(
            f"--{flag}: --{of}={','.join(families)} has no {parameter}; expected "
            f"--{of}={listed(able, 'or')}, or no --{flag}"
        )
