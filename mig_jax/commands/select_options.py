"""The flags of `mig-jax select`: what they are, which go together, and what was given."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, Final, Literal

from absl import flags

from mig_jax import data
from mig_jax.commands.asking_flags import AskingOptions
from mig_jax.commands.budget_flags import (
    BudgetOptions,
    check_budget_options,
    define_budget_flags,
)
from mig_jax.commands.builtin_pool import BUILTIN, check_pool_is_given
from mig_jax.commands.compare_flags import (
    CompareOptions,
    check_compare_flags,
    define_compare_flags,
)
from mig_jax.commands.family_flags import PARAMETERS, check_family
from mig_jax.commands.flag_groups import (
    InputOptions,
    check_count_flag,
    check_input_flags,
    define_count_flag,
    define_input_flags,
    stem_of,
)
from mig_jax.commands.flag_sections import Section
from mig_jax.commands.flag_values import (
    AddFlag,
    Field,
    File,
    Folder,
    adder,
    several,
)
from mig_jax.commands.given_flags import (
    GivenOptions,
    check_given_flags,
    define_given_flags,
    files_beside,
)
from mig_jax.commands.idle_flags import refuse_idle
from mig_jax.commands.measure_flags import define_measure_flags
from mig_jax.commands.method_flags import (
    MethodOptions,
    check_method_flags,
    define_method_flags,
)
from mig_jax.commands.pool_files import open_pool
from mig_jax.commands.process_flags import check_process_flags, define_process_flags
from mig_jax.commands.standard_streams import STANDARD
from mig_jax.commands.terminal import say
from mig_jax.errors import InputError
from mig_jax.measure import FAMILIES, PAPER, Measure

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
    def to_standard_output(self) -> bool:
        """Whether the records alone are written, to standard output."""
        return self.output == STANDARD

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
        given = {name: getattr(self, name) for name in PARAMETERS if name in names}
        return Measure(family(**given), self.propagation)


def define_select_flags(values: flags.FlagValues) -> None:
    """Defines all flags of the command."""
    add = adder(values)
    define_input_flags(add, otherwise=f" --pool={BUILTIN} is the built-in pool.")
    define_budget_flags(add)
    _define_output_flags(add)
    define_method_flags(add)
    define_measure_flags(add, presets=list(_PRESETS))
    define_given_flags(add)
    define_process_flags(add)
    define_compare_flags(add)
    add.under(Section.OUTPUT)(
        flags.DEFINE_boolean, "certificate", True, "Prove how close to optimal the selection is."
    )
    add.under(Section.ESSENTIAL)(
        flags.DEFINE_boolean,
        "dry_run",
        False,
        "Select nothing and write no output: read the pool and tell what would be done, what it "
        "is expected to take, and which files would be written.",
    )
    add = add.under(Section.LONG_RUNS)
    add(
        Folder,
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
    essential, add = add.under(Section.ESSENTIAL), add.under(Section.OUTPUT)
    essential(
        File,
        "output",
        None,
        "Where to write the selected records: .jsonl or .json (lines), .jsonl.gz, .jsonl.zst, or "
        ".parquet for a table. - is standard output: the records alone, as lines.",
    )
    essential(
        flags.DEFINE_enum,
        "output_layout",
        "as_it_came",
        list(data.OUTPUT_LAYOUTS),
        "How to write the records: as they came, their conversations in another layout, or as "
        "they came but in a table.",
    )
    add(
        several(Field),
        "drop_field",
        [],
        "Field of the records that is left out of --output, such as one that a trainer misreads; "
        "dots lead into objects. May be repeated.",
    )
    define_count_flag(add)
    add(
        File,
        "dataset_info",
        None,
        "LLaMA-Factory's dataset_info.json, to get an entry for --output; other entries stay.",
    )
    essential(
        Folder,
        "report",
        None,
        "Folder for index.html, a page to search, filter and explore the selection.",
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
    _check_neighbours(values)
    for name in PARAMETERS:
        if values[name].present:
            check_family(name, name, "score_function", [values.score_function])
    kept = values.checkpoint_dir is not None
    refuse_idle(values, ["checkpoint_every_seconds"], kept, "--checkpoint_dir=DIR")
    check_process_flags(values)
    check_input_flags(values)
    check_count_flag(values)
    check_given_flags(values)
    for field in values.drop_field:
        if not all(field.split(".")):
            raise InputError(f"--drop_field: found {field or 'nothing'}, expected a field")
    if values.output == STANDARD and values.output_layout == "parquet":
        raise InputError(
            f"--output: {STANDARD} is for lines, and --output_layout=parquet is a table; expected "
            "--output=FILE.parquet"
        )
    data.output_form(values.output, as_table=values.output_layout == "parquet")
    _check_dataset_info(values)
    if values.report == STANDARD:
        raise InputError(f"--report: found {STANDARD}, expected a folder, for index.html")
    if values.report is not None and values.coordinator_address is not None:
        # No process has all records, which the page shows.
        raise InputError("--report: does not go with --coordinator_address")
    if values.dry_run and values.coordinator_address is not None:
        raise InputError(
            "--dry_run: does not go with --coordinator_address; one process tells what all would do"
        )
    check_pool_is_given(values)
    options = SelectOptions(**values.flag_values_dict())
    check_budget_options(options, grouped=options.needs("groups"))
    check_compare_flags(
        options.compare,
        quotas=bool(options.all_quotas) or options.at_most_changes is not None,
        together=options.coordinator_address is not None,
    )
    return options


def _apply_preset(values: flags.FlagValues) -> None:
    """Flags given by the user win over the preset, which is told."""
    preset = _PRESETS[values.preset]
    own = [name for name in preset if values[name].present]
    for name, value in preset.items():
        if name not in own:
            values[name].value = value
    family = FAMILIES[values.score_function]
    lacking = {*PARAMETERS} - {field.name for field in dataclasses.fields(family)}
    new = [name for name in preset if name not in own and name not in lacking]
    told = " ".join(f"--{name}={preset[name]}" for name in new)
    beside = " ".join(f"--{name}={values[name].value}" for name in own)
    line = f"--preset={values.preset} stands for {told or 'nothing more'}"
    say(line + f" with your {beside}" * bool(own))


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
