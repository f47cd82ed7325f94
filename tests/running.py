"""Commands with their words and what they print, and what several processes on one host need."""

from __future__ import annotations

import contextlib
import io
import os
import pathlib
import socket
import subprocess
import sys
from collections.abc import Sequence

from mig_jax.commands.main import main

ROOT = pathlib.Path(__file__).resolve().parents[1]


def mig(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The command in this process, where JAX is imported and has compiled what others needed."""
    words, out, err = [*map(str, arguments)], io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(words)
    return subprocess.CompletedProcess(words, status, out.getvalue(), err.getvalue())


def mig_as_a_person_runs_it(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    command = [sys.executable, "-m", "mig_jax", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def refused(*arguments: object) -> str:
    """The one line that the command says when it exits with 2."""
    result = mig(*arguments)
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    return result.stderr.replace("\r", "\n").strip().splitlines()[-1]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return found.getsockname()[1]


def start_select(*words: str) -> subprocess.Popen[str]:
    """Starts `mig-jax select` with these flags, on one device, in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "mig_jax", "select", *words],
        cwd=ROOT,
        env={**os.environ, "XLA_FLAGS": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def start_together(*each: Sequence[str]) -> list[subprocess.Popen[str]]:
    """Starts `mig-jax select` in a process for each list of flags, and gives them as they start.

    They are told where to meet, how many they are and who each is; flags given come later, and
    count.
    """
    where = [f"--coordinator_address=localhost:{free_port()}", f"--num_processes={len(each)}"]
    return [
        start_select(*where, f"--process_id={index}", *words) for index, words in enumerate(each)
    ]
