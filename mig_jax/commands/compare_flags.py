"""The flag of other ways to choose, which a selection is held against."""

from __future__ import annotations

import dataclasses
import difflib
from typing import Final

from absl import flags

from mig_jax.commands.flag_values import AddFlag
from mig_jax.commands.terminal import listed
from mig_jax.errors import InputError
from mig_jax.methods import METHODS

__all__ = ["COMPARED", "PAPER_WAY", "CompareOptions", "check_compare_flags", "define_compare_flags"]

#: The paper's own search, which the registry of the others has not.
PAPER_WAY: Final = "paper"

#: What a method may look at: all that a pool has by itself.
_AT_HAND: Final = {"costs", "texts", "embeddings"}
# What gives a method all else.
_GIVEN_BY: Final = {
    "wanted": "--validation",
    "groups": "--group_field",
    "gradients": "--model",
    "response_losses": "--model",
}
#: The ways that --compare may name.
COMPARED: Final = (PAPER_WAY, *(name for name in METHODS if METHODS[name].needs <= _AT_HAND))
# They tell the order of all records soon, so that those that quotas allow can be taken of it.
_KEEP_QUOTAS: Final = ("random", "top_score", "longest", PAPER_WAY)


@dataclasses.dataclass(frozen=True)
class CompareOptions:
    """The flag of `define_compare_flags`."""

    compare: list[str]


def define_compare_flags(add: AddFlag) -> None:
    """Adds which other ways the selection is held against."""
    add(
        flags.DEFINE_list,
        "compare",
        [],
        "Other ways to choose under the same limits, held against this selection by the same "
        "measure, as in --compare=random,top_score,paper: a table, the manifest's `compare`, and "
        f"OUTPUT.compare.svg; the table alone with --output=-. Of {', '.join(COMPARED)}; paper is "
        "MIG with the paper's linear gains, random is the mean of five.",
    )


def check_compare_flags(names: list[str], *, quotas: bool, together: bool) -> None:
    """Raises InputError if these ways cannot be held against the selection.

    Args:
      names: of --compare.
      quotas: whether there are some, or another limit on groups of records.
      together: whether several processes select together.
    """
    for name in names:
        if name in COMPARED:
            continue
        if name in METHODS:
            needs = listed(sorted({_GIVEN_BY[need] for need in METHODS[name].needs - _AT_HAND}))
            raise InputError(
                f"--compare: {name} needs more than the pool ({needs}); expected a run of its own "
                f"with --method={name}, or some of {', '.join(COMPARED)}"
            )
        near = difflib.get_close_matches(name, COMPARED, n=1)
        which = f"{near[0]} (the nearest), or " if near else ""
        found = name or "nothing"
        raise InputError(f"--compare: found {found}, expected {which}some of {', '.join(COMPARED)}")
    if len(set(names)) < len(names):
        raise InputError(f"--compare: found {','.join(names)}, expected each name once")
    if names and together:
        # A way looks at all records, of which each process has a part.
        raise InputError("--compare: does not go with --coordinator_address; one process compares")
    if quotas and (never := [name for name in names if name not in _KEEP_QUOTAS]):
        raise InputError(
            f"--compare: {never[0]} cannot keep to quotas or --at_most_changes; expected some of "
            f"{', '.join(_KEEP_QUOTAS)}"
        )
