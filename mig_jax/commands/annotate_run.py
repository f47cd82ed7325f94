"""From the flags of `mig-jax annotate` to a journal of all annotations, and to final scores.

`mig-jax annotate` and `mig-jax select` on a raw pool go the same way as far as this.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np

from mig_jax import data
from mig_jax._version import __version__
from mig_jax.annotation import (
    SCORERS,
    Answers,
    Engine,
    Journal,
    Kept,
    TagMapping,
    combine,
    encoder_of,
    is_nearly_constant,
    package_versions,
    score_table,
    scorer_weights,
)
from mig_jax.commands.annotate_options import AnnotateOptions
from mig_jax.commands.annotate_steps import (
    LOOKS_AT_FINAL_LABELS,
    Models,
    RecordCounts,
    engine_of,
    filter_records,
    load_models,
    look_at_pool,
    text_model,
)
from mig_jax.commands.endpoint_flags import ENDPOINT_SETTINGS
from mig_jax.commands.terminal import progress_bar, say, say_and_keep
from mig_jax.data import open_files
from mig_jax.errors import InputError

__all__ = ["Annotated", "annotate_records", "final_scores", "fingerprint"]

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
    "cache",
    "engine",
    "ray_address",
)


@dataclasses.dataclass(frozen=True)
class Annotated:
    """What the annotations of a journal belong to, and what made them."""

    kept: Kept
    read: RecordCounts
    models: Models


def annotate_records(
    options: AnnotateOptions,
    journal: Journal,
    rejects: Any,
    answers: Answers | None = None,
    *,
    on_kept: Callable[[int], None] | None = None,
) -> Annotated:
    """Filters the records, looks at those that stay, and adds to the journal what is not there.

    `rejects` gets a line for each record that is left out; `answers` are those of the server that
    the options name. The journal is one of `fingerprint(options)`, and open. `on_kept` gets how
    many records stay before any is annotated; what it raises ends the run.

    Raises:
      InputError: for anything given that cannot be used.
    """
    engine = engine_of(options)
    with engine:
        models = load_models(options)
        kept, read = filter_records(options, rejects)
        if on_kept is not None:
            on_kept(len(kept))
        look_at_pool(options, models, kept)
        _annotate(options, engine, models, kept, journal, answers)
    return Annotated(kept, read, models)


def _annotate(
    options: AnnotateOptions,
    engine: Engine,
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

        engine.annotate(options.batches(kept), models.tagger, models.scorers, journal, progress)


def final_scores(
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
            say_and_keep(
                f"warning: {which} gave nearly the same value to all records (median {median:.4g}):"
                " it tells good ones hardly from bad ones"
            )
    return scores, told


def fingerprint(options: AnnotateOptions) -> dict[str, Any]:
    """What decides the annotations."""
    chosen = {k: v for k, v in dataclasses.asdict(options).items() if k not in _AFTERWARDS}
    if options.vocabulary is not None:
        content = msgspec.json.encode(data.read_vocabulary(options.vocabulary))
        chosen["vocabulary"] = hashlib.sha256(content).hexdigest()[:16]
    if options.labels_from is not None:
        chosen["labels_from"] = _file_digest(options.labels_from)
    if (model := text_model(options)) is not None:
        # By content: the files of a model may change under its name.
        chosen["embedding_model"] = encoder_of(model, options.device).fingerprint
    return {
        # By content: a copy, or a file fetched again, is the same pool.
        "pool": _digests(options.sources),
        "is_served": options.endpoint is not None,
        "exclude_overlap": _digests(options.exclude_overlap),
        "deduplicate_against": _digests(options.deduplicate_against),
        "scorers": sorted(scorer_weights(options.scorer)),
        **chosen,
        "versions": {"mig_jax": __version__, **package_versions()},
    }


def _digests(paths: Sequence[str | data.RecordFile]) -> list[str]:
    if not paths:
        return []
    return [digest for file in open_files(paths) for digest in file.stamp.digests()]


def _file_digest(path: str) -> str:
    try:
        with open(path, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()[:16]
    except OSError as error:
        raise InputError(f"{path}: {(error.strerror or str(error)).lower()}") from None
