"""`mig-jax make_pool`: writes a generated pool of any size, holding one block of it at a time."""

from __future__ import annotations

import sys

import tqdm

from mig_jax import data
from mig_jax.synthetic import BuiltinPool

__all__ = ["run"]


def run(records: int, output: str, label_embeddings: str | None, seed: int) -> None:
    """Writes `records` records of the built-in pool in the plain layout.

    Raises:
      InputError: where an output cannot be written.
    """
    pool = BuiltinPool(records=records, seed=seed)
    if label_embeddings is not None:
        data.write_label_embeddings(label_embeddings, *pool.label_embeddings())
        print(f"wrote the embeddings of the pool's labels to {label_embeddings}")
    with data.OutputFiles() as outputs:
        stream = outputs.open(output)
        lines = pool.lines(0, records)
        for line in tqdm.tqdm(lines, "writing", records, unit="records", file=sys.stderr):
            stream.write(line)
    print(f"wrote {records:,} records to {output}")
