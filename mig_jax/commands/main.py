"""The command `mig-jax`: finds the command that is meant, and runs it."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from absl import flags

from mig_jax._version import __version__
from mig_jax.commands.command import Command, main_of
from mig_jax.commands.flag_words import near
from mig_jax.commands.help_text import example_lines, width_of_terminal, wrapped
from mig_jax.commands.terminal import exit_status, starting, tell
from mig_jax.errors import InputError

__all__ = ["COMMANDS", "load", "main"]


class _Listed(NamedTuple):
    """A command, which is loaded when it is asked for."""

    module: str
    summary: str


#: The commands, in the order in which a newcomer meets them.
COMMANDS: Final = {
    name: _Listed(f"mig_jax.commands.{name}", summary)
    for name, summary in {
        "select": "choose the most informative records of a pool",
        "explain": "tell why a record was picked, or why not",
        "annotate": "give conversations the labels and scores that select needs",
        "embed_labels": "embed the labels of a pool for its label graph",
        "normalise_tags": "leave out rare labels and merge those that mean the same",
        "learn": "learn the parameters of the measure, and select with them",
        "ablate": "select for every combination of hyperparameters, and compare",
        "make_pool": "write a generated pool, to try things on",
    }.items()
}
_COMPLETION: Final = "completion"

_EXAMPLE: Final = (
    "mig-jax select raw.jsonl --budget=5000 --output=train.jsonl",
    "mig-jax explain --selection=train.jsonl --record=17",
)


def load(name: str) -> Command:
    """The command of this name, a key of `COMMANDS`."""
    module, summary = COMMANDS[name]
    with _no_collection(), starting("mig-jax"):
        command: Command = importlib.import_module(module).COMMAND
    return dataclasses.replace(command, summary=summary, others_with=_commands_with)


def _commands_with(flag: str) -> list[str]:
    """The commands that have a flag of this name; all are loaded to know."""
    found = []
    for name in COMMANDS:
        values = flags.FlagValues()
        load(name).define_flags(values)
        if flag in values:
            found.append(name)
    return found


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Within, nobody looks for garbage: what is imported stays.

    To look through it again and again took a tenth of the time.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs `mig-jax` and returns its exit status: 0, or 2 for input that cannot be used."""
    given = sys.argv[1:] if arguments is None else arguments
    return exit_status("mig-jax", lambda: _run(given), interrupted="no output was written")


def _run(arguments: Sequence[str]) -> int:
    words = [*arguments]
    if words[:1] == ["help"] and len(words) > 1:
        words = [*words[1:], "--help"]
    if not words or words[0] in ("--help", "-h", "--help_all", "--help-all", "help"):
        tell(_overview(width_of_terminal()))
        return 0
    given, *rest = words
    if given == "--version":
        tell(f"mig-jax {__version__}")
        return 0
    name = given.replace("-", "_")
    if name == _COMPLETION:
        # Not at the top: only here all commands are loaded.
        from mig_jax.commands.completion import completion

        tell(completion(rest, map(load, COMMANDS)))
        return 0
    if name not in COMMANDS:
        raise InputError(_unknown(given))
    return main_of(load(name), rest, called="mig-jax", usage=f"mig-jax {name}")


def _unknown(given: str) -> str:
    """What is said of a first word that is no command."""
    if given.startswith("-"):
        return f"{given}: expected a command first, such as: mig-jax select {given}"
    if os.path.exists(given):
        return f"{given}: is no command; expected one first, such as: mig-jax select {given}"
    if given == "version":
        return f"{given}: no such command, expected --version"
    meant = near(given.replace("-", "_"), [*COMMANDS, _COMPLETION])
    return f"{given}: no such command, expected {meant or ' or '.join(COMMANDS)}"


def _overview(width: int) -> str:
    lines = ["usage: mig-jax COMMAND [FILE ...] [--flag=value ...]", ""]
    lines += wrapped("From conversations to those that are worth training on, and why:", width)
    for example in _EXAMPLE:
        lines += example_lines(example, width)
    lines += ["", "Commands:"]
    summaries = {name: listed.summary for name, listed in COMMANDS.items()}
    summaries[_COMPLETION] = "print what lets a shell complete all of this"
    for name, summary in summaries.items():
        first, *more = wrapped(summary, width - 18)
        lines += [f"  {name:<16}{first}", *(f"{'':<18}{line}" for line in more)]
    lines += [
        "",
        *wrapped(
            "No data at hand? `mig-jax make_pool --records=20k --output=raw.jsonl` writes some.",
            width,
        ),
    ]
    ending = "`mig-jax COMMAND --help` tells what a command needs, --help_all lists all its flags."
    return "\n".join([*lines, "", *wrapped(ending, width)])
