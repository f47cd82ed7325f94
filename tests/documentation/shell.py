"""The commands of a block, as a shell reads them."""

from __future__ import annotations

import dataclasses
import re
import shlex

from tests.documentation.pages import Block

__all__ = ["ShellCommand", "shell_commands"]

_SETTING = re.compile(r"[A-Z_][A-Z0-9_]*=.*", re.DOTALL)


@dataclasses.dataclass(frozen=True)
class ShellCommand:
    """One command: a part of a line between `&&`, continuation lines included."""

    page: str
    line: int
    text: str  # As it stands, on one line.
    words: tuple[str, ...]  # As the shell splits it, without settings such as NAME=1 before it.
    piped: bool  # Needs a shell: it has a pipe, a redirection or the like.

    @property
    def where(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def program(self) -> str:
        """`mig-jax select`, `python -m pytest`, `pip`: what runs."""
        words = ["mig-jax" if self.words[:3] == ("python", "-m", "mig_jax") else self.words[0]]
        if words[0] == "mig-jax":
            rest = self.words[3:] if self.words[0] == "python" else self.words[1:]
            words += [word for word in rest[:1] if not word.startswith("-")]
        elif self.words[1:2] == ("-m",):
            words += self.words[1:3]
        return " ".join(words)

    @property
    def arguments(self) -> tuple[str, ...]:
        """The words behind `mig-jax` or `python -m MODULE`."""
        return self.words[3:] if self.words[1:2] == ("-m",) else self.words[1:]


def shell_commands(block: Block) -> list[ShellCommand]:
    """The commands of a block.

    In one of a terminal (lines with `$ ` before a command) all other lines are what it printed.
    """
    lines = block.text.splitlines()
    prompted = any(line.startswith("$ ") for line in lines)
    found, number = [], 0
    while number < len(lines):
        first, line = number, lines[number]
        while line.endswith("\\") and number + 1 < len(lines):
            number += 1
            line = line[:-1].rstrip() + " " + lines[number].lstrip().removeprefix("> ")
        number += 1
        if prompted and not line.startswith("$ "):
            continue
        line = line.removeprefix("$ ").strip()
        # Of a list by `&&` every part is a command of its own, unless it is piped.
        for text in re.split(r"\s+&&\s+", line):
            lexer = shlex.shlex(text, posix=True, punctuation_chars="|<>;&")
            lexer.whitespace_split = True
            words = list(lexer)
            if words and words[0] == "export":
                words = ["export", *words[1:]]
            while len(words) > 1 and _SETTING.fullmatch(words[0]):
                words.pop(0)
            if words:
                piped = any(re.fullmatch(r"[|<>;&]+", word) for word in words)
                found.append(
                    ShellCommand(block.page, block.line + first, text, tuple(words), piped)
                )
    return found
