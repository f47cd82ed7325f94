"""The word `builtin` in place of files: the pool that mig-jax generates, for examples and tests."""

from __future__ import annotations

from typing import Final

from absl import flags

from mig_jax.errors import InputError

__all__ = ["BUILTIN", "check_pool_is_given", "refuse_builtin", "take_builtin"]

#: The value of --pool that is no file; one of that name is ./builtin.
BUILTIN: Final = "builtin"


def take_builtin(values: flags.FlagValues) -> None:
    """Leaves --pool empty if it is `builtin` alone: no files stand for the built-in pool.

    Raises:
      InputError: if there are files beside it.
    """
    if values.pool == [BUILTIN]:
        values["pool"].value = []
    refuse_builtin(values, "the built-in pool, and goes with no files; expected it alone")


def refuse_builtin(values: flags.FlagValues, is_what: str) -> None:
    """Raises InputError, with what the word means and what is expected, if --pool has it."""
    if BUILTIN in values.pool:
        raise InputError(
            f"--pool: {BUILTIN} is {is_what}, or --pool=./{BUILTIN} for a file of that name"
        )


def check_pool_is_given(values: flags.FlagValues) -> None:
    """Raises InputError without --pool: nobody gets a pool that they did not ask for."""
    if not values["pool"].present:
        raise InputError(
            "--pool: missing, expected FILE ... behind the command, or --pool=FILE: what to select "
            f"from; - is standard input, --pool={BUILTIN} the built-in pool of the examples"
        )
