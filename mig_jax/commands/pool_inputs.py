"""What commands share that take a pool and its label graph: flags, and reading them."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from typing import Any

import numpy as np
from absl import flags
from jax.sharding import Mesh

from mig_jax import data
from mig_jax.commands.embed_labels import embed_labels
from mig_jax.commands.pool_parts import read_part
from mig_jax.commands.terminal import progress_bar, say
from mig_jax.devices import all_gather_parts, num_parts, own_part, together
from mig_jax.errors import InputError
from mig_jax.measure import LabelGraph, label_graph_from_edges, label_graph_from_embeddings
from mig_jax.synthetic import BuiltinPool

__all__ = [
    "InputOptions",
    "check_input_flags",
    "define_input_flags",
    "read_label_graph",
    "read_table",
    "say_read",
]


@dataclasses.dataclass(frozen=True)
class InputOptions:
    """The flags of `define_input_flags`."""

    pool: list[str]
    label_embeddings: str | None
    embedding_model: str | None
    missing_embeddings: str
    vocabulary: str | None
    format: str
    field: list[str]
    on_bad_record: str
    cache: str | None

    @property
    def builtin_pool(self) -> BuiltinPool:
        """The pool that is used without --pool."""
        return BuiltinPool()


def define_input_flags(add: Callable[..., None]) -> None:
    """Adds the flags that name a pool, by `add(kind, name, default, help, ...)`."""
    add(
        flags.DEFINE_multi_string,
        "pool",
        [],
        "File with records: .jsonl, .jsonl.gz, .jsonl.zst, .json (lines or one array) or .parquet; "
        "a folder that Hugging Face datasets saved; or hub:OWNER/NAME. May be repeated. Without it "
        "the built-in pool is used.",
    )
    add(flags.DEFINE_string, "label_embeddings", None, ".npz with `labels` and `embeddings`.")
    add(
        flags.DEFINE_string,
        "embedding_model",
        None,
        "Sentence-transformers model, by name or folder, that embeds the labels now, in place of "
        "--label_embeddings. Needs the extra annotate.",
    )
    add(
        flags.DEFINE_enum,
        "missing_embeddings",
        "error",
        ["error", "isolate"],
        "What to do with labels of the pool that have no embedding.",
    )
    add(flags.DEFINE_string, "vocabulary", None, "JSON list of labels; others are dropped.")
    add(
        flags.DEFINE_enum,
        "format",
        "auto",
        ["auto", "xsample", "plain"],
        "Layout of labels and score.",
    )
    add(
        flags.DEFINE_multi_string,
        "field",
        [],
        "NAME=FIELD: the pool's name of a field, as in --field=labels=tags --field=score=quality. "
        f"May be repeated. NAME is one of {', '.join(data.FIELD_NAMES)}.",
    )
    add(
        flags.DEFINE_enum,
        "on_bad_record",
        "error",
        ["error", "skip"],
        "Stop at a record that cannot be used, or go on and keep it in OUTPUT.rejected.jsonl.",
    )
    add(
        flags.DEFINE_string,
        "cache",
        None,
        "Folder that keeps what was read from --pool, so that the same files need not be read "
        "again; `none` for no cache. It may be deleted at any time. By default the platform's "
        "folder for caches: $XDG_CACHE_HOME/mig_jax or ~/.cache/mig_jax on Linux.",
    )


def check_input_flags(values: flags.FlagValues) -> None:
    """Raises InputError where these flags contradict each other."""
    names = data.FieldNames.parse(values.field)
    if values.format == "xsample" and (names.is_mapped("labels") or names.is_mapped("score")):
        raise InputError("--field: labels and score are fields of --format=plain")
    if values.field and not values.pool:
        raise InputError("--field: the built-in pool has its own; give --pool too")
    if values.cache == "":
        raise InputError("--cache: found nothing, expected a folder or none")
    if values.missing_embeddings == "isolate" and values.label_embeddings is None:
        raise InputError("--missing_embeddings: goes with --label_embeddings=EMB.npz")
    given = [n for n in ("label_embeddings", "embedding_model") if values[n].value is not None]
    if len(given) > 1:
        raise InputError("--embedding_model: does not go with --label_embeddings; give one of them")
    if given and not values.pool:
        raise InputError(f"--{given[0]}: the built-in pool has its own; give --pool too")


def read_table(
    options: InputOptions,
    outputs: data.OutputFiles,
    stem: str,
    mesh: Mesh | None,
    fits: str | None = None,
) -> data.RecordTable:
    """The pool, or this process's part of it; what is rejected goes to STEM.rejected.jsonl.

    `fits` is the conversation layout that records must be writable in.

    Raises:
      InputError: where a file cannot be used.
    """
    if not options.pool:
        return options.builtin_pool.table()
    vocabulary = None
    if options.vocabulary is not None:
        path = options.vocabulary
        vocabulary = together(lambda: data.read_vocabulary(path), mesh)
    rejects = None
    if options.on_bad_record == "skip":
        # Where several processes read, each keeps what it rejects.
        part = f".{own_part(mesh)}" if own_part(mesh) else ""
        rejected = f"{stem}.rejected{part}.jsonl"
        rejects = together(lambda: outputs.open(rejected), mesh)
    common: dict[str, Any] = {
        "layout": options.format,
        "vocabulary": vocabulary,
        "on_bad_record": options.on_bad_record,
        "fields": data.FieldNames.parse(options.field),
        "fits": fits,
    }
    size = None
    if all(os.path.isfile(path) for path in options.pool):
        size = sum(os.path.getsize(path) for path in options.pool)
    with progress_bar("reading", size, unit="B", unit_scale=True) as bar:

        def progress(done: int) -> None:
            bar.update(done - bar.n)

        if mesh is not None and num_parts(mesh) > 1:
            return read_part(
                mesh,
                lambda index, count: data.share_of_pool(options.pool, index, count, **common),
                rejects=rejects,
                progress=progress,
            )
        return data.read_pool(
            options.pool,
            **common,
            rejects=rejects,
            progress=progress,
            cache=None if options.cache == "none" else options.cache or data.default_cache_folder(),
            on_cache=say,
        )


def say_read(table: data.RecordTable, num_records: int, mesh: Mesh | None) -> None:
    """Tells what was read: `num_records` in all processes together."""
    text = f"{num_records:,} records with {table.num_labels:,} labels"
    if table.records_skipped:
        text += f"; {table.records_skipped:,} bad records skipped"
    if table.labels_dropped:
        text += f"; {table.labels_dropped:,} labels dropped that are not in the vocabulary"
    own_without = np.array([np.count_nonzero(np.diff(table.offsets) == 0)])
    without = int(np.sum(all_gather_parts(own_without, mesh)))
    if without:
        text += f"; {without:,} records have no label"
    say(text)


def label_embeddings(
    options: InputOptions, table: data.RecordTable
) -> tuple[np.ndarray, np.ndarray | None] | None:
    """The embedding of each label of the table, and which labels have one; None without any.

    Raises:
      InputError: where the embeddings cannot be used.
    """
    if not options.pool:
        names, vectors = options.builtin_pool.label_embeddings()
        place = {name: i for i, name in enumerate(names)}
        return vectors[[place[name] for name in table.label_names]], None
    if options.embedding_model is not None:
        # Sorted, as `mig-jax embed_labels` has them: models round by what stands beside.
        ordered = tuple(sorted(table.label_names))
        row_of = {name: row for row, name in enumerate(ordered)}
        found = embed_labels(ordered, options.embedding_model, flag="--embedding_model")
        return found[[row_of[name] for name in table.label_names]], None
    if options.label_embeddings is None:
        return None
    return data.read_label_embeddings(
        options.label_embeddings,
        table.label_names,
        missing=options.missing_embeddings,  # type: ignore[arg-type]
    )


def read_label_graph(
    options: InputOptions, table: data.RecordTable, threshold: float
) -> LabelGraph:
    """The graph that joins labels of the table with a similarity of `threshold` or more.

    Raises:
      InputError: where the embeddings cannot be used.
    """
    embeddings = label_embeddings(options, table)
    if embeddings is None:
        say(
            "the label graph has no edges: give --label_embeddings=EMB.npz or "
            "--embedding_model=NAME to let labels of similar meaning share information"
        )
        return label_graph_from_edges(table.num_labels)
    vectors, present = embeddings
    graph = label_graph_from_embeddings(vectors, threshold, present=present)
    say(
        f"label graph: {graph.num_edges:,} edges at similarity {threshold:g} "
        f"or more, {2 * graph.num_edges / max(graph.num_labels, 1):.1f} neighbours a label"
    )
    if not graph.num_edges:
        say("no two labels are that similar: a lower threshold would join some")
    return graph
