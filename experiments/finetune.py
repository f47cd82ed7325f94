"""A language model fine-tuned on selections, and judged on records that no choice looked at.

    python -m experiments.finetune --workdir=DIR --model=MODEL.gguf --pool=POOL \
        --label_embeddings=EMB.npz --validation=DEV.jsonl --test=TEST.jsonl \
        [--methods=random,mig_exact,...] [--tokens=30000,100000] [--records=...] [--seeds=3]

The records of both files have a `task`. Each cell, a method at a budget with a seed, is kept as
soon as it is done and never run again: the same command goes on, and one with more methods,
budgets or seeds adds to what is there. `results.md` and `results.csv` are the table so far.

No test record is in the pool or among the validation records: those that are are left out.

A seed sees a share of the pool of its own, the same for all methods; it also decides the order
of training. What is primary is fixed here: the loss a token of what answers say, without the
token that ends them, mean over tasks, less that of random draws of the same seed.

`heeded_METHOD` chooses among records whose response the study's model finds likelier behind its
instruction than alone, `clean_METHOD` among those whose field `corrupted` is not true.
`lengths_of_METHOD` is a random choice with the token counts of another's. `mig_learned` and
`mig_asked` learn for each budget, `mig_learned@TOKENS` and `mig_asked@TOKENS` once for all.

A cheap second judge is `--model=scratch --cost_model=MODEL --step_sizes=3e-3 --epochs=3`. With
the same cost model, share and row it has the same selections as the study of MODEL: a copy of
that study's selections.jsonl in its workdir saves choosing again, and without it methods by
gradients ask the small model.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
import pathlib
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from absl import flags

from experiments.finetuning.base_models import read_base_model, read_encoder
from experiments.finetuning.cells import KeptLines
from experiments.finetuning.comparison import mean_over_tasks
from experiments.finetuning.gradients import StudyGradients
from experiments.finetuning.selections import Selections, check_names
from experiments.finetuning.study import Evaluated, Study
from experiments.finetuning.table import write_tables
from experiments.finetuning.training import (
    Cell,
    groups_of,
    one_ahead,
    result_of,
    train_and_judge,
)
from mig_jax import data
from mig_jax.commands.base_models import define_base_model_flags
from mig_jax.commands.command import Command, main_of
from mig_jax.commands.flag_groups import InputOptions, check_input_flags, define_input_flags
from mig_jax.commands.flag_values import adder
from mig_jax.commands.learning_inputs import inputs_of_table
from mig_jax.commands.pool_inputs import read_table, say_read
from mig_jax.commands.terminal import progress_bar, say
from mig_jax.commands.workdir import held_workdir
from mig_jax.errors import InputError
from mig_jax.language_models import Recipe, RecordLosses
from mig_jax.methods import Limits

_CONTROLS = ["random", "random#1", "random#2", "corrupted"]
_TOKENS = 30000
#: What --quick puts in the place of defaults: the whole way in some minutes on two cores.
_QUICK = {
    "methods": ["random", "random#1", "top_score", "longest", "mig_exact", "dsir", "rds"],
    "tokens": ["6000"],
    "seeds": 1,
    "test_records": 20,
}
_METHODS = [*_CONTROLS, "mig_linear", "mig_exact", "mig_learned", "top_score", "longest"]


@dataclasses.dataclass(frozen=True)
class Options(InputOptions):
    """The flags of the program; `--help` explains each."""

    workdir: str
    model: str
    chat_template: str
    cost_model: str | None
    validation: str
    test: str
    task: str | None
    activations: str | None
    methods: list[str]
    tokens: list[int]
    records: list[int]
    seeds: int
    pool_share: float
    layers: int
    rank: int
    step_sizes: list[float]
    row: int
    rows: int
    epochs: int
    test_records: int
    group_field: str | None
    gradient_records: int
    cells_at_once: int
    quick: bool


def run(options: Options) -> None:
    """Makes the cells that are not there yet; writes the table after each."""
    with held_workdir(options.workdir, "finetune") as folder:
        study, selections = _prepare(options, folder)
        with contextlib.closing(study):
            selections.check(options.methods, list(_budgets(options).values()), options.seeds)
            choosing = selections.identity(options.pool)
            identity = study.identity() | study.identity_of_judges() | choosing
            identity |= {"epochs": options.epochs, "step_sizes": options.step_sizes}
            with (
                KeptLines(folder / "selections.jsonl", "selections", choosing) as chosen,
                KeptLines(folder / "cells.jsonl", "cells", identity) as done,
            ):
                _run_cells(options, folder, study, selections, chosen, done)


def _prepare(options: Options, folder: pathlib.Path) -> tuple[Study, Selections]:
    with data.OutputFiles(options.pool) as outputs:
        table = read_table(options, outputs, str(folder / "finetune"))
        say_read(table)
    template, counting = options.chat_template, options.cost_model
    validation, test = map(data.read_validation, (options.validation, options.test))
    if options.task is not None:
        validation, test = validation.of_group(options.task), test.of_group(options.task)

    def texts() -> Iterator[str]:
        return itertools.chain.from_iterable(data.read_texts(table))

    model = read_base_model(options.model, template, texts)
    tuning = model.tuning(options.layers, options.rank)
    say(model.told(tuning))
    study = Study(
        folder,
        model,
        tuning,
        row=options.row,
        rows=options.rows,
        table=table,
        validation=validation,
        test=test,
        test_records=options.test_records,
        counted=None if counting is None else read_encoder(counting, template, texts),
        activations=None if options.activations is None else pathlib.Path(options.activations),
    )
    inputs = inputs_of_table(options, table, budget=0)
    gradients = StudyGradients(study, options.gradient_records, options.step_sizes[0])
    losses = RecordLosses(study, options.step_sizes[0])
    share, field = options.pool_share, options.group_field
    return study, Selections(study, inputs, share, field, gradients, losses)


def _budgets(options: Options) -> dict[str, Limits]:
    budgets = {f"{n} tokens": Limits(tokens=n) for n in options.tokens}
    return budgets | {f"{n} records": Limits(records=n) for n in options.records}


def _run_cells(
    options: Options,
    folder: pathlib.Path,
    study: Study,
    selections: Selections,
    chosen: KeptLines,
    done: KeptLines,
) -> None:
    judged, none = study.judged, np.zeros(0, np.int64)
    budgets = _budgets(options)
    if "untrained" not in done:
        untrained = Cell("untrained", *next(iter(budgets.items())), 0)
        [(_, kept)] = train_and_judge(study, judged, [untrained], [none], Recipe(0.0), 1, 1)
        done.put("untrained", kept)
    recipe = Recipe(_step_size(options, study, selections, chosen, done))
    cells = [
        Cell(method, budget, limits, seed)
        for seed in range(options.seeds)
        for budget, limits in budgets.items()
        for method in options.methods
    ]
    left = [cell for cell in cells if cell.key not in done]
    say(f"{len(cells)} cells, of which {len(left)} are to be done")
    epochs = options.epochs
    at_once = min(options.cells_at_once, max(len(left), 1))
    if at_once > 1:  # Seed by seed: what methods look at is made once for each, and is large.
        for cell in left:
            _picks(selections, chosen, cell)
    with progress_bar("cells", len(cells), unit="cells", initial=len(cells) - len(left)) as bar:
        for group, picks in one_ahead(
            groups_of(left, at_once), lambda cell: _prepared(study, selections, chosen, cell)
        ):
            found = train_and_judge(study, judged, group, picks, recipe, epochs, at_once)
            for cell, kept in found:
                done.put(cell.key, kept)
                result = result_of(kept)
                say(
                    f"{cell.key}: content {mean_over_tasks(result.content, judged.groups):.4f}, "
                    f"end {mean_over_tasks(result.end, judged.groups):.3f}, "
                    f"{result.records:,} records, {result.tokens:,} tokens"
                )
                bar.update()
            _write(folder, cells, done, judged)
    _write(folder, cells, done, judged)
    say(f"the table is in {folder / 'results.md'}")


def _prepared(study: Study, selections: Selections, chosen: KeptLines, cell: Cell) -> np.ndarray:
    """What a cell trains on, with its activations at hand."""
    picks = _picks(selections, chosen, cell)
    study.prepare(picks)
    return picks


def _write(folder: pathlib.Path, cells: list[Cell], done: KeptLines, judged: Evaluated) -> None:
    results = {
        (cell.method, cell.budget, cell.seed): result_of(done[cell.key])
        for cell in cells
        if cell.key in done
    }
    write_tables(folder, results, judged.groups, result_of(done["untrained"]))


def _picks(selections: Selections, chosen: KeptLines, cell: Cell) -> np.ndarray:
    if cell.key not in chosen:
        picks = selections.select(cell.method, cell.limits, cell.seed)
        if not len(picks):
            raise InputError(f"{cell.key}: no record is within the budget; expected a larger one")
        chosen.put(cell.key, picks.tolist())
    return np.array(chosen[cell.key], np.int64)


def _step_size(
    options: Options, study: Study, selections: Selections, chosen: KeptLines, done: KeptLines
) -> float:
    """The best of the step sizes on validation records, by the first and the last method."""
    if len(options.step_sizes) == 1:
        return options.step_sizes[0]
    if "step size" in done:  # More methods do not change it.
        return done["step size"]
    validated = study.validated(max(1, options.test_records // 2))
    budget, limits = next(iter(_budgets(options).items()))
    found: dict[float, list[float]] = {size: [] for size in options.step_sizes}
    for method in dict.fromkeys([options.methods[0], options.methods[-1]]):
        picks = _picks(selections, chosen, Cell(method, budget, limits, 0))
        for size in options.step_sizes:
            key = f"step size {size:g} | {method} | {budget}"
            if key not in done:
                own, _ = study.train(picks, Recipe(size), 0, options.epochs)
                content = validated.losses(study.tuned, own).content
                done.put(key, mean_over_tasks(content, validated.groups))
            found[size].append(done[key])
    best = min(found, key=lambda size: float(np.mean(found[size])))
    done.put("step size", best)
    told = ", ".join(f"{size:g}: {np.mean(losses):.4f}" for size, losses in found.items())
    say(f"step size {best:g}, by validation loss ({told})")
    return best


def _define_flags(values: flags.FlagValues) -> None:
    add = adder(values)
    define_input_flags(add)
    add(flags.DEFINE_string, "workdir", None, "Folder for cells, activations and the table.")
    scratch = " Or scratch, a small one of random weights; scratch:WIDTHxLAYERS for another size."
    define_base_model_flags(add, more=scratch)
    counts = "The model whose tokens budgets count, if it is another: selections stay the same."
    add(flags.DEFINE_string, "cost_model", None, counts)
    add(flags.DEFINE_string, "validation", None, "JSON lines with conversations and `task`.")
    add(flags.DEFINE_string, "test", None, "The same; nothing looks at it before it judges.")
    task = "Selects for the records of one task, and judges on them alone: a specialist."
    add(flags.DEFINE_string, "task", None, task)
    kept = "Folder that studies of one model and pool may share; WORKDIR/activations by default."
    add(flags.DEFINE_string, "activations", None, kept)
    quick = "Few tokens and test records, one seed: a first look, in minutes, that proves nothing."
    add(flags.DEFINE_boolean, "quick", False, quick)
    add(flags.DEFINE_list, "methods", _METHODS, "What is compared; random draws are the control.")
    tokens = f"Budgets in tokens, instructions included; {_TOKENS} without any budget."
    add(flags.DEFINE_list, "tokens", [], tokens)
    add(flags.DEFINE_list, "records", [], "Budgets in records.")
    add(flags.DEFINE_integer, "seeds", 3, "How many, from 0 on.", lower_bound=1)
    share = "The share of the pool that a seed sees: methods without chance differ by it."
    add(flags.DEFINE_float, "pool_share", 0.8, share, lower_bound=0.0, upper_bound=1.0)
    add(
        flags.DEFINE_integer,
        "layers",
        6,
        "Upper layers that learn; 0 for all weights.",
        lower_bound=0,
    )
    rank = "Of LoRA adapters; 0 trains the matrices themselves."
    add(flags.DEFINE_integer, "rank", 0, rank, lower_bound=0)
    sizes = "The step size, or several, of which the best on validation records is taken."
    add(flags.DEFINE_list, "step_sizes", ["3e-4"], sizes)
    row = "Tokens of a row; longer records are left out."
    add(flags.DEFINE_integer, "row", 256, row, lower_bound=2)
    add(flags.DEFINE_integer, "rows", 4, "Rows of a training batch.", lower_bound=1)
    add(flags.DEFINE_integer, "epochs", 1, "Of training.", lower_bound=1)
    add(flags.DEFINE_integer, "test_records", 120, "Of each task, at most.", lower_bound=1)
    asked = "How many random records the model is asked about, for methods by gradients."
    add(flags.DEFINE_integer, "gradient_records", 5000, asked, lower_bound=1)
    side = (
        "How many cells learn side by side: 1 on a CPU, several on an accelerator. Losses differ "
        "by rounding from those of cells that learn alone."
    )
    add(flags.DEFINE_integer, "cells_at_once", 1, side, lower_bound=1)
    add(flags.DEFINE_string, "group_field", None, "Whose shares random_quotas makes equal.")


def _run(values: flags.FlagValues) -> None:
    check_input_flags(values)
    if values.quick:
        for name, value in _QUICK.items():
            if values[name].using_default_value:
                values[name].value = value
    given = values.flag_values_dict()
    for name, kind in (("tokens", int), ("records", int), ("step_sizes", float)):
        numbers = [_number(name, text, kind) for text in getattr(values, name)]
        given[name] = list(dict.fromkeys(numbers))
    if not given["tokens"] and not given["records"]:
        given["tokens"] = [_TOKENS]
    given["methods"] = list(dict.fromkeys(values.methods))
    check_names(given["methods"])
    run(Options(**given))


def _number(name: str, text: str, kind: type) -> Any:
    try:
        value = kind(text)
    except ValueError:
        value = 0
    if not (value > 0 and math.isfinite(value)):
        raise InputError(f"--{name}: found {text}, expected numbers above 0")
    return value


COMMAND = Command(
    name="finetune",
    summary="a language model fine-tuned on selections, and judged",
    define_flags=_define_flags,
    run=_run,
    required=("workdir", "model", "pool", "validation", "test"),
    interrupted="the same command goes on from here",
)

if __name__ == "__main__":
    sys.exit(main_of(COMMAND, sys.argv[1:], called="finetune"))
