"""What is told of an ablation: a table with a row a setting, and heat maps."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from mig_jax import data
from mig_jax.measure import LabelGraph, Pool, cut_edges, information
from mig_jax.reports.plotting import HeatMap, draw_heat_maps
from mig_jax.selection import Point, in_range, labels_covered, selected_information

__all__ = ["Row", "describe", "write_heat_maps", "write_tables"]


@dataclasses.dataclass(frozen=True)
class Row:
    """What is told of one setting."""

    setting: int
    family: str
    parameter: str
    value: float
    propagation: float
    threshold: float
    gain: str
    budget: int
    information: float  # E by the setting's own measure.
    information_paper: float  # E by the paper's measure: comparable between settings.
    labels_covered: int
    mean_score: float
    overlap_with_paper: float  # Jaccard index of the picks and those of the paper's setting.


def describe(
    pool: Pool,
    graph: LabelGraph,
    points: Sequence[Point],
    paper: Point,
    picks: np.ndarray,
    informations: np.ndarray,
) -> list[Row]:
    """Evaluates the picks int [n, N] of all settings.

    Args:
      pool: P records.
      graph: K labels, at the lowest threshold of the grid or the paper's.
      points: n settings, the paper's among them.
      paper: that one.
      picks: of each setting, in order.
      informations: float [n], E of each by its own measure.
    """
    measure = paper.cell().measure
    paper_graph = cut_edges(graph, paper.threshold)
    paper_picks = picks[points.index(paper)]
    scores = np.asarray(pool.scores, np.float64)
    with in_range(pool, paper_graph, measure) as problem:
        by_paper = [
            float(information(problem[2], selected_information(*problem, chosen)))
            for chosen in picks
        ]
    rows = []
    for number, (point, chosen) in enumerate(zip(points, picks, strict=True)):
        common = len(np.intersect1d(chosen, paper_picks))
        rows.append(
            Row(
                setting=number,
                family=point.family,
                parameter=point.parameter,
                value=point.value,
                propagation=point.propagation,
                threshold=point.threshold,
                gain=point.gain,
                budget=len(chosen),
                information=float(informations[number]),
                information_paper=by_paper[number],
                labels_covered=labels_covered(pool, graph, chosen, None),
                mean_score=float(scores[chosen].mean()),
                overlap_with_paper=common / (2 * len(chosen) - common),
            )
        )
    return rows


def write_tables(rows: Sequence[Row], csv: BinaryIO, parquet: BinaryIO) -> None:
    """Writes one table twice, a row a setting."""
    names = [field.name for field in dataclasses.fields(Row)]
    table = pa.table({name: [getattr(row, name) for row in rows] for name in names})
    pyarrow.csv.write_csv(table, csv)
    pyarrow.parquet.write_table(table, parquet)


def write_heat_maps(
    outputs: data.OutputFiles, stem: str, rows: Sequence[Row], paper: Row
) -> list[str]:
    """Writes STEM.FAMILY_GAIN.png for each family and gain of `rows`; returns their names.

    Panels are parameter × threshold, side by side for each α; if there is one
    threshold, parameter × α.
    """
    names = []
    for family in dict.fromkeys(row.family for row in rows):
        ours = [row for row in rows if row.family == family]
        metrics = _metrics(ours, paper)
        for gain in dict.fromkeys(row.gain for row in ours):
            name = f"{stem}.{family}_{gain}.png"
            _draw(outputs.open(name), [row for row in ours if row.gain == gain], metrics)
            names.append(name)
    return names


@dataclasses.dataclass(frozen=True)
class _Metric:
    title: str
    values: dict[int, float]  # By setting, of all gains: they share a scale.
    format: str

    @property
    def limits(self) -> tuple[float, float]:
        return min(self.values.values()), max(self.values.values())


def _metrics(rows: Sequence[Row], paper: Row) -> list[_Metric]:
    def metric(title: str, name: str, unit: float, form: str) -> _Metric:
        return _Metric(title, {row.setting: getattr(row, name) / unit for row in rows}, form)

    return [
        metric(
            "E by the paper's measure, % of the paper's setting",
            "information_paper",
            paper.information_paper / 100 or 1,
            ".2f",
        ),
        metric(
            "picks shared with the paper's setting, % (Jaccard)", "overlap_with_paper", 0.01, ".0f"
        ),
        metric("labels covered", "labels_covered", 1, ".0f"),
        metric("mean score", "mean_score", 1, ".2f"),
    ]


def _draw(stream: BinaryIO, rows: Sequence[Row], metrics: Sequence[_Metric]) -> None:
    values = sorted({row.value for row in rows})
    thresholds = sorted({row.threshold for row in rows})
    alphas = sorted({row.propagation for row in rows})
    across, beside = ("threshold", thresholds), ("α", alphas)
    if len(thresholds) == 1:
        across, beside = beside, across
    maps = []
    for metric in metrics:
        panels = {side: np.full((len(values), len(across[1])), np.nan) for side in beside[1]}
        for row in rows:
            place = {"threshold": row.threshold, "α": row.propagation}
            column = across[1].index(place[across[0]])
            panels[place[beside[0]]][values.index(row.value), column] = metric.values[row.setting]
        named = [(f"{beside[0]} = {side:g}", panel) for side, panel in panels.items()]
        maps.append(HeatMap(metric.title, named, metric.limits, metric.format))
    draw_heat_maps(
        stream,
        f"{rows[0].family}, {rows[0].gain} gain, {rows[0].budget:,} picks",
        maps,
        row_axis=(rows[0].parameter, [f"{value:g}" for value in values]),
        column_axis=(across[0], [f"{value:g}" for value in across[1]]),
    )
