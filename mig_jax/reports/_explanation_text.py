"""What is told of why a record was picked or not: for programs, and for people."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mig_jax import data
from mig_jax.measure import Pool
from mig_jax.selection import Explanation

__all__ = [
    "by_label",
    "explanation_lines",
    "number",
    "per_cent",
    "rounded_up",
    "scores_as_read",
    "told_explanation",
    "told_place",
]

_LABELS = 8  # Told of a record.
_IN_A_LINE = 3
_WIDEST = 44  # Symbols of a label.
# Beside a score so many times the largest, float32 does not tell the others from 0.
_BEYOND_ALL = 2.0**24


def told_explanation(
    found: Explanation,
    table: data.RecordTable,
    picks: int,
    *,
    as_read: Callable[[float], float] = float,
) -> dict[str, Any]:
    """An explanation with names and places, as JSON takes it.

    Args:
      found: of a record of the table.
      table: the pool.
      picks: how many picks the selection has.
      as_read: turns a score as it was selected by into one as the pool has it; they differ if
        an exponent of the scores was learned.
    """
    names = table.label_names
    least = None
    if found.least is not None:
        least = {"score": as_read(found.least.score), "rank": found.least.rank}
        if least["score"] > _BEYOND_ALL * float(np.max(table.scores)) > 0:
            least = None
    return {
        **_place(table, found.record),
        "picked": found.picked,
        "rank": found.rank,
        "picks": picks,
        "score": float(table.scores[found.record]),
        "gain": found.gain,
        "gain_at_rank_1": found.at_first,
        "gain_needed": None if math.isinf(found.needed) else found.needed,
        "ratio": found.ratio,
        "labels": [
            {
                "label": names[each.label],
                "through": [names[label] for label in each.through],
                "gain": each.gain,
                "gain_at_rank_1": each.at_first,
            }
            for each in found.labels
        ],
        "taken_by": [
            {
                "rank": loss.rank,
                **_place(table, loss.pick),
                "amount": loss.amount,
                "labels": [
                    {"label": names[label], "amount": amount} for label, amount in loss.labels
                ],
            }
            for loss in found.losses
        ],
        "least_score": least,
    }


def _place(table: data.RecordTable, record: int) -> dict[str, Any]:
    file = table.files[int(table.file_index[record])]
    return {"file": file, "line": int(table.line[record])}


def scores_as_read(table: data.RecordTable, pool: Pool) -> Callable[[float], float]:
    """What turns scores that were selected by into those of the table.

    They differ if an exponent of scores was learned: `mig_jax.learning.harden` makes the pool's
    scores powers of them, times a constant.
    """
    read, used = np.asarray(table.scores, np.float64), np.asarray(pool.scores, np.float64)
    if np.array_equal(read, used):
        return float
    low, high = int(np.argmin(np.where(read > 0, read, np.inf))), int(np.argmax(read))
    exponent = 1.0  # Of one score only, none can be told.
    if read[low] < read[high]:
        exponent = np.log(used[high] / used[low]) / np.log(read[high] / read[low])
    return lambda score: float(read[high] * (score / used[high]) ** (1 / exponent))


def explanation_lines(told: dict[str, Any]) -> list[str]:
    """The same for a person to read."""
    where = told_place(told)
    if told.get("id") is not None:
        where += f" ({told['id']})"
    if told.get("given"):
        return [f"{where}: given, not picked"]
    rank = None if told["rank"] is None else f"{told['rank']:,}"
    if told["picked"]:
        lines = [f"{where}: picked, rank {rank} of {told['picks']:,}"]
        lines.append(f"  gain      {number(told['gain'])}" + _at_first(told))
    else:
        lines = [f"{where}: not picked"]
        lines += _why_not(told)
    return [*lines, *_labels(told), *_taken(told)]


def told_place(told: dict[str, Any]) -> str:
    """Where a record stands.

    >>> told_place({"file": "pool.jsonl", "line": 1234})
    'pool.jsonl, line 1,234'
    """
    return f"{told['file']}, line {told['line']:,}"


def _at_first(told: dict[str, Any]) -> str:
    return (
        ""
        if told["rank"] == 1
        else f"; in rank 1 it would have been {number(told['gain_at_rank_1'])}"
    )


def _why_not(told: dict[str, Any]) -> list[str]:
    least, score = told["least_score"], f"{told['score']:.6g}"
    if not told["labels"]:
        return ["  it has no label: whatever its score, it gains nothing"]
    lines = [] if told.get("limit") is None else [f"  limits    {told['limit']}"]
    if told["rank"] is None:
        return lines or ["  limits    it could not be picked in any rank"]
    if told["gain"] == 0:
        why = "its score is 0" if told["score"] == 0 else "its labels hold all that counts"
        lines.append(f"  nearest   it gains nothing in any rank: {why}")
    else:
        whose = "of the pick made there"
        if told.get("by_cost"):  # Picks of fewer tokens needed less.
            whose = f"that one of its {told['tokens']:,} tokens needed there"
        lines.append(
            f"  nearest   rank {told['rank']:,} of {told['picks']:,}: gain {number(told['gain'])}, "
            f"{per_cent(told['ratio'])} of the {number(told['gain_needed'])} {whose}"
        )
    # With another score the other way of comparing under tokens may be the better one.
    proviso = "" if told.get("tokens") is None else ", if picks are still compared in the same way"
    if least is None:
        lines.append(f"  score     {score}; no score would have had it picked")
    else:
        # A gain is no multiple of its score: the rank that came nearest may take more of it.
        elsewhere = told["gain"] != 0 and least["rank"] != told["rank"]
        why = f", where more score counts for more than in rank {told['rank']:,}" * elsewhere
        lines.append(
            f"  score     {score}; with {rounded_up(least['score'])} or more it would have been "
            f"picked, in rank {least['rank']:,}{why}{proviso}"
        )
    return lines


def _labels(told: dict[str, Any]) -> list[str]:
    shown = told["labels"][:_LABELS]
    if not shown or told["gain_at_rank_1"] == 0 or told["rank"] is None:
        return []
    is_first = told["rank"] == 1
    names = [_shortened(each["label"]) for each in shown]
    width = max(map(len, names))
    here = f"rank {told['rank']:,}"
    wide = max(10, len(here) + 2)
    head = "" if is_first else f"{'rank 1':>10}"
    lines = [f"  {'by label':<{width + 2}}{head}{here:>{wide}}"]
    for name, each in zip(names, shown, strict=True):
        first = "" if is_first else f"{number(each['gain_at_rank_1']):>10}"
        line = f"    {name:<{width}}{first}{number(each['gain']):>{wide}}"
        through = [label for label in each["through"] if label != each["label"]]
        if each["label"] not in each["through"]:
            line += f"   through {_shortened(through[0])}"
            line += f" and {len(through) - 1} more" if len(through) > 1 else ""
        lines.append(line)
    if rest := told["labels"][_LABELS:]:
        others = f"{len(rest):,} more"
        sums = [sum(each[key] for each in rest) for key in ("gain_at_rank_1", "gain")]
        first = "" if is_first else f"{number(sums[0]):>10}"
        lines.append(f"    {others:<{width}}{first}{number(sums[1]):>{wide}}")
    return lines


def _taken(told: dict[str, Any]) -> list[str]:
    if not told["taken_by"]:
        return []
    lost = told["gain_at_rank_1"] - told["gain"]
    lines = [f"  taken     {number(lost)} of its gain since rank 1, most of it by"]
    for loss in told["taken_by"]:
        lines.append(
            f"    {number(loss['amount']):>8}  the pick of rank {loss['rank']:,}, "
            f"{told_place(loss)}: {by_label(loss['labels'], 'amount')}"
        )
    return lines


def by_label(labels: Sequence[dict[str, Any]], key: str) -> str:
    """The first labels with their parts of a gain, in one line."""
    told = [f"{_shortened(each['label'])} {number(each[key])}" for each in labels[:_IN_A_LINE]]
    if more := len(labels) - len(told):
        told.append(f"{more:,} more")
    return ", ".join(told)


def _shortened(name: str) -> str:
    return name if len(name) <= _WIDEST else name[: _WIDEST - 1] + "…"


def number(x: float) -> str:
    """A gain as people read it.

    >>> number(12.3456), number(0.000123456), number(1234567.0), number(2.0)
    ('12.35', '0.0001235', '1.235e+06', '2.000')
    """
    return f"{x:#.4g}".rstrip(".") if x else "0"


def per_cent(ratio: float) -> str:
    """A ratio below 1 in per cent, rounded down: what is told to be short of it is.

    >>> per_cent(0.99999), per_cent(0.5), per_cent(1.0)
    ('99.99 %', '50 %', '100 %')
    """
    return f"{math.floor(ratio * 1e4 + 1e-9) / 1e2:g} %"


def rounded_up(x: float) -> str:
    """A score of six digits that is no less.

    >>> rounded_up(13.15128096), rounded_up(1.0), rounded_up(123456.01)
    ('13.1513', '1', '123457')
    """
    if x == 0:
        return "0"
    size = 10.0 ** (5 - math.floor(math.log10(x)))
    return f"{math.ceil(x * size - 1e-9) / size:.6g}"
