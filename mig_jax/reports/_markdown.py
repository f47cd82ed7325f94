"""Markdown for reports: tables, and texts and numbers to put into them."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["cell", "counted", "interval", "markdown_table", "number", "or_infinite"]


def markdown_table(header: list[str], rows: list[list[str]], numeric: range = range(0)) -> str:
    """A table of texts; the columns in `numeric` are aligned to the right."""
    rule = ["---:" if column in numeric else "---" for column in range(len(header))]
    return "\n".join(f"| {' | '.join(line)} |" for line in [header, rule, *rows])


def cell(value: Any) -> str:
    """A text as it is, whatever Markdown would read into it."""
    text = " ".join(str(value).split())
    return "".join(f"\\{sign}" if sign in "\\`*_<[]|" else sign for sign in text)


def number(value: Any, *, sign: bool = False) -> str:
    """Four digits after the point, or four that count if it is small; – if it is unknown."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:{'+' if sign else ''}.4g}" if abs(value) < 0.1 else f"{value:{'+' * sign}.4f}"


def interval(row: dict[str, Any], low: str, high: str, *, sign: bool = False) -> str:
    """From one number of a row to another."""
    return f"{number(row.get(low), sign=sign)} to {number(row.get(high), sign=sign)}"


def counted(count: int, unit: str) -> str:
    """The count with its unit, in the plural if there is more or less than one.

    >>> counted(1, "step"), counted(2000, "step")
    ('1 step', '2,000 steps')
    """
    return f"{count:,} {unit}{'' if count == 1 else 's'}"


def or_infinite(value: float | None) -> float:
    """The value to sort by: what is unknown comes last."""
    return math.inf if value is None or math.isnan(value) else value
