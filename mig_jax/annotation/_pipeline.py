"""Records pass three times: to be left out or kept, to be annotated, to be written."""

from __future__ import annotations

import dataclasses
import itertools
import math
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol

from mig_jax.annotation._annotation_fields import AnnotationFields
from mig_jax.annotation._combination import mean_of_turns
from mig_jax.annotation._duplicates import Filter
from mig_jax.annotation._journal import Annotation, Journal
from mig_jax.annotation._samples import Sample, Scorer, Tagger, exchanges_of, is_blank
from mig_jax.annotation._tag_normalisation import TagMapping
from mig_jax.data import BadRecord, BadRecords, RawRecord
from mig_jax.errors import InputError

__all__ = [
    "Kept",
    "Needs",
    "ScoreTable",
    "annotate",
    "annotate_batch",
    "leave_out",
    "score_table",
    "tag_counts",
]


class _Writable(Protocol):
    def write(self, data: bytes, /) -> Any: ...


@dataclasses.dataclass(frozen=True)
class Needs:
    """What a record must have besides an exchange, and where it must have room."""

    labels: bool = False
    score: bool = False
    fields: AnnotationFields | None = None

    @property
    def wanted(self) -> list[Literal["labels", "score"]]:
        """What is read besides the conversation; all else may be anything."""
        wanted: list[Literal["labels", "score"]] = []
        wanted += ["labels"] if self.labels else []
        return [*wanted, "score"] if self.score else wanted

    def _kept(self, kind: Literal["labels", "score"]) -> str:
        """Where what is kept must stand: the field that --field names, or one of several."""
        path = kind if self.fields is None else getattr(self.fields, kind)
        return kind if path == f"mig_jax.{kind}" else path

    def sample_of(self, record: RawRecord) -> Sample:
        """The record as taggers and scorers see it.

        Raises:
          BadRecord: if it lacks something.
        """
        exchanges = exchanges_of([(role, _encodable(text)) for role, text in record.turns])
        if not exchanges:
            raise BadRecord("found no answer of the assistant to anything; expected at least one")
        if self.labels and record.labels is None:
            raise BadRecord("missing, expected the labels to keep", self._kept("labels"))
        if self.score and record.score is None:
            raise BadRecord("missing, expected the score to keep", self._kept("score"))
        if self.fields is not None:
            self.fields.check(record)
        return Sample(
            exchanges,
            record.labels if self.labels else None,
            record.score if self.score else None,
        )


class Kept:
    """Which of the usable records stay."""

    def __init__(self) -> None:
        self._stays = bytearray()
        self._of_file: Counter[str] = Counter()  # Usable records, in the order of the files.
        self.left_out: Counter[tuple[str, str]] = Counter()  # Records by file and kind.
        self.asking_nothing = 0  # Of those that stay: in words.

    def __len__(self) -> int:
        """How many stay."""
        return self._stays.count(1)

    def add(self, stays: bool, path: str) -> None:
        """Adds the next usable record, of the file `path`."""
        self._stays.append(stays)
        self._of_file[path] += 1

    def by_file(self) -> Iterator[tuple[str, bytes]]:
        """Yields the path of each file, in order, and of each usable record 1 if it stays, or 0."""
        start = 0
        for path, count in self._of_file.items():
            yield path, bytes(self._stays[start : start + count])
            start += count

    def of(self, records: Iterable[RawRecord]) -> Iterator[RawRecord]:
        """Yields those of the same records, read again, that stay.

        Raises:
          InputError: if there are more or fewer than there were.
        """
        number = -1
        for number, record in enumerate(records):
            if number >= len(self._stays):
                break
            if self._stays[number]:
                yield record
        if number + 1 != len(self._stays):
            raise InputError("--pool: has changed since it was read; expected it to stay as it was")


def leave_out(
    records: Iterable[RawRecord],
    needs: Needs,
    filters: Sequence[Filter],
    *,
    skip: bool,
    rejects: _Writable | None,
) -> Kept:
    """Which records stay: those that lack nothing, and for whom no filter has a reason.

    `rejects` gets a line for each of the others, as `read_pool` writes them.

    Raises:
      InputError: for a record that lacks something, if bad ones are not skipped.
    """
    kept = Kept()
    for record in records:
        try:
            sample = needs.sample_of(record)
        except BadRecord as bad:
            BadRecords(record.path, skip, rejects).meet(record.line, bad, record.raw)
            kept.left_out[record.path, "bad records"] += 1
            kept.add(False, record.path)
            continue
        turns = record.turns
        for one in filters:
            if reason := one.reason(record.where, turns):
                # Left out, whatever becomes of bad ones.
                told = BadRecords(record.path, True, rejects)
                told.meet(record.line, BadRecord(reason), record.raw)
                kept.left_out[record.path, one.kind] += 1
                kept.add(False, record.path)
                break
        else:
            kept.add(True, record.path)
            kept.asking_nothing += not sample.asks
    return kept


def annotate(
    records: Iterator[RawRecord],
    needs: Needs,
    tagger: Tagger,
    scorers: Mapping[str, Scorer],
    journal: Journal,
    batch_size: int,
    progress: Callable[[int], None],
) -> None:
    """Adds to the journal what is not there of the records, a batch at a time.

    `progress` gets the records annotated so far.

    Raises:
      InputError: if a scorer gives what is no score.
    """
    rest = itertools.islice(records, journal.done, None)
    progress(journal.done)
    while batch := list(itertools.islice(rest, batch_size)):
        samples = [needs.sample_of(record) for record in batch]
        places = [record.where for record in batch]
        journal.append(annotate_batch(samples, places, tagger, scorers))
        progress(journal.done)


def annotate_batch(
    samples: Sequence[Sample],
    places: Sequence[str],
    tagger: Tagger,
    scorers: Mapping[str, Scorer],
) -> list[Annotation]:
    """What the models find of each sample; `places` are how messages name them.

    Raises:
      InputError: if a scorer gives what is no score.
    """
    labels = _labels_of(samples, tagger)
    labelled = [
        sample._replace(labels=found) for sample, found in zip(samples, labels, strict=True)
    ]
    values = {name: scorer.score(labelled) for name, scorer in scorers.items()}
    annotations = []
    for number, place in enumerate(places):
        scores = {name: _rounded(found[number]) for name, found in values.items()}
        for name, of_turns in scores.items():
            if not all(math.isfinite(value) and value >= 0 for value in of_turns):
                raise InputError(
                    f"--scorer={name}: gave {of_turns} for {place}; expected finite "
                    "numbers of at least 0"
                )
        annotations.append(Annotation(labels[number], scores))
    return annotations


def _labels_of(samples: Sequence[Sample], tagger: Tagger) -> list[list[str]]:
    """The labels of each sample; of one that asks nothing those that it has, if they are kept.

    A label of spaces is none.
    """
    asking = [sample for sample in samples if sample.asks]
    found = iter(tagger.tag(asking) if asking else [])
    labels = [next(found) if sample.asks else sample.labels or [] for sample in samples]
    return [[_encodable(label) for label in of_one if not is_blank(label)] for of_one in labels]


def _encodable(text: str) -> str:
    """The text with question marks for halves of characters, which no model takes."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def tag_counts(journal: Journal) -> Counter[str]:
    """How many records have each tag."""
    return Counter(tag for one in journal.read() for tag in one.labels)


@dataclasses.dataclass
class ScoreTable:
    """The scores of all records, before they are combined."""

    means: dict[str, array[float]]  # By scorer: the mean over turns of each record.
    of_turns: array[float]  # `mean_of_turns` of each record.


def score_table(
    journal: Journal, mapping: TagMapping | None, names: Sequence[str], after: Mapping[str, Scorer]
) -> ScoreTable:
    """The scores of the journal, and of the scorers `after` that look at the final labels."""
    table = ScoreTable({name: array("d") for name in names}, array("d"))
    for one in journal.read():
        labels = one.labels if mapping is None else mapping.apply(one.labels)
        values = dict(one.scores)
        for name, scorer in after.items():
            [values[name]] = scorer.score([Sample((), labels)])
        for name in names:
            table.means[name].append(math.fsum(values[name]) / len(values[name]))
        table.of_turns.append(mean_of_turns([values[name] for name in names]))
    return table


def _rounded(values: Sequence[float]) -> list[float]:
    """Six digits: what comes behind them is the rounding of the machine."""
    return [float(f"{value:.6g}") for value in values]
