"""Selections of one pool, judged by networks on test records, against each other and random draws.

    python -m experiments.judge_selections --workdir=DIR --pool=POOL --test=TEST.jsonl \
        --selection=given=a.jsonl --selection=discovered=b.jsonl [--budgets=500,2000,5000]

A selection is what `mig-jax select` wrote, with a name. Its first records are judged at each
budget. The pool that it was selected from may be another file than --pool, as long as it has the
same records on the same lines: with other labels and scores, say, or with none. Records of TEST
have a `task`; a loss is in nats a token, its mean over tasks. Differences are told to the selection
named first and to random draws, each with a 95 % interval: over test records (bootstrap within
tasks), of what is the mean over --seeds for random draws. With --flag=FIELD the share of selected
records is told of which a field of the pool is true. Each judgement is kept in DIR: the same
command goes on.
"""

from __future__ import annotations

import csv
import dataclasses
import pathlib
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from absl import flags

from mig_jax import data
from mig_jax.commands.command import Command, main_of
from mig_jax.commands.flag_groups import TableOptions, check_table_flags, define_table_flags
from mig_jax.commands.flag_values import adder
from mig_jax.commands.pool_inputs import read_table, say_read
from mig_jax.commands.terminal import progress_bar, tell
from mig_jax.commands.workdir import held_workdir
from mig_jax.errors import InputError
from mig_jax.learning import Judges, bootstrap, conversation_bags

_RANDOM = "random"


@dataclasses.dataclass(frozen=True)
class Options(TableOptions):
    """The flags of the program; `--help` explains each."""

    workdir: str
    test: str
    selection: list[str]
    budgets: list[int]
    seeds: int
    flag: str | None


def run(options: Options) -> None:
    """Judges what is not yet judged, and writes the table of all.

    Raises:
      InputError: for anything given that cannot be used.
    """
    with held_workdir(options.workdir, "judge_selections") as folder:
        with data.OutputFiles(options.files()) as outputs:
            table = read_table(options, outputs, str(folder / "judge_selections"))
        say_read(table)
        picks = {name: _picks(table, path) for name, path in _named(options.selection)}
        drawn = [
            np.random.default_rng([7, seed]).permutation(table.num_records)
            for seed in range(options.seeds)
        ]
        orders = {**{name: [order] for name, order in picks.items()}, _RANDOM: drawn}
        most = min(map(len, picks.values()))
        if most < max(options.budgets):
            raise InputError(
                f"--budgets: found {max(options.budgets)}, and a selection has {most:,} records; "
                "expected no more"
            )
        test = data.read_validation(options.test)
        judges = Judges(
            conversation_bags(data.read_texts(table, fields=options.fields)),
            conversation_bags(test.conversations),
        )
        losses: dict[tuple[str, int], np.ndarray] = {}
        work = [
            (budget, name, number, order)
            for budget in options.budgets
            for name, of_name in orders.items()
            for number, order in enumerate(of_name)
        ]
        with progress_bar("judging", len(work), unit="selections") as bar:
            for budget, name, number, order in work:
                found = _judged(folder, judges, f"{name}_{number}_{budget}", order[:budget])
                losses[name, budget] = losses.get((name, budget), 0) + found / len(orders[name])
                bar.update()
        flagged = None if options.flag is None else _flagged(table, options.flag)
        rows = list(_rows(options.budgets, orders, losses, test.groups, flagged))
        with (folder / "rows.csv").open("w", newline="") as stream:
            writer = csv.DictWriter(stream, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    for row in rows:
        tell("  ".join(f"{v:.4f}" if isinstance(v, float) else f"{v}" for v in row.values()))


def _named(selections: list[str]) -> Iterator[tuple[str, str]]:
    for text in selections:
        name, equals, path = text.partition("=")
        if not equals or not name.isidentifier() or name == _RANDOM or not path:
            raise InputError(f"--selection: found {text}, expected NAME=FILE, NAME not {_RANDOM}")
        yield name, path


def _picks(table: data.RecordTable, path: str) -> np.ndarray:
    """The records of a selection in order, as rows of the table, by their lines."""
    found = data.read_selection(path)
    line = found.line[found.ranks > 0]
    if len(table.files) != 1 or len(found.files()) != 1:
        raise InputError(f"{path}: has records of several files; expected one, as --pool is")
    rows = np.minimum(np.searchsorted(table.line, line), table.num_records - 1)
    if not np.array_equal(table.line[rows], line):
        raise InputError(f"{path}: has lines that --pool has no record on; expected the same lines")
    return rows


def _judged(folder: pathlib.Path, judges: Judges, name: str, picks: np.ndarray) -> np.ndarray:
    """The loss of each test record; from the folder, if these picks were judged before."""
    path = folder / f"{name}.npz"
    if path.exists():
        kept = np.load(path)
        if np.array_equal(kept["picks"], picks):
            return kept["losses"]
    losses = judges.losses(picks)
    part = path.with_suffix(".part.npz")
    np.savez(part, picks=picks, losses=losses)
    part.replace(path)
    return losses


def _flagged(table: data.RecordTable, field: str) -> np.ndarray:
    """Of which records a field is true: bool [P]."""
    found = (data.parse_record(text).get(field) for text in data.each_record(table))
    return np.array([one is True for one in found])


def _rows(
    budgets: list[int],
    orders: dict[str, list[np.ndarray]],
    losses: dict[tuple[str, int], np.ndarray],
    groups: np.ndarray,
    flagged: np.ndarray | None,
) -> Iterator[dict[str, Any]]:
    first = next(iter(orders))
    for budget in budgets:
        for name, of_name in orders.items():
            row: dict[str, Any] = {"budget": budget, "selection": name}
            row["test_loss"] = bootstrap(losses[name, budget], groups)[0]
            for other in (first, _RANDOM):
                difference = bootstrap(losses[name, budget] - losses[other, budget], groups)
                names = (f"over_{other}", f"over_{other}_low", f"over_{other}_high")
                row |= dict(zip(names, difference, strict=True))
            if flagged is not None:
                row["flagged"] = float(np.mean([flagged[one[:budget]] for one in of_name]))
            yield row


def _define_flags(values: flags.FlagValues) -> None:
    add = adder(values)
    define_table_flags(add)
    add(flags.DEFINE_string, "workdir", None, "Folder for the judgements and the table.")
    add(flags.DEFINE_string, "test", None, "JSON lines with conversations and `task`.")
    add(flags.DEFINE_multi_string, "selection", [], "NAME=FILE that `mig-jax select` wrote.")
    add(flags.DEFINE_list, "budgets", ["500", "2000", "5000"], "Records of each that are judged.")
    add(flags.DEFINE_integer, "seeds", 3, "Random draws.", lower_bound=1)
    add(flags.DEFINE_string, "flag", None, "Field of the pool whose share among picks is told.")


def _run(values: flags.FlagValues) -> None:
    check_table_flags(values)
    given = values.flag_values_dict()
    for text in values.budgets:
        if not text.isdecimal() or int(text) < 1:
            raise InputError(f"--budgets: found {text}, expected whole numbers of at least 1")
    given["budgets"] = sorted(map(int, values.budgets))
    run(Options(**given))


COMMAND = Command(
    name="judge_selections",
    summary="selections of one pool, judged by networks on test records",
    define_flags=_define_flags,
    run=_run,
    required=("workdir", "pool", "test", "selection"),
    interrupted="the same command goes on from here",
)

if __name__ == "__main__":
    sys.exit(main_of(COMMAND, sys.argv[1:], called="judge_selections"))
