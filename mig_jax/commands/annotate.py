"""`mig-jax annotate`: from conversations to records with labels and a score, step by step."""

from __future__ import annotations

import contextlib
import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
from absl import flags

from mig_jax import data
from mig_jax._version import __version__
from mig_jax.annotation import (
    Journal,
    Kept,
    LabelTable,
    TagMapping,
    encoder_of,
    merge_tags,
    scorer_weights,
    spelling,
    tag_counts,
)
from mig_jax.commands.annotate_options import (
    AnnotateOptions,
    annotate_options,
    define_annotate_flags,
)
from mig_jax.commands.annotate_run import annotate_records, final_scores, fingerprint
from mig_jax.commands.annotate_steps import RecordCounts
from mig_jax.commands.command import Command
from mig_jax.commands.endpoint_flags import served
from mig_jax.commands.rejected import Rejected
from mig_jax.commands.terminal import say, tell
from mig_jax.errors import InputError
from mig_jax.reports import counted, counts_by_file, counts_by_value, told_counts

__all__ = ["COMMAND", "annotate_pool"]


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
            rejects = _rejected(options, outputs)
        mapping_output = None
        if options.normalise_tags:
            mapping_output = outputs.open(options.stem + ".tag_mapping.json")
        labels_output = options.stem + ".labels.npz"
        if options.tagger in ("discover", "embedding"):
            outputs.claim(labels_output)
        name = options.stem + ".journal.jsonl"
        # Held until the outputs have their names.
        journal = held.enter_context(Journal(name, fingerprint(options), options.batch_size))
        form = data.output_form(options.output)
        if form == "parquet":
            data.check_one_table(options.sources)
        answers = held.enter_context(served(options, options.stem + ".answers.jsonl"))
        found = annotate_records(options, journal, rejects, answers)
        kept = found.kept
        if journal.rejected == len(kept):
            raise InputError(
                "--pool: all of its records are rejected; expected one at least that stays (to try "
                f"them again, delete {name})"
            )
        if journal.rejected and rejects is None:
            rejects = _rejected(options, outputs)
        if mapping_output is not None:
            mapping = _merge(options, tag_counts(journal), found.models.label_table())
            mapping_output.write(mapping.to_json())
        scores, told = final_scores(options, weights, journal, mapping)
        with data.RecordSink(output, form, options.sources, _warn) as sink:
            written = _write(options, kept, journal, mapping, scores, sink, rejects)
        table = found.models.label_table(written.labels)
        if table is not None and table.names:
            data.write_label_embeddings(
                outputs.open(labels_output),
                table.names,
                table.embeddings,
                model=table.model,
                more=table.state,
            )
        sources = _sources(kept, found.read, written.records)
        counts = None
        if options.count_by is not None:
            of_value = written.records.of_value
            counts = counts_by_value(
                options.count_by, found.read.of_value, of_value, kept_name="written"
            )
        about = {
            "mig_jax": __version__,
            "parameters": dataclasses.asdict(options),
            "records": {"annotated": len(kept) - journal.rejected, "left_out": _by_kind(kept)},
            "sources": sources,
            "read_as": found.read.read_as,
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
    _summarise(options, kept, written, rejects)
    if answers is not None:
        tell(f"asked {options.endpoint}: {options.told(answers.usage)}")
    for line in told_counts(sources, counts, kept_name="written"):
        tell(line)


def _rejected(options: AnnotateOptions, outputs: data.OutputFiles) -> Rejected:
    path = options.stem + ".rejected.jsonl"
    return Rejected(outputs.open(path), path)


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


def _summarise(
    options: AnnotateOptions, kept: Kept, written: _Written, rejects: Rejected | None
) -> None:
    about = written.about_labels()
    tell(
        f"annotated {counted(written.records.of_file.total(), 'record')} with "
        f"{counted(about['distinct'], 'label')}, "
        f"{about['a_record']:.1f} a record: {options.output}"
    )
    for kind, path in options.places._asdict().items():
        if count := written.replaced[path]:
            tell(f"replaced the {kind} of {counted(count, 'record')} (field {path})")
    if left_out := _by_kind(kept):
        counts = ", ".join(f"{number:,} {kind}" for kind, number in left_out.items())
        tell(f"left out {counts}{'' if rejects is None else f': {rejects.path}'}")
        if rejects is not None and (most := rejects.most()) is not None:
            tell(f"  most often ({most[1]:,} of them): {most[0]}")


def _merge(options: AnnotateOptions, counts: Counter[str], table: LabelTable | None) -> TagMapping:
    encode: Callable[[Sequence[str]], np.ndarray] | None = None
    if options.tag_distance > 0 and table is not None:
        row_of = {spelling(name): row for row, name in enumerate(table.names)}

        def encode(tags: Sequence[str]) -> np.ndarray:
            return table.embeddings[[row_of[spelling(tag)] for tag in tags]]

    elif options.tag_distance > 0:
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


def _write(
    options: AnnotateOptions,
    kept: Kept,
    journal: Journal,
    mapping: TagMapping | None,
    scores: np.ndarray,
    sink: data.RecordSink,
    rejects: Rejected | None,
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
        have = "has" if written.without == 1 else "have"
        say(f"{counted(written.without, 'record')} {have} no label")
    return written


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
    define_flags=define_annotate_flags,
    run=_run,
    required=("pool", "output"),
    examples=(
        "raw.jsonl --output=annotated.jsonl",
        "raw.jsonl --deduplicate=near --exclude_overlap=test.jsonl --output=annotated.jsonl",
    ),
)
