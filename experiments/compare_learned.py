"""Learned against what sees the same validation data, on a real pool, at several budgets.

    python -m experiments.compare_learned --workdir=DIR --pool=POOL --label_embeddings=EMB.npz \
        --validation=DEV.jsonl --test=TEST.jsonl [--settings=all,TASK,…] [--seeds=0,1,2]

The records of both files have a `task`. A setting is one of the tasks, or all of them: what its
validation records are. For each setting and seed a measure is learned once and used at every
budget; so are variants of it (`--methods`), and what a user might do instead. All is judged on the
test records of the setting, by networks that learning never saw. Every selection is kept as soon
as it is judged: the same command goes on.
"""

from __future__ import annotations

import csv
import dataclasses
import itertools
import json
import pathlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np
from absl import flags

from experiments.learned_rows import ALL_TASKS, LEARNED, kept_selection, rows_of_setting
from mig_jax import data
from mig_jax.commands.candidates import candidates_of_table
from mig_jax.commands.command import Command, main_of
from mig_jax.commands.flag_groups import InputOptions, check_input_flags, define_input_flags
from mig_jax.commands.flag_values import adder
from mig_jax.commands.learning_inputs import inputs_of_table
from mig_jax.commands.pool_inputs import read_table, say_read
from mig_jax.commands.terminal import progress_bar, say
from mig_jax.commands.workdir import held_workdir
from mig_jax.errors import InputError
from mig_jax.learning import (
    FROM_WORDS,
    START_THRESHOLDS,
    WEIGHTS_AND_SHAPES,
    ByLabel,
    CountModels,
    Inputs,
    Judges,
    LearnedMeasure,
    Parameterisation,
    Prior,
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
from mig_jax.learning.objectives import Objective
from mig_jax.measure import PAPER, pool_from_table
from mig_jax.methods import Limits, choose

# Selections differ in shape: programs for all of them would exhaust a process's memory maps.
_METHODS_OF_PROGRAMS = 4


@dataclasses.dataclass(frozen=True)
class Options(InputOptions):
    """The flags of the program; `--help` explains each."""

    workdir: str
    validation: str
    test: str
    budgets: list[int]
    learned_for: list[int]
    settings: list[str]
    methods: list[str]
    seeds: list[int]
    steps: int


class _Study:
    """The data, and what is computed once: models of a seed, judges, candidates of a setting."""

    def __init__(self, options: Options, table: data.RecordTable, folder: pathlib.Path) -> None:
        self.folder = folder
        self.steps, self.budgets = options.steps, options.budgets
        budgets = tuple(options.learned_for)
        self.table = table
        self.inputs = inputs_of_table(options, table, budget=max(self.budgets), budgets=budgets)
        self.dev = data.read_validation(options.validation)
        self.test = data.read_validation(options.test)
        self.texts = conversation_bags(data.read_texts(table))
        self.judges = Judges(self.texts, conversation_bags(self.test.conversations))
        self._models: dict[tuple[int, bool], CountModels] = {}

    def wanted(self, setting: str) -> data.ValidationSet:
        return self.dev if setting == ALL_TASKS else self.dev.of_group(setting)

    def half(self, seed: int) -> np.ndarray:
        """Half of the records, at random, ascending."""
        order = np.random.default_rng([seed, 8]).permutation(self.table.num_records)
        return np.sort(order[: len(order) // 2])

    def models(self, seed: int, *, half: bool = False) -> CountModels:
        """The models of fine-tuning that learning descends, of all records or of half."""
        if (seed, half) not in self._models:
            texts = self.texts.take(self.half(seed)) if half else self.texts
            self._models = {(seed, half): CountModels(texts, seed, say)}
        return self._models[seed, half]


class _Chosen(NamedTuple):
    """The picks of a method at one budget, and what choosing took."""

    budget: int
    picks: np.ndarray
    seconds: float


_Way = Callable[[_Study, str, int], Iterator[_Chosen]]


def _prefixes(study: _Study, order: np.ndarray, seconds: float) -> Iterator[_Chosen]:
    """The first records of one order, at each budget: what is chosen does not see how many."""
    for budget in study.budgets:
        yield _Chosen(budget, order[:budget], seconds)


def _random(study: _Study, setting: str, seed: int) -> Iterator[_Chosen]:
    order = np.random.default_rng([7, seed]).permutation(study.table.num_records)
    yield from _prefixes(study, order, 0.0)


def _top_score(study: _Study, setting: str, seed: int) -> Iterator[_Chosen]:
    order = np.argsort(-np.asarray(study.inputs.pool.scores), kind="stable")
    yield from _prefixes(study, order, 0.0)


def _paper(study: _Study, setting: str, seed: int) -> Iterator[_Chosen]:
    start = time.perf_counter()
    picks = select_learned(study.inputs, paper_measure(), PAPER.gain).picks
    yield from _prefixes(study, picks, time.perf_counter() - start)


def _rival(name: str) -> _Way:
    """A method of the registry, which sees the validation records of the setting."""

    def way(study: _Study, setting: str, seed: int) -> Iterator[_Chosen]:
        start = time.perf_counter()
        costs = np.zeros(study.table.num_records)
        candidates = candidates_of_table(study.table, costs, validation=study.wanted(setting))
        picks = choose(name, candidates, Limits(records=max(study.budgets)), seed=seed)
        yield from _prefixes(study, picks, time.perf_counter() - start)

    return way


def _grid(study: _Study, setting: str, seed: int) -> Iterator[_Chosen]:
    """The cell that is best on the validation records, at each budget anew."""
    start = time.perf_counter()
    cells = grid_picks(study.inputs)
    selecting = (time.perf_counter() - start) / len(study.budgets)
    wanted, models = study.wanted(setting), study.models(seed)
    for budget in study.budgets:
        start = time.perf_counter()
        losses = [
            mean_over_groups(models.losses(wanted, study.inputs.amounts(p[:budget])), wanted.groups)
            for p in cells
        ]
        best = int(np.argmin(losses))
        say(f"{setting}, {budget:,} records: the best cell is {list(grid_cells())[best]}")
        seconds = selecting + time.perf_counter() - start
        yield _Chosen(budget, cells[best][:budget], seconds)


def _learned(
    by_label: ByLabel = WEIGHTS_AND_SHAPES,
    *,
    prior: Prior = FROM_WORDS,
    matched: bool = False,
    alone: bool = False,
    half: bool = False,
) -> _Way:
    """A measure learned for several budgets at once, or for each alone; on all records or half."""

    def way(study: _Study, setting: str, seed: int) -> Iterator[_Chosen]:
        inputs = dataclasses.replace(study.inputs, seed=seed)
        if half:
            part = pool_from_table(study.table.only(study.half(seed)))
            inputs = dataclasses.replace(inputs, pool=part)
        objective = study.models(seed, half=half).objective(study.wanted(setting), seed)
        for budget in study.budgets if alone else [None]:
            if budget is not None:
                inputs = dataclasses.replace(inputs, budgets=(budget,))
            start = time.perf_counter()
            starts = [
                parameters_of_labels(inputs, threshold, prior=prior, by_label=by_label)
                for threshold in (START_THRESHOLDS if matched else [PAPER.threshold])
            ]
            measure = _measure(study, setting, inputs, starts, objective, matched)
            picks = select_learned(study.inputs, measure).picks
            seconds = time.perf_counter() - start
            if budget is None:
                yield from _prefixes(study, picks, seconds)
            else:
                yield _Chosen(budget, picks[:budget], seconds)

    return way


def _measure(
    study: _Study,
    setting: str,
    inputs: Inputs,
    starts: Sequence[Parameterisation],
    objective: Objective,
    matched: bool,
) -> LearnedMeasure:
    parameterisation, params = (
        matched_start(inputs, objective, starts) if matched else (starts[0], None)
    )
    found = learn(
        inputs.pool,
        inputs.graph,
        parameterisation,
        objective,
        inputs.budgets,
        jax.random.key(inputs.seed),
        steps=study.steps,
        params=params,
    )
    measure = found.learned
    say(
        f"{setting}, for {inputs.budgets}: T {float(measure.threshold):.3f}, alpha "
        f"{float(measure.measure.propagation):.3g}, beta {float(measure.score_exponent):.3g}, "
        f"held-out loss {float(found.state.best_loss):.4f} at step {found.best_step}"
    )
    return measure


class _Method(NamedTuple):
    """A way to choose, and whether it differs by seed."""

    way: _Way
    by_seed: bool = True


_METHODS: dict[str, _Method] = {
    "random": _Method(_random),
    "top_score": _Method(_top_score, by_seed=False),
    "paper": _Method(_paper, by_seed=False),
    "grid": _Method(_grid, by_seed=False),
    "dsir": _Method(_rival("dsir")),
    "rds": _Method(_rival("rds"), by_seed=False),
    LEARNED: _Method(_learned()),
    "weights": _Method(_learned(ByLabel(1, 0))),
    "shapes": _Method(_learned(ByLabel(0, 1))),
    "shared": _Method(_learned(ByLabel(0, 0))),
    "powers": _Method(_learned(prior=Prior("power", FROM_WORDS.strength))),
    "matched": _Method(_learned(matched=True)),
    "half": _Method(_learned(half=True)),
    "alone": _Method(_learned(alone=True)),
}


def run(options: Options) -> None:
    """Judges the selections that are not there yet, and writes the table of all."""
    with held_workdir(options.workdir, "compare_learned") as folder:
        with data.OutputFiles(options.pool) as outputs:
            table = read_table(options, outputs, str(folder / "compare_learned"))
            say_read(table)
        study = _Study(options, table, folder)
        _check_kept(options, study)
        settings = options.settings or [ALL_TASKS, *np.unique(study.dev.groups).tolist()]
        wanted = [
            (setting, method, seed)
            for seed, setting, method in itertools.product(options.seeds, settings, options.methods)
            if seed == options.seeds[0] or _METHODS[method].by_seed
        ]
        with progress_bar("selections", len(wanted) * len(options.budgets), unit="") as bar:
            for number, (setting, method, seed) in enumerate(wanted):
                if number % _METHODS_OF_PROGRAMS == 0:
                    jax.clear_caches()
                bar.set_postfix_str(f"{setting}, {method}, seed {seed}")
                _judge(study, setting, method, seed)
                bar.update(len(options.budgets))
        rows = [
            row
            for setting, budget in itertools.product(settings, options.budgets)
            for row in rows_of_setting(
                folder, setting, budget, options.methods, options.seeds, study.test.groups
            )
        ]
        with (folder / "rows.csv").open("w", newline="") as stream:
            writer = csv.DictWriter(stream, rows[0])
            writer.writeheader()
            writer.writerows(rows)


def _check_kept(options: Options, study: _Study) -> None:
    """Notes what decides the selections of a folder, and refuses one that has those of others."""
    about = {
        "pool": data.pool_digests(options.pool),
        "validation": study.dev.digest,
        "test": study.test.digest,
        "learned_for": list(study.inputs.budgets),
        "steps": options.steps,
        "prior": list(FROM_WORDS),
    }
    path = study.folder / "settings.json"
    kept = json.loads(path.read_text()) if path.exists() else about
    for name, value in about.items():
        if kept.get(name) != value:
            raise InputError(f"{study.folder}: has selections of another {name}; expected the same")
    path.write_text(json.dumps(about))


def _judge(study: _Study, setting: str, method: str, seed: int) -> None:
    """Judges what is not yet there of a method's selections."""
    paths = {
        budget: kept_selection(study.folder, setting, method, seed, budget)
        for budget in study.budgets
    }
    if all(path.exists() for path in paths.values()):
        return
    for chosen in _METHODS[method].way(study, setting, seed):
        path = paths[chosen.budget]
        if not path.exists():
            losses = study.judges.losses(chosen.picks)
            part = path.with_suffix(".part.npz")
            np.savez(part, picks=chosen.picks, losses=losses, seconds=chosen.seconds)
            part.replace(path)


def _define_flags(values: flags.FlagValues) -> None:
    add = adder(values)
    define_input_flags(add)
    add(flags.DEFINE_string, "workdir", None, "Folder for tables and picks.")
    add(flags.DEFINE_string, "validation", None, "JSON lines with conversations and `task`.")
    add(flags.DEFINE_string, "test", None, "The same; never learned from.")
    budgets = ["500", "1000", "2000", "5000", "10000"]
    add(flags.DEFINE_list, "budgets", budgets, "Records to select.")
    add(flags.DEFINE_list, "learned_for", ["500", "2000", "8000"], "Records to learn for.")
    add(flags.DEFINE_list, "settings", [], "Tasks, or all of them together; all without.")
    add(flags.DEFINE_list, "methods", [*_METHODS], f"Of {', '.join(_METHODS)}.")
    seeds = "Of learning (held-out part, hashes, clusters), and of random draws."
    add(flags.DEFINE_list, "seeds", ["0", "1", "2", "3", "4"], seeds)
    add(flags.DEFINE_integer, "steps", 120, "Most steps of learning.", lower_bound=1)


def _run(values: flags.FlagValues) -> None:
    check_input_flags(values)
    given = values.flag_values_dict()
    for name in ("budgets", "learned_for"):
        given[name] = sorted(_count(name, text) for text in getattr(values, name))
    given["seeds"] = sorted(_count("seeds", text, least=0) for text in values.seeds)
    for method in values.methods:
        if method not in _METHODS:
            raise InputError(f"--methods: {method}: expected of {', '.join(_METHODS)}")
    run(Options(**given))


def _count(flag: str, text: str, least: int = 1) -> int:
    if not text.isdecimal() or int(text) < least:
        raise InputError(f"--{flag}: found {text}, expected whole numbers of at least {least}")
    return int(text)


COMMAND = Command(
    name="compare_learned",
    summary="learned against what sees the same validation data, at several budgets",
    define_flags=_define_flags,
    run=_run,
    required=("workdir", "pool", "validation", "test"),
    interrupted="the same command goes on from here",
)

if __name__ == "__main__":
    sys.exit(main_of(COMMAND, sys.argv[1:], called="compare_learned"))
