"""Reading what the flags of an input name: a pool, and the graph of its labels."""

from __future__ import annotations

import contextlib
import functools
import io
from collections.abc import Callable
from typing import Any, BinaryIO, Literal, Protocol

import numpy as np

from mig_jax import data
from mig_jax.commands.embedding_bar import embed_with_bar
from mig_jax.commands.flag_groups import InputOptions, TableOptions
from mig_jax.commands.pool_parts import read_part
from mig_jax.commands.progress import Bar
from mig_jax.commands.rejected import Rejected
from mig_jax.commands.terminal import progress_bar, say
from mig_jax.devices import ALONE, Hosts
from mig_jax.errors import InputError
from mig_jax.measure import (
    USUAL_NEIGHBOURS,
    LabelGraph,
    label_graph_from_edges,
    label_graph_from_embeddings,
    threshold_of_neighbours,
)
from mig_jax.reports import counted

__all__ = [
    "Nowhere",
    "Outputs",
    "check_budget",
    "check_raw",
    "check_worth",
    "embed_labels",
    "join_labels",
    "label_embeddings",
    "read_label_graph",
    "read_table",
    "say_if_one_outweighs",
    "say_read",
]

# Labels with a tenth of the usual neighbours share hardly anything.
_OUTWEIGHS = 1000.0  # A score so many times the median is a slip more often than a score.
_HARDLY_ANY = USUAL_NEIGHBOURS / 10


class Outputs(Protocol):
    """What gives a stream for an output, as `mig_jax.data.OutputFiles` does."""

    def open(self, path: str, /) -> BinaryIO: ...


class _Discarded(io.BytesIO):
    def write(self, text: Any, /) -> int:
        return len(text)


class Nowhere:
    """Takes outputs that are kept nowhere; what is left out of a pool is told all the same."""

    def open(self, path: str, /) -> BinaryIO:
        return _Discarded()


def read_table(
    options: TableOptions,
    outputs: Outputs | None,
    stem: str = "",
    *,
    fits: data.WrittenForm = data.AS_IT_CAME,
    hosts: Hosts = ALONE,
    check: Callable[[int], None] | None = None,
) -> data.RecordTable:
    """The pool that the options name, or this process's part of it; without, the built-in one.

    Tells which of them, and why records were left out, if some were.

    Args:
      options: the flags given.
      outputs: get STEM.rejected.jsonl, if bad records are skipped; None to keep it nowhere.
      stem: what the name of that file begins with.
      fits: how records must be writable.
      hosts: the processes that read together; this one alone by default.
      check: gets how many records the pool has at most, before labels or scores are made of them;
        it raises if they are too few. It is called for no other pool: that is quickly read.

    Raises:
      InputError: if a file cannot be used.
    """
    if not options.pool:
        say("the built-in pool, which mig-jax generates for examples; --pool=FILE reads yours")
        return options.builtin_pool.table()
    if isinstance(options, InputOptions) and options.embedding_model is not None:
        # Told before the pool is read, if it cannot be used.
        from mig_jax.annotation import encoder_of

        encoder_of(options.embedding_model)
    vocabulary = None
    if options.vocabulary is not None:
        known = options.vocabulary
        vocabulary = hosts.together(lambda: data.read_vocabulary(known))
    rejects = None
    if options.on_bad_record == "skip" and outputs is not None:
        # If several processes read, each keeps what it rejects.
        part = "" if hosts.is_first else f".{hosts.index}"
        path, open_output = f"{stem}.rejected{part}.jsonl", outputs.open
        stream = hosts.together(lambda: open_output(path))
        rejects = Rejected(stream, None if isinstance(outputs, Nowhere) else path)
    table = _read(options, vocabulary, rejects, fits, hosts, check)
    if rejects is not None:
        rejects.say(hosts)
    return table


def _read(
    options: TableOptions,
    vocabulary: list[str] | None,
    rejects: Rejected | None,
    fits: data.WrittenForm,
    hosts: Hosts,
    check: Callable[[int], None] | None,
) -> data.RecordTable:
    common: dict[str, Any] = {
        "layout": options.format,
        "vocabulary": vocabulary,
        "on_bad_record": options.on_bad_record,
        "fields": options.fields,
        "fits": fits,
        "limits": options.limits,
    }
    files = hosts.together(lambda: options.sources)
    lacking = hosts.together(lambda: data.lacking(files, options.fields, options.format))
    if lacking.what:
        check_raw(options, lacking, hosts)
        # Not at the top: only raw pools need what annotates.
        from mig_jax.commands.raw_pools import annotated_table

        return annotated_table(options, files, lacking, rejects, fits=fits, check=check)
    size = sum(file.stamp.size for file in files)
    with contextlib.ExitStack() as shown:
        bars: list[Bar] = []

        def progress(done: int) -> None:
            if not bars:  # What comes from the cache is not read, and shows none.
                bars.append(shown.enter_context(progress_bar("reading", size, unit="B")))
            bars[0].update(done - bars[0].n)

        if hosts.count > 1:
            return read_part(
                hosts,
                lambda index, count: data.share_of_pool(files, index, count, **common),
                rejects=rejects,
                progress=progress,
            )
        return data.read_pool(
            files,
            **common,
            rejects=rejects,
            progress=progress,
            cache=options.cache_folder,
            on_cache=say,
        )


def check_raw(options: TableOptions, lacking: data.Lacking, hosts: Hosts = ALONE) -> None:
    """Raises InputError if the flags do not go with a pool that lacks labels or scores."""
    if hosts.count > 1:
        raise InputError(
            f"--pool: its records have no {' and no '.join(sorted(lacking.what))}, which one "
            "process makes; expected what `mig-jax annotate` writes, or no "
            "--coordinator_address"
        )
    if "labels" in lacking.what and getattr(options, "label_embeddings", None) is not None:
        raise InputError(
            "--label_embeddings: the records have no labels, and those that are made bring "
            "their own embeddings; expected none for such a pool"
        )
    if "labels" not in lacking.what and options.vocabulary is not None:
        raise InputError(
            "--vocabulary: does not go with records that have labels and no score; expected "
            "what `mig-jax annotate --tagger=keep` writes of them"
        )


def say_read(table: data.RecordTable, hosts: Hosts = ALONE) -> None:
    """Tells what was read, in all processes together."""
    text = f"{counted(hosts.sum(table.num_records), 'record')} with "
    text += counted(table.num_labels, "label")
    if table.records_skipped:
        text += f"; {counted(table.records_skipped, 'bad record')} skipped"
    if table.labels_dropped:
        are = "is" if table.labels_dropped == 1 else "are"
        dropped = counted(table.labels_dropped, "label")
        text += f"; {dropped} dropped that {are} blank or not in the vocabulary"
    without = hosts.sum(int(np.count_nonzero(np.diff(table.offsets) == 0)))
    if without:
        text += f"; {counted(without, 'record')} {'has' if without == 1 else 'have'} no label"
    say(text)


def check_budget(
    budget: int, num_records: int, *, beside_given: bool = False, flag: str = "budget"
) -> None:
    """Raises InputError if the pool has fewer records than are to be selected.

    `beside_given` tells that records of the pool are given, which are not among `num_records`.
    """
    if budget > num_records:
        which = " that are not given" if beside_given else ""
        raise InputError(
            f"--{flag}: found {budget}, expected at most the pool's {num_records:,} records{which}"
        )


def check_worth(table: data.RecordTable, hosts: Hosts = ALONE) -> None:
    """Raises InputError if no record has a label and a score above 0: all selections hold 0."""
    labelled = np.diff(table.offsets) > 0
    scored = np.asarray(table.scores) > 0
    with_label, with_score, with_both = (
        hosts.sum(int(np.count_nonzero(found))) for found in (labelled, scored, labelled & scored)
    )
    if with_both:
        return
    if not with_label and hosts.sum(table.labels_dropped):
        found = "--vocabulary: has none of the labels of the records"
    elif not with_label:
        found = "--pool: no record has a label"
    elif not with_score:
        found = "--pool: the scores of all records are 0"
    else:
        found = "--pool: no record that has a label has a score above 0"
    raise InputError(
        f"{found}, so that no selection holds any information and there is nothing to choose by; "
        "expected records with labels and scores above 0 (float32)"
    )


def say_if_one_outweighs(table: data.RecordTable) -> None:
    """Says that a score is so far above the usual ones that E hardly tells of the others."""
    scores = np.asarray(table.scores, np.float64)
    if not np.any(scores > 0):
        return
    first, usual = int(np.argmax(scores)), float(np.median(scores[scores > 0]))
    if (times := scores[first] / usual) >= _OUTWEIGHS:
        where = f"{table.files[table.file_index[first]]}, line {table.line[first]:,}"
        say(
            f"warning: {where} has the score {scores[first]:.4g}, {times:.3g} times the median: E "
            "is mostly of such records; expected scores of one scale"
        )


def label_embeddings(
    options: InputOptions, table: data.RecordTable
) -> tuple[np.ndarray, np.ndarray | None] | None:
    """The embedding of each label of the table, and which labels have one; None without any.

    They are those that were made with the labels, or else of --label_embeddings or
    --embedding_model, or else of the file that `mig-jax annotate` wrote beside the pool.

    Raises:
      InputError: if the embeddings cannot be used.
    """
    if not options.pool:
        names, vectors = options.builtin_pool.label_embeddings()
        place = {name: i for i, name in enumerate(names)}
        return vectors[[place[name] for name in table.label_names]], None
    if table.label_vectors is not None:
        return table.label_vectors, None
    if options.embedding_model is not None:
        # Sorted, as `mig-jax embed_labels` has them: models round by what stands beside.
        ordered = tuple(sorted(table.label_names))
        row_of = {name: row for row, name in enumerate(ordered)}
        # Several processes must have the same: each embeds.
        together = getattr(options, "coordinator_address", None) is not None
        found = embed_labels(
            ordered,
            options.embedding_model,
            flag="--embedding_model",
            folder=None if together else options.cache_folder,
        )
        return found[[row_of[name] for name in table.label_names]], None
    path = options.label_embeddings
    if path is None:
        path = options.embeddings_beside
        if path is None:
            if options.annotated_apart:
                say(
                    "the files of the pool were annotated apart from each other: their labels mean "
                    "different things; annotate them together, or new ones with --labels_from"
                )
            return None
        say(f"label embeddings of {path}, beside the pool")
    return data.read_label_embeddings(
        path,
        table.label_names,
        missing=options.missing_embeddings,
    )


def read_label_graph(
    options: InputOptions,
    table: data.RecordTable,
    threshold: float | Literal["auto"],
    *,
    neighbours: float = USUAL_NEIGHBOURS,
    remedy: str | None = "--similarity_threshold={:g}",
) -> tuple[LabelGraph, float | None]:
    """The graph that joins labels of the table with a similarity of `threshold` or more.

    With "auto" labels have so many `neighbours` in the mean (`threshold_of_neighbours`). If a
    threshold that was given joins hardly any labels, `remedy` is told: the flags that set another;
    None to tell nothing.

    Returns:
      The graph, and the threshold; None if the labels have no embeddings.

    Raises:
      InputError: if the embeddings cannot be used.
    """
    embeddings = label_embeddings(options, table)
    return join_labels(embeddings, table, threshold, neighbours=neighbours, remedy=remedy)


def join_labels(
    embeddings: tuple[np.ndarray, np.ndarray | None] | None,
    table: data.RecordTable,
    threshold: float | Literal["auto"],
    *,
    neighbours: float = USUAL_NEIGHBOURS,
    remedy: str | None = "--similarity_threshold={:g}",
) -> tuple[LabelGraph, float | None]:
    """As `read_label_graph`, of what `label_embeddings` gave."""
    if embeddings is None:
        say(
            "the label graph has no edges: give --label_embeddings=EMB.npz or "
            "--embedding_model=NAME to let labels of similar meaning share information"
        )
        return label_graph_from_edges(table.num_labels), None
    vectors, present = embeddings
    at = threshold
    if at == "auto":
        at = threshold_of_neighbours(vectors, neighbours, present=present)
    graph = label_graph_from_embeddings(vectors, at, present=present)
    found = 2 * graph.num_edges / max(graph.num_labels, 1)
    edges = f"{graph.num_edges:,} edge{'s' * (graph.num_edges != 1)}"
    say(
        f"label graph: {edges} at similarity {at:g} or more, "
        f"{found:.1f} neighbours a label"
        + ("; --similarity_threshold sets another" * (threshold == "auto"))
    )
    if remedy is not None and threshold != "auto" and found < _HARDLY_ANY:
        fits = threshold_of_neighbours(vectors, neighbours, present=present)
        if fits < at:
            say(
                f"warning: similarity {at:g} joins hardly any labels; {fits:g} gives them "
                f"{neighbours:g} neighbours: {remedy.format(fits)}"
            )
    return graph, at


@functools.lru_cache(maxsize=1)
def embed_labels(
    labels: tuple[str, ...],
    model: str,
    *,
    flag: str,
    device: str = "auto",
    folder: str | None = None,
) -> np.ndarray:
    """The embedding of each label: float32 [n, width], rows of unit length, not to be changed.

    `flag` is what errors name; `folder` keeps them, None for none.

    Raises:
      InputError: if the model cannot be used.
    """
    from mig_jax.annotation import encoder_of, kept_embeddings

    encoder = encoder_of(model, device, flag)
    embed = functools.partial(embed_with_bar, encoder)
    return kept_embeddings(labels, encoder, folder, embed=embed, tell=say)
