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
import jax.numpy as jnp
import numpy as np
import tqdm
from absl import app, flags, logging

import mig_jax
from mig_jax import data
from mig_jax.commands.terminal import exit_status, flags_only, say
from mig_jax.errors import InputError
from mig_jax.learning import (
    CountModels,
    Free,
    Inputs,
    Judges,
    bootstrap,
    conversation_bags,
    fit_feature_basis,
    grid_cells,
    grid_picks,
    label_features,
    learn,
    mean_over_groups,
    paper_measure,
    select_learned,
    shared_start,
)

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder for tables and picks.", required=True)
_POOL = flags.DEFINE_multi_string("pool", [], "Records, as for mig-jax select.")
_EMBEDDINGS = flags.DEFINE_string("label_embeddings", None, ".npz, as for mig-jax select.")
_VALIDATION = flags.DEFINE_string("validation", None, "JSON lines with conversations and `task`.")
_TEST = flags.DEFINE_string("test", None, "The same; never learned from.")
_BUDGETS = flags.DEFINE_list("budgets", ["2000", "500", "5000"], "Records to select.")
_SEEDS = flags.DEFINE_integer("seeds", 5, "Of learning: held-out part, hashes, clusters.")
_STEPS = flags.DEFINE_integer("steps", 40, "Most steps of learning.")

_ALL = "all"
_LOWEST_THRESHOLD = 0.6
_RANDOM_SEEDS = 5


class _Study:
    """The data, and what is computed once: models of each seed, judges and grids of a budget."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        table = data.read_pool(_POOL.value, cache=data.default_cache_folder())
        vectors, present = data.read_label_embeddings(_EMBEDDINGS.value, table.label_names)
        self.inputs = Inputs(
            table=table,
            pool=mig_jax.pool_from_table(table),
            graph=mig_jax.label_graph_from_embeddings(vectors, _LOWEST_THRESHOLD, present=present),
            embeddings=np.asarray(vectors, np.float32),
            budget=0,
            seed=0,
            validation=_VALIDATION.value,
            test=_TEST.value,
            task=None,
            say=say,
        )
        self.dev = data.read_validation(_VALIDATION.value)
        self.test = data.read_validation(_TEST.value)
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

    def amounts(self, picks: np.ndarray) -> jax.Array:
        amounts = np.zeros(self.inputs.pool.num_records, np.float32)
        amounts[picks] = 1
        return jnp.asarray(amounts)


def _grid(study: _Study, budget: int) -> dict[str, Any]:
    """Picks of all cells, the losses of each on each validation record, and the seconds."""
    path = study.folder / f"grid_{budget}.npz"
    if path.exists():
        return dict(np.load(path))
    start = time.perf_counter()
    picks = grid_picks(_with_budget(study.inputs, budget))
    selecting = time.perf_counter() - start
    models = study.models(0)
    start = time.perf_counter()
    losses = [models.losses(study.dev, study.amounts(p)) for p in picks]
    judging = time.perf_counter() - start
    grid = {
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
    paper = select_learned(_with_budget(study.inputs, budget), paper_measure(), "linear").picks
    found = {
        "random": np.mean([judges.losses(picks) for picks in chosen], axis=0),
        "top_score": judges.losses(top),
        "paper": judges.losses(paper),
    }
    np.savez(path, **found)
    return found


def _learned(study: _Study, budget: int, setting: str, seed: int) -> tuple[np.ndarray, float, int]:
    """Picks of a measure learned on a setting's validation records; seconds; best step."""
    inputs = _with_budget(study.inputs, budget)
    models = study.models(seed)
    start = time.perf_counter()
    objective = models.objective(study.sets[setting], seed)
    basis = fit_feature_basis(inputs.pool, inputs.graph, inputs.embeddings)
    features = label_features(basis, inputs.pool, inputs.graph, inputs.embeddings)
    parameterisation = Free(
        start=shared_start(threshold=0.65),
        num_labels=inputs.graph.num_labels,
        directions=features,
        lowest_threshold=jnp.asarray(_LOWEST_THRESHOLD),
        highest_threshold=jnp.asarray(0.97),
    )
    found = learn(
        inputs.pool,
        inputs.graph,
        parameterisation,
        objective,
        budget,
        jax.random.key(seed),
        steps=_STEPS.value,
    )
    picks = select_learned(inputs, found.learned).picks
    return picks, time.perf_counter() - start, found.best_step


def _with_budget(inputs: Inputs, budget: int) -> Inputs:
    return dataclasses.replace(inputs, budget=budget)


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


def _run() -> None:
    folder = pathlib.Path(_WORKDIR.value)
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / "rows.jsonl"
    rows = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    done = {(row["budget"], row["setting"], row["seed"]) for row in rows}
    study = _Study(folder)
    settings = sorted(study.sets)
    wanted = [
        (int(budget), setting, seed)
        for seed in range(_SEEDS.value)
        for budget in _BUDGETS.value
        for setting in settings
    ]
    judges = Judges(study.texts, study.answers)
    for budget, setting, seed in tqdm.tqdm(wanted, desc="rows", file=sys.stderr):
        if (budget, setting, seed) in done:
            continue
        row = _row(study, budget, setting, seed, judges)
        jax.clear_caches()  # Selections differ in shape; programs for all would exhaust the maps.
        with kept.open("a") as stream:
            stream.write(json.dumps(row) + "\n")
        rows.append(row)
        say(
            f"{budget} {setting} seed {seed}: learned {row['learned']:.4f}, "
            f"grid {row['grid']:.4f}, difference {row['over_grid']:+.4f} "
            f"({row['over_grid_low']:+.4f} to {row['over_grid_high']:+.4f}), "
            f"paper {row['paper']:.4f}; {row['learning_seconds']:.0f} s"
        )
    with (folder / "rows.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def main(arguments: list[str]) -> int:
    """Runs the program and returns its exit status: 0, or 2 for input that cannot be used."""
    logging.set_verbosity(logging.WARNING)  # Orbax tells much.

    def command() -> None:
        flags_only(arguments[1:])
        for flag in (_POOL, _EMBEDDINGS, _VALIDATION, _TEST):
            if not flag.value:
                raise InputError(f"--{flag.name}: missing, expected --{flag.name}=...: {flag.help}")
        _run()

    return exit_status("compare_tasks", command, interrupted="the same command goes on from here")


if __name__ == "__main__":
    app.run(main)
