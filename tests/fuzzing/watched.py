"""Inputs read one after another by a child process that is watched, and started again."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import pathlib
import random
import resource
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Final, NamedTuple

from tests.fuzzing.kinds import Kind

__all__ = ["MOST_MEMORY", "Failure", "Input", "fuzz", "kinds_of"]

MOST_MEMORY: Final = 1 << 30  # Bytes of a child, its imports included.
OUR_KINDS: Final = "tests.fuzzing.kinds"


class Input(NamedTuple):
    """An input: the same bytes for the same three."""

    kind: str
    seed: int
    number: int

    def content(self, kinds: dict[str, Kind]) -> bytes:
        """The bytes of the file."""
        return kinds[self.kind].make(random.Random(f"{self.seed} {self.kind} {self.number}"))


class Failure(NamedTuple):
    """An input that was not read as it should be."""

    input: Input
    outcome: str  # wrong, exception, memory, hang or crash.
    what: str


def kinds_of(module: str = OUR_KINDS) -> dict[str, Kind]:
    """What a module calls KINDS."""
    found: dict[str, Kind] = importlib.import_module(module).KINDS
    return found


def fuzz(
    inputs: Sequence[Input],
    keep: pathlib.Path | None = None,
    *,
    module: str = OUR_KINDS,
    seconds: float = 10.0,
    tell: Callable[[int], None] = lambda done: None,
) -> tuple[Counter[tuple[str, str]], list[Failure]]:
    """Reads the inputs: how often each kind had each outcome, and what failed.

    Args:
      inputs: one or more.
      keep: a folder for inputs that failed, each with what happened.
      module: has the `KINDS`.
      seconds: of the processor's time for one input; more is a hang, or a long wait without any.
      tell: gets the number of inputs passed so far.
    """
    outcomes: Counter[tuple[str, str]] = Counter()
    failures = []
    for one, outcome, what in _results(inputs, module, seconds):
        outcomes[one.kind, outcome] += 1
        tell(outcomes.total())
        if not what:
            continue
        failures.append(Failure(one, outcome, what))
        if keep is not None:
            keep.mkdir(parents=True, exist_ok=True)
            kinds = kinds_of(module)
            stem = keep / "_".join(map(str, one))
            stem.with_suffix(kinds[one.kind].ending).write_bytes(one.content(kinds))
            stem.with_suffix(".told").write_text(what)
    return outcomes, failures


def _results(
    inputs: Sequence[Input], module: str, seconds: float
) -> Iterator[tuple[Input, str, str]]:
    """Each input, its outcome and, if it failed, what happened."""
    left = list(inputs)
    context = multiprocessing.get_context("spawn")
    while left:
        ours, theirs = context.Pipe(duplex=False)
        child = context.Process(target=_read_all, args=(left, module, theirs))
        child.start()
        theirs.close()
        try:
            ours.recv()  # It has imported what it needs.
            while left:
                if not _answers(ours, child, seconds):
                    yield left.pop(0), "hang", f"no end after {seconds:g} s"
                    break
                outcome, what = ours.recv()
                yield left.pop(0), outcome, what
                if outcome == "memory":
                    break  # Of the next input, the memory would be that of this one.
        except EOFError:
            child.join()
            yield left.pop(0), "crash", f"the process ended with {child.exitcode}"
        finally:
            child.kill()
            child.join()
            ours.close()


def _answers(results: Connection, child: BaseProcess, seconds: float) -> bool:
    """Whether the child has a result within so many seconds of the processor's time.

    Or, if it waits and uses none, within twelve times as many: other programs may be running.
    """
    began = _processor_seconds(child)
    for _ in range(12):
        if results.poll(seconds):
            return True
        if _processor_seconds(child) - began >= seconds:
            return False
    return False


def _processor_seconds(child: BaseProcess) -> float:
    try:
        fields = pathlib.Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _read_all(inputs: Sequence[Input], module: str, results: Connection) -> None:
    kinds = kinds_of(module)
    # What runs away is stopped before the machine suffers.
    limit = _address_space() + 2 * MOST_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    with tempfile.TemporaryDirectory() as folder:
        results.send("ready")
        for one in inputs:
            path = os.path.join(folder, f"input{kinds[one.kind].ending}")
            pathlib.Path(path).write_bytes(one.content(kinds))
            results.send(_outcome(kinds[one.kind], path))


def _outcome(kind: Kind, path: str) -> tuple[str, str]:
    try:
        outcome = kind.check(path)
    except AssertionError as error:
        return "wrong", str(error)
    except BaseException:
        return "exception", traceback.format_exc()
    used = _most_memory()
    return ("memory", f"{used:,} bytes") if used > MOST_MEMORY else (outcome, "")


def _most_memory() -> int:
    """Bytes that this process has held at most. getrusage tells those of its parent, if more."""
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def _address_space() -> int:
    """Bytes of it that this process has."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()
