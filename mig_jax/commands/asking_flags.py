"""The flags of methods that ask a language model about records."""

from __future__ import annotations

import dataclasses
import functools
import os
from typing import TYPE_CHECKING, Final

from absl import flags

from mig_jax.commands.base_models import define_base_model_flags, read_base_model
from mig_jax.commands.flag_sections import Section
from mig_jax.commands.flag_values import AddFlag
from mig_jax.errors import InputError
from mig_jax.methods import METHODS, RegisteredMethod

if TYPE_CHECKING:
    from mig_jax.language_models import BaseModel

__all__ = ["AskingOptions", "asks", "check_asking_flags", "define_asking_flags"]

_FLAGS: Final = ("model", "chat_template", "gradient_records", "layers", "row", "step_size")
_WHEN: Final = "With a --method that asks a language model, or --heeded: "


def asks(method: RegisteredMethod) -> bool:
    """Whether a method looks at what a language model says of records."""
    return bool({"gradients", "response_losses"} & method.needs)


@dataclasses.dataclass(frozen=True)
class AskingOptions:
    """The flags of `define_asking_flags`."""

    heeded: bool
    model: str | None
    chat_template: str
    gradient_records: int
    layers: int
    row: int
    step_size: float

    @functools.cached_property
    def base_model(self) -> BaseModel:
        """The model that is asked.

        Raises:
          InputError: if there is none, it cannot be used, or the extra finetune is missing.
        """
        return read_base_model(str(self.model), self.chat_template)

    @property
    def files_asked(self) -> list[str]:
        """Files that are read for it."""
        named = (self.model, self.chat_template)
        return [name for name in named if name is not None and os.path.isfile(name)]


def define_asking_flags(add: AddFlag) -> None:
    """Adds which model is asked, about what, and how it is warmed up."""
    add.under(Section.METHODS)(
        flags.DEFINE_boolean,
        "heeded",
        False,
        "With --method: only records whose response is likelier behind its instruction than alone "
        "(IFD below 1), by the model of --model. Most answers to other questions are left out.",
    )
    add = add.under(Section.MODELS)
    define_base_model_flags(add, _WHEN)
    add(
        flags.DEFINE_integer,
        "gradient_records",
        5000,
        "With a --method by gradients: about how many random records; 0 for all. The others come "
        "last.",
        lower_bound=0,
    )
    add(
        flags.DEFINE_integer,
        "layers",
        6,
        f"{_WHEN}how many upper layers learn when it is warmed up; 0 for all weights.",
        lower_bound=0,
    )
    add(
        flags.DEFINE_integer,
        "row",
        256,
        f"{_WHEN}tokens of the model that a record may have to be asked about.",
        lower_bound=2,
    )
    add(
        flags.DEFINE_float,
        "step_size",
        3e-4,
        f"{_WHEN}of the warm-up, on 30,000 tokens of random records.",
        lower_bound=0.0,
    )


def check_asking_flags(values: flags.FlagValues) -> None:
    """Raises InputError if a flag is given that --method has no use for, or one is missing."""
    name, method = values.method, METHODS.get(values.method)
    if values.heeded and method is None:
        raise InputError(
            f"--heeded: goes with --method=NAME, and not with {name}; expected random or "
            "mig_influence, say"
        )
    if method is None or not (asks(method) or values.heeded):
        for flag in _FLAGS:
            if values[flag].present:
                asking = ", ".join(name for name, method in METHODS.items() if asks(method))
                also = ", add --heeded" if method and flag != "gradient_records" else ""
                raise InputError(
                    f"--{flag}: --method={name} asks no language model; leave it out{also}, or "
                    f"choose by one that does: {asking}"
                )
        return
    if values.model is None:
        why = f"--method={name}" if asks(method) else "--heeded"
        raise InputError(
            f"--model: missing, expected --model=MODEL.gguf, a Hugging Face folder or a package "
            f"with a GGUF file, for {why} to ask"
        )
    if "gradients" not in method.needs and values["gradient_records"].present:
        raise InputError(f"--gradient_records: --method={name} looks at no gradients; leave it out")
    if not values.step_size > 0:
        raise InputError("--step_size: found 0, expected a number above 0")
