"""Learns the parameters of the measure, and compares them with what one would do instead.

    python -m experiments.learn_params --workdir=DIR

learns on the built-in pool with a planted truth in about two minutes. On data of your own:

    python -m experiments.learn_params --workdir=DIR --pool=POOL.jsonl --label_embeddings=EMB.npz \
        --objective=validation --validation=DEV.jsonl --test=TEST.jsonl --budget=2000

Flag files in `experiments/presets` hold settings that go together:
`--flagfile=experiments/presets/thorough.flags`.

DIR gets `params` (for `mig-jax select --params=DIR/params`), `report.json`, `report.md` and
plots. The same command in the same DIR goes on where it was stopped, to the same result.
"""

from __future__ import annotations

import math
import pathlib
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tqdm
from absl import app, flags, logging

from mig_jax import data
from mig_jax.commands.terminal import exit_status, flags_only, say
from mig_jax.errors import InputError
from mig_jax.learning import (
    OBJECTIVES,
    Free,
    FromFeatures,
    Inputs,
    Parameterisation,
    PastRuns,
    compare,
    fit_feature_basis,
    label_features,
    learn_from_starts,
    leave_one_out,
    make_task,
    save_learned,
    select_learned,
    shared_start,
)
from mig_jax.measure import label_graph_from_embeddings, pool_from_table
from mig_jax.reports import LearningReport, write_report
from mig_jax.synthetic import BuiltinPool

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder for all that is written.")
_POOL = flags.DEFINE_multi_string("pool", [], "Records, as for mig-jax select; built-in without.")
_EMBEDDINGS = flags.DEFINE_string("label_embeddings", None, ".npz, as for mig-jax select.")
_OBJECTIVE = flags.DEFINE_enum(
    "objective", "planted", list(OBJECTIVES), "What the selection is to be good for."
)
_VALIDATION = flags.DEFINE_string(
    "validation",
    None,
    "What to learn from. target, validation: JSON lines with conversations (and labels, and task "
    "where records are of several); subsets: CSV with the columns subset (a table of picks, as "
    "mig-jax select writes it) and score; imitation: a table of picks.",
)
_TEST = flags.DEFINE_string("test", None, "The same, to report on; never learned from.")
_TASK = flags.DEFINE_string("task", None, "Only records of this `task` in both files.")
_BUDGET = flags.DEFINE_integer("budget", 500, "Records to select.", lower_bound=1)
_STEPS = flags.DEFINE_integer(
    "steps",
    None,
    "Most steps of learning, from each start; 40 without, and 120 for the planted objective.",
    lower_bound=1,
)
_SEED = flags.DEFINE_integer("seed", 0, "Of all that is random.", lower_bound=0)
_PARAMETERS = flags.DEFINE_enum(
    "parameters",
    "free",
    ["free", "features"],
    "Learn values for the labels of this pool, or a function of label features for any pool.",
)
_PRIOR = flags.DEFINE_float(
    "prior", 1e-3, "How strongly labels are pulled towards the values they share.", 0.0
)
_LOWEST = flags.DEFINE_float(
    "lowest_threshold", 0.6, "Edges less similar are not considered.", 0.0, 1.0
)
_START_THRESHOLDS = flags.DEFINE_list(
    "start_thresholds",
    None,
    "Where T starts: learning is run from each of these numbers, and the one with the lowest "
    "held-out loss is kept. 0.65 without, and 0.65,0.8 for the planted objective.",
)

_HIGHEST_THRESHOLD = 0.97
_STEPS_OTHERWISE, _STARTS_OTHERWISE = 40, ("0.65",)
_STEPS_PLANTED, _STARTS_PLANTED = 120, ("0.65", "0.8")  # Its steps cost next to nothing.


def _steps() -> int:
    planted = _OBJECTIVE.value == "planted"
    return _STEPS.value or (_STEPS_PLANTED if planted else _STEPS_OTHERWISE)


def _start_thresholds() -> list[float]:
    planted = _OBJECTIVE.value == "planted"
    otherwise = _STARTS_PLANTED if planted else _STARTS_OTHERWISE
    found = []
    for text in _START_THRESHOLDS.value or otherwise:
        try:
            threshold = float(text)
        except ValueError:
            threshold = math.nan
        if not _LOWEST.value < threshold < _HIGHEST_THRESHOLD:
            raise InputError(
                f"--start_thresholds: found {text}, expected numbers between --lowest_threshold, "
                f"which is {_LOWEST.value}, and {_HIGHEST_THRESHOLD}"
            )
        found.append(threshold)
    return found


def _inputs() -> Inputs:
    if not _WORKDIR.value:
        raise InputError("--workdir: missing, expected --workdir=DIR")
    _start_thresholds()
    if not _POOL.value:
        if _EMBEDDINGS.value:
            raise InputError("--label_embeddings: the built-in pool has its own; give --pool too")
        if _OBJECTIVE.value == "validation":
            raise InputError("--objective=validation: needs --pool=FILE with real conversations")
        generator = BuiltinPool(seed=_SEED.value)
        table = generator.table()
        names, vectors = generator.label_embeddings()
        place = {name: row for row, name in enumerate(names)}
        vectors, present = vectors[[place[name] for name in table.label_names]], None
    else:
        if not _EMBEDDINGS.value:
            raise InputError("--label_embeddings: missing, expected --label_embeddings=EMB.npz")
        table = data.read_pool(_POOL.value, cache=data.default_cache_folder())
        vectors, present = data.read_label_embeddings(_EMBEDDINGS.value, table.label_names)
    if _BUDGET.value > table.num_records:
        raise InputError(
            f"--budget: found {_BUDGET.value}, expected at most the pool's "
            f"{table.num_records:,} records"
        )
    graph = label_graph_from_embeddings(vectors, _LOWEST.value, present=present)
    say(
        f"{table.num_records:,} records with {table.num_labels:,} labels and "
        f"{graph.num_edges:,} edges"
    )
    return Inputs(
        table=table,
        pool=pool_from_table(table),
        graph=graph,
        embeddings=np.asarray(vectors, np.float32),
        budget=_BUDGET.value,
        seed=_SEED.value,
        validation=_VALIDATION.value,
        test=_TEST.value,
        task=_TASK.value,
        say=say,
    )


def _leave_one_out(
    inputs: Inputs, past_runs: PastRuns, parameterisation: Parameterisation
) -> float:
    with tqdm.tqdm(
        desc="leaving out one run each", total=len(past_runs.picks), unit="runs", file=sys.stderr
    ) as bar:
        correlation, _ = leave_one_out(
            inputs.pool,
            inputs.graph,
            parameterisation,
            past_runs.picks,
            past_runs.results,
            jax.random.key(inputs.seed),
            seed=inputs.seed,
            steps=_steps(),
            on_subset=lambda done: bar.update(done - bar.n),
        )
    return correlation


def _parameterisation(inputs: Inputs, threshold: float) -> Parameterisation:
    basis = fit_feature_basis(inputs.pool, inputs.graph, inputs.embeddings)
    features = label_features(basis, inputs.pool, inputs.graph, inputs.embeddings)
    common: dict[str, Any] = {
        "start": shared_start(threshold=threshold),
        "lowest_threshold": jnp.asarray(_LOWEST.value),
        "highest_threshold": jnp.asarray(_HIGHEST_THRESHOLD),
        "prior": jnp.asarray(_PRIOR.value),
    }
    if _PARAMETERS.value == "features":
        return FromFeatures(features=features, basis=basis, **common)
    return Free(num_labels=inputs.graph.num_labels, directions=features, **common)


def _settings() -> dict[str, Any]:
    names = (_POOL, _EMBEDDINGS, _OBJECTIVE, _VALIDATION, _TEST, _TASK, _BUDGET, _SEED)
    settings = {f.name: f.value for f in (*names, _PARAMETERS, _PRIOR, _LOWEST)}
    return settings | {"steps": _steps(), "start_thresholds": _start_thresholds()}


def _run() -> None:
    inputs = _inputs()
    folder = pathlib.Path(_WORKDIR.value)
    task = make_task(_OBJECTIVE.value, inputs)
    starts = [_parameterisation(inputs, threshold) for threshold in _start_thresholds()]
    settings = {name: value for name, value in _settings().items() if name != "workdir"}
    best = learn_from_starts(inputs, task, starts, folder / "state", settings, _steps())
    parameterisation, found = best.parameterisation, best.found
    save_learned(folder / "params", parameterisation, found.params, inputs.table.label_names)
    left_out = None
    if task.past_runs is not None:
        left_out = _leave_one_out(inputs, task.past_runs, parameterisation)
    with tqdm.tqdm(desc="comparing with the grid", unit="cells", file=sys.stderr) as bar:

        def on_cell(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        rows, grid = compare(
            inputs,
            task,
            found.learned,
            best.seconds,
            on_method=lambda name: say(f"judging on the test data: {name}"),
            on_cell=on_cell,
        )
    before = parameterisation.learned(parameterisation.init(jax.random.key(_SEED.value)))
    counts = np.bincount(np.asarray(inputs.pool.labels), minlength=inputs.graph.num_labels)
    write_report(
        folder,
        LearningReport(
            settings={**_settings(), "loss": task.loss_name, "grid": grid},
            objective=_OBJECTIVE.value,
            label_names=inputs.table.label_names,
            label_counts=counts,
            before=before,
            after=found.learned,
            history=found.history,
            pool=inputs.pool,
            picks_before=select_learned(inputs, before).picks,
            picks_after=select_learned(inputs, found.learned).picks,
            comparison=rows,
            best_step=found.best_step,
            stopped_early=found.stopped_early,
            seconds=best.seconds,
            leave_one_out=left_out,
        ),
    )
    _print(rows, task.loss_name, folder)


def _print(rows: list[dict[str, Any]], loss: str, folder: pathlib.Path) -> None:
    print(f"{'method':<10} {'test loss':>10}   {'95 % interval':<20} {'seconds':>8}   ({loss})")
    for row in sorted(rows, key=lambda row: row["test_loss"]):
        interval = f"{row['low']:.4f} to {row['high']:.4f}"
        print(
            f"{row['method']:<10} {row['test_loss']:>10.4f}   {interval:<20} {row['seconds']:>8.1f}"
            f"   {row['detail']}"
        )
    print(f"report: {folder / 'report.md'}")


def main(arguments: list[str]) -> int:
    """Runs the program and returns its exit status: 0, or 2 for input that cannot be used."""
    logging.set_verbosity(logging.WARNING)  # Orbax tells much.

    def command() -> None:
        flags_only(arguments[1:])
        _run()

    return exit_status("learn_params", command, interrupted="the same command goes on from here")


if __name__ == "__main__":
    app.run(main)
