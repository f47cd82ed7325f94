"""`mig-jax ablate`: selections for every combination of hyperparameters, and how they compare.

    mig-jax ablate --workdir=DIR [--pool=FILE --label_embeddings=EMB.npz ...]

The paper's own settings are one cell, added if the grid does not have them: all
others are compared with it. The same command in the same directory goes on
where it was stopped. docs/guides/ablate.md tells what is written.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from mig_jax import data
from mig_jax._version import __version__
from mig_jax.commands.command import Command
from mig_jax.commands.family_flags import check_family
from mig_jax.commands.flag_groups import (
    LARGEST_PARAMETER,
    SMALLEST_EXPONENT,
    SMALLEST_RATE,
    InputOptions,
    check_input_flags,
    define_input_flags,
)
from mig_jax.commands.flag_sections import Section
from mig_jax.commands.flag_values import Folder, ThresholdParser, adder
from mig_jax.commands.pool_inputs import (
    check_budget,
    check_worth,
    join_labels,
    label_embeddings,
    read_table,
    say_read,
)
from mig_jax.commands.selection_steps import check_information
from mig_jax.commands.terminal import progress_bar, say, tell
from mig_jax.commands.timing import timed
from mig_jax.commands.workdir import held_workdir
from mig_jax.errors import InputError
from mig_jax.measure import (
    FAMILIES,
    GAIN_RULES,
    PAPER,
    USUAL_NEIGHBOURS,
    LabelGraph,
    Pool,
    pool_from_table,
    threshold_of_neighbours,
)
from mig_jax.reports import Row, describe, told_information, write_heat_maps, write_tables
from mig_jax.runs import RunArrays
from mig_jax.selection import (
    CellSelection,
    PageLayout,
    Point,
    grid_points,
    input_fingerprint,
    lay_out_grid,
    paper_point,
    select_grid,
    stack_cells,
)

__all__ = ["COMMAND", "Options", "run"]

_BUILTIN_THRESHOLDS = ["0.8", "0.9"]
_CELLS_A_CALL = 8  # On a CPU: a call is as much as a kill can lose.


@dataclasses.dataclass(frozen=True)
class Options(InputOptions):
    """The flags of the command; `--help` explains each."""

    workdir: str
    budget: int
    families: list[str]
    exponents: list[float]
    rates: list[float]
    propagations: list[float]
    thresholds: list[Any]  # Numbers, or "auto" until the labels are read.
    gains: list[str]
    paper_threshold: Any
    batch_size: int | None
    heat_maps: bool

    def at_usual(self, threshold: Callable[[], float]) -> Options:
        """With this threshold in the place of "auto"."""
        if "auto" not in (*self.thresholds, self.paper_threshold):
            return self
        usual = threshold()
        numbers = [usual if at == "auto" else at for at in (*self.thresholds, self.paper_threshold)]
        *thresholds, paper = numbers
        thresholds = list(dict.fromkeys(thresholds))
        return dataclasses.replace(self, thresholds=thresholds, paper_threshold=paper)

    def points(self) -> list[Point]:
        """All cells; the paper's stands first if the grid has it not."""
        points = self.grid()
        paper = paper_point(self.paper_threshold)
        return points if paper in points else [paper, *points]

    def grid(self) -> list[Point]:
        return grid_points(
            self.families,
            {"exponent": self.exponents, "rate": self.rates},
            self.propagations,
            self.thresholds,
            self.gains,
        )


def run(options: Options) -> None:
    """Selects for all cells, evaluates and writes.

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
            table = read_table(options, outputs, stem)
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
            graph, _ = join_labels(embeddings, table, lowest, flags=words)
        say(f"{len(points)} settings are compared: the same budget selected by each")
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
            "cells": len(points),
            "resumed_cells": resumed,
            "seconds": seconds,
            "seconds_of_cells": [float(cells[number]["seconds"]) for number in range(len(points))],
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
    options: Options,
    finished: RunArrays,
    pool: Pool,
    graph: LabelGraph,
    points: Sequence[Point],
) -> tuple[dict[int, dict[str, np.ndarray]], int]:
    """What all cells select, by their numbers, and how many of them were finished before."""
    names = [field.name for field in dataclasses.fields(CellSelection)]
    cells = finished.restore(
        range(len(points)),
        [*names, "seconds"],
        on_damaged=lambda number: say(f"cell {number} was damaged: it is selected again"),
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
    options: Options,
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
    tried = {row.threshold for row in rows if row.cell != paper.cell}
    apart = f"  the paper's cell, {paper.cell}, has a threshold that the grid has not: "
    return "\n".join(
        [
            f"{len(rows)} cells of {paper.budget:,} picks -> {stem}.csv",
            f"  most by the paper's measure: cell {best.cell}, {best.family} with {best.parameter} "
            f"{best.value:g}, α {best.propagation:g}, threshold {best.threshold:g}, {best.gain} "
            f"gain: E {told_information(best.information_paper)}, {gained:+.2f} % of the "
            "paper's cell",
            *([] if paper.threshold in tried else [f"{apart}{paper.threshold:g}"]),
        ]
    )


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
_NUMBERS: dict[str, tuple[Callable[[float], bool], str]] = {
    "exponents": (
        lambda x: SMALLEST_EXPONENT <= x <= 1,
        f"of at least {SMALLEST_EXPONENT:g} and at most 1",
    ),
    "rates": (
        lambda x: SMALLEST_RATE <= x <= LARGEST_PARAMETER,
        f"of at least {SMALLEST_RATE:g} and at most {LARGEST_PARAMETER:g}",
    ),
    "propagations": (
        lambda x: 0 <= x <= LARGEST_PARAMETER,
        f"of at least 0 and at most {LARGEST_PARAMETER:g}",
    ),
    "thresholds": (lambda x: 0 < x <= 1, "above 0 and up to 1, or auto"),
}


def _define_flags(values: flags.FlagValues) -> None:
    add = adder(values)
    grid = add.under(Section.GRID)
    define_input_flags(add)
    add(Folder, "workdir", None, "Directory of this grid, for all that is written.")
    add(flags.DEFINE_integer, "budget", 500, "Records that each cell selects.", lower_bound=1)
    families = ", ".join(FAMILIES)
    add(flags.DEFINE_list, "families", ["power", "log"], f"Score functions: {families}.")
    add(flags.DEFINE_list, "exponents", ["0.2", "0.5", "0.8", "0.95"], "Of the power function.")
    add(flags.DEFINE_list, "rates", ["0.01", "0.03", "0.1", "0.3"], "Of all other families.")
    add(flags.DEFINE_list, "propagations", ["0.5", "1"], "Alpha of the paper.")
    add(
        flags.DEFINE_list,
        "thresholds",
        None,
        "Labels whose embeddings are this similar (cosine) are joined; auto takes the threshold at "
        f"which they have {USUAL_NEIGHBOURS:g} neighbours in the mean, the default with --pool; "
        f"{','.join(_BUILTIN_THRESHOLDS)} on the built-in pool.",
    )
    add(flags.DEFINE_list, "gains", ["exact", "linear"], "What picks maximise: exact, linear.")
    grid(
        ThresholdParser,
        "paper_threshold",
        None,
        "Threshold of the paper's cell, with which all others are compared: a number, or auto, the "
        f"default with --pool; {PAPER.threshold:g} on the built-in pool.",
    )
    grid(
        flags.DEFINE_integer,
        "batch_size",
        None,
        "Cells that go through vmap together; by default one on a CPU and all on an accelerator. "
        "Never changes what is picked.",
        lower_bound=1,
    )
    grid(flags.DEFINE_boolean, "heat_maps", True, "Draw heat maps.")


def _options(values: flags.FlagValues) -> Options:
    check_input_flags(values)
    given = values.flag_values_dict()
    if given["thresholds"] is None:
        given["thresholds"] = ["auto"] if values.pool else _BUILTIN_THRESHOLDS
    if given["paper_threshold"] is None:
        given["paper_threshold"] = "auto" if values.pool else PAPER.threshold
    for name, (accepts, expected) in _NUMBERS.items():
        given[name] = [
            text
            if (name, text) == ("thresholds", "auto")
            else _number(name, text, accepts, expected)
            for text in given[name]
        ]
    for name, known in (("families", FAMILIES), ("gains", GAIN_RULES)):
        for word in given[name]:
            if word not in known:
                raise InputError(f"--{name}: found {word}, expected some of {', '.join(known)}")
    for flag, parameter in (("exponents", "exponent"), ("rates", "rate")):
        if values[flag].present:
            check_family(flag, parameter, "families", values.families)
    for name in (*_NUMBERS, "families", "gains"):
        twice = [value for value in given[name] if given[name].count(value) > 1]
        if twice:
            raise InputError(f"--{name}: {twice[0]} is given twice")
    return Options(**given)


def _number(name: str, text: Any, accepts: Callable[[float], bool], expected: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or not accepts(number):
        raise InputError(f"--{name}: found {text}, expected numbers {expected}")
    return number


COMMAND = Command(
    name="ablate",
    define_flags=_define_flags,
    run=lambda values: run(_options(values)),
    required=("workdir",),
    interrupted="the same command goes on from here",
    examples=("pool.jsonl --label_embeddings=labels.npz --budget=2k --workdir=grid",),
)
