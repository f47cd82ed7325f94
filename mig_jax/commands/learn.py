"""`mig-jax learn`: learns the parameters of the measure, selects with them, and tells how good
that is beside what one would do instead.

    mig-jax learn --workdir=learned

learns on the built-in pool with a planted truth in a minute and a half. On data of your own:

    mig-jax learn --workdir=learned --pool=POOL.jsonl --label_embeddings=EMB.npz \
        --objective=validation --validation=DEV.jsonl --test=TEST.jsonl --budget=2000

The folder gets `report.md` with pictures, `report.json`, `params` (for `mig-jax select
--params=learned/params`) and what was selected with them: `selected.jsonl` with its manifest and
table of picks. The same command in the same folder goes on where it was stopped, to the same
result.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from absl import flags

from mig_jax import data
from mig_jax.commands.command import Command
from mig_jax.commands.learn_options import Options, define_flags, options_of
from mig_jax.commands.learned_selection import SelectedFiles, select_learned_records
from mig_jax.commands.learning_inputs import (
    check_budgets,
    inputs_of_table,
    needed_label_embeddings,
)
from mig_jax.commands.learning_rivals import rivals
from mig_jax.commands.learning_steps import Learning, kept_in_words, refuse_others
from mig_jax.commands.pool_inputs import read_table, say_read
from mig_jax.commands.terminal import listed, progress_bar, say, tell
from mig_jax.commands.workdir import held_workdir
from mig_jax.learning import (
    Inputs,
    Task,
    compare,
    make_task,
    refuse_foreign_params,
    save_learned,
    select_learned,
)
from mig_jax.reports import (
    REPORT_FILES,
    LearningReport,
    comparison_lines,
    hardly_joined,
    learning_notes,
    summary,
    write_report,
)

__all__ = ["COMMAND", "Options", "run"]

_STAGES = ("reading", "learning", "selecting", "comparing", "reporting")


def run(options: Options) -> None:
    """Learns, selects, compares and writes; all but the states of learning appear at the end.

    Raises:
      InputError: for anything given that cannot be used.
    """
    with (
        held_workdir(options.workdir, "learn") as workdir,
        data.OutputFiles(options.files()) as outputs,
    ):
        # Before the work, not after.
        refuse_foreign_params(workdir / "params")
        refuse_others(workdir / "state", options.known_settings())
        outputs.claim(*(workdir / name for name in REPORT_FILES))
        files = SelectedFiles.opened(outputs, workdir)
        _say_stage("reading", "the pool, and how similar its labels are")
        options, inputs = _inputs(options, outputs, str(workdir / "learn"))
        task = make_task(options.objective, inputs)
        say(f"objective {options.objective}: {task.about}")
        if task.seen:
            say(f"warning: {task.seen}")
        others = rivals(inputs, task)  # What they cannot use is known before hours of learning.

        _say_stage("learning", _what_is_learned(options, inputs, task))
        learning = Learning(
            inputs,
            task,
            functools.partial(options.starts, inputs, task),
            workdir / "state",
            settings=options.settings(),
            steps=options.steps,
            with_parts=options.ablation,
        )
        best = learning.best()
        parameterisation, found = best.parameterisation, best.found
        say(kept_in_words(best, task))
        known = learning.known_shapes(best)
        parts = learning.parts(best) if options.ablation else []

        _say_stage("selecting", f"{options.budget:,} records with what was learned")
        # As `mig-jax select --params` computes it, to the bit: not under jit.
        applied = parameterisation.learned(found.params)
        parameters = {**dataclasses.asdict(options), "gain": "exact"}
        budgets = inputs.budgets if task.objective.needs_selection else ()
        selection, about = select_learned_records(inputs, applied, budgets, parameters, files)

        rest = f", {' and '.join(one.method for one in others)}" if others else ""
        _say_stage("comparing", f"with a random choice, the top scores, the paper, a grid{rest}")
        thresholds = options.rival_thresholds(inputs)
        with _comparing() as told:
            rows, grid = compare(
                inputs,
                task,
                found.learned,
                best.seconds,
                [*others, *parts],
                **told,
                thresholds=thresholds,
            )
        notes = learning_notes(options.objective, thresholds)

        _say_stage("reporting", f"{workdir / 'report.md'} and its pictures")
        before = parameterisation.learned(parameterisation.init(jax.random.key(options.seed)))
        prior = options.prior_of(task)
        in_force = {"score_function": prior.family, "prior": prior.strength}
        in_force["start_thresholds"] = options.thresholds(task)
        in_force["paper_threshold"] = thresholds.paper
        in_force["grid_thresholds"] = list(thresholds.grid)
        report = LearningReport(
            settings={**options.settings(), **in_force, "loss": task.loss_name, "grid": grid},
            objective=options.objective,
            about=task.about,
            seen=task.seen,
            label_names=inputs.table.label_names,
            label_counts=np.bincount(inputs.pool.labels, minlength=inputs.graph.num_labels),
            before=before,
            after=found.learned,
            history=found.history,
            pool=inputs.pool,
            picks_before=select_learned(inputs, before).picks,
            picks_after=selection.picks,
            comparison=rows,
            notes=notes,
            best_step=found.best_step,
            stopped_early=found.stopped_early,
            seconds=best.seconds,
            budgets=list(budgets),
            matched=task.matches_gains,
            past_runs=learning.past_runs,
            selected=about,
            known=known,
            truth=task.truth,
        )
        params, names = workdir / "params", inputs.table.label_names
        save_learned(
            params,
            parameterisation,
            found.params,
            names,
            budgets=budgets,
            outputs=outputs,
        )
        write_report(outputs, workdir, report)
    few = hardly_joined(about)
    if few is not None:
        say(f"warning: the threshold that was learned joins hardly any labels: {few}")
    tell(comparison_lines(rows, task.loss_name, notes))
    tell(summary(about, str(workdir / "selected.jsonl")))
    tell(f"report, with pictures -> {workdir / 'report.md'}")
    tell(f"learned parameters    -> {workdir / 'params'}")


def _say_stage(name: str, what: str) -> None:
    say(f"[{_STAGES.index(name) + 1}/{len(_STAGES)}] {name}: {what}")


def _what_is_learned(options: Options, inputs: Inputs, task: Task) -> str:
    kind = "for each label" if options.parameters == "free" else "from the features of labels"
    if task.past_runs is not None:
        kind = "for all labels, or for each where leaving out one run says that it helps"
    family = options.prior_of(task).family
    starts = listed([f"{threshold:g}" for threshold in options.thresholds(task)], last="or")
    number = f"{inputs.graph.num_labels:,}"
    text = (
        f"a weight and a shape ({family}) {kind}; for all {number} labels the propagation, the "
        f"score exponent and the similarity threshold, starting at {starts}"
    )
    if not task.objective.needs_selection:
        return text
    budgets = listed([f"{budget:,}" for budget in inputs.budgets])
    return f"{text}; for selections of {budgets} records"


def _inputs(options: Options, outputs: data.OutputFiles, stem: str) -> tuple[Options, Inputs]:
    """The pool, and the flags with what fits it where they say nothing."""
    check = functools.partial(check_budgets, options.budget, options.budgets)
    table = read_table(options, outputs, stem, check=check)
    say_read(table)
    embeddings = needed_label_embeddings(options, table)
    options = options.with_thresholds_that_fit(*embeddings, say)
    names = ("budget", "seed", "lowest_threshold", "validation", "test", "task")
    given = {name: getattr(options, name) for name in names}
    given["budgets"] = tuple(options.budgets)
    inputs = inputs_of_table(options, table, embeddings=embeddings, **given)
    say(
        f"{inputs.graph.num_edges:,} pairs of labels are similar by {options.lowest_threshold:g} "
        "or more; from which similarity on they are joined is learned"
    )
    return options, inputs


@contextlib.contextmanager
def _comparing() -> Iterator[dict[str, Any]]:
    """What `compare` calls on its way: a bar for the grid's settings, then one for the losses."""
    with contextlib.ExitStack() as stack:
        first = progress_bar("selecting with the settings of a grid", None, unit="settings")
        bars: list[Any] = [stack.enter_context(first)]

        def on_cell(done: int, total: int) -> None:
            bars[0].total = total
            bars[0].update(done - bars[0].n)

        def on_method(name: str, done: int, total: int) -> None:
            if len(bars) == 1:
                bars[0].close()
                second = progress_bar("measuring test losses", total, unit="methods")
                bars.append(stack.enter_context(second))
            bars[1].set_postfix_str(name, refresh=False)
            bars[1].update(done - bars[1].n)

        yield {"on_cell": on_cell, "on_method": on_method}


def _run(values: flags.FlagValues) -> None:
    run(options_of(values))


COMMAND = Command(
    name="learn",
    define_flags=define_flags,
    run=_run,
    required=("workdir",),
    interrupted="the same command goes on from here",
    examples=(
        "--workdir=learned",
        "pool.jsonl --label_embeddings=labels.npz --objective=validation "
        "--validation=mine.jsonl --test=others.jsonl --workdir=learned",
    ),
)
