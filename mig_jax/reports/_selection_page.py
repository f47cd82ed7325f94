"""What `mig-jax select --report` writes: one HTML page that needs nothing else."""

from __future__ import annotations

import base64
import importlib.resources
import io
import json
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from mig_jax._version import __version__
from mig_jax.measure import LabelGraph
from mig_jax.reports import plotting
from mig_jax.reports._limits import (
    allowed_selections,
    is_limited,
    prefix_rows,
    quota_rows,
    told_limits,
)
from mig_jax.reports._selected import Selected
from mig_jax.reports._shown_records import shown_records
from mig_jax.reports._told_numbers import proven_per_cent, told_information
from mig_jax.selection import Selection, in_range, selected_information

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["selection_page"]

# They differ from run to run, or are told elsewhere on the page.
_NOT_SETTINGS = frozenset(
    "changes compare enough extended given parameters prefixes prices quotas random_choice "  # noqa: SIM905
    "resumed_after run seconds tokens versions".split()
)


def selection_page(selected: Selected) -> bytes:
    """The page, UTF-8. The same selection gives the same bytes. All texts are escaped."""
    import jinja2

    text = (
        importlib.resources.files("mig_jax.reports")
        .joinpath("_selection_page.html")
        .read_text("utf-8")
    )
    page = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(text)
    about = selected.about
    rendered = page.render(
        headline=f"{about['records_selected']:,} of {about['records_used']:,} records selected",
        proof=_proof(about),
        numbers=_numbers(about),
        limits=list(told_limits(about)),
        limits_name="Within these limits" if is_limited(about) else "Extended",
        quotas=quota_rows(about["quotas"]) if about.get("quotas") else None,
        pictures=list(_pictures(selected)),
        prefixes=prefix_rows(about["prefixes"]) if about.get("prefixes") else None,
        sources=_sources(about),
        **shown_records(selected),
        settings=_settings(about),
        version=__version__,
    )
    return rendered.encode("utf-8", "replace")


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


def _numbers(about: dict[str, Any]) -> list[tuple[str, str]]:
    """What stands in large letters, each with what it is."""
    random = about["random_choice"]
    where = "in the pool, beside those given" if about.get("given") else "in the pool"
    numbers = [
        (
            told_information(about["information"]),
            f"information E; {told_information(random['information'])} at random",
        ),
        (
            f"{about['labels_covered']:,}",
            f"of {about['labels']:,} labels covered; {random['labels_covered']:,.0f} at random",
        ),
        (f"{about['records_used']:,}", f"records {where}"),
        (f"{about['edges']:,}", "pairs of labels joined"),
    ]
    if about["certified_ratio"] is not None:
        proven = f"≥ {proven_per_cent(about['certified_ratio'])}"
        within = " within the limits" if is_limited(about) else ""
        numbers.insert(0, (proven, f"of the best possible{within}, certified"))
    if tokens := about.get("tokens"):
        most = "tokens" if tokens["budget"] is None else f"of {tokens['budget']:,} tokens"
        numbers.append((f"{tokens['used']:,}", most))
    return numbers


def _pictures(selected: Selected) -> Any:
    from matplotlib.figure import Figure

    pool, graph, measure = selected.pool, selected.graph, selected.measure
    about, names = selected.about, selected.table.label_names
    everything, picks = np.arange(pool.num_records), selected.selection.picks
    given = np.flatnonzero([] if selected.given is None else selected.given)
    chosen = "the selection and what is given" if len(given) else "the selection"
    with in_range(pool, graph, measure) as problem:
        of_pool, held = (
            np.asarray(selected_information(*problem, some), np.float64)
            for some in (everything, np.concatenate([given, picks]))
        )

    figure = Figure(figsize=(11, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    plotting.plot_gains(selected.selection.gains, ax=left)
    plotting.plot_information(
        selected.selection.increases,
        bound=about["upper_bound"],
        start=(about.get("given") or {}).get("information", 0.0),
        certified=[(row["records"], row["certified_ratio"]) for row in about.get("prefixes") or ()],
        ax=right,
    )
    yield "Pick by pick", _told_picks(about, selected.selection), _png(figure)

    shown = plotting.shown_labels(graph, of_pool)
    small, places = _part_of_graph(graph, shown)
    figure = Figure(figsize=(11, 4.8), layout="constrained")
    for ax, values, title in zip(
        figure.subplots(1, 2), (of_pool, held), ("the pool", chosen), strict=True
    ):
        share = values[shown] / (values[shown].max(initial=0.0) or 1.0)
        plotting.plot_label_graph(
            small,
            places,
            share,
            names=[names[label] for label in shown],
            sizes=of_pool[shown],
            limits=(0.0, 1.0),
            value_name="information, share of the largest",
            ax=ax,
            title=title,
        )
    yield (
        "The label graph",
        f"Each dot is a label, joined to those of similar meaning; the {len(shown):,} with the "
        "most information in the pool are drawn, larger if the pool holds more of it. A selection "
        "that covers the pool's labels evenly is coloured more evenly than the pool.",
        _png(figure),
    )

    figure = Figure(figsize=(11, 6), layout="constrained")
    plotting.plot_information_by_label(of_pool, held, names, ax=figure.subplots())
    yield (
        "Label by label",
        f"The share of all information that lies on a label, in the pool and in {chosen}.",
        _png(figure),
    )


def _told_picks(about: dict[str, Any], selection: Selection) -> str:
    """What to read in the picture of the picks."""
    if selection.rates is not None and selection.rates.has_costs:
        order = (
            "Each pick adds the record that gains most for what it takes of the limits, such as "
            "its tokens, so the gains rise and fall; what is left adds ever less for that."
        )
    elif any(about.get(name) for name in ("tokens", "quotas", "changes")):
        order = (
            "Each pick adds the record that gains most of those that the limits allow; what is "
            "left adds ever less."
        )
    else:
        order = (
            "Each pick adds the record that gains most, so the gains fall; what is left adds ever "
            "less."
        )
    bound = "" if about["upper_bound"] is None else " The dashed line is the proven bound for "
    if bound:
        bound += "these limits." if is_limited(about) else "this budget."
    return order + bound


def _part_of_graph(graph: LabelGraph, labels: np.ndarray) -> tuple[LabelGraph, np.ndarray]:
    """The graph of these labels alone, and where each stands."""
    place = np.full(graph.num_labels, -1)
    place[labels] = np.arange(len(labels))
    sources, targets = place[np.asarray(graph.sources)], place[np.asarray(graph.targets)]
    kept = (sources >= 0) & (targets >= 0)
    part = LabelGraph(
        sources[kept].astype(np.int32),
        targets[kept].astype(np.int32),
        np.asarray(graph.similarities)[kept],
        len(labels),
    )
    return part, plotting.label_graph_positions(part)


def _png(figure: Figure) -> str:
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # Of signs that the font has not.
        figure.savefig(stream, format="png", dpi=110)
    return base64.b64encode(stream.getvalue()).decode("ascii")


def _sources(about: dict[str, Any]) -> list[tuple[str, ...]]:
    return [
        (
            row["file"],
            f"{row['records']:,}",
            f"{row['selected']:,}",
            f"{row['records'] / max(about['records_used'], 1):.1%}",
            f"{row['selected'] / max(about['records_selected'], 1):.1%}",
        )
        for row in about["sources"]
    ]


def _settings(about: dict[str, Any]) -> list[tuple[str, str]]:
    told = {name: value for name, value in about.items() if name not in _NOT_SETTINGS}
    flags = {f"--{name}": value for name, value in about["parameters"].items()}
    return [
        (name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        for name, value in [*told.items(), *flags.items(), *about["versions"].items()]
        if value is not None
    ]
