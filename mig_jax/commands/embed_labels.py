"""`mig-jax embed_labels`: the embeddings of a pool's labels, for the label graph."""

from __future__ import annotations

import dataclasses

from absl import flags

from mig_jax import annotation, data
from mig_jax.commands.command import Command
from mig_jax.commands.flag_groups import (
    TableOptions,
    check_table_flags,
    define_device_flag,
    define_table_flags,
    stem_of,
)
from mig_jax.commands.flag_values import File, Name, adder
from mig_jax.commands.pool_inputs import embed_labels, read_table
from mig_jax.commands.terminal import tell
from mig_jax.errors import InputError
from mig_jax.measure import USUAL_NEIGHBOURS, threshold_of_neighbours

__all__ = ["COMMAND", "run"]


@dataclasses.dataclass(frozen=True)
class _Options(TableOptions):
    """The flags of the command; `mig-jax embed_labels --help` explains each."""

    output: str
    model: str
    device: str


def define_flags(values: flags.FlagValues) -> None:
    """Defines all flags of the command."""
    add = adder(values)
    define_table_flags(add)
    add(
        File,
        "output",
        None,
        "Where to write the labels and their embeddings (.npz).",
    )
    add(
        Name,
        "model",
        annotation.DEFAULT_EMBEDDING_MODEL,
        "Sentence-transformers model, by name or folder.",
    )
    define_device_flag(add)


def run(values: flags.FlagValues) -> None:
    """Writes the embedding of each label of the pool.

    Raises:
      InputError: if the pool, the model or the output cannot be used.
    """
    check_table_flags(values)
    options = _Options(**values.flag_values_dict())
    with data.OutputFiles(options.files()) as outputs:
        output = outputs.open(options.output)
        annotation.encoder_of(
            options.model, options.device, "--model"
        )  # Told before the pool is read.
        table = read_table(options, outputs, stem_of(options.output, ".npz"))
        # In one order for every pool: models round by what stands beside.
        names = tuple(sorted(table.label_names))
        if not names:
            raise InputError("--pool: its records have no labels; expected one at least")
        embeddings = embed_labels(
            names,
            options.model,
            flag="--model",
            device=options.device,
            folder=options.cache_folder,
        )
        data.write_label_embeddings(output, names, embeddings, model=options.model)
    tell(
        f"wrote the embeddings of {len(names):,} labels, {embeddings.shape[1]} wide: "
        f"{options.output}"
    )
    threshold = threshold_of_neighbours(embeddings, USUAL_NEIGHBOURS)
    tell(
        f"at similarity {threshold:g} these labels have {USUAL_NEIGHBOURS:g} neighbours in the mean"
    )


COMMAND = Command(
    name="embed_labels",
    define_flags=define_flags,
    run=run,
    required=("pool", "output", "model"),
    examples=("annotated.jsonl --output=labels.npz",),
)
