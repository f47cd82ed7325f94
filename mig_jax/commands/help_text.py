"""The help of a command: examples first, then its flags by section, as wide as the terminal."""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any, Final

from absl import flags

from mig_jax.commands.flag_sections import Section
from mig_jax.commands.flag_values import shown_value

__all__ = ["example_lines", "help_of", "help_text", "width_of_terminal", "wrapped"]

_WIDEST: Final = 100  # Longer lines are hard to read.
_NARROWEST: Final = 40
_OF_ABSL: Final = "repeat this option to specify a list of values"
_CHOICES: Final = re.compile(r"^<[^>]*>: ")  # As absl puts them before the help of an enum.


def width_of_terminal() -> int:
    """How wide text may be: 80 columns where there is no terminal."""
    return min(max(shutil.get_terminal_size().columns, _NARROWEST), _WIDEST)


def help_text(
    usage: str,
    values: flags.FlagValues,
    *,
    summary: str = "",
    examples: Sequence[str] = (),
    everything: bool = False,
    width: int = 80,
) -> str:
    """What a command is for, how it is called, and its flags with their meanings and defaults.

    Args:
      usage: how a user calls it, such as `mig-jax select`.
      values: its flags.
      summary: what it does, in a line.
      examples: the words behind the usage, an example each.
      everything: whether all flags are told; only those of Section.ESSENTIAL by default, if there
        are any.
      width: columns that a line may have.
    """
    sections = _sections(values)
    shown = sections
    if not everything and Section.ESSENTIAL in sections:
        shown = {Section.ESSENTIAL: sections[Section.ESSENTIAL]}
    lines = [_usage(usage, values)]
    if summary:
        lines += ["", *wrapped(f"{summary[0].upper()}{summary[1:]}.", width)]
    if examples:
        lines += ["", "Examples:"]
        for example in examples:
            lines += example_lines(f"{usage} {example}".rstrip(), width)
    for section, found in shown.items():
        lines += ["", f"{section}:"]
        for flag in found:
            lines += _flag_lines(flag, width)
    lines += ["", *wrapped(_ending(usage, sections, shown), width)]
    return "\n".join(lines)


def help_of(flag: flags.Flag[Any]) -> str:
    """What a flag is for, as it was defined: without what absl adds."""
    text = _CHOICES.sub("", str(flag.help), count=1)
    return text.removesuffix(_OF_ABSL).rstrip().removesuffix(";")


def wrapped(text: str, width: int, indent: str = "") -> list[str]:
    """Lines of at most `width` columns; no word is broken."""
    return textwrap.wrap(
        text,
        width,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def example_lines(command: str, width: int) -> list[str]:
    r"""A command as a shell takes it, over several lines if it is longer than `width`.

    >>> example_lines("mig-jax select raw.jsonl --budget=5000", 30)
    ['  mig-jax select raw.jsonl \\', '      --budget=5000']
    """
    lines = [""]
    for word in command.split(" "):
        line = f"{lines[-1]} {word}" if lines[-1] else f"  {word}"
        if len(line) + len(" \\") > width and lines[-1]:
            lines[-1] += " \\"
            line = f"      {word}"
            lines.append("")
        lines[-1] = line
    return lines


def _sections(values: flags.FlagValues) -> dict[str, list[flags.Flag[Any]]]:
    """The flags of each section that has some, both in order."""
    found = values.flags_by_module_dict()
    return {section: found[section] for section in Section if found.get(section)}


def _usage(usage: str, values: flags.FlagValues) -> str:
    files = " [FILE ...]" if "pool" in values else ""
    return f"usage: {usage}{files} [--flag=value ...]"


def _flag_lines(flag: flags.Flag[Any], width: int) -> Iterator[str]:
    text = help_of(flag)
    value = shown_value(flag)
    choices = getattr(flag.parser, "enum_values", None)
    if choices and len(f"  --{flag.name}={value}") > width:
        value = "NAME"
        if not all(choice in text for choice in choices):
            text = f"One of {', '.join(choices)}. {text}"
    if flag.boolean:
        yield f"  --{flag.name}" if not flag.default else f"  --{flag.name}, --no{flag.name}"
    else:
        yield f"  --{flag.name}={value}"
    first, *others = text.split("\n")
    yield from wrapped(f"{first}{_default(flag)}", width, " " * 6)
    for line in others:  # Of what there is to choose from.
        yield from textwrap.wrap(
            line,
            width,
            initial_indent=" " * 8,
            subsequent_indent=" " * 10,
            break_long_words=False,
            break_on_hyphens=False,
        )


def _default(flag: flags.Flag[Any]) -> str:
    default = flag.default
    if isinstance(default, list):
        default = ",".join(map(str, default))
    if default in (None, "") or default is False:
        return ""
    return f" (default: {'on' if default is True else default})"


def _ending(usage: str, every: dict[str, Any], shown: dict[str, Any]) -> str:
    left = {section: flags for section, flags in every.items() if section not in shown}
    files = "--flagfile=FILE reads flags from a file, one a line; # begins a comment."
    if not left:
        return files
    told = ", ".join(f"{section} ({len(flags)})" for section, flags in left.items())
    count = sum(map(len, left.values()))
    return f"`{usage} --help_all` lists {count} more {'flag' if count == 1 else 'flags'}: {told}."
