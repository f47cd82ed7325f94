"""A pool as methods of selection look at it: for the command, and for experiments."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from mig_jax import data
from mig_jax.methods import Candidates, Texts, Wanted, text_embeddings

__all__ = ["candidates_of_table"]

Pair = Callable[[], tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]


def candidates_of_table(
    table: data.RecordTable,
    costs: npt.ArrayLike,
    *,
    rows: npt.NDArray[np.integer] | None = None,
    fields: data.FieldNames | Mapping[str, str] | None = None,
    groups: npt.NDArray[np.int32] | None = None,
    validation: data.ValidationSet | None = None,
    count: data.CountTexts = data.bytes_over_4,
    encode: Callable[[Sequence[str]], npt.NDArray[np.float32]] | None = None,
    response_losses: Pair | None = None,
    gradients: Pair | None = None,
    progress: Callable[[int], None] | None = None,
) -> Candidates:
    """The records of a table as `mig_jax.methods` chooses from them.

    Texts are read when a method asks for them, and embedded when it asks for that, once.

    Args:
      table: P records, as `mig_jax.data.read_pool` gives them.
      costs: [P], tokens of each; zeros if neither the method nor its limits look at them.
      rows: [N], ascending: the records that may be chosen, as those that fit a model; all by
        default. What a method gives are places among them.
      fields: the pool's names of fields, for its texts.
      groups: [P], the group of each, from 0.
      validation: what the records are wanted for.
      count: gives the tokens of its records, by their texts.
      encode: texts to embeddings, as for `mig_jax.methods.text_embeddings`.
      response_losses: gives what `Candidates` has by this name, of the N records.
      gradients: the same, of the N records and of the wanted ones.
      progress: gets the records read so far, of P.

    Raises:
      InputError: by what is called for texts, if a file has changed or a record has no
        conversation.
    """
    rows = np.arange(table.num_records) if rows is None else np.asarray(rows)

    @functools.cache
    def texts() -> Texts:
        pairs = list(data.read_texts(table, fields=fields, progress=progress))
        return _texts([pairs[row] for row in rows.tolist()])

    wanted_texts = None if validation is None else _texts(validation.conversations)

    @functools.cache
    def embeddings() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32] | None]:
        return text_embeddings(texts(), wanted_texts, encode=encode)

    def wanted_embeddings() -> npt.NDArray[np.float32]:
        found = embeddings()[1]
        assert found is not None
        return found

    wanted = None
    if validation is not None and wanted_texts is not None:
        tokens = np.array(count(validation.conversations), np.int64)
        wanted = Wanted(wanted_texts, validation.groups, wanted_embeddings, tokens)
    is_used = np.zeros(table.num_records, bool)
    is_used[rows] = True
    counts = np.diff(table.offsets)
    return Candidates(
        labels=table.labels[np.repeat(is_used, counts)],
        offsets=np.concatenate([np.zeros(1, np.int64), np.cumsum(counts[rows])]),
        num_labels=table.num_labels,
        scores=table.scores[rows],
        costs=np.asarray(costs, np.int64)[rows],
        texts=texts,
        embeddings=lambda: embeddings()[0],
        response_losses=response_losses,
        gradients=gradients,
        wanted=wanted,
        groups=None if groups is None else np.asarray(groups, np.int32)[rows],
    )


def _texts(pairs: Sequence[tuple[str, str]]) -> Texts:
    return Texts([asked for asked, _ in pairs], [answered for _, answered in pairs])
