"""What the report of learning says, in Markdown and on the terminal."""

from __future__ import annotations

import importlib.resources
import shlex
from collections.abc import Sequence
from typing import Any

import numpy as np

from mig_jax.reports._learned_in_words import moved
from mig_jax.reports._learning_plots import LabelChanges
from mig_jax.reports._learning_report import (
    LearningReport,
    PastRunsReport,
    label_changes,
    most_changed,
    quantiles,
    shared_parameters,
)
from mig_jax.reports._markdown import cell, counted, interval, markdown_table, number, or_infinite
from mig_jax.reports._told_numbers import proven_per_cent

__all__ = ["comparison_lines", "report_text"]

_SHARED = {
    "propagation": "propagation α between joined labels",
    "threshold": "similarity threshold T of an edge",
    "score_exponent": "score exponent β: a record brings (its score / the mean)^β",
}


def report_text(report: LearningReport, folder: str) -> str:
    """What report.md says, in Markdown; pictures are named by their file beside it.

    Args:
      report: what to tell.
      folder: where the report stands, to be named in commands.
    """
    import jinja2

    template = importlib.resources.files("mig_jax.reports").joinpath("_learning_page.md")
    page = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    ).from_string(template.read_text("utf-8"))
    changes = label_changes(report)
    before, after = set(np.asarray(report.picks_before)), set(np.asarray(report.picks_after))
    return page.render(
        cell=cell,
        counted=counted,
        table=markdown_table,
        report=report,
        labels=len(changes.names),
        records=len(after),
        steps=report.history[-1].step if report.history else 0,
        comparison=_comparison(report.comparison),
        parts=_parts(report.comparison),
        moved=moved(report, changes),
        budgets=", ".join(f"{budget:,}" for budget in report.budgets),
        past_runs=_past_runs(report.past_runs),
        losses=_losses(report),
        shared=_shared(report),
        quantiles=list(quantiles(changes.shape_after)),
        spread=_spread(changes),
        shape=changes.shape,
        changed=_changed(changes),
        in_common=len(before & after),
        covered_before=np.count_nonzero(changes.picks_before),
        covered_after=np.count_nonzero(changes.picks_after),
        labels_of_pool=np.count_nonzero(changes.records),
        selected=_selected(report.selected, folder),
        settings=_settings(report.settings),
    )


def comparison_lines(rows: list[dict[str, Any]], loss: str, notes: Sequence[str] = ()) -> str:
    """The comparison as the command prints it, the best first, and notes to it."""
    width = max([10, *(len(row["method"]) for row in rows)])
    columns = f"{'test loss':>10}   {'95 % interval':<20} {'seconds':>8}   settings"
    lines = [f"test loss: {loss}; lower is better", f"  {'method':<{width}} {columns}"]
    for row in _best_first(rows):
        between = f"{row['low']:.4f} to {row['high']:.4f}"
        lines.append(
            f"  {row['method']:<{width}} {row['test_loss']:>10.4f}   {between:<20} "
            f"{row['seconds']:>8.1f}   {row['detail']}".rstrip()
        )
    return "\n".join([*lines, *(f"  {note}" for note in notes)])


def _best_first(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: or_infinite(row.get("test_loss")))


def _comparison(rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The table of all methods, and how what was learned stands to the others."""
    rows = _best_first([row for row in rows if not row.get("is_part")])
    if not rows:
        return None
    return {**_table_of_methods(rows), "verdict": _verdict(rows)}


def _parts(rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The table of what is learned with less freedom, beside all of it."""
    if not any(row.get("is_part") for row in rows):
        return None
    return _table_of_methods(
        _best_first([row for row in rows if row.get("is_part") or row["method"] == "learned"])
    )


def _table_of_methods(rows: list[dict[str, Any]]) -> dict[str, Any]:
    paired = any("over_learned" in row for row in rows)
    detailed = any(row.get("detail") for row in rows)
    header = ["method", "test loss", "95 % interval"]
    header += ["more than learned"] * paired + ["seconds"] + ["settings"] * detailed
    lines = []
    for row in rows:
        line = [cell(row["method"]), number(row["test_loss"]), interval(row, "low", "high")]
        if paired:
            gap = number(row.get("over_learned"), sign=True)
            between = interval(row, "over_learned_low", "over_learned_high", sign=True)
            line.append("" if row["method"] == "learned" else f"{gap} ({between})")
        lines.append([*line, f"{row['seconds']:.1f}", *[cell(row.get("detail", ""))] * detailed])
    numeric = range(1, len(header) - detailed)
    return {"header": header, "rows": lines, "numeric": numeric, "paired": paired}


def _verdict(rows: list[dict[str, Any]]) -> str:
    """How what was learned stands to the best of the others; `rows` are best first."""
    others = [row for row in rows if row["method"] != "learned"]
    own = [row for row in rows if row["method"] == "learned"]
    if not own or not others:
        return f"Best: **{cell(rows[0]['method'])}**."
    best = others[0]
    low, high = (best.get(f"over_learned_{end}") for end in ("low", "high"))
    by = "the interval of the difference"
    if low is None or high is None:
        # Without the paired difference only intervals that do not overlap show one.
        low, high = best["low"] - own[0]["high"], best["high"] - own[0]["low"]
        by = "what the two intervals leave possible"
    text = f"Against the best other method, {cell(best['method'])}, what was learned is "
    if low > 0:
        return f"**{text}better**: {by} is clear of zero."
    if high < 0:
        return f"**{text}worse**: {by} is clear of zero."
    return f"**{text}neither better nor worse** beyond chance: {by} holds zero."


def _past_runs(runs: PastRunsReport | None) -> dict[str, Any] | None:
    if runs is None:
        return None
    return {
        "rows": [
            [name + (" (kept)" if name == runs.kept else ""), f"{value:+.2f}"]
            for name, value in runs.correlations.items()
        ],
        "runs": runs.runs,
        "chance": f"{runs.chance:.2f}",
    }


def _losses(report: LearningReport) -> list[list[str]]:
    """The losses at the start, of what is kept, and at the end."""
    if not report.history:
        return []
    best = min(report.history, key=lambda e: abs(e.step - report.best_step))
    told = (("start", report.history[0]), ("kept", best), ("end", report.history[-1]))
    return [[name, str(e.step), number(e.fitted), number(e.held_out)] for name, e in told]


def _shared(report: LearningReport) -> list[list[str]]:
    before, after = shared_parameters(report.before), shared_parameters(report.after)
    return [[text, number(before[name]), number(after[name])] for name, text in _SHARED.items()]


def _spread(changes: LabelChanges) -> list[list[str]]:
    return [
        [f"{name}, {when}", *map(number, quantiles(values).values())]
        for name, when, values in (
            (changes.shape, "before", changes.shape_before),
            (changes.shape, "after", changes.shape_after),
            ("weight", "before", changes.weight_before),
            ("weight", "after", changes.weight_after),
        )
    ]


def _changed(changes: LabelChanges) -> list[list[str]]:
    """The labels that changed most, before and after."""
    return [
        [
            cell(changes.names[label]),
            f"{changes.records[label]:,}",
            f"{changes.shape_before[label]:.3f} → {changes.shape_after[label]:.3f}",
            f"{changes.weight_before[label]:.3f} → {changes.weight_after[label]:.3f}",
            f"{changes.picks_before[label]:,} → {changes.picks_after[label]:,}",
        ]
        for label in most_changed(changes)
    ]


def _selected(about: dict[str, Any] | None, folder: str) -> dict[str, Any] | None:
    """What is told of the files of the selection, from its manifest."""
    if about is None:
        return None
    budget = about["budget"]
    files = {
        "selected.jsonl": f"the {budget:,} records selected, as they came, best first",
        "selected.selection.parquet": "a row a record selected: where it stands in the pool, "
        "what it gained, what the selection held by then",
        "selected.manifest.json": "how it was selected, and how good it is proven to be",
        "params": "the learned parameters",
        "report.json": "all numbers of this report",
    }
    return {
        "file": next(iter(files)),
        "files": [[f"[{name}]({name})", text] for name, text in files.items()],
        "information": f"{about['information']:,.1f}",
        "random": f"{about['random_choice']['information']:,.1f}",
        "certified": "at least " + proven_per_cent(about["certified_ratio"]),
        "command": _select_again(about, folder),
    }


def _select_again(about: dict[str, Any], folder: str) -> str:
    """A command that selects with the parameters."""
    given = about["parameters"]
    pool, embeddings, made = given["pool"], given["label_embeddings"], ""
    if not pool:
        # The commands know one built-in pool by this word; that of another seed is made first.
        pool = ["builtin"]
        if seed := given.get("seed"):
            pool, embeddings = ["pool.jsonl"], "labels.npz"
            made = f"mig-jax make_pool --records=20000 --seed={seed} --output={pool[0]} "
            made += f"--label_embeddings={embeddings} && "
    words = ["mig-jax", "select", f"--params={folder}/params", *(f"--pool={path}" for path in pool)]
    if embeddings is not None:
        words.append(f"--label_embeddings={embeddings}")
    words += [f"--budget={about['budget']}", "--output=selected.jsonl"]
    return made + " ".join(map(shlex.quote, words))


def _settings(settings: dict[str, Any]) -> list[list[str]]:
    """The settings that were given a value."""
    return [
        [cell(name), cell(", ".join(map(str, value)) if isinstance(value, list) else value)]
        for name, value in sorted(settings.items())
        # The rest, as the cells of the grid, is in report.json.
        if value not in (None, [])
        and not isinstance(value, dict)
        and not (isinstance(value, list) and isinstance(value[0], dict))
    ]
