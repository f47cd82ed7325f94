"""Learns the parameters of the measure, and compares them with what one would do instead.

    python -m experiments.learn_params --workdir=DIR

learns on the built-in pool with a planted truth in about two minutes. On data of your own:

    python -m experiments.learn_params --workdir=DIR --pool=POOL.jsonl --label_embeddings=EMB.npz \
        --objective=validation --validation=DEV.jsonl --test=TEST.jsonl --budget=2000

DIR gets `params` (for `mig-jax select --params=DIR/params`), `report.json`, `report.md` and
plots. The same command in the same DIR goes on where it was stopped, to the same result.
"""

from __future__ import annotations

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
from experiments.comparison import compare, select_learned
from experiments.learning_report import LearningReport, write_report
from experiments.learning_tasks import OBJECTIVES, Inputs, make_task
from mig_jax import data
from mig_jax.errors import InputError
from mig_jax.label_features import fit_feature_basis, label_features
from mig_jax.learned_files import LearningStates, learning_run, save_learned
from mig_jax.learning import LearningState, initial_state, learn
from mig_jax.parameters import Free, FromFeatures, Parameterisation, shared_start

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
_STEPS = flags.DEFINE_integer("steps", 40, "Most steps of learning.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "Of all that is random.", lower_bound=0)
_PARAMETERS = flags.DEFINE_enum(
    "parameters",
    "free",
    ["free", "features"],
    "Learn values for the labels of this pool, or a function of label features for any pool.",
)
_LOWEST = flags.DEFINE_float(
    "lowest_threshold", 0.6, "Edges less similar are not considered.", 0.0, 1.0
)
_START_THRESHOLD = flags.DEFINE_float("start_threshold", 0.65, "Where T starts.", 0.0, 1.0)

_HIGHEST_THRESHOLD = 0.97
_SAVE_EVERY_SECONDS = 5.0


def _inputs() -> Inputs:
    if not _WORKDIR.value:
        raise InputError("--workdir: missing, expected --workdir=DIR")
    if not _LOWEST.value < _START_THRESHOLD.value < _HIGHEST_THRESHOLD:
        raise InputError(
            f"--start_threshold: found {_START_THRESHOLD.value}, expected a number between "
            f"--lowest_threshold, which is {_LOWEST.value}, and {_HIGHEST_THRESHOLD}"
        )
    if not _POOL.value:
        if _EMBEDDINGS.value:
            raise InputError("--label_embeddings: the built-in pool has its own; give --pool too")
        if _OBJECTIVE.value == "validation":
            raise InputError("--objective=validation: needs --pool=FILE with real conversations")
        generator = data.BuiltinPool(seed=_SEED.value)
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
    graph = mig_jax.label_graph_from_embeddings(vectors, _LOWEST.value, present=present)
    _say(
        f"{table.num_records:,} records with {table.num_labels:,} labels and "
        f"{graph.num_edges:,} edges"
    )
    return Inputs(
        table=table,
        pool=mig_jax.pool_from_table(table),
        graph=graph,
        embeddings=np.asarray(vectors, np.float32),
        budget=_BUDGET.value,
        seed=_SEED.value,
        validation=_VALIDATION.value,
        test=_TEST.value,
        task=_TASK.value,
        say=_say,
    )


def _parameterisation(inputs: Inputs) -> Parameterisation:
    basis = fit_feature_basis(inputs.pool, inputs.graph, inputs.embeddings)
    features = label_features(basis, inputs.pool, inputs.graph, inputs.embeddings)
    common: dict[str, Any] = {
        "start": shared_start(threshold=_START_THRESHOLD.value),
        "lowest_threshold": jnp.asarray(_LOWEST.value),
        "highest_threshold": jnp.asarray(_HIGHEST_THRESHOLD),
    }
    if _PARAMETERS.value == "features":
        return FromFeatures(features=features, basis=basis, **common)
    return Free(num_labels=inputs.graph.num_labels, directions=features, **common)


def _settings() -> dict[str, Any]:
    names = (_POOL, _EMBEDDINGS, _OBJECTIVE, _VALIDATION, _TEST, _TASK, _BUDGET, _STEPS, _SEED)
    return {f.name: f.value for f in (*names, _PARAMETERS, _LOWEST, _START_THRESHOLD)}


def _run() -> None:
    inputs = _inputs()
    folder = pathlib.Path(_WORKDIR.value)
    task = make_task(_OBJECTIVE.value, inputs)
    parameterisation = _parameterisation(inputs)
    key = jax.random.key(_SEED.value)
    common: dict[str, Any] = {"steps": _STEPS.value}
    settings = {name: value for name, value in _settings().items() if name != "workdir"}
    parts = (inputs.pool, inputs.graph, parameterisation)
    run = learning_run(*parts, task.objective, settings)
    with (
        LearningStates(folder / "state", run) as states,
        tqdm.tqdm(desc="learning", total=_STEPS.value, unit="steps", file=sys.stderr) as bar,
    ):
        resume = states.restore(initial_state(inputs.graph, parameterisation, key, **common))
        bar.update(0 if resume is None else int(resume.step))
        clock = folder / "seconds.json"
        spent = json.loads(clock.read_text()) if resume is not None and clock.exists() else 0.0
        saved_at = time.perf_counter()
        start = saved_at - spent

        def on_step(state: LearningState, temperature: float) -> None:
            nonlocal saved_at
            losses = np.asarray(state.history)
            fitted, held_out = losses[~np.isnan(losses[:, 0])][-1]
            bar.set_postfix_str(
                f"loss {fitted:.4f}, held out {held_out:.4f}, temperature {temperature:.3f}",
                refresh=False,
            )
            bar.update(int(state.step) - bar.n)
            if time.perf_counter() - saved_at > _SAVE_EVERY_SECONDS:
                states.save(state)
                clock.write_text(json.dumps(time.perf_counter() - start))
                saved_at = time.perf_counter()

        found = learn(
            *parts,
            task.objective,
            inputs.budget,
            key,
            resume=resume,
            on_step=on_step,
            **common,
        )
        seconds = time.perf_counter() - start
        states.save(found.state)
        clock.write_text(json.dumps(seconds))
    save_learned(folder / "params", parameterisation, found.params, inputs.table.label_names)
    with tqdm.tqdm(desc="comparing with the grid", unit="cells", file=sys.stderr) as bar:

        def on_cell(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        rows, grid = compare(
            inputs,
            task,
            found.learned,
            seconds,
            on_method=lambda name: _say(f"judging on the test data: {name}"),
            on_cell=on_cell,
        )
    before = parameterisation.learned(parameterisation.init(key))
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
            seconds=seconds,
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


def _say(text: str) -> None:
    tqdm.tqdm.write(text, file=sys.stderr)


def main(arguments: list[str]) -> int:
    """Runs the program and returns its exit status: 0, or 2 for input that cannot be used."""
    logging.set_verbosity(logging.WARNING)  # Orbax tells much.
    try:
        if len(arguments) > 1:
            raise InputError(f"{arguments[1]}: expected flags only, as --flag=value")
        _run()
    except InputError as error:
        print(f"learn_params: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("learn_params: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    app.run(main)
