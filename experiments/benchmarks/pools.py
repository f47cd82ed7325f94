"""Generated pools for benchmarks, in memory and as files."""

from __future__ import annotations

import pathlib
from typing import NamedTuple

import numpy as np

import mig_jax
from mig_jax import data
from mig_jax.synthetic import BuiltinPool

__all__ = ["GeneratedPool", "generate", "page_bytes_a_record", "write_files"]


class GeneratedPool(NamedTuple):
    """A pool with its graph, and what made it."""

    pool: mig_jax.Pool
    graph: mig_jax.LabelGraph
    names: list[str]  #: Of the labels.
    vectors: np.ndarray  #: Their embeddings, of unit length.
    generator: BuiltinPool


def generate(
    records: int, labels: int, threshold: float, embeddings: str | None = None
) -> GeneratedPool:
    """A pool of some labels, with power-law popularity and about 3.5 a record.

    Args:
      records: how many.
      labels: how many, at most: those that no record has do not exist.
      threshold: similarity that joins two labels.
      embeddings: .npz whose `embeddings` are taken for those of the labels, one after another;
        by default the generator's own.
    """
    generator = BuiltinPool(records=records, labels=labels, topics=max(labels // 15, 1))
    table = generator.table()
    names, vectors = generator.label_embeddings()
    if embeddings:
        given = np.load(embeddings)["embeddings"].astype(np.float32)[: table.num_labels]
        vectors = given / np.linalg.norm(given, axis=1, keepdims=True)
    else:
        place = {name: i for i, name in enumerate(names)}
        vectors = vectors[[place[name] for name in table.label_names]]
    graph = mig_jax.label_graph_from_embeddings(vectors, threshold)
    pool = mig_jax.pool_from_table(table)
    return GeneratedPool(pool, graph, table.label_names, vectors, generator)


def write_files(generated: GeneratedPool, folder: pathlib.Path) -> tuple[pathlib.Path, ...]:
    """Writes pool.jsonl and emb.npz, from which `mig-jax select` gets the same pool and graph."""
    pool, embeddings = folder / "pool.jsonl", folder / "emb.npz"
    with open(pool, "wb") as stream:
        stream.writelines(generated.generator.lines())
    data.write_label_embeddings(embeddings, generated.names, generated.vectors)
    return pool, embeddings


def page_bytes_a_record(held: object, records: int) -> float:
    """Bytes that a device keeps of what is held, such as pages and state, for each record."""
    import jax

    return sum(leaf.nbytes for leaf in jax.tree_util.tree_leaves(held)) / records
