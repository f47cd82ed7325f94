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
import math
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from absl import flags

from mig_jax import data
from mig_jax.commands.command import Command
from mig_jax.commands.flag_groups import (
    InputOptions,
    check_input_flags,
    define_input_flags,
)
from mig_jax.commands.flag_values import adder
from mig_jax.commands.learned_selection import SelectedFiles, select_learned_records
from mig_jax.commands.learning_inputs import inputs_of_table
from mig_jax.commands.learning_rivals import rivals
from mig_jax.commands.learning_steps import Learning
from mig_jax.commands.pool_inputs import read_table, say_read
from mig_jax.commands.terminal import listed, progress_bar, say, tell
from mig_jax.commands.workdir import held_workdir
from mig_jax.errors import InputError
from mig_jax.learning import (
    HIGHEST_THRESHOLD,
    LOWEST_THRESHOLD,
    OBJECTIVES,
    START_THRESHOLDS,
    ByLabel,
    Inputs,
    Parameterisation,
    Task,
    compare,
    make_task,
    parameters_of_features,
    parameters_of_labels,
    refuse_foreign_params,
    save_learned,
    select_learned,
)
from mig_jax.reports import (
    REPORT_FILES,
    LearningReport,
    comparison_lines,
    summary,
    write_report,
)
from mig_jax.synthetic import BuiltinPool

__all__ = ["COMMAND", "Options", "run"]

_PLANTED = "planted"
_STEPS = 120
_DEFAULT_STARTS = ",".join(f"{threshold:g}" for threshold in START_THRESHOLDS)
_STAGES = ("reading", "learning", "selecting", "comparing", "reporting")


@dataclasses.dataclass(frozen=True)
class Options(InputOptions):
    """The flags of the command; `--help` explains each."""

    workdir: str
    objective: str
    validation: str | None
    test: str | None
    task: str | None
    budget: int
    budgets: list[int]
    steps: int
    seed: int
    parameters: str
    ablation: bool
    prior: float | None
    lowest_threshold: float
    start_thresholds: list[float]

    @property
    def builtin_pool(self) -> BuiltinPool:
        return BuiltinPool(seed=self.seed)

    def files(self) -> list[str]:
        return [*super().files(), *data.local_files(filter(None, [self.validation, self.test]))]

    def settings(self) -> dict[str, Any]:
        """The flags that decide the result."""
        given = dataclasses.asdict(self)
        return {name: given[name] for name in given if name not in ("workdir", "cache")}

    def starts(self, inputs: Inputs, task: Task, by_label: ByLabel) -> list[Parameterisation]:
        """What is learned, at each threshold that learning starts from."""
        make: Any = parameters_of_labels if self.parameters == "free" else parameters_of_features
        prior = task.prior if self.prior is None else self.prior
        common = {"lowest_threshold": self.lowest_threshold, "prior": prior, "by_label": by_label}
        return [make(inputs, start, **common) for start in self.start_thresholds]


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
        outputs.claim(*(workdir / name for name in REPORT_FILES))
        files = SelectedFiles.opened(outputs, workdir)
        _say_stage("reading", "the pool, and how similar its labels are")
        inputs = _inputs(options, outputs, str(workdir / "learn"))
        task = make_task(options.objective, inputs)
        say(f"objective {options.objective}: {task.about}")

        _say_stage("learning", _what_is_learned(options, inputs, task))
        learning = Learning(
            inputs,
            task,
            functools.partial(options.starts, inputs, task),
            workdir / "state",
            settings=options.settings(),
            steps=options.steps,
        )
        best = learning.best()
        parameterisation, found = best.parameterisation, best.found
        say(
            f"held-out loss {found.history[0].held_out:.4f} at the start, "
            f"{float(found.state.best_loss):.4f} with what is kept, that of step {found.best_step}"
        )
        known = learning.known_shapes(best)
        parts = learning.parts(best) if options.ablation else []

        _say_stage("selecting", f"{options.budget:,} records with what was learned")
        # As `mig-jax select --params` computes it, to the bit: not under jit.
        applied = parameterisation.learned(found.params)
        parameters = {**dataclasses.asdict(options), "gain": "exact"}
        budgets = inputs.budgets if task.objective.needs_selection else ()
        selection, about = select_learned_records(inputs, applied, budgets, parameters, files)

        others = rivals(inputs, task)
        rest = f", {' and '.join(one.method for one in others)}" if others else ""
        _say_stage("comparing", f"with a random choice, the top scores, the paper, a grid{rest}")
        with _comparing() as told:
            rows, grid = compare(
                inputs, task, found.learned, best.seconds, [*others, *parts], **told
            )

        _say_stage("reporting", f"{workdir / 'report.md'} and its pictures")
        before = parameterisation.learned(parameterisation.init(jax.random.key(options.seed)))
        report = LearningReport(
            settings={**options.settings(), "loss": task.loss_name, "grid": grid},
            objective=options.objective,
            about=task.about,
            label_names=inputs.table.label_names,
            label_counts=np.bincount(inputs.pool.labels, minlength=inputs.graph.num_labels),
            before=before,
            after=found.learned,
            history=found.history,
            pool=inputs.pool,
            picks_before=select_learned(inputs, before).picks,
            picks_after=selection.picks,
            comparison=rows,
            best_step=found.best_step,
            stopped_early=found.stopped_early,
            seconds=best.seconds,
            budgets=list(budgets),
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
    tell(comparison_lines(rows, task.loss_name))
    tell(summary(about, str(workdir / "selected.jsonl")))
    tell(f"report, with pictures -> {workdir / 'report.md'}")
    tell(f"learned parameters    -> {workdir / 'params'}")


def _say_stage(name: str, what: str) -> None:
    say(f"[{_STAGES.index(name) + 1}/{len(_STAGES)}] {name}: {what}")


def _what_is_learned(options: Options, inputs: Inputs, task: Task) -> str:
    kind = "for each label" if options.parameters == "free" else "from the features of labels"
    if task.past_runs is not None:
        kind = "for all labels, or for each where leaving out one run says that it helps"
    starts = listed([f"{threshold:g}" for threshold in options.start_thresholds], last="or")
    number = f"{inputs.graph.num_labels:,}"
    text = (
        f"a weight and an exponent {kind}; for all {number} labels the propagation, the score "
        f"exponent and the similarity threshold, starting at {starts}"
    )
    if not task.objective.needs_selection:
        return text
    budgets = listed([f"{budget:,}" for budget in inputs.budgets])
    return f"{text}; for selections of {budgets} records"


def _inputs(options: Options, outputs: data.OutputFiles, stem: str) -> Inputs:
    table = read_table(options, outputs, stem)
    say_read(table)
    names = ("budget", "seed", "lowest_threshold", "validation", "test", "task")
    given = {name: getattr(options, name) for name in names}
    given["budgets"] = tuple(options.budgets)
    inputs = inputs_of_table(options, table, **given)
    say(
        f"{inputs.graph.num_edges:,} pairs of labels are similar by {options.lowest_threshold:g} "
        "or more; from which similarity on they are joined is learned"
    )
    return inputs


@contextlib.contextmanager
def _comparing() -> Iterator[dict[str, Any]]:
    """What `compare` calls on its way: a bar for the cells of the grid, then one for judging."""
    with contextlib.ExitStack() as stack:
        bars: list[Any] = [stack.enter_context(progress_bar("grid", None, unit="cells"))]

        def on_cell(done: int, total: int) -> None:
            bars[0].total = total
            bars[0].update(done - bars[0].n)

        def on_method(name: str, done: int, total: int) -> None:
            if len(bars) == 1:
                bars[0].close()
                bars.append(stack.enter_context(progress_bar("judging", total, unit="methods")))
            bars[1].set_postfix_str(name, refresh=False)
            bars[1].update(done - bars[1].n)

        yield {"on_cell": on_cell, "on_method": on_method}


def _define_flags(values: flags.FlagValues) -> None:
    add = adder(values)
    define_input_flags(add)
    add(flags.DEFINE_string, "workdir", None, "Folder for all that is written.")
    add(
        flags.DEFINE_enum,
        "objective",
        _PLANTED,
        list(OBJECTIVES),
        "What the selection is to be good for.",
    )
    add(
        flags.DEFINE_string,
        "validation",
        None,
        "What to learn from. target, validation: JSON lines with conversations (and labels, and "
        "task if records are of several); subsets: CSV with the columns subset (a table of picks, "
        "as mig-jax select writes it) and score; imitation: a table of picks.",
    )
    add(flags.DEFINE_string, "test", None, "The same, to report on; never learned from.")
    add(flags.DEFINE_string, "task", None, "Only records of this `task` in both files.")
    add(flags.DEFINE_integer, "budget", 500, "Records to select.", lower_bound=1)
    add(
        flags.DEFINE_list,
        "budgets",
        [],
        "The numbers of records that are learned for, in turn; one measure then serves any "
        "between. A quarter of --budget, itself and four times as many without.",
    )
    add(flags.DEFINE_integer, "steps", _STEPS, "Most steps of learning.", lower_bound=1)
    add(
        flags.DEFINE_integer,
        "seed",
        0,
        "Of all that is random, the built-in pool included.",
        lower_bound=0,
    )
    add(
        flags.DEFINE_enum,
        "parameters",
        "free",
        ["free", "features"],
        "Learn values for the labels of this pool, or a function of label features for any pool.",
    )
    add(
        flags.DEFINE_boolean,
        "ablation",
        True,
        "Learn once more with weights alone, shapes alone and neither by label, so that the report "
        "tells what each brings; not for subsets and imitation.",
    )
    add(
        flags.DEFINE_float,
        "prior",
        None,
        "How strongly labels are pulled towards the values they share: the more, the noisier the "
        "data. 1e-5 for planted, 1e-3 for all else without.",
        lower_bound=0.0,
    )
    add(
        flags.DEFINE_float,
        "lowest_threshold",
        LOWEST_THRESHOLD,
        "Edges less similar are not considered.",
        lower_bound=0.0,
        upper_bound=1.0,
    )
    add(
        flags.DEFINE_list,
        "start_thresholds",
        None,
        "Where T may start: gains are matched at each of these numbers, and learning goes on from "
        "the one where they match best. subsets and imitation are learned from each, and the one "
        f"with the lowest held-out loss is kept. {_DEFAULT_STARTS} without; of these "
        "those above --lowest_threshold.",
    )


def _options(values: flags.FlagValues) -> Options:
    check_input_flags(values)
    if values.objective == "validation" and not values.pool:
        raise InputError("--objective=validation: needs --pool=FILE with real conversations")
    given = values.flag_values_dict()
    lowest = values.lowest_threshold
    starts = values.start_thresholds or [t for t in START_THRESHOLDS if t > lowest]
    if not starts:
        raise InputError(
            f"--lowest_threshold: found {lowest:g}, expected below {START_THRESHOLDS[-1]:g}, or "
            "--start_thresholds above it"
        )
    given["start_thresholds"] = [_start(text, lowest) for text in starts]
    if values.objective in ("subsets", "imitation") and values.budgets:
        raise InputError(
            f"--budgets: --objective={values.objective} is not of selections; expected none"
        )
    given["budgets"] = [_budget(text) for text in values.budgets]
    return Options(**given)


def _budget(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise InputError(f"--budgets: found {text}, expected whole numbers of at least 1")
    return int(text)


def _start(text: str | float, lowest: float) -> float:
    try:
        threshold = float(text)
    except ValueError:
        threshold = math.nan
    if not lowest < threshold < HIGHEST_THRESHOLD:
        raise InputError(
            f"--start_thresholds: found {text}, expected numbers between --lowest_threshold, "
            f"which is {lowest}, and {HIGHEST_THRESHOLD}"
        )
    return threshold


def _run(values: flags.FlagValues) -> None:
    run(_options(values))


COMMAND = Command(
    name="learn",
    summary="learn the parameters of the measure, and select with them",
    define_flags=_define_flags,
    run=_run,
    required=("workdir",),
    interrupted="the same command goes on from here",
)
