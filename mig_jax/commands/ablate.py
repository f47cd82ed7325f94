"""`mig-jax ablate`: selections for every combination of hyperparameters, and how they compare.

    mig-jax ablate --workdir=DIR [--pool=FILE --label_embeddings=EMB.npz ...]

The paper's own setting is added if the grid does not have it: all others
are compared with it. The same command in the same directory goes on
where it was stopped. docs/guides/ablate.md tells what is written.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import time
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from mig_jax import data
from mig_jax._version import __version__
from mig_jax.commands.ablate_options import AblateOptions, ablate_options, define_ablate_flags
from mig_jax.commands.command import Command
from mig_jax.commands.pool_inputs import (
    check_budget,
    check_worth,
    join_labels,
    label_embeddings,
    read_table,
    say_read,
)
from mig_jax.commands.selection_steps import check_information
from mig_jax.commands.terminal import listed, progress_bar, say, tell
from mig_jax.commands.timing import timed
from mig_jax.commands.workdir import held_workdir
from mig_jax.measure import (
    GAIN_RULES,
    PAPER,
    USUAL_NEIGHBOURS,
    LabelGraph,
    Pool,
    pool_from_table,
    threshold_of_neighbours,
)
from mig_jax.reports import Row, counted, describe, told_information, write_heat_maps, write_tables
from mig_jax.runs import RunArrays
from mig_jax.selection import (
    CellSelection,
    PageLayout,
    Point,
    input_fingerprint,
    lay_out_grid,
    paper_point,
    select_grid,
    stack_cells,
)

__all__ = ["COMMAND", "run"]

_CELLS_A_CALL = 8  # On a CPU: a call is as much as a kill can lose.

# What decides the picks of each setting.
_GRID_FLAGS = (
    "budget",
    "families",
    "exponents",
    "rates",
    "propagations",
    "thresholds",
    "gains",
    "paper_threshold",
)


def run(options: AblateOptions) -> None:
    """Selects by all settings, evaluates and writes.

    Raises:
      InputError: for anything given that cannot be used.
    """
    seconds: dict[str, float] = {}
    with (
        held_workdir(options.workdir, "ablate") as workdir,
        data.OutputFiles(options.files()) as outputs,
    ):
        stem = str(workdir / "ablation")
        maps = [f"{family}_{gain}.png" for family in options.families for gain in options.gains]
        endings = ["csv", "parquet", "picks.npz", "manifest.json", *maps * options.heat_maps]
        outputs.claim(*(f"{stem}.{ending}" for ending in endings))
        with timed(seconds, "reading"):
            check = functools.partial(check_budget, options.budget)
            table = read_table(options, outputs, stem, check=check)
            pool = pool_from_table(table)
        say_read(table)
        check_budget(options.budget, table.num_records)
        check_worth(table)
        with timed(seconds, "graph"):
            words = "--thresholds={0:g},0.8 --paper_threshold={0:g}"
            embeddings = label_embeddings(options, table)
            options = options.at_usual(lambda: _usual_threshold(embeddings))
            points, paper = options.points(), paper_point(options.paper_threshold)
            lowest = min(point.threshold for point in points)
            graph, _ = join_labels(embeddings, table, lowest, remedy=words)
        families = collections.Counter(point.family for point in points)
        of = listed([f"{count} of {family}" for family, count in families.items()])
        sets = f" ({of}; --families sets which)" if len(families) > 1 else ""
        say(f"{counted(len(points), 'setting')} compared{sets}: the same budget selected by each")
        grid = {name: getattr(options, name) for name in _GRID_FLAGS}
        run = {**input_fingerprint(pool, graph), **grid}
        with timed(seconds, "selection"), RunArrays(workdir / "cells", "cells", run) as finished:
            cells, resumed = _select(options, finished, pool, graph, points)
        picks = np.stack([cells[number]["picks"] for number in range(len(points))])
        own = np.array([cells[number]["information"] for number in range(len(points))])
        increases = np.stack([cells[number]["increases"] for number in range(len(points))])
        check_information(own, increases)
        with timed(seconds, "evaluation"), progress_bar("comparing", None, leave=False):
            rows = describe(pool, graph, points, paper, picks, own)
        with timed(seconds, "writing"), progress_bar("drawing and writing", None, leave=False):
            write_tables(rows, outputs.open(f"{stem}.csv"), outputs.open(f"{stem}.parquet"))
            gains = np.stack([cells[number]["gains"] for number in range(len(points))])
            np.savez_compressed(outputs.open(f"{stem}.picks.npz"), picks=picks, gains=gains)
            if options.heat_maps:
                of_grid = set(options.grid())
                shown = [row for row, point in zip(rows, points, strict=True) if point in of_grid]
                write_heat_maps(outputs, stem, shown, rows[points.index(paper)])
        manifest = {
            "parameters": dataclasses.asdict(options),
            "records": table.num_records,
            "labels": table.num_labels,
            "edges": graph.num_edges,
            "settings": len(points),
            "resumed_settings": resumed,
            "seconds": seconds,
            "seconds_of_settings": [float(cells[n]["seconds"]) for n in range(len(points))],
            "versions": {"mig_jax": __version__, "jax": jax.__version__},
            "device": jax.devices()[0].device_kind,
        }
        about_all = outputs.open_manifest(f"{stem}.manifest.json", f"{stem}.csv")
        outputs.write_manifest(about_all, manifest, f"{stem}.csv")
    tell(_summary(rows, rows[points.index(paper)], stem))


def _usual_threshold(embeddings: tuple[np.ndarray, np.ndarray | None] | None) -> float:
    if embeddings is None:
        return PAPER.threshold  # Nothing is joined at any.
    vectors, present = embeddings
    usual = threshold_of_neighbours(vectors, present=present)
    say(
        f"labels have {USUAL_NEIGHBOURS:g} neighbours in the mean at similarity {usual:g}: auto of "
        "--thresholds and --paper_threshold"
    )
    return usual


def _select(
    options: AblateOptions,
    finished: RunArrays,
    pool: Pool,
    graph: LabelGraph,
    points: Sequence[Point],
) -> tuple[dict[int, dict[str, np.ndarray]], int]:
    """What all settings select, by their numbers, and how many of them were finished before."""
    names = [field.name for field in dataclasses.fields(CellSelection)]
    cells = finished.restore(
        range(len(points)),
        [*names, "seconds"],
        on_damaged=lambda number: say(f"setting {number} was damaged: it is selected again"),
    )
    resumed = len(cells)
    if resumed:
        say(f"{resumed} of {len(points)} settings are finished already")
    if resumed == len(points):
        return cells, resumed
    # Some cell in the middle decides which pages are read first; picks do not depend on it.
    layout = lay_out_grid(pool, graph, points[len(points) // 2].cell(), options.budget)
    pool, graph = jax.tree_util.tree_map(jnp.asarray, (pool, graph))
    name = f"selecting {options.budget:,} records by each setting"
    with progress_bar(name, len(points), unit="settings", initial=resumed) as bar:
        for call in _calls(points, set(cells)):
            new = _select_together(options, pool, graph, layout, points, call)
            for number, arrays in new.items():
                finished.save(number, arrays)
            cells |= new
            bar.update(len(new))
    return cells, resumed


def _calls(points: Sequence[Point], finished: set[int]) -> list[list[int]]:
    """The cells left, by what one compiled call selects: cells of one family and gain.

    All lists of a family have the same length, so that it is compiled once: if
    cells run out, the last is repeated.
    """
    calls = []
    at_once = _CELLS_A_CALL if jax.default_backend() == "cpu" else len(points)
    for family in dict.fromkeys(point.family for point in points):
        groups: dict[str, list[int]] = {}
        for number, point in enumerate(points):
            if point.family == family:
                groups.setdefault(point.gain, []).append(number)
        most = max(map(len, groups.values()))
        length = -(-most // -(-most // at_once))  # No call is much emptier than another.
        for group in groups.values():
            left = [number for number in group if number not in finished]
            for start in range(0, len(left), length):
                call = left[start : start + length]
                calls.append(call + call[-1:] * (length - len(call)))
    return calls


def _select_together(
    options: AblateOptions,
    pool: Pool,
    graph: LabelGraph,
    layout: PageLayout,
    points: Sequence[Point],
    call: list[int],
) -> dict[int, dict[str, np.ndarray]]:
    """What each cell of one call selects, by its number."""
    start = time.perf_counter()
    result = select_grid(
        pool,
        graph,
        stack_cells([points[number].cell() for number in call]),
        options.budget,
        gain=GAIN_RULES[points[call[0]].gain],
        layout=layout,
        batch_size=options.batch_size,
    )
    arrays = {name: np.asarray(array) for name, array in vars(result).items()}
    arrays["seconds"] = np.full(len(call), (time.perf_counter() - start) / len(set(call)))
    return {
        number: {name: array[place] for name, array in arrays.items()}
        for place, number in enumerate(call)
    }


def _summary(rows: Sequence[Row], paper: Row, stem: str) -> str:
    best = max(rows, key=lambda row: row.information_paper)
    gained = 100 * (best.information_paper / paper.information_paper - 1)
    tried = {row.threshold for row in rows if row.setting != paper.setting}
    apart = f"  the paper's setting, {paper.setting}, has a threshold that the grid has not: "
    return "\n".join(
        [
            f"{len(rows)} settings, {paper.budget:,} picks each -> {stem}.csv",
            f"  most by the paper's measure: setting {best.setting}, {best.family} with "
            f"{best.parameter} {best.value:g}, α {best.propagation:g}, threshold "
            f"{best.threshold:g}, {best.gain} gain: E {told_information(best.information_paper)}, "
            f"{gained:+.2f} % of the paper's setting",
            *([] if paper.threshold in tried else [f"{apart}{paper.threshold:g}"]),
            "  this E is by one measure, the paper's, whatever a setting picks by; E by each one's "
            "own (column information) cannot be compared",
            "  it favours settings near the paper's, and does not tell which trains the better "
            "model: train on two or three that differ",
        ]
    )


COMMAND = Command(
    name="ablate",
    define_flags=define_ablate_flags,
    run=lambda values: run(ablate_options(values)),
    required=("workdir",),
    interrupted="the same command goes on from here",
    examples=("pool.jsonl --label_embeddings=labels.npz --budget=2k --workdir=grid",),
)
