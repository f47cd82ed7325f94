"""What a selection's page has of records: all to explore, and the first of them to read at once.

Each with why: what its labels gave of its gain, or which picks had taken it.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Final

import numpy as np

from mig_jax import data
from mig_jax.measure import GAIN_RULES
from mig_jax.reports._explanation_text import (
    by_label,
    number,
    per_cent,
    rounded_up,
    told_explanation,
    told_place,
)
from mig_jax.reports._explored_records import ExploredRecords, explored_records
from mig_jax.reports._nearest_records import NearRecord, nearest_records
from mig_jax.reports._record_texts import Turns, cut
from mig_jax.reports._selected import Selected
from mig_jax.selection import Constraints, Explainer

__all__ = ["ShownRecords", "shown_records"]

# That are there without the page's program.
_FIRST: Final = 20
_NEAREST: Final = 5
_LOSSES: Final = 2
# Of each: all of it is among what is explored.
_LABELS, _LONGEST_NAME, _TURNS, _LONGEST_TEXT = 12, 60, 4, 600


@dataclasses.dataclass(frozen=True)
class ShownRecords:
    """The records of a page."""

    first: list[dict[str, Any]]  #: Picks, as the template has them.
    nearest: list[dict[str, Any]]  #: Records that were not picked, the nearest to it first.
    explored: bytes  #: JSON text, for the page's program.
    kept: str  #: How much of the selection that is, in words.


def shown_records(selected: Selected) -> ShownRecords:
    """What is shown of the records that were picked, given, and nearest to being picked."""
    selection = selected.selection
    explainer = Explainer(
        *(selected.pool, selected.graph, selected.measure),
        GAIN_RULES[selected.about["gain"]],
        *(selection.picks, selection.gains),
        constraints=Constraints(given=selected.given),
    )
    near = nearest_records(selected, explainer)
    explored = explored_records(selected, near, explainer.gains_by_label)
    first = np.asarray(selection.picks)[:_FIRST].tolist()
    texts, near_texts = explored.pick_texts[:_FIRST], explored.near_texts[:_NEAREST]
    return ShownRecords(
        [
            _pick(selected, explainer, record, turns)
            for record, turns in zip(first[: len(texts)], texts, strict=True)
        ],
        [
            _near(selected.table, each, turns)
            for each, turns in zip(near[: len(near_texts)], near_texts, strict=True)
        ],
        explored.json,
        _told_kept(selected, explored),
    )


def _pick(selected: Selected, explainer: Explainer, record: int, turns: Turns) -> dict[str, Any]:
    explained = explainer.explain(record)
    about = told_explanation(explained, selected.table, len(selected.selection))
    return {
        **_shown(selected.table, record, turns),
        "rank": about["rank"],
        "gain": number(about["gain"]),
        "why": by_label(about["labels"], "gain"),
    }


def _near(table: data.RecordTable, near: NearRecord, turns: Turns) -> dict[str, Any]:
    about = near.told
    return {
        **_shown(table, near.record, turns),
        "rank": f"{about['rank']:,}",
        "ratio": per_cent(about["ratio"]),
        "least": about["least_score"] and rounded_up(about["least_score"]["score"]),
        "taken": [
            f"{number(loss['amount'])} taken by pick {loss['rank']:,}, "
            f"{told_place(loss)}: {by_label(loss['labels'], 'amount')}"
            for loss in about["taken_by"][:_LOSSES]
        ],
    }


def _shown(table: data.RecordTable, record: int, turns: Turns) -> dict[str, Any]:
    own = table.labels[table.offsets[record] : table.offsets[record + 1]]
    place = {"file": table.files[table.file_index[record]], "line": int(table.line[record])}
    return {
        "where": told_place(place),
        "score": f"{float(table.scores[record]):.6g}",
        "labels": [cut(table.label_names[label], _LONGEST_NAME) for label in own[:_LABELS]],
        "turns": [(role, cut(text, _LONGEST_TEXT)) for role, text in turns[:_TURNS]],
    }


def _told_kept(selected: Selected, explored: ExploredRecords) -> str:
    """How much of the selection the page has."""
    picks, texts = len(selected.selection), len(explored.pick_texts)
    told = [f"Texts are cut after {explored.longest:,} symbols a turn."]
    if explored.picks < picks:
        told.append(f"Of the {picks:,} records the first {explored.picks:,} are on this page.")
    if texts < explored.picks:
        told.append(f"The first {texts:,} have their texts here.")
    given = 0 if selected.given is None else int(np.count_nonzero(selected.given))
    if explored.given < given:
        told.append(f"Of the {given:,} records given {explored.given:,} are here.")
    if len(told) > 1:
        told.append("All picks are in the file of the selection.")
    return " ".join(told)
