"""`mig-jax normalise_tags`: what `mig-jax annotate --normalise_tags` does, alone."""

from __future__ import annotations

from absl import flags

from mig_jax.commands.annotate import annotate_pool
from mig_jax.commands.annotate_options import AnnotateOptions, define_annotate_flags
from mig_jax.commands.command import Command
from mig_jax.commands.flag_groups import (
    check_pool_flags,
    define_merging_flags,
    define_model_flags,
    define_pool_flags,
)
from mig_jax.commands.flag_values import File, adder

__all__ = ["COMMAND", "run"]


def define_flags(values: flags.FlagValues) -> None:
    """Defines all flags of the command."""
    add = adder(values)
    define_pool_flags(add)
    add(File, "output", None, "Where to write the annotated records (.jsonl).")
    define_model_flags(add, "tags")
    define_merging_flags(add)


def run(values: flags.FlagValues) -> None:
    """Writes the records with their tags merged; their scores stay.

    Raises:
      InputError: if flags, the pool, the model or an output cannot be used.
    """
    check_pool_flags(values)
    otherwise = flags.FlagValues()
    define_annotate_flags(otherwise)
    kept = {"tagger": "keep", "scorer": ["keep"], "normalise_tags": True}
    given = {**otherwise.flag_values_dict(), **kept, **values.flag_values_dict()}
    annotate_pool(AnnotateOptions(**given))


COMMAND = Command(
    name="normalise_tags",
    define_flags=define_flags,
    run=run,
    required=("pool", "output"),
    examples=("annotated.jsonl --output=normalised.jsonl",),
)
