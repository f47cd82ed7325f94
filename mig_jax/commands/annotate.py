"""`mig-jax annotate`: from conversations to records with labels and a score, step by step."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib.metadata
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import msgspec
import numpy as np
from absl import flags

from mig_jax import data
from mig_jax._version import __version__
from mig_jax.annotation import (
    SCORERS,
    TAGGERS,
    ExactDuplicates,
    Filter,
    Journal,
    Kept,
    NearDuplicates,
    Overlaps,
    TagMapping,
    annotate,
    annotated_record,
    combine,
    encoder_of,
    is_nearly_constant,
    leave_out,
    merge_tags,
    score_table,
    scorer_weights,
    tag_counts,
)
from mig_jax.commands.annotate_options import (
    AnnotateOptions,
    annotate_options,
    define_annotate_flags,
)
from mig_jax.commands.command import Command
from mig_jax.commands.terminal import progress_bar, say
from mig_jax.data import open_files
from mig_jax.errors import InputError

__all__ = ["COMMAND", "annotate_pool"]

# What is done with annotations rather than what they are, which a run that resumes may change,
# and names of files, whose contents count.
_AFTERWARDS = (
    "pool",
    "exclude_overlap",
    "output",
    "scorer",
    "combine",
    "normalise_tags",
    "min_tag_count",
    "tag_distance",
    "tag_mapping",
)
_LOOKS_AT_FINAL_LABELS = "tag_count"
_PACKAGES = ("torch", "transformers", "sentence-transformers")


class _Counted:
    """A stream that counts what is written to it."""

    def __init__(self, stream: BinaryIO | None) -> None:
        self._stream = stream
        self.count = 0

    def write(self, line: bytes) -> None:
        self.count += 1
        if self._stream is not None:
            self._stream.write(line)


def annotate_pool(options: AnnotateOptions) -> None:
    """Filters, tags, scores and writes; all outputs appear at the end, or none.

    What the models find is kept in STEM.journal.jsonl until then, for the same command to
    go on from.

    Raises:
      InputError: for anything given that cannot be used.
    """
    weights = scorer_weights(options.scorer)
    mapping = None if options.tag_mapping is None else _read_mapping(options.tag_mapping)
    with contextlib.ExitStack() as held, data.OutputFiles(options.files()) as outputs:
        # Opened first: a folder that is not there is known before the work, not after.
        output = outputs.open(options.output)
        about_output = outputs.open(options.stem + ".annotation.json")
        rejects = None
        if options.skips or options.deduplicate != "none" or options.exclude_overlap:
            rejects = outputs.open(options.stem + ".rejected.jsonl")
        mapping_output = None
        if options.normalise_tags:
            mapping_output = outputs.open(options.stem + ".tag_mapping.json")
        name = options.stem + ".journal.jsonl"
        # Held until the outputs have their names.
        journal = held.enter_context(Journal(name, _fingerprint(options), options.batch_size))
        kept = _filter(options, rejects)
        _annotate(options, weights, kept, journal)
        if mapping_output is not None:
            mapping = _merge(options, tag_counts(journal))
            mapping_output.write(mapping.to_json())
        scores, told = _scores(options, weights, journal, mapping)
        labels = _write(options, kept, journal, mapping, scores, output)
        about = {
            "mig_jax": __version__,
            "parameters": dataclasses.asdict(options),
            "records": {"annotated": len(kept), "left_out": dict(sorted(kept.left_out.items()))},
            "labels": labels,
            "scores": told,
        }
        data.write_json(about_output, about)
        journal.finish()
    print(
        f"annotated {len(kept):,} records with {labels['distinct']:,} labels, "
        f"{labels['a_record']:.1f} a record: {options.output}"
    )
    if kept.left_out:
        counts = ", ".join(f"{number:,} {kind}" for kind, number in sorted(kept.left_out.items()))
        print(f"left out {counts}: {options.stem}.rejected.jsonl")


def _filter(options: AnnotateOptions, rejects: BinaryIO | None) -> Kept:
    """Which records stay; tells of those that do not."""
    filters: list[Filter] = []
    if options.deduplicate != "none":
        filters.append(ExactDuplicates())
    if options.deduplicate == "near":
        filters.append(NearDuplicates(options.near_duplicate_similarity))
    if options.exclude_overlap:
        held_out = data.read_conversations(options.exclude_overlap)
        places = ((record.where, record.turns) for record in held_out)
        filters.append(Overlaps(places, options.overlap_words))
    unread = _Counted(rejects)
    with progress_bar("reading", None, unit="records") as bar:

        def passing() -> Iterator[data.RawRecord]:
            for record in options.records(unread):
                yield record
                bar.update()

        kept = leave_out(passing(), options.needs, filters, skip=options.skips, rejects=rejects)
    kept.left_out["bad records"] += unread.count
    kept.left_out = +kept.left_out
    if not len(kept):
        raise InputError("--pool: every record is left out; expected one at least that stays")
    return kept


def _annotate(
    options: AnnotateOptions, weights: dict[str, float], kept: Kept, journal: Journal
) -> None:
    if journal.done:
        say(f"resuming after {journal.done:,} of {len(kept):,} records")
    if journal.done == len(kept):
        return
    tagger = TAGGERS[options.tagger](options)
    scorers = {name: SCORERS[name](options) for name in weights if name != _LOOKS_AT_FINAL_LABELS}
    with progress_bar("annotating", len(kept), unit="records", initial=journal.done) as bar:

        def progress(done: int) -> None:
            bar.update(done - bar.n)

        annotate(
            kept.of(options.records()),
            options.needs,
            tagger,
            scorers,
            journal,
            options.batch_size,
            progress,
        )


def _merge(options: AnnotateOptions, counts: Counter[str]) -> TagMapping:
    encode = None
    if options.tag_distance > 0:
        encode = encoder_of(options.embedding_model, options.device)
    mapping = merge_tags(
        counts, encode, min_count=options.min_tag_count, distance=options.tag_distance
    )
    left = {tag for tag in mapping.of.values() if tag is not None}
    rare = sum(tag is None for tag in mapping.of.values())
    say(
        f"{len(counts):,} tags: {rare:,} are rare and left out, the others are merged into "
        f"{len(left):,}"
    )
    return mapping


def _scores(
    options: AnnotateOptions,
    weights: dict[str, float],
    journal: Journal,
    mapping: TagMapping | None,
) -> tuple[np.ndarray, dict[str, Any]]:
    """The score of each record, and how those of each scorer are spread."""
    after = {name: SCORERS[name](options) for name in weights if name == _LOOKS_AT_FINAL_LABELS}
    table = score_table(journal, mapping, list(weights), after)
    columns = {name: np.asarray(values) for name, values in table.means.items()}
    scores = combine(options.combine, columns, table.of_turns, weights)
    told = {}
    for name, values in {**columns, "combined": scores}.items():
        low, median, high = np.quantile(values, [0.0, 0.5, 1.0])
        told[name] = {"least": low, "median": median, "greatest": high}
        if is_nearly_constant(values):
            which = "the scores" if name == "combined" else f"--scorer={name}"
            say(
                f"warning: {which} gave nearly the same value to all records (median {median:.4g}):"
                " it tells good ones hardly from bad ones"
            )
    return scores, told


def _write(
    options: AnnotateOptions,
    kept: Kept,
    journal: Journal,
    mapping: TagMapping | None,
    scores: np.ndarray,
    output: BinaryIO,
) -> dict[str, Any]:
    """Writes the annotated records; gives counts of their labels."""
    counts: Counter[str] = Counter()
    without = 0
    records = kept.of(options.records())
    for record, found, score in zip(records, journal.read(), scores.tolist(), strict=True):
        labels = found.labels if mapping is None else mapping.apply(found.labels)
        counts.update(labels)
        without += not labels
        output.write(annotated_record(record, labels, float(f"{score:.6g}")))
    if without:
        say(f"{without:,} records have no label")
    return {
        "distinct": len(counts),
        "a_record": counts.total() / len(scores),
        "records_without": without,
    }


def _fingerprint(options: AnnotateOptions) -> dict[str, Any]:
    """What decides the annotations."""
    chosen = {k: v for k, v in dataclasses.asdict(options).items() if k not in _AFTERWARDS}
    if options.vocabulary is not None:
        content = msgspec.json.encode(data.read_vocabulary(options.vocabulary))
        chosen["vocabulary"] = hashlib.sha256(content).hexdigest()[:16]
    versions = {"mig_jax": __version__}
    for package in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return {
        # By content: a copy, or a file fetched again, is the same pool.
        "pool": _digests(options.sources),
        "exclude_overlap": _digests(options.exclude_overlap),
        "scorers": sorted(scorer_weights(options.scorer)),
        **chosen,
        "versions": versions,
    }


def _digests(paths: Sequence[str | data.RecordFile]) -> list[str]:
    if not paths:
        return []
    return [digest for file in open_files(paths) for digest in file.stamp.digests()]


def _read_mapping(path: str) -> TagMapping:
    expected = "expected a JSON object from tags to tags or null, as --normalise_tags writes it"
    try:
        with open(data.FileStamp.of(path).local, "rb") as stream:
            return TagMapping.from_json(stream.read())
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; {expected}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {error}; {expected}") from None


def _run(values: flags.FlagValues) -> None:
    annotate_pool(annotate_options(values))


COMMAND = Command(
    name="annotate",
    summary="give conversations the labels and scores that select needs",
    define_flags=define_annotate_flags,
    run=_run,
    required=("pool", "output", "tagger", "scorer"),
)
