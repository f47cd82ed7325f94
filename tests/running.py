"""Commands run as a person runs them, and what several processes on one host need."""

from __future__ import annotations

import pathlib
import socket
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]


def mig(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mig_jax", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def refused(*arguments: object) -> str:
    """The one line that the command says where it exits with 2."""
    result = mig(*arguments)
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    return result.stderr.replace("\r", "\n").strip().splitlines()[-1]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return found.getsockname()[1]
