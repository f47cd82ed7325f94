"""Commands that kill themselves at a step of their work: no test need be quick enough to do it."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
import textwrap
from collections.abc import Mapping

from tests.running import ROOT

_PROGRAM = """
import os, runpy, signal, sys, threading

def die():
    os.kill(os.getpid(), signal.SIGKILL)

{when}
runpy.run_module({module!r}, run_name="__main__", alter_sys=True)
"""


def at_file(event: str, ending: str, count: int = 1, seconds_later: float = 0) -> str:
    """When it does something to a file for the `count`-th time, as Python's audit events tell it.

    Events are `open` and `os.rename`; the file's path, or the one it is renamed to, ends in
    `ending`. At once means before it is done.
    """
    return textwrap.dedent(f"""
        left = {count}

        def hook(event, arguments):
            global left
            if event == {event!r} and any(str(of).endswith({ending!r}) for of in arguments):
                left -= 1
                if not left:
                    threading.Timer({seconds_later}, die).start() if {seconds_later} else die()

        sys.addaudithook(hook)
    """)


def at_calls(of: str, count: int) -> str:
    """When a method has returned for the `count`-th time: "package.module:Class.method"."""
    module, _, method = of.partition(":")
    owner, _, name = method.partition(".")
    return textwrap.dedent(f"""
        from {module} import {owner}

        method, left = {owner}.{name}, {count}

        def returns_and_dies(*words, **more):
            global left
            found = method(*words, **more)
            left -= 1
            if not left:
                die()
            return found

        {owner}.{name} = returns_and_dies
    """)


def at_journal(records: int) -> str:
    """When so many records are in the journal of an annotation."""
    return textwrap.dedent(f"""
        from mig_jax.annotation import Journal

        append = Journal.append

        def append_and_die(self, found):
            append(self, found)
            if self.done >= {records}:
                die()

        Journal.append = append_and_die
    """)


def dies(
    when: str,
    *words: object,
    module: str = "mig_jax",
    env: Mapping[str, str] | None = None,
    cwd: pathlib.Path = ROOT,
) -> None:
    """Runs a command, `python -m module words…`, and sees that it was killed when it had to be."""
    program = _PROGRAM.format(when=when, module=module)
    ended = subprocess.run(
        [sys.executable, "-c", program, *map(str, words)],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
