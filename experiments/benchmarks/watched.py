"""Processes of their own, with the time that they take and the memory that they need."""

from __future__ import annotations

import pathlib
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

__all__ = ["Watched", "peak_memory", "run_watched"]

_SAMPLE_SECONDS = 0.01


class Watched(NamedTuple):
    """What a process said and needed."""

    said: str  #: On its standard output.
    seconds: float  #: Of wall time, from its start to its end.
    peak_mb: float | None  #: Of its own, largest; None if there is no /proc.
    children_mb: float  #: The largest of each of its children, added up.


def run_watched(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Watched:
    """Runs a command to its end.

    Args:
      command: and its arguments.
      environment: all variables that it gets; this process's own by default.

    Raises:
      RuntimeError: if it fails; with the end of what it said on standard error.
    """
    start = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, text=True
    )
    said = list[tuple[str, str]]()
    # Read at once: a full pipe would make it wait.
    reader = threading.Thread(target=lambda: said.append(process.communicate()))
    own: float | None = None
    children: dict[int, float] = {}
    reader.start()
    while reader.is_alive():
        # The last values count: at its very start, a child has the memory of its parent.
        own = peak_memory(process.pid) or own
        for child in _children(process.pid):
            children[child] = peak_memory(child) or children.get(child, 0.0)
        reader.join(_SAMPLE_SECONDS)
    seconds = time.perf_counter() - start
    out, err = said[0]
    if process.returncode:
        raise RuntimeError(
            f"{' '.join(command)} failed with status {process.returncode}: {err[-2000:]}"
        )
    return Watched(out, seconds, own, sum(children.values()))


def peak_memory(process: int | str = "self") -> float | None:
    """The most memory that a process has had, MB; None if there is no /proc.

    Unlike `getrusage`, it does not begin with that of the process that started it.
    """
    try:
        status = pathlib.Path(f"/proc/{process}/status").read_text()
    except OSError:
        return None
    found = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")]
    return int(found[0]) / 1024 if found else None


def _children(pid: int) -> list[int]:
    try:
        tasks = pathlib.Path(f"/proc/{pid}/task").glob("*/children")
        return [int(child) for task in tasks for child in task.read_text().split()]
    except OSError:  # It has just ended, or there is no /proc.
        return []
