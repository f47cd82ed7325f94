"""The flags of another way to choose than MIG's, and which others it can keep."""

from __future__ import annotations

import dataclasses
from typing import Final

from absl import flags

from mig_jax.commands.asking_flags import (
    AskingOptions,
    asks,
    check_asking_flags,
    define_asking_flags,
)
from mig_jax.commands.flag_sections import Section
from mig_jax.commands.flag_values import AddFlag, File
from mig_jax.errors import InputError
from mig_jax.methods import METHODS

__all__ = ["MIG", "MethodOptions", "check_method_flags", "define_method_flags"]

#: The method that this package is for, which the registry of the others has not.
MIG: Final = "mig"

#: Flags of which another method can make nothing.
_OF_MIG: Final = (
    *("gain", "preset", "report", "checkpoint_dir", "checkpoint_every_seconds"),
    *("given", "include_given", "extend", "at_most_changes", "quota", "quotas"),
    *("devices", "coordinator_address", "compare"),
)


@dataclasses.dataclass(frozen=True)
class MethodOptions(AskingOptions):
    """The flags of `define_method_flags`."""

    method: str
    seed: int
    validation: str | None

    @property
    def by_mig(self) -> bool:
        return self.method == MIG

    @property
    def asks(self) -> bool:
        """Whether a language model is asked about records."""
        return self.heeded or (not self.by_mig and asks(METHODS[self.method]))

    @property
    def asks_losses(self) -> bool:
        """Whether it is asked for the losses of responses."""
        return self.heeded or self.needs("response_losses")

    def needs(self, name: str) -> bool:
        """Whether the method has to be given this, as `mig_jax.methods.Candidates` names it."""
        return not self.by_mig and name in METHODS[self.method].needs


def define_method_flags(add: AddFlag) -> None:
    """Adds which method chooses, and what it may need beside the pool."""
    add = add.under(Section.METHODS)
    add(
        flags.DEFINE_enum,
        "method",
        MIG,
        [MIG, *METHODS],
        "Which method chooses: mig, or one that it is compared with.\n"
        + "\n".join(f"{name}: {method.about}" for name, method in METHODS.items())
        + "\n",
    )
    add(
        flags.DEFINE_integer,
        "seed",
        0,
        "With --method: of all that is random.",
        lower_bound=0,
    )
    add(
        File,
        "validation",
        None,
        "With --method: records that the selection is wanted for, as `mig-jax learn` reads them: "
        "conversations, with `task` if they are of several. Never those of a test.",
    )
    define_asking_flags(add)


def check_method_flags(values: flags.FlagValues) -> None:
    """Raises InputError if a flag is given that the method has no use for, or one is missing."""
    method = values.method
    check_asking_flags(values)
    if method == MIG:
        for name in ("seed", "validation"):
            if values[name].present:
                raise InputError(f"--{name}: goes with --method=NAME, and not with {MIG}")
        return
    for name in _OF_MIG:
        if values[name].present:
            raise InputError(
                f"--{name}: does not go with --method={method}, which cannot keep to it; expected "
                f"--method={MIG}, or no --{name}"
            )
    needs = METHODS[method].needs
    if "wanted" in needs and values.validation is None:
        raise InputError(
            f"--validation: missing, expected --validation=FILE with records of what "
            f"--method={method} is to select for"
        )
    if "wanted" not in needs and values.validation is not None:
        raise InputError(f"--validation: --method={method} has no use for it; leave it out")
    if "groups" in needs and values.group_field is None:
        raise InputError(
            f"--group_field: missing, expected --group_field=FIELD, of whose values "
            f"--method={method} takes equal shares, or --group_field=file"
        )
    if {"costs", "wanted"} <= needs and values.cost_field is not None:
        raise InputError(
            f"--cost_field: does not go with --method={method}, as the records of --validation "
            "need tokens too; expected --tokenizer, or none of them"
        )
