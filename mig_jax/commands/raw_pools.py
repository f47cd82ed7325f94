"""Pools that lack labels or scores: what is lacking is annotated before anything else is done.

The steps and defaults are those of `mig-jax annotate`; the records stay as they came, and what
was found is kept in the cache for the next run.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
from absl import flags

from mig_jax import data
from mig_jax.annotation import Journal, Needs, Sample, scorer_weights
from mig_jax.commands.annotate_options import (
    AnnotateOptions,
    annotate_options,
    define_annotate_flags,
)
from mig_jax.commands.annotate_run import Annotated, annotate_records, final_scores, fingerprint
from mig_jax.commands.flag_groups import PoolOptions, TableOptions
from mig_jax.commands.terminal import kept_lines, listed, progress_bar, say
from mig_jax.data.records import labels_and_score
from mig_jax.errors import InputError

__all__ = ["NotKeptError", "annotated_table"]

# Flags that mean the same to all commands, beside those of `PoolOptions`: a --seed or a --model of
# another command is not that of annotation.
_OF_THE_POOL = ("vocabulary", "embedding_model", "cache")


@dataclasses.dataclass(frozen=True)
class _Needs(Needs):
    """What a record must have, and must not: what the first one lacks."""

    lacking: tuple[Literal["labels", "score"], ...] = ()
    names: data.FieldNames = data.records.USUAL

    def sample_of(self, record: data.RawRecord) -> Sample:
        for kind in self.lacking:
            if self._has(record, kind):
                own = {"labels": "labels", "score": "a score"}[kind]
                raise data.BadRecord(
                    f"has {own} of its own, and the first record has none; expected all records of "
                    "a pool to have them, or none (`mig-jax annotate` makes them for all)"
                )
        return super().sample_of(record)

    def _has(self, record: data.RawRecord, kind: Literal["labels", "score"]) -> bool:
        """Whether there is one, be it one that cannot be used."""
        wanted = kind == "labels"
        try:
            found = labels_and_score(record.record, self.names, labels=wanted, score=not wanted)
        except data.BadRecord:
            return True
        return found != (None, None)


@dataclasses.dataclass(frozen=True)
class _Options(AnnotateOptions):
    """Those of `mig-jax annotate`, for records that are not written with what is found."""

    lacking: tuple[Literal["labels", "score"], ...] = ()

    @property
    def needs(self) -> Needs:
        usual = super().needs
        return _Needs(usual.labels, usual.score, None, self.lacking, self.fields)


class NotKeptError(Exception):
    """The cache does not have what is lacking."""


def annotated_table(
    options: TableOptions,
    files: Sequence[data.RecordFile],
    lacking: data.Lacking,
    rejects: Any,
    *,
    fits: data.WrittenForm,
    check: Callable[[int], None] | None = None,
    only_kept: bool = False,
) -> data.RecordTable:
    """The table of a pool that lacks labels, scores or both: made by the defaults, or kept before.

    Args:
      options: the flags of the pool.
      files: those of the pool.
      lacking: what its records do not have.
      rejects: gets a line for each record left out, if it is not None.
      fits: how records must be writable.
      check: gets the most records that the table can have, before any is annotated.
      only_kept: whether nothing is made that was not kept before.

    Raises:
      InputError: for anything given that cannot be used.
      NotKeptError: if something would have to be made, and is not to be.
    """
    missing = listed([{"score": "scores"}.get(name, name) for name in sorted(lacking.what)])
    defaults: list[str] = []
    annotating = _options(options, lacking.what, defaults.append)
    vars(annotating)["sources"] = list(files)  # The same ones, and not opened again.
    run = fingerprint(annotating)

    # Said of what was kept, too: what was made by defaults is no more the user's the second time.
    say(f"the records have no {missing}: these are made, as `mig-jax annotate` does")
    if lacking.perhaps:
        say(f"if they have them under another name, perhaps {lacking.perhaps} tells where")
    for told in defaults:
        say(told)
    of_annotation: list[str] = []

    def annotate(rejects: Any) -> data.RecordTable:
        if only_kept:
            raise NotKeptError
        with (
            kept_lines() as lines,
            _journal(options.cache_folder, run, annotating.batch_size) as journal,
        ):
            found = annotate_records(annotating, journal, rejects, on_kept=check)
            table = _table(annotating, found, journal, files)
            journal.finish()
        of_annotation.extend(lines)
        return table

    if options.cache_folder is None:
        table = annotate(rejects)
    else:
        table = data.read_through_cache(
            annotate,
            folder=options.cache_folder,
            files=files,
            choices=["annotated", json.dumps(run, sort_keys=True)],
            rejects=rejects,
            kept_rejects=options.limits.kept_rejects,
            lines=of_annotation,
            tell=say,
        )
    # Behind the cache: the same records are annotated for all layouts.
    return table if fits.fits_all else _fitting(table, options, fits, rejects)


def _options(
    options: TableOptions,
    lacking: frozenset[Literal["labels", "score"]],
    tell: Callable[[str], None],
) -> AnnotateOptions:
    """The flags of `mig-jax annotate` that make what is lacking, and keep what is there.

    `tell` gets what is said of defaults.
    """
    values = flags.FlagValues()
    define_annotate_flags(values)
    values.mark_as_parsed()
    for name in (*_OF_THE_POOL, *(field.name for field in dataclasses.fields(PoolOptions))):
        if (value := getattr(options, name, None)) is not None:
            values[name].value = value
    values["output"].value = "annotated.jsonl"  # Nothing is written there.
    if "labels" not in lacking:
        values["tagger"].value = "keep"
    if "score" not in lacking:
        values["scorer"].value = ["keep"]
    found = annotate_options(values, tell)
    return _Options(**{**vars(found), "lacking": tuple(sorted(lacking))})


@contextlib.contextmanager
def _journal(folder: str | None, run: dict[str, Any], batch: int) -> Iterator[Journal]:
    """A journal in the cache, so that a killed run goes on; else one for this run alone.

    That the cache cannot be used, or another run is at the same pool, ends nothing.
    """
    with contextlib.ExitStack() as held:
        journal = None
        if folder is not None:
            key = hashlib.sha256(json.dumps(run, sort_keys=True).encode()).hexdigest()[:32]
            path = os.path.join(folder, f"{key}.journal.jsonl")
            try:
                os.makedirs(folder, exist_ok=True)
                journal = held.enter_context(Journal(path, run, batch))
            except (InputError, OSError) as error:
                say(f"{error}; what is made is kept nowhere until the end")
        if journal is None:
            alone = held.enter_context(tempfile.TemporaryDirectory())
            journal = held.enter_context(Journal(os.path.join(alone, "journal"), run, batch))
        yield journal


def _table(
    options: AnnotateOptions,
    found: Annotated,
    journal: Journal,
    files: Sequence[data.RecordFile],
) -> data.RecordTable:
    weights = scorer_weights(options.scorer)
    scores, _ = final_scores(options, weights, journal, None)
    file_index = {file.stamp.path: index for index, file in enumerate(files)}

    def records() -> Iterator[data.AnnotatedRecord]:
        kept = found.kept.of(options.records())
        for record, made, score in zip(kept, journal.read(), scores.tolist(), strict=True):
            place = (file_index[record.path], record.line, record.position)
            yield data.AnnotatedRecord(made.labels, float(f"{score:.6g}"), *place)

    return data.table_of_annotated(
        records(),
        files,
        skipped=found.read.of_file.total() - len(found.kept),
        vectors=_vectors(found),
    )


def _fitting(
    table: data.RecordTable, options: TableOptions, fits: data.WrittenForm, rejects: Any
) -> data.RecordTable:
    """The records that can be written as they must be; the others are bad ones."""
    skip = options.on_bad_record == "skip"
    bad = [data.BadRecords(path, skip, rejects) for path in table.files]
    fit = np.ones(table.num_records, bool)
    with progress_bar(
        "checking that records fit --output_layout", table.num_records, unit="records"
    ) as bar:
        for row, text in enumerate(data.each_record(table)):
            try:
                fits.check(data.parse_record(text), options.fields)
            except data.BadRecord as reason:
                bad[table.file_index[row]].meet(int(table.line[row]), reason, text)
                fit[row] = False
            bar.update()
    if fit.all():
        return table
    if not fit.any():
        raise next(one for one in bad if one.count).nothing_usable()
    skipped = table.records_skipped + int(np.count_nonzero(~fit))
    return dataclasses.replace(table.only(np.flatnonzero(fit)), records_skipped=skipped)


def _vectors(found: Annotated) -> tuple[Sequence[str], np.ndarray] | None:
    """The labels with their embeddings, of unit length, if they were made with the labels."""
    table = found.models.label_table()
    if table is None or not table.names:
        return None
    return table.names, data.unit_rows(table.embeddings)[0]
