"""Parses the flags of a command, and runs nothing."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import importlib
import importlib.util
import io
import pathlib
import re
import runpy
import subprocess
import sys
from collections.abc import Sequence

import pytest
import setuptools

from mig_jax.commands import main
from mig_jax.commands.command import Command, main_of
from tests.running import ROOT, mig

__all__ = ["module_command", "parse", "unknown_extras"]

_ONLY_FLAGS = """
import runpy, sys
from absl import app, flags
app.run = lambda main: flags.FLAGS(sys.argv)
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__")
"""


def parse(program: str, arguments: Sequence[str]) -> str:
    """What the program says against its flags; "" if it would run with them.

    Args:
      program: `mig-jax` with or without the name of a command, or `python -m MODULE`.
      arguments: the words behind `mig-jax`, or behind the module.
    """
    if program.startswith("mig-jax"):
        with pytest.MonkeyPatch.context() as patch:
            load = main.load
            patch.setattr(main, "load", lambda name: _that_does_nothing(load(name)))
            done = mig(*arguments)
            return done.stderr if done.returncode else ""
    module = program.removeprefix("python -m ")
    if (found := importlib.util.find_spec(module)) is None or found.origin is None:
        return f"no such module: {module}"
    source = pathlib.Path(found.origin).read_text(encoding="utf-8")
    if "app.run(" in source:  # Its flags are the process's: it needs one of its own.
        words = [sys.executable, "-c", _ONLY_FLAGS, module, *arguments]
        run = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
        return run.stderr if run.returncode else ""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        if known := module_command(module):
            status = main_of(_that_does_nothing(known), arguments, called=module)
        else:
            status = _parse_by_argparse(module, arguments)
    return said.getvalue() if status else ""


def module_command(module: str) -> Command | None:
    """The command that a module of experiments is or brings; None without."""
    return getattr(
        importlib.import_module(
            {
                "experiments.learn_params": "mig_jax.commands.learn",
                "experiments.ablate": "mig_jax.commands.ablate",
            }.get(module, module)
        ),
        "COMMAND",
        None,
    )


def _that_does_nothing(known: Command) -> Command:
    return dataclasses.replace(known, run=lambda values: None)


def _parse_by_argparse(module: str, arguments: Sequence[str]) -> int | str | None:
    parse_args = argparse.ArgumentParser.parse_args

    def only_parse(parser, words=None, namespace=None):
        parse_args(parser, words, namespace)
        raise SystemExit(0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", only_parse)
        patch.setattr(sys, "argv", [module, *arguments])
        patch.delitem(sys.modules, module, raising=False)
        try:
            runpy.run_module(module, run_name="__main__")
        except SystemExit as end:
            return end.code
    return f"{module} reads no flags"


def unknown_extras(words: Sequence[str]) -> list[str]:
    """The extras that `pip install` is asked for and setup.py does not have."""
    given: dict = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setuptools, "setup", lambda **kwargs: given.update(kwargs))
        runpy.run_path(str(ROOT / "setup.py"))
    asked = [match[1] for word in words if (match := re.search(r"\[(.+)\]", word))]
    names = [name for listed in asked for name in listed.split(",")]
    return [name for name in names if name not in given["extras_require"]]
