"""`mig-jax embed_labels`: the embeddings of a pool's labels, for the label graph."""

from __future__ import annotations

import functools

import numpy as np

from mig_jax import data
from mig_jax.commands.terminal import progress_bar
from mig_jax.errors import InputError

__all__ = ["embed_labels", "run"]

_A_REPORT = 512


def run(
    pool: list[str], output: str, model: str, device: str, field: list[str], on_bad_record: str
) -> None:
    """Writes the embedding of each label of the pool.

    Raises:
      InputError: where the pool, the model or the output cannot be used.
    """
    table = data.read_pool(
        pool,
        fields=data.FieldNames.parse(field),
        on_bad_record="skip" if on_bad_record == "skip" else "error",
    )
    names = tuple(sorted(table.label_names))
    if not names:
        raise InputError("--pool: its records have no labels; expected one at least")
    embeddings = embed_labels(names, model, flag="--model", device=device)
    data.write_label_embeddings(output, names, embeddings)
    print(f"wrote the embeddings of {len(names):,} labels, {embeddings.shape[1]} wide: {output}")


@functools.lru_cache(maxsize=1)
def embed_labels(
    labels: tuple[str, ...], model: str, *, flag: str, device: str = "auto"
) -> np.ndarray:
    """The embedding of each label: float32 [n, width], rows of unit length, not to be changed.

    `flag` is what errors name.

    Raises:
      InputError: where the model cannot be used.
    """
    from mig_jax.annotation import SentenceEncoder

    encode = SentenceEncoder(model, flag=flag, device=device)
    found = []
    with progress_bar("embedding", len(labels), unit="labels") as bar:
        for start in range(0, len(labels), _A_REPORT):
            found.append(encode(labels[start : start + _A_REPORT]))
            bar.update(len(found[-1]))
    return np.concatenate(found)
