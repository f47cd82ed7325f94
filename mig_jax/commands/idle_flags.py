"""Flags that nothing would look at, for what else is given: they are refused, not passed over."""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags

from mig_jax.errors import InputError

__all__ = ["refuse_idle"]


def refuse_idle(
    values: flags.FlagValues, names: Sequence[str], are_of_use: bool, go_with: str
) -> None:
    """Raises InputError if one of the flags is given and they are of no use.

    Args:
      values: all flags.
      names: those that may be of no use.
      are_of_use: whether what else is given needs them.
      go_with: what they would need, such as `--engine=ray`.
    """
    for name in names:
        if values[name].present and not are_of_use:
            raise InputError(f"--{name}: goes with {go_with}")
