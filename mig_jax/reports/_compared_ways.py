"""Other ways to choose beside a selection, as a table of text and as a picture."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from mig_jax.reports import plotting
from mig_jax.reports._limits import allowed_selections
from mig_jax.reports._told_numbers import proven_per_cent, told_information

__all__ = ["compared_ways", "comparison_picture", "what_it_says"]


def compared_ways(about: Mapping[str, Any]) -> list[str]:
    """The lines of a summary: each way with what it holds, by the measure of the selection."""
    told = about["compare"]
    rows = told["ways"]
    names = ["", "E", "of this", "of the best", "labels", "mean score", "records", "tokens"]
    cells = [[_told_row(row, first=row is rows[0])[name] for name in names] for row in rows]
    shown = [place for place in range(len(names)) if any(row[place] for row in cells)]
    table = [[row[place] for place in shown] for row in [names, *cells]]
    table += [[row["method"], *["–"] * (len(shown) - 1)] for row in told["untried"]]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [f"  compared with other ways, each {allowed_selections(about).rstrip(',')}:"]
    for row in table:
        first, *others = (
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append(f"    {first}  {'  '.join(others)}".rstrip())
    if any(row["choices"] > 1 for row in rows):
        count = max(row["choices"] for row in rows)
        lines.append(f"    random is the mean of {count} choices")
    lines += [f"    {row['method']} could not be tried: {row['reason']}" for row in told["untried"]]
    return [*lines, *(f"    {sentence}" for sentence in what_it_says(rows))]


def what_it_says(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What E in the table means, and what follows of it."""
    best = max(rows, key=lambda row: row["information"])
    # As it is shown: what the table has as equal is not told as more.
    more = told_information(best["information"]) != told_information(rows[0]["information"])
    found = f"{best['method']} holds the most" if more else "no way holds more than this selection"
    return [
        f"E is what MIG looks for, by the measure of this run, and other methods do not: {found}",
        "E by another measure cannot be compared with it, and no E tells which picks train the "
        "better model",
    ]


def _told_row(row: Mapping[str, Any], *, first: bool) -> dict[str, str]:
    bound, this, tokens = row["share_of_bound"], row["share_of_this"], row["tokens"]
    return {
        "": f"{row['method']} (this)" if first else row["method"],
        "E": told_information(row["information"]),
        "of this": "" if first or this is None else f"{100 * this:.1f} %",
        "of the best": "" if bound is None else f"≥ {proven_per_cent(bound)}",
        "labels": f"{row['labels_covered']:,.0f}",
        "mean score": f"{row['mean_score']:.3g}",
        "records": f"{row['records']:,.0f}",
        "tokens": "" if tokens is None else f"{tokens:,.0f}",
    }


def comparison_picture(told: Mapping[str, Any]) -> bytes:
    """The curves of E as an SVG picture, the same bytes for the same curves.

    Args:
      told: what the manifest has as `compare`.
    """
    import matplotlib
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.4), layout="constrained")
    plotting.plot_ways(told, ax=figure.subplots())
    stream = io.BytesIO()
    # Text stays text; names of parts and no date make the bytes the same each time.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "mig-jax"}):
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    return stream.getvalue()
