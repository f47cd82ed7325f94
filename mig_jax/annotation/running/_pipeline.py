"""Records pass three times: to be left out or kept, to be annotated, to be written."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from array import array
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol

from mig_jax.annotation._on_all_cores import with_found
from mig_jax.annotation.filters import Filter, PreparedFilter, Turns
from mig_jax.annotation.running._annotation_fields import AnnotationFields
from mig_jax.annotation.running._journal import Journal
from mig_jax.annotation.scorers import mean_of_turns
from mig_jax.annotation.taggers import TagMapping
from mig_jax.annotation.texts import Rejected, Sample, Scorer, exchanges_of
from mig_jax.data import BadRecord, BadRecords, RawRecord
from mig_jax.errors import InputError

__all__ = [
    "Kept",
    "Needs",
    "ScoreTable",
    "encodable",
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
        exchanges = exchanges_of([(role, encodable(text)) for role, text in record.turns])
        if not exchanges:
            raise BadRecord(
                "found no answer of the assistant to anything; expected at least one, or "
                "--on_bad_record=skip, which leaves such records out"
            )
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
    records: Iterable[RawRecord | bytes],
    needs: Needs,
    filters: Sequence[Filter | PreparedFilter],
    *,
    skip: bool,
    rejects: _Writable | None,
    workers: int | None = None,
) -> Kept:
    """Which records stay: those that lack nothing, and for whom no filter has a reason.

    Filters that prepare what they find do so on all cores as soon as that pays; records are
    decided one after the other, with the same outcome however many prepare.

    Args:
      records: all that can be read; bytes among them are written to `rejects` in their place.
      needs: what they must have.
      filters: asked in their order, up to the first that has a reason.
      skip: whether those that lack something are left out.
      rejects: gets a line for each that is left out, as `read_pool` writes them.
      workers: processes that prepare; None for one a core.

    Raises:
      InputError: for a record that lacks something, if bad ones are not skipped.
    """
    kept = Kept()
    with contextlib.closing(_prepared(records, filters, workers)) as prepared:
        for record, turns, found in prepared:
            if isinstance(record, bytes):
                if rejects is not None:
                    rejects.write(record)
                continue
            assert turns is not None
            try:
                sample = needs.sample_of(record)
            except BadRecord as bad:
                BadRecords(record.path, skip, rejects).meet(record.line, bad, record.raw)
                kept.left_out[record.path, "bad records"] += 1
                kept.add(False, record.path)
                continue
            for one, of_one in zip(filters, found, strict=True):
                if reason := _reason(one, record.where, turns, of_one):
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


_Looked = tuple[RawRecord | bytes, Turns | None, Sequence[Any]]


def _prepared(
    records: Iterable[RawRecord | bytes],
    filters: Sequence[Filter | PreparedFilter],
    workers: int | None,
) -> Generator[_Looked]:
    """Yields each record with its turns and what each filter that prepares finds in it."""
    with_turns = ((one, None if isinstance(one, bytes) else one.turns) for one in records)
    work = _Prepare([getattr(one, "prepare", None) for one in filters])
    if not any(work.of_filters):
        nothing = [None] * len(filters)
        yield from ((record, turns, nothing) for record, turns in with_turns)
        return
    found = with_found(work, with_turns, _turns_of, size=_size_of, workers=workers)
    with contextlib.closing(found):
        yield from ((record, turns, of_one) for (record, turns), of_one in found)


class _Prepare:
    """What each filter that prepares finds in a record, None for the others."""

    def __init__(self, of_filters: Sequence[Callable[[Turns], Any] | None]) -> None:
        self.of_filters = of_filters

    def __call__(self, turns: Turns | None) -> list[Any]:
        if turns is None:
            return []
        return [None if one is None else one(turns) for one in self.of_filters]


def _turns_of(looked_at: tuple[RawRecord | bytes, Turns | None]) -> Turns | None:
    return looked_at[1]


def _size_of(looked_at: tuple[RawRecord | bytes, Turns | None]) -> int:
    record, _ = looked_at
    return len(record if isinstance(record, bytes) else record.raw)


def _reason(one: Filter | PreparedFilter, where: str, turns: Turns, found: Any) -> str | None:
    return one.decide(where, turns, found) if hasattr(one, "decide") else one.reason(where, turns)


def encodable(text: str) -> str:
    """The text with question marks for halves of characters, which no model takes."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def tag_counts(journal: Journal) -> Counter[str]:
    """How many records have each tag."""
    return Counter(tag for one in journal.read() for tag in one.labels)


@dataclasses.dataclass
class ScoreTable:
    """The scores of all records that are not rejected, before they are combined."""

    means: dict[str, array[float]]  # By scorer: the mean over turns of each record.
    of_turns: array[float]  # `mean_of_turns` of each record.


def score_table(
    journal: Journal, mapping: TagMapping | None, names: Sequence[str], after: Mapping[str, Scorer]
) -> ScoreTable:
    """The scores of the journal, and of the scorers `after` that look at the final labels."""
    table = ScoreTable({name: array("d") for name in names}, array("d"))
    for one in journal.read():
        if one.rejected is not None:
            continue
        labels = one.labels if mapping is None else mapping.apply(one.labels)
        values = dict(one.scores)
        for name, scorer in after.items():
            [of_one] = scorer.score([Sample((), labels)])
            assert not isinstance(of_one, Rejected)  # They count labels.
            values[name] = of_one
        for name in names:
            table.means[name].append(math.fsum(values[name]) / len(values[name]))
        table.of_turns.append(mean_of_turns([values[name] for name in names]))
    return table
