"""The records that the page of a selection shows: the first picks, and those that came nearest.

Each with why: what its labels gave of its gain, or which picks had taken it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from mig_jax import data
from mig_jax.data import BadRecord
from mig_jax.measure import GAIN_RULES, linear_gains
from mig_jax.reports._explanation_text import (
    by_label,
    number,
    per_cent,
    rounded_up,
    scores_as_read,
    told_explanation,
    told_place,
)
from mig_jax.reports._selected import Selected
from mig_jax.selection import Constraints, Explainer, in_range

__all__ = ["shown_records"]

_FIRST: Final = 20
_NEAREST: Final = 5
# So many are compared rank by rank, of those that would gain most after the last pick.
_COMPARED: Final = 50
_LOSSES: Final = 2
_LONGEST_TEXT: Final = 600


def shown_records(selected: Selected) -> dict[str, list[dict[str, Any]]]:
    """The first `records`, and the `nearest` to being selected, as the page's template has them.

    None are nearest if limits decided which records could be picked, and not how many only.
    """
    problem = selected.pool, selected.graph, selected.measure
    selection, given = selected.selection, selected.given
    rule = GAIN_RULES[selected.about["gain"]]
    explainer = Explainer(
        *problem, rule, selection.picks, selection.gains, constraints=Constraints(given=given)
    )
    as_read = scores_as_read(selected.table, selected.pool)

    def told(records: Sequence[int]) -> list[dict[str, Any]]:
        return [
            told_explanation(
                explainer.explain(record), selected.table, len(selection), as_read=as_read
            )
            for record in records
        ]

    first = np.asarray(selection.picks)[:_FIRST].tolist()
    is_any = any(selected.about.get(name) for name in ("tokens", "quotas", "changes"))
    nearest = [] if is_any else _likely(selected)
    explained = sorted(
        zip(told(nearest), nearest, strict=True), key=lambda pair: (-pair[0]["ratio"], pair[1])
    )
    nearest = [record for about, record in explained[:_NEAREST] if about["ratio"] > 0]
    texts = _texts(selected, [*first, *nearest])
    return {
        "records": [
            {
                **_shown(selected, record, texts),
                "rank": about["rank"],
                "gain": number(about["gain"]),
                "why": by_label(about["labels"], "gain"),
            }
            for about, record in zip(told(first), first, strict=True)
        ],
        "nearest": [
            {
                **_shown(selected, record, texts),
                "rank": f"{about['rank']:,}",
                "ratio": per_cent(about["ratio"]),
                "score": f"{about['score']:.6g}",
                "least": about["least_score"] and rounded_up(about["least_score"]["score"]),
                "taken": [
                    f"{number(loss['amount'])} taken by pick {loss['rank']:,}, "
                    f"{told_place(loss)}: {by_label(loss['labels'], 'amount')}"
                    for loss in about["taken_by"][:_LOSSES]
                ],
            }
            for about, record in explained[: len(nearest)]
        ],
    }


def _likely(selected: Selected) -> list[int]:
    """Records not selected that gain most after the last pick, to first order."""
    with in_range(selected.pool, selected.graph, selected.measure) as problem:
        z = np.asarray(selected.selection.z)[: selected.graph.num_labels]
        gains = np.array(linear_gains(*problem, z))
    gains[np.asarray(selected.selection.picks)] = -1
    if selected.given is not None:
        gains[selected.given] = -1
    order = np.argsort(-gains, kind="stable")[:_COMPARED]
    return order[gains[order] > 0].tolist()


def _shown(selected: Selected, record: int, texts: dict[int, bytes]) -> dict[str, Any]:
    table = selected.table
    own = table.labels[table.offsets[record] : table.offsets[record + 1]]
    place = {"file": table.files[table.file_index[record]], "line": int(table.line[record])}
    return {
        "where": told_place(place),
        "labels": [table.label_names[label] for label in own],
        "turns": _turns(texts[record], selected.fields),
    }


def _texts(selected: Selected, records: Sequence[int]) -> dict[int, bytes]:
    """The bytes of these records, by their indices."""
    table, rows = selected.table, np.sort(np.asarray(records, np.int64))
    texts: dict[int, bytes] = {}
    for index in np.unique(table.file_index[rows]).tolist():
        here = rows[table.file_index[rows] == index]
        found = table.sources[index].read_records(table.position[here])
        texts.update(zip(here.tolist(), found, strict=True))
    return texts


def _turns(text: bytes, fields: data.FieldNames) -> list[tuple[str, str]]:
    """Role and text of each turn, cut if they are long; the record as it is if it has none."""
    turns: Sequence[tuple[str, str]]
    try:
        turns = data.decode_conversation(data.parse_record(text), fields).texts
    except BadRecord:
        turns = [("record", text.decode("utf-8", "replace"))]
    return [
        (role, said if len(said) <= _LONGEST_TEXT else said[: _LONGEST_TEXT - 1] + "…")
        for role, said in turns
    ]
