"""What commands say on the terminal: progress, remarks, flags, and one line where one fails."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import jax
import tqdm
from absl import flags

from mig_jax.errors import InputError

__all__ = ["exit_status", "flags_only", "help_text", "progress_bar", "say"]


def exit_status(name: str, command: Callable[[], None], *, interrupted: str) -> int:
    """Runs a command: 0, or 2 for input that cannot be used, with one line on stderr.

    `interrupted` is what to say where the user interrupts it.
    """
    try:
        command()
    except (InputError, flags.Error) as error:
        print(f"{name}: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print(f"{name}: interrupted; {interrupted}", file=sys.stderr)
        return 130
    return 0


def flags_only(left_over: Sequence[str]) -> None:
    """Raises `InputError` where a command was given words that are no flags."""
    if left_over:
        raise InputError(f"{left_over[0]}: expected flags only, as --flag=value")


def help_text(usage: str, values: flags.FlagValues) -> str:
    """All flags of a command with their meanings and defaults."""
    lines = [f"usage: {usage} [--flag=value ...]", ""]
    for flag in (values[flag] for flag in sorted(values)):
        choices = getattr(flag.parser, "enum_values", None)
        shown = f"--{flag.name}" + ("=" + "|".join(choices) if choices else "")
        default = flag.default
        if isinstance(default, list):
            default = ",".join(map(str, default))
        told = "" if default in (None, "") else f" (default: {default})"
        lines += [f"  {shown}", f"      {flag.help}{told}"]
    return "\n".join(lines)


def progress_bar(name: str, total: int | None, **options: Any) -> tqdm.tqdm:
    """A bar on stderr, of the first process only; `options` are tqdm's."""
    return tqdm.tqdm(
        desc=name,
        total=total,
        file=sys.stderr,
        mininterval=0.2,
        disable=jax.process_index() > 0,
        **options,
    )


def say(text: str) -> None:
    """A line on stderr, of the first process only, above the bars that are there."""
    if jax.process_index() == 0:
        tqdm.tqdm.write(text, file=sys.stderr)
