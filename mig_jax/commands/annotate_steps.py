"""The steps of `mig-jax annotate` before the models work: what is there, and which records stay."""

from __future__ import annotations

import dataclasses
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator
from typing import Any

import msgspec

from mig_jax import data
from mig_jax.annotation import (
    DEFAULT_EMBEDDING_MODEL,
    EMBEDDERS,
    ENGINES,
    LANGUAGE_MODELS,
    SCORERS,
    TAGGERS,
    DiscoveringTagger,
    EmbedsLabels,
    Engine,
    ExactDuplicates,
    Filter,
    Kept,
    LabelTable,
    MadeWhereUsed,
    NearDuplicates,
    Overlaps,
    Scorer,
    Spread,
    Tagger,
    drawn_numbers,
    drawn_samples,
    encoder_of,
    hardly_known_scripts,
    leave_out,
    looking,
    model_of_discovered,
    require,
    scorer_weights,
)
from mig_jax.commands.annotate_options import AnnotateOptions
from mig_jax.commands.terminal import listed, progress_bar, say, say_and_keep
from mig_jax.errors import InputError

__all__ = [
    "LOOKS_AT_FINAL_LABELS",
    "Models",
    "RecordCounts",
    "engine_of",
    "filter_records",
    "load_models",
    "look_at_pool",
    "text_model",
]

LOOKS_AT_FINAL_LABELS = "tag_count"
# A model for texts, one that knows a hundred languages.
_MULTILINGUAL = "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2"

# Enough to know a pool by, whatever its size; their texts stay in memory for the while.
_LOOKED_AT = 50_000


@dataclasses.dataclass(frozen=True)
class Models:
    """What gives labels and scores, ready for use."""

    tagger: Tagger
    scorers: dict[str, Scorer]

    def label_table(self, occurring: Collection[str] | None = None) -> LabelTable | None:
        """The labels of the tagger with their embeddings, if it has some.

        Those of a vocabulary alone that are `occurring`: the others say nothing of the pool.
        """
        if not isinstance(self.tagger, EmbedsLabels):
            return None
        table = self.tagger.label_table()
        if occurring is None or table.state:
            return table
        rows = [row for row, name in enumerate(table.names) if name in occurring]
        names = [table.names[row] for row in rows]
        return LabelTable(names, table.embeddings[rows], table.model)


def load_models(options: AnnotateOptions) -> Models:
    """All that the run will need, so that what is not there is told before the pool is read.

    Raises:
      InputError: if a package, a model or a vocabulary cannot be used.
    """
    if options.deduplicate == "near":
        require("datasketch", "--deduplicate=near")
    if options.normalise_tags and options.tag_distance > 0:
        require("sklearn.cluster", "merging tags by meaning")
        if options.tagger not in ("discover", "embedding"):  # These embed their labels.
            encoder_of(options.embedding_model, options.device)
    names = [name for name in scorer_weights(options.scorer) if name != LOOKS_AT_FINAL_LABELS]
    elsewhere = LANGUAGE_MODELS if options.engine != "local" else frozenset()
    return Models(
        MadeWhereUsed("tagger", options.tagger, options)
        if options.tagger in elsewhere
        else TAGGERS[options.tagger](options),
        {
            name: MadeWhereUsed("scorer", name, options)
            if name in elsewhere
            else SCORERS[name](options)
            for name in names
        },
    )


def engine_of(options: AnnotateOptions) -> Engine:
    """Who annotates."""
    names = [options.tagger, *scorer_weights(options.scorer)]
    runs_models = text_model(options) is not None or not LANGUAGE_MODELS.isdisjoint(names)
    on_gpus = runs_models and options.device != "cpu"
    return ENGINES[options.engine](options.ray_address, on_gpus)


def text_model(options: AnnotateOptions) -> str | None:
    """The sentence-transformers model that embeds texts of the pool, by its name; None for none."""
    names = [options.tagger, *scorer_weights(options.scorer)]
    if not EMBEDDERS.isdisjoint(names):
        return options.embedding_model or DEFAULT_EMBEDDING_MODEL
    if options.tagger != "discover":
        return None
    if options.embedding_model is None and options.labels_from is not None:
        return model_of_discovered(options.labels_from)  # That by which they were found.
    return options.embedding_model


class RecordCounts:
    """Records counted by their file, and by the value of a field if one is named."""

    def __init__(self, field: str | None) -> None:
        self._field = field
        self.of_file: Counter[str] = Counter()
        self.of_value: Counter[str] = Counter()

    def add(self, record: data.RawRecord) -> None:
        self.of_file[record.path] += 1
        if self._field is not None:
            self.of_value[data.counted_value(record.record, self._field)] += 1


class _Unread:
    """Takes what is told of records that cannot be read, and counts those of each file."""

    def __init__(self) -> None:
        # Much of it is held on disk: a whole file of them may come in a row.
        self._held: Any = tempfile.SpooledTemporaryFile(1 << 24)  # noqa: SIM115 - ends with us.
        self.of_file: Counter[str] = Counter()

    def write(self, line: bytes) -> None:
        self.of_file[msgspec.json.decode(line)["file"]] += 1
        self._held.write(line)

    def taken(self) -> Iterator[bytes]:
        """Yields what was written since the last time."""
        if self._held.tell():
            self._held.seek(0)
            while piece := self._held.read(1 << 20):
                yield piece
            self._held.seek(0)
            self._held.truncate()


def filter_records(options: AnnotateOptions, rejects: Any) -> tuple[Kept, RecordCounts]:
    """Which records stay, and counts of all; tells of those that do not stay.

    Raises:
      InputError: if a file cannot be used, or no record stays.
    """
    filters = _filters(options)
    unread = _Unread()
    read = RecordCounts(options.count_by)
    model = text_model(options)
    texts = Spread()
    with progress_bar("reading", None, unit="records") as bar:

        def passing() -> Iterator[data.RawRecord | bytes]:
            for record in options.records(unread):
                yield from unread.taken()
                read.add(record)
                if model is not None:
                    texts.add(next((text for role, text in record.turns if role == "user"), ""))
                yield record
                bar.update()
            yield from unread.taken()

        kept = leave_out(passing(), options.needs, filters, skip=options.skips, rejects=rejects)
    for path, count in unread.of_file.items():
        kept.left_out[path, "bad records"] += count
        read.of_file[path] += count
    if not len(kept):
        raise InputError("--pool: every record is left out; expected one at least that stays")
    if kept.asking_nothing:
        otherwise = "" if options.tagger == "keep" else "; they get no label"
        say_and_keep(f"{kept.asking_nothing:,} records ask nothing in words{otherwise}")
    if model is not None:
        _warn_of_scripts(model, options.device, texts)
    return kept, read


def _warn_of_scripts(model: str, device: str, texts: Spread) -> None:
    """Warns if most texts are in scripts that the model hardly knows."""
    encoder = encoder_of(model, device)
    found = hardly_known_scripts(texts.texts, encoder.pieces_of)
    if (share := sum(found.values())) > 0.5:
        scripts = listed([script.capitalize() if script != "CJK" else script for script in found])
        say_and_keep(
            f"warning: {share:.0%} of the records are in scripts ({scripts}) that "
            f"{model} hardly knows: it splits their words into single letters, "
            f"or drops them; a multilingual model knows them, as --embedding_model={_MULTILINGUAL}"
        )


def look_at_pool(options: AnnotateOptions, models: Models, kept: Kept) -> None:
    """Shows a random sample of the records that stay to the models that look first.

    The sample depends on the records and on --seed alone, so that a run that resumes sees
    the same.

    Raises:
      InputError: if the pool has changed, or a model cannot use what it sees.
    """
    eyes = looking([models.tagger, *models.scorers.values()])
    if not eyes:
        return
    numbers = drawn_numbers(len(kept), _LOOKED_AT, options.seed)
    with progress_bar("looking at the pool", len(numbers), unit="records") as bar:
        records = kept.of(options.records())
        samples = list(drawn_samples(records, options.needs, numbers, bar.update))
    for one in eyes:
        if isinstance(one, DiscoveringTagger) and options.embedding_model is not None:
            with progress_bar("embedding texts of the pool", None, unit="texts") as bar:
                one.progress = bar.update
                one.look(samples)
        else:
            one.look(samples)


def _filters(options: AnnotateOptions) -> list[Filter]:
    filters: list[Filter] = []
    among = options.deduplicate != "none"
    if among or options.deduplicate_against:
        known = _conversations(options.deduplicate_against)
        filters.append(ExactDuplicates(known, remember=among))
    if options.deduplicate == "near":
        known = _conversations(options.deduplicate_against)
        filters.append(NearDuplicates(options.near_duplicate_similarity, known))
    if options.exclude_overlap:
        overlaps = Overlaps(_conversations(options.exclude_overlap), options.overlap_words)
        filters.append(overlaps)
        say(
            f"--exclude_overlap: {overlaps.as_a_whole:,} of {overlaps.records:,} records ask in "
            f"fewer than {options.overlap_words} words, and are compared as a whole"
        )
    return filters


def _conversations(paths: list[str]) -> Iterator[tuple[str, Any]]:
    """Place and turns of each record of these files."""
    if paths:
        for record in data.read_conversations(paths, wanted=(), questions=True):
            yield record.where, record.turns
