"""The records that a selection's page is explored by, as one JSON text of limited size.

Numbers and names of all records come first, then as many texts as there is room for: of those that
came nearest to being picked, of the picks in their order, of what is given.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, Final

import msgspec
import numpy as np
from jaxtyping import Int

from mig_jax import data
from mig_jax.reports._explanation_text import rounded_up
from mig_jax.reports._nearest_records import NearRecord
from mig_jax.reports._record_texts import Turns, as_utf8, cut, record_texts
from mig_jax.reports._selected import Selected
from mig_jax.selection import GainsByLabel

__all__ = ["MOST_BYTES", "ExploredRecords", "explored_records"]

MOST_BYTES: Final = 8_500_000  # Of the JSON text: the page stays below 10 MB.
_FOR_NUMBERS: Final = 5_500_000  # Of these; texts have the rest.
_MOST_GIVEN: Final = 2_000
_LABELS, _GAINS = 30, 6  # Of a record: its own, and those that give most of its gain.
_LONGEST_NAME: Final = 120
# Symbols of a turn: fewer if there are many records, so that more of them have a text.
_FEW, _LONGEST, _LONGEST_OF_MANY = 2_000, 1_500, 600
_LIKELY: Final = 1_000  # Bytes of a text, before any was read.


@dataclasses.dataclass(frozen=True)
class ExploredRecords:
    """What the page's program reads, and how much of the selection that is."""

    json: bytes  #: UTF-8, to stand in a script element: no `<` is in it.
    picks: int  #: So many picks, the first, are there.
    given: int  #: So many of the records given.
    pick_texts: list[Turns]  #: Of the first picks: as many as there was room for.
    near_texts: list[Turns]
    longest: int  #: Symbols that are left of a turn.


def explored_records(
    selected: Selected, near: Sequence[NearRecord], gains: GainsByLabel
) -> ExploredRecords:
    """The records to explore.

    Args:
      selected: the selection.
      near: records that were not picked.
      gains: of the picks.
    """
    table, picks = selected.table, np.asarray(selected.selection.picks, np.int64)
    given = np.flatnonzero([] if selected.given is None else selected.given)
    rows = _Rows(table, _FOR_NUMBERS)
    of_near = rows.keep(rows.of_near(each) for each in near)
    of_picks = rows.keep(_pick_rows(rows, selected, gains))
    of_given = rows.keep(rows.of_record(record) for record in given[:_MOST_GIVEN].tolist())

    longest = _LONGEST if len(picks) <= _FEW else _LONGEST_OF_MANY
    wanted = [[each.record for each in near[: len(of_near)]], picks[: len(of_picks)].tolist()]
    wanted.append(given[: len(of_given)].tolist())
    room = rows.left + MOST_BYTES - _FOR_NUMBERS
    texts = _texts(selected, np.array([*chain(*wanted)], np.int64), longest, room)
    first, second = len(of_near), len(of_near) + len(of_picks)
    near_texts, pick_texts, given_texts = texts[:first], texts[first:second], texts[second:]
    text = _json(
        {
            "labels": [rows.name(label) for label in rows.labels],
            "files": [as_utf8(table.files[index]) for index in rows.files],
            "timesGiven": rows.times_given(given),
            "kept": (selected.about.get("extended") or {}).get("kept"),
            "picks": of_picks,
            "near": of_near,
            "given": of_given,
            "texts": {"picks": pick_texts, "near": near_texts, "given": given_texts},
        }
    )
    counts = len(of_picks), len(of_given)
    return ExploredRecords(text, *counts, pick_texts, near_texts, longest)


class _Rows:
    """Records as short lists of numbers, with own numbers for the labels and files they name."""

    def __init__(self, table: data.RecordTable, room: int) -> None:
        self._table = table
        self.labels: dict[int, int] = {}
        self.files: dict[int, int] = {}
        self.left = room  #: Bytes.

    def keep(self, rows: Iterable[list[Any]]) -> list[list[Any]]:
        """The first rows, as many as there is room for."""
        kept = []
        for row in rows:
            self.left -= len(_json(row)) + 1
            if self.left < 0:
                self.left = 0
                break
            kept.append(row)
        return kept

    def label(self, label: int) -> int:
        if label not in self.labels:
            self.left -= len(_json(self.name(label))) + 1
        return self.labels.setdefault(label, len(self.labels))

    def name(self, label: int) -> str:
        return cut(as_utf8(self._table.label_names[label]), _LONGEST_NAME)

    def of_record(self, record: int) -> list[Any]:
        """File, line, score, labels, and how many labels more it has."""
        table = self._table
        index = int(table.file_index[record])
        if index not in self.files:
            self.left -= len(_json(as_utf8(table.files[index]))) + 1
        file = self.files.setdefault(index, len(self.files))
        own = table.labels[table.offsets[record] : table.offsets[record + 1]].tolist()
        labels = [self.label(label) for label in own[:_LABELS]]
        score = _rounded(float(table.scores[record]), 6)
        return [file, int(table.line[record]), score, labels, len(own) - len(labels)]

    def of_near(self, near: NearRecord) -> list[Any]:
        """A record, how near it came and where, what score it took, and who took its gain."""
        least = near.told["least_score"]
        taken = [
            [rank, _rounded(amount), self._by_label(labels)] for rank, amount, labels in near.taken
        ]
        return [
            *self.of_record(near.record),
            near.told["ratio"],
            near.told["rank"],
            _rounded(near.told["gain"]),
            None if least is None else float(rounded_up(least["score"])),
            taken,
        ]

    def _by_label(self, parts: Iterable[tuple[int, float]]) -> list[list[float]]:
        return [[self.label(label), _rounded(amount)] for label, amount in list(parts)[:_GAINS]]

    def times_given(self, given: Int[np.ndarray, " given"]) -> list[int]:
        """How many of the records given have each of the labels named; empty if none is given."""
        if not len(given):
            return []
        table = self._table
        has = np.zeros(table.num_records, bool)
        has[given] = True
        entries = np.repeat(has, np.diff(table.offsets))
        counts = np.bincount(table.labels[entries], minlength=table.num_labels)
        return counts[list(self.labels)].tolist()


def _pick_rows(rows: _Rows, selected: Selected, by_label: GainsByLabel) -> Iterator[list[Any]]:
    """Of each pick the record, its gain, what that would have been at first, and both by label."""
    picks = np.asarray(selected.selection.picks).tolist()
    order = np.lexsort((-by_label.gains, by_label.ranks))
    ends = np.cumsum(np.bincount(by_label.ranks, minlength=len(picks))).tolist()
    at_first = np.bincount(by_label.ranks, by_label.at_first, len(picks)).tolist()
    labels, gains = by_label.labels[order].tolist(), by_label.gains[order].tolist()
    start = 0
    for rank, (record, end) in enumerate(zip(picks, ends, strict=True)):
        here = slice(start, min(end, start + _GAINS))
        most = [rows.label(label) for label in labels[here]]
        yield [
            *rows.of_record(record),
            _rounded(float(selected.selection.gains[rank])),
            _rounded(at_first[rank]),
            most,
            [_rounded(gain, 3) for gain in gains[here]],
            end - start,
        ]
        start = end


def _texts(
    selected: Selected, records: Int[np.ndarray, " n"], longest: int, room: int
) -> list[Turns]:
    """The texts of the first of these records, as many as there is room for."""
    kept: list[Turns] = []
    used = 0
    while len(kept) < len(records):
        mean = used / len(kept) if kept else _LIKELY
        # Few reads of compressed files, and not many texts too many.
        count = max(int((room - used) / mean), 50)
        block = records[len(kept) : len(kept) + count]
        for turns in record_texts(selected.table, block, selected.fields, longest):
            text = _json(turns)
            used += len(text) + 1
            if used > room:
                return kept
            kept.append(turns)
    return kept


def _json(value: Any) -> bytes:
    # As it stands in the page: no text ends the element that it is in.
    return msgspec.json.encode(value).replace(b"<", rb"\u003c")


def _rounded(x: float, digits: int = 5) -> float:
    return float(f"{x:.{digits}g}")
