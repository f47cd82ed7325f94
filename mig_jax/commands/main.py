"""The command `mig-jax`: flags in, files out. All computing is done by the library."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence

from absl import flags

from mig_jax._version import __version__
from mig_jax.commands import flag_groups as annotate_flags
from mig_jax.commands.pool_inputs import check_input_flags, define_input_flags
from mig_jax.commands.terminal import exit_status, flags_only, help_text
from mig_jax.errors import InputError

__all__ = ["main"]

# The paper's settings: arXiv 2504.13835, section 4.1.
_PRESETS = {
    "paper": {
        "gain": "linear",
        "score_function": "power",
        "exponent": 0.8,
        "epsilon": 1e-6,
        "propagation": 1.0,
        "similarity_threshold": 0.9,
    }
}


def _select_flags() -> flags.FlagValues:
    values = flags.FlagValues()

    def add(kind: Callable[..., object], name: str, *arguments: object, **options: object) -> None:
        kind(name, *arguments, flag_values=values, **options)

    define_input_flags(add)
    add(flags.DEFINE_integer, "budget", None, "How many records to select.", lower_bound=1)
    add(
        flags.DEFINE_string,
        "output",
        None,
        "Where to write the selected records: .jsonl, or .parquet for a table.",
    )
    add(
        flags.DEFINE_enum,
        "output_layout",
        "as_it_came",
        # As in data.OUTPUT_LAYOUTS, which --help need not wait for.
        ["as_it_came", "messages", "sharegpt", "alpaca", "parquet"],
        "How to write the records: as they came, their conversations in another layout, or as "
        "they came but in a table.",
    )
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
        "Folder for index.html, a page with pictures of the selection. Needs the extra plots.",
    )
    add(
        flags.DEFINE_float,
        "similarity_threshold",
        0.9,
        "Labels whose embeddings are this similar (cosine) are joined.",
        lower_bound=0.0,
        upper_bound=1.0,
    )
    add(
        flags.DEFINE_float,
        "propagation",
        1.0,
        "Strength of propagation between joined labels, alpha of the paper.",
        lower_bound=0.0,
    )
    add(
        flags.DEFINE_enum,
        "gain",
        "exact",
        ["exact", "linear"],
        "What each pick maximises: the true increase, or the paper's linearised one.",
    )
    add(flags.DEFINE_enum, "preset", None, list(_PRESETS), "The settings of the paper.")
    add(
        flags.DEFINE_enum,
        "score_function",
        "power",
        ["power", "exponential", "log", "saturating"],
        "Family of the information score function.",
    )
    add(
        flags.DEFINE_float,
        "exponent",
        0.8,
        "Exponent of the power function, above 0 and up to 1.",
        lower_bound=0.0,
        upper_bound=1.0,
    )
    add(
        flags.DEFINE_float,
        "rate",
        1.0,
        "Rate a of 1 - exp(-ax), log(1 + ax) and x / (x + 1/a).",
        lower_bound=0.0,
    )
    add(
        flags.DEFINE_float,
        "epsilon",
        1e-6,
        "Shift of the power function: (x + epsilon)^exponent.",
        lower_bound=0.0,
    )
    add(
        flags.DEFINE_string,
        "params",
        None,
        "Directory with learned parameters, as experiments.learn_params writes it. They take the "
        "place of --score_function, --exponent, --rate, --epsilon, --propagation and "
        "--similarity_threshold.",
    )
    add(flags.DEFINE_boolean, "certificate", True, "Prove how close to optimal the selection is.")
    add(
        flags.DEFINE_string,
        "devices",
        None,
        "How many devices to shard the pool over: a number, or `all`. By default 1, or all of "
        "them with --coordinator_address.",
    )
    add(
        flags.DEFINE_string,
        "coordinator_address",
        None,
        "host:port of process 0, where several processes select together: the same command is "
        "started once for each of them, with its --process_id. All must see the same --pool "
        "files, and each reads a part of them; process 0 writes.",
    )
    add(
        flags.DEFINE_integer,
        "num_processes",
        1,
        "How many processes there are, with --coordinator_address.",
        lower_bound=1,
    )
    add(
        flags.DEFINE_integer,
        "process_id",
        0,
        "Which of the processes this is, from 0.",
        lower_bound=0,
    )
    add(
        flags.DEFINE_integer,
        "process_timeout_seconds",
        60,
        "How long to wait for the other processes at the start, and for a sign of life later.",
        lower_bound=1,
    )
    add(
        flags.DEFINE_string,
        "checkpoint_dir",
        None,
        "Directory where the selection is saved as it goes on: the same command resumes after a "
        "kill. It stays in the end, so that the same command, or one with a larger --budget, "
        "goes on from there; delete it when done. Not used by default.",
    )
    add(
        flags.DEFINE_float,
        "checkpoint_every_seconds",
        5.0,
        "Time from one checkpoint to the next, at least.",
        lower_bound=0.0,
    )
    return values


def _make_pool_flags() -> flags.FlagValues:
    values = flags.FlagValues()
    flags.DEFINE_integer(
        "records", None, "How many records to write.", lower_bound=1, flag_values=values
    )
    flags.DEFINE_string(
        "output", None, "Where to write them, one JSON object a line.", flag_values=values
    )
    flags.DEFINE_string(
        "label_embeddings",
        None,
        "Where to write the embeddings of the pool's labels (.npz); not written by default.",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "seed", 0, "Another seed, another pool.", lower_bound=0, flag_values=values
    )
    return values


def _select(values: flags.FlagValues) -> None:
    from mig_jax.commands import select as select_command

    _check_params(values, select_command.REPLACED_BY_PARAMS)
    _apply_preset(values)
    if values.preset is not None:
        print(f"preset {values.preset}: {_PRESETS[values.preset]}", file=sys.stderr)
    for name in ("similarity_threshold", "exponent", "rate"):
        value = getattr(values, name)
        if not value > 0:
            raise InputError(f"--{name}: found {value}, expected a number above 0")
    for name in ("propagation", "rate", "epsilon"):
        if not math.isfinite(getattr(values, name)):
            raise InputError(f"--{name}: found {getattr(values, name)}, expected a finite number")
    devices = values.devices
    if devices not in (None, "all") and not (devices.isdecimal() and int(devices)):
        raise InputError(f"--devices: found {devices}, expected a number above 0 or all")
    _check_processes(values)
    check_input_flags(values)
    _check_dataset_info(values)
    if values.report is not None and values.coordinator_address is not None:
        # No process has all records, which the page shows.
        raise InputError("--report: does not go with --coordinator_address")
    select_command.run(select_command.Options(**values.flag_values_dict()))


def _check_params(values: flags.FlagValues, replaced: Sequence[str]) -> None:
    """Learned parameters stand alone: no flag says the same again."""
    if values.params is None:
        return
    if not values.params:
        raise InputError("--params: found nothing, expected a directory of learned parameters")
    if given := [f"--{name}" for name in replaced if values[name].present]:
        raise InputError(f"--params: takes the place of {', '.join(given)}; give one or the other")
    if values.coordinator_address is not None:
        # What is learned is relative to the whole pool, of which each process reads a part.
        raise InputError("--params: does not go with --coordinator_address")


def _check_processes(values: flags.FlagValues) -> None:
    address = values.coordinator_address
    if address is None:
        if values.num_processes > 1:
            raise InputError("--num_processes: goes with --coordinator_address=HOST:PORT")
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise InputError(f"--coordinator_address: found {address}, expected HOST:PORT")
    if values.process_id >= values.num_processes:
        raise InputError(
            f"--process_id: found {values.process_id}, expected less than --num_processes, "
            f"which is {values.num_processes}"
        )
    if not values.pool:
        raise InputError("--coordinator_address: goes with --pool=FILE")
    if values.embedding_model is not None:
        # Hosts may round differently, and would select over different graphs.
        raise InputError(
            "--embedding_model: does not go with --coordinator_address; `mig-jax embed_labels` "
            "makes embeddings for all processes"
        )


def _check_dataset_info(values: flags.FlagValues) -> None:
    if values.dataset_info == "":
        raise InputError("--dataset_info: found nothing, expected a file name")
    # By the ending LLaMA-Factory knows what a file is.
    if values.dataset_info and not values.output.endswith((".jsonl", ".json", ".parquet")):
        raise InputError(
            f"--dataset_info: --output is {values.output}, expected an ending that LLaMA-Factory "
            "knows: .jsonl, .json or .parquet"
        )


def _apply_preset(values: flags.FlagValues) -> None:
    """Flags given by the user win over the preset."""
    for name, value in _PRESETS.get(values.preset, {}).items():
        if not values[name].present:
            values[name].value = value


def _make_pool(values: flags.FlagValues) -> None:
    from mig_jax.commands import make_pool as make_pool_command

    make_pool_command.run(values.records, values.output, values.label_embeddings, values.seed)


def _annotate(values: flags.FlagValues) -> None:
    from mig_jax.commands import annotate as annotate_command

    annotate_command.run(annotate_command.Options(**annotate_flags.annotate_options(values)))


def _normalise_tags(values: flags.FlagValues) -> None:
    from mig_jax.commands import annotate as annotate_command

    annotate_command.run(annotate_command.Options(**annotate_flags.normalise_tags_options(values)))


def _embed_labels(values: flags.FlagValues) -> None:
    from mig_jax.commands import embed_labels as embed_labels_command

    embed_labels_command.run(**values.flag_values_dict())


_COMMANDS = {
    "select": ("choose the most informative records of a pool", _select_flags, _select),
    "make_pool": ("write a generated pool", _make_pool_flags, _make_pool),
    "annotate": (
        "give conversations the labels and scores that select needs",
        annotate_flags.annotate_flags,
        _annotate,
    ),
    "normalise_tags": (
        "leave out rare labels and merge those that mean the same",
        annotate_flags.normalise_tags_flags,
        _normalise_tags,
    ),
    "embed_labels": (
        "embed the labels of a pool for its label graph",
        annotate_flags.embed_labels_flags,
        _embed_labels,
    ),
}
_REQUIRED = {
    "select": ("budget", "output"),
    "make_pool": ("records", "output"),
    "annotate": ("pool", "output", "tagger", "scorer"),
    "normalise_tags": ("pool", "output"),
    "embed_labels": ("pool", "output", "model"),
}


def _overview() -> str:
    lines = ["usage: mig-jax COMMAND [--flag=value ...]", ""]
    lines += [f"  {name:<16}{text}" for name, (text, _, _) in _COMMANDS.items()]
    return "\n".join([*lines, "", "`mig-jax COMMAND --help` lists its flags."])


def _run(arguments: Sequence[str]) -> None:
    if not arguments or arguments[0] in ("--help", "-h", "help"):
        print(_overview())
        return
    name, *rest = arguments
    if name == "--version":
        print(f"mig-jax {__version__}")
        return
    if name not in _COMMANDS:
        raise InputError(f"{name}: no such command, expected {' or '.join(_COMMANDS)}")
    _, make_flags, command = _COMMANDS[name]
    values = make_flags()
    if any(word in ("--help", "-h") for word in rest):
        print(help_text(f"mig-jax {name}", values))
        return
    flags_only(values([f"mig-jax {name}", *rest])[1:])
    for flag in _REQUIRED[name]:
        if values[flag].value in (None, "", []):
            raise InputError(f"--{flag}: missing, expected --{flag}=...: {values[flag].help}")
    command(values)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs `mig-jax` and returns its exit status: 0, or 2 for input that cannot be used."""
    given = sys.argv[1:] if arguments is None else arguments
    return exit_status("mig-jax", lambda: _run(given), interrupted="no output was written")
