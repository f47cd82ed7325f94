"""The flags of `mig-jax select`: what they are, which go together, and what was given."""

from __future__ import annotations

import dataclasses
import functools
import sys
from typing import Any, Final, Literal

from absl import flags

from mig_jax import data
from mig_jax.commands.asking_flags import AskingOptions
from mig_jax.commands.budget_flags import (
    BudgetOptions,
    check_budget_options,
    define_budget_flags,
)
from mig_jax.commands.compare_flags import (
    CompareOptions,
    check_compare_flags,
    define_compare_flags,
)
from mig_jax.commands.flag_groups import (
    LARGEST_PARAMETER,
    SMALLEST_EXPONENT,
    SMALLEST_RATE,
    USUAL_NEIGHBOURS,
    InputOptions,
    check_count_flag,
    check_input_flags,
    define_count_flag,
    define_input_flags,
    stem_of,
)
from mig_jax.commands.flag_values import AddFlag, ThresholdParser, adder
from mig_jax.commands.given_flags import (
    GivenOptions,
    check_given_flags,
    define_given_flags,
    files_beside,
)
from mig_jax.commands.method_flags import (
    MethodOptions,
    check_method_flags,
    define_method_flags,
)
from mig_jax.commands.pool_files import open_pool
from mig_jax.commands.process_flags import check_process_flags, define_process_flags
from mig_jax.errors import InputError
from mig_jax.measure import FAMILIES, GAIN_RULES, PAPER, Measure

__all__ = ["SelectOptions", "define_select_flags", "select_options"]

_PRESETS: Final[dict[str, dict[str, Any]]] = {
    "paper": {
        "gain": PAPER.gain,
        "score_function": PAPER.family,
        "exponent": PAPER.exponent,
        "epsilon": PAPER.epsilon,
        "propagation": PAPER.propagation,
        "similarity_threshold": PAPER.threshold,
    }
}
# Flags that are parameters of families, by the same names.
_OF_FAMILIES: Final = ("exponent", "epsilon", "rate")
# Flags whose place is taken by what --params holds.
_REPLACED_BY_PARAMS: Final = (
    "preset",
    "score_function",
    "exponent",
    "rate",
    "epsilon",
    "propagation",
    "similarity_threshold",
    "neighbours",
)


@dataclasses.dataclass(frozen=True)
class SelectOptions(GivenOptions, InputOptions, BudgetOptions, MethodOptions, CompareOptions):
    """The flags of the command; `mig-jax select --help` explains each."""

    output: str
    output_layout: str
    drop_field: list[str]
    count_by: str | None
    dataset_info: str | None
    report: str | None
    similarity_threshold: float | Literal["auto"]
    neighbours: float
    propagation: float
    gain: str
    preset: str | None
    score_function: str
    exponent: float
    rate: float
    epsilon: float
    params: str | None
    certificate: bool
    devices: str | None
    coordinator_address: str | None
    num_processes: int
    process_id: int
    process_timeout_seconds: int
    checkpoint_dir: str | None
    checkpoint_every_seconds: float
    dry_run: bool

    def files(self) -> list[str]:
        """All that is read, which no output may overwrite."""
        # By MIG, what a manifest of `mig-jax learn` tells of is not read again.
        wanted = [] if self.by_mig or self.validation is None else [self.validation]
        read = data.local_files([*self.given, *wanted])
        asked = self.files_asked if self.asks else []
        return [*super().files(), *self.budget_files, *read, *asked]

    @property
    def stem(self) -> str:
        """What the names of the other outputs begin with."""
        return stem_of(self.output, ".jsonl", ".json", ".parquet")

    @property
    def form(self) -> data.OutputForm:
        """What the records are written as."""
        return data.output_form(self.output, as_table=self.output_layout == "parquet")

    @property
    def written_form(self) -> data.WrittenForm:
        """How the records are written."""
        return data.WrittenForm(
            layout=data.OUTPUT_LAYOUTS[self.output_layout],
            without=tuple(self.drop_field),
            for_llama_factory=self.dataset_info is not None,
        )

    @functools.cached_property
    def sources(self) -> list[data.RecordFile]:
        """The files of the pool, and behind them those of --given that are not among them."""
        pool = super().sources
        beside = files_beside(self.given_places, [file.stamp.path for file in pool])
        if not beside:
            return pool
        how = {"fields": self.fields, "longest_record": self.limits.longest_record}
        return open_pool([*pool, *beside], cache=self.cache_folder, **how)

    def parameters(self, threshold: float | None = None) -> dict[str, Any]:
        """The flags that count, for the manifest; `threshold` is what joined labels, if known."""
        unused = [] if self.params is None else [*_REPLACED_BY_PARAMS]
        if self.similarity_threshold != "auto":
            unused.append("neighbours")
        if self.by_mig:
            unused += [field.name for field in dataclasses.fields(MethodOptions)]
        elif not self.asks:
            unused += [field.name for field in dataclasses.fields(AskingOptions)]
        found = dataclasses.asdict(self)
        if threshold is not None:
            found["similarity_threshold"] = threshold
        return {k: v for k, v in found.items() if k not in unused}

    def measure(self) -> Measure:
        """The measure that the flags describe; parameters of a family without one keep theirs."""
        family = FAMILIES[self.score_function]
        names = {field.name for field in dataclasses.fields(family)}
        given = {name: getattr(self, name) for name in _OF_FAMILIES if name in names}
        return Measure(family(**given), self.propagation)


def define_select_flags(values: flags.FlagValues) -> None:
    """Defines all flags of the command."""
    add = adder(values)
    define_input_flags(add)
    _define_output_flags(add)
    _define_measure_flags(add)
    define_given_flags(add)
    define_process_flags(add)
    define_budget_flags(add)
    define_method_flags(add)
    define_compare_flags(add)
    add(flags.DEFINE_boolean, "certificate", True, "Prove how close to optimal the selection is.")
    add(
        flags.DEFINE_boolean,
        "dry_run",
        False,
        "Select nothing and write no output: read the pool and tell what would be done, what it "
        "is expected to take, and which files would be written.",
    )
    add(
        flags.DEFINE_string,
        "checkpoint_dir",
        None,
        "Directory where the selection is saved as it goes on: the same command resumes after a "
        "kill. It stays in the end, so that the same command, or one with a larger --budget and no "
        "other limit, goes on from there; delete it when done. Not used by default.",
    )
    add(
        flags.DEFINE_float,
        "checkpoint_every_seconds",
        5.0,
        "Time from one checkpoint to the next, at least.",
        lower_bound=0.0,
    )


def _define_output_flags(add: AddFlag) -> None:
    add(
        flags.DEFINE_string,
        "output",
        None,
        "Where to write the selected records: .jsonl or .json (lines), .jsonl.gz, .jsonl.zst, or "
        ".parquet for a table.",
    )
    add(
        flags.DEFINE_enum,
        "output_layout",
        "as_it_came",
        list(data.OUTPUT_LAYOUTS),
        "How to write the records: as they came, their conversations in another layout, or as "
        "they came but in a table.",
    )
    add(
        flags.DEFINE_multi_string,
        "drop_field",
        [],
        "Field of the records that is left out of --output, such as one that a trainer misreads; "
        "dots lead into objects. May be repeated.",
    )
    define_count_flag(add)
    add(
        flags.DEFINE_string,
        "dataset_info",
        None,
        "LLaMA-Factory's dataset_info.json, to get an entry for --output; other entries stay.",
    )
    add(
        flags.DEFINE_string,
        "report",
        None,
        "Folder for index.html, a page with pictures of the selection.",
    )


def _define_measure_flags(add: AddFlag) -> None:
    add(
        ThresholdParser,
        "similarity_threshold",
        "auto",
        "Labels whose embeddings are this similar (cosine) are joined; auto takes the threshold "
        "at which they have --neighbours in the mean.",
    )
    add(
        flags.DEFINE_float,
        "neighbours",
        USUAL_NEIGHBOURS,
        "Labels that a label is joined with in the mean, at most a tenth of all.",
        lower_bound=0.0,
    )
    add(
        flags.DEFINE_float,
        "propagation",
        PAPER.propagation,
        "Strength of propagation between joined labels, alpha of the paper.",
        lower_bound=0.0,
        upper_bound=LARGEST_PARAMETER,
    )
    add(
        flags.DEFINE_enum,
        "gain",
        "exact",
        list(GAIN_RULES),
        "What each pick maximises: the true increase, or the paper's linearised one.",
    )
    add(flags.DEFINE_enum, "preset", None, list(_PRESETS), "The settings of the paper.")
    add(
        flags.DEFINE_enum,
        "score_function",
        PAPER.family,
        list(FAMILIES),
        "Family of the information score function.",
    )
    add(
        flags.DEFINE_float,
        "exponent",
        PAPER.exponent,
        "Exponent of the power function, up to 1.",
        lower_bound=SMALLEST_EXPONENT,
        upper_bound=1.0,
    )
    add(
        flags.DEFINE_float,
        "rate",
        1.0,
        "Rate a of 1 - exp(-ax), log(1 + ax) and x / (x + 1/a).",
        lower_bound=SMALLEST_RATE,
        upper_bound=LARGEST_PARAMETER,
    )
    add(
        flags.DEFINE_float,
        "epsilon",
        PAPER.epsilon,
        "Shift of the power function: (x + epsilon)^exponent.",
        lower_bound=0.0,
        upper_bound=LARGEST_PARAMETER,
    )
    add(
        flags.DEFINE_string,
        "params",
        None,
        "Directory with learned parameters, as `mig-jax learn` writes it. They take the place of "
        "--score_function, --exponent, --rate, --epsilon, --propagation and "
        "--similarity_threshold.",
    )


def select_options(values: flags.FlagValues) -> SelectOptions:
    """What was given, with the preset applied, which is told.

    Raises:
      InputError: if flags cannot be used, or contradict each other.
    """
    check_method_flags(values)
    _check_params(values)
    if values.preset is not None:
        _apply_preset(values)
        print(f"preset {values.preset}: {_PRESETS[values.preset]}", file=sys.stderr)
    _check_neighbours(values)
    check_process_flags(values)
    check_input_flags(values)
    check_count_flag(values)
    check_given_flags(values)
    for field in values.drop_field:
        if not all(field.split(".")):
            raise InputError(f"--drop_field: found {field or 'nothing'}, expected a field")
    data.output_form(values.output, as_table=values.output_layout == "parquet")
    _check_dataset_info(values)
    if values.report is not None and values.coordinator_address is not None:
        # No process has all records, which the page shows.
        raise InputError("--report: does not go with --coordinator_address")
    if values.dry_run and values.coordinator_address is not None:
        raise InputError(
            "--dry_run: does not go with --coordinator_address; one process tells what all would do"
        )
    options = SelectOptions(**values.flag_values_dict())
    check_budget_options(options, grouped=options.needs("groups"))
    check_compare_flags(
        options.compare,
        quotas=bool(options.all_quotas) or options.at_most_changes is not None,
        together=options.coordinator_address is not None,
    )
    return options


def _apply_preset(values: flags.FlagValues) -> None:
    """Flags given by the user win over the preset."""
    for name, value in _PRESETS[values.preset].items():
        if not values[name].present:
            values[name].value = value


def _check_neighbours(values: flags.FlagValues) -> None:
    """How many there are is what a threshold decides, or the other way round."""
    if values["neighbours"].present and values.similarity_threshold != "auto":
        by = "--preset" if values.preset is not None else "--similarity_threshold"
        raise InputError(f"--neighbours: does not go with {by}, which says from where on they are")
    if not values.neighbours > 0:
        raise InputError("--neighbours: found 0, expected a number above 0")


def _check_params(values: flags.FlagValues) -> None:
    """Learned parameters stand alone: no flag says the same again."""
    if values.params is None:
        return
    if given := [f"--{name}" for name in _REPLACED_BY_PARAMS if values[name].present]:
        raise InputError(f"--params: takes the place of {', '.join(given)}; give one or the other")
    if values.coordinator_address is not None:
        # What is learned is relative to the whole pool, of which each process reads a part.
        raise InputError("--params: does not go with --coordinator_address")


def _check_dataset_info(values: flags.FlagValues) -> None:
    # By the ending LLaMA-Factory knows what a file is.
    if values.dataset_info and not values.output.endswith((".jsonl", ".json", ".parquet")):
        raise InputError(
            f"--dataset_info: --output is {values.output}, expected an ending that LLaMA-Factory "
            "knows: .jsonl, .json or .parquet"
        )
