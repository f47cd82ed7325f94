"""`mig-jax completion SHELL`: the script by which a shell completes commands, flags and values."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from absl import flags

from mig_jax.commands.command import Command
from mig_jax.commands.flag_values import File, Folder, shown_value
from mig_jax.commands.help_text import help_of
from mig_jax.errors import InputError, require

__all__ = ["HOW_TO", "SHELLS", "completion"]

#: The shells that a script is written for.
SHELLS: Final = ("bash", "zsh", "fish", "tcsh")

HOW_TO: Final = """usage: mig-jax completion bash|zsh|fish|tcsh

Print the script by which a shell completes commands, flags, their values and files.

  bash   mig-jax completion bash > ~/.local/share/bash-completion/completions/mig-jax
  zsh    mig-jax completion zsh > ~/.zfunc/_mig-jax      # ~/.zfunc stands in $fpath
  fish   mig-jax completion fish > ~/.config/fish/completions/mig-jax.fish
  tcsh   mig-jax completion tcsh > ~/.mig-jax.tcsh       # `source` it in ~/.tcshrc

Needs the extra completion: pip install 'mig-jax[completion]'."""

# To bash, = is a word of its own, which the script of shtab takes for the value of a flag.
_WITHOUT_EQUALS: Final = r"""
_mig_jax_without_equals() {
  local words=() place=$COMP_CWORD i
  for i in "${!COMP_WORDS[@]}"; do
    if [[ "${COMP_WORDS[i]}" != "=" ]]; then
      words+=("${COMP_WORDS[i]}")
    elif (( i == COMP_CWORD )); then
      words+=("")
    elif (( i < COMP_CWORD )); then
      (( place -= 1 ))
    fi
  done
  local COMP_WORDS=("${words[@]}") COMP_CWORD=$place
  _shtab_mig_jax
}

complete -o bashdefault -F _mig_jax_without_equals mig-jax
"""


def completion(words: Sequence[str], commands: Iterable[Command]) -> str:
    """What is printed for the words behind `mig-jax completion`.

    Raises:
      InputError: if no shell is named, or the extra completion is missing.
    """
    if any(word in ("--help", "-h", "--help_all", "--help-all") for word in words):
        return HOW_TO
    if len(words) != 1 or words[0] not in SHELLS:
        found = " ".join(words) or "nothing"
        raise InputError(f"completion: found {found}, expected one of {', '.join(SHELLS)}")
    [shell] = words
    shtab = require("shtab", "completion", "completion")
    paths = {File: shtab.FILE, Folder: shtab.DIRECTORY}
    script: str = shtab.complete(_parser(commands, paths), shell)
    if shell == "zsh":  # Where = may stand between a flag and its value.
        return re.sub(r'^( *"--\w+)(?=\[.*\]:)', r"\1=", script, flags=re.MULTILINE)
    return script + _WITHOUT_EQUALS * (shell == "bash")


def _parser(commands: Iterable[Command], paths: Mapping[Any, Any]) -> Any:
    """The commands as argparse has them, for shtab, which knows no absl.

    `paths` has how a shell completes values of a kind.
    """
    parser = argparse.ArgumentParser(prog="mig-jax", add_help=False)
    parser.add_argument("--help", action="store_true", help="lists the commands")
    parser.add_argument("--version", action="store_true", help="tells the version")
    of_commands = parser.add_subparsers()
    for command in commands:
        one: Any = of_commands.add_parser(command.name, help=command.summary, add_help=False)
        values = flags.FlagValues()
        command.define_flags(values)
        for flag in (values[name] for name in sorted(values)):
            _add(one, flag, paths)
        one.add_argument("--flagfile", help="File of flags, one a line.").complete = paths[File]
        for name in ("--help", "--help_all"):
            one.add_argument(name, action="store_true", help="lists flags")
        if "pool" in values:
            one.add_argument("files", nargs="*", help="Files with records.").complete = paths[File]
    of_shell = of_commands.add_parser("completion", help="for a shell", add_help=False)
    of_shell.add_argument("shell", choices=SHELLS)
    return parser


def _add(parser: argparse.ArgumentParser, flag: flags.Flag[Any], paths: Mapping[Any, Any]) -> None:
    told = help_of(flag).splitlines()[0].partition(". ")[0].replace("%", "%%")
    if flag.boolean:
        parser.add_argument(f"--{flag.name}", action="store_true", help=told)
        parser.add_argument(f"--no{flag.name}", action="store_true", help=f"not: {told}")
        return
    choices = getattr(flag.parser, "enum_values", None)
    action: Any = parser.add_argument(f"--{flag.name}", choices=choices, help=told)
    if not choices:
        action.metavar = shown_value(flag).replace("%", "%%")
    if type(flag.parser) in paths:
        action.complete = paths[type(flag.parser)]
