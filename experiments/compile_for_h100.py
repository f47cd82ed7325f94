"""Compiles selection for an H100, without having one, and counts what the host would launch.

    pip install 'mig-jax[cuda]' && python -m experiments.compile_for_h100 --workdir=DIR

For each program and each choice of what goes into CUDA graphs: kernels, copies, graphs and how
often the host waits for the card, for each turn of each loop, and for a pick. Prints a table and
saves it as compile_for_h100.csv, a program at a time. What XLA wrote down stays in DIR with
--keep. Only sorts differ on a real card, where CUB does them in fewer kernels.
"""

from __future__ import annotations

import pathlib
import shutil
import sys
from typing import Any

from absl import flags

from experiments.benchmarks import h100
from experiments.benchmarks.csv_lines import CsvLines
from experiments.benchmarks.thunks import (
    Launches,
    Region,
    launches_of_a_turn,
    places_of,
    read_thunks,
    regions_of,
    walked,
)
from mig_jax.commands.command import Command
from mig_jax.commands.flag_values import adder
from mig_jax.commands.main import main_of
from mig_jax.errors import InputError

COLUMNS = (
    "program",
    "command_buffers",
    "part",
    "depth",
    "turns",
    "kernels",
    "copies",
    "in_graphs",
    "graphs",
    "host_waits",
    "sorts",
    "copied_bytes",
    "pages",
    "labels",
    "chunk",
    "set_pages",
    "set_rows",
    "set_width",
    "jax",
)
A_PICK, A_REFRESH = "a pick, with all in it", "a refresh, with all in it"


def read_program(folder: pathlib.Path) -> Region:
    """The program of which XLA wrote to the folder, as a tree of its loops.

    Raises:
      InputError: if XLA wrote no list of thunks there.
    """
    lists = sorted(folder.glob("*.thunk_sequence*.txt"), key=lambda path: len(path.name))
    if not lists:
        raise InputError(f"{folder}: XLA wrote no list of thunks; expected jaxlib 0.11 or newer")
    # The longer name is that of the list after the passes that make graphs, if they changed it.
    (metadata,) = folder.glob("*.thunk_metadata.txt")
    (hlo,) = folder.glob("*gpu_after_optimizations.txt")
    places = places_of(metadata.read_text(), hlo.read_text())
    return regions_of(read_thunks(lists[-1].read_text()), places)


def rows_of(region: Region, program: Any) -> list[dict[str, Any]]:
    """A row for each loop and branch, and for a pick and a refresh, if their loops are there.

    A refresh is what sorts: nothing else in selection does.
    """

    def row(part: str, depth: int, turns: float | None, launches: Launches) -> dict[str, Any]:
        told = "" if turns is None else round(turns, 2)
        numbers = {name: round(value, 2) for name, value in launches._asdict().items()}
        return {"part": part, "depth": depth, "turns": told, **numbers}

    rows = [
        row(
            f"{inner.name}, a turn" if inner.kind == "loop" else inner.name,
            depth,
            inner.turns or program.turns.get(inner.name.partition(":")[0]),
            inner.launches,
        )
        for depth, inner in walked(region)
        if inner.kind != "choice"
    ]
    for _, inner in walked(region):
        if inner.kind == "loop" and inner.name.partition(":")[0] == program.picks:
            turn = launches_of_a_turn(inner, program.turns)
            a_pick = Launches().plus(turn, 1 / program.picks_a_turn)
            rows.append(row(A_PICK, 0, None, a_pick))
        elif inner.kind == "loop" and inner.launches.sorts:
            rows.append(row(A_REFRESH, 0, None, launches_of_a_turn(inner, program.turns)))
    return rows


def _define_flags(values: flags.FlagValues) -> None:
    from experiments.benchmarks.programs import PROGRAMS

    add = adder(values)
    add(flags.DEFINE_string, "workdir", None, "Where compile_for_h100.csv goes.")
    programs = f"Of {', '.join(PROGRAMS)}."
    add(flags.DEFINE_list, "programs", list(PROGRAMS), programs)
    add(flags.DEFINE_integer, "pages", 18_437, "Pages of the pool.", lower_bound=1)
    add(flags.DEFINE_integer, "labels", 4_531, "Labels of the pool.", lower_bound=1)
    add(flags.DEFINE_integer, "chunk", 1_024, "Picks of a call.", lower_bound=1)
    add(flags.DEFINE_integer, "set_pages", 1_024, "Pages read for a working set.", lower_bound=1)
    add(flags.DEFINE_integer, "set_rows", 1_024, "Records of a working set.", lower_bound=1)
    width = "Slots of a record in a working set, a power of two."
    add(flags.DEFINE_integer, "set_width", 128, width, lower_bound=1)
    add(flags.DEFINE_bool, "keep", False, "Keep what XLA writes down of the programs.")


def _run(values: flags.FlagValues) -> None:
    h100.start()
    import jax

    from experiments.benchmarks.programs import PROGRAMS, Sizes

    if unknown := [name for name in values.programs if name not in PROGRAMS]:
        raise InputError(f"--programs: {unknown[0]}: expected of {', '.join(PROGRAMS)}")
    workdir = pathlib.Path(values.workdir)
    sizes = Sizes(*(getattr(values, name) for name in Sizes._fields))
    lines = CsvLines(workdir / "compile_for_h100.csv", COLUMNS)
    for name in values.programs:
        program = PROGRAMS[name]
        lowered = program.lower(sizes, h100.on_h100)
        for buffers in h100.COMMAND_BUFFERS:
            folder = workdir / f"compiled, {name}, {buffers}".replace(", ", "-").replace(" ", "_")
            shutil.rmtree(folder, ignore_errors=True)
            memory = h100.compiled_to(folder, lowered, buffers).memory_analysis()
            print(
                f"{name}, command buffers: {buffers}; {memory.argument_size_in_bytes / 1e6:.1f} MB "
                f"of arguments, {memory.temp_size_in_bytes / 1e6:.1f} MB beside them"
            )
            _tell_head()
            about = {**sizes._asdict(), "jax": jax.__version__}
            for row in rows_of(read_program(folder), program):
                lines.add({"program": name, "command_buffers": buffers, **row, **about})
                _tell(row)
            if not values.keep:
                shutil.rmtree(folder)
    print(f"saved {lines.path}")


_NUMBERS = ("turns", *Launches._fields)


def _tell_head() -> None:
    print(f"  {'':<44}" + "".join(f"{name.replace('_', ' '):>13}" for name in _NUMBERS))


def _tell(row: dict[str, Any]) -> None:
    part = "  " * row["depth"] + row["part"]
    print(f"  {part:<44}" + "".join(f"{row[name]:>13}" for name in _NUMBERS))


COMMAND = Command(
    name="compile_for_h100",
    summary="selection compiled for an H100, and what it launches",
    define_flags=_define_flags,
    run=_run,
    required=("workdir",),
)

if __name__ == "__main__":
    sys.exit(main_of(COMMAND, sys.argv[1:], called="compile_for_h100"))
