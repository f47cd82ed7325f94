"""Learned against the grid on a real pool: each task alone, and all together.

    python -m experiments.compare_tasks --workdir=DIR --pool=POOL --label_embeddings=EMB.npz \
        --validation=DEV.jsonl --test=TEST.jsonl [--budgets=500,2000,5000] [--seeds=5]

The records of both files have a `task`. For each budget the grid is selected once, and its
best cell is chosen on the validation records of each setting; for each setting and seed a
measure is learned on the same records. All is judged on the test records, by networks that
learning never saw. Every row is kept as soon as it is done: the same command goes on.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import pathlib
import sys
import time
from typing import Any

import jax
import numpy as np
from absl import flags

from mig_jax import data
from mig_jax.commands.command import Command, main_of
from mig_jax.commands.flag_groups import (
    InputOptions,
    check_input_flags,
    define_input_flags,
)
from mig_jax.commands.flag_values import adder
from mig_jax.commands.learning_inputs import inputs_of_table
from mig_jax.commands.pool_inputs import read_table, say_read
from mig_jax.commands.terminal import progress_bar, say
from mig_jax.commands.workdir import held_workdir
from mig_jax.errors import InputError
from mig_jax.learning import (
    START_THRESHOLDS,
    CountModels,
    Judges,
    bootstrap,
    conversation_bags,
    grid_cells,
    grid_picks,
    learn,
    matched_start,
    mean_over_groups,
    paper_measure,
    parameters_of_labels,
    select_learned,
)
from mig_jax.measure import PAPER

_ALL = "all"
_RANDOM_SEEDS = 5
# Selections differ in shape: programs for all rows would exhaust a process's memory maps.
_ROWS_OF_PROGRAMS = 4


@dataclasses.dataclass(frozen=True)
class Options(InputOptions):
    """The flags of the program; `--help` explains each."""

    workdir: str
    validation: str
    test: str
    budgets: list[int]
    seeds: int
    steps: int


class _Study:
    """The data, and what is computed once: models of each seed, judges and grids of a budget."""

    def __init__(self, options: Options, table: data.RecordTable, folder: pathlib.Path) -> None:
        self.folder = folder
        self.steps = options.steps
        self.inputs = inputs_of_table(options, table, budget=0)
        self.dev = data.read_validation(options.validation)
        self.test = data.read_validation(options.test)
        self.texts = conversation_bags(data.read_texts(table))
        self.answers = conversation_bags(self.test.conversations)
        self.sets = {_ALL: self.dev} | {
            task: self.dev.of_group(task) for task in np.unique(self.dev.groups).tolist()
        }
        self._models: dict[int, CountModels] = {}

    def models(self, seed: int) -> CountModels:
        if seed not in self._models:
            self._models = {seed: CountModels(self.texts, seed, say)}
        return self._models[seed]


def _grid(study: _Study, budget: int) -> dict[str, Any]:
    """Picks of all cells, the losses of each on each validation record, and the seconds."""
    path = study.folder / f"grid_{budget}.npz"
    if path.exists():
        return dict(np.load(path))
    start = time.perf_counter()
    picks = grid_picks(study.inputs.for_budget(budget))
    selecting = time.perf_counter() - start
    models = study.models(0)
    start = time.perf_counter()
    losses = [models.losses(study.dev, study.inputs.amounts(p)) for p in picks]
    judging = time.perf_counter() - start
    grid: dict[str, Any] = {
        "picks": np.stack(picks),
        "losses": np.stack(losses),
        "seconds": np.array([selecting, judging]),
    }
    np.savez(path, **grid)
    return grid


def _fixed(study: _Study, budget: int, judges: Judges) -> dict[str, np.ndarray]:
    """Test losses of what does not depend on the setting: random, top score, the paper."""
    path = study.folder / f"fixed_{budget}.npz"
    if path.exists():
        return dict(np.load(path))
    pool = study.inputs.pool
    rng = np.random.default_rng(7)
    chosen = [rng.choice(pool.num_records, budget, replace=False) for _ in range(_RANDOM_SEEDS)]
    top = np.argsort(-np.asarray(pool.scores), kind="stable")[:budget]
    paper = select_learned(study.inputs.for_budget(budget), paper_measure(), PAPER.gain).picks
    found: dict[str, Any] = {
        "random": np.mean([judges.losses(picks) for picks in chosen], axis=0),
        "top_score": judges.losses(top),
        "paper": judges.losses(paper),
    }
    np.savez(path, **found)
    return found


def _learned(study: _Study, budget: int, setting: str, seed: int) -> tuple[np.ndarray, float, int]:
    """Picks of a measure learned on a setting's validation records; seconds; best step."""
    inputs = study.inputs.for_budget(budget)
    models = study.models(seed)
    start = time.perf_counter()
    objective = models.objective(study.sets[setting], seed)
    starts = [parameters_of_labels(inputs, threshold) for threshold in START_THRESHOLDS]
    parameterisation, params = matched_start(inputs, objective, starts)
    found = learn(
        inputs.pool,
        inputs.graph,
        parameterisation,
        objective,
        inputs.budgets,
        jax.random.key(seed),
        steps=study.steps,
        params=params,
    )
    picks = select_learned(inputs, found.learned).picks
    return picks, time.perf_counter() - start, found.best_step


def _row(study: _Study, budget: int, setting: str, seed: int, judges: Judges) -> dict[str, Any]:
    grid = _grid(study, budget)
    dev_groups, test_groups = study.dev.groups, study.test.groups
    of_dev = np.isin(dev_groups, [setting]) if setting != _ALL else np.ones(len(dev_groups), bool)
    of_test = (
        np.isin(test_groups, [setting]) if setting != _ALL else np.ones_like(test_groups, bool)
    )
    validated = [mean_over_groups(loss[of_dev], dev_groups[of_dev]) for loss in grid["losses"]]
    best = int(np.argmin(validated))
    cell_path = study.folder / f"cell_{budget}_{best}.npy"
    if not cell_path.exists():
        np.save(cell_path, judges.losses(grid["picks"][best]))
    losses = {**_fixed(study, budget, judges), "grid": np.load(cell_path)}
    picks, seconds, best_step = _learned(study, budget, setting, seed)
    losses["learned"] = judges.losses(picks)
    groups = test_groups[of_test]
    row: dict[str, Any] = {"budget": budget, "setting": setting, "seed": seed}
    for method, values in losses.items():
        row[method] = bootstrap(values[of_test], groups)[0]
    for other in ("grid", "paper"):
        gap = bootstrap((losses["learned"] - losses[other])[of_test], groups)
        row |= {f"over_{other}": gap[0], f"over_{other}_low": gap[1], f"over_{other}_high": gap[2]}
    cell = "/".join(map(str, list(grid_cells())[best]))
    row |= {"cell": cell, "best_step": best_step, "learning_seconds": seconds}
    row["grid_seconds"] = float(grid["seconds"].sum())
    np.savez(study.folder / f"learned_{budget}_{setting}_{seed}.npz", picks=picks, **losses)
    return row


def run(options: Options) -> None:
    """Adds the rows that are not there yet, and writes the table of all."""
    with held_workdir(options.workdir, "compare_tasks") as folder:
        _add_rows(options, folder)


def _add_rows(options: Options, folder: pathlib.Path) -> None:
    kept = folder / "rows.jsonl"
    rows = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    done = {(row["budget"], row["setting"], row["seed"]) for row in rows}
    with data.OutputFiles(options.pool) as outputs:
        table = read_table(options, outputs, str(folder / "compare_tasks"))
        say_read(table)
    study = _Study(options, table, folder)
    wanted = [
        (budget, setting, seed)
        for seed in range(options.seeds)
        for budget in options.budgets
        for setting in sorted(study.sets)
    ]
    judges = Judges(study.texts, study.answers)
    with progress_bar("rows", len(wanted), unit="rows") as bar:
        for budget, setting, seed in wanted:
            if (budget, setting, seed) not in done:
                row = _row(study, budget, setting, seed, judges)
                if len(rows) % _ROWS_OF_PROGRAMS == 0:
                    jax.clear_caches()
                with kept.open("a") as stream:
                    stream.write(json.dumps(row) + "\n")
                rows.append(row)
                say(
                    f"{budget} {setting} seed {seed}: learned {row['learned']:.4f}, "
                    f"grid {row['grid']:.4f}, difference {row['over_grid']:+.4f} "
                    f"({row['over_grid_low']:+.4f} to {row['over_grid_high']:+.4f}), "
                    f"paper {row['paper']:.4f}; {row['learning_seconds']:.0f} s"
                )
            bar.update()
    with (folder / "rows.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def _define_flags(values: flags.FlagValues) -> None:
    add = adder(values)
    define_input_flags(add)
    add(flags.DEFINE_string, "workdir", None, "Folder for tables and picks.")
    add(flags.DEFINE_string, "validation", None, "JSON lines with conversations and `task`.")
    add(flags.DEFINE_string, "test", None, "The same; never learned from.")
    add(flags.DEFINE_list, "budgets", ["2000", "500", "5000"], "Records to select.")
    seeds = "Of learning: held-out part, hashes, clusters."
    add(flags.DEFINE_integer, "seeds", 5, seeds, lower_bound=1)
    add(flags.DEFINE_integer, "steps", 40, "Most steps of learning.", lower_bound=1)


def _run(values: flags.FlagValues) -> None:
    check_input_flags(values)
    given = values.flag_values_dict()
    given["budgets"] = [_budget(text) for text in values.budgets]
    run(Options(**given))


def _budget(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise InputError(f"--budgets: found {text}, expected whole numbers above 0")
    return int(text)


COMMAND = Command(
    name="compare_tasks",
    summary="learned against the grid: each task alone, and all together",
    define_flags=_define_flags,
    run=_run,
    required=("workdir", "pool", "validation", "test"),
    interrupted="the same command goes on from here",
)

if __name__ == "__main__":
    sys.exit(main_of(COMMAND, sys.argv[1:], called="compare_tasks"))
