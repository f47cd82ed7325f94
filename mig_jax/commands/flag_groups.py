"""Groups of flags that several commands share: how they are defined, checked and called.

The flags of an input build on each other: `define_pool_flags` names records, of which every
command reads some; `define_table_flags` adds how labels are read, `define_input_flags` the
embeddings of their graph. To each belong a check and a dataclass of what was given.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from typing import Any, Literal

from absl import flags

from mig_jax import data
from mig_jax.annotation import DEFAULT_EMBEDDING_MODEL
from mig_jax.commands.builtin_pool import BUILTIN, refuse_builtin, take_builtin
from mig_jax.commands.flag_sections import Section
from mig_jax.commands.flag_values import (
    AddFlag,
    Field,
    File,
    Folder,
    Name,
    Text,
    several,
)
from mig_jax.commands.idle_flags import refuse_idle
from mig_jax.commands.pool_files import open_pool
from mig_jax.errors import InputError
from mig_jax.synthetic import BuiltinPool

__all__ = [
    "LARGEST_PARAMETER",
    "SMALLEST_EXPONENT",
    "SMALLEST_RATE",
    "InputOptions",
    "PoolOptions",
    "TableOptions",
    "cache_folder_of",
    "check_count_flag",
    "check_input_flags",
    "check_pool_flags",
    "check_table_flags",
    "define_count_flag",
    "define_device_flag",
    "define_input_flags",
    "define_merging_flags",
    "define_model_flags",
    "define_pool_flags",
    "define_table_flags",
    "stem_of",
]

#: Parameters of the measure that float64 can compute with, whatever the scores are. Of smaller
#: exponents, E is a difference of two nearly equal numbers.
SMALLEST_EXPONENT, SMALLEST_RATE, LARGEST_PARAMETER = 1e-3, 1e-30, 1e30


def stem_of(output: str, *endings: str) -> str:
    """What the names of a command's other outputs begin with: the output less its ending.

    The ending of a compressed file goes first.

    >>> stem_of("a/picked.jsonl.gz", ".jsonl"), stem_of("a/picked.v2", ".jsonl")
    ('a/picked', 'a/picked.v2')
    """
    base, ending = os.path.splitext(output)
    if ending.lower() in (".gz", ".zst"):
        output = base
        base, ending = os.path.splitext(base)
    return base if ending.lower() in endings else output


def cache_folder_of(cache: str | None) -> str | None:
    """The folder that a value of --cache means; None for none.

    >>> cache_folder_of("a"), cache_folder_of("none")
    ('a', None)
    """
    return None if cache == "none" else cache or data.default_cache_folder()


@dataclasses.dataclass(frozen=True)
class PoolOptions:
    """The flags of `define_pool_flags`."""

    pool: list[str]
    field: list[str]
    format: Literal["auto", "mig_jax", "xsample", "plain"]
    on_bad_record: Literal["error", "skip"]
    longest_record: int

    @property
    def limits(self) -> data.ReadingLimits:
        """How large things may be that are held while the pool is read."""
        return data.ReadingLimits(longest_record=self.longest_record << 20)

    @property
    def fields(self) -> data.FieldNames:
        """The pool's names of fields."""
        return data.FieldNames.parse(self.field)

    @property
    def cache_folder(self) -> str | None:
        """The folder that keeps copies of files elsewhere; None for the platform's."""
        return None

    @functools.cached_property
    def sources(self) -> list[data.RecordFile]:
        """The files of the pool: whoever reads them, the first time or again, reads the same."""
        return open_pool(
            self.pool,
            fields=self.fields,
            longest_record=self.limits.longest_record,
            cache=self.cache_folder,
        )


class _NewName(Text):
    shown = "NAME=FIELD"


def define_pool_flags(add: AddFlag, *, otherwise: str = "") -> None:
    """Adds the flags that name records; `otherwise` tells what is used without --pool."""
    add.under(Section.ESSENTIAL)(
        several(File),
        "pool",
        [],
        "File with records. It holds JSON lines, one JSON array, CSV or TSV (named .csv, .tsv), "
        "plain or as .gz or .zst, or Parquet. Also a pattern, as in --pool='data/*.jsonl'; a "
        "folder of such files, or one that Hugging Face datasets saved; hub:OWNER/NAME; an address "
        "that fsspec reads: s3://, gs://, hf://, https://; or - for standard input. May be "
        "repeated, or written without --pool=." + otherwise,
    )
    add = add.under(Section.INPUT)
    add(
        several(_NewName),
        "field",
        [],
        "NAME=FIELD: the pool's name of a field, as in --field=labels=tags --field=score=quality. "
        f"May be repeated. NAME is one of {', '.join(data.FIELD_NAMES)}.",
    )
    add(
        flags.DEFINE_enum,
        "format",
        "auto",
        ["auto", *data.LABEL_FORMATS],
        "Format of labels and score.",
    )
    add(
        flags.DEFINE_enum,
        "on_bad_record",
        "error",
        ["error", "skip"],
        "Stop at a record that cannot be used, or go on and keep it in OUTPUT.rejected.jsonl.",
    )
    add(
        flags.DEFINE_integer,
        "longest_record",
        data.files.LONGEST_RECORD >> 20,
        "MiB that a record of a text file may have. What is longer is refused, as it would have to "
        "be held.",
        lower_bound=1,
        upper_bound=1 << 20,
    )


def define_count_flag(add: AddFlag) -> None:
    """Adds the field that records are counted by."""
    add.under(Section.OUTPUT)(
        Field,
        "count_by",
        None,
        "Field whose values are counted, among all records and those written, as in "
        "--count_by=meta.source; dots lead into objects. Files are counted in any case.",
    )


def check_count_flag(values: flags.FlagValues) -> None:
    """Raises InputError if the flag of `define_count_flag` names no field."""
    if values.count_by is not None and not all(values.count_by.split(".")):
        raise InputError(f"--count_by: found {values.count_by or 'nothing'}, expected a field")


def check_pool_flags(values: flags.FlagValues) -> None:
    """Raises InputError if the flags of `define_pool_flags` contradict each other."""
    refuse_builtin(
        values,
        "the built-in pool, which is in no file; expected one, as `mig-jax make_pool` writes",
    )
    names = data.FieldNames.parse(values.field)
    if values.format == "xsample" and (names.is_mapped("labels") or names.is_mapped("score")):
        raise InputError("--field: labels and score are fields of --format=plain")
    if values.field and not values.pool:
        raise InputError("--field: the built-in pool has its own; give --pool too")


@dataclasses.dataclass(frozen=True)
class TableOptions(PoolOptions):
    """The flags of `define_table_flags`."""

    vocabulary: str | None
    cache: str | None

    @property
    def cache_folder(self) -> str | None:
        """The folder that keeps what was read, and copies; None for none."""
        return cache_folder_of(self.cache)

    @property
    def builtin_pool(self) -> BuiltinPool:
        """The pool that is used where --pool names no files."""
        return BuiltinPool()

    def files(self) -> list[str]:
        """All that is read, which no output may overwrite."""
        return [*data.local_files(self.pool), *_given(self.vocabulary)]


def define_table_flags(add: AddFlag, *, otherwise: str = "") -> None:
    """Adds the flags of a pool that is read for its labels and scores."""
    define_pool_flags(add, otherwise=otherwise)
    add = add.under(Section.INPUT)
    add(File, "vocabulary", None, "JSON list of labels; others are dropped.")
    add(
        Folder,
        "cache",
        None,
        "Folder that keeps what was read from --pool and the programs that JAX compiled, so that "
        "the same files need not be read again, nor the same programs compiled; `none` for no "
        "cache. It may be deleted at any time. By default the platform's folder for caches: "
        "$XDG_CACHE_HOME/mig_jax or ~/.cache/mig_jax on Linux.",
    )


def check_table_flags(values: flags.FlagValues) -> None:
    """Raises InputError if the flags of `define_table_flags` contradict each other.

    From here on an empty --pool is the built-in one.
    """
    take_builtin(values)
    check_pool_flags(values)


@dataclasses.dataclass(frozen=True)
class InputOptions(TableOptions):
    """The flags of `define_input_flags`."""

    label_embeddings: str | None
    embedding_model: str | None
    missing_embeddings: Literal["error", "isolate"]

    def files(self) -> list[str]:
        """All that is read, which no output may overwrite."""
        return [*super().files(), *_given(self.label_embeddings, self.embeddings_beside)]

    @property
    def embeddings_beside(self) -> str | None:
        """What `mig-jax annotate` wrote beside the pool, where no other embeddings are named.

        Beside each of its files the same: new ones were annotated with the labels of the first.
        """
        if self.label_embeddings or self.embedding_model or self.annotated_apart:
            return None
        paths = [path for path, _ in self._annotated]
        return paths[0] if paths and len(paths) == len(self.pool) else None

    @property
    def annotated_apart(self) -> bool:
        """Whether `mig-jax annotate` gave files labels of different tables."""
        return any(digest != self._annotated[0][1] for _, digest in self._annotated)

    @functools.cached_property
    def _annotated(self) -> list[tuple[str, Any]]:
        """Of each file annotated: the label embeddings written with it, and their digest."""
        return list(filter(None, map(_annotated_beside, self.pool)))


def _annotated_beside(pool: str) -> tuple[str, Any] | None:
    """The label embeddings that `mig-jax annotate` wrote with this file, and their digest."""
    if not os.path.isfile(pool):
        return None
    stem = stem_of(pool, ".jsonl", ".json", ".parquet")
    path = f"{stem}.labels.npz"
    try:
        # One that another run has left is not of these labels.
        written = data.read_manifest(f"{stem}.annotation.json").get("outputs")
    except InputError:
        return None
    told = isinstance(written, dict) and written.get(os.path.basename(path))
    return (path, told) if told else None


def define_input_flags(
    add: AddFlag, *, otherwise: str = f" Without it, and with --pool={BUILTIN}, the built-in pool."
) -> None:
    """Adds the flags of a pool and its label graph; `otherwise` as for `define_table_flags`."""
    define_table_flags(add, otherwise=otherwise)
    add.under(Section.ESSENTIAL)(
        File, "label_embeddings", None, ".npz with `labels` and `embeddings`."
    )
    add = add.under(Section.GRAPH)
    add(
        Name,
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


def check_input_flags(values: flags.FlagValues) -> None:
    """Raises InputError if the flags of `define_input_flags` contradict each other."""
    check_table_flags(values)
    of_files = ("vocabulary", "format", "on_bad_record", "longest_record")
    refuse_idle(values, of_files, bool(values.pool), "--pool=FILE; the built-in pool needs none")
    if values.missing_embeddings == "isolate" and values.label_embeddings is None:
        raise InputError("--missing_embeddings: goes with --label_embeddings=EMB.npz")
    given = [n for n in ("label_embeddings", "embedding_model") if values[n].value is not None]
    if len(given) > 1:
        raise InputError("--embedding_model: does not go with --label_embeddings; give one of them")
    if given and not values.pool:
        raise InputError(f"--{given[0]}: the built-in pool has its own; give --pool too")


def _given(*paths: str | None) -> list[str]:
    return [path for path in paths if path is not None]


def define_model_flags(add: AddFlag, embedded: str) -> None:
    """Adds the model that embeds what is `embedded`, such as "tags", and where it runs."""
    add(
        Name,
        "embedding_model",
        None,
        f"Sentence-transformers model, by name or folder, that embeds {embedded}; "
        f"{DEFAULT_EMBEDDING_MODEL} where one is needed.",
    )
    define_device_flag(add)


def define_device_flag(add: AddFlag) -> None:
    """Adds where models run."""
    add(
        Name,
        "device",
        "auto",
        "Where models run, as torch names it: cpu, cuda, cuda:1. By default a GPU if there is one.",
    )


def define_merging_flags(add: AddFlag) -> None:
    """Adds which tags are rare, and which mean the same."""
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
