"""What `mig-jax select --report` writes: one HTML page that needs nothing else."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import importlib.resources
import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from mig_jax._version import __version__
from mig_jax.errors import printable
from mig_jax.reports._compared_ways import what_it_says
from mig_jax.reports._enough_text import told_enough
from mig_jax.reports._limits import (
    allowed_selections,
    is_limited,
    prefix_rows,
    quota_rows,
    told_limits,
)
from mig_jax.reports._record_texts import cut
from mig_jax.reports._selected import Selected
from mig_jax.reports._selection_charts import selection_charts
from mig_jax.reports._shown_records import shown_records
from mig_jax.reports._told_numbers import proven_per_cent, told_information

__all__ = ["selection_page"]

# They differ from run to run, or are told elsewhere on the page.
_NOT_SETTINGS = frozenset(
    "changes compare enough extended given parameters prefixes prices quotas random_choice "  # noqa: SIM905
    "resumed_after run seconds tokens versions".split()
)
_MOST_FILES, _LONGEST_SETTING = 100, 2_000


def selection_page(selected: Selected) -> bytes:
    """The page, UTF-8. The same selection gives the same bytes. All texts are escaped."""
    import jinja2
    from markupsafe import Markup

    # Beside others in a line: one that turns the order of text around would turn theirs, too.
    names = [printable(name) for name in selected.table.label_names]
    selected = dataclasses.replace(
        selected, table=dataclasses.replace(selected.table, label_names=names)
    )
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["printable"] = printable
    page = environment.from_string(_part("html"))
    about, program = selected.about, _part("js")
    digest = base64.b64encode(hashlib.sha256(program.encode()).digest()).decode()
    shown = shown_records(selected)
    rendered = page.render(
        headline=f"{about['records_selected']:,} of {about['records_used']:,} records selected",
        proof=_proof(about),
        enough=_enough(about),
        numbers=_numbers(selected),
        limits=list(told_limits(about)),
        limits_name="Within these limits" if is_limited(about) else "Extended",
        charts=selection_charts(selected),
        records=shown.first,
        nearest=shown.nearest,
        kept=shown.kept,
        tables=list(_tables(about)),
        settings=_settings(about),
        has_manifest=about["parameters"].get("output") != "-",
        version=__version__,
        style=Markup(_part("css")),
        explored=Markup(shown.explored.decode()),
        program=Markup(program),
        # Whatever a text might bring, the browser runs this program and no other.
        program_digest=f"sha256-{digest}",
    )
    return rendered.encode("utf-8", "replace")


def _part(kind: str) -> str:
    """The page's template, style or program."""
    files = importlib.resources.files("mig_jax.reports")
    return files.joinpath(f"_selection_page.{kind}").read_text("utf-8")


def _proof(about: dict[str, Any]) -> str:
    ratio = about["certified_ratio"]
    if ratio is None:
        return "How close it is to the best possible was not computed (--nocertificate)."
    return (
        f"No selection {allowed_selections(about)} can hold more than "
        f"{told_information(about['upper_bound'])} information by this measure; this one holds "
        f"{told_information(about['information'])}, which is at least {proven_per_cent(ratio)} of "
        "the best possible. That is proven, not estimated."
    )


def _enough(about: dict[str, Any]) -> str | None:
    """The summary's line on picks that add next to nothing, as a sentence; None if all add."""
    told = told_enough(about)
    return None if told is None else f"{told[0].upper()}{told[1:]}."


def _numbers(selected: Selected) -> list[tuple[str, str, str]]:
    """What stands in large letters, each with what it is and what a random choice has."""
    about = selected.about
    random, bound = about["random_choice"], about["upper_bound"]
    where = "in the pool, beside those given" if about.get("given") else "in the pool"
    scores = np.asarray(selected.table.scores, np.float64)
    mean = scores[np.asarray(selected.selection.picks)].mean()
    numbers = [
        (
            told_information(about["information"]),
            "information E",
            f"{told_information(random['information'])} at random",
        ),
        (
            f"{about['labels_covered']:,}",
            f"of {about['labels']:,} labels covered",
            f"{random['labels_covered']:,.0f} at random",
        ),
        (_told_score(mean), "mean score", f"{_told_score(scores.mean())} in the pool"),
        (f"{about['records_used']:,}", f"records {where}", ""),
        (f"{about['edges']:,}", "pairs of labels joined", ""),
    ]
    if about["certified_ratio"] is not None:
        proven = f"≥ {proven_per_cent(about['certified_ratio'])}"
        within = " within the limits" if is_limited(about) else ""
        by_chance = f"{proven_per_cent(min(random['information'] / bound, 1.0))} at random"
        numbers.insert(
            0, (proven, f"of the best possible{within}, certified", by_chance if bound else "")
        )
    if tokens := about.get("tokens"):
        most = "tokens" if tokens["budget"] is None else f"of {tokens['budget']:,} tokens"
        numbers.append((f"{tokens['used']:,}", most, ""))
    return numbers


def _told_score(score: float) -> str:
    """A mean score, in three digits.

    >>> _told_score(23.04), _told_score(0.5), _told_score(51234.0)
    ('23.0', '0.500', '51,234')
    """
    return f"{score:,.0f}" if 1000 <= score < 1e9 else f"{score:#.3g}"


def _tables(about: dict[str, Any]) -> Iterator[tuple[str, Any, str]]:
    """What is folded: its name, its columns and rows, and what to read in it."""
    if about.get("quotas"):
        names, rows, text = quota_rows(about["quotas"])
        yield "Quotas", (names, rows), text
    if about.get("compare"):
        yield (
            "Other ways to choose",
            _compared(about["compare"]),
            _told_compared(about["compare"]),
        )
    if about.get("prefixes"):
        yield (
            "Smaller budgets",
            prefix_rows(about["prefixes"]),
            "The first picks are a selection of a smaller size; each is compared with the best of "
            "that size.",
        )
    if len(about["sources"]) > 1:
        columns = ["file", "records in the pool", "selected", "share of the pool"]
        yield "By file", ([*columns, "share of the selection"], _sources(about)), ""


def _told_compared(told: dict[str, Any]) -> str:
    sentences = ["Each within the same limits, and held against the same measure"]
    most = max(way["choices"] for way in told["ways"])
    if most > 1:
        sentences.append(f"Random is the mean of {most} choices")
    sentences += [f"{way['method']} could not be tried: {way['reason']}" for way in told["untried"]]
    return " ".join(f"{text}." for text in [*sentences, *what_it_says(told["ways"])])


def _compared(told: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """The columns and rows of what --compare found."""
    ways = told["ways"]
    columns = ["", "information E", "of this selection's", "labels covered", "mean score"]
    rows = [
        [
            f"{way['method']} (this)" if way is ways[0] else way["method"],
            told_information(way["information"]),
            "–" if way["share_of_this"] is None else f"{100 * way['share_of_this']:.1f} %",
            f"{way['labels_covered']:,.0f}",
            f"{way['mean_score']:.3g}",
        ]
        for way in ways
    ]
    return columns, rows + [[way["method"], *["–"] * 4] for way in told["untried"]]


def _sources(about: dict[str, Any]) -> list[tuple[str, ...]]:
    """The rows of the files; those beyond the first hundred together."""
    rows = [(row["file"], row["records"], row["selected"]) for row in about["sources"]]
    if rest := rows[_MOST_FILES:]:
        records, selected = (sum(row[at] for row in rest) for at in (1, 2))
        rows[_MOST_FILES:] = [(f"{len(rest):,} others", records, selected)]
    return [
        (
            file,
            f"{records:,}",
            f"{selected:,}",
            f"{100 * records / max(about['records_used'], 1):.1f} %",
            f"{100 * selected / max(about['records_selected'], 1):.1f} %",
        )
        for file, records, selected in rows
    ]


def _settings(about: dict[str, Any]) -> list[tuple[str, str]]:
    told = {name: value for name, value in about.items() if name not in _NOT_SETTINGS}
    flags = {f"--{name}": value for name, value in about["parameters"].items()}
    texts = (
        (name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        for name, value in [*told.items(), *flags.items(), *about["versions"].items()]
        if value is not None
    )
    return [(name, cut(text, _LONGEST_SETTING)) for name, text in texts]
