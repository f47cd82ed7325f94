"""What a command of `mig-jax` is, and how one is run: the same for all."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

from absl import flags

from mig_jax.commands.flag_groups import cache_folder_of
from mig_jax.commands.flag_values import shown_value
from mig_jax.commands.flag_words import read_flags, refuse_empty, take_pool
from mig_jax.commands.help_text import help_of, help_text, width_of_terminal
from mig_jax.commands.standard_streams import standard_input
from mig_jax.commands.terminal import exit_status, say, tell
from mig_jax.devices import kept_programs
from mig_jax.errors import InputError

__all__ = ["Command", "main_of", "run_command"]

_HELP: Final = ("--help", "-h")
_WRITTEN_TO: Final = ("output", "report", "workdir", "checkpoint_dir")
_HELP_ALL: Final = ("--help_all", "--help-all")


@dataclasses.dataclass(frozen=True)
class Command:
    """One command: its flags, and what it does with them."""

    name: str
    define_flags: Callable[[flags.FlagValues], None]
    run: Callable[[flags.FlagValues], None]  # Raises InputError for input that cannot be used.
    summary: str = ""  # What it does, in a line; `commands.main` has those of mig-jax.
    required: tuple[str, ...] = ()  # Flags that must be given.
    examples: tuple[str, ...] = ()  # For its help: the words behind its name.
    others_with: Callable[[str], Sequence[str]] = lambda name: ()  # Commands with such a flag.
    interrupted: str = "no output was written"  # What is said of a run that the user interrupts.


def main_of(
    command: Command, arguments: Sequence[str], *, called: str, usage: str | None = None
) -> int:
    """Runs a command and returns its exit status: 0, or 2 for input that cannot be used.

    Args:
      command: what to run.
      arguments: the words behind its name.
      called: what its messages begin with, such as `mig-jax`.
      usage: how the user calls it, such as `mig-jax select`; as `called` by default.
    """
    return exit_status(
        called,
        lambda: run_command(command, arguments, usage or called),
        interrupted=command.interrupted,
    )


def run_command(command: Command, arguments: Sequence[str], usage: str) -> None:
    """Reads the flags, then runs the command or prints its help.

    Raises:
      InputError: if a flag that is required is missing, or as the command does.
      flags.Error: if absl cannot read a flag.
    """
    values = flags.FlagValues()
    command.define_flags(values)
    if any(word in (*_HELP, *_HELP_ALL) for word in arguments):
        told: dict[str, Any] = {"summary": command.summary, "examples": command.examples}
        everything = any(word in _HELP_ALL for word in arguments)
        width = width_of_terminal()
        tell(help_text(usage, values, **told, everything=everything, width=width))
        return
    words = read_flags(values, [usage, *arguments], others_with=command.others_with)
    take_pool(values, words)
    for name in command.required:
        if values[name].value in (None, "", []):
            raise InputError(_missing(values[name], words))
    refuse_empty(values)
    _say_of_backslashes(values)
    with _programs_kept(values), standard_input():
        command.run(values)


def _say_of_backslashes(values: flags.FlagValues) -> None:
    """Tells hands that are used to Windows what a backslash is elsewhere: a letter of a name."""
    if os.sep == "\\":
        return
    for name in _WRITTEN_TO:
        if name in values and "\\" in (values[name].value or ""):
            say(f"--{name}: the \\ is a part of the name here; / stands between folders")


def _missing(flag: flags.Flag[Any], words: Sequence[str]) -> str:
    first, is_more, _ = help_of(flag).partition(". ")
    also = "FILE ... behind the command, or " if flag.name == "pool" else ""
    told = f"{first}{'.' if is_more else ''}"
    if flag.name == "selection" and len(words) == 1:  # Taken for the pool, it stands there.
        return f"--selection: missing; perhaps --selection={words[0]} is meant"
    return f"--{flag.name}: missing, expected {also}--{flag.name}={shown_value(flag)}: {told}"


def _programs_kept(values: flags.FlagValues) -> contextlib.AbstractContextManager[None]:
    """Within, what JAX compiles is kept in the folder of --cache, if the command has JAX at all.

    Processes that select together do without, as they do without the rest of the cache.
    """
    folder = cache_folder_of(values["cache"].value if "cache" in values else None)
    together = "coordinator_address" in values and values.coordinator_address is not None
    if folder is None or together or "jax" not in sys.modules:
        return contextlib.nullcontext()
    return kept_programs(folder, say)
