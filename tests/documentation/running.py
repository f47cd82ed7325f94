"""Goes through a page: runs each command and each piece of Python as it is printed."""

from __future__ import annotations

import contextlib
import dataclasses
import doctest
import importlib.util
import io
import linecache
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence

from mig_jax.commands.command import main_of
from tests.documentation import tables
from tests.documentation.pages import Block, blocks
from tests.documentation.parsing import module_command, parse, unknown_extras
from tests.documentation.shell import ShellCommand, shell_commands
from tests.documentation.shown import lines_not_said
from tests.running import ROOT, mig

__all__ = ["Page", "Problem", "commands_of", "run_page"]

#: Programs of any system that pages may use; with a pipe beside ours, too.
SYSTEM = ("cat", "cd", "cp", "echo", "export", "grep", "gunzip", "gzip", "head", "ls", "mkdir")
SYSTEM += ("mv", "sha256sum", "sort", "tail", "wc", "zcat", "zstd", "zstdcat")
#: Modules that `python -m` runs and that are not ours.
NOT_OURS = (" pytest", " sphinx", " sglang.launch_server")


@dataclasses.dataclass(frozen=True)
class Problem:
    """What of a page does not hold."""

    where: str  # Page and line.
    shown: str  # The command or code.
    said: str

    def __str__(self) -> str:
        said = self.said.replace("\r", "\n").strip().splitlines()[-25:]
        return "\n".join([f"{self.where}: {self.shown}", *(f"    {line}" for line in said)])


def commands_of(block: Block) -> list[ShellCommand] | None:
    """The commands of a block; None for one that shows something else.

    Raises:
      ValueError: for a block without a language of which nothing is known.
    """
    if block.is_commands:
        return shell_commands(block)
    if block.language or block.is_python or tables.first_of(tables.SHOWN, block.text):
        return None
    if block.text.startswith("--"):
        return []  # Flags alone: `Page` puts them behind the command before.
    found = shell_commands(block)
    for command in found:
        if not _is_known(command):
            raise ValueError(
                f"what is {command.words[0]!r}? Give the block a language (```text for what is"
                " printed), or say in tests/documentation/tables.py what it is"
            )
    return found


def _is_known(command: ShellCommand) -> bool:
    ours = command.program.startswith(("mig-jax", "python"))
    return ours or command.words[0] in SYSTEM or _reason(command) is not None


def _reason(command: ShellCommand) -> str | None:
    """Why a command is not run; None if it is."""
    module = tables.first_of(tables.NEEDED, command.text)
    if module is not None and importlib.util.find_spec(module) is None:
        return f"{module} is not installed"
    return tables.first_of(tables.NOT_RUN, command.text)


class Page:
    """A page that is gone through in a folder of stand-ins, which is the working directory."""

    def __init__(self, page: str, names: dict[str, object]) -> None:
        self.page = page
        self.problems: list[Problem] = []
        self.names = {"__name__": "__main__", **names}
        self.printed = ""  # By the commands or the code of the block before.
        self.last: ShellCommand | None = None
        self.makes_its_pool = False  # Then what is shown behind a command is what it says.

    def go_through(self, after: Callable[[Block, Page], None] = lambda block, page: None) -> None:
        """Runs all blocks in order; `after` looks at each when it ran."""
        for block in blocks(self.page):
            try:
                commands = commands_of(block)
            except ValueError as error:
                self._problem(block.where, block.text.strip(), str(error))
                continue
            if commands:
                self.printed = ""
                for command in commands:
                    self._command(command)
            elif commands == []:
                self._flags_alone(block)
            elif block.is_python:
                self._python(block)
            elif self.last and self.makes_its_pool and block.language == "text":
                missing = lines_not_said(block.text, self.printed)
                if missing:
                    shown = f"behind {self.last.text}"
                    self._problem(block.where, shown, "not said:\n" + "\n".join(missing))
            after(block, self)

    def remove_outputs(self) -> None:
        """Removes stand-ins that the page writes itself before it reads them."""
        mentioned: set[str] = set()
        for block in blocks(self.page):
            with contextlib.suppress(ValueError):
                for command in commands_of(block) or ():
                    for word in command.words:
                        name = word.rpartition("=")[2]
                        if word.startswith("--output=") and name not in mentioned:
                            stem = name.partition(".")[0]
                            for path in pathlib.Path.cwd().glob(f"{stem}.*"):
                                if ".jsonl" in path.suffixes or stem in ("selected", "picked"):
                                    path.unlink()
                        mentioned.add(name)

    def _problem(self, where: str, shown: str, said: str) -> None:
        self.problems.append(Problem(where, shown, said))

    def _command(self, command: ShellCommand) -> None:
        self.last = command
        ours = command.program.startswith(("mig-jax", "python -m"))
        if _reason(command) is not None:
            if command.words[0] == "pip":
                if unknown := unknown_extras(command.words):
                    self._problem(command.where, command.text, f"no such extra: {unknown}")
            elif ours and not command.program.endswith(
                (" pytest", "sphinx", "sglang.launch_server")
            ):
                self._parse(command, command.arguments)
            return
        if command.piped or not ours:
            status, printed = self._by_a_shell(command)
        else:
            status, printed = self._here(command)
        self.printed += printed
        refusal = tables.first_of(tables.REFUSED, command.text)
        if refusal is not None:
            if status != 2 or refusal not in printed:
                said = f"expected status 2 and {refusal!r}, found {status} and\n{printed}"
                self._problem(command.where, command.text, said)
        elif status:
            self._problem(command.where, command.text, f"status {status}\n{printed}")
        self.makes_its_pool |= command.program == "mig-jax make_pool"

    def _here(self, command: ShellCommand) -> tuple[int, str]:
        """Runs a command of ours in this process, where JAX has compiled what others needed."""
        arguments = _in_full(command)
        for word in arguments:
            if word.startswith("--workdir="):  # Another run has another folder.
                shutil.rmtree(word.partition("=")[2], ignore_errors=True)
        arguments += (tables.first_of(tables.QUICKER, command.text) or "").split()
        if command.program.startswith("mig-jax"):
            done = mig(*arguments)
            return done.returncode, done.stderr + done.stdout
        module = command.program.removeprefix("python -m ")
        known = module_command(module)
        if known is None:
            return 1, f"python -m {module} can only run in a process of its own: say why it is not"
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            status = main_of(known, arguments, called=module)
        return status, said.getvalue()

    def _by_a_shell(self, command: ShellCommand) -> tuple[int, str]:
        """Runs a command, pipes and all, where `mig-jax` and `python` are those of this test."""
        programs = pathlib.Path(".programs")
        programs.mkdir(exist_ok=True)
        for name, words in (("mig-jax", "-m mig_jax "), ("python", "")):
            (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words}"$@"\n')
            (programs / name).chmod(0o755)
        paths = {"PATH": f"{programs.absolute()}:{os.environ['PATH']}"}
        paths["PYTHONPATH"] = f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command.text],
            env={**os.environ, **paths},
            capture_output=True,
            text=True,
        )
        left = done.returncode == 128 + signal.SIGPIPE and "| head" in command.text
        return 0 if left else done.returncode, done.stderr + done.stdout

    def _parse(self, command: ShellCommand, arguments: Sequence[str]) -> None:
        words = [word.replace("\u2026", "...") for word in _in_full(command, arguments)]
        for placeholder, value in tables.PLACEHOLDERS.items():
            words = [re.sub(f"{placeholder}$", value, word) for word in words]
        if said := parse(command.program, [word for word in words if word != "..."]):
            self._problem(command.where, command.text, said)

    def _flags_alone(self, block: Block) -> None:
        """Flags, to be put behind a command that the page shows before."""
        (found,) = shell_commands(block)
        if self.last is None:
            self._problem(block.where, block.text, "flags of no command")
            return
        command = dataclasses.replace(found, words=self.last.words)
        self._parse(command, [*self.last.arguments, *found.words])

    def _python(self, block: Block) -> None:
        text = block.text
        for printed, instead in tables.SUBSTITUTED.items():
            text = text.replace(printed, instead)
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            try:
                if text.lstrip().startswith(">>> "):
                    self._session(block, text)
                else:
                    name = f"<{block.where}>"
                    lines = text.splitlines(keepends=True)
                    linecache.cache[name] = (len(text), None, lines, name)  # For tracebacks.
                    exec(compile(text, name, "exec"), self.names)
            except (Exception, SystemExit):
                self._problem(block.where, text.strip(), traceback.format_exc())
        self.printed = said.getvalue()

    def _session(self, block: Block, text: str) -> None:
        """A session of an interpreter, with what it prints."""
        for example in doctest.DocTestParser().get_examples(text):
            said = io.StringIO()
            with contextlib.redirect_stdout(said):
                exec(compile(example.source, block.where, "single"), self.names)
            # What is printed on one line may be shown on several.
            shown, printed = (" ".join(text.split()) for text in (example.want, said.getvalue()))
            if self.makes_its_pool and lines_not_said(shown, printed):
                self._problem(block.where, example.source, f"printed is\n{printed}")


def _in_full(command: ShellCommand, arguments: Sequence[str] | None = None) -> list[str]:
    """The words of a command, with those that … stands for."""
    words = command.arguments if arguments is None else arguments
    meant = tables.ELLIPSES.get(command.program, "").split()
    found: list[str] = []
    for word in words:
        found += meant if word in ("\u2026", "...") else [word]
    return found


def run_page(page: str, names: dict[str, object], **kwargs) -> list[Problem]:
    """Goes through a page in the working directory, and gives what does not hold."""
    found = Page(page, names)
    found.remove_outputs()
    found.go_through(**kwargs)
    return found.problems
