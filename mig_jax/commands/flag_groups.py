"""Flags of the commands that annotate: `annotate`, `normalise_tags` and `embed_labels`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from absl import flags

from mig_jax.errors import InputError

__all__ = [
    "DEFAULT_EMBEDDING_MODEL",
    "annotate_flags",
    "annotate_options",
    "embed_labels_flags",
    "normalise_tags_flags",
    "normalise_tags_options",
]

DEFAULT_EMBEDDING_MODEL = "sentence-transformers/all-MiniLM-L6-v2"


def annotate_flags() -> flags.FlagValues:
    """The flags of `mig-jax annotate`."""
    values = flags.FlagValues()
    add = _adder(values)
    _add_records(add)
    add(
        flags.DEFINE_enum,
        "tagger",
        None,
        ["embedding", "instag", "keep"],
        "Where labels come from: the nearest of a --vocabulary by sentence embedding, InsTagger, "
        "or the record itself.",
    )
    add(
        flags.DEFINE_multi_string,
        "scorer",
        [],
        "Where the score comes from: deita (deita_quality and deita_complexity), ifd, length, "
        "tag_count, relevance or keep. May be repeated; NAME:WEIGHT for --combine=ranks.",
    )
    add(
        flags.DEFINE_enum,
        "combine",
        "mean_of_turns",
        ["mean_of_turns", "product", "ranks"],
        "How several scorers are one: the mean over turns of their product, the product of their "
        "means, or the weighted mean of their ranks.",
    )
    add(flags.DEFINE_string, "vocabulary", None, "JSON list of the labels of --tagger=embedding.")
    _add_embedding_model(add, "Sentence-transformers model, by name or folder, that embeds texts.")
    add(flags.DEFINE_integer, "max_tags", 5, "Labels of a record, at most.", lower_bound=1)
    add(
        flags.DEFINE_float,
        "tag_similarity",
        0.28,
        "Cosine similarity that a label has to what was asked, at least.",
        lower_bound=-1.0,
        upper_bound=1.0,
    )
    add(
        flags.DEFINE_float,
        "tag_margin",
        0.12,
        "How much less similar than the nearest label another may be.",
        lower_bound=0.0,
    )
    add(flags.DEFINE_string, "instag_model", "OFA-Sys/InsTagger", "Model of --tagger=instag.")
    for kind in ("quality", "complexity"):
        add(
            flags.DEFINE_string,
            f"deita_{kind}_model",
            f"hkust-nlp/deita-{kind}-scorer",
            f"Model of --scorer=deita_{kind}.",
        )
    add(
        flags.DEFINE_string,
        "ifd_model",
        None,
        "Causal language model of --scorer=ifd, by name or folder.",
    )
    add(
        flags.DEFINE_integer,
        "max_tokens",
        2048,
        "Tokens that a language model gets at once, at most; longer texts are cut.",
        lower_bound=64,
    )
    add(
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
    add(
        flags.DEFINE_float,
        "near_duplicate_similarity",
        0.8,
        "Jaccard similarity of word 5-grams from which on records are near duplicates.",
        lower_bound=0.0,
        upper_bound=1.0,
    )
    add(
        flags.DEFINE_multi_string,
        "exclude_overlap",
        [],
        "File of an evaluation: leave out records that share --overlap_words successive words "
        "with it. May be repeated.",
    )
    add(flags.DEFINE_integer, "overlap_words", 13, "Words of an overlap.", lower_bound=1)
    add(
        flags.DEFINE_boolean,
        "normalise_tags",
        False,
        "Leave out rare tags and merge those that mean the same; OUTPUT.tag_mapping.json tells.",
    )
    _add_merging(add)
    add(
        flags.DEFINE_string,
        "tag_mapping",
        None,
        "A tag_mapping.json of another run, to be applied to the tags found.",
    )
    return values


def annotate_options(values: flags.FlagValues) -> dict[str, Any]:
    """The flags of `annotate` by name.

    Raises:
      InputError: where they contradict each other.
    """
    if values.normalise_tags and values.tag_mapping is not None:
        raise InputError("--tag_mapping: does not go with --normalise_tags; give one or the other")
    if not values.near_duplicate_similarity > 0:
        raise InputError("--near_duplicate_similarity: found 0, expected a number above 0")
    return values.flag_values_dict()


def normalise_tags_flags() -> flags.FlagValues:
    """The flags of `mig-jax normalise_tags`."""
    values = flags.FlagValues()
    add = _adder(values)
    _add_records(add)
    _add_embedding_model(add, "Sentence-transformers model, by name or folder, that embeds tags.")
    _add_merging(add)
    return values


def normalise_tags_options(values: flags.FlagValues) -> dict[str, Any]:
    """The flags of `annotate` that do what `normalise_tags` is asked."""
    options = {flag: annotate_flags()[flag].default for flag in annotate_flags()}
    kept = {"tagger": "keep", "scorer": ["keep"], "normalise_tags": True}
    return {**options, **kept, **values.flag_values_dict()}


def embed_labels_flags() -> flags.FlagValues:
    """The flags of `mig-jax embed_labels`."""
    values = flags.FlagValues()
    add = _adder(values)
    _add_records(add, output="Where to write the labels and their embeddings (.npz).")
    add(
        flags.DEFINE_string,
        "model",
        DEFAULT_EMBEDDING_MODEL,
        "Sentence-transformers model, by name or folder.",
    )
    _add_device(add)
    return values


def _adder(values: flags.FlagValues) -> Callable[..., None]:
    def add(kind: Callable[..., object], name: str, *arguments: object, **options: object) -> None:
        kind(name, *arguments, flag_values=values, **options)

    return add


def _add_records(
    add: Callable[..., None], output: str = "Where to write the annotated records (.jsonl)."
) -> None:
    add(
        flags.DEFINE_multi_string,
        "pool",
        [],
        "File or dataset with records, as for `mig-jax select`. May be repeated.",
    )
    add(flags.DEFINE_string, "output", None, output)
    add(
        flags.DEFINE_multi_string,
        "field",
        [],
        "NAME=FIELD: the pool's name of a field, as for `mig-jax select`. May be repeated.",
    )
    add(
        flags.DEFINE_enum,
        "on_bad_record",
        "error",
        ["error", "skip"],
        "Stop at a record that cannot be used, or go on and keep it in OUTPUT.rejected.jsonl.",
    )


def _add_embedding_model(add: Callable[..., None], text: str) -> None:
    add(flags.DEFINE_string, "embedding_model", DEFAULT_EMBEDDING_MODEL, text)
    _add_device(add)


def _add_device(add: Callable[..., None]) -> None:
    add(
        flags.DEFINE_string,
        "device",
        "auto",
        "Where models run, as torch names it: cpu, cuda, cuda:1. By default a GPU if there is one.",
    )


def _add_merging(add: Callable[..., None]) -> None:
    add(
        flags.DEFINE_integer,
        "min_tag_count",
        20,
        "Records that have a tag, at least, for it not to be rare.",
        lower_bound=1,
    )
    add(
        flags.DEFINE_float,
        "tag_distance",
        0.05,
        "Cosine distance up to which tags are merged; 0 to merge spellings only.",
        lower_bound=0.0,
        upper_bound=2.0,
    )
