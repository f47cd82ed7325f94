"""The command `mig-jax`: finds the command that is meant, and runs it."""

from __future__ import annotations

import contextlib
import gc
import importlib
import sys
from collections.abc import Iterator, Sequence
from typing import Final

from mig_jax._version import __version__
from mig_jax.commands.command import Command, main_of
from mig_jax.commands.terminal import exit_status, starting, tell
from mig_jax.errors import InputError

__all__ = ["COMMANDS", "load", "main"]

#: The module of each command, which is loaded when the command is asked for.
COMMANDS: Final = {
    "select": "mig_jax.commands.select",
    "explain": "mig_jax.commands.explain",
    "make_pool": "mig_jax.commands.make_pool",
    "annotate": "mig_jax.commands.annotate",
    "normalise_tags": "mig_jax.commands.normalise_tags",
    "embed_labels": "mig_jax.commands.embed_labels",
    "learn": "mig_jax.commands.learn",
    "ablate": "mig_jax.commands.ablate",
}


def load(name: str) -> Command:
    """The command of this name, a key of `COMMANDS`."""
    with _no_collection(), starting("mig-jax"):
        return importlib.import_module(COMMANDS[name]).COMMAND


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
    if not arguments or arguments[0] in ("--help", "-h", "help"):
        tell(_overview())
        return 0
    name, *rest = arguments
    if name == "--version":
        tell(f"mig-jax {__version__}")
        return 0
    if name not in COMMANDS:
        raise InputError(f"{name}: no such command, expected {' or '.join(COMMANDS)}")
    return main_of(load(name), rest, called="mig-jax", usage=f"mig-jax {name}")


def _overview() -> str:
    lines = [f"  {name:<16}{load(name).summary}" for name in COMMANDS]
    usage = "usage: mig-jax COMMAND [--flag=value ...]"
    return "\n".join([usage, "", *lines, "", "`mig-jax COMMAND --help` lists its flags."])
