"""Records counted by the file that they come from, and by the value of a field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

__all__ = ["counts_by_file", "counts_by_value", "on_one_line", "told_counts"]

_MOST_KEPT: Final = 10_000  # Values in a manifest.
_MOST_TOLD: Final = 10  # Lines of a summary.
_WIDEST: Final = 60  # Symbols of a name in a summary.


def counts_by_file(
    files: Sequence[str],
    records: Sequence[int],
    kept: Sequence[int],
    *,
    kept_name: str = "selected",
) -> list[dict[str, Any]]:
    """A row for each file: its name, its records, and those `kept` of them.

    >>> counts_by_file(["a.jsonl"], [10], [2])
    [{'file': 'a.jsonl', 'records': 10, 'selected': 2}]
    """
    rows = zip(files, records, kept, strict=True)
    return [{"file": file, "records": int(n), kept_name: int(k)} for file, n, k in rows]


def counts_by_value(
    field: str,
    records: Mapping[str, int],
    kept: Mapping[str, int],
    *,
    kept_name: str = "selected",
) -> dict[str, Any]:
    """A row for each value of a field, those with most records first, 10,000 at most.

    What the others have together is told beside them, if there are any.

    >>> counts_by_value("source", {"a": 1, "b": 3}, {"b": 2})["values"]
    [{'value': 'b', 'records': 3, 'selected': 2}, {'value': 'a', 'records': 1, 'selected': 0}]
    """
    order = sorted(records, key=lambda value: (-records[value], value))
    rows = [
        {"value": value, "records": records[value], kept_name: kept.get(value, 0)}
        for value in order
    ]
    told: dict[str, Any] = {"field": field, "values": rows[:_MOST_KEPT]}
    if rest := rows[_MOST_KEPT:]:
        told["others"] = _together(rest, kept_name)
    return told


def told_counts(
    sources: Sequence[Mapping[str, Any]],
    counts: Mapping[str, Any] | None = None,
    *,
    kept_name: str = "selected",
) -> list[str]:
    """The lines of a summary: the largest files, if there are several, and the largest values."""
    lines = []
    if len(sources) > 1:
        lines += _table("by file", "file", sources, kept_name)
    if counts is not None:
        rows = [*counts["values"]]
        if "others" in counts:
            rows.append({"value": "", **counts["others"]})
        lines += _table(f"by {counts['field']}", "value", rows, kept_name)
    return lines


def _table(title: str, name: str, rows: Sequence[Mapping[str, Any]], kept_name: str) -> list[str]:
    largest = sorted((row for row in rows if row[name]), key=lambda row: -row["records"])
    cells = [
        (on_one_line(row[name]), f"{row[kept_name]:,}", f"{row['records']:,}")
        for row in largest[:_MOST_TOLD]
    ]
    told = {row[name] for row in largest[:_MOST_TOLD]}
    if rest := [row for row in rows if row[name] not in told]:
        total = _together(rest, kept_name)
        count = sum(row.get("values", 1) for row in rest)
        cells.append((f"{count:,} others", f"{total[kept_name]:,}", f"{total['records']:,}"))
    first, second, third = (max(len(row[place]) for row in cells) for place in range(3))
    return [
        f"  {title}:",
        *(f"    {n:<{first}}  {k:>{second}} of {r:>{third}}" for n, k, r in cells),
    ]


def _together(rows: Sequence[Mapping[str, Any]], kept_name: str) -> dict[str, Any]:
    return {
        "values": len(rows),
        "records": sum(row["records"] for row in rows),
        kept_name: sum(row[kept_name] for row in rows),
    }


def on_one_line(name: str) -> str:
    """The name on one line; of a long one the end, which tells files apart."""
    name = "".join(symbol if symbol.isprintable() else "�" for symbol in name)
    return name if len(name) <= _WIDEST else "…" + name[1 - _WIDEST :]
