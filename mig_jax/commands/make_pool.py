"""`mig-jax make_pool`: writes a generated pool of any size, holding one block of it at a time."""

from __future__ import annotations

import contextlib

from absl import flags

from mig_jax import data
from mig_jax.commands.command import Command
from mig_jax.commands.flag_values import File, adder
from mig_jax.commands.standard_streams import STANDARD, standard_output
from mig_jax.commands.terminal import progress_bar, say, tell
from mig_jax.synthetic import BuiltinPool

__all__ = ["COMMAND", "run"]


def define_flags(values: flags.FlagValues) -> None:
    """Defines all flags of the command."""
    add = adder(values)
    add(flags.DEFINE_integer, "records", None, "How many records to write.", lower_bound=1)
    add(
        File,
        "output",
        None,
        "Where to write them: .jsonl or .json (lines), .jsonl.gz, .jsonl.zst, or .parquet for a "
        "table. - is standard output.",
    )
    add(
        File,
        "label_embeddings",
        None,
        "Where to write the embeddings of the pool's labels (.npz); not written by default.",
    )
    add(flags.DEFINE_integer, "seed", 0, "Another seed, another pool.", lower_bound=0)


def run(values: flags.FlagValues) -> None:
    """Writes records of the built-in pool in the plain layout, and their labels' embeddings.

    Raises:
      InputError: if an output cannot be written.
    """
    pool = BuiltinPool(records=values.records, seed=values.seed)
    form = data.output_form(values.output)
    to_standard = values.output == STANDARD
    with contextlib.ExitStack() as last, data.OutputFiles() as outputs:
        if to_standard:
            records = last.enter_context(standard_output())
        else:
            records = outputs.open(values.output)
        if values.label_embeddings is not None:
            embeddings = outputs.open(values.label_embeddings)
            data.write_label_embeddings(embeddings, *pool.label_embeddings())
        with (
            data.RecordSink(records, form) as sink,
            progress_bar("writing", values.records, unit="records") as bar,
        ):
            for line in pool.lines(0, values.records):
                sink.write(line)
                bar.update()
    told = say if to_standard else tell
    if values.label_embeddings is not None:
        told(f"wrote the embeddings of the pool's labels to {values.label_embeddings}")
    if not to_standard:
        tell(f"wrote {values.records:,} records to {values.output}")


COMMAND = Command(
    name="make_pool",
    define_flags=define_flags,
    run=run,
    required=("records", "output"),
    examples=("--records=5000 --output=pool.jsonl --label_embeddings=labels.npz",),
)
