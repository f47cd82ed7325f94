"""`mig-jax annotate`: from conversations to records with labels and a score, step by step."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib.metadata
from collections import Counter
from collections.abc import Sequence
from typing import Any, BinaryIO

import msgspec
import numpy as np
from absl import flags

from mig_jax import data
from mig_jax._version import __version__
from mig_jax.annotation import (
    SCORERS,
    Answers,
    Journal,
    Kept,
    TagMapping,
    annotate,
    combine,
    encoder_of,
    is_nearly_constant,
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
from mig_jax.commands.annotate_steps import (
    LOOKS_AT_FINAL_LABELS,
    Models,
    RecordCounts,
    filter_records,
    load_models,
)
from mig_jax.commands.command import Command
from mig_jax.commands.endpoint_flags import ENDPOINT_SETTINGS, served
from mig_jax.commands.terminal import progress_bar, say, tell
from mig_jax.data import open_files
from mig_jax.errors import InputError
from mig_jax.reports import counts_by_file, counts_by_value, told_counts

__all__ = ["COMMAND", "annotate_pool"]

# What is done with annotations rather than what they are, which a run that resumes may change,
# and names of files, whose contents count.
_AFTERWARDS = (
    "pool",
    "exclude_overlap",
    "deduplicate_against",
    "output",
    "scorer",
    "combine",
    "normalise_tags",
    "min_tag_count",
    "tag_distance",
    "tag_mapping",
    "count_by",
    *ENDPOINT_SETTINGS,
)
_PACKAGES = ("torch", "transformers", "sentence-transformers")


def annotate_pool(options: AnnotateOptions) -> None:
    """Filters, tags, scores and writes; all outputs appear at the end, or none.

    What the models find is kept in STEM.journal.jsonl until then, and what a server answers in
    STEM.answers.jsonl, for the same command to go on from.

    Raises:
      InputError: for anything given that cannot be used.
    """
    weights = scorer_weights(options.scorer)
    mapping = None if options.tag_mapping is None else _read_mapping(options.tag_mapping)
    with contextlib.ExitStack() as held, data.OutputFiles(options.files()) as outputs:
        # Opened first: a folder that is not there is known before the work, not after.
        output = outputs.open(options.output)
        about_output = outputs.open_manifest(options.stem + ".annotation.json", options.output)
        rejects = None
        if options.filters:
            rejects = outputs.open(options.stem + ".rejected.jsonl")
        mapping_output = None
        if options.normalise_tags:
            mapping_output = outputs.open(options.stem + ".tag_mapping.json")
        name = options.stem + ".journal.jsonl"
        # Held until the outputs have their names.
        journal = held.enter_context(Journal(name, _fingerprint(options), options.batch_size))
        form = data.output_form(options.output)
        if form == "parquet":
            data.check_one_table(options.sources)
        answers = held.enter_context(served(options, options.stem + ".answers.jsonl"))
        models = load_models(options)
        kept, read = filter_records(options, rejects)
        _annotate(options, models, kept, journal, answers)
        if journal.rejected == len(kept):
            raise InputError(
                "--pool: all of its records are rejected; expected one at least that stays (to try "
                f"them again, delete {name})"
            )
        if journal.rejected and rejects is None:
            rejects = outputs.open(options.stem + ".rejected.jsonl")
        if mapping_output is not None:
            mapping = _merge(options, tag_counts(journal))
            mapping_output.write(mapping.to_json())
        scores, told = _scores(options, weights, journal, mapping)
        with data.RecordSink(output, form, options.sources, _warn) as sink:
            written = _write(options, kept, journal, mapping, scores, sink, rejects)
        sources = _sources(kept, read, written.records)
        counts = None
        if options.count_by is not None:
            of_value = written.records.of_value
            counts = counts_by_value(options.count_by, read.of_value, of_value, kept_name="written")
        about = {
            "mig_jax": __version__,
            "parameters": dataclasses.asdict(options),
            "records": {"annotated": len(kept) - journal.rejected, "left_out": _by_kind(kept)},
            "sources": sources,
            **({} if counts is None else {"counts": counts}),
            "fields": options.places._asdict(),
            "replaced": dict(sorted(written.replaced.items())),
            "labels": written.about_labels() | {"records_asking_nothing": kept.asking_nothing},
            "scores": told,
            **({} if answers is None else {"server": options.about(answers.usage)}),
        }
        outputs.write_manifest(about_output, about, options.output)
        journal.finish()
        if answers is not None:
            answers.finish()
    _summarise(options, kept, written)
    if answers is not None:
        tell(f"asked {options.endpoint}: {options.told(answers.usage)}")
    for line in told_counts(sources, counts, kept_name="written"):
        tell(line)


@dataclasses.dataclass
class _Written:
    """What was written, counted."""

    records: RecordCounts
    labels: Counter[str] = dataclasses.field(default_factory=Counter)
    without: int = 0  # Records without a label.
    replaced: Counter[str] = dataclasses.field(default_factory=Counter)  # Records by field.

    def about_labels(self) -> dict[str, Any]:
        return {
            "distinct": len(self.labels),
            "a_record": self.labels.total() / self.records.of_file.total(),
            "records_without": self.without,
        }


def _by_kind(kept: Kept) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for (_, kind), count in kept.left_out.items():
        counts[kind] += count
    return dict(sorted(counts.items()))


def _sources(kept: Kept, read: RecordCounts, written: RecordCounts) -> list[dict[str, Any]]:
    """What became of the records of each file."""
    files = list(read.of_file)
    sources = counts_by_file(
        files,
        [read.of_file[file] for file in files],
        [written.of_file[file] for file in files],
        kept_name="written",
    )
    left_out: dict[str, dict[str, int]] = {file: {} for file in files}
    for (file, kind), count in sorted(kept.left_out.items()):
        left_out[file][kind] = count
    return [source | {"left_out": left_out[source["file"]]} for source in sources]


def _summarise(options: AnnotateOptions, kept: Kept, written: _Written) -> None:
    about = written.about_labels()
    tell(
        f"annotated {written.records.of_file.total():,} records with {about['distinct']:,} labels, "
        f"{about['a_record']:.1f} a record: {options.output}"
    )
    for kind, path in options.places._asdict().items():
        if count := written.replaced[path]:
            tell(f"replaced the {kind} of {count:,} records (field {path})")
    if left_out := _by_kind(kept):
        counts = ", ".join(f"{number:,} {kind}" for kind, number in left_out.items())
        tell(f"left out {counts}: {options.stem}.rejected.jsonl")


def _annotate(
    options: AnnotateOptions,
    models: Models,
    kept: Kept,
    journal: Journal,
    answers: Answers | None,
) -> None:
    if journal.done:
        say(f"resuming after {journal.done:,} of {len(kept):,} records")
    if journal.done == len(kept):
        return
    with progress_bar("annotating", len(kept), unit="records", initial=journal.done) as bar:
        if answers is not None:
            usage = answers.usage

            def spent() -> None:
                if (told := options.told(usage)) != bar.postfix:
                    bar.set_postfix_str(told)

            options.server.on_wait = spent

        def progress(done: int) -> None:
            bar.update(done - bar.n)

        annotate(
            kept.of(options.records()),
            options.needs,
            models.tagger,
            models.scorers,
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
    after = {name: SCORERS[name](options) for name in weights if name == LOOKS_AT_FINAL_LABELS}
    table = score_table(journal, mapping, list(weights), after)
    columns = {name: np.asarray(values) for name, values in table.means.items()}
    scores = combine(options.combine, columns, table.of_turns, weights)
    told = {}
    for name, values in {**columns, "combined": scores}.items():
        low, median, high = np.quantile(values, [0.0, 0.5, 1.0])
        told[name] = {"least": low, "median": median, "greatest": high}
        # Of a single scorer the combination says nothing new; and nobody chose scores that stay.
        says_more = len(columns) > 1 or name not in ("combined", "keep")
        if is_nearly_constant(values) and says_more:
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
    sink: data.RecordSink,
    rejects: BinaryIO | None,
) -> _Written:
    written = _Written(RecordCounts(options.count_by))
    records = kept.of(options.records(losses=sink.losses))
    of_kept = iter(scores.tolist())
    for record, found in zip(records, journal.read(), strict=True):
        if found.rejected is not None:
            told = data.BadRecords(record.path, True, rejects)
            told.meet(record.line, data.BadRecord(found.rejected), record.raw)
            kept.left_out[record.path, "not annotated"] += 1
            continue
        score = next(of_kept)
        labels = found.labels if mapping is None else mapping.apply(found.labels)
        rounded = float(f"{score:.6g}")
        written.records.add(record)
        written.labels.update(labels)
        written.without += not labels
        written.replaced.update(options.places.replaced(record, labels, rounded))
        line = options.places.written(record, labels, rounded)
        sink.write(line, (record.path, record.line, record.raw))
    if written.without:
        say(f"{written.without:,} records have no label")
    return written


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
        "is_served": options.endpoint is not None,
        "exclude_overlap": _digests(options.exclude_overlap),
        "deduplicate_against": _digests(options.deduplicate_against),
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


def _warn(line: str) -> None:
    say(f"warning: {line}")


def _run(values: flags.FlagValues) -> None:
    annotate_pool(annotate_options(values))


COMMAND = Command(
    name="annotate",
    summary="give conversations the labels and scores that select needs",
    define_flags=define_annotate_flags,
    run=_run,
    required=("pool", "output", "tagger", "scorer"),
)
