"""The flags of `mig-jax annotate`: what they are, which go together, and what was given."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from absl import flags

from mig_jax import data
from mig_jax.annotation import (
    COMBINATIONS,
    ENGINES,
    SCORER_GROUPS,
    SCORERS,
    TAGGERS,
    AnnotationFields,
    Kept,
    ModelOptions,
    Needs,
    PoolBatches,
    SentenceEncoder,
    kept_embeddings,
    scorer_weights,
)
from mig_jax.commands.embedding_bar import embed_with_bar
from mig_jax.commands.endpoint_flags import (
    EndpointOptions,
    check_endpoint_flags,
    define_endpoint_flags,
)
from mig_jax.commands.flag_groups import (
    PoolOptions,
    cache_folder_of,
    check_pool_flags,
    define_count_flag,
    define_merging_flags,
    define_model_flags,
    define_pool_flags,
    stem_of,
)
from mig_jax.commands.flag_sections import Section
from mig_jax.commands.flag_values import Address, File, Folder, Name, adder, several
from mig_jax.commands.idle_annotate_flags import check_annotate_idle
from mig_jax.commands.standard_streams import STANDARD
from mig_jax.commands.terminal import say
from mig_jax.errors import InputError

__all__ = ["AnnotateOptions", "annotate_options", "define_annotate_flags"]


@dataclasses.dataclass(frozen=True)
class AnnotateOptions(ModelOptions, PoolOptions, EndpointOptions):
    """The flags of the command; `mig-jax annotate --help` explains each."""

    output: str
    tagger: str
    scorer: list[str]
    batch_size: int
    combine: str
    deduplicate: str
    near_duplicate_similarity: float
    exclude_overlap: list[str]
    overlap_words: int
    normalise_tags: bool
    min_tag_count: int
    tag_distance: float
    tag_mapping: str | None
    deduplicate_against: list[str]
    count_by: str | None
    cache: str | None
    engine: str
    ray_address: str | None

    @property
    def cache_folder(self) -> str | None:
        """The folder that keeps embeddings of vocabularies, and copies; None for none."""
        return cache_folder_of(self.cache)

    def embed_labels(self, labels: Sequence[str], encode: SentenceEncoder) -> Any:
        """The embeddings of a vocabulary, kept in the cache, or made with a bar."""
        embed = functools.partial(embed_with_bar, encode)
        return kept_embeddings(labels, encode, self.cache_folder, embed=embed, tell=say)

    @property
    def stem(self) -> str:
        """What the names of the other outputs begin with."""
        return stem_of(self.output, ".jsonl", ".json", ".parquet")

    @property
    def skips(self) -> bool:
        """Whether a record that cannot be used is left out."""
        return self.on_bad_record == "skip"

    @property
    def needs(self) -> Needs:
        """What the records must have already."""
        return Needs(
            labels=self.tagger == "keep",
            score="keep" in scorer_weights(self.scorer),
            fields=self.places,
        )

    @property
    def places(self) -> AnnotationFields:
        """Where labels and scores are written."""
        return AnnotationFields.of(self.fields)

    @property
    def filters(self) -> bool:
        """Whether records may be left out."""
        named = (self.exclude_overlap, self.deduplicate_against)
        return self.skips or self.deduplicate != "none" or any(named) or self.endpoint is not None

    def files(self) -> list[str]:
        """All that is read, which no output may overwrite."""
        named = (self.vocabulary, self.tag_mapping, self.labels_from)
        given = [path for path in named if path is not None]
        read = data.local_files([*self.pool, *self.exclude_overlap, *self.deduplicate_against])
        return [*read, *given]

    def records(
        self, rejects: Any = None, losses: data.Losses | None = None
    ) -> Iterator[data.RawRecord]:
        """The records of the pool that can be read; `losses` gets what of tables JSON has not."""
        return self._read(self.sources, rejects=rejects, losses=losses)

    def batches(self, kept: Kept) -> PoolBatches:
        """The records that stay, as they are annotated."""
        opened = functools.partial(
            data.open_files, fields=self.fields, longest_record=self.limits.longest_record
        )
        return PoolBatches(self.sources, kept, self.needs, self.batch_size, opened, self._read)

    @property
    def _read(self) -> functools.partial[Iterator[data.RawRecord]]:
        """Reads files, here or on another machine."""
        return functools.partial(
            data.read_conversations,
            layout=self.format,
            fields=self.fields,
            on_bad_record=self.on_bad_record,
            wanted=self.needs.wanted,
        )


def define_annotate_flags(values: flags.FlagValues) -> None:
    """Defines all flags of the command."""
    add = adder(values)
    labels, scores, filters = map(add.under, (Section.LABELS, Section.SCORES, Section.FILTERS))
    long_runs = add.under(Section.LONG_RUNS)
    define_pool_flags(add)
    add(
        File,
        "output",
        None,
        "Where to write the annotated records: .jsonl or .json (lines), .jsonl.gz, .jsonl.zst, or "
        ".parquet for a table.",
    )
    groups = " or ".join(
        f"{name}, which is {' and '.join(SCORER_GROUPS[name])}" for name in SCORER_GROUPS
    )
    add(
        flags.DEFINE_enum,
        "tagger",
        None,
        list(TAGGERS),
        "Where labels come from: groups of similar instructions in the pool itself (discover, the "
        "default without --vocabulary), the nearest of a --vocabulary by sentence embedding, "
        "InsTagger, a language model on a server (llm), or the record itself.",
    )
    add(
        several(Name),
        "scorer",
        ["signals"],
        f"Where the score comes from: {', '.join(SCORERS)}; or {groups}. May be repeated; "
        "NAME:WEIGHT for --combine=ranks.",
    )
    scores(
        flags.DEFINE_enum,
        "combine",
        "mean_of_turns",
        list(COMBINATIONS),
        "How several scorers are one: the mean over turns of their product, the product of their "
        "means, or the weighted mean of their ranks.",
    )
    add(File, "vocabulary", None, "JSON list of the labels of --tagger=embedding.")
    labels(
        File,
        "labels_from",
        None,
        "A labels.npz that --tagger=discover wrote for another pool: records get its labels, and "
        "none are sought.",
    )
    define_model_flags(labels, "texts")
    labels(flags.DEFINE_integer, "max_tags", 5, "Labels of a record, at most.", lower_bound=1)
    labels(
        flags.DEFINE_float,
        "tag_similarity",
        0.28,
        "Cosine similarity that a label has to what was asked, at least.",
        lower_bound=-1.0,
        upper_bound=1.0,
    )
    labels(
        flags.DEFINE_float,
        "tag_margin",
        0.12,
        "How much less similar than the nearest label another may be.",
        lower_bound=0.0,
    )
    labels(Name, "instag_model", "OFA-Sys/InsTagger", "Model of --tagger=instag.")
    for kind in ("quality", "complexity"):
        scores(
            Name,
            f"deita_{kind}_model",
            f"hkust-nlp/deita-{kind}-scorer",
            f"Model of --scorer=deita_{kind}.",
        )
    scores(
        Name,
        "ifd_model",
        None,
        "Causal language model of --scorer=ifd, by name or folder.",
    )
    scores(
        flags.DEFINE_integer,
        "max_tokens",
        2048,
        "Tokens that a language model gets at once, at most; longer texts are cut. One on a server "
        "gets three bytes for each: its tokenizer is not known.",
        lower_bound=64,
    )
    define_endpoint_flags(add)
    long_runs(
        flags.DEFINE_integer,
        "batch_size",
        256,
        "Records annotated, and kept for a resumed run, at a time.",
        lower_bound=1,
    )
    add(
        flags.DEFINE_enum,
        "deduplicate",
        "none",
        ["none", "exact", "near"],
        "Leave out records whose conversation, or nearly all of it, an earlier record has.",
    )
    filters(
        flags.DEFINE_float,
        "near_duplicate_similarity",
        0.8,
        "Jaccard similarity of runs of five words and signs from which on records are near "
        "duplicates.",
        lower_bound=0.0,
        upper_bound=1.0,
    )
    filters(
        several(File),
        "exclude_overlap",
        [],
        "File of an evaluation: leave out records that share --overlap_words successive words "
        "with it, or ask a shorter question of it. May be repeated.",
    )
    filters(flags.DEFINE_integer, "overlap_words", 13, "Words of an overlap.", lower_bound=1)
    labels(
        flags.DEFINE_boolean,
        "normalise_tags",
        False,
        "Leave out rare tags and merge those that mean the same; OUTPUT.tag_mapping.json tells.",
    )
    define_merging_flags(labels)
    labels(
        File,
        "tag_mapping",
        None,
        "A tag_mapping.json of another run, to be applied to the tags found.",
    )
    filters(
        several(File),
        "deduplicate_against",
        [],
        "File of records that are there already: leave out those whose conversation, or with "
        "--deduplicate=near nearly all of it, it has. May be repeated.",
    )
    define_count_flag(add)
    long_runs(
        Folder,
        "cache",
        None,
        "Folder that keeps the embeddings of vocabularies, and copies of files elsewhere; `none` "
        "for no cache. It may be deleted at any time. By default the platform's folder for caches: "
        "$XDG_CACHE_HOME/mig_jax or ~/.cache/mig_jax on Linux.",
    )
    long_runs(
        flags.DEFINE_integer,
        "seed",
        0,
        "Of all that is drawn: the records that are looked at before the pool is annotated, and "
        "what is found in them.",
        lower_bound=0,
        upper_bound=(1 << 32) - 1,
    )
    long_runs(
        flags.DEFINE_enum,
        "engine",
        "local",
        list(ENGINES),
        "Who annotates: this process, or the machines of a Ray cluster. The output is the same.",
    )
    long_runs(
        Address,
        "ray_address",
        None,
        "HOST:PORT of the cluster of --engine=ray, which this machine is part of, or auto for one "
        "that was started here. By default that of $RAY_ADDRESS, or else one is started on this "
        "machine for the run.",
    )


def annotate_options(
    values: flags.FlagValues, tell: Callable[[str], None] = say
) -> AnnotateOptions:
    """What was given; `tell` gets what is said of defaults.

    Raises:
      InputError: if flags cannot be used, or contradict each other.
    """
    if values.normalise_tags and values.tag_mapping is not None:
        raise InputError("--tag_mapping: does not go with --normalise_tags; give one or the other")
    if not values.near_duplicate_similarity > 0:
        raise InputError("--near_duplicate_similarity: found 0, expected a number above 0")
    if values.ray_address is not None and values.engine != "ray":
        raise InputError("--ray_address: goes with --engine=ray")
    if values.engine == "ray" and values.device not in ("auto", "cpu", "cuda"):
        raise InputError(
            f"--device: found {values.device}, expected auto, cpu or cuda with --engine=ray, which "
            "gives each process a GPU of its own"
        )
    if values.engine != "local" and values.endpoint is not None:
        raise InputError(
            "--engine: does not go with --endpoint, whose server one process asks, "
            "--parallel_requests at a time; give one or the other"
        )
    if values.engine == "ray" and STANDARD in values.pool:
        raise InputError(
            f"--engine=ray: does not go with the pool {STANDARD}, which other machines cannot "
            "read; expected --pool=FILE"
        )
    check_pool_flags(values)
    check_endpoint_flags(values)
    data.output_form(values.output)
    tagger = _tagger(values, tell)
    check_annotate_idle(values, tagger)
    options = AnnotateOptions(**values.flag_values_dict() | {"tagger": tagger})
    _check_reference(options)
    if values.scorer == values["scorer"].default and not values["scorer"].present:
        tell("--scorer=signals: scores are of what the texts themselves tell")
    return options


def _tagger(values: flags.FlagValues, tell: Callable[[str], None]) -> str:
    """The tagger that is given, or the one that goes with what is.

    Raises:
      InputError: if it does not go with another flag.
    """
    tagger = values.tagger
    if tagger is None:
        tagger = "discover" if values.vocabulary is None else "embedding"
        told = {
            "discover": "labels are found in the pool itself",
            "embedding": "labels are those of --vocabulary",
        }
        if values.labels_from is None:
            tell(f"--tagger={tagger}: {told[tagger]}")
    if tagger == "embedding" and values.vocabulary is None:
        raise InputError("--tagger=embedding: needs --vocabulary=FILE, a JSON list of labels")
    if tagger != "discover" and values.labels_from is not None:
        raise InputError("--labels_from: goes with --tagger=discover, and without --vocabulary")
    if tagger == "discover" and values.vocabulary is not None:
        raise InputError("--vocabulary: does not go with --tagger=discover; give one or the other")
    return str(tagger)


def _check_reference(options: AnnotateOptions) -> None:
    """Raises InputError if the pool is to be deduplicated against itself."""
    for path in options.deduplicate_against:
        for other in options.pool:
            if os.path.exists(path) and os.path.exists(other) and os.path.samefile(path, other):
                raise InputError(
                    f"--deduplicate_against: {path} is a file of --pool; expected another "
                    "(--deduplicate compares the records of a pool with each other)"
                )
