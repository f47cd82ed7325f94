"""The table of a study, in Markdown and as CSV: made anew whenever a cell is done."""

from __future__ import annotations

import csv
import io
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from experiments.finetuning.comparison import Result, difference, mean_over_tasks
from mig_jax.reports import markdown_table
from mig_jax.runs import place_told

__all__ = ["CONTROL", "write_tables"]

CONTROL = "random"


def write_tables(
    folder: pathlib.Path,
    results: dict[tuple[str, str, int], Result],
    groups: npt.NDArray[np.str_],
    untrained: Result,
) -> None:
    """Writes `results.csv`, a row for each method and budget, and `results.md`.

    Args:
      folder: where to.
      results: by method, budget and seed.
      groups: the task of each test record.
      untrained: what the model lost before it was trained.
    """
    rows = [
        _row(results, method, budget, groups)
        for budget in _in_order(budget for _, budget, _ in results)
        for method in _in_order(m for m, b, _ in results if b == budget)
    ]
    if not rows:
        return
    lines = io.StringIO()
    writer = csv.DictWriter(lines, rows[0])
    writer.writeheader()
    writer.writerows(rows)
    _replace(folder / "results.csv", lines.getvalue())
    _replace(folder / "results.md", _page(rows, groups, untrained))


def _replace(path: pathlib.Path, text: str) -> None:
    """Writes a file anew: whole, or not at all if the disk is full."""
    new = path.with_name(f"{path.name}.new")
    with place_told(path):
        new.write_text(text, encoding="utf-8", newline="")
        new.replace(path)


def _in_order(values: Any) -> list[str]:
    return list(dict.fromkeys(values))


def _is_control(method: str) -> bool:
    return method.partition("#")[0] == CONTROL


def _row(
    results: dict[tuple[str, str, int], Result],
    method: str,
    budget: str,
    groups: npt.NDArray[np.str_],
) -> dict[str, Any]:
    own = {seed: r for (m, b, seed), r in results.items() if (m, b) == (method, budget)}
    found = list(own.values())
    row: dict[str, Any] = {"budget": budget, "method": method, "seeds": len(found)}
    for name in ("content", "end"):
        row[name] = float(np.mean([mean_over_tasks(getattr(r, name), groups) for r in found]))
    # A draw is compared with the others of its seed, any other method with all draws.
    controls = {
        seed: [
            r
            for (m, b, s), r in results.items()
            if _is_control(m) and (b, s) == (budget, seed) and m != method
        ]
        for seed in own
    }
    both = [seed for seed in own if controls[seed]]
    for name in ("content", "end"):
        gaps = [
            getattr(own[seed], name) - np.mean([getattr(c, name) for c in controls[seed]], axis=0)
            for seed in both
        ]
        one = difference(gaps, groups) if gaps else None
        row |= {
            f"{name}_over_random": one and one.mean,
            f"{name}_low": one and one.low,
            f"{name}_high": one and one.high,
        }
        if name == "content":
            for task in np.unique(groups).tolist():
                own_task = groups == task
                one = (
                    difference([gap[own_task] for gap in gaps], groups[own_task]) if gaps else None
                )
                row |= {
                    f"content_over_random_{task}": one and one.mean,
                    f"content_low_{task}": one and one.low,
                    f"content_high_{task}": one and one.high,
                }
    row["right"] = float(np.mean([_share_right(r) for r in found]))
    for name in ("records", "tokens", "response_tokens"):
        row[name] = round(float(np.mean([getattr(r, name) for r in found])))
    return row


def _share_right(result: Result) -> float:
    """The share of right answers among records whose answer is one of few; NaN without any."""
    chosen = result.right[~np.isnan(result.right)]
    return float(chosen.mean()) if len(chosen) else float("nan")


def _page(rows: Sequence[dict[str, Any]], groups: npt.NDArray[np.str_], untrained: Result) -> str:
    tasks = np.unique(groups).tolist()
    parts = [
        "# Fine-tuned on selections",
        f"Nats a token of what answers say, the mean over {len(tasks)} tasks ({len(groups)} test "
        "records), less the mean of the random draws of the same seed, or for a draw less the "
        "others; 95 % over seeds and test records, with one seed over test records alone. A star: "
        "zero is outside the 95 % interval of that task's difference. Right: "
        "the share of records with few possible answers whose right one is the likeliest.",
        f"Before training: {mean_over_tasks(untrained.content, groups):.3f}, "
        f"{mean_over_tasks(untrained.end, groups):.3f} for the token that ends an answer, "
        f"{_percent(_share_right(untrained))} right.",
    ]
    header = ["method", "seeds", "content", "less random", "95 %", *tasks, "end", "less random"]
    header += ["right", "records", "tokens", "of responses"]
    for budget in _in_order(row["budget"] for row in rows):
        own = sorted(
            (row for row in rows if row["budget"] == budget), key=lambda row: row["content"]
        )
        lines = []
        for row in own:
            gaps = [_starred(row, task) for task in tasks]
            interval = (
                "–"
                if row["content_low"] is None
                else f"{row['content_low']:+.3f} to {row['content_high']:+.3f}"
            )
            lines.append(
                [
                    row["method"],
                    str(row["seeds"]),
                    f"{row['content']:.4f}",
                    _signed(row["content_over_random"]),
                    interval,
                    *gaps,
                    f"{row['end']:.3f}",
                    _signed(row["end_over_random"]),
                    _percent(row["right"]),
                    *(f"{row[name]:,}" for name in ("records", "tokens", "response_tokens")),
                ]
            )
        parts += [f"## {budget}", markdown_table(header, lines, range(1, len(header)))]
        if short := [
            f"{row['method']} ({share:.0%})" for row in own if (share := _spent(row)) < 0.95
        ]:
            parts.append(f"Less than the budget, so not at equal cost: {', '.join(short)}.")
    return "\n\n".join(parts) + "\n"


def _spent(row: dict[str, Any]) -> float:
    """The share of its budget, such as `30000 tokens`, that a method took."""
    number, _, unit = row["budget"].partition(" ")
    return float(row[unit] / int(number))


def _percent(share: float) -> str:
    return "–" if np.isnan(share) else f"{share:.1%}"


def _starred(row: dict[str, Any], task: str) -> str:
    """A task's difference, with a star if its interval leaves out zero."""
    low, high = row[f"content_low_{task}"], row[f"content_high_{task}"]
    is_clear = low is not None and (low > 0 or high < 0)
    return _signed(row[f"content_over_random_{task}"]) + "*" * is_clear


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.3f}"
